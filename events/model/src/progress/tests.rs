use super::*;
use crate::aggregate::{Aggregate, Moment};
use crate::event::RunEvent;
use crate::failure::{Failure, FailureKind, Warnings};
use crate::ids::{RunId, Sha256};
use crate::run::{
    ArtifactStoredV1, Encryption, Outcome, ParticipantCompletedV1, ParticipantFailedV2, ParticipantPlannedV3,
    ParticipantProgressedV1, ParticipantResetV1, ParticipantStartedV1, RunClassifiedV1, RunPublishRequestedV1,
    RunPublishedV1, RunRequestedV4, RunResumedV1, RunStartedV1, StoredFileV1, Target,
};

const SECOND: i64 = 1_000_000;

pub(super) fn name(text: &str) -> ParticipantName {
    text.parse().expect("a name")
}

/// A run of two participants, folded one event a second.
pub(super) struct Film {
    pub(super) run: Run,
    pub(super) now: Timestamp,
}

impl Film {
    pub(super) fn new() -> Self {
        let mut film = Self { run: Run::default(), now: Timestamp(0) };
        film.show(&RunEvent::Requested(RunRequestedV4 {
            run_id: RunId::new(Timestamp(0), 1),
            run_type: RunType::Scoped,
            trigger: Trigger::Cron,
            compression: "lz4".into(),
            strict: false,
            max_attempts: 3,
            resume_within_s: 600,
            max_parallel: 2,
            job: String::new(),
            idempotency_key: String::new(),
            consistency: crate::run::Consistency::Concurrent,
            freeze_budget_ms: 10_000,
            timeout_ms: 0,
            encryption: Encryption::default(),
        }));
        for participant in ["a", "b"] {
            film.show(&RunEvent::ParticipantPlanned(ParticipantPlannedV3 {
                participant: name(participant),
                kind: "files".into(),
                critical: true,
                definition_sha256: Sha256::default(),
                definition_parts: 0,
                depends_on: Vec::new(),
                max_tries: 1,
                retry_delay_ms: 0,
                format_version: 0,
            }));
        }
        film
    }

    pub(super) fn show(&mut self, event: &RunEvent) -> Progress {
        self.now.0 += SECOND;
        self.run.apply(event, &Moment { time: self.now, principal: String::new() });
        self.progress()
    }

    fn progress(&self) -> Progress {
        Progress::of(&self.run, &BTreeMap::new(), true)
    }

    pub(super) fn started(&mut self) -> Progress {
        self.show(&RunEvent::Started(RunStartedV1 { attempt: 1 }))
    }

    pub(super) fn begun(&mut self, participant: &str) -> Progress {
        self.show(&RunEvent::ParticipantStarted(ParticipantStartedV1 { participant: name(participant), try_number: 1 }))
    }

    pub(super) fn progressed(&mut self, participant: &str, bytes_done: u64, bytes_total: Option<u64>) -> Progress {
        let (participant, files_done, files_total) = (name(participant), 1, None);
        self.show(&RunEvent::ParticipantProgressed(ParticipantProgressedV1 {
            participant,
            bytes_done,
            bytes_total,
            files_done,
            files_total,
        }))
    }

    pub(super) fn completed(&mut self, participant: &str) -> Progress {
        let stored = StoredFileV1 {
            file: format!("{participant}.lz4").parse().expect("a name"),
            size_bytes: 40,
            sha256: Sha256::default(),
        };
        self.show(&RunEvent::ArtifactStored(ArtifactStoredV1 {
            participant: name(participant),
            logical_name: participant.parse().expect("a name"),
            stored,
            content_bytes: 100,
            content_sha256: Sha256::default(),
            compression: "lz4".into(),
            index: None,
        }));
        let (warnings, notes) = (Warnings::default(), Warnings::default());
        self.show(&RunEvent::ParticipantCompleted(ParticipantCompletedV1 {
            participant: name(participant),
            files: 4,
            warnings,
            notes,
        }))
    }

    pub(super) fn classified(&mut self, outcome: Outcome) -> Progress {
        self.show(&RunEvent::Classified(RunClassifiedV1 { outcome, error_summary: String::new() }))
    }
}

#[test]
fn a_run_is_followed_from_the_queue_to_its_end() {
    let mut film = Film::new();
    let waits = film.progress();
    assert_eq!(
        (waits.phase, waits.active, waits.status, waits.participants_total),
        (Phase::Queued, true, Some(RunStatus::Queued), 2)
    );
    assert_eq!(film.started().phase, Phase::Prepare);
    let first = film.begun("a");
    assert_eq!((first.phase, first.current_participant.as_str(), first.overall_percent), (Phase::Backup, "a", 0.0));
    let half = film.progressed("a", 50, Some(100));
    assert_eq!((half.participants[0].percent, half.overall_percent), (50.0, 22.5));
    // What the other one has is not known before it begins.
    assert_eq!((half.bytes_done, half.bytes_total, half.participants[0].bytes_total), (50, 0, 100));
    assert_eq!((half.bytes_per_second, half.eta_seconds), (0, None));
    let one = film.completed("a");
    assert_eq!((one.participants_done, one.participants[0].artifacts, one.participants[0].percent), (1, 1, 100.0));
    assert_eq!((one.participants[0].files_done, one.participants[0].files_total), (4, 4));
    film.begun("b");
    film.completed("b");
    let check = film.classified(Outcome::Completed);
    assert_eq!((check.phase, check.overall_percent, check.eta_seconds), (Phase::Validate, 90.0, None));
    let (target, sums_sha256) = (Target::Completed, Sha256::default());
    let rename = film.show(&RunEvent::PublishRequested(RunPublishRequestedV1 { target, sums_sha256 }));
    assert_eq!((rename.phase, rename.overall_percent, rename.finished_at), (Phase::Finalize, 99.0, 0));
    let end = film.show(&RunEvent::Published(RunPublishedV1 { outcome: Outcome::Completed, target }));
    assert_eq!((end.phase, end.active, end.overall_percent), (Phase::Done, false, 100.0));
    assert_eq!((end.bytes_done, end.bytes_total), (200, 200));
    assert!(end.finished_at > 0);
}

#[test]
fn the_same_progress_is_rebuilt_from_the_same_events() {
    let play = || {
        let mut film = Film::new();
        vec![film.started(), film.begun("a"), film.progressed("a", 7, Some(9)), film.completed("a")]
    };
    assert_eq!(play(), play());
}

#[test]
fn percent_does_not_fall_when_the_source_grows_or_its_size_is_lost_sight_of() {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    for (done, total) in [(90, Some(100)), (95, Some(1000)), (96, None), (10, Some(100))] {
        assert_eq!(film.progressed("a", done, total).participants[0].percent, 90.0, "{done} of {total:?}");
    }
    assert_eq!(film.progressed("a", 5000, Some(100)).participants[0].percent, 99.0);
}

#[test]
fn damage_found_after_the_rename_does_not_take_progress_back() {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    film.completed("a");
    film.begun("b");
    film.completed("b");
    film.classified(Outcome::Completed);
    let (target, sums_sha256) = (Target::Completed, Sha256::default());
    film.show(&RunEvent::PublishRequested(RunPublishRequestedV1 { target, sums_sha256 }));
    let failure = Failure::new(FailureKind::Fatal, "CODE", "it did not work");
    film.show(&RunEvent::ParticipantFailed(ParticipantFailedV2 {
        participant: name("a"),
        failure,
        output: String::new(),
    }));
    let again = film.classified(Outcome::Failed);
    assert_eq!((again.phase, again.overall_percent), (Phase::Validate, 99.0));
    assert_eq!(again.participants[0].message, "it did not work (CODE)");
}

#[test]
fn a_new_attempt_begins_anew_for_what_runs_again() {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    film.completed("a");
    film.begun("b");
    film.progressed("b", 80, Some(100));
    film.show(&RunEvent::Resumed(RunResumedV1 { attempt: 2 }));
    film.show(&RunEvent::ParticipantReset(ParticipantResetV1 { participant: name("b"), reason: String::new() }));
    let again = film.begun("b");
    assert_eq!((again.participants[0].percent, again.participants[1].percent), (100.0, 0.0));
}

#[test]
fn live_counts_are_laid_over_participants_at_work_only() {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    film.progressed("a", 10, Some(100));
    film.begun("b");
    film.completed("b");
    let counts = Counts { bytes_done: 60, bytes_total: Some(100), files_done: 2, files_total: Some(3) };
    let live = BTreeMap::from([(name("a"), counts), (name("b"), counts), (name("nobody"), counts)]);
    let shown = Progress::of(&film.run, &live, true);
    assert_eq!((shown.participants[0].percent, shown.participants[0].files_total), (60.0, 3));
    assert_eq!((shown.participants[1].percent, shown.participants[1].bytes_done), (100.0, 100));
}

#[test]
fn a_size_that_is_not_known_is_not_made_up() {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    assert_eq!(film.progressed("a", 0, None).participants[0].phase, Phase::Prepare);
    let unknown = film.progressed("a", 500, None);
    assert_eq!((unknown.participants[0].percent, unknown.participants[0].phase), (0.0, Phase::Backup));
    assert_eq!((unknown.bytes_done, unknown.bytes_total, unknown.participants[0].bytes_total), (500, 0, 0));
    film.begun("b");
    film.progressed("b", 10, Some(100));
    assert_eq!(film.progressed("a", 500, Some(400)).bytes_total, 600);
}

#[test]
fn what_waits_and_what_was_interrupted_say_so() {
    let mut film = Film::new();
    let queued = film.progress();
    assert_eq!((queued.active, queued.message.as_str()), (true, "waits for its turn"));
    film.started();
    film.begun("a");
    let left = Progress::of(&film.run, &BTreeMap::new(), false);
    assert_eq!((left.active, left.status, left.phase), (false, Some(RunStatus::Interrupted), Phase::Backup));
    assert!(left.message.starts_with("interrupted: "), "{}", left.message);
}

#[test]
fn an_attempt_that_goes_on_begins_with_what_it_keeps() {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    film.completed("a");
    film.begun("b");
    film.progressed("b", 80, Some(100));
    film.show(&RunEvent::Resumed(RunResumedV1 { attempt: 2 }));
    let reset = ParticipantResetV1 { participant: name("b"), reason: String::new() };
    let kept = film.show(&RunEvent::ParticipantReset(reset));
    assert_eq!((kept.phase, kept.attempt, kept.overall_percent), (Phase::Prepare, 2, 45.0));
}

#[test]
fn an_ended_run_tells_its_average() {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    film.completed("a");
    film.begun("b");
    film.completed("b");
    film.classified(Outcome::Completed);
    let (target, sums_sha256) = (Target::Completed, Sha256::default());
    film.show(&RunEvent::PublishRequested(RunPublishRequestedV1 { target, sums_sha256 }));
    let end = film.show(&RunEvent::Published(RunPublishedV1 { outcome: Outcome::Completed, target }));
    // Started in the 4th second, classified in the 11th.
    assert_eq!((end.bytes_per_second, end.eta_seconds), (200 / 7, Some(0)));
}

#[test]
fn the_largest_counts_are_added_without_overflow() {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    film.begun("b");
    film.progressed("a", u64::MAX, Some(u64::MAX));
    let shown = film.progressed("b", u64::MAX, Some(u64::MAX));
    assert_eq!((shown.bytes_done, shown.participants[1].percent), (u64::MAX, 99.0));
}

#[test]
fn no_run_at_work_shows_the_last_ones_id() {
    let idle = Progress::idle("19700101-000000-000001".into());
    assert_eq!((idle.active, idle.phase, idle.run_id.as_str()), (false, Phase::Idle, "19700101-000000-000001"));
    assert_eq!(Progress::of(&Run::default(), &BTreeMap::new(), true), Progress::idle(String::new()));
    let json = serde_json::to_value(&idle).expect("json");
    assert_eq!((&json["phase"], &json["active"]), (&"idle".into(), &false.into()));
}

#[test]
fn a_run_that_is_not_good_ends_where_it_was_and_so_do_its_participants() {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    film.progressed("a", 40, Some(100));
    film.show(&RunEvent::ParticipantFailed(ParticipantFailedV2 {
        participant: name("a"),
        failure: Failure::new(FailureKind::Fatal, "CODE", "it did not work"),
        output: String::new(),
    }));
    film.begun("b");
    film.completed("b");
    let seals = film.classified(Outcome::Failed);
    assert_eq!((seals.phase, seals.overall_percent), (Phase::Validate, 63.0));
    film.show(&RunEvent::PublishRequested(RunPublishRequestedV1 {
        target: Target::Failed,
        sums_sha256: Sha256::default(),
    }));
    let end = film.show(&RunEvent::Published(RunPublishedV1 { outcome: Outcome::Failed, target: Target::Failed }));
    assert_eq!((end.phase, end.overall_percent), (Phase::Failed, 63.0));
    assert_eq!((end.participants[0].percent, end.participants[1].percent), (40.0, 100.0));
}
