//! What the actors need from the world. The real ones are in the engine; tests may bring others.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use holdfast_log::EventLog;
use holdfast_model::endpoint::EndpointConfigV2;
use holdfast_model::failure::{Failure, Warnings};
use holdfast_model::ids::{EndpointName, ParticipantName, RestoreId, RunId, Sha256, Timestamp};
use holdfast_model::participant::{ChildV1, Work};
use holdfast_model::restore::{Did, Restore, Step};
use holdfast_model::run::{
    ArtifactStoredV1, Copies, Encryption, Found, Held, NotFrozen, Places, Run, RunParticipant, Staging, Target,
    Uploaded,
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::report::Report;

/// An answer to come, from another thread.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Time and ids.
pub trait Clock: Send + Sync {
    /// What the clock says.
    fn now(&self) -> Timestamp;
    /// A new UUIDv7.
    fn new_id(&self) -> Uuid;
}

/// What a look at a run's directory found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Where it is.
    pub found: Found,
    /// Completed participants whose artifacts are not as recorded, and why.
    pub broken: Vec<(ParticipantName, String)>,
}

/// Why a directory could not be sealed or published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryFailure {
    /// Artifacts of these participants are not as recorded, of one at least: they fail, the rest can go on.
    Damaged(Vec<(ParticipantName, Failure)>),
    /// The directory as a whole cannot be used, and is gone.
    Lost(Failure),
}

impl From<Failure> for DirectoryFailure {
    fn from(failure: Failure) -> Self {
        Self::Lost(failure)
    }
}

/// Run directories.
pub trait Backups: Send + Sync {
    /// Makes a run's directory, or sees that it is there.
    fn prepare(&self, run_id: RunId) -> PortFuture<Result<(), Failure>>;
    /// Looks where a run's directory is and whether recorded artifacts are as recorded; takes away what belongs to none.
    /// A failure says that it could not be looked at, which is no sign that it is gone.
    fn inspect(&self, run: Arc<Run>) -> PortFuture<Result<Inspection, Failure>>;
    /// Reads every artifact again, writes manifest and sums. Answers with the SHA-256 of the list of hashes.
    fn seal(&self, run: Arc<Run>) -> PortFuture<Result<Sha256, DirectoryFailure>>;
    /// Renames the directory to its place. May be called again after it was done.
    fn publish(&self, run: Arc<Run>, target: Target) -> PortFuture<Result<(), DirectoryFailure>>;
    /// Takes away the directory of a run that ends without one.
    fn discard(&self, run_id: RunId) -> PortFuture<()>;
    /// Takes the directory out of its place. May be called again after it was done.
    fn delete(&self, run: Arc<Run>) -> PortFuture<Result<(), Failure>>;
}

/// What a participant is to write.
pub struct Job {
    /// For which run and try.
    pub work: Work,
    /// The participant as the run planned it.
    pub participant: RunParticipant,
    /// How its artifacts are compressed.
    pub compression: String,
    /// How its artifacts are encrypted.
    pub encryption: Encryption,
    /// Where its artifacts go beside the run's directory, or instead of it.
    pub copies: Copies,
    /// Where it tells how far it has come.
    pub report: Arc<Report>,
    /// Whether it should stop.
    pub stop: Stop,
    /// Processes of earlier tries that are not known to be gone: they end before this one begins.
    pub left_over: Vec<ChildV1>,
    /// Records a process that was started for it, before that becomes the command it is for. Blocks: not to be called on the data
    /// plane's own threads.
    pub admit: Admit,
    /// Records what is known of its standstill.
    pub note: Note,
    /// To be told once, where its deadline has passed, it was told to stop, and it has not returned.
    pub stuck: Box<dyn Fn(Failure) + Send + Sync>,
}

/// Participants that are to stand still together.
pub struct BarrierJob {
    /// For which run.
    pub run_id: RunId,
    /// Who, in the order they are frozen in.
    pub participants: Vec<RunParticipant>,
    /// How long from the first freeze to the last thaw at most.
    pub budget: Duration,
    /// Whether it should stop.
    pub stop: Stop,
    /// What time it is when all of them stand still.
    pub clock: Arc<dyn Clock>,
    /// Records what is known of the standstill of each.
    pub notes: BTreeMap<ParticipantName, Note>,
}

/// Why participants did not stand still together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarrierFailure {
    /// What went wrong.
    pub failure: Failure,
    /// Whose failure it was, where it was one's.
    pub by: Option<Box<NotFrozen>>,
    /// Optional ones that had failed before.
    pub left_out: Vec<NotFrozen>,
}

impl From<Failure> for BarrierFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, by: None, left_out: Vec::new() }
    }
}

/// What is known of a participant's standstill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// A process was started for one of its phases.
    Child(ChildV1),
    /// It is about to be told to stand still, by these processes where it is told by processes.
    Freeze(Vec<ChildV1>),
    /// It was let go.
    Thawed,
}

/// Records what is known of a participant's standstill. Answers once that is durable, and blocks until then; a thaw is noted without a
/// wait: nobody is held up by the log while others stand still.
pub type Note = Arc<dyn Fn(Known) -> Result<(), Failure> + Send + Sync>;

/// Records a process of a participant's durably.
pub type Admit = Arc<dyn Fn(ChildV1) -> Result<(), Failure> + Send + Sync>;

/// Why a participant gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkFailure {
    /// What went wrong.
    pub failure: Failure,
    /// The end of what its program said.
    pub output: String,
}

impl From<Failure> for WorkFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, output: String::new() }
    }
}

/// What a participant wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its artifacts, on stable storage.
    pub artifacts: Vec<ArtifactStoredV1>,
    /// Files in them, for kinds that have files.
    pub files: u64,
    /// What it left out.
    pub warnings: Warnings,
    /// What can never be backed up.
    pub notes: Warnings,
}

/// Participants' own code.
pub trait Participants: Send + Sync {
    /// Lets one write. The answer comes when its code has returned, also when it panicked or was stopped, and then
    /// nothing of it is left in the run directory.
    fn drive(&self, job: Job) -> PortFuture<Result<Written, WorkFailure>>;
    /// Lets participants stand still together, and holds what each of them has then until [`Participants::drive`] writes it. The answer comes
    /// when none of them does any more.
    fn barrier(&self, job: BarrierJob) -> PortFuture<Result<Held, BarrierFailure>>;
    /// Lets go of what is held for a run and not written.
    fn release(&self, run_id: RunId);
    /// Stops what still writes for a run, and answers once it has returned, or is given up.
    fn stop(&self, run_id: RunId) -> PortFuture<()>;
}

/// One step of a restore in place.
pub struct RestoreJob {
    /// The restore as it is recorded.
    pub restore: Arc<Restore>,
    /// The step.
    pub step: Step,
    /// Whether it should stop.
    pub stop: Stop,
}

/// What a restore does in the world.
pub trait Restores: Send + Sync {
    /// Does a step. It may have been done before, by a process or an actor that is gone: then it is done again, to the same end. The answer
    /// comes when no code is at work for it any more, or what is at work was given up.
    fn step(&self, job: RestoreJob) -> PortFuture<Result<Did, Failure>>;
    /// Lets everybody go who stands still for a restore that has ended.
    fn release(&self, restore: Arc<Restore>) -> PortFuture<()>;
    /// A restore has ended, and who stands still for it stays so.
    fn forget(&self, restore_id: RestoreId);
}

/// A run that is to be sent to an endpoint.
pub struct UploadJob {
    /// The run, which has ended well.
    pub run: Arc<Run>,
    /// The endpoint as it is configured.
    pub endpoint: EndpointConfigV2,
}

/// Far sides.
pub trait Uploads: Send + Sync {
    /// Makes a copy of a run's directory there, whole and checked. What an earlier try left there is gone on with.
    fn upload(&self, job: UploadJob) -> PortFuture<Result<Uploaded, Failure>>;
    /// Where these endpoints are by all that is recorded; those that cannot be told are left out.
    fn places(&self, of: Vec<EndpointName>) -> PortFuture<Places>;
    /// Ends an upload that is under way; its answer is a failure then.
    fn stop(&self, run_id: RunId, endpoint: &EndpointName);
    /// Lets artifacts of a run go there from now on while they are written.
    fn stream(&self, run_id: RunId, endpoint: EndpointConfigV2, staging: Staging);
    /// Artifacts of a run cannot go there, which matters to one that keeps them nowhere else.
    fn no_stream(&self, run_id: RunId, endpoint: &EndpointName, failure: Failure);
    /// The run has ended: what was streamed of it is of use to its open uploads only. Of one that was given up it is of use to nobody, and
    /// is taken away where it came to.
    fn written(&self, run_id: RunId, open: &[EndpointName], given_up: bool);
}

/// Room that is kept for the log on a full disk.
pub trait Reserve: Send + Sync {
    /// Gives it up. `false` where there is none left.
    fn release(&self) -> bool;
}

/// A request to stop that any number of threads see.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Makes the request.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was made.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Everything the actors share.
#[derive(Clone)]
pub struct World {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Time and ids.
    pub clock: Arc<dyn Clock>,
    /// Run directories.
    pub backups: Arc<dyn Backups>,
    /// Participants' own code.
    pub participants: Arc<dyn Participants>,
    /// Restores in place.
    pub restores: Arc<dyn Restores>,
    /// Far sides.
    pub uploads: Arc<dyn Uploads>,
    /// Room for the log.
    pub reserve: Arc<dyn Reserve>,
    /// Where the work behind ports runs.
    pub data_plane: tokio::runtime::Handle,
    /// How often an actor ended early and was started again, since the process began.
    pub actor_restarts: Arc<AtomicU64>,
    /// Why nothing can be recorded any more. Set once: whoever waits for anything must give up then.
    pub lost: Arc<watch::Sender<Option<String>>>,
}

impl World {
    /// Says that nothing can be recorded any more.
    pub fn lose(&self, reason: String) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            if first {
                tracing::error!(reason, "nothing can be recorded any more");
                *lost = Some(reason);
            }
            first
        });
    }
}
