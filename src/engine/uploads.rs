//! Copies of runs on endpoints: where they go, the uploads that are under way, and the wishes about them.
//!
//! What became of an upload is recorded by its run; an endpoint's actor gives each its turn. Here is what such a turn does: it opens the
//! far side as the endpoint is configured now, keeps the run from deletion while it is read, and sends what the far side does not have.
//! One try is one call: what may be tried again is decided, and recorded, by the run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use holdfast_actors::event_sourced::CommandError;
use holdfast_actors::ports::{PortFuture, UploadJob, Uploads};
use holdfast_actors::root::{RootError, RunHandle};
use holdfast_log::ReadLog;
use holdfast_log::home::Home;
use holdfast_log::owner::Owner;
use holdfast_model::endpoint::{Endpoint, EndpointConfigV2, UploadCheck as Asked, plaintext_refused};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::{
    Copies, Places, Refusal, RequireEndpoints, Run, RunCommand, RunType, Staging, UploadCheck, Uploaded,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use uuid::Uuid;

use super::streams::Streams;
use super::{EngineError, Holdfast, RemoteError, places};
use crate::endpoints::layer::retry::Attempts;
use crate::endpoints::{Address, AddressError, Credentials, ErrorKind, Limits, StoreError, place};
use crate::remote::{self, Remote, Streamed, UploadProgress, Verify};
use crate::storage::Storage;

/// What an endpoint's `mode` says where it takes full runs only.
const FULL_RUNS_ONLY: u32 = 1;

/// How long an endpoint is left alone at most where it asks for that.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// After each so many runs leftovers are looked for at an endpoint.
const SWEEP_EVERY: u32 = 20;

/// The uploads of one engine. Clones share them.
#[derive(Clone)]
pub(super) struct Uploader {
    home: Home,
    server_id: Uuid,
    log: Arc<dyn ReadLog>,
    at_work: Arc<Mutex<UnderWay>>,
    streams: Streams,
    runtime: Handle,
    /// Nothing is sent from a home that was given back.
    owner: Weak<Owner>,
}

/// The uploads that are under way.
type UnderWay = BTreeMap<(RunId, EndpointName), Arc<AtWork>>;

/// An upload that is under way.
#[derive(Default)]
struct AtWork {
    stop: Notify,
    progress: UploadProgress,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadCounts {
    /// Of which run.
    pub run_id: RunId,
    /// Where to.
    pub endpoint: EndpointName,
    /// Bytes that are there, those of earlier tries included.
    pub bytes_done: u64,
    /// Bytes in all; 0 before that is known.
    pub bytes_total: u64,
}

impl Uploader {
    pub(super) fn new(
        home: &Home,
        log: Arc<dyn ReadLog>,
        owner: &Arc<Owner>,
        streams: Streams,
        runtime: Handle,
    ) -> Self {
        let (server_id, owner) = (home.identity().server_id, Arc::downgrade(owner));
        Self { home: home.clone(), server_id, log, at_work: Arc::default(), streams, runtime, owner }
    }

    fn at_work(&self) -> MutexGuard<'_, UnderWay> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until far sides are freed of what came to them of runs that were given up.
    pub(super) async fn freed(&self) {
        self.streams.freed().await;
    }

    /// Ends what is under way. It is open in the log, and the next start goes on with it.
    pub(super) fn end(&self) {
        self.at_work().values().for_each(|work| work.stop.notify_one());
        self.streams.end();
    }

    /// Opens the way for a run's artifacts.
    async fn open_stream(self, run_id: RunId, endpoint: EndpointConfigV2, staging: Staging) {
        // Of what is kept nowhere here nothing can be sent twice; a vault loses nothing of what it acknowledged.
        let is_vault = matches!(Address::of(&endpoint), Ok(Address::Vault(_)));
        let once = Attempts { total: 1, delay: Duration::ZERO };
        let attempts = (staging == Staging::None && !is_vault).then_some(once);
        match self.open(&endpoint, None, attempts).await {
            Ok(remote) => self.streams.join(run_id, endpoint.name, remote),
            Err(error) => self.no_stream(run_id, &endpoint.name, failure(&error)),
        }
    }

    /// How far each upload is that is under way.
    pub(super) fn counts(&self) -> Vec<UploadCounts> {
        let at_work = self.at_work();
        let counted = at_work.iter().map(|((run_id, endpoint), work)| UploadCounts {
            run_id: *run_id,
            endpoint: endpoint.clone(),
            bytes_done: work.progress.done(),
            bytes_total: work.progress.total(),
        });
        counted.collect()
    }

    /// The place of this installation's runs at an endpoint, tried `attempts` times.
    pub(super) async fn open(
        &self,
        config: &EndpointConfigV2,
        server_id: Option<Uuid>,
        attempts: Option<Attempts>,
    ) -> Result<Arc<dyn Remote>, StoreError> {
        open_endpoint(self.home.root(), config, server_id.unwrap_or(self.server_id), attempts).await
    }

    async fn send(self, job: UploadJob, work: Arc<AtWork>) -> Result<Uploaded, Failure> {
        let UploadJob { run, endpoint } = job;
        let altered = run.copy_at(&endpoint.name).is_some_and(|copy| copy.altered);
        let run_id =
            run.id().ok_or_else(|| Failure::new(FailureKind::Fatal, "UPLOAD_SOURCE", "there is no such run"))?;
        if let Some(reason) = plaintext_refused(&endpoint, run.encryption()) {
            return Err(Failure::new(FailureKind::Fatal, "ENCRYPTION_REQUIRED", reason.to_string()));
        }
        let streamed =
            Streamed { any: run.has_streamed(&endpoint.name), there: self.streams.there(run_id, &endpoint.name).await };
        let is_committed_first = run.is_staged_elsewhere() && run.is_open();
        if is_committed_first && let Some(failure) = self.streams.lost(run_id, &endpoint.name) {
            return Err(failure);
        }
        let storage = Storage::at(self.home.backups());
        let unusable = |reason: String| Failure::new(FailureKind::Fatal, "UPLOAD_SOURCE", reason);
        let leased = tokio::task::spawn_blocking(move || {
            let lease = match is_committed_first {
                true => storage.lease_unpublished(run_id),
                false => storage.lease(run_id),
            };
            let lease = lease.map_err(|error| error.to_string())?;
            // What is listed here is what was published, or nothing of it leaves.
            let sums = lease.sums_sha256().map_err(|error| error.to_string())?;
            let same = run.sums_sha256() == Some(sums);
            same.then_some(lease).ok_or_else(|| {
                format!("SHA256SUMS of run {run_id} is not as it was published: `holdfast verify {run_id}`")
            })
        });
        let lease = leased.await.map_err(|panic| unusable(panic.to_string()))?.map_err(unusable)?;
        // A try is made once here: the run counts tries, and says when the next one is.
        let once = Attempts { total: 1, delay: Duration::ZERO };
        let attempts = (!is_committed_first).then_some(once);
        let remote = self.open(&endpoint, None, attempts).await.map_err(|error| failure(&error))?;
        let verify = match endpoint.verify {
            // Where it is nowhere else it is read again before anybody calls it completed.
            Asked::Size if is_committed_first => Verify::Readback,
            Asked::Size => Verify::Size,
            Asked::Readback => Verify::Readback,
        };
        let sent = remote::upload_streamed(&*remote, lease.path(), run_id, verify, &streamed, &work.progress).await;
        drop(lease);
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => {
                // Asked to be left alone for a while, an endpoint keeps its turn so long: nobody else may come, either.
                if let Some(pause) = error.retry_after().filter(|_| error.kind().retryable()) {
                    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
                }
                return Err(failure(&error));
            }
        };
        // What was found altered there once is read whole, or it would be taken for what was sent.
        if sent.was_there && (altered || verify == Verify::Readback && !remote.compares_hashes()) {
            let read = remote::verify(&*remote, run_id, &UploadProgress::default()).await;
            read.map_err(|error| altered_there(&endpoint.name, run_id, error))?;
        }
        self.streams.forget(run_id, &endpoint.name);
        // What uploads that never ended have left takes room there; looking for it reads much, so not each time.
        if run_id.counter().is_multiple_of(SWEEP_EVERY)
            && let Err(error) = remote.sweep().await
        {
            tracing::warn!(endpoint = %endpoint.name, %error, "what earlier uploads left there cannot be taken away");
        }
        let check = match (verify, remote.compares_hashes()) {
            (_, true) => UploadCheck::Hash,
            (Verify::Readback, false) => UploadCheck::Readback,
            (Verify::Size, false) => UploadCheck::Size,
        };
        let address = place(&endpoint).map_err(|error| unusable_address(&error))?;
        Ok(Uploaded { stored_bytes: sent.row.stored_bytes, sent_bytes: sent.sent_bytes, check, address })
    }
}

impl Uploads for Uploader {
    fn upload(&self, job: UploadJob) -> PortFuture<Result<Uploaded, Failure>> {
        let Some(owner) = self.owner.upgrade() else {
            let stopped = Failure::new(FailureKind::Cancelled, "ENGINE_STOPPED", "the engine has been stopped");
            return Box::pin(std::future::ready(Err(stopped)));
        };
        let Some(run_id) = job.run.id() else {
            let missing = Failure::new(FailureKind::Fatal, "UPLOAD_SOURCE", "there is no such run");
            return Box::pin(std::future::ready(Err(missing)));
        };
        // The home may be given back while a far side is waited for.
        drop(owner);
        let (uploader, key, work) = (self.clone(), (run_id, job.endpoint.name.clone()), Arc::<AtWork>::default());
        self.at_work().insert(key.clone(), work.clone());
        Box::pin(async move {
            // In a task of its own: a panic ends the upload and not what waits for it.
            let mut sending = tokio::spawn(uploader.clone().send(job, work.clone()));
            let sent = tokio::select! {
                biased;
                () = work.stop.notified() => {
                    sending.abort();
                    Err(Failure::new(FailureKind::Cancelled, "CANCELLED", "somebody asked to stop it"))
                }
                sent = &mut sending => sent.unwrap_or_else(|error| Err(ended_early(&error))),
            };
            let mut at_work = uploader.at_work();
            if at_work.get(&key).is_some_and(|mine| Arc::ptr_eq(mine, &work)) {
                at_work.remove(&key);
            }
            sent
        })
    }

    fn places(&self, of: Vec<EndpointName>) -> PortFuture<Places> {
        let log = self.log.clone();
        Box::pin(async move {
            let places = tokio::task::spawn_blocking(move || places::of(&*log, &of)).await;
            match places.map_err(|panic| panic.to_string()).and_then(|read| read.map_err(|error| error.to_string())) {
                Ok(places) => places,
                Err(error) => {
                    tracing::error!(%error, "where endpoints are cannot be told: no copy is counted");
                    Places::default()
                }
            }
        })
    }

    fn stop(&self, run_id: RunId, endpoint: &EndpointName) {
        if let Some(work) = self.at_work().get(&(run_id, endpoint.clone())) {
            work.stop.notify_one();
        }
    }

    fn stream(&self, run_id: RunId, endpoint: EndpointConfigV2, staging: Staging) {
        self.runtime.spawn(self.clone().open_stream(run_id, endpoint, staging));
    }

    fn no_stream(&self, run_id: RunId, endpoint: &EndpointName, failure: Failure) {
        self.streams.refuse(run_id, endpoint, failure);
    }

    fn written(&self, run_id: RunId, open: &[EndpointName], given_up: bool) {
        self.streams.written(run_id, open, given_up);
    }
}

/// The place of an installation's runs at an endpoint of a home, tried `attempts` times.
///
/// # Errors
/// [`StoreError`] where its address or its password cannot be used.
pub(crate) async fn open_endpoint(
    home: &Path,
    config: &EndpointConfigV2,
    server_id: Uuid,
    attempts: Option<Attempts>,
) -> Result<Arc<dyn Remote>, StoreError> {
    let doing = format!("use endpoint {}", config.name);
    let wrong = |why: String| StoreError::new(ErrorKind::Fatal, doing.clone(), why);
    let address = Address::of(config).map_err(|error| wrong(error.to_string()))?;
    let mut limits = Limits::of(config);
    limits.attempts = attempts.unwrap_or(limits.attempts);
    let (home, of) = (home.to_owned(), config.clone());
    let password = tokio::task::spawn_blocking(move || super::endpoint_password(&home, &of)).await;
    let password = password.map_err(|panic| wrong(panic.to_string()))?;
    let password =
        password.map_err(|error| StoreError::new(ErrorKind::Credentials, doing.clone(), error.to_string()))?;
    let credentials = Credentials { login: config.login.clone(), password };
    remote::open(&address, credentials, &limits, server_id)
}

fn altered_there(endpoint: &EndpointName, run_id: RunId, error: StoreError) -> Failure {
    match RemoteError::of_files(endpoint, run_id, error) {
        RemoteError::Remote(error) => failure(&error),
        error => Failure::new(FailureKind::Fatal, error.code(), error.to_string()),
    }
}

fn unusable_address(error: &AddressError) -> Failure {
    Failure::new(FailureKind::Fatal, "ENDPOINT_UNUSABLE", error.to_string())
}

fn ended_early(error: &tokio::task::JoinError) -> Failure {
    match error.is_panic() {
        true => Failure::new(FailureKind::Fatal, "UPLOAD_PANICKED", format!("a fault of the program itself: {error}")),
        false => Failure::new(FailureKind::Cancelled, "ENGINE_STOPPED", "the engine has been stopped"),
    }
}

/// Whether runs go there by themselves. One that says no address yet is nowhere to go.
fn is_in_use(config: &EndpointConfigV2) -> bool {
    config.enable && (!config.url.is_empty() || !config.host.is_empty())
}

/// What a far side said, as a failure that is recorded.
pub(super) fn failure(error: &StoreError) -> Failure {
    let kind = match error.kind() {
        ErrorKind::Retryable => FailureKind::Retryable,
        ErrorKind::Timeout => FailureKind::Timeout,
        ErrorKind::Full => FailureKind::Resource,
        _ => FailureKind::Fatal,
    };
    Failure::new(kind, error.code(), error.to_string())
}

impl Holdfast {
    /// Where copies of a run go that is asked for now.
    pub(super) async fn copies_of(&self, asked: Option<Copies>, run_type: RunType) -> Result<Copies, EngineError> {
        let now = self.shared.world.clock.now();
        let config = self.config();
        let known = self
            .read(|known| {
                let configs = known.endpoints.values().filter_map(Endpoint::config).cloned();
                let last = |name: &EndpointName| known.last_uploads.get(name).copied();
                configs.map(|config| (last(&config.name), config)).collect::<Vec<_>>()
            })
            .await?;
        let asked = match asked {
            // A machine without the room has none because somebody says where copies go, either.
            Some(copies) if copies.staging == Staging::Local => Copies { staging: config.runs.staging, ..copies },
            Some(copies) => copies,
            // One of these that is not there fails its copy, and not the backup.
            None if config.runs.endpoints.is_some() => {
                return Ok(Copies {
                    endpoints: config.runs.endpoints.clone().unwrap_or_default(),
                    require: config.runs.require_endpoints,
                    keep_local: config.runs.keep_local,
                    staging: config.runs.staging,
                });
            }
            None => {
                let takes = |config: &EndpointConfigV2| {
                    is_in_use(config) && (config.mode != FULL_RUNS_ONLY || run_type == RunType::Full)
                };
                let in_use = known.iter().any(|(_, config)| is_in_use(config));
                let mut takers: Vec<_> = known.iter().filter(|(_, config)| takes(config)).collect();
                // Who takes one seldom is not due each time.
                takers
                    .retain(|(last, config)| last.is_none_or(|last| now.seconds_since(last) >= config.timeinterval_s));
                takers.sort_by_key(|(_, config)| (config.priority, config.name.clone()));
                // A run that those in use do not take, as they are configured, needs none of them. That none is in use is another thing.
                let require = match takers.is_empty() && in_use {
                    true => RequireEndpoints::None,
                    false => config.runs.require_endpoints,
                };
                return Ok(Copies {
                    endpoints: takers.into_iter().map(|(_, config)| config.name.clone()).collect(),
                    require,
                    keep_local: config.runs.keep_local,
                    staging: config.runs.staging,
                });
            }
        };
        let missing: Vec<_> =
            asked.endpoints.iter().filter(|name| !known.iter().any(|(_, one)| one.name == **name)).collect();
        if !missing.is_empty() {
            return Err(EngineError::UnknownEndpoint(missing.into_iter().map(ToString::to_string).collect()));
        }
        Ok(asked)
    }

    /// Asks for copies of an ended run at these endpoints; at all that are in use, where none is named. The answer comes once that is
    /// recorded; copies that are there, or on their way, are not asked for again.
    ///
    /// # Errors
    /// [`EngineError`] where there is no such run or endpoint, or the run is none that is copied.
    pub async fn upload(&self, run_id: RunId, endpoints: Vec<EndpointName>) -> Result<RunHandle, EngineError> {
        let known = self
            .read(|known| {
                let configs = known.endpoints.values().filter_map(Endpoint::config);
                configs.map(|config| (config.name.clone(), is_in_use(config))).collect::<BTreeMap<_, _>>()
            })
            .await?;
        if self.read(|known| known.history.run(run_id).is_some_and(|entry| entry.foreign)).await? {
            return Err(RootError::Command(CommandError::Refused(Refusal::NotUploadable)).into());
        }
        let missing: Vec<_> =
            endpoints.iter().filter(|name| !known.contains_key(name)).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(EngineError::UnknownEndpoint(missing));
        }
        let endpoints = match endpoints.is_empty() {
            true => known.into_iter().filter(|(_, enable)| *enable).map(|(name, _)| name).collect(),
            false => endpoints,
        };
        if endpoints.is_empty() {
            return Err(EngineError::NoEndpoints);
        }
        self.for_run(run_id, RunCommand::UploadTo(endpoints)).await
    }

    /// Waits until no copy of a run is on its way any more.
    ///
    /// # Errors
    /// As [`Holdfast::wait`].
    pub async fn wait_for_uploads(&self, handle: RunHandle) -> Result<Arc<Run>, EngineError> {
        self.wait_until(handle, |run| !run.is_open() && !run.is_uploading()).await
    }

    /// How far each upload is that is under way.
    #[must_use]
    pub fn uploads(&self) -> Vec<UploadCounts> {
        self.shared.uploader.counts()
    }

    /// Records what an error says of a copy: that it is not there, or is not what was published.
    pub(super) async fn note_found(
        &self,
        endpoint: &EndpointName,
        run_id: RunId,
        error: &RemoteError,
    ) -> Result<(), EngineError> {
        match error {
            RemoteError::NotThere { .. } => self.copy_is_gone(endpoint, run_id).await,
            RemoteError::Altered { .. } => self.note_altered(endpoint, run_id, error.to_string()).await,
            _ => Ok(()),
        }
    }
}
