//! Far sides: each kind of endpoint against a real server, one suite for all of them, and what goes wrong on the way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod command;
mod conformance;
mod declared;
mod failing_uploads;
mod faults;
mod imports;
mod kinds;
mod layers;
mod planted_secrets;
#[path = "../support/mod.rs"]
mod support;

use support::{far_side, proxy};
