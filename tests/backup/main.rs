//! Backups and restores by the program and by the library: what is taken, how it comes back, and what is said where something fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod artifact_rules;
mod backup_restore;
mod barrier;
mod cancel;
mod command;
mod command_failures;
mod command_phases;
mod damage;
mod deadline;
mod embedding;
mod encryption;
mod full_disk;
mod in_place;
mod postgresql;
mod restore_ends;
mod restore_target;
mod streams;
mod supervision;
#[path = "../support/mod.rs"]
mod support;
mod what_is_taken;
mod without_holdfast;
