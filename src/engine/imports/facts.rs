//! What a manifest says of a run, as facts.
//!
//! Nothing in it is trusted: every word must be one of those there are, and every name is a typed one. Of an encrypted run the plain part is
//! all that is read: what it leaves out is empty here, and 0.

use holdfast_model::failure::{Failure, FailureKind, Warnings};
use holdfast_model::ids::{ParticipantName, Sha256, Timestamp};
use holdfast_model::run::{
    ArtifactStoredV1, Consistency, Encryption, Outcome, ParticipantImportedV1, ParticipantStatus, RunImportedV1,
    RunStatus, RunType, StoredFileV1, Trigger,
};

use crate::participant::FilesDefinition;
use crate::storage::{self, Arrived, Manifest, ManifestArtifact, ManifestParticipant};

/// What is said instead of what only a key tells.
const SEALED: &str = "why is in the encrypted part of the manifest";

/// The facts of a run.
pub(super) struct Facts {
    pub(super) run: RunImportedV1,
    pub(super) participants: Vec<(ParticipantImportedV1, Vec<ArtifactStoredV1>)>,
}

/// The facts of a run that has arrived.
///
/// # Errors
/// Says what of the manifest cannot be.
pub(super) fn of(arrived: &Arrived) -> Result<Facts, String> {
    let manifest = &arrived.manifest;
    let masked = manifest.sealed.is_some();
    let outcome = outcome(&manifest.status)?;
    let mode = match manifest.consistency.mode.as_str() {
        "barrier" => Consistency::Barrier,
        "concurrent" => Consistency::Concurrent,
        other => return Err(unknown("consistency.mode", other)),
    };
    let barrier_at = manifest.consistency.barrier_at;
    let participants: Vec<_> =
        manifest.participants.iter().map(|one| participant(one, masked)).collect::<Result<_, _>>()?;
    let error_summary = match masked && outcome != Outcome::Completed {
        true => SEALED.to_owned(),
        false => manifest.error_summary.clone(),
    };
    let run = RunImportedV1 {
        run_id: manifest.run_id,
        server_id: manifest.server_id,
        run_type: match manifest.run_type.as_str() {
            "full" => RunType::Full,
            "scoped" => RunType::Scoped,
            other => return Err(unknown("type", other)),
        },
        trigger: Trigger::ALL
            .into_iter()
            .find(|trigger| trigger.as_str() == manifest.trigger)
            .ok_or_else(|| unknown("trigger", &manifest.trigger))?,
        outcome,
        attempt: manifest.attempt,
        started_at: time(manifest.started_at),
        finished_at: time(manifest.finished_at),
        error_summary,
        requested_by: manifest.requested_by.clone(),
        job: manifest.job.clone().unwrap_or_default(),
        compression: compression(manifest),
        consistency: mode,
        barrier_at: (barrier_at != 0).then(|| time(barrier_at)),
        held_us: manifest.consistency.held_us,
        encryption: encryption(manifest)?,
        masked,
        participants: u32::try_from(participants.len()).unwrap_or(u32::MAX),
        sums_sha256: arrived.sums_sha256,
    };
    Ok(Facts { run, participants })
}

fn participant(
    one: &ManifestParticipant,
    masked: bool,
) -> Result<(ParticipantImportedV1, Vec<ArtifactStoredV1>), String> {
    use ParticipantStatus::{Cancelled, Completed, Failed, Skipped, Timeout};
    let status = [Completed, Failed, Skipped, Cancelled, Timeout].into_iter().find(|s| s.as_str() == one.status);
    let status = status.ok_or_else(|| unknown("the status of a participant", &one.status))?;
    let failure = match (status, masked) {
        (Completed, _) => None,
        (_, true) => Some(Failure::new(FailureKind::Fatal, "SEALED", SEALED)),
        (_, false) => Some(failure(&one.error)),
    };
    let artifacts: Vec<_> = one.artifacts.iter().map(|artifact| stored(&one.name, artifact)).collect();
    let imported = ParticipantImportedV1 {
        participant: one.name.clone(),
        kind: one.kind.clone().unwrap_or_else(|| guessed(one, masked)),
        critical: one.critical,
        status,
        started_at: (one.started_at != 0).then(|| time(one.started_at)),
        finished_at: (one.finished_at != 0).then(|| time(one.finished_at)),
        failure,
        warnings: Warnings { count: one.warnings.count, first: one.warnings.first.clone() },
    };
    Ok((imported, artifacts))
}

/// What a participant is whose manifest is too old to say it: trees were stored as tar streams, and nothing else was.
fn guessed(one: &ManifestParticipant, masked: bool) -> String {
    let tree = |artifact: &ManifestArtifact| artifact.logical_name.as_str().ends_with(".tar");
    let files = !masked && !one.artifacts.is_empty() && one.artifacts.iter().all(tree);
    if files { FilesDefinition::KIND.to_owned() } else { String::new() }
}

fn stored(participant: &ParticipantName, artifact: &ManifestArtifact) -> ArtifactStoredV1 {
    ArtifactStoredV1 {
        participant: participant.clone(),
        logical_name: artifact.logical_name.clone(),
        stored: StoredFileV1 { file: artifact.path.clone(), size_bytes: artifact.size_bytes, sha256: artifact.sha256 },
        content_bytes: artifact.content_bytes.unwrap_or(0),
        content_sha256: artifact.content_sha256.unwrap_or(Sha256([0; 32])),
        compression: artifact.compression.to_string(),
        index: artifact.index.as_ref().map(|index| StoredFileV1 {
            file: index.path.clone(),
            size_bytes: index.size_bytes,
            sha256: index.sha256,
        }),
    }
}

/// How all artifacts are compressed, where they are alike.
fn compression(manifest: &Manifest) -> String {
    let mut all = manifest.artifacts().map(|artifact| artifact.compression.to_string());
    let first = all.next().unwrap_or_default();
    if all.all(|other| other == first) { first } else { String::new() }
}

fn encryption(manifest: &Manifest) -> Result<Encryption, String> {
    let opened_by = manifest.opened_by();
    let on = |artifact: &ManifestArtifact| artifact.encryption == storage::Encryption::Age;
    let alike = manifest
        .artifacts()
        .all(|artifact| on(artifact) == manifest.sealed.is_some() && artifact.opened_by == opened_by);
    if !alike {
        return Err("its artifacts are not all encrypted alike".to_owned());
    }
    Ok(match opened_by.as_slice() {
        _ if manifest.artifacts().next().is_none() || manifest.sealed.is_none() => Encryption::None,
        [one] if one == "passphrase" => Encryption::Passphrase,
        _ => Encryption::Recipients(opened_by),
    })
}

/// A failure as a manifest has it: what happened, and its code in brackets.
fn failure(text: &str) -> Failure {
    let parts = text.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
    let is_code = |code: &str| !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    match parts.filter(|(_, code)| is_code(code)) {
        Some((message, code)) => Failure::new(FailureKind::Fatal, code, message),
        None => Failure::new(FailureKind::Fatal, "FAILED", text),
    }
}

fn outcome(status: &str) -> Result<Outcome, String> {
    use Outcome::{Cancelled, Completed, Failed, Partial, Timeout};
    let all = [Completed, Partial, Failed, Cancelled, Timeout];
    all.into_iter()
        .find(|outcome| RunStatus::from(*outcome).as_str() == status)
        .ok_or_else(|| unknown("status", status))
}

fn unknown(field: &str, value: &str) -> String {
    let shown: String = value.chars().take(40).collect();
    format!("{field} is {shown:?}, which is not known here: upgrade holdfast, or use another copy of the run")
}

fn time(seconds: i64) -> Timestamp {
    Timestamp(seconds.saturating_mul(1_000_000))
}
