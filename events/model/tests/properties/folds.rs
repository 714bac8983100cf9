//! Folding: any events in any order, and snapshots of what others than runs fold.

use std::collections::BTreeMap;

use holdfast_model::aggregate::{Aggregate, Moment};
use holdfast_model::codec::Envelope;
use holdfast_model::event::{Event, ParticipantEvent, RestoreEvent, RunEvent};
use holdfast_model::history::History;
use holdfast_model::ids::{Position, RestoreId, RunId, StreamId, Timestamp, Version};
use holdfast_model::participant::{ChildV1, Participant, ParticipantCommand, Work};
use holdfast_model::progress::Progress;
use holdfast_model::restore::Restore;
use holdfast_model::run::Run;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use crate::arbitrary::{any_event, failure};

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
        let (latest, passed) = history.latest();
        prop_assert!(latest.is_none_or(|latest| passed.iter().all(|entry| entry.requested > latest.requested)));
    }

    #[test]
    fn any_events_in_any_order_fold_without_a_panic(events in vec(any_event(), 0..60), times in vec(any::<i64>(), 60)) {
        let (mut run, mut participant, mut restore) = (Run::default(), Participant::default(), Restore::default());
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
                Event::RestoreEvent(event) => restore.apply(&event, &moment),
                Event::SystemEvent(_) => {}
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
        2 => (work(), child).prop_map(|(work, child)| ParticipantCommand::ChildStarted { work, child }),
        1 => Just(ParticipantCommand::Abandon),
        1 => Just(ParticipantCommand::LiftQuarantine { reason: "asked".into() }),
    ]
}
