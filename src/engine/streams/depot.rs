//! Artifacts that are not written here: their bytes go to every endpoint of the run at once.
//!
//! An endpoint that fails is out of it for the rest of the run, as long as another one has all of it; where none is left the artifact
//! fails, and whoever writes it may try again with all of them. In memory there are a few pieces for each artifact and endpoint: who is
//! slow holds up the others, and in the end the participant.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ArtifactName, EndpointName, RunId};
use holdfast_model::participant::NOT_TAKEN;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Endpoint, Session, Streams};
use crate::engine::uploads;
use crate::pipeline::{ArtifactControl, DepotFile, PipelineError, Whole};
use crate::remote::growing::{PipeWriter, pipe};

/// Smallest piece that goes on by itself, in bytes.
const PIECE: usize = 1 << 20;
/// Pieces that wait for an endpoint, each at most as large as a frame.
const WAITING: usize = 3;
/// How often whoever waits looks whether the artifact is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// The endpoints of one run.
#[derive(Debug)]
pub(super) struct Depot {
    streams: Streams,
    run_id: RunId,
    endpoints: Vec<EndpointName>,
    /// As many artifacts at a time as the narrowest endpoint takes: two that wait for one another's places would wait for ever.
    turns: Arc<Semaphore>,
}

impl Depot {
    pub(super) fn new(streams: Streams, run_id: RunId, endpoints: &[EndpointName]) -> Result<Self, Failure> {
        let mut narrowest = None;
        let (mut refusals, mut kind) = (Vec::new(), FailureKind::Fatal);
        for name in endpoints {
            match streams.endpoint(run_id, name) {
                Some(Endpoint::Joined(session)) => {
                    let streams = session.remote.streams().max(1);
                    narrowest = Some(narrowest.map_or(streams, |least: usize| least.min(streams)));
                }
                Some(Endpoint::Refused(failure)) => {
                    if may_pass(failure.kind) {
                        kind = FailureKind::Retryable;
                    }
                    refusals.push(format!("{name}: {}", failure.message));
                }
                None => {
                    kind = FailureKind::Retryable;
                    refusals.push(format!("{name}: it did not answer in time"));
                }
            }
        }
        let Some(narrowest) = narrowest else {
            let text =
                format!("no endpoint takes the artifacts, and they are not staged here: {}", refusals.join("; "));
            return Err(Failure::new(kind, NOT_TAKEN, text));
        };
        let turns = streams.turns(run_id, narrowest);
        Ok(Self { streams, run_id, endpoints: endpoints.to_vec(), turns })
    }

    /// The endpoints that have all that was written before.
    fn sessions(&self, file: &ArtifactName) -> Vec<Arc<Session>> {
        let joined = self.endpoints.iter().filter_map(|name| match self.streams.endpoint(self.run_id, name)? {
            Endpoint::Joined(session) => Some(session),
            Endpoint::Refused(_) => None,
        });
        joined.filter(|session| !session.lacks_other(file)).collect()
    }
}

impl crate::pipeline::Depot for Depot {
    fn begin(&self, file: &ArtifactName, control: &ArtifactControl) -> Result<Box<dyn DepotFile>, PipelineError> {
        let runtime = &self.streams.runtime;
        let turn = wait(runtime, control, || self.turns.clone().acquire_owned())?;
        let turn = turn.map_err(|_| away(control, "the engine has been stopped".to_owned(), false))?;
        let sessions = self.sessions(file);
        if sessions.is_empty() {
            return Err(away(control, "no endpoint has what was written before".to_owned(), false));
        }
        let ways = sessions.into_iter().map(|session| {
            let (writer, pipe) = pipe(file.to_string(), WAITING);
            session.send(file, pipe, runtime);
            Way { session, writer: Some(writer) }
        });
        Ok(Box::new(Going {
            file: file.clone(),
            control: control.clone(),
            runtime: runtime.clone(),
            ways: ways.collect(),
            piece: BytesMut::new(),
            _turn: turn,
        }))
    }
}

/// An artifact on its way to all of them.
#[derive(Debug)]
struct Going {
    file: ArtifactName,
    control: ArtifactControl,
    runtime: Handle,
    ways: Vec<Way>,
    piece: BytesMut,
    _turn: OwnedSemaphorePermit,
}

/// Its way to one.
#[derive(Debug)]
struct Way {
    session: Arc<Session>,
    /// None once it takes no more.
    writer: Option<PipeWriter>,
}

impl Going {
    /// Gives a piece to each endpoint that still takes some.
    fn give(&mut self, piece: &Bytes) -> Result<(), PipelineError> {
        for way in &mut self.ways {
            let Some(writer) = &way.writer else { continue };
            let room = wait(&self.runtime, &self.control, || writer.pieces.reserve())?;
            let taken = room.map(|room| room.send(piece.clone()));
            if taken.is_err() {
                way.writer = None;
            }
        }
        match self.ways.iter().any(|way| way.writer.is_some()) {
            true => Ok(()),
            false => Err(self.failed()),
        }
    }

    /// What each of them said, where none has it.
    fn failed(&self) -> PipelineError {
        let (mut reasons, mut retryable) = (Vec::new(), false);
        for way in &self.ways {
            let ended = wait(&self.runtime, &self.control, || way.session.end_of(&self.file));
            if let Ok(Err(error)) = ended {
                let failure = uploads::failure(&error);
                retryable |= may_pass(failure.kind);
                reasons.push(format!("{}: {}", way.session.endpoint, failure.message));
            }
        }
        away(&self.control, reasons.join("; "), retryable)
    }
}

impl DepotFile for Going {
    fn write(&mut self, bytes: &[u8]) -> Result<(), PipelineError> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() < PIECE {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.give(&piece)
    }

    fn finish(&mut self, whole: Whole) -> Result<(), PipelineError> {
        if !self.piece.is_empty() {
            let piece = self.piece.split().freeze();
            self.give(&piece)?;
        }
        for way in &mut self.ways {
            if let Some(writer) = way.writer.take() {
                writer.end(whole);
            }
        }
        let (mut there, mut failed) = (Vec::new(), Vec::new());
        for way in &self.ways {
            match wait(&self.runtime, &self.control, || way.session.end_of(&self.file))? {
                Ok(_) => there.push(&way.session),
                Err(error) => failed.push((&way.session, error)),
            }
        }
        if there.is_empty() {
            let retryable = failed.iter().any(|(_, error)| may_pass(uploads::failure(error).kind));
            let reasons: Vec<_> =
                failed.iter().map(|(session, error)| format!("{}: {error}", session.endpoint)).collect();
            return Err(away(&self.control, reasons.join("; "), retryable));
        }
        for (session, error) in failed {
            let endpoint = &session.endpoint;
            tracing::warn!(%endpoint, file = %self.file, %error, "the endpoint does not get this run: it lacks an artifact");
            session.lacks(&self.file, uploads::failure(&error));
        }
        Ok(())
    }
}

/// Whether it may be otherwise at another try.
fn may_pass(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Retryable | FailureKind::Timeout | FailureKind::Resource)
}

/// Waits for something, as long as the artifact is wanted.
fn wait<F: Future>(
    runtime: &Handle,
    control: &ArtifactControl,
    begin: impl FnOnce() -> F,
) -> Result<F::Output, PipelineError> {
    runtime.block_on(async {
        let mut waiting = std::pin::pin!(begin());
        loop {
            control.check()?;
            if let Ok(output) = timeout(LOOK, &mut waiting).await {
                return Ok(output);
            }
        }
    })
}

fn away(control: &ArtifactControl, reason: String, retryable: bool) -> PipelineError {
    PipelineError::Away { path: control.path().to_owned(), reason, retryable }
}
