//! From a run back into the world: listing it, reading one file of it, restoring it into a folder or into its participant.
//!
//! Nothing is written before the run's artifacts, or of a part its index, have been read again and are as recorded. Into a target
//! that holds nothing, everything is made ready beside it and renamed into place at the end: all or nothing.

mod apart;
mod error;
mod in_place;
mod into_folder;
mod source;
mod streams;

pub use error::RestoreError;
pub use in_place::{Admit, InPlace};
pub use into_folder::{IntoFolder, Prepared, Request, Restored, put_in_place};
pub use source::{Entries, Form, RunSource};
pub use streams::copy;
