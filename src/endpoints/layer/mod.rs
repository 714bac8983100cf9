//! What is the same around every store, each of it a store itself.
//!
//! From the outside in: [`concurrency`] lets so many streams through at once; [`retry`] tries again; [`bandwidth`] spends the time between
//! pieces; [`stall`] ends an attempt that does not move. A pause of the limiter is therefore no stall, and each attempt has its own deadline.

pub mod bandwidth;
pub mod concurrency;
pub mod retry;
pub mod stall;
