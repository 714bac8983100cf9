//! Killed at any instant, and with a damaged log: nothing that was recorded is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod encryption;
mod event_log;
mod files;
mod imports;
mod kill;
mod kill_commands;
mod kill_freezes;
mod log_damage;
mod modules;
#[path = "../support/mod.rs"]
mod support;
