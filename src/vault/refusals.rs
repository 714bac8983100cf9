//! What was refused, for the record: one by one up to a rate, and beyond it as sums of a minute.
//!
//! Nobody makes the vault's log grow by asking: a client's refusals are a bounded number of events a minute, and those without a token are one
//! event a minute together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_actors::ports::Clock;
use holdfast_model::audit::{AuditCommand, CommandOutcome, CommandRecordedV2, GuessesSummedV1, RefusalsSummedV2};
use holdfast_model::ids::Timestamp;

use super::book::Book;
use super::error::Problem;
use super::visitor::Visitor;
use crate::engine::SystemClock;

/// Refusals of one token a minute that are recorded one by one, and beyond them the first of each request with each error.
const ONE_BY_ONE: u64 = 10;
/// Addresses of wrong tokens that are told apart in a minute.
const SOURCES: usize = 10_000;
/// Addresses that are named in a sum.
const NAMED: usize = 10;
/// The door, as the record names it.
const DOOR: &str = "vault";

/// What is counted in the current minute.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Minute>);

#[derive(Default)]
struct Minute {
    began: Option<Timestamp>,
    guesses: u64,
    sources: BTreeMap<String, u64>,
    unnamed: u64,
    refused: BTreeMap<uuid::Uuid, Refused>,
}

/// What one token was refused.
struct Refused {
    one_by_one: u64,
    who: Visitor,
    /// By request and error; of both there is a closed list.
    kinds: BTreeMap<(&'static str, &'static str), (u64, String)>,
}

impl Refusals {
    fn minute(&self) -> MutexGuard<'_, Minute> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minute.began.get_or_insert_with(|| SystemClock.now());
        minute
    }

    /// Counts a wrong token. Says whether there were too many from there.
    pub(super) fn guess(&self, source: &str, allowed: u64) -> bool {
        let mut minute = self.minute();
        minute.guesses += 1;
        if let Some(tries) = minute.sources.get_mut(source) {
            *tries += 1;
            return *tries > allowed;
        }
        if minute.sources.len() >= SOURCES {
            minute.unnamed += 1;
            return true;
        }
        minute.sources.insert(source.to_owned(), 1);
        allowed == 0
    }

    /// Records or counts what somebody known was refused.
    pub(super) async fn refused(
        &self,
        book: &Arc<Book>,
        who: &Visitor,
        source: &str,
        what: (&'static str, String),
        problem: &Problem,
    ) {
        let (request, about) = what;
        let alone = {
            let mut minute = self.minute();
            let new = || Refused { one_by_one: 0, who: who.clone(), kinds: BTreeMap::new() };
            let refused = minute.refused.entry(who.token_id).or_insert_with(new);
            let is_first = !refused.kinds.contains_key(&(request, problem.code));
            let (summed, last) = refused.kinds.entry((request, problem.code)).or_default();
            source.clone_into(last);
            let alone = refused.one_by_one < ONE_BY_ONE || is_first;
            match alone {
                true => refused.one_by_one += 1,
                false => *summed += 1,
            }
            alone
        };
        if !alone {
            return;
        }
        let fields = if about.is_empty() { Vec::new() } else { vec![("about".to_owned(), about)] };
        let record = CommandRecordedV2 {
            command: request.to_owned(),
            role: who.permission.to_string(),
            token_id: Some(who.token_id),
            door: DOOR.to_owned(),
            source: source.to_owned(),
            outcome: CommandOutcome::Refused,
            code: problem.code.to_owned(),
            fields,
        };
        keep(book, &who.principal(), AuditCommand::Command(record)).await;
    }

    /// Records what was counted, and begins anew.
    pub(super) async fn record(&self, book: &Arc<Book>) {
        let minute = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(from) = minute.began else { return };
        let to = SystemClock.now();
        if minute.guesses > 0 {
            let mut sources: Vec<_> = minute.sources.into_iter().collect();
            sources.sort_by_key(|(_, guesses)| std::cmp::Reverse(*guesses));
            let more_sources = (sources.len().saturating_sub(NAMED) as u64).saturating_add(minute.unnamed);
            sources.truncate(NAMED);
            let sum = GuessesSummedV1 { from, to, count: minute.guesses, sources, more_sources };
            keep(book, "", AuditCommand::Guesses(sum)).await;
        }
        for (token_id, Refused { who, kinds, .. }) in minute.refused {
            for ((request, code), (count, source)) in kinds.into_iter().filter(|(_, (count, _))| *count > 0) {
                let sum = RefusalsSummedV2 {
                    command: request.to_owned(),
                    code: code.to_owned(),
                    role: who.permission.to_string(),
                    token_id: Some(token_id),
                    source,
                    from,
                    to,
                    count,
                };
                keep(book, &who.principal(), AuditCommand::Refusals(sum)).await;
            }
        }
    }
}

async fn keep(book: &Arc<Book>, by: &str, command: AuditCommand) {
    if let Err(error) = book.tell_audit(by, command).await {
        // Nothing was done that would have to be known.
        tracing::error!(%error, "what was refused cannot be recorded");
    }
}
