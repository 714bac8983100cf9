//! Commands of other programs: their output as an artifact, and an artifact as their input.

mod spec;

pub use self::spec::CommandSpec;
