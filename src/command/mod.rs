//! Commands of other programs: their output as an artifact, and an artifact as their input.
//!
//! | module | what it holds |
//! |---|---|
//! | `spec`, `program` | what is run, and whether it could be |
//! | `secrets`, `tail` | the environment, and the end of what a command says, without the secrets in it |
//! | `launch` | the way from our program to the command: nothing runs before it is recorded, nothing outlives us unseen |
//! | `running`, `carry` | a process with its group, and the bytes in and out of it |
//! | `child` | one call of a command, from its start to the end of its group |
//! | `process`, `leftover` | what the system says of processes, and the end of those that a dead process left |
//! | `participant`, `phases`, `restore` | a command as a participant, as one that stands still for a moment, and as one that takes back |
//!
//! What can be known of a command is how it ended and where its output ended. A command that writes half of what it has, closes its
//! output and exits 0 cannot be told from one that wrote all: in a pipeline, use `shell`, so that the failure of any stage counts.

mod carry;
mod child;
mod error;
mod launch;
mod leftover;
mod participant;
mod phases;
mod process;
mod program;
mod restore;
mod running;
mod secrets;
mod spec;
mod tail;

pub use self::child::{Call, Finished};
pub use self::error::CommandError;
pub use self::launch::{Launcher, launch_if_asked};
pub use self::leftover::{Ended, end_left_over};
pub use self::participant::{CommandDefinition, CommandParticipant};
pub(crate) use self::phases::{PhasedCommand, thaw_left_over};
pub(crate) use self::process::{ended_by, timespec};
pub(crate) use self::secrets::is_telling;
pub use self::spec::CommandSpec;
