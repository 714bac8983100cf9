//! The control plane: the server and its doors, progress, what is recorded, clients and documents.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests fail by panicking"
)]

mod clients;
mod contract;
mod documents;
mod doors;
mod hostile;
mod operations;
mod progress;
mod records;
mod serve;
mod standing;
mod stopping;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
