//! Progress and the channels: what is shown never goes back, and each end is told once to everybody, whoever is slow or was away.

use std::io::Write;
use std::sync::Arc;

use holdfast::api::commands::GetBackupProgress;
use holdfast::api::envelope::EventType;
use holdfast::api::{Channel, Feed, Notice};
use holdfast::blocking;
use holdfast::engine::{Backup, Builder, Holdfast};
use holdfast::model::failure::{Failure, FailureKind};
use holdfast::model::ids::{Position, RestoreId, RunId};
use holdfast::model::progress::{Phase, Progress};
use holdfast::model::restore::{RestoreCommand, RestoreCompletedV1, RestoreRequestedV3, Safety};
use holdfast::model::run::{Outcome, RunStatus};
use holdfast::participant::{Artifacts, ParticipantError};
use serde_json::Value;
use uuid::Uuid;

use crate::support::engine::{
    Count, Door, back_up, builder, config, end, good, module, name, patient, wait_until, within,
};
use crate::support::{Home, Random, text};

const SUBSCRIBERS: usize = 20;
const PIECE: usize = 1 << 20;
const PIECES: u64 = 100;

/// Two participants of 100 MB: the first fails in its first try after 60 of them, the second grows while it is read and stops at a door
/// in the middle.
fn two(home: &Home, tries: &Count, door: &Door) -> Builder {
    let (tries, door) = (tries.clone(), door.clone());
    let content = Arc::new(Random(7).bytes(PIECE));
    let same = content.clone();
    builder(home)
        .participant_with(module("fails-once").deadlines(patient()), move |artifacts: &mut Artifacts| {
            artifacts.expect_bytes(PIECES * PIECE as u64);
            let first = tries.up() == 1;
            let mut sink = artifacts.create("fails-once.data")?;
            for piece in 0..PIECES {
                if first && piece == 60 {
                    return Err(ParticipantError::retryable("ONCE", "it fails once"));
                }
                sink.write_all(&content)?;
            }
            sink.finish()
        })
        .participant_with(module("grows").deadlines(patient()), move |artifacts: &mut Artifacts| {
            artifacts.expect_bytes(PIECES / 2 * PIECE as u64);
            let mut sink = artifacts.create("grows.data")?;
            for piece in 0..PIECES {
                if piece == 40 {
                    door.pass();
                    artifacts.expect_bytes(PIECES * PIECE as u64);
                }
                sink.write_all(&same)?;
            }
            sink.finish()
        })
}

fn progress(notice: &Notice) -> Progress {
    serde_json::from_str(notice.data.get()).unwrap()
}

/// All that is told until so many finals were.
async fn until_finals(feed: &mut Feed, finals: usize) -> Vec<Notice> {
    let mut told: Vec<Notice> = Vec::new();
    while told.iter().filter(|notice| notice.event_type == EventType::Final).count() < finals {
        told.push(feed.next().await.unwrap());
    }
    told
}

/// The runs of the finals, in the order they were told in.
fn finals(told: &[Notice]) -> Vec<String> {
    let of = told.iter().filter(|notice| notice.event_type == EventType::Final);
    of.map(|notice| progress(notice).run_id).collect()
}

/// What must be true of what one subscriber was told.
fn check(told: &[Notice]) {
    assert!(told.windows(2).all(|pair| pair[0].seq <= pair[1].seq), "a position falls");
    let all: Vec<_> = told.iter().map(progress).collect();
    for (index, earlier) in all.iter().enumerate() {
        let same_attempt = |later: &&Progress| later.run_id == earlier.run_id && later.attempt == earlier.attempt;
        let Some(later) = all[index + 1..].iter().find(same_attempt) else { continue };
        assert!(later.overall_percent >= earlier.overall_percent, "{earlier:?}\n{later:?}");
        for (was, is) in earlier.participants.iter().zip(&later.participants) {
            assert!(is.percent >= was.percent, "{was:?}\n{is:?}");
        }
        assert_ne!(told[index].event_type, EventType::Final, "something follows the final of {}", earlier.run_id);
    }
    for (notice, progress) in told.iter().zip(&all) {
        let is_final = notice.event_type == EventType::Final;
        assert_eq!(is_final, !progress.active, "{progress:?}");
        assert_eq!(is_final, progress.finished_at > 0);
        assert!((0.0..=100.0).contains(&progress.overall_percent));
    }
}

fn present(engine: &blocking::Holdfast) -> Progress {
    let dispatcher = engine.handle().dispatcher();
    within(engine, "the present progress", async move { dispatcher.ask(&GetBackupProgress {}).await }).unwrap()
}

fn open(engine: &Holdfast, since: Option<u64>) -> Feed {
    Feed::open(engine, Channel::BackupProgress, since.map(Position))
}

#[test]
fn percents_never_fall_and_each_of_twenty_is_told_each_end_once() {
    let home = Home::new();
    let (tries, door) = (Count::default(), Door::default());
    let engine = two(&home, &tries, &door).start_blocking().unwrap();
    engine.handle().tell_progress_per_second(200);
    let before = present(&engine);
    assert_eq!((before.active, before.phase, before.run_id.as_str()), (false, Phase::Idle, ""));

    let runtime = engine.block_on(async { tokio::runtime::Handle::current() });
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut feed = open(engine.handle(), None);
            runtime.spawn(async move { until_finals(&mut feed, 2).await })
        })
        .collect();
    let first = engine.back_up(Backup::full()).unwrap();
    door.wait_for(1);
    wait_until(&engine, &first, |run| run.participants()[0].status.as_str() == "completed");
    let middle = present(&engine);
    assert_eq!((middle.active, middle.phase, middle.run_id.clone()), (true, Phase::Backup, first.run_id.to_string()));
    assert_eq!(middle.participants[0].percent, 100.0);
    assert!((80.0..=99.0).contains(&middle.participants[1].percent), "{middle:?}");
    // One who comes in the middle is told at once how far it is.
    let mut late = open(engine.handle(), None);
    let at_once = within(&engine, "the present progress", late.next()).unwrap();
    assert_eq!((at_once.event_type, progress(&at_once).run_id), (EventType::Update, first.run_id.to_string()));
    door.open();
    let run = end(&engine, first);
    assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
    let second = back_up(&engine, Backup::full());
    let runs = [run.id().unwrap().to_string(), second.id().unwrap().to_string()];

    let mut checks = 0;
    for subscriber in subscribers {
        let told = within(&engine, "both ends", subscriber).unwrap();
        check(&told);
        assert_eq!(finals(&told), runs);
        checks +=
            told.iter().map(progress).filter(|one| one.overall_percent > 90.0 && one.overall_percent < 99.0).count();
        let last = progress(told.last().unwrap());
        assert_eq!((last.phase, last.status, last.overall_percent), (Phase::Done, Some(RunStatus::Completed), 100.0));
        assert_eq!((last.bytes_done, last.eta_seconds), (2 * PIECES * PIECE as u64, Some(0)));
    }
    assert!(checks > 0, "nobody saw how far the check was");
    let mut told = vec![at_once];
    told.extend(within(&engine, "both ends", until_finals(&mut late, 2)));
    check(&told);
    assert_eq!(finals(&told), runs);
    let after = present(&engine);
    assert_eq!((after.active, after.phase, &after.run_id), (false, Phase::Idle, &runs[1]));

    // Who was away is told the same ends as who was there, in their order; who has seen one, what came after.
    let ends: Vec<_> = told.iter().filter(|notice| notice.event_type == EventType::Final).collect();
    for (since, expected) in [(0, &ends[..]), (ends[0].seq.0 - 1, &ends[..]), (ends[0].seq.0, &ends[1..])] {
        let again = within(&engine, "the ends", until_finals(&mut open(engine.handle(), Some(since)), expected.len()));
        let told = |notice: &Notice| (notice.seq, notice.data.get().to_owned());
        assert_eq!(
            again.iter().map(told).collect::<Vec<_>>(),
            expected.iter().map(|one| told(one)).collect::<Vec<_>>()
        );
    }
    drop(late);
    engine.stop();
}

#[test]
fn an_end_that_came_while_nobody_was_there_is_told_after_the_next_start() {
    let home = Home::new();
    let door = Door::default();
    let code = |door: Option<Door>| {
        move |artifacts: &mut Artifacts| {
            artifacts.expect_bytes(4);
            let mut sink = artifacts.create("a.data")?;
            sink.write_all(b"ab")?;
            if let Some(door) = &door {
                let waiting = door.clone();
                std::thread::spawn(move || waiting.pass());
                while !artifacts.stopped() {
                    std::thread::yield_now();
                }
            }
            sink.write_all(b"cd")?;
            sink.finish()
        }
    };
    let start = |door| builder(&home).participant_with(module("a").deadlines(patient()), code(door)).start_blocking();
    let engine = start(Some(door.clone())).unwrap();
    let mut feed = open(engine.handle(), None);
    let run = engine.back_up(Backup::full()).unwrap();
    door.wait_for(1);
    let seen = within(&engine, "half of it", async {
        loop {
            let notice = feed.next().await.unwrap();
            if progress(&notice).overall_percent > 0.0 {
                return notice;
            }
        }
    });
    assert_eq!((progress(&seen).overall_percent, progress(&seen).attempt), (45.0, 1));
    drop(feed);
    engine.stop();
    door.open();

    let engine = start(None).unwrap();
    let mut feed = open(engine.handle(), Some(seen.seq.0));
    let told = within(&engine, "its end", until_finals(&mut feed, 1));
    assert_eq!(finals(&told), [run.run_id.to_string()]);
    let last = progress(told.last().unwrap());
    assert_eq!((last.status, last.attempt, last.overall_percent), (Some(RunStatus::Completed), 2, 100.0));
    // What an attempt began with is what was recorded: nothing of the one before.
    for update in &told[..told.len() - 1] {
        assert_eq!(progress(update).attempt, 2);
    }
    check(&told);
    drop(feed);

    // And once more, where the end lies before the start.
    engine.stop();
    let engine = start(None).unwrap();
    let again = within(&engine, "its end", until_finals(&mut open(engine.handle(), Some(seen.seq.0)), 1));
    assert_eq!(again[0].data.get(), told.last().unwrap().data.get());
    engine.stop();
}

#[test]
fn runs_that_wait_are_shown_and_one_who_is_slow_misses_no_end() {
    let home = Home::new();
    let door = Door::default();
    let waits = door.clone();
    let code = move |artifacts: &mut Artifacts| {
        waits.pass();
        good(artifacts)
    };
    let engine = builder(&home).participant_with(module("a").deadlines(patient()), code).start_blocking().unwrap();
    let mut slow = open(engine.handle(), None);
    let handles: Vec<_> = (0..5).map(|_| engine.back_up(Backup::full()).unwrap()).collect();
    let ids: Vec<RunId> = handles.iter().map(|handle| handle.run_id).collect();
    door.wait_for(1);
    let shown = present(&engine);
    assert_eq!((shown.run_id, shown.phase), (ids[0].to_string(), Phase::Backup));
    // Nobody takes anything until all have ended; each of those that wait would have had its turn.
    let mut look = open(engine.handle(), None);
    let mut seen = std::collections::BTreeMap::new();
    within(&engine, "each of the five", async {
        while seen.len() < ids.len() {
            let progress = progress(&look.next().await.unwrap());
            seen.insert(progress.run_id, (progress.status, progress.phase));
        }
    });
    assert_eq!(seen.values().filter(|row| **row == (Some(RunStatus::Queued), Phase::Queued)).count(), 4);
    door.open();
    for handle in handles {
        end(&engine, handle);
    }
    let told = within(&engine, "their ends", until_finals(&mut slow, ids.len()));
    assert_eq!(finals(&told), ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    check(&told);
    drop((slow, look));
    engine.stop();
}

fn values(told: &[Notice]) -> Vec<Value> {
    told.iter().map(|notice| serde_json::from_str(notice.data.get()).unwrap()).collect()
}

async fn take(feed: &mut Feed, count: usize) -> Vec<Notice> {
    let mut told = Vec::new();
    while told.len() < count {
        told.push(feed.next().await.unwrap());
    }
    told
}

#[test]
fn events_and_alerts_are_told_from_any_position_and_then_live() {
    let home = Home::new();
    let fails = |_: &mut Artifacts| Err(ParticipantError::fatal("BROKEN", "it is broken"));
    let engine = builder(&home)
        .participant_with(module("whole"), good)
        .participant_with(module("broken").optional(), fails)
        .start_blocking()
        .unwrap();
    let mut live = Feed::open(engine.handle(), Channel::Alerts, None);
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Partial));
    let alert = within(&engine, "the alert", take(&mut live, 1));
    let told = &values(&alert)[0];
    assert_eq!((&told["alert"], &told["severity"]), (&"RUN_PARTIAL".into(), &"warning".into()));
    assert_eq!(told["run_id"], run.id().unwrap().to_string());
    assert!(text(&told["message"]).contains("it is broken"), "{told}");
    assert_eq!(told["position"], alert[0].seq.0);
    let mut again = Feed::open(engine.handle(), Channel::Alerts, Some(Position::START));
    assert_eq!(values(&within(&engine, "the alert", take(&mut again, 1))), values(&alert));

    let head = engine.handle().head().0;
    let mut events = Feed::open(engine.handle(), Channel::BackupEvents, Some(Position(2)));
    let told = within(&engine, "all events", take(&mut events, head as usize - 2));
    let positions: Vec<_> = told.iter().map(|notice| notice.seq.0).collect();
    assert_eq!(positions, (3..=head).collect::<Vec<_>>());
    for (notice, event) in told.iter().zip(values(&told)) {
        assert_eq!(event["position"], notice.seq.0);
        assert!(event["type"].is_string() && event["stream"].is_string(), "{event}");
    }
    // A position that the log has not reached is the present.
    let mut ahead = Feed::open(engine.handle(), Channel::BackupEvents, Some(Position(head + 1000)));
    assert_eq!(ahead.from().0, head);
    let next = back_up(&engine, Backup::scoped([name("whole")]));
    let first = within(&engine, "the next event", take(&mut ahead, 1));
    assert_eq!((first[0].seq.0, &values(&first)[0]["type"]), (head + 1, &"RunRequested".into()));
    assert_eq!(next.outcome(), Some(Outcome::Completed));
    drop((live, again, events, ahead));
    engine.stop();
}

#[test]
fn restores_are_told_when_they_begin_and_once_when_they_end() {
    let home = Home::new();
    let engine = builder(&home).config(config(1, 1)).participant_with(module("a"), good).start_blocking().unwrap();
    let run_id = back_up(&engine, Backup::full()).id().unwrap();
    let restore = |number: u128, command: RestoreCommand| {
        within(&engine, "it is recorded", engine.handle().restore(RestoreId(Uuid::from_u128(number)), command))
            .unwrap();
    };
    let request = |number: u128| {
        RestoreCommand::Request(RestoreRequestedV3 {
            restore_id: RestoreId(Uuid::from_u128(number)),
            source_run: run_id,
            target: "/nowhere".into(),
            staging: b"/nowhere.staging".to_vec(),
            selections: 0,
            overwrite: false,
            delete: false,
            force: false,
            safety: Safety::None,
            timeout_ms: 0,
            participants: Vec::new(),
        })
    };
    let head = engine.handle().head();
    let mut live = Feed::open(engine.handle(), Channel::RestoreProgress, None);
    restore(1, request(1));
    let began = within(&engine, "its beginning", take(&mut live, 1));
    assert_eq!((began[0].event_type, &values(&began)[0]["target"]), (EventType::Update, &"/nowhere".into()));
    restore(1, RestoreCommand::Complete(RestoreCompletedV1 { files: 1, bytes: 2, warnings: 0 }));
    restore(2, request(2));
    restore(2, RestoreCommand::Fail(Failure::new(FailureKind::Fatal, "BROKEN", "it is broken")));
    restore(3, request(3));
    let told = within(&engine, "their ends", take(&mut live, 3));
    let of = |told: &[Notice]| -> Vec<_> {
        values(told).iter().zip(told).map(|(view, notice)| (text(&view["status"]), notice.event_type)).collect()
    };
    let open = ("interrupted".to_owned(), EventType::Update);
    let ends = [("completed".to_owned(), EventType::Final), ("failed".to_owned(), EventType::Final), open];
    let mut seen = of(&told);
    // The second one may have been seen at work.
    if seen[1].1 == EventType::Update {
        seen.remove(1);
        seen.extend(of(&within(&engine, "the last", take(&mut live, 1))));
    }
    assert_eq!(seen, ends);
    // Nobody works on the last one here; all of it is there for one who was away.
    let mut away = Feed::open(engine.handle(), Channel::RestoreProgress, Some(head));
    assert_eq!(of(&within(&engine, "all of it", take(&mut away, 3))), ends);
    drop((live, away));
    engine.stop();
}
