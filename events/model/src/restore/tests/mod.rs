//! Restores that are recorded only, and those into modules.

mod modules;

use super::*;
use crate::failure::FailureKind;
use crate::given::{Given, given};
use crate::ids::{RestoreId, RunId};

fn request() -> RestoreRequestedV3 {
    RestoreRequestedV3 {
        restore_id: RestoreId(uuid::Uuid::from_u128(1)),
        source_run: RunId::new(Timestamp(0), 1),
        target: "/srv/out".into(),
        staging: b"/srv/.out.staging".to_vec(),
        selections: 0,
        overwrite: false,
        delete: false,
        force: false,
        safety: Safety::None,
        timeout_ms: 0,
        participants: Vec::new(),
    }
}

fn running() -> Given<Restore> {
    given([RestoreEvent::Requested(request())])
}

const DONE: RestoreCompletedV1 = RestoreCompletedV1 { files: 3, bytes: 9, warnings: 0 };

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "CODE", "it did not work")
}

#[test]
fn a_restore_completes_once() {
    let run = given::<Restore>([])
        .when(RestoreCommand::Request(request()))
        .then([RestoreEvent::Requested(request())])
        .seconds_later(5)
        .when(RestoreCommand::Complete(DONE))
        .then([RestoreEvent::Completed(DONE)]);
    let state = run.state();
    assert_eq!((state.status, state.finished_at), (RestoreStatus::Completed, Some(Timestamp(5_000_000))));
    run.clone().when(RestoreCommand::Complete(DONE)).refused(RestoreRefusal::NotRunning);
    run.clone().when(RestoreCommand::Fail(failure(FailureKind::Fatal))).refused(RestoreRefusal::NotRunning);
    run.when(RestoreCommand::Request(request())).refused(RestoreRefusal::Exists);
}

#[test]
fn a_restore_fails_with_its_reason_and_a_stopped_one_is_called_cancelled() {
    for (kind, status) in [
        (FailureKind::Retryable, RestoreStatus::Failed),
        (FailureKind::Fatal, RestoreStatus::Failed),
        (FailureKind::Timeout, RestoreStatus::Failed),
        (FailureKind::Resource, RestoreStatus::Failed),
        (FailureKind::Cancelled, RestoreStatus::Cancelled),
    ] {
        let failed = RestoreEvent::Failed(RestoreFailedV1 { failure: failure(kind) });
        let run = running().when(RestoreCommand::Fail(failure(kind))).then([failed]);
        assert_eq!((run.state().status, run.state().error_summary.as_str()), (status, "it did not work (CODE)"));
    }
}

#[test]
fn a_restore_that_was_not_asked_for_has_no_end() {
    let none = || given::<Restore>([]);
    none().when(RestoreCommand::Complete(DONE)).refused(RestoreRefusal::NotRunning);
    none().when(RestoreCommand::Fail(failure(FailureKind::Fatal))).refused(RestoreRefusal::NotRunning);
    running().when(RestoreCommand::Request(request())).refused(RestoreRefusal::Exists);
}

#[test]
fn the_longest_paths_fit_an_event_and_longer_ones_are_refused() {
    let longest = RestoreRequestedV3 { staging: vec![0xff; MAX_PATH], target: "ä".repeat(MAX_PATH), ..request() };
    let asked = given::<Restore>([]).when(RestoreCommand::Request(longest.clone()));
    assert!(asked.decision().as_ref().expect("granted").iter().all(|event| event.encode().is_ok()));
    let longer = RestoreRequestedV3 { staging: vec![0xff; MAX_PATH + 1], ..longest };
    given::<Restore>([]).when(RestoreCommand::Request(longer)).refused(RestoreRefusal::PathTooLong);
}

#[test]
fn a_restore_is_shown_from_what_is_recorded() {
    let view = |run: &Given<Restore>, owned| run.state().view(owned).expect("asked for");
    assert_eq!(given::<Restore>([]).state().view(true), None);
    let run = running().seconds_later(5);
    assert_eq!(
        (view(&run, true).status, view(&run, false).status),
        (RestoreStatus::Running, RestoreStatus::Interrupted)
    );
    let done = view(&run.clone().when(RestoreCommand::Complete(DONE)).granted(), false);
    assert_eq!((done.status, done.files, done.bytes, done.finished_at), (RestoreStatus::Completed, 3, 9, 5));
    assert_eq!((done.target.as_str(), done.safety.as_str(), done.participants.len()), ("/srv/out", "none", 0));
    let failed = view(&run.when(RestoreCommand::Fail(failure(FailureKind::Fatal))).granted(), false);
    assert_eq!((failed.status, failed.error_summary.as_str()), (RestoreStatus::Failed, "it did not work (CODE)"));
}

#[test]
fn as_many_participants_as_an_event_holds_are_recorded_and_shown_and_more_are_refused() {
    let one =
        RestoredParticipantV1 { name: "p".repeat(64).parse().expect("a name"), kind: "command".into(), critical: true };
    let of = |count: usize| RestoreRequestedV3 {
        staging: Vec::new(),
        target: "t".repeat(1024),
        delete: false,
        force: true,
        safety: Safety::BestEffort,
        timeout_ms: 0,
        participants: vec![one.clone(); count],
        ..request()
    };
    let asked = given::<Restore>([]).when(RestoreCommand::Request(of(60)));
    assert!(asked.decision().as_ref().expect("granted").iter().all(|event| event.encode().is_ok()));
    given::<Restore>([]).when(RestoreCommand::Request(of(61))).refused(RestoreRefusal::TooManyParticipants);
    let cut_short = Failure::new(FailureKind::Cancelled, CUT_SHORT, "half done");
    let run = given::<Restore>([RestoreEvent::Requested(of(1))]).when(RestoreCommand::Fail(cut_short)).granted();
    let view = run.state().view(true).expect("asked for");
    let row = &view.participants.first().expect("recorded").participant;
    assert_eq!(
        (view.force, view.safety.as_str(), row.status.as_str(), row.ok),
        (true, "best_effort", "cancelled", false)
    );
    assert_eq!((row.critical, row.error.as_str()), (true, "half done (RESTORE_CUT_SHORT)"));
}
