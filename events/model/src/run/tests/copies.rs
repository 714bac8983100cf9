//! Copies of a run on endpoints.

use super::*;
use crate::ids::EndpointName;
use crate::run::{
    Copies, CopiesPlannedV2, CopyStatus, LocalCopyRemovalRequestedV1, RemoteCopyDeletedV1, RemoteStatus,
    RequireEndpoints, Staging, UploadCheck, UploadCompletedV1, UploadFailedV1, UploadInterruptedV1, UploadStartedV1,
    Uploaded, UploadsRequestedV1,
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
    let result = Ok(Uploaded { stored_bytes: 500, sent_bytes: 400, check: UploadCheck::Hash });
    RunCommand::UploadEnded { endpoint: at(endpoint), try_number, result }
}

fn completed(endpoint: &str) -> RunEvent {
    let check = UploadCheck::Hash;
    RunEvent::UploadCompleted(UploadCompletedV1 { endpoint: at(endpoint), stored_bytes: 500, sent_bytes: 400, check })
}

fn fails(endpoint: &str, try_number: u32, kind: FailureKind) -> RunCommand {
    RunCommand::UploadEnded { endpoint: at(endpoint), try_number, result: Err(failure(kind)) }
}

fn failed(endpoint: &str, kind: FailureKind) -> RunEvent {
    RunEvent::UploadFailed(UploadFailedV1 { endpoint: at(endpoint), failure: failure(kind) })
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
    let run = run.when(uploaded("a", 1)).then([completed("a")]).when(begins("b")).granted();
    let run = run.when(uploaded("b", 1)).then_do([completed("b"), removal()], [RunEffect::Delete]);
    let run = run.when(RunCommand::Deleted).then([deleted()]);
    let view = run.state().view(true).expect("a run");
    assert_eq!((view.deleted, view.path.as_str(), view.good, view.endpoints.len()), (false, "", true, 2));
    run.when(RunCommand::UploadTo(vec![at("c")])).refused(Refusal::Deleted);

    let run = published_to(&["a", "b"], RequireEndpoints::Any, false).when(begins("a")).granted();
    let run = run.when(uploaded("a", 1)).then([completed("a")]).when(begins("b")).granted();
    run.when(fails("b", 1, FailureKind::Fatal)).then([failed("b", FailureKind::Fatal), removal()]);
    let run = published_to(&["a", "b"], RequireEndpoints::None, false).when(begins("a")).granted();
    let run = run.when(uploaded("a", 1)).granted().when(begins("b")).granted();
    run.when(fails("b", 1, FailureKind::Fatal)).then([failed("b", FailureKind::Fatal)]);
    let run = published_to(&["a"], RequireEndpoints::All, false);
    let run = run.when(RunCommand::Lock { reason: "audit".into() }).granted().when(begins("a")).granted();
    run.when(uploaded("a", 1)).then([completed("a")]);
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
