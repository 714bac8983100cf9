//! Stories of the event log: what it promises, and what becomes of it when something breaks.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod conformance;
mod crash;
mod damage;
mod reader;
mod rewritten;
mod room;
mod space;
mod support;
