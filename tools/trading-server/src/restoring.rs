//! The four modules taking their snapshots back.
//!
//! While one is restored the gate is closed. What comes from a snapshot is staged as a file beside the live one, under the restore's key,
//! and committed by one rename; where a crash falls between, the next start stages and renames again. Afterwards the exchange reads its
//! balances anew.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use holdfast::participant::{Capture, ParticipantError, Quiesced, Restore, RestorePhase, Staging};

use crate::gate::Closed;
use crate::participants::{Standing, failed};

impl Standing {
    /// Where a restore's data waits.
    fn staged(&self, phase: &RestorePhase) -> PathBuf {
        self.modules.folder.join(format!("{}.{}.staged", self.module.name(), phase.key()))
    }

    /// Takes away all that any restore has staged.
    fn sweep(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.modules.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{}.", self.module.name())) && name.ends_with(".staged") {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Restore for Standing {
    fn quiesce(&self, _phase: &RestorePhase) -> Result<Box<dyn Quiesced>, ParticipantError> {
        let closed = self.modules.gate.close();
        Ok(Box::new(Quiet { standing: self.clone(), _closed: closed }))
    }

    fn stage(&self, staging: &mut Staging) -> Result<(), ParticipantError> {
        failed(self.sweep())?;
        let staged = self.staged(staging.phase());
        while let Some(reader) = staging.next_artifact() {
            failed(self.stage_from(reader, &staged))?;
        }
        Ok(())
    }

    fn commit(&self, phase: &RestorePhase) -> Result<(), ParticipantError> {
        failed(self.swap(&self.staged(phase)))
    }

    fn discard(&self, _phase: &RestorePhase) -> Result<(), ParticipantError> {
        failed(self.sweep())
    }
}

struct Quiet {
    standing: Standing,
    _closed: Closed,
}

impl Quiesced for Quiet {
    fn capture(&mut self, _phase: &RestorePhase) -> Result<Box<dyn Capture>, ParticipantError> {
        self.standing.moment()
    }

    fn resume(self: Box<Self>) -> Result<(), ParticipantError> {
        Ok(())
    }
}
