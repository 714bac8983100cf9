//! In front of every command, whichever door it came by: which one it is, who may, whether its data is valid, and what is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
        let Some(entry) = table::find(name) else {
            let known = "GET /openapi.json, or /asyncapi.json, lists them";
            let name: String = name.chars().take(64).collect();
            return Err(ApiError::new(ErrorCode::UnknownCommand, format!("there is no command {name:?}: {known}")));
        };
        let desk = self.engine.desk().clone();
        let correlation_id = Uuid::now_v7();
        let principal = caller.principal.as_ref().map_or("", |principal| &principal.name).to_owned();
        let engine = self.engine.acting_for(Origin { principal, correlation_id });
        let mut call = Call {
            engine,
            caller,
            correlation_id,
            desk,
            session,
            entry,
            recorded: AtomicBool::new(false),
            fields: Vec::new(),
        };
        let prepared = allowed(entry, &call).and_then(|()| (entry.prepare)(data));
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                record::refusal(&call, &error).await?;
                tell(&call, Some(&error));
                return Err(error);
            }
        };
        call.fields = prepared.recorded;
        let call = Arc::new(call);
        let work = (prepared.run)(call.clone());
        // On the data plane: a client that goes away does not stop it in the middle, and a panic stays in it.
        let result = self.engine.data_plane().spawn(finish(call, work)).await;
        result.unwrap_or_else(|panic| {
            tracing::error!(command = entry.name, %correlation_id, %panic, "a command panicked");
            Err(ApiError::new(
                ErrorCode::Internal,
                format!("the command failed in a way it should not have ({correlation_id})"),
            ))
        })
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

/// Whether the caller may, by this door, and now.
fn allowed(entry: &Entry, call: &Call) -> Result<(), ApiError> {
    let caller = &call.caller;
    match entry.reach {
        Reach::Connections if call.session.is_none() => {
            let text = format!("{} needs a connection that stays: TCP or WebSocket", entry.name);
            return Err(ApiError::new(ErrorCode::ConnectionRequired, text));
        }
        Reach::Local if !caller.door.is_local() => {
            return Err(ApiError::new(ErrorCode::Forbidden, format!("{} is for this machine only", entry.name)));
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
        return Err(ApiError::new(ErrorCode::Draining, "the server is about to stop and takes no new work"));
    }
    Ok(())
}

/// Waits for the command's end, and tells of it.
async fn finish(call: Arc<Call>, work: super::command::Running) -> Result<RawReply, ApiError> {
    let result = settle(&call, work).await;
    tell(&call, result.as_ref().err());
    result
}

/// A line of the process's log for a command that has ended: names and the outcome, nothing of what was asked or answered.
fn tell(call: &Call, error: Option<&ApiError>) {
    let Call { caller, correlation_id, entry, .. } = call;
    let principal = caller.principal.as_ref().map_or("", |principal| principal.name.as_str());
    let (command, source, door) = (entry.name, caller.source.as_str(), caller.door.as_str());
    match error {
        Some(error) => {
            let code = error.code.as_str();
            tracing::warn!(command, principal, source, door, %correlation_id, code, "command refused");
        }
        None if entry.kind == Kind::Read => {
            tracing::debug!(command, principal, source, door, %correlation_id, "command done");
        }
        None => tracing::info!(command, principal, source, door, %correlation_id, "command done"),
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
    if call.entry.kind == Kind::Read || call.recorded.load(Ordering::Acquire) {
        return result;
    }
    let (outcome, code) = match &result {
        Ok(_) => (CommandOutcome::Done, ""),
        Err(error) if error.code.status() < 500 => (CommandOutcome::Refused, error.code.as_str()),
        Err(error) => (CommandOutcome::Failed, error.code.as_str()),
    };
    // What could not be recorded is not answered as done.
    record::command(call, outcome, code, &call.fields).await?;
    result
}
