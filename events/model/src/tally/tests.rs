use uuid::Uuid;

use super::*;
use crate::failure::{Failure, FailureKind, Warnings};
use crate::ids::{Position, Sha256, StreamId, Version};
use crate::participant::{WorkFailedV1, WorkStartedV1};
use crate::run::{
    ArtifactStoredV1, Encryption, ParticipantCompletedV1, ParticipantResetV1, RunDeleteFailedV1, RunDeleteRequestedV1,
    RunDeletedV1, RunEndedV1, RunPublishedV1, RunRequestedV4, RunResumedV1, RunStartedV1, RunType, RunVerifiedV1,
    StoredFileV1, Trigger,
};
use crate::system::EngineStartedV1;

fn id(counter: u32) -> RunId {
    RunId::new(Timestamp(0), counter)
}

fn name(name: &str) -> ParticipantName {
    name.parse().expect("a name")
}

/// A log whose clock is told.
#[derive(Default)]
struct Log {
    tally: Tally,
    now: Timestamp,
}

impl Log {
    fn at(&mut self, seconds: i64) -> &mut Self {
        self.now = Timestamp(seconds * 1_000_000);
        self
    }

    fn push(&mut self, stream: StreamId, data: impl Into<Event>) -> &mut Self {
        let data = data.into();
        self.tally.apply(&Envelope {
            position: Position(1),
            stream,
            version: Version(1),
            time: self.now,
            event_id: Uuid::nil(),
            correlation_id: Uuid::nil(),
            principal: String::new(),
            event_type: data.name(),
            data,
        });
        self
    }

    fn run(&mut self, counter: u32, event: RunEvent) -> &mut Self {
        self.push(StreamId::run(id(counter)), event)
    }

    fn begun(&mut self, counter: u32, job: &str) -> &mut Self {
        let request = RunRequestedV4 {
            run_id: id(counter),
            run_type: RunType::Full,
            trigger: Trigger::Manual,
            compression: "lz4".into(),
            strict: false,
            max_attempts: 3,
            resume_within_s: 600,
            max_parallel: 1,
            job: job.into(),
            idempotency_key: String::new(),
            consistency: crate::run::Consistency::Concurrent,
            freeze_budget_ms: 10_000,
            timeout_ms: 0,
            encryption: Encryption::default(),
        };
        self.run(counter, RunEvent::Requested(request)).run(counter, RunEvent::Started(RunStartedV1 { attempt: 1 }))
    }

    fn completed(&mut self, counter: u32, participant: &str) -> &mut Self {
        let file = StoredFileV1 { file: "a.lz4".parse().expect("a name"), size_bytes: 10, sha256: Sha256([0; 32]) };
        let artifact = ArtifactStoredV1 {
            participant: name(participant),
            logical_name: "a".parse().expect("a name"),
            stored: file,
            content_bytes: 30,
            content_sha256: Sha256([0; 32]),
            compression: "lz4".into(),
            index: None,
        };
        let completed = ParticipantCompletedV1 {
            participant: name(participant),
            files: 0,
            warnings: Warnings::default(),
            notes: Warnings::default(),
        };
        self.run(counter, RunEvent::ArtifactStored(artifact)).run(counter, RunEvent::ParticipantCompleted(completed))
    }

    fn published(&mut self, counter: u32, outcome: Outcome) -> &mut Self {
        self.run(counter, RunEvent::Published(RunPublishedV1 { outcome, target: outcome.target() }))
    }

    /// A completed run of one participant.
    fn good(&mut self, counter: u32, job: &str, participant: &str) -> &mut Self {
        self.begun(counter, job).completed(counter, participant).published(counter, Outcome::Completed)
    }

    fn verified(&mut self, counter: u32, ok: bool) -> &mut Self {
        self.run(counter, RunEvent::Verified(RunVerifiedV1 { ok, files: 1, bytes: 1, errors: Warnings::default() }))
    }

    /// When the participant and the job `nightly` last had a success, and a verified run.
    fn seconds(&self, participant: &str) -> [Option<i64>; 4] {
        let participant = self.tally.participant(&name(participant));
        let job = self.tally.jobs().find(|(job, _)| *job == "nightly").map(|(_, marks)| marks);
        let of =
            |marks: Option<&Marks>, at: fn(&Marks) -> Option<Timestamp>| marks.and_then(at).map(Timestamp::seconds);
        [
            of(participant, Marks::last_success),
            of(participant, Marks::last_verified),
            of(job, Marks::last_success),
            of(job, Marks::last_verified),
        ]
    }
}

#[test]
fn ends_are_counted_once_each_and_durations_with_them() {
    let mut log = Log::default();
    log.begun(1, "").at(4).published(1, Outcome::Completed).published(1, Outcome::Completed);
    log.begun(2, "").at(604_900).published(2, Outcome::Failed);
    log.begun(3, "");
    let cancelled = RunEndedV1 { outcome: Outcome::Cancelled, error_summary: String::new() };
    log.begun(4, "").run(4, RunEvent::Ended(cancelled)).published(9, Outcome::Completed);
    let tally = &log.tally;
    let ends = [Outcome::Completed, Outcome::Partial, Outcome::Failed, Outcome::Cancelled, Outcome::Timeout];
    assert_eq!(ends.map(|outcome| tally.ended(outcome)), [1, 0, 1, 1, 0]);
    assert_eq!(tally.open_runs(), 1);
    let durations = tally.durations();
    assert_eq!((durations.count(), durations.sum_s()), (3, 604_900));
    let filled: Vec<_> = durations.buckets().filter(|(_, count)| *count > 0).collect();
    assert_eq!(filled, [(1, 1), (5, 1)], "what took longer than a week is in no bucket");
}

#[test]
fn a_clock_that_steps_back_makes_no_duration_of_centuries() {
    let mut log = Log::default();
    log.at(100).begun(1, "").at(50).published(1, Outcome::Completed);
    assert_eq!((log.tally.durations().count(), log.tally.durations().sum_s()), (1, 0));
}

#[test]
fn a_completed_run_is_verified_at_its_publish_and_a_partial_one_for_what_is_good_in_it() {
    let mut log = Log::default();
    assert_eq!(log.seconds("db"), [None; 4]);
    log.at(10).good(1, "nightly", "db");
    assert_eq!(log.seconds("db"), [Some(10); 4]);
    log.at(20).begun(2, "nightly").completed(2, "db").published(2, Outcome::Partial);
    assert_eq!(log.seconds("db"), [Some(20), Some(20), Some(10), Some(10)]);
    log.at(30).begun(3, "nightly").completed(3, "db").published(3, Outcome::Failed);
    assert_eq!(log.seconds("db"), [Some(20), Some(20), Some(10), Some(10)]);
}

#[test]
fn what_is_made_again_after_a_crash_counts_only_when_it_is_good_again() {
    let mut log = Log::default();
    let reset = ParticipantResetV1 { participant: name("db"), reason: "gone".into() };
    log.at(10).begun(1, "nightly").completed(1, "db").run(1, RunEvent::ParticipantReset(reset));
    log.run(1, RunEvent::Resumed(RunResumedV1 { attempt: 2 })).published(1, Outcome::Partial);
    assert_eq!(log.seconds("db"), [None; 4]);
    assert_eq!(log.tally.resumed(), 1);
}

#[test]
fn a_verification_of_the_newest_run_moves_it_on_and_that_of_an_older_one_does_not() {
    let mut log = Log::default();
    log.at(10).good(1, "nightly", "db").at(20).good(2, "nightly", "db");
    log.at(30).verified(1, true);
    assert_eq!(log.seconds("db"), [Some(20); 4]);
    log.at(40).verified(2, true);
    assert_eq!(log.seconds("db"), [Some(20), Some(40), Some(20), Some(40)]);
    log.at(50).verified(7, true);
    assert_eq!(log.seconds("db"), [Some(20), Some(40), Some(20), Some(40)]);
    assert_eq!(log.tally.verified(), Verified { whole: 3, damaged: 0 });
}

#[test]
fn damage_takes_a_run_away_until_it_is_found_whole() {
    let mut log = Log::default();
    log.at(10).good(1, "nightly", "db").at(20).good(2, "nightly", "db");
    log.at(30).verified(2, false);
    assert_eq!(log.seconds("db"), [Some(20), Some(10), Some(20), Some(10)]);
    log.at(40).verified(1, true);
    assert_eq!(log.seconds("db"), [Some(20), Some(40), Some(20), Some(40)]);
    log.at(50).verified(2, true);
    assert_eq!(log.seconds("db"), [Some(20), Some(50), Some(20), Some(50)]);
    assert_eq!(log.tally.verified(), Verified { whole: 2, damaged: 1 });
}

#[test]
fn a_deleted_run_counts_no_more_and_one_that_could_not_be_deleted_does() {
    let mut log = Log::default();
    log.at(10).good(1, "nightly", "db").at(20).good(2, "nightly", "db");
    log.run(2, RunEvent::DeleteRequested(RunDeleteRequestedV1 {}));
    assert_eq!(log.seconds("db"), [Some(20), Some(10), Some(20), Some(10)]);
    let failure = Failure::new(FailureKind::Fatal, "CODE", "it did not work");
    log.run(2, RunEvent::DeleteFailed(RunDeleteFailedV1 { failure }));
    assert_eq!(log.seconds("db"), [Some(20); 4]);
    log.run(2, RunEvent::DeleteRequested(RunDeleteRequestedV1 {})).run(2, RunEvent::Deleted(RunDeletedV1 {}));
    log.run(1, RunEvent::DeleteRequested(RunDeleteRequestedV1 {})).run(1, RunEvent::Deleted(RunDeletedV1 {}));
    assert_eq!(log.seconds("db"), [Some(20), None, Some(20), None]);
    assert_eq!(log.tally.deleted(), 2);
}

#[test]
fn what_was_stored_stays_counted_whatever_becomes_of_the_run() {
    let mut log = Log::default();
    log.begun(1, "").completed(1, "db").completed(1, "files").published(1, Outcome::Failed);
    log.run(1, RunEvent::DeleteRequested(RunDeleteRequestedV1 {})).run(1, RunEvent::Deleted(RunDeletedV1 {}));
    assert_eq!(log.tally.stored(), Stored { artifacts: 2, content_bytes: 60, stored_bytes: 20 });
}

#[test]
fn tries_after_the_first_and_failures_are_counted_for_each_participant() {
    let mut log = Log::default();
    for try_number in 1..=3 {
        let work = WorkStartedV1 { participant: name("db"), run_id: id(1), attempt: 1, try_number };
        let failure = Failure::new(FailureKind::Retryable, "CODE", "it did not work");
        let stream = StreamId::participant(&name("db"));
        log.push(stream.clone(), ParticipantEvent::WorkStarted(work));
        log.push(stream, ParticipantEvent::WorkFailed(WorkFailedV1 { run_id: id(1), failure }));
    }
    let marks = log.tally.participant(&name("db")).expect("it was at work");
    assert_eq!((marks.retries(), marks.failures()), (2, 3));
}

#[test]
fn those_at_work_the_longest_ago_make_room() {
    let mut log = Log::default();
    for number in 0..=MAX_SUBJECTS {
        let number = u32::try_from(number).expect("small");
        log.at(i64::from(number)).good(number + 1, &format!("j{number}"), &format!("p{number}"));
    }
    assert_eq!((log.tally.participants.len(), log.tally.jobs.len()), (MAX_SUBJECTS, MAX_SUBJECTS));
    assert!(log.tally.participant(&name("p0")).is_none());
    assert!(log.tally.participant(&name("p1")).is_some());
}

#[test]
fn only_the_newest_good_runs_of_each_are_remembered() {
    let mut log = Log::default();
    for run in 1..=100 {
        log.at(i64::from(run)).good(run, "nightly", "db");
    }
    for run in 0..KEPT {
        log.verified(100 - u32::try_from(run).expect("small"), false);
    }
    assert_eq!(log.seconds("db"), [Some(100), None, Some(100), None]);
}

#[test]
fn starts_of_the_engine_are_counted() {
    let mut log = Log::default();
    let started = EngineStartedV1 { pid: 1, purpose: "backup".into(), app_version: "0.1.0".into() };
    log.push(StreamId::system(), SystemEvent::EngineStarted(started));
    assert_eq!(log.tally.engine_starts(), 1);
}
