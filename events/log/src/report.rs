//! What was found and done when a log was opened, for the event that says so.

use std::fmt;
use std::path::PathBuf;

use holdfast_model::ids::Position;

/// See the module. Its text is one line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// The last event.
    pub head: Position,
    /// The end of the journal that was not a whole commit, which a crash leaves, and which was dropped. Nobody was told
    /// that its events were recorded.
    pub torn_tail: Option<TornTail>,
    /// Segments of the journal that were written anew.
    pub repaired: Vec<RepairedSegment>,
    /// What became of the store.
    pub store: StoreReport,
}

/// A tail that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub segment: PathBuf,
    /// Where the tail started.
    pub offset: u64,
    /// How many bytes were dropped, without the zeros that end them: those were room taken ahead.
    pub bytes: u64,
    /// The last event before it.
    pub after: Position,
}

/// A segment that was written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairedSegment {
    /// The file.
    pub segment: PathBuf,
    /// The events that came from the store: first and last. None where only bytes around the events were wrong.
    pub restored: Option<(Position, Position)>,
    /// What was wrong.
    pub reason: String,
}

/// What became of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreReport {
    /// It is new, and so is the journal.
    Created,
    /// It had what the journal has.
    InStep,
    /// It was behind the journal: the events after `from` were added.
    CaughtUp {
        /// The last event it had.
        from: Position,
    },
    /// It was made anew from the journal.
    Rebuilt {
        /// Why.
        reason: String,
        /// Where the old one is, if there was one.
        set_aside: Option<PathBuf>,
    },
    /// There is none; reads go to the journal until the next open.
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl OpenReport {
    /// Whether there is nothing that anybody needs to be told. A store that is behind or new is what a kill leaves.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        use StoreReport::{CaughtUp, Created, InStep};
        self.torn_tail.is_none() && self.repaired.is_empty() && matches!(self.store, Created | InStep | CaughtUp { .. })
    }
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event log open at position {}", self.head)?;
        if let Some(TornTail { segment, offset, bytes, after }) = &self.torn_tail {
            let segment = segment.display();
            write!(
                f,
                "; {bytes} bytes of an unfinished commit after position {after} dropped ({segment} at {offset})"
            )?;
        }
        for RepairedSegment { segment, restored, reason } in &self.repaired {
            write!(f, "; {} written anew ({reason}", segment.display())?;
            match restored {
                Some((first, last)) => write!(f, "; events {first} to {last} from the store)")?,
                None => f.write_str(")")?,
            }
        }
        match &self.store {
            StoreReport::Created | StoreReport::InStep => Ok(()),
            StoreReport::CaughtUp { from } => write!(f, "; store caught up from position {from}"),
            StoreReport::Rebuilt { reason, set_aside: None } => write!(f, "; store rebuilt ({reason})"),
            StoreReport::Rebuilt { reason, set_aside: Some(path) } => {
                write!(f, "; store rebuilt ({reason}), the old one is {}", path.display())
            }
            StoreReport::Unavailable { reason } => write!(f, "; store not used ({reason})"),
        }
    }
}
