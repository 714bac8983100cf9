//! Artifacts on their way to endpoints while they are written.
//!
//! A run's endpoints join when it begins. Of a run that is staged here, whoever joined reads each artifact's file as it grows, and nothing
//! waits for him: what he does not have in the end is sent after the publish, as if nothing had happened. Of a run that is not, the
//! [`Depot`](self::depot) hands the bytes to all who joined, and goes at the pace of the slowest.
//!
//! What is there whole is remembered by its hash while this process lives. Nothing of it counts before the run's commit.

mod depot;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_model::failure::Failure;
use holdfast_model::ids::{ArtifactName, EndpointName, RunId};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use self::depot::Depot;
use crate::endpoints::{ErrorKind, Meter, StoreError};
use crate::pipeline::{Course, Follower, Growing, Growth, Whole};
use crate::remote::growing::GrowingFile;
use crate::remote::{GrowingSource, Remote};

/// How long a run that is not staged here waits for its endpoints to join or to say why not.
const JOIN: Duration = Duration::from_secs(120);

/// How long an engine that stops waits until far sides are freed of runs that were given up.
const FREED_WITHIN: Duration = Duration::from_secs(10);

/// The artifacts of all runs that are on their way while they are written. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    runs: Arc<Mutex<BTreeMap<RunId, OfRun>>>,
    /// Counts who joined, for whoever waits for that.
    joined: watch::Sender<u64>,
    /// How many far sides are being freed of runs that were given up.
    freeing: watch::Sender<usize>,
    runtime: Handle,
}

/// Those of one run.
#[derive(Debug, Default)]
struct OfRun {
    /// Files that grow, for whoever joins late.
    growing: BTreeMap<ArtifactName, Growing>,
    endpoints: BTreeMap<EndpointName, Endpoint>,
    /// How many artifacts may go at once that are staged nowhere.
    turns: Option<Arc<Semaphore>>,
}

/// An endpoint of a run.
#[derive(Debug, Clone)]
enum Endpoint {
    Joined(Arc<Session>),
    Refused(Failure),
}

/// What goes to one endpoint of one run.
struct Session {
    run_id: RunId,
    endpoint: EndpointName,
    remote: Arc<dyn Remote>,
    files: Mutex<BTreeMap<ArtifactName, Sending>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("run_id", &self.run_id)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// A file of it.
enum Sending {
    /// On its way; it answers what is there whole.
    Going(Going),
    There(Whole),
    /// Another endpoint has it and this one does not: why.
    Missing(Failure),
}

/// A task that ends when it is not waited for any more.
struct Going(JoinHandle<Result<Whole, StoreError>>);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Streams {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runs: Arc::default(), joined: watch::Sender::new(0), freeing: watch::Sender::new(0), runtime }
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, OfRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An endpoint takes artifacts of a run from now on.
    pub(super) fn join(&self, run_id: RunId, endpoint: EndpointName, remote: Arc<dyn Remote>) {
        let session = Session { run_id, endpoint: endpoint.clone(), remote, files: Mutex::default() };
        let session = Arc::new(session);
        let mut runs = self.runs();
        let of_run = runs.entry(run_id).or_default();
        of_run.growing.retain(|_, growing| matches!(growing.growth(), Growth::Writing(_)));
        of_run.growing.iter().for_each(|(file, growing)| session.follow(file, growing.clone(), &self.runtime));
        of_run.endpoints.insert(endpoint, Endpoint::Joined(session));
        drop(runs);
        self.joined.send_modify(|count| *count += 1);
    }

    /// An endpoint takes none.
    pub(super) fn refuse(&self, run_id: RunId, endpoint: &EndpointName, failure: Failure) {
        self.runs().entry(run_id).or_default().endpoints.insert(endpoint.clone(), Endpoint::Refused(failure));
        self.joined.send_modify(|count| *count += 1);
    }

    /// The run has ended: what is known of these endpoints is of use yet. What came to any of them of a run that was given up is not.
    pub(super) fn written(&self, run_id: RunId, open: &[EndpointName], given_up: bool) {
        let mut runs = self.runs();
        let Some(of_run) = runs.get_mut(&run_id) else { return };
        of_run.growing.clear();
        if given_up {
            let joined = std::mem::take(&mut of_run.endpoints).into_values();
            for session in joined.filter_map(Endpoint::joined) {
                let freeing = Freeing::begin(&self.freeing);
                self.runtime.spawn(async move {
                    session.give_up().await;
                    drop(freeing);
                });
            }
        }
        of_run.endpoints.retain(|endpoint, _| open.contains(endpoint));
        if of_run.endpoints.is_empty() {
            runs.remove(&run_id);
        }
    }

    /// Waits until what came to far sides of runs that were given up is gone, as long as that may take: what is left is swept there one day.
    pub(super) async fn freed(&self) {
        let mut freeing = self.freeing.subscribe();
        let _ = tokio::time::timeout(FREED_WITHIN, freeing.wait_for(|many| *many == 0)).await;
    }

    /// Ends all that is on its way.
    pub(super) fn end(&self) {
        self.runs().clear();
    }

    /// Files that are at an endpoint whole, once those that are on their way have come to their end.
    pub(super) async fn there(&self, run_id: RunId, endpoint: &EndpointName) -> BTreeMap<ArtifactName, Whole> {
        let joined = self.runs().get(&run_id).and_then(|of_run| of_run.endpoints.get(endpoint).cloned());
        match joined {
            Some(Endpoint::Joined(session)) => session.settled().await,
            Some(Endpoint::Refused(_)) | None => BTreeMap::new(),
        }
    }

    /// Why an endpoint will never have all of a run that is kept nowhere here, if that is so.
    pub(super) fn lost(&self, run_id: RunId, endpoint: &EndpointName) -> Option<Failure> {
        match self.endpoint(run_id, endpoint)? {
            Endpoint::Joined(session) => session.lost(),
            Endpoint::Refused(failure) => Some(failure),
        }
    }

    /// The endpoint has the run, or never will.
    pub(super) fn forget(&self, run_id: RunId, endpoint: &EndpointName) {
        let mut runs = self.runs();
        if let Some(of_run) = runs.get_mut(&run_id) {
            of_run.endpoints.remove(endpoint);
            if of_run.endpoints.is_empty() && of_run.growing.is_empty() {
                runs.remove(&run_id);
            }
        }
    }

    /// The way of a run's artifacts that are staged here.
    pub(super) fn followed(&self, run_id: RunId) -> Course {
        Course::Followed(Arc::new(Following { streams: self.clone(), run_id }))
    }

    /// The way of a run's artifacts that are not. Waits until each endpoint has joined or said why it does not.
    pub(super) async fn depot(&self, run_id: RunId, endpoints: &[EndpointName]) -> Result<Course, Failure> {
        let mut joined = self.joined.subscribe();
        let waiting = async {
            while !self.all_known(run_id, endpoints) {
                if joined.changed().await.is_err() {
                    return;
                }
            }
        };
        // Who has not said anything by then is not waited for any longer.
        let _ = tokio::time::timeout(JOIN, waiting).await;
        Ok(Course::Away(Arc::new(Depot::new(self.clone(), run_id, endpoints)?)))
    }

    fn all_known(&self, run_id: RunId, endpoints: &[EndpointName]) -> bool {
        let runs = self.runs();
        let known = runs.get(&run_id).map(|of_run| &of_run.endpoints);
        endpoints.iter().all(|name| known.is_some_and(|known| known.contains_key(name)))
    }

    /// The turns of a run's artifacts, so many at a time where there are none yet.
    fn turns(&self, run_id: RunId, at_once: usize) -> Arc<Semaphore> {
        let mut runs = self.runs();
        let turns = &mut runs.entry(run_id).or_default().turns;
        turns.get_or_insert_with(|| Arc::new(Semaphore::new(at_once))).clone()
    }

    fn endpoint(&self, run_id: RunId, name: &EndpointName) -> Option<Endpoint> {
        self.runs().get(&run_id)?.endpoints.get(name).cloned()
    }
}

/// Counted as long as it is there.
struct Freeing(watch::Sender<usize>);

impl Freeing {
    fn begin(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|many| *many += 1);
        Self(count.clone())
    }
}

impl Drop for Freeing {
    fn drop(&mut self) {
        self.0.send_modify(|many| *many -= 1);
    }
}

impl Endpoint {
    fn joined(self) -> Option<Arc<Session>> {
        match self {
            Self::Joined(session) => Some(session),
            Self::Refused(_) => None,
        }
    }
}

impl Session {
    /// Ends what is on its way, and takes away what came there.
    async fn give_up(self: Arc<Self>) {
        let sending = std::mem::take(&mut *self.files());
        for sending in sending.into_values() {
            if let Sending::Going(mut going) = sending {
                going.0.abort();
                let _ = (&mut going.0).await;
            }
        }
        let (run_id, endpoint) = (self.run_id, &self.endpoint);
        if let Err(error) = self.remote.give_up(run_id).await {
            tracing::warn!(%run_id, %endpoint, %error, "what came there of a run that was given up stays until it is swept");
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<ArtifactName, Sending>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a file as it grows, once what an earlier try sent under its name has come to its end.
    fn follow(self: &Arc<Self>, file: &ArtifactName, growing: Growing, runtime: &Handle) {
        let source = GrowingFile::new(growing, file.to_string());
        self.send(file, source, runtime);
    }

    fn send(self: &Arc<Self>, file: &ArtifactName, source: impl GrowingSource + 'static, runtime: &Handle) {
        let mut files = self.files();
        let before = files.remove(file);
        let (remote, run_id, name) = (self.remote.clone(), self.run_id, file.clone());
        let endpoint = self.endpoint.clone();
        let task = runtime.spawn(async move {
            if let Some(Sending::Going(mut before)) = before {
                before.0.abort();
                let _ = (&mut before.0).await;
            }
            let sent = remote.stream(run_id, &name, &source, &Meter::default()).await;
            let whole = sent.and_then(|()| {
                let unknown = || StoreError::new(ErrorKind::Source, "send it", "it is not whole");
                source.whole().ok_or_else(unknown)
            });
            if let Err(error) = &whole {
                tracing::info!(%run_id, %endpoint, %error, "an artifact did not get there while it was written");
            }
            whole
        });
        files.insert(file.clone(), Sending::Going(Going(task)));
    }

    /// Waits for the end of a file's way.
    async fn end_of(&self, file: &ArtifactName) -> Result<Whole, StoreError> {
        let lost = || StoreError::new(ErrorKind::Source, format!("send {file}"), "it was given up");
        let mut going = {
            let mut files = self.files();
            match files.remove(file) {
                Some(Sending::Going(going)) => going,
                Some(Sending::There(whole)) => {
                    files.insert(file.clone(), Sending::There(whole));
                    return Ok(whole);
                }
                Some(Sending::Missing(failure)) => {
                    files.insert(file.clone(), Sending::Missing(failure));
                    return Err(lost());
                }
                None => return Err(lost()),
            }
        };
        let whole = (&mut going.0).await.unwrap_or_else(|_| Err(lost()))?;
        self.files().insert(file.clone(), Sending::There(whole));
        Ok(whole)
    }

    /// The files that are there whole, once none is on its way.
    async fn settled(&self) -> BTreeMap<ArtifactName, Whole> {
        let files: Vec<_> = self.files().keys().cloned().collect();
        let mut there = BTreeMap::new();
        for file in files {
            if let Ok(whole) = self.end_of(&file).await {
                there.insert(file, whole);
            }
        }
        there
    }

    /// Whether it lacks a file, other than this one, that another endpoint has.
    fn lacks_other(&self, file: &ArtifactName) -> bool {
        self.files().iter().any(|(name, sending)| name != file && matches!(sending, Sending::Missing(_)))
    }

    fn lacks(&self, file: &ArtifactName, failure: Failure) {
        self.files().insert(file.clone(), Sending::Missing(failure));
    }

    /// Why it will never have all of the run, if that is so.
    fn lost(&self) -> Option<Failure> {
        let files = self.files();
        files.values().find_map(|sending| match sending {
            Sending::Missing(failure) => Some(failure.clone()),
            Sending::Going(_) | Sending::There(_) => None,
        })
    }
}

/// Lets the endpoints of a run know of each artifact that is begun.
#[derive(Debug)]
struct Following {
    streams: Streams,
    run_id: RunId,
}

impl Follower for Following {
    fn begun(&self, file: &ArtifactName, growing: Growing) {
        let mut runs = self.streams.runs();
        let of_run = runs.entry(self.run_id).or_default();
        of_run.growing.retain(|_, growing| matches!(growing.growth(), Growth::Writing(_)));
        for endpoint in of_run.endpoints.values() {
            if let Endpoint::Joined(session) = endpoint {
                session.follow(file, growing.clone(), &self.streams.runtime);
            }
        }
        of_run.growing.insert(file.clone(), growing);
    }
}
