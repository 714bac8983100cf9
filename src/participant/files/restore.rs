//! Files put back where they are.
//!
//! Nothing stops those who write plain files: that nobody works with them is what maintenance says. So the lease holds nothing, and what is
//! captured is read from the live tree, as a backup reads it; a file that cannot be kept that way keeps the restore from beginning, because the
//! way back removes what the snapshot does not have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use holdfast_model::failure::FailureKind;

use super::{FilesDefinition, FilesParticipant, failure, write};
use crate::files::{FilesError, Noted, Observer, Replace, ReplaceError, Replacements, Summary};
use crate::participant::{
    Artifacts, Capture, Offer, ParticipantError, Planned, Quiesced, Restore, RestorePhase, Staging,
};

impl FilesParticipant {
    /// Does something with the given paths.
    fn replace<T>(&self, work: impl FnOnce(Replace<'_>) -> Result<T, ReplaceError>) -> Result<T, ParticipantError> {
        let own = own(&self.home);
        work(Replace { spec: &self.definition.spec, own: &own }).map_err(|error| refusal(&error))
    }
}

impl Restore for FilesParticipant {
    fn plan(&self, offer: &Offer) -> Result<Planned, ParticipantError> {
        let [artifact] = offer.stored() else {
            let text = "files are restored from one artifact, and the run has another number of them";
            return Err(ParticipantError::fatal("NOT_ONE_STREAM", text));
        };
        let entries = offer.source().entries(artifact);
        let entries = entries.map_err(|error| ParticipantError::fatal(error.code(), error.to_string()))?;
        let planned = self.replace(|replace| replace.plan(entries))?;
        if !offer.is_redefined() {
            return Ok(described(&planned, offer.delete()));
        }
        // Names are numbered in the order of the paths: in another order each would be restored into the place of the other.
        if let Some(path) = second_of_a_name(&self.definition.spec.paths) {
            let text = format!(
                "{} is not its only path with this last name, and it is defined otherwise now than in the run: which of them is meant cannot \
                 be told. Restore it with --target",
                path.display()
            );
            return Err(ParticipantError::fatal("FILES_AMBIGUOUS", text));
        }
        let text = "it is defined otherwise now than in the run: see that the paths are those that are meant";
        Ok(described(&planned, offer.delete()).note(text))
    }

    fn quiesce(&self, _phase: &RestorePhase) -> Result<Box<dyn Quiesced>, ParticipantError> {
        Ok(Box::new(AsItIs { definition: self.definition.clone(), home: self.home.clone() }))
    }

    /// Restores beside each given path, with what is kept of the live one, and syncs it.
    fn stage(&self, staging: &mut Staging) -> Result<(), ParticipantError> {
        let phase = staging.phase().clone();
        let Some(mut artifact) = staging.next_artifact() else {
            return Err(ParticipantError::fatal("NOT_ONE_STREAM", "there is no artifact to restore from"));
        };
        let how = (phase.delete(), phase.is_back());
        let staged = self.replace(|replace| replace.stage(&mut artifact, &phase.key(), how, &Watcher(&phase)));
        let summary = staged.map_err(|error| if phase.stopped() { stopped() } else { error })?;
        let doubts = (phase.key(), told(&summary));
        *self.doubts.lock().unwrap_or_else(PoisonError::into_inner) = Some(doubts);
        Ok(())
    }

    fn commit(&self, phase: &RestorePhase) -> Result<(), ParticipantError> {
        self.replace(|replace| replace.commit(&phase.key(), phase.is_back(), &Watcher(phase)))?;
        let doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((_, text)) = doubts.filter(|(key, text)| *key == phase.key() && !text.is_empty()) {
            phase.say(&text);
        }
        Ok(())
    }

    /// Sees whether each path is the very tree that was staged, whose bytes were all read and compared on their way: not what was changed
    /// in it since. Then what was replaced is removed.
    fn verify(&self, phase: &RestorePhase) -> Result<(), ParticipantError> {
        self.replace(|replace| replace.verify(&phase.key()))
    }

    fn discard(&self, phase: &RestorePhase) -> Result<(), ParticipantError> {
        self.replace(|replace| replace.discard(&Watcher(phase)))
    }
}

/// A path with the same last name as one before it.
fn second_of_a_name(paths: &[PathBuf]) -> Option<&Path> {
    let mut names = BTreeSet::new();
    paths.iter().map(PathBuf::as_path).find(|path| !names.insert(path.file_name()))
}

/// A plan, for people.
fn described(planned: &Replacements, delete: bool) -> Planned {
    let mut described = if planned.paths.len() > 1 {
        let text = format!(
            "its {} paths are replaced one after the other, each in one step: what fails in between is put back from the state before",
            planned.paths.len()
        );
        Planned::compensated().note(text)
    } else {
        Planned::in_one_step()
    };
    for one in &planned.paths {
        let path = one.path.display();
        described = described.needs(&one.beside, one.bytes).replaces(&one.real);
        described = match one.has_its_own_name() {
            true => described.note(format!("{path} is replaced as a whole")),
            false => described.note(format!("{path} is replaced as a whole by `{}` of the run", one.stored)),
        };
        if one.makes_parent {
            described =
                described.note(format!("the folders on the way to {path} are made; whose they were is in no backup"));
        }
    }
    for path in &planned.untouched {
        described = described.note(format!("{} is not in the run and stays as it is", path.display()));
    }
    let text = if delete {
        "what is there and not in the run is deleted, but for what its patterns leave out of backups"
    } else {
        "what is there and not in the run is kept"
    };
    described.note(text)
}

/// What could not be restored as it was, for people.
fn told(summary: &Summary) -> String {
    let Noted { count, first } = &summary.warnings;
    let lines = first.iter().map(|one| format!("{} {}\n", one.path.display(), one.reason));
    let more = count.saturating_sub(first.len() as u64);
    let more = if more > 0 { format!("and {more} more\n") } else { String::new() };
    lines.collect::<String>() + &more
}

/// What Holdfast itself works with, as far as it can be found.
fn own(home: &Path) -> Vec<PathBuf> {
    let places = [home.to_owned(), home.join("backups"), home.join("log")];
    let places = places.into_iter().chain(std::env::current_exe());
    let mut own: Vec<_> = places.filter_map(|path| std::fs::canonicalize(path).ok()).collect();
    own.dedup();
    own
}

fn refusal(error: &ReplaceError) -> ParticipantError {
    match error {
        ReplaceError::Files(error) => failure(error),
        error if error.is_full() => ParticipantError::new(FailureKind::Resource, error.code(), error.to_string()),
        error => ParticipantError::fatal(error.code(), error.to_string()),
    }
}

fn stopped() -> ParticipantError {
    let error = FilesError::Cancelled;
    ParticipantError::new(FailureKind::Cancelled, error.code(), error.to_string())
}

/// Files in a restore.
struct AsItIs {
    definition: FilesDefinition,
    home: PathBuf,
}

impl Quiesced for AsItIs {
    /// Nothing yet: nothing changes until it is written.
    fn capture(&mut self, _phase: &RestorePhase) -> Result<Box<dyn Capture>, ParticipantError> {
        Ok(Box::new(StateBefore { definition: self.definition.clone(), home: self.home.clone() }))
    }

    fn stands_still(&self) -> bool {
        false
    }

    fn resume(self: Box<Self>) -> Result<(), ParticipantError> {
        Ok(())
    }
}

/// The given paths as they are, as far as they are there.
struct StateBefore {
    definition: FilesDefinition,
    home: PathBuf,
}

impl Capture for StateBefore {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let written = write(&self.definition, &self.home, true, artifacts)?;
        if written.summary.missing > 0 {
            let first = written.summary.warnings.first.first();
            let first = first.map(|one| format!("{} {}", one.path.display(), one.reason)).unwrap_or_default();
            let text = format!(
                "{} of the state before cannot be kept, the first: {first}. Give access to it or leave it out by a pattern; --safety \
                 best_effort goes on without a way back",
                written.summary.missing
            );
            return Err(ParticipantError::fatal("STATE_NOT_WHOLE", text));
        }
        written.finish(artifacts)
    }
}

/// Hears what the files engine tells while it restores.
struct Watcher<'a>(&'a RestorePhase);

impl Observer for Watcher<'_> {
    fn advance(&self, _files: u64, _bytes: u64) {}

    fn warn(&self, path: &Path, reason: &str) {
        tracing::warn!(participant = %self.0.participant(), path = %path.display(), reason, "not restored as it was");
    }

    fn cancelled(&self) -> bool {
        self.0.stopped()
    }
}
