//! A run's manifest, from its state at the end.

use holdfast_model::run as model;
use holdfast_model::run::{ArtifactStoredV1, ParticipantView, Run, RunParticipant, RunStatus};
use uuid::Uuid;

use crate::storage::{
    Consistency, Encryption, Manifest, ManifestArtifact, ManifestIndex, ManifestParticipant, Warnings,
};

/// The manifest of a classified run.
///
/// # Errors
/// Says what of the run's record this program cannot understand.
pub(super) fn of(run: &Run, server_id: Uuid) -> Result<Manifest, String> {
    let (Some(view), Some(run_id), Some(outcome)) = (run.view(true), run.id(), run.outcome()) else {
        return Err("the run has not come to its end".into());
    };
    let participants =
        run.participants().iter().zip(view.participants).map(|(one, shown)| participant(run, one, shown));
    let scoped = !view.requested_participants.is_empty();
    Ok(Manifest {
        backup_format_version: Manifest::VERSION,
        server_id,
        app_version: env!("CARGO_PKG_VERSION").into(),
        run_id,
        run_type: view.run_type.as_str().into(),
        trigger: view.trigger.as_str().into(),
        status: RunStatus::from(outcome).as_str().into(),
        attempt: view.attempt,
        started_at: view.started_at,
        finished_at: run.finished_at().map_or(0, |at| at.seconds()),
        error_summary: view.error_summary,
        requested_by: view.requested_by,
        requested_participants: run.participants().iter().filter(|_| scoped).map(|one| one.name.clone()).collect(),
        consistency: Consistency {
            mode: view.consistency.mode.as_str().to_owned(),
            barrier_at: view.consistency.barrier_at,
            held_us: view.consistency.held_us,
        },
        job: None,
        size_bytes: view.size_bytes,
        stored_bytes: view.stored_bytes,
        participants: participants.collect::<Result<_, _>>()?,
        sealed: None,
    })
}

fn participant(run: &Run, one: &RunParticipant, shown: ParticipantView) -> Result<ManifestParticipant, String> {
    Ok(ManifestParticipant {
        name: one.name.clone(),
        kind: Some(one.kind.clone()),
        critical: one.critical,
        ok: shown.ok,
        status: shown.status,
        started_at: shown.started_at,
        finished_at: shown.finished_at,
        error: shown.error,
        warnings: Warnings { count: shown.warnings.count, first: shown.warnings.first },
        artifacts: run.good_artifacts_of(one).map(|one| artifact(one, run.encryption())).collect::<Result<_, _>>()?,
    })
}

/// An artifact as the manifest says it, of a run that is encrypted so.
///
/// # Errors
/// Says why its compression is not known: a newer program made it.
pub(crate) fn artifact(
    artifact: &ArtifactStoredV1,
    encryption: &model::Encryption,
) -> Result<ManifestArtifact, String> {
    Ok(ManifestArtifact {
        logical_name: artifact.logical_name.clone(),
        path: artifact.stored.file.clone(),
        size_bytes: artifact.stored.size_bytes,
        sha256: artifact.stored.sha256,
        content_bytes: Some(artifact.content_bytes),
        content_sha256: Some(artifact.content_sha256),
        compression: artifact
            .compression
            .parse()
            .map_err(|error: crate::pipeline::InvalidCompression| error.to_string())?,
        encryption: if encryption.is_on() { Encryption::Age } else { Encryption::None },
        opened_by: encryption.opened_by(),
        index: artifact.index.as_ref().map(|index| ManifestIndex {
            path: index.file.clone(),
            size_bytes: index.size_bytes,
            sha256: index.sha256,
        }),
    })
}
