//! The command line: what it says, what it makes of bad input, a home that somebody else has, a server that has it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod attach;
mod command_line;
mod configuration;
mod files_in_place;
mod home_in_use;
mod home_is_kept;
mod imports;
mod json;
mod kept_elsewhere;
#[path = "../support/mod.rs"]
mod support;
