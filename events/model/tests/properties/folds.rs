//! Folding: any events in any order, and snapshots of what others than runs fold.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_model::access::{Access, AccessCommand, MAX_REVOKED, TokenCreatedV1};
use holdfast_model::aggregate::{Aggregate, Moment};
use holdfast_model::codec::Envelope;
use holdfast_model::endpoint::Endpoint;
use holdfast_model::event::{Event, ParticipantEvent, RestoreEvent, RunEvent};
use holdfast_model::history::History;
use holdfast_model::ids::{Position, RestoreId, RunId, Sha256, StreamId, Timestamp, Version};
use holdfast_model::maintenance::Maintenance;
use holdfast_model::participant::{ChildV1, Participant, ParticipantCommand, Work};
use holdfast_model::progress::Progress;
use holdfast_model::restore::Restore;
use holdfast_model::run::Run;
use holdfast_model::vault::{VaultAccess, VaultClient};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use crate::arbitrary::{any_event, failure, role};

fn moment(time: i64) -> Moment {
    Moment { time: Timestamp(time), principal: "local:uid=0".into() }
}

/// Events of a few runs and restores among those of others, in the order of their log.
fn log() -> impl Strategy<Value = Vec<Envelope>> {
    vec((any_event(), 1_u32..5, any::<i64>()), 0..80).prop_map(|rows| {
        let envelope = |(place, (mut data, counter, time)): (usize, (Event, u32, i64))| {
            let run = RunId::new(Timestamp(0), counter);
            let restore = RestoreId(Uuid::from_u128(u128::from(counter)));
            // Made to belong to their stream, as those of a real log do.
            match &mut data {
                Event::RunEvent(RunEvent::Requested(request)) => request.run_id = run,
                Event::RestoreEvent(RestoreEvent::Requested(request)) => request.restore_id = restore,
                _ => {}
            }
            Envelope {
                position: Position(place as u64 + 1),
                stream: match &data {
                    Event::RunEvent(_) => StreamId::run(run),
                    Event::RestoreEvent(_) => StreamId::restore(restore),
                    _ => StreamId::system(),
                },
                version: Version(1),
                time: Timestamp(time),
                event_id: Uuid::nil(),
                correlation_id: Uuid::nil(),
                principal: String::new(),
                event_type: data.name(),
                data,
            }
        };
        rows.into_iter().enumerate().map(envelope).collect()
    })
}

fn fold(from: &History, tail: &[Envelope]) -> History {
    let mut history = from.clone();
    tail.iter().for_each(|envelope| history.apply(envelope));
    history
}

proptest! {
    #[test]
    fn a_history_is_folded_again_to_the_same_from_any_snapshot(log in log()) {
        let all = fold(&History::default(), &log);
        for cut in 0..=log.len() {
            prop_assert_eq!(&fold(&fold(&History::default(), &log[..cut]), &log[cut..]), &all);
        }
    }

    #[test]
    fn a_history_lists_each_run_once_in_the_order_of_the_log(log in log()) {
        let history = fold(&History::default(), &log);
        let listed: Vec<_> = history.newest_first().collect();
        prop_assert!(listed.is_sorted_by(|newer, older| newer.requested > older.requested));
        for entry in &listed {
            prop_assert_eq!(history.run(entry.run_id), Some(*entry));
        }
        let ended = listed.iter().filter(|entry| entry.outcome.is_some()).count();
        prop_assert_eq!(history.open().count() + ended, listed.len());
        let ends: Vec<_> = history.ends_after(Position::START).collect();
        prop_assert!(ends.is_sorted_by(|one, next| one.0 < next.0));
        // One that was imported ended elsewhere.
        let ended_here = listed.iter().filter(|entry| entry.ended.is_some()).count();
        prop_assert_eq!(ends.len(), ended_here);
        for (position, run_id) in &ends {
            prop_assert_eq!(history.run(*run_id).and_then(|entry| entry.ended), Some(*position));
        }
        let (latest, passed) = history.latest();
        prop_assert!(latest.is_none_or(|latest| passed.iter().all(|entry| entry.requested > latest.requested)));
    }

    #[test]
    fn any_events_in_any_order_fold_without_a_panic(events in vec(any_event(), 0..60), times in vec(any::<i64>(), 60)) {
        let (mut run, mut participant, mut restore) = (Run::default(), Participant::default(), Restore::default());
        let (mut endpoint, mut access, mut maintenance) =
            (Endpoint::default(), Access::default(), Maintenance::default());
        let (mut vault_access, mut vault_client) = (VaultAccess::default(), VaultClient::default());
        for (event, time) in events.into_iter().zip(times) {
            let moment = moment(time);
            match event {
                Event::RunEvent(event) => {
                    run.apply(&event, &moment);
                    let _ = (run.effects(&[event]), run.view(true), run.warning_count());
                    let shown = Progress::of(&run, &BTreeMap::new(), false);
                    prop_assert!((0.0..=100.0).contains(&shown.overall_percent));
                }
                Event::ParticipantEvent(event) => {
                    participant.apply(&event, &moment);
                    let _ = participant.effects(&[event]);
                }
                Event::RestoreEvent(event) => {
                    restore.apply(&event, &moment);
                    let _ = (restore.effects(&[event]), restore.view(true));
                }
                Event::EndpointEvent(event) => endpoint.apply(&event, &moment),
                Event::AccessEvent(event) => access.apply(&event, &moment),
                Event::VaultAccessEvent(event) => vault_access.apply(&event, &moment),
                Event::VaultClientEvent(event) => {
                    vault_client.apply(&event, &moment);
                    let _ = (vault_client.owed(), vault_client.stored_bytes(), vault_client.promised_bytes());
                }
                Event::MaintenanceEvent(event) => maintenance.apply(&event, &moment),
                Event::AuditEvent(_) | Event::SystemEvent(_) => {}
            }
        }
    }

    #[test]
    fn a_participant_is_folded_again_to_the_same_from_any_snapshot(commands in vec(participant_command(), 0..40)) {
        let mut participant = Participant::default();
        let mut all: Vec<ParticipantEvent> = Vec::new();
        for command in commands {
            let before = participant.clone();
            let Ok(events) = participant.decide(command, Timestamp(0)) else { continue };
            events.iter().for_each(|event| participant.apply(event, &moment(0)));
            // Work is begun once, and each that was begun is answered or abandoned before the next.
            let begun = |event: &ParticipantEvent| matches!(event, ParticipantEvent::WorkStarted(_));
            prop_assert!(!events.iter().any(begun) || participant.at_work().is_some());
            prop_assert!(before.at_work().is_none() || !matches!(events.first(), Some(first) if begun(first)));
            prop_assert_eq!(participant.effects(&events).len(), events.iter().filter(|event| begun(event)).count());
            all.extend(events);
        }
        let fold = |from: &Participant, tail: &[ParticipantEvent]| {
            let mut folded = from.clone();
            tail.iter().for_each(|event| folded.apply(event, &moment(0)));
            folded
        };
        for cut in 0..=all.len() {
            let snapshot = fold(&Participant::default(), &all[..cut]);
            prop_assert_eq!(&fold(&snapshot, &all[cut..]), &participant);
        }
    }
}

proptest! {
    #[test]
    fn a_restore_is_listed_once_and_is_open_or_has_an_end(log in log()) {
        let history = fold(&History::default(), &log);
        let listed: Vec<_> = history.restores_newest_first().collect();
        prop_assert!(listed.is_sorted_by(|newer, older| newer.requested > older.requested));
        for entry in &listed {
            prop_assert_eq!(history.restore(entry.restore_id), Some(*entry));
        }
        let ends = history.restore_ends_after(Position::START).count();
        prop_assert_eq!(history.open_restores().len() + ends, listed.len());
    }

    #[test]
    fn tokens_are_folded_again_to_the_same_and_no_name_is_live_twice(commands in vec(access_command(), 0..60)) {
        let (mut access, mut all) = (Access::default(), Vec::new());
        for command in commands {
            let Ok(events) = access.decide(command, Timestamp(0)) else { continue };
            events.iter().for_each(|event| access.apply(event, &moment(0)));
            all.extend(events);
            let live: Vec<_> = access.tokens().filter(|token| token.is_live(Timestamp(0))).collect();
            let names: BTreeSet<_> = live.iter().map(|token| &token.name).collect();
            prop_assert_eq!(names.len(), live.len());
            prop_assert!(access.tokens().all(|token| access.by_hash(&token.hash) == Some(token)));
            prop_assert!(access.tokens().filter(|token| token.revoked_at.is_some()).count() <= MAX_REVOKED);
        }
        let mut again = Access::default();
        all.iter().for_each(|event| again.apply(event, &moment(0)));
        prop_assert_eq!(again, access);
    }
}

fn access_command() -> impl Strategy<Value = AccessCommand> {
    let name = || proptest::sample::select(vec!["a", "b", "c"]);
    let create = (name(), role(), any::<u128>()).prop_map(|(name, role, number)| {
        let mut hash = [7; 32];
        hash[..16].copy_from_slice(&number.to_be_bytes());
        let name = name.parse().expect("a name");
        let token_id = Uuid::from_u128(number);
        AccessCommand::Create(TokenCreatedV1 { token_id, name, role, hash: Sha256(hash), expires_at: None })
    });
    let revoke = name().prop_map(|token| AccessCommand::Revoke { token: token.into() });
    prop_oneof![2 => create, 1 => revoke]
}

fn participant_command() -> impl Strategy<Value = ParticipantCommand> {
    let work = || {
        (1_u32..4, 1_u32..3, 1_u32..3).prop_map(|(counter, attempt, try_number)| Work {
            run_id: RunId::new(Timestamp(0), counter),
            attempt,
            try_number,
        })
    };
    let start = work().prop_map(|work| ParticipantCommand::Start { participant: "db".parse().expect("a name"), work });
    let child = any::<(u32, u64, u128)>().prop_map(|(group, started, id)| ChildV1 {
        child_id: Uuid::from_u128(id),
        group,
        started,
        boot_id: Uuid::nil(),
    });
    prop_oneof![
        6 => start,
        3 => work().prop_map(ParticipantCommand::Completed),
        3 => (work(), failure()).prop_map(|(work, failure)| ParticipantCommand::Failed { work, failure }),
        1 => (work(), failure()).prop_map(|(work, failure)| ParticipantCommand::Stuck { work, failure }),
        2 => (work(), failure())
            .prop_map(|(work, failure)| ParticipantCommand::BarrierFailed { run_id: work.run_id, failure }),
        2 => (work(), child).prop_map(|(work, child)| ParticipantCommand::ChildStarted { work, child }),
        1 => Just(ParticipantCommand::Abandon),
        1 => Just(ParticipantCommand::LiftQuarantine { reason: "asked".into() }),
    ]
}
