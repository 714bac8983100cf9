//! One fixed event of each type. An older version of it reads to the same, brought forward: a field that a later version
//! added holds here what the upcast gives it.

mod far_sides;

use holdfast_model::access as ac;
use holdfast_model::audit as au;
use holdfast_model::event::{
    AccessEvent, AuditEvent, Event, MaintenanceEvent, ParticipantEvent, RestoreEvent, RunEvent, SystemEvent,
};
use holdfast_model::failure::{Failure, FailureKind, Warnings};
use holdfast_model::ids::{ArtifactName, ParticipantName, RestoreId, RunId, Sha256, Timestamp};
use holdfast_model::maintenance as m;
use holdfast_model::participant as p;
use holdfast_model::restore as re;
use holdfast_model::run as r;
use holdfast_model::system as s;
use uuid::Uuid;

fn name() -> ParticipantName {
    "site".parse().expect("a name")
}

fn file(text: &str) -> ArtifactName {
    text.parse().expect("a name")
}

/// A digest whose bytes are all different, so that a mixed order shows.
fn digest(first: u8) -> Sha256 {
    Sha256(std::array::from_fn(|place| first.wrapping_add(place as u8)))
}

fn run_id() -> RunId {
    RunId::new(Timestamp(1_795_298_400_000_000), 42)
}

fn failure() -> Failure {
    Failure::new(FailureKind::Resource, "NO_SPACE", "the disk is full: free 2 GiB below /srv")
}

fn warnings(texts: &[&str]) -> Warnings {
    let mut warnings = Warnings::default();
    texts.iter().for_each(|text| warnings.add(text));
    warnings
}

fn uuid(last: u128) -> Uuid {
    Uuid::from_u128(0x019a_a700_0000_7000_8000_0000_0000_0000 | last)
}

pub(crate) fn samples() -> Vec<Event> {
    let runs = run_samples().into_iter().map(Event::from);
    let participants = participant_samples().into_iter().map(Event::from);
    let restores = restore_samples().into_iter().map(Event::from);
    let system = system_samples().into_iter().map(Event::from);
    runs.chain(participants)
        .chain(restores)
        .chain(system)
        .chain(far_sides::copy_samples())
        .chain(far_sides::endpoint_samples())
        .chain(far_sides::vault_samples())
        .chain(people_samples())
        .collect()
}

fn run_samples() -> Vec<RunEvent> {
    let participant = name();
    vec![
        RunEvent::Requested(r::RunRequestedV4 {
            run_id: run_id(),
            run_type: r::RunType::Scoped,
            trigger: r::Trigger::PreUpdate,
            compression: "zstd:3".into(),
            strict: true,
            max_attempts: 3,
            resume_within_s: 21_600,
            max_parallel: 2,
            job: String::new(),
            idempotency_key: String::new(),
            consistency: r::Consistency::Concurrent,
            freeze_budget_ms: 0,
            timeout_ms: 0,
            encryption: r::Encryption::None,
        }),
        RunEvent::ParticipantPlanned(r::ParticipantPlannedV3 {
            participant: participant.clone(),
            kind: "files".into(),
            critical: true,
            definition_sha256: digest(1),
            definition_parts: 1,
            depends_on: Vec::new(),
            max_tries: 1,
            retry_delay_ms: 0,
            format_version: 0,
        }),
        RunEvent::DefinitionPart(r::DefinitionPartV1 {
            participant: participant.clone(),
            text: r#"{"paths":["/srv/ä"]}"#.into(),
        }),
        RunEvent::Started(r::RunStartedV1 { attempt: 1 }),
        RunEvent::Interrupted(r::RunInterruptedV1 { reason: "it was being sealed".into() }),
        RunEvent::Resumed(r::RunResumedV1 { attempt: 2 }),
        RunEvent::ParticipantReset(r::ParticipantResetV1 {
            participant: participant.clone(),
            reason: "it broke".into(),
        }),
        RunEvent::ParticipantStarted(r::ParticipantStartedV1 { participant: participant.clone(), try_number: 1 }),
        RunEvent::ParticipantProgressed(r::ParticipantProgressedV1 {
            participant: participant.clone(),
            bytes_done: 70_000,
            bytes_total: Some(5_000_000_000),
            files_done: 251,
            files_total: None,
        }),
        RunEvent::ArtifactStored(r::ArtifactStoredV1 {
            participant: participant.clone(),
            logical_name: file("site.tar"),
            stored: r::StoredFileV1 { file: file("site.tar.zst"), size_bytes: 300, sha256: digest(40) },
            content_bytes: 70_000,
            content_sha256: digest(80),
            compression: "zstd:3".into(),
            index: Some(r::StoredFileV1 { file: file("site.tar.index"), size_bytes: 30, sha256: digest(120) }),
        }),
        RunEvent::ParticipantCompleted(r::ParticipantCompletedV1 {
            participant: participant.clone(),
            files: 252,
            warnings: warnings(&["/srv/a: permission denied", "/srv/b: vanished"]),
            notes: warnings(&["/srv/s: a socket"]),
        }),
        RunEvent::ParticipantFailed(r::ParticipantFailedV2 {
            participant: participant.clone(),
            failure: failure(),
            output: String::new(),
        }),
        RunEvent::ParticipantCancelled(r::ParticipantCancelledV1 { participant: participant.clone() }),
        RunEvent::ParticipantTryFailed(r::ParticipantTryFailedV1 {
            participant: participant.clone(),
            try_number: 2,
            failure: failure(),
            output: "pg_dump: error: connection refused\n".into(),
            retry_after_ms: 9_731,
        }),
        RunEvent::ParticipantDue(r::ParticipantDueV1 { participant: participant.clone() }),
        RunEvent::ParticipantSkipped(r::ParticipantSkippedV1 {
            participant: participant.clone(),
            reason: "the run ended before".into(),
        }),
        RunEvent::CancelRequested(r::RunCancelRequestedV1 { reason: "asked by the user".into() }),
        RunEvent::Classified(r::RunClassifiedV1 { outcome: r::Outcome::Partial, error_summary: "site: bad".into() }),
        RunEvent::PublishRequested(r::RunPublishRequestedV1 { target: r::Target::Failed, sums_sha256: digest(160) }),
        RunEvent::Published(r::RunPublishedV1 { outcome: r::Outcome::Completed, target: r::Target::Completed }),
        RunEvent::Ended(r::RunEndedV1 { outcome: r::Outcome::Timeout, error_summary: "too late".into() }),
        RunEvent::Verified(r::RunVerifiedV1 {
            ok: false,
            files: 3,
            bytes: 66_000,
            errors: warnings(&["site.tar.zst: 1 byte short"]),
        }),
        RunEvent::Locked(r::RunLockedV1 { reason: "before the move".into() }),
        RunEvent::Unlocked(r::RunUnlockedV1 {}),
        RunEvent::BarrierRequested(r::BarrierRequestedV1 { budget_ms: 10_000 }),
        RunEvent::ParticipantFrozen(r::ParticipantFrozenV1 {
            participant,
            prepare_us: 1_200_000,
            freeze_us: 340,
            capture_us: 2_300,
            thaw_us: 90,
            held_us: 7_730,
        }),
        RunEvent::BarrierCompleted(r::BarrierCompletedV1 { at: Timestamp(1_790_000_000_000_000), longest_us: 8_200 }),
        RunEvent::BarrierAborted(r::BarrierAbortedV1 {
            failure: Failure::new(FailureKind::Timeout, "FREEZE_BUDGET_EXCEEDED", "site took longer than 10 s"),
        }),
        RunEvent::TimedOut(r::RunTimedOutV1 { attempt: 2, timeout_ms: 5_400_000 }),
        RunEvent::DeleteRequested(r::RunDeleteRequestedV1 {}),
        RunEvent::Deleted(r::RunDeletedV1 {}),
        RunEvent::DeleteFailed(r::RunDeleteFailedV1 {
            failure: Failure::new(FailureKind::Retryable, "STORAGE_IO", "the folder is a mount point"),
        }),
        RunEvent::ImportRequested(r::RunImportRequestedV1 {
            run_id: run_id(),
            endpoint: "offsite".parse().expect("a name"),
            server_id: uuid(31),
            overwrite: true,
        }),
        RunEvent::Imported(r::RunImportedV1 {
            run_id: run_id(),
            server_id: uuid(31),
            run_type: r::RunType::Full,
            trigger: r::Trigger::Cron,
            outcome: r::Outcome::Partial,
            attempt: 2,
            started_at: Timestamp(1_795_298_400_000_000),
            finished_at: Timestamp(1_795_298_460_000_000),
            error_summary: "db: connection refused".into(),
            requested_by: "token:ops".into(),
            job: "nightly".into(),
            compression: "zstd:3".into(),
            consistency: r::Consistency::Barrier,
            barrier_at: Some(Timestamp(1_795_298_401_000_000)),
            held_us: 8_200,
            encryption: r::Encryption::Passphrase,
            masked: true,
            participants: 2,
            sums_sha256: digest(7),
        }),
        RunEvent::ParticipantImported(r::ParticipantImportedV1 {
            participant: name(),
            kind: "files".into(),
            critical: true,
            status: r::ParticipantStatus::Failed,
            started_at: Some(Timestamp(1_795_298_400_000_000)),
            finished_at: None,
            failure: Some(failure()),
            warnings: warnings(&["/srv/a: permission denied"]),
        }),
        RunEvent::ImportPublishRequested(r::RunImportPublishRequestedV1 {
            target: r::Target::Completed,
            replaces: true,
        }),
        RunEvent::ImportCompleted(r::RunImportCompletedV1 {}),
        RunEvent::ImportFailed(r::RunImportFailedV1 {
            failure: Failure::new(FailureKind::Retryable, "REMOTE_UNAVAILABLE", "the connection broke"),
        }),
    ]
}

fn participant_samples() -> Vec<ParticipantEvent> {
    vec![
        ParticipantEvent::WorkStarted(p::WorkStartedV1 {
            participant: name(),
            run_id: run_id(),
            attempt: 2,
            try_number: 3,
        }),
        ParticipantEvent::WorkCompleted(p::WorkCompletedV1 { run_id: run_id() }),
        ParticipantEvent::WorkFailed(p::WorkFailedV1 { run_id: run_id(), failure: failure() }),
        ParticipantEvent::AttemptAbandoned(p::AttemptAbandonedV1 { run_id: run_id(), attempt: 2 }),
        ParticipantEvent::ChildStarted(p::ChildStartedV1 {
            run_id: run_id(),
            child: p::ChildV1 { child_id: uuid(3), group: 4711, started: 123_456, boot_id: uuid(4) },
        }),
        ParticipantEvent::WorkStuck(p::WorkStuckV1 { run_id: run_id(), failure: failure() }),
        ParticipantEvent::WorkReturned(p::WorkReturnedV1 { run_id: run_id() }),
        ParticipantEvent::Quarantined(p::ParticipantQuarantinedV1 { failures: 5 }),
        ParticipantEvent::QuarantineLifted(p::QuarantineLiftedV1 { reason: "asked by the user".into() }),
        ParticipantEvent::FreezeRequested(p::FreezeRequestedV1 {
            run_id: run_id(),
            children: vec![p::ChildV1 { child_id: uuid(5), group: 4712, started: 123_457, boot_id: uuid(4) }],
        }),
        ParticipantEvent::Thawed(p::ThawedV1 { run_id: run_id() }),
        ParticipantEvent::BarrierFailed(p::BarrierFailedV1 { run_id: run_id(), failure: failure() }),
    ]
}

fn restore_samples() -> Vec<RestoreEvent> {
    vec![
        RestoreEvent::Requested(re::RestoreRequestedV3 {
            restore_id: RestoreId(uuid(1)),
            source_run: run_id(),
            target: "/srv/out".into(),
            staging: b"/srv/.out\xff".to_vec(),
            selections: 2,
            overwrite: true,
            delete: false,
            force: false,
            safety: re::Safety::None,
            timeout_ms: 0,
            participants: Vec::new(),
        }),
        RestoreEvent::Completed(re::RestoreCompletedV1 { files: 252, bytes: 70_000, warnings: 1 }),
        RestoreEvent::Failed(re::RestoreFailedV1 { failure: failure() }),
        RestoreEvent::ParticipantPlanned(re::RestoreParticipantPlannedV1 {
            participant: name(),
            format_version: 3,
            atomic: true,
            bytes: 70_000,
        }),
        RestoreEvent::SourceVerified(re::RestoreSourceVerifiedV1 { participants: 1, bytes: 70_000 }),
        RestoreEvent::Quiesced(re::RestoreQuiescedV1 {}),
        RestoreEvent::SafetyArtifactStored(re::SafetyArtifactStoredV1 { artifact: kept() }),
        RestoreEvent::SafetySnapshotTaken(re::SafetySnapshotTakenV1 {
            at: Timestamp(1_795_298_400_000_000),
            sums_sha256: digest(8),
        }),
        RestoreEvent::SafetySnapshotSkipped(re::SafetySnapshotSkippedV1 { failure: failure() }),
        RestoreEvent::ParticipantStaged(re::RestoreParticipantStagedV1 { participant: name(), bytes: 70_000 }),
        RestoreEvent::CommitDecided(re::RestoreCommitDecidedV1 {}),
        RestoreEvent::CommitStarted(part()),
        RestoreEvent::ParticipantCommitted(part().into()),
        RestoreEvent::ParticipantVerified(part()),
        RestoreEvent::RollbackDecided(re::RestoreRollbackDecidedV1 { failure: failure() }),
        RestoreEvent::ParticipantRolledBack(part()),
        RestoreEvent::RolledBack(re::RestoreRolledBackV1 { failure: failure() }),
        RestoreEvent::RollbackFailed(re::RestoreRollbackFailedV1 { participant: Some(name()), failure: failure() }),
        RestoreEvent::RetryRequested(re::RestoreRetryRequestedV1 {}),
        RestoreEvent::CancelRequested(re::RestoreCancelRequestedV1 { reason: "the wrong run".into() }),
        RestoreEvent::Interrupted(re::RestoreInterruptedV1 { reason: "the process is gone".into() }),
        RestoreEvent::TimedOut(re::RestoreTimedOutV1 { timeout_ms: 1_800_000 }),
        RestoreEvent::SafetySnapshotRemoved(re::SafetySnapshotRemovedV1 {}),
    ]
}

fn part() -> re::RestorePartV1 {
    re::RestorePartV1 { participant: name() }
}

fn kept() -> r::ArtifactStoredV1 {
    r::ArtifactStoredV1 {
        participant: name(),
        logical_name: file("site.tar"),
        stored: r::StoredFileV1 { file: file("site.tar.zst"), size_bytes: 300, sha256: digest(40) },
        content_bytes: 70_000,
        content_sha256: digest(80),
        compression: "zstd:3".into(),
        index: None,
    }
}

fn system_samples() -> Vec<SystemEvent> {
    vec![
        SystemEvent::HomeCreated(s::HomeCreatedV1 { server_id: uuid(2), app_version: "0.1.0".into() }),
        SystemEvent::EngineStarted(s::EngineStartedV1 {
            pid: 4711,
            purpose: "backup".into(),
            app_version: "0.1.0".into(),
        }),
        SystemEvent::LogRepaired(s::LogRepairedV1 { what: "a torn commit of 40 bytes was dropped".into() }),
        SystemEvent::EngineStopped(s::EngineStoppedV1 { pid: 4711 }),
    ]
}

/// Copies of a run on endpoints, and how those do.
/// Who may do what, who did what, and maintenance.
fn people_samples() -> Vec<Event> {
    let (from, to) = (Timestamp(1_795_298_400_000_000), Timestamp(1_795_298_459_000_001));
    vec![
        AccessEvent::TokenCreated(ac::TokenCreatedV1 {
            token_id: uuid(6),
            name: "ci".parse().expect("a name"),
            role: ac::Role::Manager,
            hash: digest(7),
            expires_at: Some(to),
        })
        .into(),
        AccessEvent::TokenRevoked(ac::TokenRevokedV1 { token_id: uuid(6) }).into(),
        AuditEvent::CommandRecorded(au::CommandRecordedV2 {
            command: "DeleteBackupRun".into(),
            role: "manager".into(),
            token_id: None,
            door: "http".into(),
            source: "[::1]:50412".into(),
            outcome: au::CommandOutcome::Refused,
            code: "BACKUP_RUN_LOCKED".into(),
            fields: vec![("run_id".into(), run_id().to_string())],
        })
        .into(),
        AuditEvent::RefusalsSummed(au::RefusalsSummedV2 {
            command: "StartFullBackup".into(),
            code: String::new(),
            role: "viewer".into(),
            token_id: None,
            source: "127.0.0.1:50413".into(),
            from,
            to,
            count: 300,
        })
        .into(),
        AuditEvent::GuessesSummed(au::GuessesSummedV1 {
            from,
            to,
            count: 4_711,
            sources: vec![("203.0.113.9".into(), 4_000), ("203.0.113.10".into(), 711)],
            more_sources: 0,
        })
        .into(),
        MaintenanceEvent::Enabled(m::MaintenanceEnabledV2 { reason: "the move".into(), restore_id: None }).into(),
        MaintenanceEvent::Disabled(m::MaintenanceDisabledV1 {}).into(),
    ]
}
