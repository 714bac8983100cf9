//! Participants that take their artifacts back.
//!
//! ```text
//! plan ─► quiesce ─► capture (the safety snapshot) ─► stage ─► commit ─► verify ─► resume
//!                        │            │                  │        └─ a failure of anyone: stage and commit of the snapshot
//!                        └────────────┴──────────────────┴─ a failure of anyone: discard
//! ```
//!
//! Going back is the same way as going forth: what was captured before is staged and committed, under another key. A module has one way
//! in, which is tested each time it restores; it needs no memory of its own of what was before, and where its process dies the artifacts of
//! the snapshot are still there, whole and with their hashes, for the next one.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_actors::ports::Stop;
use holdfast_model::failure::FailureKind;
use holdfast_model::ids::{ArtifactName, ParticipantName, RestoreId, RunId};
use holdfast_model::run::ArtifactStoredV1;

use super::artifacts::Admit;
use super::error::ParticipantError;
use super::phased::Capture;
use crate::pipeline::{ArtifactReader, ContentStream};
use crate::restore::RunSource;

/// Most bytes that are kept of what is said of a commit.
const MAX_SAID: usize = 2048;

/// A participant that takes its artifacts back, all or nothing with the others of a restore.
///
/// Each method may be called again for the same key after a process died, in this order: a restore that was decided is staged and
/// committed anew by the next process, and one that was not is discarded. So a participant that is restored is registered before the
/// engine starts: by [`Builder`](crate::engine::Builder), which settles open restores before anything else begins.
pub trait Restore: Send + Sync {
    /// Says whether it could take these artifacts back, and how. Writes nothing and changes nothing.
    ///
    /// # Errors
    /// Why it could not; then nothing is begun, with nobody.
    fn plan(&self, _offer: &Offer) -> Result<Planned, ParticipantError> {
        Ok(Planned::in_one_step())
    }

    /// Keeps its data from changing until what it gives back is dropped or told to resume: its users wait, or are refused.
    ///
    /// # Errors
    /// Why it cannot; then it is as if it had not been asked.
    fn quiesce(&self, phase: &RestorePhase) -> Result<Box<dyn Quiesced>, ParticipantError>;

    /// Takes what it is given beside its live data, durably, under [`RestorePhase::key`]. What was staged before, under this key or another,
    /// is thrown away. Live data is not touched.
    ///
    /// # Errors
    /// Why it cannot; an error of a reader goes on as it is.
    fn stage(&self, staging: &mut Staging) -> Result<(), ParticipantError>;

    /// Puts what is staged under the key in the place of its live data: in one step, and durably when it returns. Called again under a key
    /// that was committed, and staged again since, it ends with the same data.
    ///
    /// # Errors
    /// Why it could not. It is then put back from the safety snapshot.
    fn commit(&self, phase: &RestorePhase) -> Result<(), ParticipantError>;

    /// Looks whether what it has now is what was restored, after all have committed.
    ///
    /// # Errors
    /// What is wrong with it. All are then put back.
    fn verify(&self, _phase: &RestorePhase) -> Result<(), ParticipantError> {
        Ok(())
    }

    /// Throws away what is staged, if anything is.
    ///
    /// # Errors
    /// Why it cannot. What is left then is thrown away by the next stage.
    fn discard(&self, phase: &RestorePhase) -> Result<(), ParticipantError>;
}

/// A participant whose data does not change. It is told to resume exactly once, also where something went wrong.
pub trait Quiesced: Send {
    /// Takes hold of what it has now, as [`Frozen::capture`](super::Frozen::capture) does: the state before a restore. It is written, and
    /// may be staged again, in the format of its backups.
    ///
    /// # Errors
    /// Why it cannot.
    fn capture(&mut self, phase: &RestorePhase) -> Result<Box<dyn Capture>, ParticipantError>;

    /// Whether its data cannot change until it goes on. Only where this is so of all does the state before count as of one moment.
    fn stands_still(&self) -> bool {
        true
    }

    /// Goes on, with the data it has now.
    ///
    /// # Errors
    /// Why it cannot.
    fn resume(self: Box<Self>) -> Result<(), ParticipantError>;
}

/// How a participant would take its artifacts back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Whether its commit is one step. Where it is not, a crash in its middle leaves neither state until the next start settles it, and a
    /// failure is made good from the safety snapshot.
    pub atomic: bool,
    /// Room it needs beside its live data. Where there is less, nothing is begun.
    pub space: Vec<SpaceNeeded>,
    /// Paths that it replaces as a whole, without symbolic links on the way. Where one lies in another participant's, nothing is begun.
    pub replaces: Vec<PathBuf>,
    /// What else somebody should know before: a line each.
    pub notes: Vec<String>,
}

/// Room that is needed on the file system of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceNeeded {
    /// A path that is there.
    pub path: PathBuf,
    /// How much, at most.
    pub bytes: u64,
}

impl Planned {
    /// Its commit is one step.
    #[must_use]
    pub fn in_one_step() -> Self {
        Self { atomic: true, space: Vec::new(), replaces: Vec::new(), notes: Vec::new() }
    }

    /// Its commit is not one step, and is made good from the safety snapshot where it fails.
    #[must_use]
    pub fn compensated() -> Self {
        Self { atomic: false, ..Self::in_one_step() }
    }

    /// It also needs room.
    #[must_use]
    pub fn needs(mut self, path: impl Into<PathBuf>, bytes: u64) -> Self {
        self.space.push(SpaceNeeded { path: path.into(), bytes });
        self
    }

    /// It also replaces this path.
    #[must_use]
    pub fn replaces(mut self, path: impl Into<PathBuf>) -> Self {
        self.replaces.push(path.into());
        self
    }

    /// Somebody should also know this.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }
}

/// What a restore would give a participant.
pub struct Offer {
    format_version: u32,
    delete: bool,
    redefined: bool,
    offered: Vec<Offered>,
    source: Arc<RunSource>,
    stored: Vec<ArtifactStoredV1>,
}

impl Offer {
    pub(crate) fn new(
        participant: &ParticipantName,
        format_version: u32,
        delete: bool,
        redefined: bool,
        source: Arc<RunSource>,
    ) -> Self {
        let own = source.artifacts().iter().filter(|artifact| artifact.participant == *participant);
        let stored: Vec<_> = own.cloned().collect();
        Self { format_version, delete, redefined, offered: stored.iter().map(offered).collect(), source, stored }
    }

    /// The version of the format they were written in; 0 where the run did not record it.
    #[must_use]
    pub fn format_version(&self) -> u32 {
        self.format_version
    }

    /// Whether live data that the run does not have would be deleted.
    #[must_use]
    pub fn delete(&self) -> bool {
        self.delete
    }

    /// Whether it is defined otherwise now than it was in the run.
    #[must_use]
    pub fn is_redefined(&self) -> bool {
        self.redefined
    }

    /// Its artifacts, in the order it wrote them.
    #[must_use]
    pub fn artifacts(&self) -> &[Offered] {
        &self.offered
    }

    /// The same, as they are recorded.
    pub(crate) fn stored(&self) -> &[ArtifactStoredV1] {
        &self.stored
    }

    /// The run that has them.
    pub(crate) fn source(&self) -> &RunSource {
        &self.source
    }
}

/// An artifact that would be given to a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its name.
    pub name: ArtifactName,
    /// Its content in bytes.
    pub content_bytes: u64,
}

/// A phase of a restore that a participant is in.
#[derive(Clone)]
pub struct RestorePhase {
    restore_id: RestoreId,
    run_id: RunId,
    participant: ParticipantName,
    back: bool,
    delete: bool,
    stop: Stop,
    until: Option<Instant>,
    admit: Admit,
    said: Arc<Mutex<String>>,
}

impl fmt::Debug for RestorePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestorePhase").field("key", &self.key()).field("until", &self.until).finish_non_exhaustive()
    }
}

impl RestorePhase {
    pub(crate) fn new(
        (restore_id, back): (RestoreId, bool),
        (run_id, participant): (RunId, ParticipantName),
        delete: bool,
        stop: Stop,
        until: Option<Instant>,
        admit: Admit,
    ) -> Self {
        let said = Arc::default();
        Self { restore_id, run_id, participant, back, delete: delete || back, stop, until, admit, said }
    }

    /// The participant that is in it.
    #[must_use]
    pub fn participant(&self) -> &ParticipantName {
        &self.participant
    }

    /// The run that is restored.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.run_id
    }

    /// Keeps what is to be known of a commit: its last 2 KiB are recorded with it.
    pub fn say(&self, text: &str) {
        let from = text.len().saturating_sub(MAX_SAID);
        let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = text.get(from..).unwrap_or_default().to_owned();
    }

    /// What was said last.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The restore.
    #[must_use]
    pub fn restore_id(&self) -> RestoreId {
        self.restore_id
    }

    /// The name under which data is staged and committed: of the restore, or of its way back, which has another one. It can be a file's
    /// name.
    #[must_use]
    pub fn key(&self) -> String {
        let way = if self.back { "-back" } else { "" };
        format!("{}{way}", self.restore_id)
    }

    /// Whether live data that it is not given is deleted. On the way back it is: the state before is put back exactly.
    #[must_use]
    pub fn delete(&self) -> bool {
        self.delete
    }

    /// Whether it is the way back.
    pub(crate) fn is_back(&self) -> bool {
        self.back
    }

    /// Records a process durably before it becomes a command.
    pub(crate) fn admit(&self) -> &Admit {
        &self.admit
    }

    /// Whether nobody waits for it any more.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.requested()
    }

    /// How long it may still take; `None` for as long as it likes.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

/// What a participant is given to stage: its artifacts, in the order it wrote them.
pub struct Staging {
    phase: RestorePhase,
    format_version: u32,
    offered: Vec<Offered>,
    readers: std::vec::IntoIter<(ArtifactName, ArtifactReader)>,
    /// How many were read to their end.
    read: Arc<AtomicUsize>,
}

impl Staging {
    pub(crate) fn new(
        phase: RestorePhase,
        format_version: u32,
        artifacts: Vec<(ArtifactStoredV1, ArtifactReader)>,
    ) -> Self {
        let offered = artifacts.iter().map(|(artifact, _)| offered(artifact)).collect();
        let readers: Vec<_> = artifacts.into_iter().map(|(artifact, reader)| (artifact.logical_name, reader)).collect();
        Self { phase, format_version, offered, readers: readers.into_iter(), read: Arc::default() }
    }

    /// The phase it is in.
    #[must_use]
    pub fn phase(&self) -> &RestorePhase {
        &self.phase
    }

    /// The version of the format they were written in; 0 where the run did not record it.
    #[must_use]
    pub fn format_version(&self) -> u32 {
        self.format_version
    }

    /// All of them.
    #[must_use]
    pub fn artifacts(&self) -> &[Offered] {
        &self.offered
    }

    /// The next one; `None` after the last.
    pub fn next_artifact(&mut self) -> Option<StagedReader> {
        let (name, reader) = self.readers.next()?;
        Some(StagedReader {
            name,
            content: reader.stream(),
            reader,
            stop: self.phase.stop.clone(),
            read: Some(self.read.clone()),
        })
    }

    /// Whether all were read to their end, and so are known to be as recorded.
    pub(crate) fn is_read(&self) -> bool {
        self.read.load(Ordering::Acquire) == self.offered.len()
    }
}

/// What would be given of an artifact.
fn offered(artifact: &ArtifactStoredV1) -> Offered {
    Offered { name: artifact.logical_name.clone(), content_bytes: artifact.content_bytes }
}

/// The content of one artifact. It comes to its end only where every byte was as recorded.
pub struct StagedReader {
    name: ArtifactName,
    reader: ArtifactReader,
    content: ContentStream,
    stop: Stop,
    /// Counted once, at its end.
    read: Option<Arc<AtomicUsize>>,
}

impl StagedReader {
    /// The artifact's name.
    #[must_use]
    pub fn name(&self) -> &ArtifactName {
        &self.name
    }

    /// The way to read it again.
    pub(crate) fn into_reader(self) -> ArtifactReader {
        self.reader
    }

    /// All of it. For content that fits into memory.
    ///
    /// # Errors
    /// As reading; [`ParticipantError`] with the code `ARTIFACT_TOO_LARGE` where it is longer than `most` bytes.
    pub fn read_all(mut self, most: u64) -> Result<Vec<u8>, ParticipantError> {
        let mut content = Vec::new();
        (&mut self).take(most.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            let text = format!("artifact {} is longer than the {most} bytes it may have", self.name);
            return Err(ParticipantError::fatal("ARTIFACT_TOO_LARGE", text));
        }
        Ok(content)
    }
}

impl Read for StagedReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.stop.requested() {
            return Err(io::Error::other("the restore was told to stop"));
        }
        let count = self.content.read(bytes)?;
        if count == 0
            && !bytes.is_empty()
            && let Some(read) = self.read.take()
        {
            read.fetch_add(1, Ordering::AcqRel);
        }
        Ok(count)
    }
}

/// A participant whose data does not change, until this is dropped.
pub(crate) struct Lease(Option<Box<dyn Quiesced>>);

impl Lease {
    pub(crate) fn of(participant: &dyn Restore, phase: &RestorePhase) -> Result<Self, ParticipantError> {
        participant.quiesce(phase).map(|quiesced| Self(Some(quiesced)))
    }

    pub(crate) fn capture(&mut self, phase: &RestorePhase) -> Result<Box<dyn Capture>, ParticipantError> {
        match &mut self.0 {
            Some(quiesced) => quiesced.capture(phase),
            None => Err(ParticipantError::new(FailureKind::Fatal, "NOT_QUIESCED", "it has gone on before")),
        }
    }

    pub(crate) fn stands_still(&self) -> bool {
        self.0.as_ref().is_some_and(|quiesced| quiesced.stands_still())
    }

    pub(crate) fn resume(mut self) -> Result<(), ParticipantError> {
        self.0.take().map_or(Ok(()), Quiesced::resume)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(quiesced) = self.0.take()
            && let Err(error) = quiesced.resume()
        {
            tracing::error!(%error, "a participant could not go on after a restore");
        }
    }
}
