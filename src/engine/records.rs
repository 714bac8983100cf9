//! Wishes about what is recorded beside runs: locks, endpoints, tokens, maintenance, the audit. And single runs and restores, read.

use std::sync::Arc;

use holdfast_actors::event_sourced::{CommandError, replay, replay_on};
use holdfast_actors::record::{Recorded, Tell, Told};
use holdfast_actors::root::{FindRun, NextOpenRun, Root, RootError, RunHandle};
use holdfast_actors::uploads::ForEndpoint;
use holdfast_model::access::{Access, AccessCommand, AccessRefusal, Role, Token, TokenCreatedV1};
use holdfast_model::audit::{Audit, AuditCommand};
use holdfast_model::endpoint::{
    Endpoint, EndpointCommand, EndpointConfigV2, EndpointRefusal, MAX_ENDPOINTS, plaintext_refused,
};
use holdfast_model::ids::{EndpointName, RestoreId, RunId, Sha256, StreamId, Timestamp, TokenName};
use holdfast_model::maintenance::{Maintenance, MaintenanceCommand};
use holdfast_model::restore::{Restore, RestoreCommand, RestoreRefusal, RestoreStatus};
use holdfast_model::run::{Places, Refusal, Run, RunCommand, Stage};
use secrecy::{ExposeSecret, SecretString};
use sha2::Digest;
use tokio::sync::watch;
use uuid::Uuid;

use super::folded_runs::RunRow;
use super::secrets::Secrets;
use super::{EngineError, Holdfast, Loss, ViewError, restores};

/// What every token begins with, so that one that lies where it should not is recognised.
const TOKEN_PREFIX: &str = "hf_";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// The hash under which a token is recorded: SHA-256 of its text.
#[must_use]
pub fn token_hash(token: &str) -> Sha256 {
    Sha256(sha2::Sha256::digest(token.as_bytes()).into())
}

impl Holdfast {
    /// The same engine, acting for somebody else: what is asked of it is recorded as asked by them.
    #[must_use]
    pub fn acting_for(&self, origin: holdfast_model::codec::Origin) -> Holdfast {
        Self { shared: self.shared.clone(), origin }
    }

    /// All of one run, also of one whose directory was deleted.
    ///
    /// # Errors
    /// [`EngineError`] with the code `BACKUP_RUN_NOT_FOUND` where there is none.
    pub async fn run(&self, run_id: RunId) -> Result<Arc<Run>, EngineError> {
        let (log, stream) = (self.shared.world.log.clone(), StreamId::run(run_id));
        let newest = log.stream_version(&stream).map_err(ViewError::from)?;
        let folded_runs = &self.shared.folded_runs;
        if let Some((run, version)) = folded_runs.get(run_id)
            && version >= newest
        {
            return Ok(run);
        }
        // Many may ask for the same at once: the first folds it, and the others find it.
        let _one_at_a_time = folded_runs.folding.lock().await;
        let kept = folded_runs.get(run_id);
        if let Some((run, version)) = &kept
            && *version >= newest
        {
            return Ok(run.clone());
        }
        let (state, version) = kept.map_or_else(Default::default, |(run, version)| (Run::clone(&run), version));
        let folded = self.blocking(move || replay_on(&*log, &stream, state, version)).await?;
        let (run, version) = folded.map_err(ViewError::from)?;
        if run.stage() == Stage::Unknown {
            return Err(RootError::Command(CommandError::Refused(Refusal::NotFound)).into());
        }
        let run = Arc::new(run);
        folded_runs.put(run_id, run.clone(), version);
        Ok(run)
    }

    /// A run as lists show it; `None` where it was not asked for yet.
    pub(crate) async fn run_row(&self, run_id: RunId) -> Result<Option<RunRow>, EngineError> {
        let run = self.run(run_id).await?;
        let places = self.places().await?;
        Ok(self.shared.folded_runs.row(run_id, &run, &places))
    }

    /// Where endpoints are: a copy counts only where its endpoint is still the place it was brought to.
    ///
    /// # Errors
    /// As [`Holdfast::read`].
    pub async fn places(&self) -> Result<Arc<Places>, EngineError> {
        self.read(|known| known.places.clone()).await
    }

    /// All of one restore.
    ///
    /// # Errors
    /// [`EngineError`] with the code `RESTORE_RUN_NOT_FOUND` where there is none.
    pub async fn restore_run(&self, restore_id: RestoreId) -> Result<Arc<Restore>, EngineError> {
        let restore: Restore = self.folded(StreamId::restore(restore_id)).await?;
        if restore.status == RestoreStatus::Unknown {
            return Err(RootError::Restore(CommandError::Refused(RestoreRefusal::NotFound)).into());
        }
        Ok(Arc::new(restore))
    }

    /// Whether a living process works on a restore that has not ended.
    #[must_use]
    pub fn restore_at_work(&self, restore_id: RestoreId) -> bool {
        self.shared.restoring.is_at(restore_id) || restores::is_claimed(&self.shared.home, restore_id)
    }

    /// Folds a stream on a thread that may block.
    async fn folded<A>(&self, stream: StreamId) -> Result<A, EngineError>
    where
        A: holdfast_model::aggregate::Aggregate<Event: TryFrom<holdfast_model::event::Event>>,
    {
        let log = self.shared.world.log.clone();
        let folded = self.blocking(move || replay::<A>(&*log, &stream)).await?;
        Ok(folded.map_err(ViewError::from)?.0)
    }

    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let done = self.shared.world.data_plane.spawn_blocking(work).await;
        done.map_err(
            |error| if error.is_panic() { EngineError::Thread(error.to_string()) } else { EngineError::Stopped },
        )
    }

    /// A run to watch, open or ended. One that nobody works on is watched as it stands.
    ///
    /// # Errors
    /// As [`Holdfast::run`].
    pub async fn attach(&self, run_id: RunId) -> Result<RunHandle, EngineError> {
        if let Some(handle) = self.find_run(run_id).await? {
            return Ok(handle);
        }
        let run = self.run(run_id).await?;
        // It may have been asked for since.
        if run.is_open()
            && let Some(handle) = self.find_run(run_id).await?
        {
            return Ok(handle);
        }
        Ok(RunHandle { run_id, watch: watch::Sender::new(run).subscribe() })
    }

    async fn find_run(&self, run_id: RunId) -> Result<Option<RunHandle>, EngineError> {
        self.shared.root.send(FindRun(run_id)).await.map_err(|_| EngineError::Stopped)
    }

    /// A run that has not ended and is being worked on, or waits for its turn; the oldest of several.
    pub async fn open_run(&self) -> Option<RunHandle> {
        self.shared.root.send(NextOpenRun).await.ok().flatten()
    }

    /// Keeps a run from deletion.
    ///
    /// # Errors
    /// [`EngineError`] where there is no such run, or it is deleted.
    pub async fn lock(&self, run_id: RunId, reason: &str) -> Result<Arc<Run>, EngineError> {
        let handle = self.for_run(run_id, RunCommand::Lock { reason: reason.into() }).await?;
        Ok(handle.watch.borrow().clone())
    }

    /// Lets a run be deleted again.
    ///
    /// # Errors
    /// As [`Holdfast::lock`].
    pub async fn unlock(&self, run_id: RunId) -> Result<Arc<Run>, EngineError> {
        let handle = self.for_run(run_id, RunCommand::Unlock).await?;
        Ok(handle.watch.borrow().clone())
    }

    async fn tell<A: Recorded>(&self, stream: StreamId, command: A::Command) -> Result<Told<A>, EngineError>
    where
        RootError: From<CommandError<A::Refusal>>,
        Root: actix::Handler<Tell<A>>,
    {
        let tell = Tell::<A> { stream, command, origin: self.origin.clone() };
        Ok(self.shared.root.send(tell).await.map_err(|_| EngineError::Stopped)??)
    }

    /// Records a fact of a restore.
    ///
    /// # Errors
    /// [`EngineError`] where it does not follow from what is recorded.
    pub async fn restore(&self, restore_id: RestoreId, command: RestoreCommand) -> Result<(), EngineError> {
        self.for_restore(restore_id, command).await.map(drop)
    }

    /// Adds an endpoint. Its password is kept in the file of secrets; `config.secret` is set from it.
    ///
    /// # Errors
    /// [`EngineError`] with the code `RET_ERR_DUPLICATE` where it is there, `ENDPOINTS_FULL` where there are 200, `INVALID_DATA` where it
    /// cannot be used so, `ENDPOINT_PLAINTEXT` where it would be given unencrypted runs that nobody allowed; where nothing could be kept
    /// or recorded.
    pub async fn add_endpoint(
        &self,
        mut config: EndpointConfigV2,
        password: Option<SecretString>,
    ) -> Result<Endpoint, EngineError> {
        let _one_at_a_time = self.shared.endpoints.lock().await;
        if self.read(|known| known.endpoints.len()).await? >= MAX_ENDPOINTS {
            return Err(refused(EndpointRefusal::Full));
        }
        let name = config.name.clone();
        self.check_plaintext(&config)?;
        config.secret = self.keep(password).await?;
        let secret = config.secret;
        let told = self.tell_endpoint(&name, EndpointCommand::Add(config)).await;
        self.forget_unless_named(secret, &told).await;
        told
    }

    /// Changes an endpoint: `change` is given how it is used now. Another password takes the place of the one before, wherever that lay;
    /// without one, that stays, and where `change` takes `secret` away it goes.
    ///
    /// # Errors
    /// [`EngineError`] with the code `RET_NOT_FOUND` where it is not there, `ENDPOINT_DECLARED` where the configuration file has it; where
    /// it would be another place, as [`Holdfast::delete_endpoint`]; else as [`Holdfast::add_endpoint`].
    pub async fn update_endpoint(
        &self,
        name: &EndpointName,
        change: impl FnOnce(&mut EndpointConfigV2) + Send,
        password: Option<SecretString>,
        loss: Loss,
    ) -> Result<Endpoint, EngineError> {
        let _one_at_a_time = self.shared.endpoints.lock().await;
        let before = self.endpoint(name).await?;
        if before.declared {
            return Err(refused(EndpointRefusal::Declared));
        }
        let mut config = before.clone();
        change(&mut config);
        self.check_plaintext(&config)?;
        let _no_copy_goes = self.shared.last_copies.lock().await;
        self.may_move(&before, &config, loss).await?;
        // A secret is named by what this engine kept, and by nothing else.
        config.secret = config.secret.and(before.secret);
        let new = self.keep(password).await?;
        if new.is_some() {
            config.forget_password();
            config.secret = new;
        }
        let replaced = before.secret.filter(|old| config.secret != Some(*old));
        let told = self.tell_endpoint(name, EndpointCommand::Update(config)).await;
        self.forget_unless_named(new, &told).await;
        if told.is_ok() {
            self.forget(replaced).await;
        }
        told
    }

    /// Uses an endpoint no more. Its password is taken away.
    ///
    /// # Errors
    /// [`EngineError`] with the code `RET_NOT_FOUND` where it is not there, `ENDPOINT_DECLARED` where the configuration file has it, `ENDPOINT_BUSY`
    /// while a run is on its way there or waits for it, `ENDPOINT_HOLDS_COPIES` where it alone has runs, both unless that is accepted for what
    /// only waits; where it could not be recorded.
    pub async fn delete_endpoint(&self, name: &EndpointName, loss: Loss) -> Result<(), EngineError> {
        let _one_at_a_time = self.shared.endpoints.lock().await;
        let before = self.endpoint(name).await?;
        if self.uploads().iter().any(|upload| upload.endpoint == *name) {
            return Err(EngineError::EndpointBusy(name.clone()));
        }
        let _no_copy_goes = self.shared.last_copies.lock().await;
        if !before.declared {
            self.may_lose_sight(name, loss).await?;
        }
        self.tell_endpoint(name, EndpointCommand::Delete).await?;
        self.forget(before.secret).await;
        Ok(())
    }

    pub(super) async fn endpoint(&self, name: &EndpointName) -> Result<EndpointConfigV2, EngineError> {
        let config = self.read(|known| known.endpoints.get(name).and_then(Endpoint::config).cloned()).await?;
        config.ok_or_else(|| refused(EndpointRefusal::NotFound))
    }

    /// Refuses an endpoint that would be given what nobody allowed it to read.
    fn check_plaintext(&self, config: &EndpointConfigV2) -> Result<(), EngineError> {
        // One that nothing goes to may be looked at, as after the loss of a home; an upload there is refused in any case.
        if !config.enable {
            return Ok(());
        }
        match plaintext_refused(config, &self.config().encryption.encryption()) {
            Some(refused) => Err(EngineError::Plaintext(refused)),
            None => Ok(()),
        }
    }

    pub(super) async fn tell_endpoint(
        &self,
        name: &EndpointName,
        command: EndpointCommand,
    ) -> Result<Endpoint, EngineError> {
        let message = ForEndpoint { endpoint: name.clone(), command, origin: self.origin.clone() };
        let told = self.shared.root.send(message).await.map_err(|_| EngineError::Stopped)??;
        Ok(told.state)
    }

    /// Keeps a password under a new id, before anything names it.
    async fn keep(&self, password: Option<SecretString>) -> Result<Option<Uuid>, EngineError> {
        let Some(password) = password else { return Ok(None) };
        let id = self.shared.world.clock.new_id();
        let secrets = self.secrets();
        self.blocking(move || secrets.put(id, password)).await??;
        Ok(Some(id))
    }

    /// Takes a password away again that nothing came to name. Where it is not known whether something does, the next start tells.
    async fn forget_unless_named(&self, id: Option<Uuid>, told: &Result<Endpoint, EngineError>) {
        if let Err(EngineError::Root(RootError::Endpoint(CommandError::Refused(_)))) = told {
            self.forget(id).await;
        }
    }

    async fn forget(&self, id: Option<Uuid>) {
        let Some(id) = id else { return };
        let secrets = self.secrets();
        // Nothing names it any more: where it cannot be taken away now, the next start does it.
        match self.blocking(move || secrets.remove(id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a password that is not used any more cannot be taken away yet"),
            Err(error) => tracing::warn!(%error, "a password that is not used any more is not taken away yet"),
        }
    }

    fn secrets(&self) -> Secrets {
        Secrets::of(self.shared.home.root())
    }

    /// Makes a token. Its text is nowhere but in this answer.
    ///
    /// # Errors
    /// [`EngineError`] with the code `TOKEN_EXISTS` where a live one is called so, `TOKENS_FULL` where there are 1,000.
    pub async fn create_token(
        &self,
        name: TokenName,
        role: Role,
        expires_at: Option<Timestamp>,
    ) -> Result<(SecretString, Token), EngineError> {
        let text = new_token()?;
        let token = self.register_token(name, role, &text, expires_at).await?;
        Ok((text, token))
    }

    /// Takes a token from now on whose text somebody else made.
    ///
    /// # Errors
    /// As [`Holdfast::create_token`].
    pub(crate) async fn register_token(
        &self,
        name: TokenName,
        role: Role,
        text: &SecretString,
        expires_at: Option<Timestamp>,
    ) -> Result<Token, EngineError> {
        let token_id = self.shared.world.clock.new_id();
        let hash = token_hash(text.expose_secret());
        let new = TokenCreatedV1 { token_id, name, role, hash, expires_at };
        let told = self.tell::<Access>(StreamId::access(), AccessCommand::Create(new)).await?;
        told.state.token(token_id).cloned().ok_or(EngineError::Stopped)
    }

    /// Takes a token no more, by its id or its name. Answers which it was.
    ///
    /// # Errors
    /// [`EngineError`] with the code `TOKEN_NOT_FOUND` where there is none, or it is revoked already.
    pub async fn revoke_token(&self, token: &str) -> Result<Token, EngineError> {
        let command = AccessCommand::Revoke { token: token.to_owned() };
        let told = self.tell::<Access>(StreamId::access(), command).await?;
        let revoked = told.state.last_revoked().cloned();
        revoked.ok_or_else(|| RootError::Access(CommandError::Refused(AccessRefusal::NotFound)).into())
    }

    /// Records who did what.
    ///
    /// # Errors
    /// [`EngineError`] where it could not be recorded.
    pub async fn record_audit(&self, command: AuditCommand) -> Result<(), EngineError> {
        self.tell::<Audit>(StreamId::audit(), command).await.map(drop)
    }

    /// Begins or ends maintenance. Answers how it stands then.
    ///
    /// # Errors
    /// [`EngineError`] where it could not be recorded.
    pub async fn set_maintenance(&self, enabled: bool, reason: &str) -> Result<Maintenance, EngineError> {
        let command = match enabled {
            true => MaintenanceCommand::Enable { reason: reason.to_owned(), restore_id: None },
            false => MaintenanceCommand::Disable,
        };
        let now = self.tell::<Maintenance>(StreamId::maintenance(), command).await?.state;
        // Whoever ends it has seen to what a restore may have left: nobody stands still for that any more.
        if !now.enabled && self.shared.restoring.is_idle() {
            self.shared.restorer.let_go();
        }
        Ok(now)
    }

    /// Ends the maintenance that a restore left on, where all that it left is put right.
    pub(super) async fn end_kept_maintenance(&self) -> Result<(), EngineError> {
        if self.read(|known| known.history.half_restored().newest().is_some()).await? {
            return Ok(());
        }
        self.tell::<Maintenance>(StreamId::maintenance(), MaintenanceCommand::Settled).await.map(drop)
    }

    /// Live data may be half of one state and half of another: nobody is to work with it before somebody has seen to it.
    pub(super) async fn keep_maintenance(&self, restore_id: RestoreId) -> Result<(), EngineError> {
        let next = match self.restore_run(restore_id).await?.has_safety_snapshot() {
            true => format!("`holdfast restore retry {restore_id}`"),
            false => {
                "nothing is kept of the state before: restore again, or put it right and end the maintenance".into()
            }
        };
        let reason = format!("restore {restore_id} could not be rolled back: {next}");
        let command = MaintenanceCommand::Enable { reason, restore_id: Some(restore_id) };
        self.tell::<Maintenance>(StreamId::maintenance(), command).await.map(drop)
    }
}

fn refused(refusal: EndpointRefusal) -> EngineError {
    RootError::Endpoint(CommandError::Refused(refusal)).into()
}

/// A new token: 256 random bits in hexadecimal after what every token begins with.
pub(crate) fn new_token() -> Result<SecretString, EngineError> {
    let mut bytes = secrecy::zeroize::Zeroizing::new([0; TOKEN_BYTES]);
    getrandom::fill(&mut *bytes).map_err(|error| EngineError::Random(error.to_string()))?;
    let mut text = String::with_capacity(TOKEN_PREFIX.len() + 2 * TOKEN_BYTES);
    text.push_str(TOKEN_PREFIX);
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    Ok(text.into())
}
