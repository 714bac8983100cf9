//! Commands of other programs: their output as an artifact, and an artifact as their input.

mod definition;
mod spec;

pub use self::definition::CommandDefinition;
pub use self::spec::CommandSpec;
