//! Runs that come back from an endpoint.

use holdfast_model::event::{Event, RunEvent};
use holdfast_model::ids::Timestamp;
use holdfast_model::run as r;
use proptest::option;
use proptest::prelude::*;

use super::{digest, failure, outcome, participant, run_id, short, target, text, uuid, warnings};

/// Those of them, in the order of the table.
pub(super) fn kinds() -> Vec<BoxedStrategy<Event>> {
    vec![
        event!(RunEvent::ImportRequested, (run_id(), uuid(), any::<bool>()), |(run_id, server_id, overwrite)| {
            r::RunImportRequestedV1 { run_id, endpoint: "offsite".parse().expect("a name"), server_id, overwrite }
        }),
        event!(RunEvent::Imported, imported(), |imported| imported),
        event!(
            RunEvent::ParticipantImported,
            (participant(), short(), option::of(failure()), warnings(), any::<bool>()),
            |(participant, kind, failure, warnings, critical)| {
                let (started_at, finished_at) = (Some(Timestamp(7)), None);
                let status = r::ParticipantStatus::Completed;
                r::ParticipantImportedV1 {
                    participant,
                    kind,
                    critical,
                    status,
                    started_at,
                    finished_at,
                    failure,
                    warnings,
                }
            }
        ),
        event!(RunEvent::ImportPublishRequested, (target(), any::<bool>()), |(target, replaces)| {
            r::RunImportPublishRequestedV1 { target, replaces }
        }),
        event!(RunEvent::ImportCompleted, Just(()), |()| r::RunImportCompletedV1 {}),
        event!(RunEvent::ImportFailed, failure(), |failure| r::RunImportFailedV1 { failure }),
    ]
}

fn imported() -> impl Strategy<Value = r::RunImportedV1> + Clone {
    let numbers = any::<(u32, i64, i64, Option<i64>, u64, bool)>();
    (run_id(), uuid(), outcome(), numbers, text(), short(), digest()).prop_map(
        |(run_id, server_id, outcome, (participants, began, ended, barrier, held_us, masked), text, short, sums)| {
            r::RunImportedV1 {
                run_id,
                server_id,
                run_type: r::RunType::Full,
                trigger: r::Trigger::Manual,
                outcome,
                attempt: participants,
                started_at: Timestamp(began),
                finished_at: Timestamp(ended),
                error_summary: text,
                requested_by: short.clone(),
                job: short.clone(),
                compression: short,
                consistency: r::Consistency::Barrier,
                barrier_at: barrier.map(Timestamp),
                held_us,
                encryption: r::Encryption::None,
                masked,
                participants,
                sums_sha256: sums,
            }
        },
    )
}
