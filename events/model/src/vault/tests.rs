use uuid::Uuid;

use super::*;
use crate::event::{VaultAccessEvent, VaultClientEvent};
use crate::given::given;
use crate::ids::{RunId, Sha256, Timestamp};

const LIMITS: UploadLimits = UploadLimits { uploads: 3, quota_bytes: Some(1000) };

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn run(seconds: i64, counter: u32) -> RunId {
    RunId::new(Timestamp(seconds * 1_000_000), counter)
}

fn made(number: u128, run_id: RunId, file: &str, size_bytes: u64) -> VaultUploadCreatedV1 {
    let file = file.parse().expect("a name");
    VaultUploadCreatedV1 {
        upload_id: id(number),
        run_id,
        file,
        size_bytes,
        sha256: Sha256::default(),
        token_id: id(99),
    }
}

fn create(number: u128, run_id: RunId, file: &str, size_bytes: u64) -> VaultClientCommand {
    VaultClientCommand::CreateUpload(NewUpload { made: made(number, run_id, file, size_bytes), limits: LIMITS })
}

fn wish(run_id: RunId) -> VaultRunCommitRequestedV1 {
    VaultRunCommitRequestedV1 { run_id, files: 1, stored_bytes: 600, sums_sha256: Sha256::default() }
}

fn committed(run_id: RunId) -> [VaultClientEvent; 4] {
    [
        VaultClientEvent::UploadCreated(made(1, run_id, "a.lz4", 600)),
        VaultClientEvent::UploadFinished(VaultUploadFinishedV1 { upload_id: id(1) }),
        VaultClientEvent::RunCommitRequested(wish(run_id)),
        VaultClientEvent::RunCommitted(VaultRunCommittedV1 { run_id }),
    ]
}

#[test]
fn a_run_is_there_once_it_is_committed_with_the_time_the_vault_received_it() {
    let run_id = run(0, 1);
    let whole = given::<VaultClient>([])
        .when(create(1, run_id, "a.lz4", 600))
        .granted()
        .when(VaultClientCommand::RequestCommit(wish(run_id)))
        .refused(VaultClientRefusal::UploadUnfinished { upload_id: id(1), file: "a.lz4".parse().expect("a name") })
        .when(VaultClientCommand::FinishUpload(id(1)))
        .granted()
        .seconds_later(7)
        .when(VaultClientCommand::RequestCommit(wish(run_id)))
        .granted()
        .seconds_later(100);
    assert_eq!((whole.state().owed(), whole.state().run(run_id)), (vec![Owed::Commit(run_id)], None));
    assert_eq!(whole.state().promised_bytes(), 600);
    let there = whole.when(VaultClientCommand::ConfirmCommit(run_id)).granted();
    assert_eq!(there.state().run(run_id).expect("there").received_at, Timestamp(7_000_000));
    assert_eq!((there.state().stored_bytes(), there.state().promised_bytes()), (600, 0));
    assert!(there.state().is_gone(id(1)) && there.state().owed().is_empty());
    // Said again, nothing follows.
    let again = there.when(VaultClientCommand::ConfirmCommit(run_id)).then([]);
    again
        .when(VaultClientCommand::RequestCommit(wish(run_id)))
        .refused(VaultClientRefusal::RunExists(run_id))
        .when(create(2, run_id, "a.lz4", 1))
        .refused(VaultClientRefusal::RunExists(run_id))
        .when(VaultClientCommand::RemoveUpload(id(1), UploadEnd::Terminated))
        .refused(VaultClientRefusal::UploadGone);
}

#[test]
fn what_would_crowd_out_or_forge_history_is_refused_and_nothing_else_moves() {
    let run_id = run(0, 1);
    let full = given::<VaultClient>(committed(run_id));
    let before = full.state().clone();
    let future = run(CLOCK_TOLERANCE_S + 1, 1);
    let after = full
        .when(create(2, run(0, 2), "a.lz4", 401))
        .refused(VaultClientRefusal::QuotaExceeded { held: 600, asked: 401, quota: 1000 })
        .when(create(2, run(0, 2), "a.lz4", u64::MAX))
        .refused(VaultClientRefusal::QuotaExceeded { held: 600, asked: u64::MAX, quota: 1000 })
        .when(create(2, future, "a.lz4", 1))
        .refused(VaultClientRefusal::FutureRun(future));
    assert_eq!(after.state(), &before);
    let at_edge = run(CLOCK_TOLERANCE_S, 1);
    let open = after.when(create(2, at_edge, "a.lz4", 400)).granted();
    open.when(create(3, at_edge, "A.LZ4", 0))
        .refused(VaultClientRefusal::UploadExists(id(2)))
        .when(create(3, at_edge, "b", 0))
        .granted()
        .when(create(4, at_edge, "c", 0))
        .granted()
        .when(create(5, at_edge, "d", 0))
        .refused(VaultClientRefusal::TooManyUploads(3))
        .when(VaultClientCommand::RemoveUpload(id(3), UploadEnd::Terminated))
        .granted()
        .when(create(5, at_edge, "d", 0))
        .granted();
}

#[test]
fn what_is_being_committed_is_not_changed_any_more() {
    let run_id = run(0, 1);
    let committing = given::<VaultClient>(committed(run_id).into_iter().take(3));
    committing
        .when(create(2, run_id, "b", 1))
        .refused(VaultClientRefusal::RunCommitting(run_id))
        .when(VaultClientCommand::RemoveUpload(id(1), UploadEnd::Expired))
        .refused(VaultClientRefusal::RunCommitting(run_id))
        .when(VaultClientCommand::RequestCommit(wish(run_id)))
        .then([])
        .when(VaultClientCommand::ConfirmCommit(run_id))
        .granted();
}

#[test]
fn a_deleted_run_does_not_come_again() {
    let run_id = run(0, 1);
    let owed = given::<VaultClient>(committed(run_id)).when(VaultClientCommand::RequestDelete(run_id)).granted();
    assert_eq!(owed.state().owed(), [Owed::Delete(run_id)]);
    let gone = owed.when(VaultClientCommand::ConfirmDelete(run_id)).granted();
    assert_eq!((gone.state().run(run_id), gone.state().stored_bytes()), (None, 0));
    gone.when(create(2, run_id, "a.lz4", 1))
        .refused(VaultClientRefusal::RunDeleted(run_id))
        .when(VaultClientCommand::RequestDelete(run_id))
        .refused(VaultClientRefusal::RunDeleted(run_id))
        .when(VaultClientCommand::RequestDelete(run(0, 5)))
        .refused(VaultClientRefusal::RunNotFound(run(0, 5)));
}

#[test]
fn runs_are_listed_in_the_order_in_which_they_were_received() {
    let mut state = given::<VaultClient>([]);
    for counter in [5, 3, 4] {
        state = state.and(committed(run(0, counter)));
    }
    let listed = |before| state.state().runs_before(before).map(|(_, run)| run.run_id.counter()).collect::<Vec<_>>();
    assert_eq!(listed(u64::MAX), [4, 3, 5]);
    assert_eq!(listed(3), [3, 5]);
}

fn token(number: u128, name: &str, server_id: Option<Uuid>) -> VaultTokenAddedV1 {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(&number.to_be_bytes());
    VaultTokenAddedV1 {
        token_id: id(number),
        name: name.parse().expect("a name"),
        permission: Permission::Append,
        hash: Sha256(hash),
        quota_bytes: None,
        server_id,
    }
}

fn bind(token: u128, server: u128) -> VaultAccessCommand {
    VaultAccessCommand::Bind { token_id: id(token), server_id: id(server) }
}

#[test]
fn a_token_takes_one_client_and_never_one_that_is_known() {
    let made = [token(1, "one", None), token(2, "two", None), token(3, "three", Some(id(100)))];
    let bound = given::<VaultAccess>(made.map(VaultAccessEvent::TokenAdded)).when(bind(1, 100));
    let bound = bound.refused(VaultAccessRefusal::ClientKnown).when(bind(1, 101)).granted();
    let bound = bound
        .when(bind(1, 101))
        .then([])
        .when(bind(1, 102))
        .refused(VaultAccessRefusal::Foreign)
        .when(bind(2, 101))
        .refused(VaultAccessRefusal::ClientKnown)
        .when(bind(3, 100))
        .then([]);
    let revoked = bound.when(VaultAccessCommand::Revoke { token: "one".into() }).granted();
    assert_eq!(revoked.state().by_hash(&token(1, "one", None).hash), None);
    revoked
        .when(bind(1, 101))
        .refused(VaultAccessRefusal::NotFound)
        .when(bind(2, 101))
        .refused(VaultAccessRefusal::ClientKnown)
        .when(VaultAccessCommand::Add(token(4, "two", None)))
        .refused(VaultAccessRefusal::Exists)
        .when(VaultAccessCommand::Add(token(4, "one", Some(id(101)))))
        .granted();
}

#[test]
fn a_file_whose_end_is_said_later_counts_from_then_on() {
    let run_id = run(0, 1);
    let file = "a.lz4".parse().expect("a name");
    let made = VaultUploadOpenedV1 { upload_id: id(1), run_id, file, token_id: id(99) };
    let open = VaultClientCommand::OpenUpload(OpenUpload { made, limits: LIMITS });
    let closed = VaultUploadClosedV1 { upload_id: id(1), size_bytes: 600, sha256: Sha256([7; 32]) };
    let opened = given::<VaultClient>([]).when(open).granted();
    assert_eq!((opened.state().promised_bytes(), opened.state().upload(id(1)).expect("open").said), (0, None));
    let whole = opened
        .when(create(2, run_id, "A.lz4", 1))
        .refused(VaultClientRefusal::UploadExists(id(1)))
        .when(VaultClientCommand::RequestCommit(wish(run_id)))
        .refused(VaultClientRefusal::UploadUnfinished { upload_id: id(1), file: "a.lz4".parse().expect("a name") })
        .when(VaultClientCommand::CloseUpload(closed.clone()))
        .granted();
    assert_eq!(whole.state().promised_bytes(), 600);
    whole
        .when(VaultClientCommand::CloseUpload(closed))
        .then([])
        .when(VaultClientCommand::RequestCommit(wish(run_id)))
        .granted();
}
