//! The durable event log.
//!
//! [`EventLog`] is the contract; [`DurableLog`] keeps it on disk, [`MemoryLog`] in memory, [`faulty::FaultyLog`] fails on
//! purpose. [`JournalReader`] reads a log that somebody else owns, [`Subscription`] follows any of them.
//!
//! On disk there are two copies, each able to rebuild the other: an append-only journal, whose sync is the
//! acknowledgement, and a store in sled, which has been seen to panic on one flipped bit and to lose keys. So no answer
//! depends on sled alone, and no answer is wrong because of it.

mod backlog;
mod disk;
pub mod durable;
mod durable_log;
mod error;
pub mod event_log;
pub mod export;
pub mod fault;
pub mod faulty;
mod head;
pub mod home;
mod journal;
mod journal_reader;
mod keeper;
mod latency;
mod memory;
pub mod owner;
mod queue;
mod quiet;
mod recovery;
mod report;
#[cfg(test)]
mod samples;
pub mod space;
mod store;
mod streams;
mod subscription;
mod view;
mod writer;

pub use disk::{Disk, SystemDisk};
pub use durable_log::{DurableLog, Options};
pub use error::{AppendError, OpenError, ReadError};
pub use event_log::{Append, AppendFuture, Appended, EventLog, ReadLog};
pub use journal_reader::{JournalReader, Owner};
pub use latency::AppendLatency;
pub use memory::MemoryLog;
pub use report::{OpenReport, RepairedSegment, StoreReport, TornTail};
pub use subscription::Subscription;
pub use view::Health;
