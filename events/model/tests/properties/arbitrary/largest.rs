//! The largest of each kind.

use super::*;

/// Those whose size depends on their content, as large as the rules let them become.
pub(crate) fn largest() -> Vec<Event> {
    let participant: ParticipantName = "p".repeat(64).parse().expect("a name");
    let file = || r::StoredFileV1 {
        file: "f".repeat(128).parse().expect("a name"),
        size_bytes: u64::MAX,
        sha256: Sha256([0xff; 32]),
    };
    let failure = Failure::new(FailureKind::Fatal, &"C".repeat(9000), "m".repeat(9000));
    let mut warnings = Warnings::default();
    (0..99).for_each(|_| warnings.add(&"w".repeat(9000)));
    warnings.count = u64::MAX;
    let summary = || "s".repeat(2 * Failure::MAX_MESSAGE);
    let run_id = RunId::new(Timestamp(i64::MAX), u32::MAX);
    vec![
        VaultClientEvent::UploadCreated(v::VaultUploadCreatedV1 {
            upload_id: Uuid::max(),
            run_id,
            file: file().file,
            size_bytes: u64::MAX,
            sha256: Sha256([0xff; 32]),
            token_id: Uuid::max(),
        })
        .into(),
        RunEvent::DefinitionPart(r::DefinitionPartV1 {
            participant: participant.clone(),
            text: "t".repeat(r::DEFINITION_PART),
        })
        .into(),
        RunEvent::ParticipantReset(r::ParticipantResetV1 {
            participant: participant.clone(),
            reason: failure.message.clone(),
        })
        .into(),
        RunEvent::ArtifactStored(r::ArtifactStoredV1 {
            participant: participant.clone(),
            logical_name: "l".repeat(128).parse().expect("a name"),
            stored: file(),
            content_bytes: u64::MAX,
            content_sha256: Sha256([0xff; 32]),
            compression: "c".repeat(r::MAX_KIND),
            index: Some(file()),
        })
        .into(),
        RunEvent::ParticipantCompleted(r::ParticipantCompletedV1 {
            participant: participant.clone(),
            files: u64::MAX,
            warnings: warnings.clone(),
            notes: warnings.clone(),
        })
        .into(),
        RunEvent::ParticipantFailed(r::ParticipantFailedV2 {
            participant: participant.clone(),
            failure: failure.clone(),
            output: "o".repeat(r::MAX_OUTPUT),
        })
        .into(),
        RunEvent::ParticipantTryFailed(r::ParticipantTryFailedV1 {
            participant: participant.clone(),
            try_number: u32::MAX,
            failure: failure.clone(),
            output: "o".repeat(r::MAX_OUTPUT),
            retry_after_ms: u64::MAX,
        })
        .into(),
        RunEvent::ParticipantPlanned(r::ParticipantPlannedV3 {
            participant: participant.clone(),
            kind: "k".repeat(r::MAX_KIND),
            critical: true,
            definition_sha256: Sha256([0xff; 32]),
            definition_parts: u32::MAX,
            depends_on: vec![participant; r::MAX_DEPENDENCIES],
            max_tries: u32::MAX,
            retry_delay_ms: u64::MAX,
            format_version: 0,
        })
        .into(),
        RunEvent::Requested(r::RunRequestedV4 {
            run_id,
            run_type: r::RunType::Scoped,
            trigger: r::Trigger::Shutdown,
            compression: "c".repeat(r::MAX_KIND),
            strict: true,
            max_attempts: u32::MAX,
            resume_within_s: u64::MAX,
            max_parallel: u32::MAX,
            job: "j".repeat(r::MAX_JOB),
            idempotency_key: "k".repeat(r::MAX_KEY),
            consistency: r::Consistency::Concurrent,
            freeze_budget_ms: 10_000,
            timeout_ms: 0,
            encryption: r::Encryption::Recipients(vec!["r".repeat(r::MAX_RECIPIENT); r::MAX_RECIPIENTS]),
        })
        .into(),
        RunEvent::Locked(r::RunLockedV1 { reason: failure.message.clone() }).into(),
        RunEvent::Classified(r::RunClassifiedV1 { outcome: r::Outcome::Timeout, error_summary: summary() }).into(),
        RunEvent::Ended(r::RunEndedV1 { outcome: r::Outcome::Timeout, error_summary: summary() }).into(),
        RunEvent::Verified(r::RunVerifiedV1 { ok: false, files: u64::MAX, bytes: u64::MAX, errors: warnings.clone() })
            .into(),
        RunEvent::Imported(r::RunImportedV1 {
            run_id,
            server_id: Uuid::max(),
            run_type: r::RunType::Scoped,
            trigger: r::Trigger::Shutdown,
            outcome: r::Outcome::Timeout,
            attempt: u32::MAX,
            started_at: Timestamp(i64::MAX),
            finished_at: Timestamp(i64::MAX),
            error_summary: failure.message.clone(),
            requested_by: "b".repeat(256),
            job: "j".repeat(r::MAX_JOB),
            compression: "c".repeat(r::MAX_KIND),
            consistency: r::Consistency::Barrier,
            barrier_at: Some(Timestamp(i64::MAX)),
            held_us: u64::MAX,
            encryption: r::Encryption::Recipients(vec!["r".repeat(r::MAX_RECIPIENT); r::MAX_RECIPIENTS]),
            masked: true,
            participants: u32::MAX,
            sums_sha256: Sha256([0xff; 32]),
        })
        .into(),
        RunEvent::ParticipantImported(r::ParticipantImportedV1 {
            participant: "p".repeat(64).parse().expect("a name"),
            kind: "k".repeat(r::MAX_KIND),
            critical: true,
            status: r::ParticipantStatus::Timeout,
            started_at: Some(Timestamp(i64::MAX)),
            finished_at: Some(Timestamp(i64::MAX)),
            failure: Some(failure.clone()),
            warnings,
        })
        .into(),
        ParticipantEvent::WorkFailed(p::WorkFailedV1 { run_id, failure: failure.clone() }).into(),
        RestoreEvent::Requested(re::RestoreRequestedV3 {
            restore_id: RestoreId(Uuid::max()),
            source_run: run_id,
            target: "t".repeat(1024),
            staging: vec![0xff; re::MAX_PATH],
            selections: u32::MAX,
            overwrite: true,
            delete: false,
            force: true,
            safety: re::Safety::None,
            timeout_ms: 0,
            participants: Vec::new(),
        })
        .into(),
        RunEvent::CopiesPlanned(r::CopiesPlannedV2 {
            endpoints: vec!["e".repeat(64).parse().expect("a name"); r::MAX_COPIES],
            require: r::RequireEndpoints::All,
            keep_local: false,
            staging: r::Staging::None,
        })
        .into(),
        EndpointEvent::Unavailable(en::EndpointUnavailableV1 {
            failures: u32::MAX,
            pause_s: u64::MAX,
            failure: failure.clone(),
        })
        .into(),
        RestoreEvent::Failed(re::RestoreFailedV1 { failure }).into(),
    ]
}
