//! Events as real ones are: those of a run, and one of a chosen size.

use holdfast_model::codec::{Origin, record};
use holdfast_model::event::{Event, RunEvent};
use holdfast_model::ids::{RunId, Timestamp, Version};
use holdfast_model::record::{EventType, NewRecord};
use holdfast_model::run::{Encryption, Outcome, ParticipantProgressedV1, RunEndedV1, RunRequestedV4, RunType, Trigger};
use uuid::Uuid;

/// Events of a run.
pub(super) const RUN: u64 = 50;
/// Bytes of an event's payload where its size is chosen; with the rest of it about 300.
const PAYLOAD: usize = 190;
const NOW: Timestamp = Timestamp(1_795_298_400_000_000);

/// The id of the run with that number.
pub(super) fn run_id(number: u64) -> RunId {
    let at = Timestamp(NOW.0 + i64::try_from(number).unwrap_or(0) * 60_000_000);
    RunId::new(at, u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1))
}

/// All events of a run: its request, progress, its end.
pub(super) fn of_run(run_id: RunId) -> anyhow::Result<Vec<NewRecord>> {
    let requested = RunEvent::Requested(RunRequestedV4 {
        run_id,
        run_type: RunType::Full,
        trigger: Trigger::Cron,
        compression: "lz4".into(),
        strict: false,
        max_attempts: 3,
        resume_within_s: 6 * 3600,
        max_parallel: 2,
        job: String::new(),
        idempotency_key: String::new(),
        consistency: holdfast_model::run::Consistency::Concurrent,
        freeze_budget_ms: 10_000,
        timeout_ms: 0,
        encryption: Encryption::default(),
    });
    let mut events = vec![requested];
    for step in 1..RUN - 1 {
        events.push(RunEvent::ParticipantProgressed(ParticipantProgressedV1 {
            participant: "accounts".parse()?,
            bytes_done: step * 40_000_000,
            bytes_total: Some(2_000_000_000),
            files_done: step * 900,
            files_total: Some(45_000),
        }));
    }
    let error_summary = "participant accounts: the source ended with status 1 after 2000000000 bytes".into();
    events.push(RunEvent::Ended(RunEndedV1 { outcome: Outcome::Failed, error_summary }));
    let origin = Origin { principal: "local:uid=0".into(), correlation_id: Uuid::from_u128(run_id.counter().into()) };
    let records = events.into_iter().zip(0u128..).map(|(event, number)| {
        let id = Uuid::from_u128(u128::from(run_id.counter()) << 32 | number);
        record(&Event::from(event), id, NOW, &origin)
    });
    Ok(records.collect::<Result<_, _>>()?)
}

/// An event of about 300 bytes.
pub(super) fn sized(version: Version) -> NewRecord {
    NewRecord {
        event_type: EventType(7),
        schema_version: 1,
        time: NOW,
        event_id: Uuid::from_u128(version.0.into()),
        correlation_id: Uuid::from_u128(9),
        principal: "local:uid=0".into(),
        payload: vec![0x5a; PAYLOAD],
    }
}
