//! Those of copies, endpoints and vaults.

use holdfast_model::endpoint as en;
use holdfast_model::event::{EndpointEvent, VaultAccessEvent, VaultClientEvent};
use holdfast_model::vault as v;

use super::*;

pub(super) fn copy_samples() -> Vec<Event> {
    let endpoint = || "offsite".parse().expect("a name");
    let refused = || Failure::new(FailureKind::Retryable, "REMOTE_UNAVAILABLE", "cannot reach it");
    let of_run = [
        RunEvent::CopiesPlanned(r::CopiesPlannedV2 {
            endpoints: vec![endpoint(), "nas".parse().expect("a name")],
            require: r::RequireEndpoints::Any,
            keep_local: false,
            staging: r::Staging::Local,
        }),
        RunEvent::UploadsRequested(r::UploadsRequestedV1 { endpoints: vec![endpoint()] }),
        RunEvent::UploadStarted(r::UploadStartedV1 {
            endpoint: endpoint(),
            try_number: 2,
            max_tries: 3,
            retry_delay_ms: 10_000,
        }),
        RunEvent::UploadTryFailed(r::UploadTryFailedV1 {
            endpoint: endpoint(),
            try_number: 2,
            failure: refused(),
            retry_after_ms: 20_000,
        }),
        RunEvent::UploadCompleted(r::UploadCompletedV2 {
            endpoint: endpoint(),
            stored_bytes: 5_000_000_000,
            sent_bytes: 70_000,
            check: r::UploadCheck::Readback,
            address: None,
        }),
        RunEvent::UploadFailed(r::UploadFailedV1 { endpoint: endpoint(), failure: refused() }),
        RunEvent::UploadInterrupted(r::UploadInterruptedV1 { endpoint: endpoint() }),
        RunEvent::LocalCopyRemovalRequested(r::LocalCopyRemovalRequestedV1 {}),
        RunEvent::RemoteCopyDeleted(r::RemoteCopyDeletedV1 { endpoint: endpoint() }),
        RunEvent::UploadStreamStarted(r::UploadStreamStartedV1 { endpoint: endpoint(), attempt: 1 }),
    ];
    let of_endpoint = [
        EndpointEvent::TryFailed(en::EndpointTryFailedV1 { run_id: run_id(), failure: refused() }),
        EndpointEvent::Unavailable(en::EndpointUnavailableV1 { failures: 5, pause_s: 60, failure: refused() }),
        EndpointEvent::Recovered(en::EndpointRecoveredV1 { failures: 5 }),
        EndpointEvent::RemoteDeleteRequested(en::RemoteDeleteRequestedV1 { run_id: run_id() }),
        EndpointEvent::RemoteRunDeleted(en::RemoteRunDeletedV1 { run_id: run_id() }),
        EndpointEvent::RemoteDeleteFailed(en::RemoteDeleteFailedV1 { run_id: run_id(), failure: refused() }),
    ];
    of_run.into_iter().map(Event::from).chain(of_endpoint.into_iter().map(Event::from)).collect()
}

pub(super) fn endpoint_samples() -> Vec<Event> {
    // What the first version did not say is as it reads from that.
    let config = en::EndpointConfigV2 {
        name: "offsite".parse().expect("a name"),
        host: "backup.example:22".into(),
        url: "sftp://backup.example/srv".into(),
        login: "holdfast".into(),
        enable: true,
        mode: 1,
        timeinterval_s: 86_400,
        timeout_s: 60,
        retry_attempts: 3,
        retry_delay_s: 10,
        retention: "30d".into(),
        secret: Some(uuid(5)),
        ..en::EndpointConfigV2::new("offsite".parse().expect("a name"))
    };
    let updated = en::EndpointConfigV2 { enable: false, secret: None, ..config.clone() };
    vec![
        EndpointEvent::Added(en::EndpointAddedV2 { config }).into(),
        EndpointEvent::Updated(en::EndpointUpdatedV2 { config: updated }).into(),
        EndpointEvent::Deleted(en::EndpointDeletedV1 {}).into(),
    ]
}

/// What a vault holds, and who may come to it.
pub(super) fn vault_samples() -> Vec<Event> {
    let run_id = run_id();
    vec![
        VaultAccessEvent::TokenAdded(v::VaultTokenAddedV1 {
            token_id: uuid(21),
            name: "shop".parse().expect("a name"),
            permission: v::Permission::Append,
            hash: digest(22),
            quota_bytes: Some(10 << 30),
            server_id: None,
        })
        .into(),
        VaultAccessEvent::ClientBound(v::VaultClientBoundV1 { token_id: uuid(21), server_id: uuid(23) }).into(),
        VaultAccessEvent::TokenRevoked(v::VaultTokenRevokedV1 { token_id: uuid(21) }).into(),
        VaultClientEvent::UploadCreated(v::VaultUploadCreatedV1 {
            upload_id: uuid(24),
            run_id,
            file: "shop.dump.lz4".parse().expect("a name"),
            size_bytes: 5_000_000_000,
            sha256: digest(25),
            token_id: uuid(21),
        })
        .into(),
        VaultClientEvent::UploadFinished(v::VaultUploadFinishedV1 { upload_id: uuid(24) }).into(),
        VaultClientEvent::UploadRemoved(v::VaultUploadRemovedV1 { upload_id: uuid(24), end: v::UploadEnd::Damaged })
            .into(),
        VaultClientEvent::RunCommitRequested(v::VaultRunCommitRequestedV1 {
            run_id,
            files: 4,
            stored_bytes: 5_000_004_711,
            sums_sha256: digest(26),
        })
        .into(),
        VaultClientEvent::RunCommitted(v::VaultRunCommittedV1 { run_id }).into(),
        VaultClientEvent::RunDeleteRequested(v::VaultRunDeleteRequestedV1 { run_id }).into(),
        VaultClientEvent::RunDeleted(v::VaultRunDeletedV1 { run_id }).into(),
        VaultClientEvent::UploadOpened(v::VaultUploadOpenedV1 {
            upload_id: uuid(27),
            run_id,
            file: "shop.dump.lz4".parse().expect("a name"),
            token_id: uuid(21),
        })
        .into(),
        VaultClientEvent::UploadClosed(v::VaultUploadClosedV1 {
            upload_id: uuid(27),
            size_bytes: 5_000_000_000,
            sha256: digest(28),
        })
        .into(),
    ]
}
