//! Holdfast backs up the data of running systems and can prove what it did.
//!
//! Every backup run and participant is an actor whose state transitions are events in a durable log; progress, history and
//! recovery after a crash are replays of that log. [`engine::Holdfast`] is the one door to it.
//!
//! | module | what lives there |
//! |---|---|
//! | [`engine`] | the handle, the runtime behind it, the real sides of the actors' ports |
//! | [`participant`] | what an application implements to be backed up |
//! | [`command`] | programs whose output is backed up |
//! | [`files`] | a tree of files as one tar stream, and back |
//! | [`pipeline`] | the way of the bytes: chunks, compression, hashes, and back |
//! | [`restore`] | from a run back into a folder |
//! | [`storage`] | run directories: manifest, sums, publish, delete, verify |
//! | [`config`] | the configuration file |
//! | [`cli`] | the command line |

pub mod blocking;
pub mod cli;
pub mod command;
pub mod config;
pub mod engine;
pub mod files;
pub mod participant;
pub mod pipeline;
pub mod restore;
pub mod storage;
