use uuid::Uuid;

use super::*;
use crate::event::ParticipantEvent;
use crate::failure::{Failure, FailureKind, Warnings};
use crate::ids::{StreamId, Timestamp, Version};
use crate::participant::{WorkCompletedV1, WorkStartedV1};
use crate::restore::{RestoreCompletedV1, RestoreFailedV1, RestoreRequestedV3};
use crate::run::{
    Encryption, ParticipantPlannedV3, RunClassifiedV1, RunDeleteRequestedV1, RunDeletedV1, RunEndedV1, RunLockedV1,
    RunPublishedV1, RunRequestedV4, RunUnlockedV1, RunVerifiedV1, Trigger,
};
use crate::system::HomeCreatedV1;

/// Runs are told apart by their counter here; the clock stands still.
fn id(counter: u32) -> RunId {
    RunId::new(Timestamp(0), counter)
}

fn restore_id(number: u128) -> RestoreId {
    RestoreId(Uuid::from_u128(number))
}

#[derive(Default)]
struct Log {
    history: History,
    now: Timestamp,
    principal: String,
    key: String,
}

impl Log {
    fn push(&mut self, stream: StreamId, data: impl Into<Event>) -> &mut Self {
        let data = data.into();
        self.history.apply(&Envelope {
            position: self.history.folded_to().next(),
            stream,
            version: Version(1),
            time: self.now,
            event_id: Uuid::nil(),
            correlation_id: Uuid::nil(),
            principal: self.principal.clone(),
            event_type: data.name(),
            data,
        });
        self
    }

    fn run(&mut self, counter: u32, event: RunEvent) -> &mut Self {
        self.push(StreamId::run(id(counter)), event)
    }

    fn requested(&mut self, counter: u32) -> &mut Self {
        self.asked(counter, RunType::Full)
    }

    fn requested_some(&mut self, counter: u32) -> &mut Self {
        self.asked(counter, RunType::Scoped)
    }

    fn asked(&mut self, counter: u32, run_type: RunType) -> &mut Self {
        let request = RunRequestedV4 {
            run_id: id(counter),
            run_type,
            trigger: Trigger::Manual,
            compression: "lz4".into(),
            strict: false,
            max_attempts: 3,
            resume_within_s: 600,
            max_parallel: 1,
            job: String::new(),
            idempotency_key: self.key.clone(),
            consistency: crate::run::Consistency::Concurrent,
            freeze_budget_ms: 10_000,
            timeout_ms: 0,
            encryption: Encryption::default(),
        };
        self.run(counter, RunEvent::Requested(request))
    }

    /// Of what was named for it alone: the run records its definition.
    fn requested_ad_hoc(&mut self, counter: u32) -> &mut Self {
        self.requested(counter);
        self.run(
            counter,
            RunEvent::ParticipantPlanned(ParticipantPlannedV3 {
                participant: "src".parse().expect("a name"),
                kind: "files".into(),
                critical: true,
                definition_sha256: crate::ids::Sha256([7; 32]),
                definition_parts: 1,
                depends_on: Vec::new(),
                max_tries: 1,
                retry_delay_ms: 0,
                format_version: 0,
            }),
        )
    }

    fn verified(&mut self, counter: u32, ok: bool) -> &mut Self {
        let verified = RunVerifiedV1 { ok, files: 1, bytes: 1, errors: Warnings::default() };
        self.run(counter, RunEvent::Verified(verified))
    }

    fn published(&mut self, counter: u32, outcome: Outcome) -> &mut Self {
        self.run(counter, RunEvent::Published(RunPublishedV1 { outcome, target: outcome.target() }))
    }

    fn latest(&self) -> (Option<u32>, Vec<u32>) {
        let (latest, passed) = self.history.latest();
        (latest.map(|entry| entry.run_id.counter()), passed.iter().map(|entry| entry.run_id.counter()).collect())
    }
}

#[test]
fn latest_is_the_newest_completed_run_and_names_those_it_passed_over() {
    let mut log = Log::default();
    assert_eq!(log.latest(), (None, vec![]));
    log.requested(1).published(1, Outcome::Completed).requested(2).published(2, Outcome::Completed);
    log.requested(3).published(3, Outcome::Partial).requested(4).published(4, Outcome::Failed).requested(5);
    assert_eq!(log.latest(), (Some(2), vec![5, 4, 3]));
    log.published(5, Outcome::Completed);
    assert_eq!(log.latest(), (Some(5), vec![]));
}

#[test]
fn a_scoped_run_is_latest_only_where_there_is_no_full_one() {
    let mut log = Log::default();
    log.requested(1).published(1, Outcome::Completed).requested_some(2).published(2, Outcome::Completed);
    assert_eq!(log.latest(), (Some(1), vec![2]));
    let mut log = Log::default();
    log.requested_some(1).published(1, Outcome::Completed).requested(2).published(2, Outcome::Failed);
    assert_eq!(log.latest(), (Some(1), vec![2]));
}

#[test]
fn an_ad_hoc_run_is_latest_only_where_there_is_no_full_one_of_what_is_configured() {
    let mut log = Log::default();
    log.requested_ad_hoc(1).published(1, Outcome::Completed).requested_ad_hoc(2).published(2, Outcome::Completed);
    assert_eq!(log.latest(), (Some(2), vec![]));
    log.requested(3).published(3, Outcome::Completed).requested_ad_hoc(4).published(4, Outcome::Completed);
    assert_eq!(log.latest(), (Some(3), vec![4]));
}

#[test]
fn a_run_that_was_last_found_damaged_is_passed_over_until_it_is_found_good_again() {
    let mut log = Log::default();
    log.requested(1).published(1, Outcome::Completed).requested(2).published(2, Outcome::Completed);
    log.verified(2, true).verified(2, false);
    assert_eq!(log.latest(), (Some(1), vec![2]));
    log.verified(1, false);
    assert_eq!(log.latest(), (Some(2), vec![]), "there is no other");
    assert!(log.history.latest().0.is_some_and(|entry| !entry.is_good()));
    log.verified(2, true);
    assert_eq!(log.latest(), (Some(2), vec![]));
}

#[test]
fn a_participant_was_last_good_in_a_run_that_is_not_damaged() {
    let mut log = Log::default();
    let name: ParticipantName = "shop".parse().expect("a name");
    for counter in [1, 2] {
        let run_id = id(counter);
        log.now = Timestamp(i64::from(counter));
        let started = WorkStartedV1 { participant: name.clone(), run_id, attempt: 1, try_number: 1 };
        log.requested(counter);
        log.push(StreamId::participant(&name), ParticipantEvent::WorkStarted(started));
        log.push(StreamId::participant(&name), ParticipantEvent::WorkCompleted(WorkCompletedV1 { run_id }));
        log.published(counter, Outcome::Completed);
    }
    let last_good = |log: &Log| log.history.last_good(&name).map(|(run, at)| (run.counter(), at.0));
    assert_eq!(last_good(&log), Some((2, 2)));
    log.verified(2, false);
    assert_eq!(last_good(&log), Some((1, 1)));
    log.verified(1, false);
    assert_eq!(last_good(&log), None);
    log.verified(2, true);
    assert_eq!(last_good(&log), Some((2, 2)));
}

#[test]
fn a_deleted_run_is_neither_latest_nor_passed_over() {
    let mut log = Log::default();
    log.requested(1).published(1, Outcome::Completed).requested(2).published(2, Outcome::Completed);
    log.requested(3).published(3, Outcome::Failed);
    log.run(2, RunEvent::DeleteRequested(RunDeleteRequestedV1 {}));
    log.run(3, RunEvent::DeleteRequested(RunDeleteRequestedV1 {}));
    assert_eq!(log.latest(), (Some(1), vec![]));
    assert_eq!(log.history.deleting().map(|entry| entry.run_id).collect::<Vec<_>>(), [id(2), id(3)]);
    log.run(2, RunEvent::Deleted(RunDeletedV1 {})).run(3, RunEvent::Deleted(RunDeletedV1 {}));
    assert_eq!((log.latest(), log.history.deleting().count()), ((Some(1), vec![]), 0));
    assert!(log.history.run(id(2)).is_some_and(|entry| entry.deleted), "it stays in the history");
}

#[test]
fn order_is_that_of_the_log_and_not_of_the_ids() {
    let mut log = Log::default();
    log.requested(9).requested(2).requested(5);
    let order: Vec<_> = log.history.newest_first().map(|entry| entry.run_id.counter()).collect();
    assert_eq!((order, log.history.highest_counter()), (vec![5, 2, 9], 9));
    log.published(2, Outcome::Completed);
    assert_eq!(log.latest(), (Some(2), vec![5]));
}

#[test]
fn a_run_is_open_until_it_is_published_or_ended() {
    let mut log = Log::default();
    log.requested(1).requested(2).requested(3);
    let (outcome, error_summary) = (Outcome::Completed, String::new());
    log.run(1, RunEvent::Classified(RunClassifiedV1 { outcome, error_summary: error_summary.clone() }));
    log.run(2, RunEvent::Ended(RunEndedV1 { outcome: Outcome::Cancelled, error_summary }));
    log.published(3, Outcome::Completed);
    assert_eq!(log.history.open().map(|entry| entry.run_id).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(log.history.run(id(2)).and_then(|entry| entry.outcome), Some(Outcome::Cancelled));
    assert_eq!(log.history.run(id(4)), None);
}

#[test]
fn open_restores_are_listed_the_oldest_first() {
    let mut log = Log::default();
    for number in [3, 1, 2] {
        let request = RestoreRequestedV3 {
            restore_id: restore_id(number),
            source_run: id(1),
            target: "/out".into(),
            staging: Vec::new(),
            selections: 0,
            overwrite: false,
            delete: false,
            force: false,
            safety: crate::restore::Safety::None,
            timeout_ms: 0,
            participants: Vec::new(),
        };
        log.push(StreamId::restore(restore_id(number)), RestoreEvent::Requested(request));
    }
    assert_eq!(log.history.open_restores(), [restore_id(3), restore_id(1), restore_id(2)]);
    let done = RestoreCompletedV1 { files: 0, bytes: 0, warnings: 0 };
    let failure = Failure::new(FailureKind::Fatal, "CODE", "it did not work");
    log.push(StreamId::restore(restore_id(3)), RestoreEvent::Completed(done));
    log.push(StreamId::restore(restore_id(2)), RestoreEvent::Failed(RestoreFailedV1 { failure }));
    assert_eq!(log.history.open_restores(), [restore_id(1)]);
    let newest: Vec<_> = log.history.restores_newest_first().map(|entry| entry.restore_id).collect();
    assert_eq!(newest, [restore_id(2), restore_id(1), restore_id(3)]);
    let ends = |after| log.history.restore_ends_after(Position(after)).collect::<Vec<_>>();
    assert_eq!(ends(0), [(Position(4), restore_id(3)), (Position(5), restore_id(2))]);
    assert_eq!(ends(4), [(Position(5), restore_id(2))]);
    assert_eq!(log.history.restore(restore_id(3)).and_then(|entry| entry.ended), Some(Position(4)));
    assert_eq!(log.history.restore(restore_id(9)), None);
}

#[test]
fn ends_are_listed_from_a_position_in_the_order_they_came() {
    let mut log = Log::default();
    log.requested(1).requested(2);
    log.now = Timestamp(7);
    log.published(2, Outcome::Failed).published(1, Outcome::Completed);
    let ends = |after| log.history.ends_after(Position(after)).collect::<Vec<_>>();
    assert_eq!(ends(0), [(Position(3), id(2)), (Position(4), id(1))]);
    assert_eq!((ends(3), ends(4)), (vec![(Position(4), id(1))], vec![]));
    let entry = log.history.run(id(2)).expect("known");
    assert_eq!((entry.ended, entry.ended_at, entry.trigger), (Some(Position(3)), Some(Timestamp(7)), Trigger::Manual));
}

#[test]
fn an_entry_knows_its_lock_and_its_last_good_verification() {
    let mut log = Log::default();
    let verified = |ok| RunEvent::Verified(RunVerifiedV1 { ok, files: 1, bytes: 1, errors: Warnings::default() });
    log.requested(1).published(1, Outcome::Completed).run(1, RunEvent::Locked(RunLockedV1 { reason: "x".into() }));
    assert!(log.history.run(id(1)).is_some_and(|entry| entry.locked && entry.verified_at.is_none()));
    log.now = Timestamp(5);
    log.run(1, verified(true)).run(1, RunEvent::Unlocked(RunUnlockedV1 {}));
    log.now = Timestamp(6);
    log.run(1, verified(false));
    let entry = log.history.run(id(1)).expect("known");
    assert_eq!((entry.locked, entry.verified_at), (false, Some(Timestamp(5))));
}

#[test]
fn a_key_leads_its_principal_to_the_newest_run_for_a_day() {
    const DAY: i64 = 24 * 3600 * 1_000_000;
    let mut log = Log { principal: "ada".into(), key: "nightly".into(), ..Log::default() };
    log.requested(1);
    let find = |log: &Log, who: &str, key: &str, now| log.history.by_key(who, key, Timestamp(now));
    assert_eq!(find(&log, "ada", "nightly", DAY - 1), Some(id(1)));
    assert_eq!(find(&log, "ada", "nightly", -DAY), Some(id(1)), "a clock that stepped back forgets nothing");
    assert_eq!(find(&log, "ada", "nightly", DAY), None);
    assert_eq!((find(&log, "bob", "nightly", 0), find(&log, "ada", "", 0)), (None, None));
    log.now = Timestamp(DAY);
    log.requested(2);
    assert_eq!(find(&log, "ada", "nightly", DAY + 1), Some(id(2)));
    log.key = String::new();
    log.requested(3);
    assert_eq!(find(&log, "ada", "", DAY), None);
}

#[test]
fn the_oldest_keys_go_first() {
    let mut log = Log::default();
    let again = |log: &mut Log, counter: u32, key: u32| {
        log.key = format!("k{key}");
        log.requested(counter);
    };
    (1..=10_000).for_each(|number| again(&mut log, number, number));
    again(&mut log, 20_000, 1);
    assert_eq!(log.history.by_key("", "k2", Timestamp(0)), Some(id(2)), "a key that is used again takes no more room");
    again(&mut log, 20_001, 20_001);
    let find = |key: &str| log.history.by_key("", key, Timestamp(0)).map(RunId::counter);
    assert_eq!((find("k1"), find("k2"), find("k3"), find("k20001")), (Some(20_000), None, Some(3), Some(20_001)));
}

#[test]
fn events_of_others_only_move_the_place() {
    let mut log = Log::default();
    let created = HomeCreatedV1 { server_id: Uuid::nil(), app_version: "0.1.0".into() };
    log.push(StreamId::system(), crate::event::SystemEvent::HomeCreated(created));
    log.published(7, Outcome::Completed);
    assert_eq!((log.history.folded_to(), log.history.newest_first().count()), (Position(2), 0));
}

fn import(log: &mut Log, counter: u32, server: u128) {
    use crate::run::{Consistency, RunImportCompletedV1, RunImportRequestedV1, RunImportedV1};
    let server_id = Uuid::from_u128(server);
    let endpoint = "offsite".parse().expect("a name");
    let wish = RunImportRequestedV1 { run_id: id(counter), endpoint, server_id, overwrite: true };
    let facts = RunImportedV1 {
        run_id: id(counter),
        server_id,
        run_type: RunType::Full,
        trigger: Trigger::Manual,
        outcome: Outcome::Completed,
        attempt: 1,
        started_at: Timestamp(0),
        finished_at: Timestamp(1),
        error_summary: String::new(),
        requested_by: String::new(),
        job: String::new(),
        compression: String::new(),
        consistency: Consistency::Concurrent,
        barrier_at: None,
        held_us: 0,
        encryption: Encryption::None,
        masked: false,
        participants: 1,
        sums_sha256: crate::ids::Sha256([0; 32]),
    };
    log.run(counter, RunEvent::ImportRequested(wish)).run(counter, RunEvent::Imported(facts));
    assert_eq!(log.history.importing().collect::<Vec<_>>(), [id(counter)]);
    log.run(counter, RunEvent::ImportCompleted(RunImportCompletedV1 {}));
    assert_eq!(log.history.importing().count(), 0);
}

#[test]
fn what_comes_back_in_any_order_is_as_new_as_its_number_says_and_foreign_runs_are_never_the_latest() {
    let mut log = Log::default();
    let created = HomeCreatedV1 { server_id: Uuid::from_u128(1), app_version: String::new() };
    log.push(StreamId::system(), SystemEvent::HomeCreated(created));
    for counter in [9, 7, 8] {
        import(&mut log, counter, 1);
    }
    import(&mut log, 70, 2);
    assert_eq!(log.latest(), (Some(9), vec![]));
    assert_eq!(log.history.highest_counter(), 70, "no number is used twice");
    let entry = *log.history.run(id(70)).expect("it is listed");
    assert!(entry.foreign && entry.imported && entry.is_good());
    assert_eq!(log.history.open().count(), 0);
    assert_eq!(
        log.history.newest_first().next().map(|entry| entry.run_id),
        Some(id(70)),
        "lists have it where it came"
    );
    log.requested(71);
    assert_eq!(log.latest(), (Some(9), vec![71]));
}
