//! In front of every command, whichever door it came by: which one it is, who may, whether its data is valid, and what is recorded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use holdfast_model::audit::CommandOutcome;
use holdfast_model::codec::Origin;
use uuid::Uuid;

use super::call::Call;
use super::caller::{Caller, Principal};
use super::command::{Command, Entry, Kind, RawReply, Reach};
use super::error::{ApiError, ErrorCode};
use super::session::Session;
use super::{record, table};
use crate::engine::Holdfast;

/// The one way to the commands. Clones share it.
#[derive(Clone)]
pub struct Dispatcher {
    engine: Holdfast,
}

impl Dispatcher {
    /// The commands of an engine.
    #[must_use]
    pub fn new(engine: Holdfast) -> Self {
        Self { engine }
    }

    /// The engine it is for.
    #[must_use]
    pub fn engine(&self) -> &Holdfast {
        &self.engine
    }

    /// Who a token stands for.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidToken`]; [`ErrorCode::RateLimited`] where too many were wrong from there.
    pub async fn authenticate(&self, token: &str, source: &str) -> Result<Principal, ApiError> {
        super::access::authenticate(&self.engine, token, source).await
    }

    /// Does a command, by its name or alias. What has begun goes on where nobody waits for the answer any more.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn call(
        &self,
        caller: Caller,
        session: Option<Arc<dyn Session>>,
        name: &str,
        data: &str,
    ) -> Result<RawReply, ApiError> {
        self.call_until(caller, session, name, data, std::future::pending()).await
    }

    /// The same, waited for until `over` at most. The answer then says what was begun.
    pub(crate) async fn call_until(
        &self,
        caller: Caller,
        session: Option<Arc<dyn Session>>,
        name: &str,
        data: &str,
        over: impl Future<Output = ()>,
    ) -> Result<RawReply, ApiError> {
        let Some(entry) = table::find(name) else {
            let known = "GET /openapi.json, or /asyncapi.json, lists them";
            let cut: String = name.chars().take(64).collect();
            let error = ApiError::new(ErrorCode::UnknownCommand, format!("there is no command {cut:?}: {known}"));
            self.refused(&caller, name, &error).await;
            return Err(error);
        };
        let desk = self.engine.desk().clone();
        let correlation_id = Uuid::now_v7();
        let engine = acting_for(&self.engine, &caller, correlation_id);
        let mut call = Call {
            engine,
            caller,
            correlation_id,
            desk,
            session,
            entry,
            recorded: AtomicBool::new(false),
            fields: Vec::new(),
            begun: OnceLock::new(),
        };
        let prepared = allowed(entry, &call).and_then(|()| (entry.prepare)(data));
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                refuse(&call, &error, &[]).await;
                return Err(error);
            }
        };
        call.fields = prepared.recorded;
        let call = Arc::new(call);
        let work = (prepared.run)(call.clone());
        // On the data plane: a client that goes away does not stop it in the middle, and a panic stays in it.
        let working = self.engine.data_plane().spawn(finish(call.clone(), work));
        let result = tokio::select! {
            biased;
            result = working => result,
            () = over => return Err(not_waited_for(&call)),
        };
        result.unwrap_or_else(|panic| {
            tracing::error!(command = entry.name, %correlation_id, %panic, "a command panicked");
            Err(ApiError::new(
                ErrorCode::Internal,
                format!("the command failed in a way it should not have ({correlation_id})"),
            ))
        })
    }

    /// Records that somebody known was refused something before it came to a command, or that there is no such command.
    pub(crate) async fn refused(&self, caller: &Caller, name: &str, error: &ApiError) {
        let correlation_id = Uuid::now_v7();
        let engine = acting_for(&self.engine, caller, correlation_id);
        let loud = record::refusal(&engine, caller, name, error, &[]).await;
        let name = table::find(name).map_or("unknown", |entry| entry.name);
        tell_refusal(name, caller, correlation_id, error, loud);
    }

    /// Does a command for the application that embeds the engine.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn ask<C: Command + serde::Serialize>(&self, command: &C) -> Result<C::Answer, ApiError>
    where
        C::Answer: serde::de::DeserializeOwned,
    {
        let uid = rustix::process::getuid().as_raw();
        let source = format!("pid={}", std::process::id());
        let caller = Caller { principal: Some(Principal::local(uid)), door: super::Door::Handle, source };
        let data = serde_json::to_string(command).map_err(|error| ApiError::field("data", error))?;
        let reply = self.call(caller, None, C::NAME, &data).await?;
        super::command::read(reply.data.get())
    }
}

/// The engine, acting for a caller: what comes of it is theirs in the log.
fn acting_for(engine: &Holdfast, caller: &Caller, correlation_id: Uuid) -> Holdfast {
    let principal = caller.principal.as_ref().map_or("", |principal| &principal.name).to_owned();
    engine.acting_for(Origin { principal, correlation_id })
}

/// The answer to a command whose end is not waited for, because the server stops.
fn not_waited_for(call: &Call) -> ApiError {
    let Some(begun) = call.begun.get() else {
        let text = "the server stops before this is answered: ask after its next start what has become of it";
        return ApiError::new(ErrorCode::Draining, text);
    };
    let text = "the server stops before this has ended: what is still open then goes on at its next start";
    let detail = begun.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
    ApiError::new(ErrorCode::Draining, text).with_detail(serde_json::Value::Object(detail))
}

/// Whether the caller may, by this door, and now.
fn allowed(entry: &Entry, call: &Call) -> Result<(), ApiError> {
    let caller = &call.caller;
    match entry.reach {
        Reach::Connections if call.session.is_none() => {
            let text = format!("{} needs a connection that stays: TCP or WebSocket", entry.name);
            return Err(ApiError::new(ErrorCode::ConnectionRequired, text));
        }
        Reach::Local if !caller.door.is_local() => {
            let text =
                format!("{} is taken on the Unix socket under the home only: {}", entry.name, instead(entry.name));
            return Err(ApiError::new(ErrorCode::Forbidden, text));
        }
        _ => {}
    }
    if let Some(least) = entry.role {
        let Some(principal) = &caller.principal else {
            let text = format!("{} needs a token: send `__token`, `Auth`, or a bearer token", entry.name);
            return Err(ApiError::new(ErrorCode::Unauthenticated, text));
        };
        if principal.role < least {
            let text = format!(
                "{} needs the role {}: this token's is {}",
                entry.name,
                least.as_str(),
                principal.role.as_str()
            );
            return Err(ApiError::new(ErrorCode::Forbidden, text));
        }
    }
    if entry.kind == Kind::Work && call.desk.life().is_draining() {
        let mut error = ApiError::new(ErrorCode::Draining, "the server is about to stop and takes no new work");
        // The next start takes it.
        error.retryable = true;
        return Err(error);
    }
    Ok(())
}

/// What does the same, for a command that is taken from this machine only.
fn instead(name: &str) -> &'static str {
    match name {
        "CreateToken" => "`holdfast token create` asks for it there",
        "ListTokens" => "`holdfast token list` asks for it there",
        "RevokeToken" => "`holdfast token revoke` asks for it there",
        "RecordValidation" => "`holdfast verify` asks for it there",
        "BeginRestore" | "EndRestore" => "`holdfast restore` asks for it there",
        _ => "the commands of `holdfast` ask for it there",
    }
}

/// Waits for the command's end, and tells of it.
async fn finish(call: Arc<Call>, work: super::command::Running) -> Result<RawReply, ApiError> {
    let result = settle(&call, work).await;
    let Call { caller, correlation_id, entry, .. } = &*call;
    match &result {
        // That is told where it is recorded.
        Err(error) if error.code.status() < 500 => {}
        Err(error) => tell_refusal(entry.name, caller, *correlation_id, error, caller.principal.is_some()),
        Ok(_) => tell_done(entry, caller, *correlation_id),
    }
    result
}

/// Records that a command was refused, and tells of it.
async fn refuse(call: &Call, error: &ApiError, fields: &[(&'static str, String)]) {
    let Call { engine, caller, correlation_id, entry, .. } = call;
    let loud = record::refusal(engine, caller, entry.name, error, fields).await;
    tell_refusal(entry.name, caller, *correlation_id, error, loud);
}

/// A line of the process's log for a command that was refused or failed: names and the outcome, nothing of what was asked. What strangers
/// and floods cause is told only where it is looked for, so that they do not fill the log.
fn tell_refusal(command: &str, caller: &Caller, correlation_id: Uuid, error: &ApiError, loud: bool) {
    let principal = caller.principal.as_ref().map_or("", |principal| principal.name.as_str());
    let (source, door, code) = (caller.source.as_str(), caller.door.as_str(), error.code.as_str());
    match loud {
        true => tracing::warn!(command, principal, source, door, %correlation_id, code, "command refused"),
        false => tracing::debug!(command, principal, source, door, %correlation_id, code, "command refused"),
    }
}

/// The same for one that was done.
fn tell_done(entry: &Entry, caller: &Caller, correlation_id: Uuid) {
    let principal = caller.principal.as_ref().map_or("", |principal| principal.name.as_str());
    let (command, source, door) = (entry.name, caller.source.as_str(), caller.door.as_str());
    match entry.kind {
        Kind::Read => tracing::debug!(command, principal, source, door, %correlation_id, "command done"),
        _ => tracing::info!(command, principal, source, door, %correlation_id, "command done"),
    }
}

/// Does the work, records it, and keeps the answer within its bound.
async fn settle(call: &Call, work: super::command::Running) -> Result<RawReply, ApiError> {
    let mut result = work.await;
    let limit = call.desk.settings().answer_bytes;
    if let Ok(reply) = &result
        && reply.data.get().len() > limit
    {
        let text = format!("the answer has more than {limit} bytes: ask for less at a time, by `limit` and `cursor`");
        result = Err(ApiError::new(ErrorCode::AnswerTooLarge, text));
    }
    let recorded = call.recorded.load(Ordering::Acquire);
    let (outcome, code) = match &result {
        Err(error) if error.code.status() < 500 => {
            if !recorded {
                refuse(call, error, &call.fields).await;
            }
            return result;
        }
        Ok(_) => (CommandOutcome::Done, ""),
        Err(error) => (CommandOutcome::Failed, error.code.as_str()),
    };
    if call.entry.kind == Kind::Read || recorded {
        return result;
    }
    // What could not be recorded is not answered as done.
    record::command(call, outcome, code, &call.fields).await?;
    result
}
