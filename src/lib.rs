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
//! | [`endpoints`] | far sides, where copies go: files, S3, WebDAV, SFTP behind one port |
//! | [`remote`] | runs at far sides: there, back, listed, verified; a vault's client |
//! | [`server`] | the doors: TCP, WebSocket, HTTP, and the Unix socket under the home |
//! | [`vault`] | a server that keeps the runs of other installations |
//! | [`client`] | a client of the commands, for programs on the same machine |
//! | [`config`] | the configuration file |
//! | [`cli`] | the command line |
//! | [`blocking`] | the same handle for code that is not async |
//! | [`model`] | the words of the interface: ids, runs, events, failures, progress |
//!
//! # In an application
//!
//! What owns data registers as a [participant](participant::Participant), under a name; a closure will do. The engine calls it when a
//! backup is asked for, takes its bytes, and says how that ended. Its own state is under one folder, the home, which one process owns at a
//! time. Inside tokio:
//!
//! ```
//! use std::io::Write;
//!
//! use holdfast::engine::{Backup, Holdfast};
//! use holdfast::model::run::Outcome;
//! use holdfast::participant::Artifacts;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let home = folder.path().join("home");
//! let engine = Holdfast::builder(home)
//!     .participant("accounts", |artifacts: &mut Artifacts| {
//!         let mut sink = artifacts.create("accounts.snapshot")?;
//!         sink.write_all(b"alice 10\nbob 20\n")?;
//!         sink.finish()
//!     })
//!     .start()
//!     .await?;
//!
//! let run = engine.back_up(Backup::full()).await?;
//! let run = engine.wait(run).await?;
//! assert_eq!(run.outcome(), Some(Outcome::Completed));
//!
//! engine.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! From a `main` that is not async, the engine brings a runtime of its own:
//!
//! ```
//! use std::io::Write;
//!
//! use holdfast::engine::{Backup, Holdfast};
//! use holdfast::model::run::Outcome;
//! use holdfast::participant::Artifacts;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #   let folder = tempfile::tempdir()?;
//! #   let home = folder.path().join("home");
//!     let engine = Holdfast::builder(home)
//!         .participant("notes", |artifacts: &mut Artifacts| {
//!             let mut sink = artifacts.create("notes.txt")?;
//!             sink.write_all(b"milk, bread")?;
//!             sink.finish()
//!         })
//!         .start_blocking()?;
//!
//!     let run = engine.back_up(Backup::full())?;
//!     let run = engine.wait(run)?;
//!     assert_eq!(run.outcome(), Some(Outcome::Completed));
//!
//!     engine.stop();
//!     Ok(())
//! }
//! ```
//!
//! # What happens when
//!
//! - **The process dies**: the next [start](engine::Builder::start) takes the run up. Participants that were whole are kept, the others are
//!   called again.
//! - **[`stop`](engine::Holdfast::stop)**: the same, but for that the participants are told. A run that is to end first is waited for by
//!   [`drain`](engine::Holdfast::drain).
//! - **The last handle is dropped**: as `stop`, in the background. The home is free a moment later.
//! - **A participant panics, hangs or fails**: it is tried again where that may help, and fails otherwise, with the reason. The others, the
//!   run and the process are not touched by it.

pub mod api;
pub mod blocking;
pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod encryption;
pub mod endpoints;
pub mod engine;
pub mod files;
pub(crate) mod own_state;
pub mod participant;
pub mod pipeline;
pub(crate) mod recover;
pub mod remote;
pub mod restore;
pub mod server;
pub mod storage;
pub mod vault;

/// The words of the interface: ids, runs, events, failures, progress.
pub use holdfast_model as model;
