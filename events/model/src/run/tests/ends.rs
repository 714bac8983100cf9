//! Sealing, publishing, and what may become of a run that has ended.

use super::*;
use crate::aggregate::Aggregate;

#[test]
fn a_sealed_run_is_published_where_its_end_belongs() {
    sealing(PAIR)
        .when(sealed())
        .then_do([publish_requested(Target::Completed)], [RunEffect::Publish(Target::Completed)])
        .when(RunCommand::Published { copies: Vec::new() })
        .then_do([published(Outcome::Completed)], [RunEffect::Ended]);
    for (outcome, target) in [
        (Outcome::Partial, Target::Completed),
        (Outcome::Failed, Target::Failed),
        (Outcome::Cancelled, Target::Failed),
        (Outcome::Timeout, Target::Failed),
    ] {
        let run = sealing(PAIR).and([classified(outcome, "")]).when(sealed()).then([publish_requested(target)]);
        let run = run.when(RunCommand::Published { copies: Vec::new() }).then([published(outcome)]);
        assert_eq!((run.state().outcome(), run.state().target()), (Some(outcome), Some(target)));
    }
}

#[test]
fn damage_found_while_sealing_fails_its_participant_and_calls_the_run_anew() {
    let bad = failure(FailureKind::Fatal);
    let run = sealing(PAIR).when(damage("site")).then_do(
        [failed("site", bad.clone()), classified(Outcome::Partial, "site: it did not work (CODE)")],
        [RunEffect::Seal],
    );
    assert_eq!(run.state().good_artifacts().count(), 1);
    let summary = "db: it did not work (CODE); site: it did not work (CODE)";
    run.when(damage("db")).then_do([failed("db", bad), classified(Outcome::Failed, summary)], [RunEffect::Seal]);
}

#[test]
fn damage_found_after_the_rename_switches_the_target() {
    publishing(PAIR)
        .when(damage("db"))
        .then_do(
            [failed("db", failure(FailureKind::Fatal)), classified(Outcome::Failed, "db: it did not work (CODE)")],
            [RunEffect::Seal],
        )
        .when(sealed())
        .then_do([publish_requested(Target::Failed)], [RunEffect::Publish(Target::Failed)]);
}

#[test]
fn damage_of_what_is_not_good_is_refused_since_sealing_again_would_never_end() {
    let partial = working(PAIR)
        .and([failed("db", failure(FailureKind::Fatal)), begun("site"), stored("site"), completed("site")])
        .and([classified(Outcome::Failed, "")]);
    partial.clone().when(damage("db")).refused(Refusal::OutOfOrder);
    partial.clone().when(damage("nobody")).refused(Refusal::OutOfOrder);
    partial.when(RunCommand::SealFoundDamage(Vec::new())).refused(Refusal::OutOfOrder);
}

#[test]
fn damage_never_makes_an_end_better() {
    let plan: &Plan = &[("db", CRITICAL), ("site", OPTIONAL)];
    // Given up after the last attempt, although all there was is good.
    let given_up = sealing(plan).and([classified(Outcome::Failed, "interrupted in attempt 3 of 3")]);
    let run = given_up.when(damage("site")).granted();
    assert_eq!(run.state().outcome(), Some(Outcome::Failed));
    let cancelled = working(plan).and([cancel_requested(), stored("db"), completed("db"), cancelled("site")]);
    let run = cancelled.and([classified(Outcome::Cancelled, "")]).when(damage("db")).granted();
    assert_eq!(run.state().outcome(), Some(Outcome::Cancelled));
}

#[test]
fn a_run_that_loses_its_directory_has_no_good_participant() {
    let lost = || RunCommand::DirectoryLost(failure(FailureKind::Resource));
    for at in [sealing(PAIR), publishing(PAIR)] {
        let run = at.when(lost()).then_do(
            [
                failed("db", failure(FailureKind::Resource)),
                failed("site", failure(FailureKind::Resource)),
                ended(Outcome::Failed, "it did not work (CODE)"),
            ],
            [RunEffect::Ended],
        );
        assert_eq!(run.state().good_artifacts().count(), 0);
        let view = run.state().view(true).expect("requested");
        assert_eq!((view.status, view.path.as_str(), view.stored_bytes), (RunStatus::Failed, "", 0));
        assert!(view.participants.iter().all(|row| !row.ok && row.artifacts.is_empty()));
    }
}

#[test]
fn a_kept_run_is_verified_and_says_what_was_not_as_recorded() {
    let good = kept(PAIR).when(RunCommand::Verified(verified(true))).then_do([RunEvent::Verified(verified(true))], []);
    assert!(good.state().last_verified().is_some_and(|last| last.ok));

    let mut bad = verified(false);
    bad.errors.add("db.lz4: 40 bytes, not 41");
    let run = good.when(RunCommand::Verified(bad.clone())).then([RunEvent::Verified(bad)]);
    let view = run.state().view(true).expect("requested");
    let of = |n: usize| &view.participants[n].artifacts[0];
    assert_eq!((of(0).validation_ok, of(0).validation_error.as_str()), (false, "40 bytes, not 41"));
    assert_eq!((of(1).validation_ok, of(1).integrity_ok), (true, true));
    assert_eq!(view.status, RunStatus::Completed, "an end is final");
}

#[test]
fn where_a_verification_lists_not_all_damage_every_unlisted_file_is_in_doubt() {
    let errors = Warnings { count: 40, first: vec!["db.lz4: gone".into()] };
    let run = kept(PAIR).and([RunEvent::Verified(RunVerifiedV1 { errors, ..verified(false) })]);
    let view = run.state().view(true).expect("requested");
    assert!(view.participants.iter().all(|row| row.artifacts.iter().all(|artifact| !artifact.validation_ok)));
}

#[test]
fn damage_that_is_of_no_artifact_puts_all_of_them_in_doubt() {
    let errors = Warnings { count: 1, first: vec!["SHA256SUMS: missing".into()] };
    let run = kept(PAIR).and([RunEvent::Verified(RunVerifiedV1 { errors, ..verified(false) })]);
    let view = run.state().view(true).expect("requested");
    assert!(view.participants.iter().all(|row| row.artifacts.iter().all(|artifact| !artifact.validation_ok)));
}

#[test]
fn a_run_is_deleted_in_two_steps_and_once() {
    let run = kept(PAIR).when(RunCommand::Delete).then_do([deletion()], [RunEffect::Delete]);
    assert_eq!((run.state().retained(), run.state().path()), (Retained::Deleting, String::new()));
    let run = run.when(RunCommand::Delete).then([]).when(RunCommand::Deleted).then_do([deleted()], []);
    assert_eq!(run.state().retained(), Retained::Deleted);
    run.clone().when(RunCommand::Delete).refused(Refusal::Deleted);
    run.when(RunCommand::Verified(verified(true))).refused(Refusal::Deleted);
}

#[test]
fn a_run_that_cannot_be_deleted_is_kept_and_says_why() {
    let run = kept(PAIR).and([deletion()]).when(RunCommand::DeleteFailed(failure(FailureKind::Retryable))).granted();
    assert_eq!(
        (run.state().retained(), run.state().delete_failure()),
        (Retained::Kept, Some(&failure(FailureKind::Retryable)))
    );
    run.when(RunCommand::Delete).then_do([deletion()], [RunEffect::Delete]);
}

#[test]
fn a_run_without_a_directory_can_be_deleted_from_the_list() {
    let run = queued(PAIR).when(cancel()).granted();
    run.when(RunCommand::Delete).then([deletion()]).when(RunCommand::Deleted).then([deleted()]);
}

#[test]
fn the_path_follows_the_directory() {
    let id = "19700101-000000-000001";
    let path = |run: &Given<Run>| run.state().path();
    assert_eq!(path(&queued(PAIR)), "");
    for open in [preparing(PAIR), working(PAIR), sealing(PAIR), publishing(PAIR)] {
        assert_eq!(path(&open), format!("backups/.running/{id}"));
    }
    assert_eq!(path(&kept(PAIR)), format!("backups/completed/{id}"));
    let failed = sealing(PAIR).and([publish_requested(Target::Failed), published(Outcome::Failed)]);
    assert_eq!(path(&failed), format!("backups/failed/{id}"));
}

#[test]
fn an_open_run_that_nobody_works_on_shows_as_interrupted() {
    for open in [queued(PAIR), preparing(PAIR), working(PAIR), sealing(PAIR), publishing(PAIR)] {
        assert_eq!(open.state().status(false), RunStatus::Interrupted);
        assert!(open.state().is_open());
        assert_eq!(open.state().view(false).expect("requested").finished_at, 0);
    }
    assert_eq!(queued(PAIR).state().status(true), RunStatus::Queued);
    assert_eq!(sealing(PAIR).state().status(true), RunStatus::Running, "not completed before it is published");
    assert_eq!(kept(PAIR).state().status(false), RunStatus::Completed);
    assert_eq!(Run::default().view(true), None);
}

#[test]
fn a_view_has_the_fields_of_the_wire_contract() {
    let view = kept(PAIR).seconds_later(5).state().view(true).expect("requested");
    let json = serde_json::to_value(&view).expect("json");
    let keys = |value: &serde_json::Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    for key in ["run_id", "type", "trigger", "status", "path", "started_at", "finished_at", "error_summary"] {
        assert!(keys(&json).contains(&key.to_owned()), "{key}");
    }
    assert_eq!((json["status"].as_str(), json["type"].as_str()), (Some("completed"), Some("full")));
    assert_eq!((json["size_bytes"].as_u64(), json["stored_bytes"].as_u64()), (Some(200), Some(80)));
    let artifact = &json["participants"][0]["artifacts"][0];
    assert_eq!(artifact["path"], "backups/completed/19700101-000000-000001/db.lz4");
    assert_eq!(artifact["sha256"], Sha256([4; 32]).to_string());
    assert_eq!(serde_json::from_value::<RunView>(json).expect("reads back"), view);
    assert_eq!(kept(PAIR).state().effects(&[]), []);
}
