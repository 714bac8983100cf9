//! Paths as one tar stream, and back.
//!
//! [`write()`] turns a set of paths into one POSIX pax stream that `tar x` reads, [`extract`] turns the stream back into
//! a tree. Each member of the stream is described by an [`Entry`], one line of the index beside the artifact; with the
//! entries alone a [`Plan`] says which bytes to read to bring back a part ([`extract_selected`]), and [`locate`] and
//! [`dump`] bring back the content of one file. [`Replace`] puts a stream back where its paths are.
//!
//! What holds:
//!
//! - **Deterministic.** A folder's names are stored sorted by their bytes, parents before children, the first name of a
//!   hard-linked file before its others. The same unchanged tree gives the same bytes.
//! - **A bad file is never a failed backup.** What cannot be read, vanishes, shrinks, grows or changes under the reader
//!   is a warning, and the stream stays whole. Only a given path that is not there, a cancellation, or an output that
//!   fails ends [`write()`] with an error.
//! - **Nothing outside.** Folders are walked by open descriptors and never through symbolic links, in both directions:
//!   a link that is swapped in while a backup or restore runs leads nowhere. On restore the stream is not trusted.
//! - **Bounded.** Memory is one folder's names per level, one buffer, and a table of hard links with a limit; it does
//!   not grow with the size of the files or the length of the stream.
//!
//! # Where things are stored
//!
//! A given path is stored under its own last component: `/srv/data` becomes `data/…`. The later of two given paths with
//! the same last component gets a suffix: `data`, `data-2`. `/` becomes `root/…`. A given path that is a symbolic link
//! is followed, and what is behind it is stored under the link's name; links found inside are stored as links.
//!
//! # What is left out
//!
//! - what an exclude pattern of the [`FilesSpec`] or a `.holdfastignore` in the tree names (both in gitignore syntax;
//!   the deeper file wins, the spec's patterns win over all);
//! - the contents of a folder marked by a [`CACHEDIR.TAG`](https://bford.info/cachedir/): folder and tag stay;
//! - the contents of pseudo file systems (proc, sysfs and their like), and of other file systems when the spec says so:
//!   the empty folder stays;
//! - the folders of [`Env::skip`], such as Holdfast's own home;
//! - sockets, which mean nothing without the process behind them;
//! - extended attributes outside of `user.*`, `trusted.*`, `security.capability` and POSIX ACLs, those of anything but
//!   regular files and folders, access and change times, and flags of the file system (`chattr`).

mod conflict;
mod crew;
mod dump;
mod entry;
mod error;
mod extract;
mod facts;
mod head;
mod header;
mod later;
mod links;
mod members;
mod mounts;
mod names;
mod owners;
mod pax;
mod place;
mod raw_path;
mod replace;
mod report;
mod rules;
mod scan;
mod select;
mod sparse;
mod spec;
mod stream;
mod target;
mod walk;
mod write;
mod xattrs;

#[cfg(test)]
mod tests;

pub use conflict::conflicts;
pub use dump::{dump, locate};
pub use entry::{Device, Entry, Kind, Mtime, Span};
pub use error::FilesError;
pub use extract::{ExtractOptions, extract, extract_selected};
pub use facts::FileId;
pub use raw_path::RawPath;
pub use replace::{Replace, ReplaceError, Replacement, Replacements};
pub use report::{Finding, Noted, Observer, Summary, Totals};
pub use scan::scan;
pub use select::{Plan, Selection, Step};
pub use spec::{Env, FilesSpec, Source};
pub use write::{Output, write};
