//! The vault: what it keeps, from whom, and what it keeps it from.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests fail by panicking"
)]

mod attacks;
mod disk;
mod keeps;
mod kill;
#[path = "../support/mod.rs"]
mod support;
mod tus;
mod world;
