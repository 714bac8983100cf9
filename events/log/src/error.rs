//! Why the log could not do what was asked.
//!
//! Each error has a stable `code` and says whether asking again, unchanged, can succeed (`retryable`). The text ends with what to
//! do.

use std::io;
use std::path::{Path, PathBuf};

use holdfast_model::ids::{Position, StreamId, Version};
use holdfast_model::record::RecordError;

/// Why events were not appended, or why that is not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The stream is not at the version that was expected: somebody else appended. Nothing was appended.
    #[error("stream {stream} is at version {actual}, not at {expected}: read what is new, decide again")]
    WrongVersion {
        /// The stream.
        stream: StreamId,
        /// The version the append was decided on.
        expected: Version,
        /// The version it has.
        actual: Version,
    },
    /// One of the events does not fit a record. Nothing was appended.
    #[error("event {index} of the append is not valid: {source}")]
    Invalid {
        /// Its place in the append, from 0.
        index: usize,
        /// Why.
        source: RecordError,
    },
    /// No events, or more than one commit holds. Nothing was appended.
    #[error("an append holds 1 to {limit} events, not {events}: split it")]
    Count {
        /// How many there are.
        events: usize,
        /// The bound.
        limit: usize,
    },
    /// The disk is full, or a quota is reached. Nothing was appended.
    #[error("no space is left for the event log ({reason}): free some, then try again")]
    NoSpace {
        /// What the system said.
        reason: String,
    },
    /// The commit was written but not confirmed: the events may or may not be there after the next start.
    #[error("whether the events are recorded is not known ({reason}): start again, the log then says what is there")]
    OutcomeUnknown {
        /// What went wrong.
        reason: String,
    },
    /// An earlier commit was not confirmed, so the log takes nothing any more. Nothing was appended.
    #[error("the event log takes no more events after a failed write ({reason}): check the disk, then start again")]
    Poisoned {
        /// What went wrong then.
        reason: String,
    },
    /// The log was closed. Nothing was appended.
    #[error("the event log is closed")]
    Closed,
}

impl AppendError {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongVersion { .. } => "WRONG_VERSION",
            Self::Invalid { .. } => "EVENT_INVALID",
            Self::Count { .. } => "APPEND_COUNT",
            Self::NoSpace { .. } => "NO_SPACE",
            Self::OutcomeUnknown { .. } => "OUTCOME_UNKNOWN",
            Self::Poisoned { .. } => "LOG_POISONED",
            Self::Closed => "LOG_CLOSED",
        }
    }

    /// Whether the same append can succeed later, in this process.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Neither copy has the event whole.
    #[error(
        "the event at position {position} is damaged ({reason}): start again, that repairs what the other copy still has"
    )]
    Damaged {
        /// The event.
        position: Position,
        /// What does not hold.
        reason: &'static str,
    },
    /// The event is whole, but this program cannot read its form.
    #[error("the event at position {position} cannot be read: {source}")]
    Unreadable {
        /// The event.
        position: Position,
        /// Why.
        source: RecordError,
    },
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The log was closed.
    #[error("the event log is closed")]
    Closed,
}

impl ReadError {
    pub(crate) fn damaged(position: Position, reason: &'static str) -> Self {
        Self::Damaged { position, reason }
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "LOG_DAMAGED",
            Self::Unreadable { .. } => "EVENT_UNREADABLE",
            Self::Io { .. } => "LOG_IO",
            Self::Closed => "LOG_CLOSED",
        }
    }

    /// Whether the same read can succeed later, in this process.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Events that were recorded are whole in neither copy.
    #[error(
        "the event at position {position} is damaged in the journal ({reason}) and missing in the store: put back {} from \
         a copy of this home, or move away all segments from that one on, with `head`, to go on without the events from \
         {position} on",
        segment.display()
    )]
    BothDamaged {
        /// The first event that is lost.
        position: Position,
        /// The segment it lies in, or would.
        segment: PathBuf,
        /// What is wrong with it there.
        reason: &'static str,
    },
    /// The journal is damaged before its end, and whoever reads it must not repair it.
    #[error(
        "the event at position {position} is damaged in the journal, in {} ({reason}): run a command that writes, such as \
         `resume`, that repairs it from the store",
        segment.display()
    )]
    JournalDamaged {
        /// The first event that cannot be read.
        position: Position,
        /// The segment it lies in, or would.
        segment: PathBuf,
        /// What is wrong with it there.
        reason: &'static str,
    },
    /// The journal is damaged, and the store, which may have what is missing, cannot be opened now.
    #[error(
        "the event at position {position} is damaged in {}, and the store that may have it cannot be opened ({reason}): \
         remove the cause, such as a full disk, and try again",
        segment.display()
    )]
    StoreNeeded {
        /// The first event that is missing.
        position: Position,
        /// The segment it lies in, or would.
        segment: PathBuf,
        /// Why the store cannot be opened.
        reason: String,
    },
    /// Journal and store are whole but tell different histories.
    #[error(
        "journal and store of the event log differ from position {position} on although both are whole: one of them was \
         replaced or rewritten. Move the wrong one of {} away; the other one is believed",
        dir.display()
    )]
    Diverged {
        /// The first event, or the first of its commit, that differs.
        position: Position,
        /// The log's folder.
        dir: PathBuf,
    },
    /// An event is whole, but this program cannot read its form.
    #[error("the event at position {position} cannot be read: {source}")]
    Unreadable {
        /// The event.
        position: Position,
        /// Why.
        source: RecordError,
    },
    /// A newer program wrote the journal.
    #[error("{} has format {format}, this program reads up to {}: use the newer program", path.display(), crate::journal::segment::FORMAT)]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// A file in the journal's folder that fits nowhere.
    #[error("{} does not fit between the segments beside it: move it away", path.display())]
    Stray {
        /// The file.
        path: PathBuf,
    },
    /// Another process, or another log in this one, has the store open.
    #[error("the event log in {} is in use: end the process that has it open, or wait for it", dir.display())]
    InUse {
        /// The log's folder.
        dir: PathBuf,
    },
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BothDamaged { .. } | Self::JournalDamaged { .. } => "LOG_DAMAGED",
            Self::StoreNeeded { .. } => "LOG_STORE_NEEDED",
            Self::Diverged { .. } => "LOG_DIVERGED",
            Self::Unreadable { .. } => "EVENT_UNREADABLE",
            Self::Newer { .. } => "LOG_NEWER",
            Self::Stray { .. } => "LOG_STRAY_FILE",
            Self::InUse { .. } => "LOG_IN_USE",
            Self::Io { .. } => "LOG_IO",
        }
    }

    /// Whether opening again can succeed without anybody doing something.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unreadable { position, source } => Self::Unreadable { position, source },
            ReadError::Io { doing, path, source } => Self::Io { doing, path, source },
            ReadError::Damaged { position, reason } => {
                Self::JournalDamaged { position, segment: PathBuf::from(crate::journal::DIR), reason }
            }
            ReadError::Closed => Self::io("read", Path::new("the log"), io::ErrorKind::BrokenPipe.into()),
        }
    }
}
