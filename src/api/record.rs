//! Who did what: commands as events of the stream `audit`.
//!
//! What changes something is recorded with its outcome before it is answered. So is each refusal of somebody known, whatever was refused
//! and wherever on the way, up to a rate; above it, and for strangers with wrong tokens, a minute's count is one event: nobody without a token makes the log grow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_model::audit::{AuditCommand, CommandOutcome, CommandRecordedV2, GuessesSummedV1, RefusalsSummedV2};
use holdfast_model::codec::Origin;
use holdfast_model::ids::Timestamp;
use uuid::Uuid;

use super::call::Call;
use super::caller::{Caller, Principal};
use super::error::ApiError;
use super::table;
use crate::engine::Holdfast;

/// How long what is not recorded one by one is counted before its sum is.
const MINUTE: Duration = Duration::from_secs(60);
/// Refusals of one principal a minute that are recorded one by one, and beyond them the first of each command with each error.
const REFUSALS: u64 = 10;
/// Sources of wrong tokens that are told apart in a minute; those above it are refused as if they had tried too often.
const SOURCES: usize = 10_000;
/// The name under which a command is recorded that there is none of: what a client makes up is not kept.
const UNKNOWN: &str = "unknown";
/// Sources that are named in a sum.
const NAMED: usize = 10;

/// Records a command with its outcome.
pub(super) async fn command(
    call: &Call,
    outcome: CommandOutcome,
    code: &str,
    fields: &[(&'static str, String)],
) -> Result<(), ApiError> {
    record(&call.engine, &call.caller, call.entry.name, outcome, code, fields).await
}

/// Records that somebody known was refused a command, which the name may be none of. Says whether it was by itself, and not only counted.
pub(super) async fn refusal(
    engine: &Holdfast,
    caller: &Caller,
    name: &str,
    error: &ApiError,
    fields: &[(&'static str, String)],
) -> bool {
    let Some(principal) = &caller.principal else { return false };
    let name = table::find(name).map_or(UNKNOWN, |entry| entry.name);
    let counts = &engine.desk().counts;
    if !counts.refused(engine, principal, &caller.source, (name, error.code.as_str())) {
        return false;
    }
    let recorded = record(engine, caller, name, CommandOutcome::Refused, error.code.as_str(), fields).await;
    if let Err(error) = recorded {
        // Nothing was done that would have to be known.
        tracing::error!(%error, command = name, "a refusal cannot be recorded");
    }
    true
}

async fn record(
    engine: &Holdfast,
    caller: &Caller,
    name: &str,
    outcome: CommandOutcome,
    code: &str,
    fields: &[(&'static str, String)],
) -> Result<(), ApiError> {
    let record = CommandRecordedV2 {
        command: name.to_owned(),
        role: caller.principal.as_ref().map_or("", |principal| principal.role.as_str()).to_owned(),
        token_id: caller.principal.as_ref().and_then(|principal| principal.token_id),
        door: caller.door.as_str().to_owned(),
        source: caller.source.clone(),
        outcome,
        code: code.to_owned(),
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    };
    let recorded = engine.record_audit(AuditCommand::Command(record)).await;
    recorded.map_err(|error| ApiError::from(error).told_to(caller.door))
}

/// What is counted in the current minute.
pub(super) struct Counts {
    allowed: AtomicU32,
    /// Wrong tokens since the engine was started.
    wrong: AtomicU64,
    now: Mutex<Minute>,
}

#[derive(Default)]
struct Minute {
    began: Option<(Instant, Timestamp)>,
    guesses: u64,
    sources: BTreeMap<String, u64>,
    /// Guesses from sources there was no room for.
    unnamed: u64,
    refused: BTreeMap<Who, Refused>,
}

/// Somebody known: their name and token.
type Who = (String, Option<Uuid>);

/// What one of them was refused.
#[derive(Default)]
struct Refused {
    one_by_one: u64,
    role: &'static str,
    /// By command and error; of both there is a closed list.
    kinds: BTreeMap<(&'static str, &'static str), Kind>,
}

/// Refusals of one command with one error.
#[derive(Default)]
struct Kind {
    summed: u64,
    source: String,
}

impl Counts {
    pub(super) fn new(allowed: u32) -> Self {
        Self { allowed: AtomicU32::new(allowed), wrong: AtomicU64::new(0), now: Mutex::default() }
    }

    /// Sets how many wrong tokens a minute of one source are answered as such.
    pub(super) fn allow(&self, guesses: u32) {
        self.allowed.store(guesses, Ordering::Relaxed);
    }

    /// Wrong tokens since the engine was started.
    pub(super) fn wrong_tokens(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }

    /// Counts a wrong token.
    ///
    /// # Errors
    /// How long to wait, where there were too many from there.
    pub(super) fn guess(&self, engine: &Holdfast, source: &str) -> Result<(), Duration> {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        let mut minute = self.minute(engine);
        minute.guesses += 1;
        let room = minute.sources.len() < SOURCES;
        let tries = match minute.sources.get_mut(source) {
            Some(tries) => {
                *tries += 1;
                *tries
            }
            None if room => {
                minute.sources.insert(source.to_owned(), 1);
                1
            }
            None => {
                minute.unnamed += 1;
                u64::MAX
            }
        };
        if tries <= u64::from(self.allowed.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let passed = minute.began.map_or(Duration::ZERO, |(at, _)| at.elapsed());
        Err(MINUTE.saturating_sub(passed))
    }

    /// Counts a refusal. Whether it is recorded by itself: nobody hides what is worse behind many that are not.
    fn refused(&self, engine: &Holdfast, who: &Principal, source: &str, kind: (&'static str, &'static str)) -> bool {
        let mut minute = self.minute(engine);
        let refused = minute.refused.entry((who.name.clone(), who.token_id)).or_default();
        refused.role = who.role.as_str();
        let is_first = !refused.kinds.contains_key(&kind);
        let kind = refused.kinds.entry(kind).or_default();
        if refused.one_by_one < REFUSALS || is_first {
            refused.one_by_one += 1;
            return true;
        }
        kind.summed += 1;
        source.clone_into(&mut kind.source);
        false
    }

    /// The current minute, which records itself once it is over.
    fn minute(&self, engine: &Holdfast) -> MutexGuard<'_, Minute> {
        let mut minute = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.began.is_none() {
            minute.began = Some((Instant::now(), engine.now()));
            let desk = std::sync::Arc::downgrade(engine.desk());
            let weak = engine.downgrade();
            engine.data_plane().spawn(async move {
                tokio::time::sleep(MINUTE).await;
                if let (Some(desk), Some(engine)) = (desk.upgrade(), weak.upgrade()) {
                    desk.counts.record(&engine).await;
                }
            });
        }
        minute
    }

    /// Records what was counted, and begins anew. Also asked for before the engine stops.
    pub(super) async fn record(&self, engine: &Holdfast) {
        let minute = std::mem::take(&mut *self.now.lock().unwrap_or_else(PoisonError::into_inner));
        let Some((_, from)) = minute.began else { return };
        let to = engine.now();
        if minute.guesses > 0 {
            let mut sources: Vec<_> = minute.sources.into_iter().collect();
            sources.sort_by_key(|(_, guesses)| std::cmp::Reverse(*guesses));
            let more_sources = sources.len().saturating_sub(NAMED) as u64 + minute.unnamed;
            sources.truncate(NAMED);
            let sum = GuessesSummedV1 { from, to, count: minute.guesses, sources, more_sources };
            keep(engine, "", AuditCommand::Guesses(sum)).await;
        }
        for ((principal, token_id), Refused { role, kinds, .. }) in minute.refused {
            for ((command, code), Kind { summed, source }) in kinds.into_iter().filter(|(_, kind)| kind.summed > 0) {
                let (command, code, role) = (command.to_owned(), code.to_owned(), role.to_owned());
                let sum = RefusalsSummedV2 { command, code, role, token_id, source, from, to, count: summed };
                keep(engine, &principal, AuditCommand::Refusals(sum)).await;
            }
        }
    }
}

async fn keep(engine: &Holdfast, principal: &str, command: AuditCommand) {
    let engine = engine.acting_for(Origin { principal: principal.to_owned(), correlation_id: Uuid::now_v7() });
    if let Err(error) = engine.record_audit(command).await {
        tracing::error!(%error, "what was refused in the last minute cannot be recorded");
    }
}
