//! The commands: what other programs, the command line and the application itself may ask of the engine.
//!
//! A [`Command`] is one type with its request, its answer and its errors, in one file of [`commands`]. The [`Dispatcher`] stands in
//! front of all of them, whichever door a request came by: it finds the command, checks the role, reads and checks the data, runs it,
//! and records who did what. The list it goes by, [`TABLE`], is also what the documents are made from.
//!
//! The doors themselves are in [`crate::server`].

mod access;
mod call;
mod caller;
mod channel;
mod command;
pub mod commands;
mod desk;
mod dispatcher;
pub mod documents;
pub mod envelope;
mod error;
mod fault;
mod feed;
pub mod health;
mod record;
mod session;
mod since;
mod table;
pub mod text;
mod written;

pub use self::call::Call;
pub use self::caller::{Caller, Door, Principal};
pub use self::channel::Channel;
pub use self::command::{Command, Entry, Kind, RawReply, Reach, Reply};
pub(crate) use self::desk::Refusing;
pub use self::desk::{Desk, Life, Settings};
pub use self::dispatcher::Dispatcher;
pub use self::error::{ApiError, ErrorBody, ErrorCode};
pub use self::feed::{Feed, Notice};
pub use self::session::{Session, SessionFuture};
pub use self::since::Since;
pub use self::table::{TABLE, find};
pub use self::written::Written;
