//! Copies of runs on endpoints, and how those do.

use holdfast_model::endpoint as en;
use holdfast_model::event::{EndpointEvent, Event, RunEvent};
use holdfast_model::ids::EndpointName;
use holdfast_model::run as r;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{failure, run_id};

fn name() -> impl Strategy<Value = EndpointName> + Clone {
    "[a-z][a-z0-9-]{0,20}".prop_map(|text| text.parse().expect("a name"))
}

/// Those of runs, in the order of the table.
pub(super) fn run_kinds() -> Vec<BoxedStrategy<Event>> {
    let require = select(vec![r::RequireEndpoints::None, r::RequireEndpoints::Any, r::RequireEndpoints::All]);
    let staging = select(vec![r::Staging::Local, r::Staging::None]);
    let check = select(vec![r::UploadCheck::Size, r::UploadCheck::Hash, r::UploadCheck::Readback]);
    vec![
        event!(RunEvent::CopiesPlanned, (vec(name(), 0..4), require, any::<bool>(), staging), |(
            endpoints,
            require,
            keep_local,
            staging,
        )| {
            r::CopiesPlannedV2 { endpoints, require, keep_local, staging }
        }),
        event!(RunEvent::UploadsRequested, vec(name(), 0..4), |endpoints| r::UploadsRequestedV1 { endpoints }),
        event!(RunEvent::UploadStarted, (name(), any::<(u32, u32, u64)>()), |(
            endpoint,
            (try_number, max_tries, retry_delay_ms),
        )| r::UploadStartedV1 {
            endpoint,
            try_number,
            max_tries,
            retry_delay_ms
        }),
        event!(RunEvent::UploadTryFailed, (name(), failure(), any::<(u32, u64)>()), |(
            endpoint,
            failure,
            (try_number, retry_after_ms),
        )| r::UploadTryFailedV1 {
            endpoint,
            try_number,
            failure,
            retry_after_ms
        }),
        event!(RunEvent::UploadCompleted, (name(), any::<(u64, u64)>(), check), |(
            endpoint,
            (stored_bytes, sent_bytes),
            check,
        )| r::UploadCompletedV1 {
            endpoint,
            stored_bytes,
            sent_bytes,
            check
        }),
        event!(RunEvent::UploadFailed, (name(), failure()), |(endpoint, failure)| r::UploadFailedV1 {
            endpoint,
            failure
        }),
        event!(RunEvent::UploadInterrupted, name(), |endpoint| r::UploadInterruptedV1 { endpoint }),
    ]
}

/// The rest of these.
pub(super) fn later_run_kinds() -> Vec<BoxedStrategy<Event>> {
    vec![
        event!(RunEvent::LocalCopyRemovalRequested, Just(()), |()| r::LocalCopyRemovalRequestedV1 {}),
        event!(RunEvent::RemoteCopyDeleted, name(), |endpoint| r::RemoteCopyDeletedV1 { endpoint }),
        event!(RunEvent::UploadStreamStarted, (name(), any::<u32>()), |(endpoint, attempt)| {
            r::UploadStreamStartedV1 { endpoint, attempt }
        }),
    ]
}

/// Those of endpoints.
pub(super) fn endpoint_kinds() -> Vec<BoxedStrategy<Event>> {
    vec![
        event!(EndpointEvent::TryFailed, (run_id(), failure()), |(run_id, failure)| en::EndpointTryFailedV1 {
            run_id,
            failure
        }),
        event!(EndpointEvent::Unavailable, (any::<(u32, u64)>(), failure()), |((failures, pause_s), failure)| {
            en::EndpointUnavailableV1 { failures, pause_s, failure }
        }),
        event!(EndpointEvent::Recovered, any::<u32>(), |failures| en::EndpointRecoveredV1 { failures }),
        event!(EndpointEvent::RemoteDeleteRequested, run_id(), |run_id| en::RemoteDeleteRequestedV1 { run_id }),
        event!(EndpointEvent::RemoteRunDeleted, run_id(), |run_id| en::RemoteRunDeletedV1 { run_id }),
        event!(EndpointEvent::RemoteDeleteFailed, (run_id(), failure()), |(run_id, failure)| {
            en::RemoteDeleteFailedV1 { run_id, failure }
        }),
    ]
}
