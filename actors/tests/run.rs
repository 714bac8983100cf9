//! Runs through their actors, with the log in memory and ports that fail on purpose.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

mod world;

use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::run::{CopyStatus, Outcome, ParticipantStatus, RemoteStatus, Run, Stage};
use world::{Fault, TestWorld};

#[test]
fn a_run_is_completed_and_every_step_of_it_is_recorded() {
    let world = TestWorld::new(Fault::None);
    let run = world.back_up(&["one", "two"]);
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    assert!(run.participants().iter().all(|participant| participant.artifacts.len() == 1));
    assert_eq!(world.replayed(), *run, "what was shown is what a replay shows");
    assert_eq!(world.calls(), ["prepare", "drive one", "drive two", "seal", "publish"]);
}

#[test]
fn a_participant_that_fails_fails_the_run_with_its_reason_and_not_the_others() {
    let failure = Failure::new(FailureKind::Fatal, "SOURCE_EMPTY", "nothing there");
    let world = TestWorld::new(Fault::Participant("one", failure));
    let run = world.back_up(&["one", "two"]);
    assert_eq!(run.outcome(), Some(Outcome::Failed));
    assert!(run.error_summary().contains("SOURCE_EMPTY"));
    assert_eq!(run.participants()[1].status, ParticipantStatus::Completed);
}

#[test]
fn a_failure_that_another_try_may_mend_is_tried_again_while_others_work() {
    let failure = Failure::new(FailureKind::Retryable, "CONNECTION_REFUSED", "not there yet");
    let world = TestWorld::new(Fault::Participant("one", failure));
    let run = world.back_up(&["one", "two"]);
    assert_eq!((run.outcome(), run.participants()[0].tries), (Some(Outcome::Failed), 3));
    let drives: Vec<_> = world.calls().into_iter().filter(|call| call.starts_with("drive")).collect();
    assert_eq!(drives.iter().filter(|call| *call == "drive one").count(), 3, "{drives:?}");
    assert_eq!(drives[1], "drive two", "the pause is nobody else's: {drives:?}");
    assert_eq!(world.replayed(), *run);
}

#[test]
fn a_participant_in_quarantine_is_tried_once_by_each_run_until_it_is_good() {
    let failure = Failure::new(FailureKind::Retryable, "CONNECTION_REFUSED", "not there yet");
    let world = TestWorld::new(Fault::Participant("one", failure));
    let tries: Vec<_> = world
        .back_up_together(&[&["one"], &["one"], &["one"], &["one"]])
        .iter()
        .map(|run| run.participants()[0].tries)
        .collect();
    assert_eq!(tries, [3, 2, 1, 1], "the fifth failure in a row ends the retries");
}

#[test]
fn what_does_not_return_is_given_up_and_begun_again_only_when_it_has_returned() {
    let world = TestWorld::new(Fault::Stuck("one"));
    let runs = world.back_up_together(&[&["one", "two"], &["one", "two"]]);
    let codes = runs.iter().map(|run| run.participants()[0].failure.as_ref().unwrap().code.as_str());
    assert_eq!(codes.collect::<Vec<_>>(), ["PARTICIPANT_TIMEOUT", "PARTICIPANT_STUCK"]);
    assert_eq!(runs[0].participants()[0].status, ParticipantStatus::Timeout);
    assert!(runs.iter().all(|run| run.participants()[1].status == ParticipantStatus::Completed));
    assert_eq!(world.calls().iter().filter(|call| *call == "drive one").count(), 1, "never beside itself");
}

#[test]
fn damage_found_when_the_artifacts_are_read_again_is_never_called_completed() {
    let world = TestWorld::new(Fault::DamageAtSeal("two"));
    let run = world.back_up(&["one", "two"]);
    assert_eq!(run.outcome(), Some(Outcome::Failed));
    assert_eq!(run.participants()[1].status, ParticipantStatus::Failed);
    assert_eq!(world.calls().iter().filter(|call| *call == "seal").count(), 2, "the rest is sealed again");
}

#[test]
fn an_actor_that_panics_is_started_again_from_its_stream() {
    for call in ["prepare", "seal", "publish"] {
        let world = TestWorld::new(Fault::PanicOnce(call));
        let run = world.back_up(&["one", "two"]);
        assert_eq!(run.outcome(), Some(Outcome::Completed), "after a panic in {call}");
        assert_eq!(world.replayed(), *run);
    }
}

#[test]
fn a_participants_actor_that_panics_is_started_again_and_its_participant_tried_again() {
    let world = TestWorld::new(Fault::PanicOnce("drive one"));
    let run = world.back_up(&["one", "two"]);
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    assert_eq!(run.participants()[0].tries, 2);
    assert_eq!(world.replayed(), *run);
}

#[test]
fn a_participants_actor_that_panics_at_each_try_fails_its_participant_and_no_other() {
    let world = TestWorld::new(Fault::PanicAlways("drive one"));
    let run = world.back_up(&["one", "two"]);
    assert_eq!((run.outcome(), run.participants()[0].tries), (Some(Outcome::Failed), 3));
    assert!(run.error_summary().contains("PARTICIPANT_ACTOR_DIED"), "{}", run.error_summary());
    assert_eq!(run.participants()[1].status, ParticipantStatus::Completed);
}

#[test]
fn an_actor_that_always_panics_leaves_the_run_to_the_next_process() {
    let world = TestWorld::new(Fault::PanicAlways("seal"));
    let reason = world.back_up_until_lost(&["one"]);
    assert!(reason.contains("the next start resumes it"), "{reason}");
    assert_eq!(world.replayed().stage(), Stage::Sealing);
}

#[test]
fn a_log_that_takes_nothing_more_is_said_and_nothing_is_acted_on() {
    let world = TestWorld::new(Fault::LogAfter(6));
    let reason = world.back_up_until_lost(&["one"]);
    assert!(reason.contains("failed sync on purpose"), "{reason}");
    assert!(!world.calls().contains(&"publish".to_owned()));
}

#[test]
fn a_full_disk_gives_up_the_reserve_and_goes_on() {
    let world = TestWorld::new(Fault::NoSpaceOnceAfter(6));
    let run = world.back_up(&["one"]);
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    assert!(world.calls().contains(&"release".to_owned()));
}

#[test]
fn runs_wait_for_their_turn_in_the_order_of_their_requests() {
    let world = TestWorld::new(Fault::None);
    let ends = world.back_up_together(&[&["one"], &["two"], &["three"]]);
    assert!(ends.iter().all(|run| run.outcome() == Some(Outcome::Completed)));
    let drives: Vec<_> = world.calls().into_iter().filter(|call| call.starts_with("drive")).collect();
    assert_eq!(drives, ["drive one", "drive two", "drive three"]);
}

#[test]
fn a_cancelled_run_stops_its_participant_and_says_so() {
    let world = TestWorld::new(Fault::WaitForStop("one"));
    let run = world.cancel_when_at_work(&["one", "two"]);
    assert_eq!(run.outcome(), Some(Outcome::Cancelled));
    assert!(run.participants().iter().all(|participant| participant.status == ParticipantStatus::Cancelled));
}

fn copies(run: &Run) -> Vec<(&str, CopyStatus, u32)> {
    run.copies().iter().map(|copy| (copy.endpoint.as_str(), copy.status, copy.tries)).collect()
}

#[test]
fn copies_go_to_each_endpoint_after_publish_and_one_that_is_not_there_says_so() {
    let world = TestWorld::new(Fault::None);
    let run = world.copy_to(&["a", "b"]);
    let there = CopyStatus::Uploaded;
    assert_eq!(copies(&run), [("a", there, 1), ("b", there, 1), ("nowhere", CopyStatus::Failed, 0)]);
    assert_eq!(run.copies()[2].failure.as_ref().unwrap().code, "ENDPOINT_MISSING");
    assert_eq!((run.outcome(), run.remote_status()), (Some(Outcome::Completed), RemoteStatus::Partial));
    let calls = world.calls();
    let at = |call: &str| calls.iter().position(|one| one == call).unwrap();
    assert!(at("publish") < at("upload a") && at("publish") < at("upload b"), "{calls:?}");
    assert_eq!(world.replayed(), *run);
}

#[test]
fn an_upload_is_tried_again_as_often_as_its_endpoint_says_and_the_others_go_on() {
    let failure = || Failure::new(FailureKind::Retryable, "REMOTE_UNAVAILABLE", "not there yet");
    let world = TestWorld::new(Fault::Uploads("a", 2, failure()));
    let run = world.copy_to(&["a", "b"]);
    assert_eq!(copies(&run)[..2], [("a", CopyStatus::Uploaded, 3), ("b", CopyStatus::Uploaded, 1)]);
    assert_eq!(world.endpoint("a").health().as_str(), "healthy", "it has recovered");

    let world = TestWorld::new(Fault::Uploads("a", 9, failure()));
    let run = world.copy_to(&["a", "b"]);
    assert_eq!(copies(&run)[..2], [("a", CopyStatus::Failed, 3), ("b", CopyStatus::Uploaded, 1)]);
    assert_eq!(run.outcome(), Some(Outcome::Completed), "its own end stays what it was");
    let health = world.endpoint("a").health().clone();
    assert_eq!((health.as_str(), health.failures()), ("degraded", 3));

    let broken = Failure::new(FailureKind::Fatal, "REMOTE_CREDENTIALS", "who are you");
    let run = TestWorld::new(Fault::Uploads("a", 9, broken)).copy_to(&["a"]);
    assert_eq!(copies(&run)[0], ("a", CopyStatus::Failed, 1), "trying again mends nothing");
}

#[test]
fn an_endpoints_actor_that_panics_is_started_again_and_its_uploads_are_made() {
    let world = TestWorld::new(Fault::PanicOnce("upload a"));
    let run = world.copy_to(&["a", "b"]);
    assert_eq!(copies(&run)[..2], [("a", CopyStatus::Uploaded, 1), ("b", CopyStatus::Uploaded, 1)]);
}

#[test]
fn a_restore_goes_step_by_step_and_lets_go_at_its_end() {
    let world = TestWorld::new(Fault::None);
    let restore = world.restore(&["a", "b"]);
    assert_eq!((restore.status.as_str(), restore.is_touched()), ("completed", true));
    let calls = world.calls();
    let names: Vec<_> = calls.iter().map(|call| call.split('(').next().unwrap_or_default()).collect();
    let expected = ["Verify", "Quiesce", "Snapshot", "Stage", "Stage", "Commit", "Commit", "Check", "Check", "release"];
    assert_eq!(names, expected);
}

#[test]
fn a_restore_whose_commit_fails_is_put_back_before_it_lets_go() {
    let failure = Failure::new(FailureKind::Fatal, "BROKEN", "it is broken");
    let world = TestWorld::new(Fault::Participant("b", failure));
    let restore = world.restore(&["a", "b"]);
    assert_eq!(restore.status.as_str(), "rolled_back");
    let calls = world.calls();
    let names: Vec<_> = calls.iter().map(|call| call.split('(').next().unwrap_or_default()).collect();
    assert_eq!(names[5..], ["Commit", "Commit", "RollBack", "RollBack", "Discard", "release"]);
}

#[test]
fn a_restore_whose_actor_panics_before_the_decision_is_undone_by_the_next() {
    let world = TestWorld::new(Fault::PanicOnce("Snapshot"));
    let restore = world.restore(&["a"]);
    assert_eq!((restore.status.as_str(), restore.is_touched()), ("failed", false));
    assert!(restore.error_summary.contains("RESTORE_INTERRUPTED"), "{}", restore.error_summary);
    assert_eq!(world.calls()[3..], ["Discard", "release"]);
}
