//! A world for the actors: the real log in memory, and ports that do nothing, note it, and fail when they are told to.

mod log;

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_actors::event_sourced::replay;
use holdfast_actors::participant::LiveCounts;
use holdfast_actors::ports::{
    Backups, BarrierFailure, BarrierJob, Clock, DirectoryFailure, Inspection, Job, Participants, PortFuture, Reserve,
    RestoreJob, Restores, UploadJob, Uploads, WorkFailure, World, Written,
};
use holdfast_actors::restores::ForRestore;
use holdfast_actors::root::{ForRun, RequestRun, Root, RunHandle, Shutdown};
use holdfast_actors::uploads::ForEndpoint;
use holdfast_log::MemoryLog;
use holdfast_model::codec::Origin;
use holdfast_model::endpoint::{Endpoint, EndpointCommand, EndpointConfigV2};
use holdfast_model::failure::{Failure, FailureKind, Warnings};
use holdfast_model::ids::{EndpointName, RestoreId, RunId, Sha256, StreamId, Timestamp};
use holdfast_model::restore::{
    Did, NewParticipant as NewRestored, NewRestore, Restore, RestoreCommand, RestoreParticipantPlannedV1,
    RestoreRequestedV3, RestoredParticipantV1, Safety, SafetySnapshot, Step,
};
use holdfast_model::run::{
    ArtifactStoredV1, Barrier, Copies, Encryption, Found, Held, NewParticipant, NewRun, ParticipantFrozenV1,
    ParticipantStatus, Places, Run, RunCommand, RunParticipant, RunRequestedV4, RunType, Staging, StoredFileV1, Target,
    Trigger, UploadCheck, Uploaded,
};
use tokio::sync::watch;
use uuid::Uuid;

use self::log::Log;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    None,
    Participant(&'static str, Failure),
    DamageAtSeal(&'static str),
    PanicOnce(&'static str),
    PanicAlways(&'static str),
    LogAfter(u64),
    NoSpaceOnceAfter(u64),
    WaitForStop(&'static str),
    /// So many tries to upload to this endpoint fail, each so.
    Uploads(&'static str, u32, Failure),
    /// It is told to stop, says that it is overdue, and never returns.
    Stuck(&'static str),
}

pub(crate) struct TestWorld {
    ports: Arc<Ports>,
    runtime: tokio::runtime::Runtime,
    world: World,
}

impl TestWorld {
    pub(crate) fn new(fault: Fault) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ports = Arc::new(Ports::new(fault));
        let world = World {
            log: Arc::new(Log { inner: MemoryLog::default(), ports: ports.clone() }),
            clock: Arc::new(TestClock::default()),
            backups: ports.clone(),
            participants: ports.clone(),
            restores: ports.clone(),
            uploads: ports.clone(),
            reserve: ports.clone(),
            data_plane: runtime.handle().clone(),
            actor_restarts: Arc::default(),
            lost: Arc::new(watch::Sender::new(None)),
        };
        Self { ports, runtime, world }
    }

    pub(crate) fn back_up(&self, participants: &[&str]) -> Arc<Run> {
        self.back_up_together(&[participants]).remove(0)
    }

    pub(crate) fn back_up_together(&self, runs: &[&[&str]]) -> Vec<Arc<Run>> {
        self.with_root(async |root| {
            let mut handles = Vec::new();
            for (counter, participants) in (1..).zip(runs) {
                handles.push(request(&root, counter, participants).await);
            }
            let mut ends = Vec::new();
            for handle in handles {
                ends.push(ended(handle).await);
            }
            ends
        })
    }

    /// Makes a run and copies of it at these endpoints, until all of these came to their end.
    pub(crate) fn copy_to(&self, endpoints: &[&str]) -> Arc<Run> {
        self.with_root(async |root| {
            for name in endpoints {
                let config = EndpointConfigV2 { retry_delay_s: 0, ..EndpointConfigV2::new(name.parse().unwrap()) };
                let command = EndpointCommand::Add(config);
                let message = ForEndpoint { endpoint: name.parse().unwrap(), command, origin: origin() };
                root.send(message).await.unwrap().unwrap();
            }
            let copies = Copies {
                endpoints: endpoints.iter().chain(&["nowhere"]).map(|name| name.parse().unwrap()).collect(),
                ..Copies::default()
            };
            let mut handle = request_with(&root, 1, &["one"], copies).await;
            let copied = handle.watch.wait_for(|run| run.id().is_some() && !run.is_open() && !run.is_uploading());
            tokio::time::timeout(DEADLINE, copied).await.expect("in time").expect("told").clone()
        })
    }

    /// An endpoint as a replay of the log shows it.
    pub(crate) fn endpoint(&self, name: &str) -> Endpoint {
        replay::<Endpoint>(&*self.world.log, &StreamId::endpoint(&name.parse().unwrap())).unwrap().0
    }

    /// Restores into these, until nobody stands still for it any more.
    pub(crate) fn restore(&self, names: &[&str]) -> Arc<Restore> {
        let restore_id = RestoreId(Uuid::from_u128(1));
        let named =
            |name: &&str| RestoredParticipantV1 { name: name.parse().unwrap(), kind: "module".into(), critical: true };
        let planned = |name: &&str| NewRestored {
            planned: RestoreParticipantPlannedV1 {
                participant: name.parse().unwrap(),
                format_version: 1,
                atomic: true,
                bytes: 1,
            },
            depends_on: Vec::new(),
        };
        let request = RestoreRequestedV3 {
            restore_id,
            source_run: run_id(1),
            target: String::new(),
            staging: Vec::new(),
            selections: 0,
            overwrite: true,
            delete: false,
            force: true,
            safety: Safety::Required,
            timeout_ms: 0,
            participants: names.iter().map(named).collect(),
        };
        let new = NewRestore { request, participants: names.iter().map(planned).collect() };
        self.with_root(async |root| {
            let command = RestoreCommand::Begin(new);
            let mut handle = root.send(ForRestore { restore_id, command, origin: origin() }).await.unwrap().unwrap();
            let released = handle.released.wait_for(|released| *released);
            tokio::time::timeout(DEADLINE, released).await.expect("in time").expect("told");
            handle.watch.borrow().clone()
        })
    }

    pub(crate) fn back_up_until_lost(&self, participants: &[&str]) -> String {
        let mut lost = self.world.lost.subscribe();
        self.with_root(async |root| {
            request(&root, 1, participants).await;
            let reason = tokio::time::timeout(DEADLINE, lost.wait_for(Option::is_some)).await;
            reason.expect("in time").expect("told").clone().expect("a reason")
        })
    }

    pub(crate) fn cancel_when_at_work(&self, participants: &[&str]) -> Arc<Run> {
        self.with_root(async |root| {
            let mut handle = request(&root, 1, participants).await;
            let at_work = |run: &Arc<Run>| run.participants().iter().any(|p| p.status == ParticipantStatus::Running);
            tokio::time::timeout(DEADLINE, handle.watch.wait_for(at_work)).await.expect("in time").expect("told");
            let command = RunCommand::Cancel { reason: "test".into() };
            root.send(ForRun { run_id: handle.run_id, command, origin: origin() }).await.unwrap().unwrap();
            ended(handle).await
        })
    }

    /// The first run as a replay of the log shows it.
    pub(crate) fn replayed(&self) -> Run {
        replay::<Run>(&*self.world.log, &StreamId::run(run_id(1))).unwrap().0
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.ports.calls.lock().unwrap().clone()
    }

    fn with_root<T: Send>(&self, story: impl AsyncFnOnce(actix::Addr<Root>) -> T + Send) -> T {
        let (send, started) = std::sync::mpsc::channel();
        let world = self.world.clone();
        let thread = std::thread::spawn(move || {
            let system = actix::System::new();
            let root = system.block_on(async move { Root::start(world, LiveCounts::default(), 1, origin()) });
            send.send(root).unwrap();
            system.run().unwrap();
        });
        let root = started.recv().unwrap();
        let told = self.runtime.block_on(story(root.clone()));
        root.do_send(Shutdown);
        thread.join().unwrap();
        told
    }
}

async fn request(root: &actix::Addr<Root>, counter: u32, participants: &[&str]) -> RunHandle {
    request_with(root, counter, participants, Copies::default()).await
}

async fn request_with(root: &actix::Addr<Root>, counter: u32, participants: &[&str], copies: Copies) -> RunHandle {
    let participant = |name: &&str| NewParticipant {
        name: name.parse().unwrap(),
        kind: "test".into(),
        critical: true,
        definition: "{}".into(),
        definition_sha256: Sha256::default(),
        depends_on: Vec::new(),
        max_tries: 3,
        retry_delay_ms: 2,
        format_version: 0,
    };
    let run = NewRun {
        request: RunRequestedV4 {
            run_id: run_id(counter),
            run_type: RunType::Full,
            trigger: Trigger::Manual,
            compression: "none".into(),
            strict: false,
            max_attempts: 9,
            resume_within_s: 3600,
            max_parallel: 1,
            job: String::new(),
            idempotency_key: String::new(),
            consistency: holdfast_model::run::Consistency::Concurrent,
            freeze_budget_ms: 10_000,
            timeout_ms: 0,
            encryption: Encryption::default(),
        },
        participants: participants.iter().map(participant).collect(),
        copies,
    };
    root.send(RequestRun { run, origin: origin() }).await.unwrap().unwrap()
}

async fn ended(mut handle: RunHandle) -> Arc<Run> {
    let end = tokio::time::timeout(DEADLINE, handle.watch.wait_for(|run| run.id().is_some() && !run.is_open())).await;
    end.expect("the run ends in time").expect("the actor tells").clone()
}

fn run_id(counter: u32) -> RunId {
    RunId::new(Timestamp(1_795_298_400_000_000), counter)
}

fn origin() -> Origin {
    Origin { principal: "test".into(), correlation_id: Uuid::nil() }
}

#[derive(Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_298_400_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

struct Ports {
    fault: Fault,
    calls: Mutex<Vec<String>>,
    panics: AtomicU32,
    damaged: AtomicU32,
    uploads: AtomicU32,
}

impl Ports {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            calls: Mutex::default(),
            panics: AtomicU32::new(0),
            damaged: AtomicU32::new(0),
            uploads: AtomicU32::new(0),
        }
    }

    /// Notes a call, and panics in it, in the actor that makes it, where that is the fault.
    fn call(&self, call: &str) {
        self.calls.lock().unwrap().push(call.to_owned());
        let panics = match self.fault {
            Fault::PanicOnce(at) => at == call && self.panics.fetch_add(1, Ordering::Relaxed) == 0,
            Fault::PanicAlways(at) => at == call,
            _ => false,
        };
        assert!(!panics, "a panic on purpose in {call}");
    }
}

impl Backups for Ports {
    fn prepare(&self, _run_id: RunId) -> PortFuture<Result<(), Failure>> {
        self.call("prepare");
        Box::pin(async { Ok(()) })
    }

    fn inspect(&self, _run: Arc<Run>) -> PortFuture<Result<Inspection, Failure>> {
        Box::pin(async { Ok(Inspection { found: Found::Running, broken: Vec::new() }) })
    }

    fn seal(&self, _run: Arc<Run>) -> PortFuture<Result<Sha256, DirectoryFailure>> {
        self.call("seal");
        let damaged = match self.fault {
            Fault::DamageAtSeal(name) if self.damaged.fetch_add(1, Ordering::Relaxed) == 0 => Some(name),
            _ => None,
        };
        Box::pin(async move {
            match damaged {
                None => Ok(Sha256::default()),
                Some(name) => {
                    let failure = Failure::new(FailureKind::Fatal, "ARTIFACT_ALTERED", "altered");
                    Err(DirectoryFailure::Damaged(vec![(name.parse().unwrap(), failure)]))
                }
            }
        })
    }

    fn publish(&self, _run: Arc<Run>, _target: Target) -> PortFuture<Result<(), DirectoryFailure>> {
        self.call("publish");
        Box::pin(async { Ok(()) })
    }

    fn discard(&self, _run_id: RunId) -> PortFuture<()> {
        self.call("discard");
        Box::pin(async {})
    }

    fn delete(&self, _run: Arc<Run>) -> PortFuture<Result<(), Failure>> {
        self.call("delete");
        Box::pin(async { Ok(()) })
    }
}

impl Uploads for Ports {
    fn upload(&self, job: UploadJob) -> PortFuture<Result<Uploaded, Failure>> {
        let name = job.endpoint.name.to_string();
        self.call(&format!("upload {name}"));
        let fails = match &self.fault {
            Fault::Uploads(at, times, failure) if *at == name => {
                (self.uploads.fetch_add(1, Ordering::Relaxed) < *times).then(|| failure.clone())
            }
            _ => None,
        };
        let uploaded =
            Uploaded { stored_bytes: 10, sent_bytes: 10, check: UploadCheck::Hash, address: "file:///far".into() };
        Box::pin(async move { fails.map_or(Ok(uploaded), Err) })
    }

    fn places(&self, of: Vec<EndpointName>) -> PortFuture<Places> {
        let mut places = Places::default();
        of.into_iter().for_each(|name| places.note(name, "file:///far".into(), Timestamp(0)));
        Box::pin(async move { places })
    }

    fn stop(&self, _run_id: RunId, _endpoint: &EndpointName) {}

    fn stream(&self, _run_id: RunId, endpoint: EndpointConfigV2, _staging: Staging) {
        self.call(&format!("stream {}", endpoint.name));
    }

    fn no_stream(&self, _run_id: RunId, endpoint: &EndpointName, _failure: Failure) {
        self.call(&format!("no stream {endpoint}"));
    }

    fn written(&self, _run_id: RunId, _open: &[EndpointName], _given_up: bool) {}
}

impl Restores for Ports {
    fn step(&self, job: RestoreJob) -> PortFuture<Result<Did, Failure>> {
        self.call(&format!("{:?}", job.step));
        let fails = match &self.fault {
            Fault::Participant(name, failure) if matches!(&job.step, Step::Commit(one) if one.as_str() == *name) => {
                Some(failure.clone())
            }
            _ => None,
        };
        let kept = SafetySnapshot { at: Timestamp(0), sums_sha256: Sha256::default(), artifacts: Vec::new() };
        Box::pin(async move {
            match (fails, job.step) {
                (Some(failure), _) => Err(failure),
                (None, Step::Verify | Step::Stage(_)) => Ok(Did::Read(1)),
                (None, Step::Snapshot) => Ok(Did::Kept(kept)),
                (None, _) => Ok(Did::Done),
            }
        })
    }

    fn release(&self, _restore: Arc<Restore>) -> PortFuture<()> {
        self.call("release");
        Box::pin(async {})
    }

    fn forget(&self, _restore_id: RestoreId) {}
}

impl Participants for Ports {
    fn barrier(&self, job: BarrierJob) -> PortFuture<Result<Held, BarrierFailure>> {
        let times = |one: &RunParticipant| ParticipantFrozenV1 {
            participant: one.name.clone(),
            prepare_us: 0,
            freeze_us: 0,
            capture_us: 0,
            thaw_us: 0,
            held_us: 0,
        };
        let frozen = job.participants.iter().map(times).collect();
        let barrier = Barrier { at: job.clock.now(), longest_us: 0 };
        Box::pin(async move { Ok(Held { barrier, frozen, left_out: Vec::new() }) })
    }

    fn release(&self, _run_id: RunId) {}

    fn stop(&self, _run_id: RunId) -> PortFuture<()> {
        Box::pin(async {})
    }

    fn drive(&self, job: Job) -> PortFuture<Result<Written, WorkFailure>> {
        let name = job.participant.name.clone();
        self.call(&format!("drive {name}"));
        let fault = self.fault.clone();
        Box::pin(async move {
            match fault {
                Fault::Participant(failing, failure) if failing == name.as_str() => return Err(failure.into()),
                Fault::Stuck(stuck) if stuck == name.as_str() => {
                    (job.stuck)(Failure::new(FailureKind::Timeout, "PARTICIPANT_TIMEOUT", "too long"));
                    std::future::pending::<()>().await;
                }
                Fault::WaitForStop(waiting) if waiting == name.as_str() => {
                    while !job.stop.requested() {
                        tokio::task::yield_now().await;
                    }
                    return Err(Failure::new(FailureKind::Cancelled, "CANCELLED", "stopped").into());
                }
                _ => {}
            }
            let stored = StoredFileV1 {
                file: format!("{name}.data").parse().unwrap(),
                size_bytes: 1,
                sha256: Sha256::default(),
            };
            let artifact = ArtifactStoredV1 {
                participant: name.clone(),
                logical_name: stored.file.clone(),
                stored,
                content_bytes: 1,
                content_sha256: Sha256::default(),
                compression: "none".into(),
                index: None,
            };
            let nothing = Warnings::default();
            Ok(Written { artifacts: vec![artifact], files: 1, warnings: nothing.clone(), notes: nothing })
        })
    }
}

impl Reserve for Ports {
    fn release(&self) -> bool {
        self.call("release");
        true
    }
}
