use uuid::Uuid;

use super::*;
use crate::aggregate::{Aggregate, Moment};
use crate::audit::GuessesSummedV1;
use crate::failure::Failure;
use crate::ids::{Position, RestoreId, StreamId, Timestamp, Version};
use crate::maintenance::{MaintenanceDisabledV1, MaintenanceEnabledV2};
use crate::participant::{ParticipantQuarantinedV1, QuarantineLiftedV1, WorkReturnedV1, WorkStuckV1};
use crate::restore::{
    RestoreCompletedV1, RestoreFailedV1, RestoreRollbackFailedV1, RestoreRolledBackV1, SafetySnapshotSkippedV1,
};
use crate::run::{
    ParticipantCompletedV1, ParticipantPlannedV3, RunClassifiedV1, RunDeleteFailedV1, RunEndedV1, RunInterruptedV1,
    RunPublishedV1, RunResumedV1, RunVerifiedV1, Target,
};
use crate::system::LogRepairedV1;

fn run_id() -> RunId {
    RunId::new(Timestamp(0), 7)
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "CODE", "it did not work")
}

fn envelope(stream: StreamId, data: impl Into<Event>) -> Envelope {
    let data = data.into();
    Envelope {
        position: Position(41),
        stream,
        version: Version(3),
        time: Timestamp(9_000_000),
        event_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        principal: String::new(),
        event_type: data.name(),
        data,
    }
}

fn of_run(event: RunEvent, run: Option<&Run>) -> Option<Alert> {
    Alert::of(&envelope(StreamId::run(run_id()), event), run)
}

fn of_participant(event: ParticipantEvent) -> Option<Alert> {
    let name = "site".parse().expect("a name");
    Alert::of(&envelope(StreamId::participant(&name), event), None)
}

fn published(outcome: Outcome) -> RunEvent {
    RunEvent::Published(RunPublishedV1 { outcome, target: Target::Completed })
}

/// A run with so many warnings and this summary.
fn run(warnings: u64, summary: &str) -> Run {
    let participant: crate::ids::ParticipantName = "site".parse().expect("a name");
    let events = [
        RunEvent::ParticipantPlanned(ParticipantPlannedV3 {
            participant: participant.clone(),
            kind: "files".into(),
            critical: true,
            definition_sha256: crate::ids::Sha256::default(),
            definition_parts: 0,
            depends_on: Vec::new(),
            max_tries: 1,
            retry_delay_ms: 0,
            format_version: 0,
        }),
        RunEvent::ParticipantCompleted(ParticipantCompletedV1 {
            participant,
            files: 1,
            warnings: Warnings { count: warnings, first: Vec::new() },
            notes: Warnings::default(),
        }),
        RunEvent::Classified(RunClassifiedV1 { outcome: Outcome::Completed, error_summary: summary.into() }),
    ];
    let mut run = Run::default();
    let moment = Moment { time: Timestamp(0), principal: String::new() };
    events.iter().for_each(|event| run.apply(event, &moment));
    run
}

#[test]
fn each_end_that_is_not_simply_good_is_told_with_its_reason() {
    for (outcome, alert, severity) in [
        (Outcome::Partial, AlertCode::RunPartial, Severity::Warning),
        (Outcome::Failed, AlertCode::RunFailed, Severity::Critical),
        (Outcome::Cancelled, AlertCode::RunCancelled, Severity::Warning),
        (Outcome::Timeout, AlertCode::RunTimeout, Severity::Critical),
    ] {
        let told = of_run(published(outcome), Some(&run(0, "site: it did not work"))).expect("told");
        assert_eq!((told.alert, told.severity), (alert, severity));
        assert!(told.message.ends_with(": site: it did not work"), "{}", told.message);
        assert_eq!((told.run_id, told.position, told.time), (Some(run_id().to_string()), 41, 9));
        let end = RunEvent::Ended(RunEndedV1 { outcome, error_summary: "no directory".into() });
        let told = of_run(end, None).expect("told");
        assert_eq!(told.alert, alert);
        assert!(told.message.ends_with(": no directory"), "{}", told.message);
    }
    assert_eq!(of_run(published(Outcome::Completed), Some(&run(0, ""))), None);
    let left_out = of_run(published(Outcome::Completed), Some(&run(3, ""))).expect("told");
    assert_eq!(left_out.alert, AlertCode::RunWarnings);
    assert_eq!(left_out.message, "the run completed, and left 3 things out");
}

#[test]
fn only_an_end_asks_for_the_run() {
    let of = |event| Alert::needs(&envelope(StreamId::run(run_id()), event));
    assert_eq!(of(published(Outcome::Completed)), Some(run_id()));
    assert_eq!(of(RunEvent::Resumed(RunResumedV1 { attempt: 2 })), None);
}

#[test]
fn a_run_that_is_interrupted_goes_on_is_damaged_or_stays_is_told() {
    let interrupted = of_run(RunEvent::Interrupted(RunInterruptedV1 { reason: "killed".into() }), None).expect("told");
    assert_eq!((interrupted.alert, interrupted.severity), (AlertCode::RunInterrupted, Severity::Warning));
    let resumed = of_run(RunEvent::Resumed(RunResumedV1 { attempt: 2 }), None).expect("told");
    assert_eq!((resumed.alert, resumed.severity), (AlertCode::RunResumed, Severity::Info));
    let verified = |ok, texts: &[&str]| {
        let mut errors = Warnings::default();
        texts.iter().for_each(|text| errors.add(text));
        of_run(RunEvent::Verified(RunVerifiedV1 { ok, files: 2, bytes: 9, errors }), None)
    };
    assert_eq!(verified(true, &[]), None);
    let damaged = verified(false, &["a.lz4: 1 byte short", "b.lz4: gone"]).expect("told");
    assert_eq!((damaged.alert, damaged.severity), (AlertCode::RunDamaged, Severity::Critical));
    assert!(damaged.message.ends_with("a.lz4: 1 byte short, and 1 more"), "{}", damaged.message);
    let kept = of_run(RunEvent::DeleteFailed(RunDeleteFailedV1 { failure: failure(FailureKind::Fatal) }), None);
    assert_eq!(kept.expect("told").alert, AlertCode::RunDeleteFailed);
}

#[test]
fn participants_that_are_stuck_or_in_quarantine_are_told_by_name() {
    let events = [
        (
            ParticipantEvent::Quarantined(ParticipantQuarantinedV1 { failures: 5 }),
            AlertCode::ParticipantQuarantined,
            None,
        ),
        (
            ParticipantEvent::QuarantineLifted(QuarantineLiftedV1 { reason: "it was good".into() }),
            AlertCode::QuarantineLifted,
            None,
        ),
        (
            ParticipantEvent::WorkStuck(WorkStuckV1 { run_id: run_id(), failure: failure(FailureKind::Timeout) }),
            AlertCode::ParticipantStuck,
            Some(run_id().to_string()),
        ),
        (
            ParticipantEvent::WorkReturned(WorkReturnedV1 { run_id: run_id() }),
            AlertCode::ParticipantReturned,
            Some(run_id().to_string()),
        ),
    ];
    for (event, alert, of) in events {
        let told = of_participant(event).expect("told");
        assert_eq!((told.alert, told.participant.as_deref(), told.run_id), (alert, Some("site"), of));
    }
}

#[test]
fn a_restore_that_failed_is_told_and_one_that_was_stopped_is_not() {
    let id = RestoreId(Uuid::from_u128(4));
    let told = |kind| {
        let failed = RestoreEvent::Failed(RestoreFailedV1 { failure: failure(kind) });
        Alert::of(&envelope(StreamId::restore(id), failed), None)
    };
    assert_eq!(told(FailureKind::Cancelled), None);
    let failed = told(FailureKind::Fatal).expect("told");
    assert_eq!((failed.alert, failed.restore_id), (AlertCode::RestoreFailed, Some(id.to_string())));
}

#[test]
fn a_restore_that_was_stopped_half_way_is_told_as_what_it_is() {
    let failure = Failure::new(FailureKind::Cancelled, CUT_SHORT, "what the command did until then stays");
    let failed = RestoreEvent::Failed(RestoreFailedV1 { failure });
    let told = Alert::of(&envelope(StreamId::restore(RestoreId(Uuid::from_u128(4))), failed), None).expect("told");
    assert_eq!((told.alert, told.severity), (AlertCode::RestoreFailed, Severity::Critical));
}

#[test]
fn how_a_restore_of_modules_goes_wrong_is_told_and_the_worst_the_loudest() {
    let id = RestoreId(Uuid::from_u128(4));
    let told = |event| Alert::of(&envelope(StreamId::restore(id), event), None);
    let back = |kind| told(RestoreEvent::RolledBack(RestoreRolledBackV1 { failure: failure(kind) }));
    assert_eq!(back(FailureKind::Cancelled), None);
    for kind in [FailureKind::Fatal, FailureKind::Timeout] {
        let back = back(kind).expect("told");
        assert_eq!((back.alert, back.severity), (AlertCode::RestoreRolledBack, Severity::Warning));
    }
    let skipped = SafetySnapshotSkippedV1 { failure: failure(FailureKind::Resource) };
    let skipped = told(RestoreEvent::SafetySnapshotSkipped(skipped)).expect("told");
    assert_eq!((skipped.alert, skipped.severity), (AlertCode::SafetySnapshotSkipped, Severity::Warning));
    let participant = Some("site".parse().expect("a name"));
    let half = RestoreRollbackFailedV1 { participant, failure: failure(FailureKind::Cancelled) };
    let half = told(RestoreEvent::RollbackFailed(half)).expect("told, whatever the reason");
    assert_eq!((half.alert, half.severity), (AlertCode::RestoreRollbackFailed, Severity::Critical));
    assert!(half.message.contains("of site failed: it did not work"), "{}", half.message);
    assert_eq!(told(RestoreEvent::Completed(RestoreCompletedV1 { files: 0, bytes: 1, warnings: 0 })), None);
}

#[test]
fn maintenance_that_a_restore_left_on_is_told_and_other_is_not() {
    let told = |event: MaintenanceEvent| Alert::of(&envelope(StreamId::maintenance(), event), None);
    let on = |restore_id| told(MaintenanceEvent::Enabled(MaintenanceEnabledV2 { reason: "why".into(), restore_id }));
    assert_eq!((on(None), told(MaintenanceEvent::Disabled(MaintenanceDisabledV1 {}))), (None, None));
    let id = RestoreId(Uuid::from_u128(4));
    let left = on(Some(id)).expect("told");
    assert_eq!((left.alert, left.restore_id), (AlertCode::MaintenanceLeftOn, Some(id.to_string())));
}

#[test]
fn a_repaired_log_and_guessed_tokens_are_told() {
    let repaired = SystemEvent::LogRepaired(LogRepairedV1 { what: "a torn tail".into() });
    let told = Alert::of(&envelope(StreamId::system(), repaired), None).expect("told");
    assert_eq!((told.alert, told.severity), (AlertCode::LogRepaired, Severity::Warning));
    let guesses = AuditEvent::GuessesSummed(GuessesSummedV1 {
        from: Timestamp(0),
        to: Timestamp(1),
        count: 40,
        sources: vec![("192.0.2.1".into(), 30)],
        more_sources: 9,
    });
    let told = Alert::of(&envelope(StreamId::audit(), guesses), None).expect("told");
    assert_eq!(told.message, "40 tokens that are not known were shown, from 10 addresses");
    let one = GuessesSummedV1 {
        from: Timestamp(0),
        to: Timestamp(1),
        count: 1,
        sources: vec![("192.0.2.1".into(), 1)],
        more_sources: 0,
    };
    let one = Alert::of(&envelope(StreamId::audit(), AuditEvent::GuessesSummed(one)), None).expect("told");
    assert_eq!(one.message, "1 token that is not known was shown, from 1 address");
    let json = serde_json::to_value(&told).expect("json");
    assert_eq!((&json["alert"], &json["severity"]), (&"TOKENS_GUESSED".into(), &"warning".into()));
    assert!(json.get("run_id").is_none());
}
