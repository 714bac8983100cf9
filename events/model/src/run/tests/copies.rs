//! Copies of a run on endpoints.

use super::*;
use crate::ids::EndpointName;
use crate::run::{
    Copies, CopiesPlannedV2, CopyStatus, Elsewhere, LocalCopyRemovalRequestedV1, Places, RemoteCopyDeletedV1,
    RemoteStatus, RequireEndpoints, Retained, RunDeleteRequestedV1, Staging, UploadCheck, UploadCompletedV2,
    UploadFailedV1, UploadInterruptedV1, UploadStartedV1, UploadStreamStartedV1, Uploaded, UploadsRequestedV1,
};

fn at(text: &str) -> EndpointName {
    text.parse().expect("a name")
}

/// A run with a copy planned at each of these, about to be published.
fn planned(endpoints: &[&str], require: RequireEndpoints, keep_local: bool) -> Given<Run> {
    let endpoints = endpoints.iter().map(|name| at(name)).collect();
    let plan = RunEvent::CopiesPlanned(CopiesPlannedV2 { endpoints, require, keep_local, staging: Staging::Local });
    publishing(PAIR).and([plan])
}

fn published_to(endpoints: &[&str], require: RequireEndpoints, keep_local: bool) -> Given<Run> {
    planned(endpoints, require, keep_local).and([published(Outcome::Completed)])
}

fn begins(endpoint: &str) -> RunCommand {
    RunCommand::UploadBegins { endpoint: at(endpoint), max_tries: 2, retry_delay_ms: 1000 }
}

fn started(endpoint: &str, try_number: u32) -> RunEvent {
    RunEvent::UploadStarted(UploadStartedV1 { endpoint: at(endpoint), try_number, max_tries: 2, retry_delay_ms: 1000 })
}

fn uploaded(endpoint: &str, try_number: u32) -> RunCommand {
    let result =
        Ok(Uploaded { stored_bytes: 500, sent_bytes: 400, check: UploadCheck::Hash, address: address(endpoint) });
    RunCommand::UploadEnded { endpoint: at(endpoint), try_number, result }
}

fn completed(endpoint: &str) -> RunEvent {
    let check = UploadCheck::Hash;
    RunEvent::UploadCompleted(UploadCompletedV2 {
        endpoint: at(endpoint),
        stored_bytes: 500,
        sent_bytes: 400,
        check,
        address: Some(address(endpoint)),
    })
}

fn fails(endpoint: &str, try_number: u32, kind: FailureKind) -> RunCommand {
    RunCommand::UploadEnded { endpoint: at(endpoint), try_number, result: Err(failure(kind)) }
}

fn failed(endpoint: &str, kind: FailureKind) -> RunEvent {
    RunEvent::UploadFailed(UploadFailedV1 { endpoint: at(endpoint), failure: failure(kind) })
}

fn address(endpoint: &str) -> String {
    format!("file:///far/{endpoint}")
}

/// These endpoints, each where it was when its copies came.
fn places(endpoints: &[&str]) -> Places {
    let mut places = Places::default();
    endpoints.iter().for_each(|name| places.note(at(name), address(name), Timestamp(0)));
    places
}

fn leave(endpoints: &[&str]) -> RunCommand {
    RunCommand::Leave(places(endpoints))
}

fn removal() -> RunEvent {
    RunEvent::LocalCopyRemovalRequested(LocalCopyRemovalRequestedV1 {})
}

fn status(run: &Given<Run>, endpoint: &str) -> CopyStatus {
    run.state().copy_at(&at(endpoint)).expect("a copy").status
}

#[test]
fn copies_are_offered_once_the_run_is_published_and_not_before() {
    let run = planned(&["a", "b"], RequireEndpoints::None, true);
    assert_eq!(run.state().remote_status(), RemoteStatus::None);
    run.clone().when(begins("a")).refused(Refusal::OutOfOrder);
    let run = run.when(RunCommand::Published { copies: Vec::new() }).then_do(
        [published(Outcome::Completed)],
        [RunEffect::Ended, RunEffect::OfferUpload(at("a")), RunEffect::OfferUpload(at("b"))],
    );
    assert_eq!((run.state().remote_status(), status(&run, "a")), (RemoteStatus::Uploading, CopyStatus::Pending));
    let upload = RunEffect::Upload { endpoint: at("a"), try_number: 1 };
    let run = run.when(begins("a")).then_do([started("a", 1)], [upload]).when(begins("a")).refused(Refusal::OutOfOrder);
    let run = run.when(uploaded("a", 1)).then([completed("a")]);
    assert_eq!((run.state().remote_status(), status(&run, "a")), (RemoteStatus::Uploading, CopyStatus::Uploaded));
    let run = run.when(begins("b")).granted().when(uploaded("b", 1)).then([completed("b")]);
    assert_eq!(run.state().remote_status(), RemoteStatus::Completed);
    run.when(uploaded("b", 1)).refused(Refusal::OutOfOrder);
}

#[test]
fn what_failed_has_no_copies() {
    let run = sealing(PAIR).and([
        RunEvent::CopiesPlanned(CopiesPlannedV2 {
            endpoints: vec![at("a")],
            require: RequireEndpoints::All,
            keep_local: true,
            staging: Staging::Local,
        }),
        publish_requested(Target::Failed),
    ]);
    let run =
        run.and([RunEvent::Classified(RunClassifiedV1 { outcome: Outcome::Failed, error_summary: String::new() })]);
    let run = run.and([publish_requested(Target::Failed), published(Outcome::Failed)]);
    assert_eq!((run.state().remote_status(), run.state().is_good()), (RemoteStatus::None, false));
    assert!(run.state().was_given_up(), "what was streamed of it is of no use");
    run.when(RunCommand::UploadTo(vec![at("a")])).refused(Refusal::NotUploadable);
}

#[test]
fn a_try_that_may_be_mended_is_made_again_after_a_pause_and_the_last_one_is_not() {
    let run = published_to(&["a"], RequireEndpoints::All, true).when(begins("a")).granted();
    let run = run.when(fails("a", 1, FailureKind::Retryable)).granted();
    let copy = run.state().copy_at(&at("a")).expect("a copy").clone();
    assert!(copy.status == CopyStatus::Pending && copy.retry_at.is_some() && copy.failure.is_some(), "{copy:?}");
    run.clone().when(uploaded("a", 1)).refused(Refusal::OutOfOrder);
    let run = run.when(begins("a")).then([started("a", 2)]);
    let run = run.when(fails("a", 2, FailureKind::Timeout)).then([failed("a", FailureKind::Timeout)]);
    assert_eq!((run.state().remote_status(), run.state().is_good()), (RemoteStatus::Failed, false));

    let run = published_to(&["a", "b"], RequireEndpoints::Any, true).when(begins("a")).granted();
    let run = run.when(fails("a", 1, FailureKind::Fatal)).then([failed("a", FailureKind::Fatal)]);
    let run = run.when(begins("b")).granted().when(uploaded("b", 1)).granted();
    assert_eq!((run.state().remote_status(), run.state().is_good()), (RemoteStatus::Partial, true));
}

#[test]
fn what_failed_or_was_not_asked_for_is_uploaded_when_somebody_asks() {
    let asked = RunEvent::UploadsRequested(UploadsRequestedV1 { endpoints: vec![at("a")] });
    let run = kept(PAIR).when(RunCommand::UploadTo(vec![at("a"), at("a")]));
    let run = run.then_do([asked], [RunEffect::OfferUpload(at("a"))]);
    let run = run.when(RunCommand::UploadTo(vec![at("a")])).then([]);
    let refused = RunCommand::UploadRefused { endpoint: at("a"), failure: failure(FailureKind::Fatal) };
    let run = run.when(refused).then([failed("a", FailureKind::Fatal)]);
    let run = run.when(RunCommand::UploadTo(vec![at("a")])).granted().when(begins("a")).then([started("a", 1)]);
    let run = run.when(uploaded("a", 1)).then([completed("a")]);
    let again = RunEvent::UploadsRequested(UploadsRequestedV1 { endpoints: vec![at("a")] });
    let run = run.when(RunCommand::UploadTo(vec![at("a")])).then([again]);
    assert_eq!(status(&run, "a"), CopyStatus::Pending, "it is looked at again");
}

#[test]
fn what_another_process_left_is_offered_again_and_costs_no_try() {
    let run = published_to(&["a", "b"], RequireEndpoints::None, true).when(begins("a")).granted();
    let interrupted = |name| RunEvent::UploadInterrupted(UploadInterruptedV1 { endpoint: at(name) });
    let run = run.when(RunCommand::ResumeUploads { only: None }).then_do(
        [interrupted("a"), interrupted("b")],
        [RunEffect::OfferUpload(at("a")), RunEffect::OfferUpload(at("b"))],
    );
    run.clone().when(uploaded("a", 1)).refused(Refusal::OutOfOrder);
    run.when(begins("a")).then([started("a", 1)]);
    kept(PAIR).when(RunCommand::ResumeUploads { only: None }).then([]);
    working(PAIR).when(RunCommand::ResumeUploads { only: None }).then([]);
}

#[test]
fn uploads_are_cancelled_and_a_run_is_not_deleted_under_them() {
    let run = published_to(&["a"], RequireEndpoints::None, true).when(begins("a")).granted();
    let run = run.when(RunCommand::Delete).refused(Refusal::Uploading);
    let stopped = Failure::new(FailureKind::Cancelled, "CANCELLED", "by test");
    let stopped = RunEvent::UploadFailed(UploadFailedV1 { endpoint: at("a"), failure: stopped });
    let command = RunCommand::Cancel { reason: "by test".into() };
    let run = run.when(command).then_do([stopped], [RunEffect::StopUpload(at("a"))]);
    assert_eq!(run.state().outcome(), Some(Outcome::Completed), "its own end stays what it was");
    let run = run.when(uploaded("a", 1)).refused(Refusal::OutOfOrder);
    run.when(cancel()).refused(Refusal::NotActive).when(RunCommand::Delete).granted();
}

#[test]
fn the_directory_goes_once_all_copies_are_there_and_the_run_stays() {
    let run = published_to(&["a", "b"], RequireEndpoints::All, false).when(begins("a")).granted();
    let run =
        run.when(uploaded("a", 1)).then([completed("a")]).when(begins("b")).granted().when(leave(&["a", "b"])).then([]);
    let run = run.when(uploaded("b", 1)).then_do([completed("b")], [RunEffect::Leave]);
    let run = run.when(leave(&["b"])).then([]);
    let run = run.when(leave(&["a", "b"])).then_do([removal()], [RunEffect::Delete]);
    let run = run.when(leave(&["a", "b"])).then([]);
    let run = run.when(RunCommand::Deleted).then([deleted()]);
    let view = run.state().view(true).expect("a run");
    assert_eq!((view.deleted, view.path.as_str(), view.good, view.endpoints.len()), (false, "", true, 2));
    let run_id = new_run(PAIR).request.run_id;
    let elsewhere = |endpoints: &[&str]| {
        let endpoints = endpoints.iter().map(|name| at(name)).collect();
        Refusal::KeptElsewhere(Elsewhere { run_id, endpoints })
    };
    let run = run.when(RunCommand::UploadTo(vec![at("c")])).refused(elsewhere(&["a", "b"]));
    let altered = |endpoint: &str| {
        let failure = Failure::new(FailureKind::Fatal, "ARTIFACT_ALTERED", "not as it was");
        RunCommand::CopyAltered { endpoint: at(endpoint), failure }
    };
    let run = run.when(altered("a")).granted().when(RunCommand::UploadTo(vec![at("c")])).refused(elsewhere(&["b"]));
    let run = run.when(altered("b")).granted().when(RunCommand::UploadTo(vec![at("c")])).refused(elsewhere(&[]));
    assert!(!run.state().is_good(), "it is nowhere");

    let run = published_to(&["a", "b"], RequireEndpoints::Any, false).when(begins("a")).granted();
    let run = run.when(uploaded("a", 1)).then([completed("a")]).when(begins("b")).granted();
    let run = run.when(fails("b", 1, FailureKind::Fatal));
    run.then_do([failed("b", FailureKind::Fatal)], [RunEffect::Leave]).when(leave(&["a"])).then([removal()]);
    let run = published_to(&["a", "b"], RequireEndpoints::None, false).when(begins("a")).granted();
    let run = run.when(uploaded("a", 1)).granted().when(begins("b")).granted();
    let run = run.when(fails("b", 1, FailureKind::Fatal)).then_do([failed("b", FailureKind::Fatal)], []);
    run.when(leave(&["a", "b"])).then([]);
}

#[test]
fn a_directory_that_was_locked_or_read_goes_later_and_one_that_was_brought_back_stays() {
    let run = published_to(&["a"], RequireEndpoints::All, false);
    let run = run.when(RunCommand::Lock { reason: "audit".into() }).granted().when(begins("a")).granted();
    let run = run.when(uploaded("a", 1)).then_do([completed("a")], []).when(leave(&["a"])).then([]);
    let unlocked = RunEvent::Unlocked(RunUnlockedV1 {});
    let run = run.when(RunCommand::Unlock).then_do([unlocked], [RunEffect::Leave]);
    let run = run.when(leave(&[])).then([]).when(leave(&["a"])).then([removal()]);
    let in_use = failure(FailureKind::Retryable);
    let run = run.when(RunCommand::DeleteFailed(in_use)).granted().when(leave(&["a"])).then([removal()]);
    run.when(RunCommand::Deleted).granted().when(leave(&["a"])).then([]);
}

#[test]
fn a_copy_that_was_deleted_there_does_not_count() {
    let run = published_to(&["a"], RequireEndpoints::All, true).when(begins("a")).granted();
    let run = run.when(uploaded("a", 1)).granted();
    let gone = RunEvent::RemoteCopyDeleted(RemoteCopyDeletedV1 { endpoint: at("a") });
    let run = run.when(RunCommand::CopyDeleted(at("a"))).then([gone]).when(RunCommand::CopyDeleted(at("a"))).then([]);
    assert_eq!((run.state().remote_status(), run.state().is_good()), (RemoteStatus::None, false));
    run.when(RunCommand::UploadTo(vec![at("a")])).granted();
}

#[test]
fn each_endpoint_is_planned_once_and_not_too_many() {
    let mut new = new_run(PAIR);
    new.copies = Copies {
        endpoints: vec![at("a"), at("a")],
        require: RequireEndpoints::All,
        keep_local: true,
        staging: Staging::Local,
    };
    let run = given::<Run>([]).when(RunCommand::Request(new.clone())).granted();
    assert_eq!(run.state().planned_copies().endpoints, [at("a")]);
    new.copies.endpoints = (0..51).map(|n| at(&format!("e{n}"))).collect();
    let then = given::<Run>([]).when(RunCommand::Request(new));
    assert!(matches!(then.decision(), Err(Refusal::Invalid(_))));
}

/// A run that goes straight to its endpoints.
fn staged_elsewhere(endpoints: &[&str]) -> Given<Run> {
    let plan = RunEvent::CopiesPlanned(CopiesPlannedV2 {
        endpoints: endpoints.iter().map(|name| at(name)).collect(),
        require: RequireEndpoints::All,
        keep_local: true,
        staging: Staging::None,
    });
    sealing(PAIR).and([plan, publish_requested(Target::Completed)])
}

#[test]
fn what_is_staged_elsewhere_is_published_with_what_its_endpoints_have_and_is_not_kept_here() {
    let there = Ok(Uploaded { stored_bytes: 500, sent_bytes: 400, check: UploadCheck::Hash, address: address("a") });
    let copies = vec![
        (at("a"), there),
        (at("b"), Err(failure(FailureKind::Timeout))),
        (at("c"), Err(failure(FailureKind::Fatal))),
    ];
    let run = staged_elsewhere(&["a", "b"]).when(RunCommand::Published { copies }).then_do(
        [
            published(Outcome::Completed),
            completed("a"),
            failed("b", FailureKind::Timeout),
            RunEvent::LocalCopyRemovalRequested(LocalCopyRemovalRequestedV1 {}),
        ],
        [RunEffect::Ended, RunEffect::Delete],
    );
    let state = run.state();
    assert!(state.is_kept_remotely() && !state.is_uploading() && !state.is_good(), "all were required");
    assert_eq!(state.remote_status(), RemoteStatus::Partial);
}

#[test]
fn a_run_without_staging_needs_an_endpoint() {
    let mut new = new_run(PAIR);
    new.copies = Copies { staging: Staging::None, ..Copies::default() };
    let then = given::<Run>([]).when(RunCommand::Request(new));
    assert!(matches!(then.decision(), Err(Refusal::Invalid(why)) if why.contains("endpoint")));
}

#[test]
fn endpoints_are_told_of_a_run_that_begins_and_remembered_once_they_take_its_artifacts() {
    let stream = || RunCommand::StreamUpload(at("a"));
    let mut new = new_run(PAIR);
    new.copies = Copies { endpoints: vec![at("a")], ..Copies::default() };
    let queued = given::<Run>([]).when(RunCommand::Request(new)).granted();
    let queued = queued.when(stream()).refused(Refusal::OutOfOrder);
    let begun = queued.when(RunCommand::Start).then_do(
        [RunEvent::Started(RunStartedV1 { attempt: 1 })],
        [RunEffect::PrepareDirectory, RunEffect::StreamUpload(at("a"))],
    );
    assert!(!begun.state().has_streamed(&at("a")));
    let streamed = begun
        .when(stream())
        .then([RunEvent::UploadStreamStarted(UploadStreamStartedV1 { endpoint: at("a"), attempt: 1 })]);
    assert!(streamed.state().has_streamed(&at("a")) && !streamed.state().has_streamed(&at("b")));
}

#[test]
fn what_is_not_here_is_kept_elsewhere_or_gone_and_can_come_back() {
    let gone = || RunEvent::DeleteRequested(RunDeleteRequestedV1 {});
    let nothing = published_to(&[], RequireEndpoints::None, true);
    let locked = nothing.clone().when(RunCommand::Lock { reason: "audit".into() }).granted();
    for run in [nothing, locked] {
        let run = run.when(RunCommand::NotHere).then([gone()]);
        let run = run.when(RunCommand::Deleted).granted();
        assert!(!run.state().is_kept_remotely() && run.state().retained() == Retained::Deleted);
        run.when(RunCommand::NotHere).then([]);
    }
    let run = published_to(&["a", "b"], RequireEndpoints::None, true);
    let run = run.when(begins("a")).granted().when(uploaded("a", 1)).granted().when(begins("b")).granted();
    let missing = Failure::new(FailureKind::Fatal, "RUN_DIRECTORY_MISSING", "the run is not here any more");
    let not_sent = RunEvent::UploadFailed(UploadFailedV1 { endpoint: at("b"), failure: missing });
    let run = run.when(RunCommand::NotHere).then([not_sent, removal()]).when(RunCommand::Deleted).granted();
    assert!(run.state().is_kept_remotely() && run.state().retained() == Retained::Deleted);
    assert_eq!(run.state().remote_status(), RemoteStatus::Partial);
    planned(&["a"], RequireEndpoints::None, true).when(RunCommand::NotHere).then([]);
}
