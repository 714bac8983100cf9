//! Why the engine did not do what it was asked.

use holdfast_actors::event_sourced::CommandError;
use holdfast_actors::root::RootError;
use holdfast_log::home::HomeError;
use holdfast_log::owner::OwnerError;
use holdfast_log::{AppendError, OpenError};
use holdfast_model::access::AccessRefusal;
use holdfast_model::endpoint::{EndpointRefusal, PlaintextRefused};
use holdfast_model::failure::Failure;
use holdfast_model::ids::{EndpointName, ParticipantName, Position, RestoreId, RunId};
use holdfast_model::participant::ParticipantRefusal;
use holdfast_model::restore::RestoreRefusal;
use holdfast_model::run::Refusal;

use super::secrets::SecretsError;
use super::view::ViewError;
use crate::encryption::EncryptionError;
use crate::pipeline::PipelineError;
use crate::storage::StorageError;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no usable home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Another process owns the home.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The start could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// An actor said no.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Workers cannot be started.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The run directories cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file of secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// An endpoint would be given unencrypted runs.
    #[error(transparent)]
    Plaintext(PlaintextRefused),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// A participant is being restored, and one restore is made at a time.
    #[error("restore {restore_id} of {participants} is not at its end: wait for it, or see to it")]
    Restoring {
        /// The participants.
        participants: String,
        /// The restore.
        restore_id: RestoreId,
    },
    /// A restore is open that nobody works on: some of its participants are not there.
    #[error(
        "restore {restore_id} of {participants} was interrupted, and is settled once all of these are there: give back what the          configuration had of them, or start their application, then `holdfast resume`"
    )]
    RestoreUnsettled {
        /// All its participants.
        participants: String,
        /// The restore.
        restore_id: RestoreId,
    },
    /// A participant is as a restore left it that could not be rolled back: that is no state to back up.
    #[error(
        "restore {restore_id} could not be rolled back, and {participant} is as that left it, which is no state to back up: \
         `holdfast restore retry {restore_id}`, restore again, or put it right and say `holdfast maintenance off`"
    )]
    NotRolledBack {
        /// The participant.
        participant: ParticipantName,
        /// The restore.
        restore_id: RestoreId,
    },
    /// A restore into a folder is at work, and one is made at a time.
    #[error("restore {restore_id} into a folder is at work: wait for its end")]
    RestoringFolder {
        /// The restore.
        restore_id: RestoreId,
    },
    /// A backup is at work beside which nothing is restored in place.
    #[error("run {0} is at work: wait for its end, or cancel it")]
    BackupAtWork(RunId),
    /// A restore is to be rolled back that is not the last one of its modules.
    #[error(
        "restore {later} came after restore {restore_id}, and was not undone: what was before this one is not what was before \
         that; where that one is rollback_failed, retry it first"
    )]
    RestoredSince {
        /// The restore.
        restore_id: RestoreId,
        /// The one that came later.
        later: RestoreId,
    },
    /// A restore could not be claimed.
    #[error("the restore cannot be claimed in the home, so it was not begun: {0}")]
    Claim(#[source] std::io::Error),
    /// What is known is behind the log.
    #[error("the log has not been folded up to position {upto} in time: the machine is very busy, try again")]
    Behind {
        /// How far it was to be.
        upto: Position,
    },
    /// Nothing can be recorded any more.
    #[error("nothing can be recorded any more: {0}")]
    Lost(String),
    /// A thread could not be started or panicked.
    #[error("a thread of the engine failed: {0}")]
    Thread(String),
    /// A deletion was recorded, and the directory is still there.
    #[error("run {run_id} could not be deleted, and is kept: {failure}")]
    NotDeleted {
        /// The run.
        run_id: RunId,
        /// Why.
        failure: Failure,
    },
    /// A participant cannot be called so.
    #[error("{name:?} is no name of a participant: {reason}")]
    ParticipantName {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// Two participants have the same name.
    #[error("two participants are called {0}: names are told apart without case")]
    ParticipantTwice(ParticipantName),
    /// A backup with a barrier was asked for, of participants that have no part in one.
    #[error("these participants cannot stand still: {}; leave them out, or ask for a concurrent backup", .0.join(", "))]
    CannotStandStill(Vec<String>),
    /// A run of participants that are not there was asked for.
    #[error("no participant is called {}: known are {}", unknown.join(", "), if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    UnknownParticipant {
        /// Those asked for in vain.
        unknown: Vec<String>,
        /// Those that are there.
        known: Vec<String>,
    },
    /// A key of the configuration cannot be used.
    #[error(transparent)]
    Encryption(EncryptionError),
    /// No endpoint is called so.
    #[error("no endpoint is called {}: see `holdfast endpoints list`", .0.join(", "))]
    UnknownEndpoint(Vec<String>),
    /// A run is on its way there.
    #[error("a run is on its way to endpoint {0}: wait for its end, or cancel it")]
    EndpointBusy(EndpointName),
    /// The last copy of a run is to be deleted.
    #[error(
        "run {run_id} is not kept whole here, and the copy at {endpoint} is the last one that is known to be there: bring it back first with \
         `holdfast remote import {endpoint} {run_id}`, or say --force"
    )]
    LastCopy {
        /// The run.
        run_id: RunId,
        /// Where its last copy is.
        endpoint: EndpointName,
    },
    /// The directory of a run is to be deleted, and none of its copies is known to be there.
    #[error("run {run_id} is known to be here alone: {doubt}; --force deletes it all the same")]
    OnlyHere {
        /// The run.
        run_id: RunId,
        /// Why a copy of it does not count.
        doubt: String,
    },
    /// An endpoint that copies wait for is to go, or to be another place.
    #[error(
        "a copy of run {run_id} waits for endpoint {endpoint}: wait for its end, or `holdfast cancel {run_id}`; --force lets it fail"
    )]
    EndpointAwaited {
        /// The endpoint.
        endpoint: EndpointName,
        /// The run.
        run_id: RunId,
    },
    /// An endpoint that has the last copies of runs is to go, or to be another place.
    #[error(
        "endpoint {endpoint} alone has these runs: {runs}; without it nothing here leads to them any more: bring them back with `holdfast \
         remote import {endpoint} RUN`, or say --force"
    )]
    HoldsLastCopies {
        /// The endpoint.
        endpoint: EndpointName,
        /// Some of the runs.
        runs: String,
    },
    /// Copies were asked for, and there is no endpoint in use.
    #[error("there is no endpoint in use: add one with `holdfast endpoints add`")]
    NoEndpoints,
    /// The configuration has commands, and nothing was said that could start them.
    #[error(
        "the configuration has commands: say by Builder::launcher what starts them (this program, where its main begins \
         with command::launch_if_asked, or the path of the holdfast program)"
    )]
    NoLauncher,
    /// A full run was asked for, and there is no participant.
    #[error("there is no participant to back up: configure one, or register one")]
    NoParticipants,
    /// The engine has been stopped.
    #[error("the engine has been stopped")]
    Stopped,
}

impl EngineError {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            EngineError::Home(error) => error.code(),
            EngineError::Owner(error) => error.code(),
            EngineError::Open(error) => error.code(),
            EngineError::View(_) => "LOG_UNREADABLE",
            EngineError::Append(error) => error.code(),
            EngineError::Root(error) => of_actor(error),
            EngineError::Pipeline(error) => error.code(),
            EngineError::Storage(error) => error.code(),
            EngineError::Secrets(error) => error.code(),
            EngineError::Plaintext(_) => "ENDPOINT_PLAINTEXT",
            EngineError::Random(_) => "NO_RANDOM_NUMBERS",
            EngineError::Restoring { .. }
            | EngineError::RestoringFolder { .. }
            | EngineError::RestoreUnsettled { .. } => "RESTORE_ALREADY_RUNNING",
            EngineError::NotRolledBack { .. } => "RESTORE_ROLLBACK_FAILED",
            EngineError::BackupAtWork(_) => "BACKUP_ALREADY_RUNNING",
            EngineError::RestoredSince { .. } => "RESTORE_NOT_RETRYABLE",
            EngineError::Claim(_) => "RESTORE_NOT_CLAIMED",
            EngineError::Behind { .. } => "PROJECTION_BEHIND",
            EngineError::Lost(_) => "LOG_LOST",
            EngineError::Thread(_) => "THREAD_FAILED",
            EngineError::NotDeleted { .. } => "BACKUP_RUN_DELETE_FAILED",
            EngineError::ParticipantName { .. } => "INVALID_DATA",
            EngineError::ParticipantTwice(_) => "PARTICIPANT_TWICE",
            EngineError::UnknownParticipant { .. } => "UNKNOWN_PARTICIPANT",
            EngineError::CannotStandStill(_) => "BARRIER_NOT_SUPPORTED",
            EngineError::Encryption(error) => error.code(),
            EngineError::UnknownEndpoint(_) => "RET_NOT_FOUND",
            EngineError::NoEndpoints => "NO_ENDPOINTS",
            EngineError::EndpointBusy(_) => "ENDPOINT_BUSY",
            EngineError::LastCopy { .. } | EngineError::OnlyHere { .. } => "LAST_COPY",
            EngineError::EndpointAwaited { .. } => "ENDPOINT_BUSY",
            EngineError::HoldsLastCopies { .. } => "ENDPOINT_HOLDS_COPIES",
            EngineError::NoLauncher => "NO_LAUNCHER",
            EngineError::NoParticipants => "NO_PARTICIPANTS",
            EngineError::Stopped => "ENGINE_STOPPED",
        }
    }
}

fn of_actor(error: &RootError) -> &'static str {
    match error {
        RootError::Command(error) => of_command(error, Refusal::code),
        RootError::Restore(error) => of_command(error, RestoreRefusal::code),
        RootError::Endpoint(error) => of_command(error, EndpointRefusal::code),
        RootError::Access(error) => of_command(error, AccessRefusal::code),
        RootError::Record(error) => of_command(error, |refusal| match *refusal {}),
        RootError::Participant(error) => of_command(error, |refusal| match refusal {
            ParticipantRefusal::NotQuarantined => "PARTICIPANT_NOT_QUARANTINED",
            _ => "PARTICIPANT_BUSY",
        }),
        RootError::Replay(_) => "LOG_UNREADABLE",
        RootError::Gone => "ACTOR_FAILED",
    }
}

fn of_command<E: std::error::Error>(error: &CommandError<E>, refused: impl Fn(&E) -> &'static str) -> &'static str {
    match error {
        CommandError::Refused(refusal) => refused(refusal),
        CommandError::Codec(_) => "EVENT_INVALID",
        CommandError::NotRecorded(_) => "NOT_RECORDED",
        CommandError::OutcomeUnknown(_) => "OUTCOME_UNKNOWN",
    }
}
