//! The safety snapshot: what the participants had before, in a directory of its own with manifest and sums, as a run has them.
//!
//! Where all stand still when it is taken it is of one moment, and says so: files and commands do not. It is captured through what holds them still and not by a backup: a thaw in the
//! middle of a restore would let a participant go on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use holdfast_actors::ports::{Known, Note, RestoreJob};
use holdfast_actors::report::Report;
use holdfast_log::space;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RunId};
use holdfast_model::participant::{ParticipantCommand, Work};
use holdfast_model::restore::{Did, Restore, Restoring, SafetySnapshot};
use holdfast_model::run::{ArtifactStoredV1, Encryption};

use super::super::drive::collect;
use super::super::settle::for_participant;
use super::super::{SystemClock, backups, manifest};
use super::{Restorer, blocking, now, restore_failure, unknown};
use tokio::runtime::Handle;

use crate::participant::{Artifacts, Capture, ParticipantError, Pulse, Steps, Surroundings, lock};
use crate::pipeline::{ArtifactReader, Pipeline};
use crate::restore::RestoreError;
use crate::storage::{Consistency, Manifest, ManifestParticipant, ReadLease, RunDir, Storage, StorageError, Warnings};

/// Most artifacts of one snapshot: they are recorded in one commit.
const MAX_ARTIFACTS: usize = 200;

/// A safety snapshot that is read.
pub(super) struct Snapshot {
    lease: ReadLease,
    pipeline: Pipeline,
}

impl Snapshot {
    pub(super) fn reader(&self, artifact: &ArtifactStoredV1) -> Result<ArtifactReader, RestoreError> {
        let recorded = manifest::artifact(artifact, &Encryption::None).map_err(RestoreError::Unknown)?;
        Ok(self.lease.artifact(&self.pipeline, &recorded, None)?)
    }
}

impl Restorer {
    fn directory(&self, restore: &Restore) -> Result<PathBuf, Failure> {
        let restore_id = restore.request.as_ref().ok_or_else(unknown)?.restore_id;
        Ok(Storage::at(self.home.backups()).pre_restore(restore_id))
    }

    /// Keeps what the participants have now.
    pub(super) async fn take_snapshot(&self, job: &RestoreJob) -> Result<Did, Failure> {
        let restore = &job.restore;
        let mut captures = Vec::new();
        let at = now();
        let began = Instant::now();
        for one in restore.participants() {
            captures.push((one, self.capture(job, one).await?));
        }
        self.remove_snapshot(restore).await?;
        let (path, min_free) = (self.directory(restore)?, self.drivers.min_free());
        let made = blocking(move || {
            let directory = RunDir::create(path).map_err(|error| backups::failure(&error))?;
            space::preflight(directory.path(), min_free, None)
                .map_err(|error| Failure::new(FailureKind::Resource, error.code(), error.to_string()))?;
            Ok(Arc::new(directory))
        });
        let directory = made.await?;
        let mut kept = Vec::new();
        for (one, capture) in captures {
            kept.push((one.clone(), self.write(job, one, capture, &directory).await?));
        }
        // They stand still for longer; so long they did for the snapshot.
        let held_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let consistency = if self.all_stand_still(restore) {
            Consistency { mode: "barrier".into(), barrier_at: at.seconds(), held_us }
        } else {
            Consistency { mode: "concurrent".into(), barrier_at: 0, held_us: 0 }
        };
        let artifacts: Vec<_> = kept.iter().flat_map(|(_, artifacts)| artifacts.clone()).collect();
        if artifacts.len() > MAX_ARTIFACTS {
            let text = format!("the state before has more than {MAX_ARTIFACTS} artifacts: restore fewer participants");
            return Err(Failure::new(FailureKind::Fatal, "TOO_MANY_ARTIFACTS", text));
        }
        let manifest = self.manifest(restore, &kept, at.seconds(), consistency)?;
        // Everything is read again before it counts.
        let sealing = blocking(move || {
            directory
                .seal(&manifest, None, crate::storage::Staged::Here, &mut |_| {})
                .map_err(|error| backups::failure(&error))
        });
        let sums_sha256 = sealing.await?.sums_sha256;
        Ok(Did::Kept(SafetySnapshot { at, sums_sha256, artifacts }))
    }

    fn all_stand_still(&self, restore: &Restore) -> bool {
        let held = self.held();
        let stands_still = |one: &Restoring| held.leases.get(one.name()).is_some_and(|(_, lease)| lease.stands_still());
        restore.participants().iter().all(stands_still)
    }

    async fn capture(&self, job: &RestoreJob, one: &Restoring) -> Result<Box<dyn Capture>, Failure> {
        let code = self.code(one.name(), &job.restore, job.stop.clone())?;
        let Some((of, mut lease)) = self.held().leases.remove(one.name()) else {
            return Err(Failure::new(FailureKind::Fatal, "NOT_QUIESCED", "it does not stand still"));
        };
        let limit = code.deadlines().prepare;
        // It stands still also where it cannot be captured.
        let captured = code
            .call("capture", limit, move |_, phase| {
                let captured = lease.capture(phase);
                Ok((lease, captured))
            })
            .await;
        let (lease, captured) = captured?;
        self.held().leases.insert(one.name().clone(), (of, lease));
        captured.map_err(|error| error.failure().clone())
    }

    async fn write(
        &self,
        job: &RestoreJob,
        one: &Restoring,
        mut capture: Box<dyn Capture>,
        directory: &Arc<RunDir>,
    ) -> Result<Vec<ArtifactStoredV1>, Failure> {
        let code = self.code(one.name(), &job.restore, job.stop.clone())?;
        let run_id = job.restore.request.as_ref().ok_or_else(unknown)?.source_run;
        let deadlines = code.deadlines();
        let (steps, _watched) = Steps::new(deadlines);
        let compression = "lz4".parse().map_err(|error: crate::pipeline::InvalidCompression| {
            Failure::new(FailureKind::Fatal, "COMPRESSION_INVALID", error.to_string())
        })?;
        let mut artifacts = Artifacts::new(Surroundings {
            participant: one.name().clone(),
            work: Work { run_id, attempt: 0, try_number: 1 },
            directory: directory.clone(),
            pipeline: self.drivers.pipeline(),
            compression,
            // It is for this machine only, and must be readable without anybody's key.
            encrypt_to: None,
            course: crate::pipeline::Course::Disk,
            min_free: self.drivers.min_free(),
            report: Arc::new(Report::new(Arc::new(SystemClock), Box::new(|_| {}))),
            stop: job.stop.clone(),
            pulse: Arc::new(Pulse::new()),
            admit: code.admit(),
            note: self.note(one.name(), run_id),
            deadlines,
            steps,
        });
        let given = artifacts.given();
        code.call("safety snapshot", deadlines.write, move |_, _| capture.write(&mut artifacts)).await?;
        if let Some(file) = lock(&given).unfinished.first() {
            let text = format!("{file} was begun and not finished: finish each artifact that is good");
            return Err(ParticipantError::fatal("ARTIFACT_UNFINISHED", text).failure().clone());
        }
        let written = collect(one.name(), &given).artifacts;
        if written.is_empty() {
            let text = format!("{} gave nothing of the state before", one.name());
            return Err(Failure::new(FailureKind::Fatal, "SOURCE_EMPTY", text));
        }
        Ok(written)
    }

    /// Records what is known of a participant's standstill, as a run does: who dies meanwhile owes it a thaw.
    fn note(&self, name: &ParticipantName, run_id: RunId) -> Note {
        let (records, name, data_plane) = (self.records.clone(), name.clone(), Handle::current());
        Arc::new(move |known| {
            let refused = |why: String| {
                let text = format!("it cannot be recorded that it is to stand still: {why}");
                Failure::new(FailureKind::Retryable, "FREEZE_NOT_RECORDED", text)
            };
            let (root, origin) = records.get().ok_or_else(|| refused("nobody records it".into()))?;
            let command = match known {
                Known::Thawed => ParticipantCommand::Thawed { run_id },
                Known::Child(child) => ParticipantCommand::PhaseChild { run_id, child },
                Known::Freeze(children) => ParticipantCommand::Freeze { run_id, children },
            };
            let recorded = data_plane.block_on(for_participant(root, &name, command, origin));
            recorded.map_err(|error| refused(error.to_string()))
        })
    }

    fn manifest(
        &self,
        restore: &Restore,
        kept: &[(Restoring, Vec<ArtifactStoredV1>)],
        at: i64,
        consistency: Consistency,
    ) -> Result<Manifest, Failure> {
        let request = restore.request.as_ref().ok_or_else(unknown)?;
        let invalid = |reason: String| Failure::new(FailureKind::Fatal, "MANIFEST_INVALID", reason);
        let participant = |(one, artifacts): &(Restoring, Vec<ArtifactStoredV1>)| {
            let named = request.participants.iter().find(|named| named.name == *one.name());
            Ok(ManifestParticipant {
                name: one.name().clone(),
                kind: named.map(|named| named.kind.clone()),
                critical: named.is_none_or(|named| named.critical),
                ok: true,
                status: "completed".into(),
                started_at: at,
                finished_at: now().seconds(),
                error: String::new(),
                warnings: Warnings { count: 0, first: Vec::new() },
                artifacts: artifacts
                    .iter()
                    .map(|one| manifest::artifact(one, &Encryption::None))
                    .collect::<Result<_, _>>()
                    .map_err(invalid)?,
            })
        };
        let all = || kept.iter().flat_map(|(_, artifacts)| artifacts);
        Ok(Manifest {
            backup_format_version: Manifest::VERSION,
            server_id: self.home.identity().server_id,
            app_version: env!("CARGO_PKG_VERSION").into(),
            run_id: request.source_run,
            run_type: "scoped".into(),
            trigger: "manual".into(),
            status: "completed".into(),
            attempt: 1,
            started_at: at,
            finished_at: now().seconds(),
            error_summary: String::new(),
            requested_by: format!("restore {}", request.restore_id),
            requested_participants: kept.iter().map(|(one, _)| one.name().clone()).collect(),
            consistency,
            job: None,
            size_bytes: all().fold(0, |sum, artifact| artifact.content_bytes.saturating_add(sum)),
            stored_bytes: all().fold(0, |sum, artifact| artifact.stored.size_bytes.saturating_add(sum)),
            participants: kept.iter().map(participant).collect::<Result<_, Failure>>()?,
            sealed: None,
        })
    }

    /// The snapshot, for the way back.
    pub(super) async fn open_snapshot(&self, restore: &Restore) -> Result<Snapshot, Failure> {
        let run_id = restore.request.as_ref().ok_or_else(unknown)?.source_run;
        let (path, pipeline) = (self.directory(restore)?, self.drivers.pipeline());
        let opened = blocking(move || {
            ReadLease::take(run_id, path).map_err(|error| restore_failure(&RestoreError::Storage(error)))
        });
        Ok(Snapshot { lease: opened.await?, pipeline })
    }

    /// Throws the snapshot away, or what there is of one.
    pub(super) async fn remove_snapshot(&self, restore: &Restore) -> Result<(), Failure> {
        let path = self.directory(restore)?;
        blocking(move || match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(backups::failure(&StorageError::io("remove", &path)(error)))
            }
            _ => Ok(()),
        })
        .await
    }
}
