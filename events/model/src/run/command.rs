//! What may be wished of a run, and why a wish is refused.

use super::{
    ArtifactStoredV1, Copies, Elsewhere, Held, NotFrozen, ParticipantCompletedV1, ParticipantImportedV1,
    ParticipantProgressedV1, Places, RunImportRequestedV1, RunImportedV1, RunRequestedV4, RunVerifiedV1, Uploaded,
};
use crate::failure::Failure;
use crate::ids::{EndpointName, ParticipantName, Sha256, Timestamp};

/// A participant of a run that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewParticipant {
    /// Its name.
    pub name: ParticipantName,
    /// What it is.
    pub kind: String,
    /// Whether its failure fails the run.
    pub critical: bool,
    /// Its definition as JSON.
    pub definition: String,
    /// SHA-256 of the definition.
    pub definition_sha256: Sha256,
    /// Participants that work before it, where they are part of the run.
    pub depends_on: Vec<ParticipantName>,
    /// Tries within one attempt, the first included.
    pub max_tries: u32,
    /// The pause before the second try, in milliseconds.
    pub retry_delay_ms: u64,
    /// The version of the format it writes.
    pub format_version: u32,
}

/// One try of a participant in a run. An answer names it, so that a late one is not taken for that of a later try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    /// The run's attempt.
    pub attempt: u32,
    /// The try within it, 1 for the first.
    pub number: u32,
}

/// A run that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// All but the participants.
    pub request: RunRequestedV4,
    /// The participants, in the order they work in.
    pub participants: Vec<NewParticipant>,
    /// Where copies of it go.
    pub copies: Copies,
}

/// Where a run's directory was found after a process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Where a run works.
    Running,
    /// Where it was to be published.
    Published,
    /// In neither place.
    Nowhere,
}

/// A wish about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunCommand {
    /// Make it.
    Request(NewRun),
    /// Its turn has come.
    Start,
    /// Its directory is there.
    DirectoryReady,
    /// The participants stood still together.
    BarrierHeld(Held),
    /// They did not.
    BarrierFailed {
        /// Why.
        failure: Failure,
        /// Whose failure it was, where it was one's.
        by: Option<NotFrozen>,
    },
    /// Its directory could not be made.
    DirectoryFailed(Failure),
    /// A participant came further.
    Progress {
        /// In which try.
        of: Try,
        /// How far.
        progress: ParticipantProgressedV1,
    },
    /// A participant gave all it has.
    Complete {
        /// In which try.
        of: Try,
        /// Its artifacts.
        artifacts: Vec<ArtifactStoredV1>,
        /// The rest.
        completed: ParticipantCompletedV1,
    },
    /// A participant failed, or was stopped.
    Fail {
        /// Which.
        participant: ParticipantName,
        /// In which try.
        of: Try,
        /// Why.
        failure: Failure,
        /// The end of what its program said.
        output: String,
        /// Whether it may be tried again in this run, where the failure allows it: not in quarantine.
        may_retry: bool,
    },
    /// The pause after a failed try is over.
    Retry {
        /// Who.
        participant: ParticipantName,
        /// After which try.
        of: Try,
    },
    /// Stop.
    Cancel {
        /// Why.
        reason: String,
    },
    /// An attempt has taken as long as it may.
    TimedOut {
        /// Which: the deadline of an earlier one means nothing to a later one.
        attempt: u32,
    },
    /// Everything was read again and is as recorded.
    Sealed {
        /// SHA-256 of `SHA256SUMS`.
        sums_sha256: Sha256,
    },
    /// Reading again found artifacts that are not as recorded.
    SealFoundDamage(Vec<(ParticipantName, Failure)>),
    /// The directory could not be sealed or published.
    DirectoryLost(Failure),
    /// The directory is in its place.
    Published {
        /// Of a run that was staged elsewhere, what became of its commit at each endpoint.
        copies: Vec<(EndpointName, Result<Uploaded, Failure>)>,
    },
    /// Artifacts are about to go to this endpoint while they are written.
    StreamUpload(EndpointName),
    /// A process died over it.
    Recover {
        /// Where its directory is.
        found: Found,
        /// Completed participants whose artifacts are not as recorded, and why.
        broken: Vec<(ParticipantName, String)>,
        /// When the process that found it so took over: the gap ends there, however long the run waits for its turn.
        taken_over: Timestamp,
        /// Whether the process before was stopped in good order.
        stopped: bool,
    },
    /// Sizes and hashes were taken again.
    Verified(RunVerifiedV1),
    /// Keep it from deletion.
    Lock {
        /// Why.
        reason: String,
    },
    /// Let it be deleted again.
    Unlock,
    /// Take it away.
    Delete,
    /// Its directory is out of its place.
    Deleted,
    /// Its directory could not be taken out of its place.
    DeleteFailed(Failure),
    /// Copy it to these endpoints, also where that failed before.
    UploadTo(Vec<EndpointName>),
    /// The endpoint has time for it.
    UploadBegins {
        /// Which.
        endpoint: EndpointName,
        /// Tries in all, the first included.
        max_tries: u32,
        /// The pause after the first one, in milliseconds.
        retry_delay_ms: u64,
    },
    /// The endpoint does not take it.
    UploadRefused {
        /// Which.
        endpoint: EndpointName,
        /// Why.
        failure: Failure,
    },
    /// A try to send it there has ended.
    UploadEnded {
        /// Where to.
        endpoint: EndpointName,
        /// Which try.
        try_number: u32,
        /// What it came to.
        result: Result<Uploaded, Failure>,
    },
    /// The process, or the actor, that had its open uploads to do is gone.
    ResumeUploads {
        /// Those to this endpoint; all of them where none is named.
        only: Option<EndpointName>,
    },
    /// The endpoint does not have it any more.
    CopyDeleted(EndpointName),
    /// Take its directory away, where copies were asked for in its place and these say that they are there.
    Leave(Places),
    /// The endpoint has it, and not as it was published.
    CopyAltered {
        /// Which.
        endpoint: EndpointName,
        /// What is not.
        failure: Failure,
    },
    /// Its directory is not here: the log was brought to another machine, and the directories stayed where they were.
    NotHere,
    /// Bring it back from an endpoint.
    Import(RunImportRequestedV1),
    /// All its files have come and are as its manifest says; this is what that says of a run that is not known here.
    ImportFacts(RunImportedV1),
    /// What it says of one participant more.
    ImportParticipant {
        /// The participant.
        participant: ParticipantImportedV1,
        /// Its artifacts.
        artifacts: Vec<ArtifactStoredV1>,
    },
    /// All that is to be known of it is recorded.
    ImportWhole {
        /// SHA-256 of `SHA256SUMS`, as it came.
        sums_sha256: Sha256,
    },
    /// The directory that came is in its place.
    ImportPublished,
    /// It did not come back.
    ImportFailed(Failure),
}

/// Why a wish about a run was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such run.
    #[error("there is no such run: see `holdfast runs`")]
    NotFound,
    /// It is there already.
    #[error("a run with this id is there already")]
    Exists,
    /// What was asked for is not a run.
    #[error("{0}")]
    Invalid(String),
    /// It has ended, or is being published.
    #[error("the run is not active: only a queued or running one can be cancelled")]
    NotActive,
    /// It has not ended.
    #[error("the run has not ended: cancel it first, or `holdfast resume` it")]
    Active,
    /// It is kept from deletion.
    #[error("the run is locked{}: `holdfast unlock` it first", said(.0))]
    Locked(String),
    /// It has been deleted.
    #[error("the run has been deleted")]
    Deleted,
    /// It is kept on endpoints alone.
    #[error("{0}")]
    KeptElsewhere(Elsewhere),
    /// Its copies are on their way.
    #[error("copies of the run are on their way: wait for them, or `holdfast cancel` it first")]
    Uploading,
    /// There is nothing to copy.
    #[error("only a completed or partial run whose directory is here can be uploaded")]
    NotUploadable,
    /// It is being taken away.
    #[error("the run is being deleted: try again once it is gone")]
    BeingDeleted,
    /// It is being brought back.
    #[error("the run is being imported: wait for its end")]
    Importing,
    /// It is here, and nothing was said of replacing it.
    #[error("the run is here: say that it may be overwritten, to put the one of the endpoint in its place")]
    IsHere,
    /// What lies at the endpoint is not the run of this id that is known here.
    #[error(
        "what lies at the endpoint is not the run of this id that is known here: the hashes of its files are others"
    )]
    AnotherRun,
    /// The answer came to a question that is no longer asked.
    #[error("the run is not at a point where this can follow")]
    OutOfOrder,
}

/// The reason of a lock as part of a sentence.
fn said(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

impl Refusal {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotFound | Refusal::Deleted | Refusal::KeptElsewhere(_) => "BACKUP_RUN_NOT_FOUND",
            Refusal::Exists => "BACKUP_RUN_EXISTS",
            Refusal::Invalid(_) => "INVALID_DATA",
            Refusal::NotActive => "BACKUP_RUN_NOT_ACTIVE",
            Refusal::Active | Refusal::Uploading | Refusal::BeingDeleted => "BACKUP_RUN_ACTIVE",
            Refusal::NotUploadable => "BACKUP_RUN_NOT_UPLOADABLE",
            Refusal::Locked(_) => "BACKUP_RUN_LOCKED",
            Refusal::Importing => "BACKUP_RUN_IMPORTING",
            Refusal::IsHere => "BACKUP_RUN_EXISTS",
            Refusal::AnotherRun => "IMPORT_ANOTHER_RUN",
            Refusal::OutOfOrder => "OUT_OF_ORDER",
        }
    }
}
