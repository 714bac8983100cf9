//! Runs at far sides: each kind of endpoint against a real server, one suite for all of them, and what goes wrong on the way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod copies;
mod faults;
mod kinds;
mod large;
mod made;
mod other_tools;
mod program;
mod recover;
mod servers;
mod side;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod trust;
