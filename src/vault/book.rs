//! The vault's own state: events in its log, folded in memory.
//!
//! Each change is decided, recorded and folded in a task of its own that nobody's going away ends: a client that hangs up between the record
//! and the fold leaves nothing that memory does not know. One change at a time; reading waits for none.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use holdfast_actors::event_sourced::replay;
use holdfast_actors::ports::Clock;
use holdfast_log::space::Ballast;
use holdfast_log::{Append, AppendError, DurableLog, EventLog, Options};
use holdfast_model::aggregate::{Aggregate, Moment};
use holdfast_model::audit::{Audit, AuditCommand};
use holdfast_model::codec::{Origin, record};
use holdfast_model::event::Event;
use holdfast_model::ids::{StreamId, Version};
use holdfast_model::vault::{VaultAccess, VaultAccessCommand, VaultClient, VaultClientCommand};
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use super::error::VaultError;
use crate::engine::SystemClock;

/// A state and how many events it is folded from.
#[derive(Debug, Default)]
struct Folded<A> {
    state: A,
    version: Version,
}

#[derive(Debug, Default)]
struct State {
    access: Folded<VaultAccess>,
    clients: BTreeMap<Uuid, Folded<VaultClient>>,
    audit: Folded<Audit>,
}

/// See the module.
pub(super) struct Book {
    log: Arc<DurableLog>,
    ballast: Ballast,
    state: RwLock<State>,
    writing: Mutex<()>,
    lost: watch::Sender<bool>,
    runtime: tokio::runtime::Handle,
}

/// Which part of the state.
type Part<A> = fn(&mut State, Uuid) -> &mut Folded<A>;

impl Book {
    /// Opens the log in `dir` and folds it. Blocks.
    pub(super) fn open(dir: &Path, ballast: Ballast, runtime: tokio::runtime::Handle) -> Result<Arc<Self>, VaultError> {
        let (log, report) = DurableLog::open(dir, Options::default())?;
        if !report.is_clean() {
            tracing::warn!(what = %report, "opening the vault's event log found something");
        }
        let mut state = State::default();
        let (access, version) = replay::<VaultAccess>(&log, &StreamId::vault_access())?;
        for server_id in access.clients() {
            let (client, version) = replay::<VaultClient>(&log, &StreamId::vault_client(server_id))?;
            state.clients.insert(server_id, Folded { state: client, version });
        }
        state.access = Folded { state: access, version };
        state.audit.version = replay::<Audit>(&log, &StreamId::audit())?.1;
        if let Err(error) = ballast.ensure() {
            tracing::warn!(%error, "the log's reserve on disk cannot be made");
        }
        let (state, writing, lost) = (RwLock::new(state), Mutex::new(()), watch::Sender::new(false));
        Ok(Arc::new(Self { log: Arc::new(log), ballast, state, writing, lost, runtime }))
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads who may come.
    pub(super) fn access<T>(&self, read: impl FnOnce(&VaultAccess) -> T) -> T {
        read(&self.state().access.state)
    }

    /// Reads what there is of a client.
    pub(super) fn client<T>(&self, server_id: Uuid, read: impl FnOnce(&VaultClient) -> T) -> T {
        match self.state().clients.get(&server_id) {
            Some(client) => read(&client.state),
            None => read(&VaultClient::default()),
        }
    }

    /// All clients.
    pub(super) fn clients(&self) -> Vec<Uuid> {
        self.state().access.state.clients().collect()
    }

    /// True once the log can record nothing any more: what is in memory may then be behind what is on the disk.
    pub(super) fn watch_lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    /// Records a change of who may come.
    pub(super) async fn tell_access(self: &Arc<Self>, by: &str, command: VaultAccessCommand) -> Result<(), VaultError> {
        self.tell(StreamId::vault_access(), Uuid::nil(), |state, _| &mut state.access, by, command).await
    }

    /// Records a change of what there is of a client.
    pub(super) async fn tell_client(
        self: &Arc<Self>,
        server_id: Uuid,
        by: &str,
        command: VaultClientCommand,
    ) -> Result<(), VaultError> {
        let part: Part<VaultClient> = |state, server_id| state.clients.entry(server_id).or_default();
        self.tell(StreamId::vault_client(server_id), server_id, part, by, command).await
    }

    /// Records who did what.
    pub(super) async fn tell_audit(self: &Arc<Self>, by: &str, command: AuditCommand) -> Result<(), VaultError> {
        self.tell(StreamId::audit(), Uuid::nil(), |state, _| &mut state.audit, by, command).await
    }

    async fn tell<A>(
        self: &Arc<Self>,
        stream: StreamId,
        key: Uuid,
        part: Part<A>,
        by: &str,
        command: A::Command,
    ) -> Result<(), VaultError>
    where
        A: Aggregate<Event: Into<Event> + Send + Sync, Command: Send> + Send + 'static,
        VaultError: From<A::Refusal>,
    {
        let (book, principal) = (self.clone(), by.to_owned());
        let told =
            self.runtime.spawn(async move { book.decide_and_record(stream, key, part, principal, command).await });
        told.await.unwrap_or_else(|error| Err(VaultError::Thread(error.to_string())))
    }

    async fn decide_and_record<A>(
        &self,
        stream: StreamId,
        key: Uuid,
        part: Part<A>,
        principal: String,
        command: A::Command,
    ) -> Result<(), VaultError>
    where
        A: Aggregate<Event: Into<Event>>,
        VaultError: From<A::Refusal>,
    {
        let _one_at_a_time = self.writing.lock().await;
        if *self.lost.borrow() {
            return Err(AppendError::Closed.into());
        }
        let clock = SystemClock;
        let moment = Moment { time: clock.now(), principal: principal.clone() };
        let (events, expected) = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let folded = part(&mut state, key);
            (folded.state.decide(command, moment.time)?, folded.version)
        };
        if events.is_empty() {
            return Ok(());
        }
        let origin = Origin { principal, correlation_id: clock.new_id() };
        let records = events.iter().cloned().map(|event| record(&event.into(), clock.new_id(), moment.time, &origin));
        let append = Append { stream, expected, events: records.collect::<Result<_, _>>()? };
        let appended = match self.log.append(append.clone()).await {
            Err(AppendError::NoSpace { .. }) if self.ballast.give_up().unwrap_or(false) => {
                self.log.append(append).await
            }
            result => result,
        };
        let appended = appended.inspect_err(|error| {
            if !error.retryable() {
                self.lost.send_replace(true);
            }
        })?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let folded = part(&mut state, key);
        events.iter().for_each(|event| folded.state.apply(event, &moment));
        folded.version = appended.version;
        Ok(())
    }

    /// Closes the log. Blocks.
    pub(super) fn close(&self) {
        self.log.close();
    }

    /// Makes the log's reserve again, where there is room for it. Blocks.
    pub(super) fn keep_reserve(&self) {
        if let Err(error) = self.ballast.ensure() {
            tracing::debug!(%error, "the log's reserve on disk cannot be made");
        }
    }
}

impl From<std::convert::Infallible> for VaultError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
