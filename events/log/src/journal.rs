//! The journal: append-only [segments](segment) of [commits](frame). Its sync is what acknowledges an append.
//!
//! A commit that is not whole is not there. Only the last commit of the last segment may be cut off or half written: a
//! crash leaves such a tail, and nobody was told of it. Anywhere else it is damage, and the place is named by position.

pub(crate) mod catalog;
pub(crate) mod cursor;
pub(crate) mod frame;
pub(crate) mod frames;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod writer;

/// The journal's folder in the log's.
pub(crate) const DIR: &str = "journal";
