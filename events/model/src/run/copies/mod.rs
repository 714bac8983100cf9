//! Copies of a run on endpoints: which are wanted, how each stands, and what follows once they are there.
//!
//! ```text
//! pending ─ UploadStarted ─► uploading ─ UploadCompleted ─► uploaded ─ RemoteCopyDeleted ─► deleted
//!    ▲                          │  └──── UploadFailed ────► failed ─┐
//!    ├── UploadTryFailed ───────┤                                   │
//!    ├── UploadInterrupted ─────┘                                   │
//!    └── UploadsRequested ◄─────────────────────────────────────────┘
//! ```
//!
//! None of it changes how the run ended: that was said when it was published. Whether a copy that came there still counts is said by
//! [`Places`]: its endpoint may be another place by now.

mod decide;
mod elsewhere;
mod fold;

pub use self::elsewhere::Elsewhere;

use super::{Outcome, Places, Refusal, Retained, Run, Stage, Target, UploadCheck};
use crate::failure::Failure;
use crate::ids::{EndpointName, Timestamp};
use crate::run::words::{Copies, RequireEndpoints, Staging};

/// The code of a copy that was read at its endpoint and is not what was published.
pub const COPY_ALTERED: &str = "REMOTE_RUN_ALTERED";
/// Most endpoints of one run.
pub const MAX_COPIES: usize = 50;

/// How a copy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyStatus {
    /// Waits for its turn, or for another try.
    Pending,
    /// On its way.
    Uploading,
    /// There, whole.
    Uploaded,
    /// Not there, and not tried any more.
    Failed,
    /// It was there, and was deleted.
    Deleted,
}

impl CopyStatus {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CopyStatus::Pending => "pending",
            CopyStatus::Uploading => "uploading",
            CopyStatus::Uploaded => "uploaded",
            CopyStatus::Failed => "failed",
            CopyStatus::Deleted => "deleted",
        }
    }

    /// Whether something will still be done about it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, CopyStatus::Pending | CopyStatus::Uploading)
    }
}

/// A copy of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCopy {
    /// Where.
    pub endpoint: EndpointName,
    /// How it stands.
    pub status: CopyStatus,
    /// Tries since it was asked for last.
    pub tries: u32,
    /// Tries in all, as the endpoint was configured when the last one began.
    pub max_tries: u32,
    /// The pause after the first try, in milliseconds.
    pub retry_delay_ms: u64,
    /// When it is tried again, while it waits for that.
    pub retry_at: Option<Timestamp>,
    /// When the last try began.
    pub started_at: Option<Timestamp>,
    /// When it was there, or given up.
    pub finished_at: Option<Timestamp>,
    /// Why it is not there, or why its last try failed.
    pub failure: Option<Failure>,
    /// Bytes there.
    pub stored_bytes: u64,
    /// Bytes that were sent in the last try.
    pub sent_bytes: u64,
    /// How it was checked there.
    pub check: Option<UploadCheck>,
    /// Where it came to, once it is there and that is known.
    pub address: Option<String>,
    /// Whether it was found altered there, and not found whole or deleted since.
    pub altered: bool,
}

impl RunCopy {
    pub(super) fn wanted(endpoint: EndpointName) -> Self {
        Self {
            endpoint,
            status: CopyStatus::Pending,
            tries: 0,
            max_tries: 1,
            retry_delay_ms: 0,
            retry_at: None,
            started_at: None,
            finished_at: None,
            failure: None,
            stored_bytes: 0,
            sent_bytes: 0,
            check: None,
            address: None,
            altered: false,
        }
    }
}

/// What a try to upload a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Bytes of all its files there.
    pub stored_bytes: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// How it was checked there.
    pub check: UploadCheck,
    /// The address of the endpoint, without what only says how it is spoken to.
    pub address: String,
}

/// How all copies of a run stand, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteStatus {
    /// There are none, and none are wanted.
    None,
    /// Some are pending or on their way.
    Uploading,
    /// All are there.
    Completed,
    /// Some are there.
    Partial,
    /// None is there.
    Failed,
}

impl RemoteStatus {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RemoteStatus::None => "none",
            RemoteStatus::Uploading => "uploading",
            RemoteStatus::Completed => "completed",
            RemoteStatus::Partial => "partial",
            RemoteStatus::Failed => "failed",
        }
    }
}

impl Run {
    /// Where copies were to go when it was asked for, and what is expected of them.
    #[must_use]
    pub fn planned_copies(&self) -> &Copies {
        &self.planned_copies
    }

    /// Its copies, also those that were asked for later.
    #[must_use]
    pub fn copies(&self) -> &[RunCopy] {
        &self.copies
    }

    /// The copy at an endpoint.
    #[must_use]
    pub fn copy_at(&self, endpoint: &EndpointName) -> Option<&RunCopy> {
        self.copies.iter().find(|copy| copy.endpoint == *endpoint)
    }

    /// Whether an upload of it is pending or on its way.
    #[must_use]
    pub fn is_uploading(&self) -> bool {
        self.copies.iter().any(|copy| copy.status.is_open())
    }

    /// How all its copies stand.
    #[must_use]
    pub fn remote_status(&self) -> RemoteStatus {
        self.status_of_copies(|copy| copy.status == CopyStatus::Uploaded)
    }

    /// The same, of the copies that are where they were brought.
    #[must_use]
    pub fn remote_status_at(&self, places: &Places) -> RemoteStatus {
        self.status_of_copies(|copy| places.hold(copy))
    }

    fn status_of_copies(&self, there: impl Fn(&RunCopy) -> bool) -> RemoteStatus {
        let kept = || self.copies.iter().filter(|copy| copy.status != CopyStatus::Deleted);
        let uploaded = kept().filter(|copy| there(copy)).count();
        match kept().count() {
            0 => RemoteStatus::None,
            _ if self.is_uploading() => RemoteStatus::Uploading,
            all if uploaded == all => RemoteStatus::Completed,
            _ if uploaded > 0 => RemoteStatus::Partial,
            _ => RemoteStatus::Failed,
        }
    }

    /// Whether as many endpoints as are required have a copy.
    #[must_use]
    pub fn has_required_copies(&self) -> bool {
        self.has_copies(self.planned_copies.require, |copy| copy.status == CopyStatus::Uploaded)
    }

    fn has_copies(&self, require: RequireEndpoints, there: impl Fn(&RunCopy) -> bool) -> bool {
        let planned = &self.planned_copies.endpoints;
        let there = |name: &&EndpointName| self.copy_at(name).is_some_and(&there);
        require.is_met(planned.len(), planned.iter().filter(there).count())
    }

    /// Whether it completed, as many copies as are required are there, and one at least where it is not here.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_completed() && self.has_required_copies() && self.elsewhere().is_none_or(|at| at.first().is_some())
    }

    /// The same, of the copies that are where they were brought.
    #[must_use]
    pub fn is_good_at(&self, places: &Places) -> bool {
        let is_somewhere = self.elsewhere_at(places).is_none_or(|at| at.first().is_some());
        is_somewhere && self.is_completed() && self.has_copies(self.planned_copies.require, |copy| places.hold(copy))
    }

    fn is_completed(&self) -> bool {
        self.stage == Stage::Ended && self.outcome == Some(Outcome::Completed)
    }

    /// Whether its directory is here, and was as recorded when it was last read.
    #[must_use]
    pub fn is_whole_here(&self) -> bool {
        self.retained == Retained::Kept
            && self.target.is_some()
            && !self.is_staged_elsewhere()
            && self.last_verified.as_ref().is_none_or(|verified| verified.ok)
    }

    /// Whether its directory was taken away because its copies are kept elsewhere.
    #[must_use]
    pub fn is_kept_remotely(&self) -> bool {
        self.kept_remotely
    }

    /// What is said where something is asked of a run whose directory is not here: it was deleted, or is kept on endpoints alone.
    #[must_use]
    pub fn not_here(&self) -> Refusal {
        self.elsewhere().map_or(Refusal::Deleted, Refusal::KeptElsewhere)
    }

    /// Whether its artifacts go straight to endpoints, and are not written here.
    #[must_use]
    pub fn is_staged_elsewhere(&self) -> bool {
        self.planned_copies.staging == Staging::None
    }

    /// Whether bytes of artifacts went to the endpoint while these were written. What is there of a file may then be of an earlier try.
    #[must_use]
    pub fn has_streamed(&self, endpoint: &EndpointName) -> bool {
        self.streamed.contains(endpoint)
    }

    /// Whether what of it came to endpoints while it was written is of no use: it ended badly, and nobody was ever asked to make it exist
    /// there.
    #[must_use]
    pub fn was_given_up(&self) -> bool {
        let was_never_good = self.target == Some(Target::Failed) || self.sums_sha256.is_none();
        let ended_badly = self.outcome.is_some_and(|outcome| outcome.target() == Target::Failed);
        self.stage == Stage::Ended && ended_badly && was_never_good
    }

    /// How many must have it before it need not be here.
    fn enough(&self) -> RequireEndpoints {
        match (self.planned_copies.require, self.planned_copies.staging) {
            (_, Staging::None) | (RequireEndpoints::Any, _) => RequireEndpoints::Any,
            (RequireEndpoints::None | RequireEndpoints::All, _) => RequireEndpoints::All,
        }
    }
}
