//! The one thread that appends: checks expected versions, gives places, commits, answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use holdfast_model::ids::{Position, StreamId, Version};
use holdfast_model::record::Record;
use tokio::sync::{oneshot, watch};

use crate::backlog::{Backlog, Stalled};
use crate::error::AppendError;
use crate::event_log::{Append, Appended};
use crate::head::HeadFile;
use crate::journal::frame::{Encoded, Encoder};
use crate::journal::writer::{WriteError, Writer as Journal, Written};
use crate::latency::AppendLatency;
use crate::queue::{Queue, Request};
use crate::view::View;

/// All that the thread owns.
pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) view: Arc<View>,
    pub(crate) journal: Journal,
    pub(crate) head_file: HeadFile,
    pub(crate) head: watch::Sender<Position>,
    /// Commits on their way to the store.
    pub(crate) backlog: Arc<Backlog>,
    /// Why nothing is taken any more.
    pub(crate) poison: Arc<Mutex<Option<String>>>,
    pub(crate) latency: Arc<AppendLatency>,
}

type Answer = oneshot::Sender<Result<Appended, AppendError>>;

/// Appends that are in one commit, or are refused by it.
struct Batch {
    first: Position,
    encoder: Encoder,
    records: Vec<Record>,
    /// Streams that move with this commit, and where to.
    moved: HashMap<StreamId, Version>,
    accepted: Vec<(Answer, Appended, Instant)>,
    /// Refused on account of a version; by one that is not durable yet where the stream is in `moved`.
    refused: Vec<(Answer, StreamId, Version)>,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let (mut before, mut requests) = (0, Vec::new());
        while self.queue.take(before, &mut requests) {
            before = requests.len();
            let poisoned = self.poison.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match poisoned {
                Some(reason) => {
                    for request in requests.drain(..) {
                        answer(request.answer, Err(AppendError::Poisoned { reason: reason.clone() }));
                    }
                }
                None => self.commit(&mut requests),
            }
        }
        if self.poison.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.journal.trim();
        }
    }

    fn commit(&mut self, requests: &mut Vec<Request>) {
        let mut batch = self.collect(requests);
        let encoder = std::mem::replace(&mut batch.encoder, Encoder::new(batch.first));
        if batch.records.is_empty() {
            return self.refuse(batch, None);
        }
        let encoded = encoder.finish(self.journal.chain());
        match self.journal.append(batch.first, &encoded) {
            Ok(written) => {
                self.publish(&batch, &written, &encoded);
                for (sender, appended, since) in std::mem::take(&mut batch.accepted) {
                    self.latency.add(since.elapsed());
                    answer(sender, Ok(appended));
                }
                self.refuse(batch, None);
                if self.backlog.push(encoded) == Err(Stalled) {
                    tracing::error!("the event log's store does not move; it is gone on without");
                    self.view.give_up_store("it did not take any event for too long".to_owned());
                }
            }
            Err(error) => {
                let error = self.failed(&error);
                self.refuse(batch, Some(&error));
            }
        }
    }

    /// Gives places to what can be appended.
    fn collect(&self, requests: &mut Vec<Request>) -> Batch {
        let catalog = self.view.catalog();
        let first = catalog.head.next();
        let mut batch = Batch {
            first,
            encoder: Encoder::new(first),
            records: Vec::with_capacity(requests.len()),
            moved: HashMap::with_capacity(requests.len()),
            accepted: Vec::with_capacity(requests.len()),
            refused: Vec::new(),
        };
        let mut next = first;
        for Request { append, answer, since, .. } in requests.drain(..) {
            let Append { stream, expected, events } = &append;
            let actual = batch.moved.get(stream).copied().unwrap_or_else(|| catalog.streams.version(stream));
            if *expected != actual {
                batch.refused.push((answer, stream.clone(), *expected));
                continue;
            }
            let count = events.len() as u64;
            let (last, version) = (Position(next.0 + count - 1), Version(expected.0 + count));
            batch.accepted.push((answer, Appended { first: next, last, version }, since));
            batch.moved.insert(stream.clone(), version);
            for record in append.into_records(next) {
                batch.encoder.push(&record);
                batch.records.push(record);
            }
            next = last.next();
        }
        batch
    }

    /// Shows a commit that is on stable storage.
    fn publish(&self, batch: &Batch, written: &Written, encoded: &Encoded) {
        let last = Position(batch.first.0 + batch.records.len() as u64 - 1);
        self.view.update(|catalog| {
            if let Some(path) = &written.new_segment {
                catalog.add_segment(path, batch.first);
            }
            for record in &batch.records {
                catalog.add_event(&record.stream, record.version, record.position);
            }
            catalog.add_commit(batch.first, last, written.offset, encoded.chain);
        });
        if let Err(error) = self.head_file.set(last) {
            // Readers in other processes see less than there is until it works again. Nothing else depends on it.
            tracing::warn!(%error, position = last.0, "cannot write how far the event log is");
        }
        self.head.send_replace(last);
    }

    fn failed(&self, error: &WriteError) -> AppendError {
        let (answer, poison) = match error {
            WriteError::NoSpace(error) => (AppendError::NoSpace { reason: error.to_string() }, None),
            WriteError::Unknown(error) => {
                let reason = error.to_string();
                (AppendError::OutcomeUnknown { reason: reason.clone() }, Some(reason))
            }
            WriteError::Broken(error) => {
                let reason = error.to_string();
                (AppendError::Poisoned { reason: reason.clone() }, Some(reason))
            }
        };
        tracing::error!(code = answer.code(), error = %answer, "append to the event log failed");
        if poison.is_some() {
            *self.poison.lock().unwrap_or_else(PoisonError::into_inner) = poison;
        }
        answer
    }

    /// Answers those that are not in the log: by their version, or by what became of the commit they were decided in.
    fn refuse(&self, batch: Batch, failed: Option<&AppendError>) {
        for (sender, ..) in batch.accepted {
            let lost = || AppendError::OutcomeUnknown { reason: "the commit was lost".into() };
            answer(sender, Err(failed.cloned().unwrap_or_else(lost)));
        }
        for (sender, stream, expected) in batch.refused {
            let actual = self.view.catalog().streams.version(&stream);
            answer(
                sender,
                Err(match failed {
                    Some(error) if actual == expected => error.clone(),
                    _ => AppendError::WrongVersion { stream, expected, actual },
                }),
            );
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.backlog.end();
    }
}

/// Answers; whoever asked may have gone.
fn answer(sender: Answer, result: Result<Appended, AppendError>) {
    let _ = sender.send(result);
}
