//! From a run back into the world: listing it, reading one file of it, restoring it into a folder or into its participant.
//!
//! Into a target that holds nothing, everything is made ready beside it while the artifacts' hashes are taken again, and renamed
//! into place at the end where all are as recorded: all or nothing. Into one that holds something, nothing is written before the
//! artifacts, or of a part its frames, have been read again and are as recorded.

mod apart;
mod error;
mod into_folder;
mod source;
mod streams;
mod write_behind;

pub use error::{RestoreError, is_damage};
pub use into_folder::{IntoFolder, Prepared, Request, Restored, put_in_place};
pub use source::{Entries, Form, Key, RunSource};
pub use streams::copy;
