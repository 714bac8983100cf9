//! The rules of a run, each as given / when / then, in the words below.

mod barrier;
mod copies;
mod deadline;
mod ends;
mod imports;
mod locks;
mod recovery;
mod retries;
mod stages;
mod work;

use super::*;
use crate::event::RunEvent;
use crate::failure::FailureKind;
use crate::given::{Given, given};
use crate::ids::Sha256;

/// Seconds after which the runs of these tests are not resumed.
const WINDOW: i64 = 600;
/// Attempts the runs of these tests have.
const ATTEMPTS: u32 = 3;
const CRITICAL: bool = true;
const OPTIONAL: bool = false;
/// Names and whether they are critical.
type Plan = [(&'static str, bool)];
const FIRST: Try = Try { attempt: 1, number: 1 };
const PAIR: &Plan = &[("db", CRITICAL), ("site", OPTIONAL)];

fn name(text: &str) -> ParticipantName {
    text.parse().expect("a name")
}

fn new_run(plan: &Plan) -> NewRun {
    let participant = |(text, critical): &(&str, bool)| NewParticipant {
        name: name(text),
        kind: "files".into(),
        critical: *critical,
        definition: String::new(),
        definition_sha256: Sha256::default(),
        depends_on: Vec::new(),
        max_tries: 1,
        retry_delay_ms: 1000,
        format_version: 0,
    };
    NewRun {
        request: RunRequestedV4 {
            run_id: RunId::new(Timestamp(0), 1),
            run_type: RunType::Full,
            trigger: Trigger::Manual,
            compression: "lz4".into(),
            strict: false,
            max_attempts: ATTEMPTS,
            resume_within_s: WINDOW as u64,
            max_parallel: 1,
            job: String::new(),
            idempotency_key: String::new(),
            consistency: crate::run::Consistency::Concurrent,
            freeze_budget_ms: 10_000,
            timeout_ms: 0,
            encryption: Encryption::default(),
        },
        participants: plan.iter().map(participant).collect(),
        copies: crate::run::Copies::default(),
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "CODE", "it did not work")
}

fn artifact(participant: &str, logical: &str) -> ArtifactStoredV1 {
    let file = |extension| StoredFileV1 {
        file: format!("{logical}.{extension}").parse().expect("a name"),
        size_bytes: 40,
        sha256: Sha256([4; 32]),
    };
    ArtifactStoredV1 {
        participant: name(participant),
        logical_name: logical.parse().expect("a name"),
        stored: file("lz4"),
        content_bytes: 100,
        content_sha256: Sha256([1; 32]),
        compression: "lz4".into(),
        index: Some(file("index")),
    }
}

// Facts.

fn requested(plan: &Plan) -> Vec<RunEvent> {
    let new = new_run(plan);
    let planned = new.participants.into_iter().map(|participant| {
        RunEvent::ParticipantPlanned(ParticipantPlannedV3 {
            participant: participant.name,
            kind: participant.kind,
            critical: participant.critical,
            definition_sha256: participant.definition_sha256,
            definition_parts: 0,
            depends_on: participant.depends_on,
            max_tries: participant.max_tries,
            retry_delay_ms: participant.retry_delay_ms,
            format_version: 0,
        })
    });
    [RunEvent::Requested(new.request)].into_iter().chain(planned).collect()
}

fn started() -> RunEvent {
    RunEvent::Started(RunStartedV1 { attempt: 1 })
}

fn interrupted(reason: &str) -> RunEvent {
    RunEvent::Interrupted(RunInterruptedV1 { reason: reason.into() })
}

fn resumed(attempt: u32) -> RunEvent {
    RunEvent::Resumed(RunResumedV1 { attempt })
}

fn reset(participant: &str, reason: &str) -> RunEvent {
    RunEvent::ParticipantReset(ParticipantResetV1 { participant: name(participant), reason: reason.into() })
}

fn begun(participant: &str) -> RunEvent {
    RunEvent::ParticipantStarted(ParticipantStartedV1 { participant: name(participant), try_number: 1 })
}

fn stored(participant: &str) -> RunEvent {
    RunEvent::ArtifactStored(artifact(participant, participant))
}

fn completion(participant: &str) -> ParticipantCompletedV1 {
    let (warnings, notes) = (Warnings::default(), Warnings::default());
    ParticipantCompletedV1 { participant: name(participant), files: 5, warnings, notes }
}

fn completed(participant: &str) -> RunEvent {
    RunEvent::ParticipantCompleted(completion(participant))
}

fn failed(participant: &str, failure: Failure) -> RunEvent {
    let output = String::new();
    RunEvent::ParticipantFailed(ParticipantFailedV2 { participant: name(participant), failure, output })
}

fn cancelled(participant: &str) -> RunEvent {
    RunEvent::ParticipantCancelled(ParticipantCancelledV1 { participant: name(participant) })
}

fn skipped(participant: &str, reason: &str) -> RunEvent {
    RunEvent::ParticipantSkipped(ParticipantSkippedV1 { participant: name(participant), reason: reason.into() })
}

fn cancel_requested() -> RunEvent {
    RunEvent::CancelRequested(RunCancelRequestedV1 { reason: "enough".into() })
}

fn classified(outcome: Outcome, summary: &str) -> RunEvent {
    RunEvent::Classified(RunClassifiedV1 { outcome, error_summary: summary.into() })
}

fn publish_requested(target: Target) -> RunEvent {
    RunEvent::PublishRequested(RunPublishRequestedV1 { target, sums_sha256: Sha256::default() })
}

fn published(outcome: Outcome) -> RunEvent {
    RunEvent::Published(RunPublishedV1 { outcome, target: outcome.target() })
}

fn ended(outcome: Outcome, summary: &str) -> RunEvent {
    RunEvent::Ended(RunEndedV1 { outcome, error_summary: summary.into() })
}

fn deletion() -> RunEvent {
    RunEvent::DeleteRequested(RunDeleteRequestedV1 {})
}

fn deleted() -> RunEvent {
    RunEvent::Deleted(RunDeletedV1 {})
}

// Wishes.

fn complete(participant: &str) -> RunCommand {
    complete_with(participant, vec![artifact(participant, participant)], completion(participant))
}

fn complete_with(participant: &str, artifacts: Vec<ArtifactStoredV1>, completed: ParticipantCompletedV1) -> RunCommand {
    assert_eq!(completed.participant, name(participant));
    RunCommand::Complete { of: FIRST, artifacts, completed }
}

fn fail(participant: &str, kind: FailureKind) -> RunCommand {
    fail_in(participant, FIRST, kind)
}

fn fail_in(participant: &str, of: Try, kind: FailureKind) -> RunCommand {
    let output = String::new();
    RunCommand::Fail { participant: name(participant), of, failure: failure(kind), output, may_retry: true }
}

fn cancel() -> RunCommand {
    RunCommand::Cancel { reason: "enough".into() }
}

fn sealed() -> RunCommand {
    RunCommand::Sealed { sums_sha256: Sha256::default() }
}

fn damage(participant: &str) -> RunCommand {
    RunCommand::SealFoundDamage(vec![(name(participant), failure(FailureKind::Fatal))])
}

fn recover(found: Found) -> RunCommand {
    recover_after(0, found)
}

/// By a process that took over so many seconds after the last event.
fn recover_after(seconds: i64, found: Found) -> RunCommand {
    RunCommand::Recover { found, broken: Vec::new(), taken_over: Timestamp(seconds * 1_000_000), stopped: false }
}

fn progress(participant: &str, done: u64, total: u64) -> ParticipantProgressedV1 {
    ParticipantProgressedV1 {
        participant: name(participant),
        bytes_done: done,
        bytes_total: Some(total),
        files_done: 0,
        files_total: None,
    }
}

fn verified(ok: bool) -> RunVerifiedV1 {
    RunVerifiedV1 { ok, files: 2, bytes: 80, errors: Warnings::default() }
}

// States.

fn queued(plan: &Plan) -> Given<Run> {
    given(requested(plan))
}

fn preparing(plan: &Plan) -> Given<Run> {
    queued(plan).and([started()])
}

/// The first participant is at work.
fn working(plan: &Plan) -> Given<Run> {
    preparing(plan).and([begun(plan[0].0)])
}

/// All participants have completed.
fn sealing(plan: &Plan) -> Given<Run> {
    let work = plan.iter().flat_map(|(name, _)| [begun(name), stored(name), completed(name)]);
    preparing(plan).and(work.chain([classified(Outcome::Completed, "")]))
}

fn publishing(plan: &Plan) -> Given<Run> {
    sealing(plan).and([publish_requested(Target::Completed)])
}

fn kept(plan: &Plan) -> Given<Run> {
    publishing(plan).and([published(Outcome::Completed)])
}

fn statuses(run: &Given<Run>) -> Vec<ParticipantStatus> {
    run.state().participants().iter().map(|participant| participant.status).collect()
}
