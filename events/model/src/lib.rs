//! Holdfast's rules, pure: names, events, `decide` and `apply`, projections.
//!
//! Nothing here reads a file, a clock or a random number, starts a thread or waits: time and ids arrive inside
//! commands. Everything is total and deterministic, so that a replay of the same events gives the same state on any
//! machine, today and in ten years.

pub mod access;
pub mod aggregate;
pub mod alert;
pub mod audit;
pub mod codec;
pub mod endpoint;
pub mod event;
pub mod failure;
pub mod figures;
#[cfg(test)]
mod given;
pub mod history;
pub mod ids;
pub mod maintenance;
pub mod participant;
pub mod progress;
pub mod record;
pub mod restore;
pub mod run;
mod schema;
pub mod story;
pub mod supervision;
pub mod system;
pub mod tally;
pub mod vault;
