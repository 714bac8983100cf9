//! An application with an engine inside: many participants, stops and starts, late registrations, subscriptions.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use holdfast::blocking;
use holdfast::engine::{Backup, Builder, EngineError, Holdfast, Registered};
use holdfast::model::ids::{Position, Version};
use holdfast::model::progress::Phase;
use holdfast::model::run::{Outcome, ParticipantStatus};
use holdfast::model::story::LogLine;
use holdfast::participant::{ArtifactSink, Artifacts, Deadlines, Descriptor, Participant, ParticipantError};

use crate::support::engine::{
    Count, Door, SOON, back_up, builder, came_to, config, end, expect_directory, good, module, name, of, patient,
    wait_until, within, write,
};
use crate::support::{DEADLINE, Home, Random};

#[test]
fn eight_participants_with_half_full_chunks_share_one_worker() {
    const PARTICIPANTS: usize = 8;
    const PIECE: usize = 2 << 20;
    let home = Home::new();
    let together = Arc::new(Barrier::new(PARTICIPANTS));
    let mut builder = builder(&home).config(config(PARTICIPANTS, 1));
    for number in 0..PARTICIPANTS {
        let together = together.clone();
        builder = builder.participant_with(module(&format!("p{number}")), move |artifacts: &mut Artifacts| {
            let content = Random(number as u64).bytes(PIECE);
            let mut sink = artifacts.create(&format!("p{number}"))?;
            // All of them hold half a chunk at the same time, ten times over.
            for _ in 0..10 {
                sink.write_all(&content)?;
                together.wait();
            }
            sink.finish()
        });
    }
    let engine = builder.start_blocking().unwrap();
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
    for (name, content) in expect_directory(&home, &run) {
        let piece = Random(name[1..].parse().unwrap()).bytes(PIECE);
        assert!(content.len() == 10 * PIECE && content.chunks(PIECE).all(|part| part == piece), "{name}");
    }
    engine.stop();
}

/// A number of `/proc/self/status`.
fn of_process(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn two_hundred_small_participants_take_bounded_threads_and_memory() {
    let home = Home::new();
    let (threads, mut builder) = (Count::default(), builder(&home).config(config(4, 2)));
    for number in 0..200 {
        let threads = threads.clone();
        builder = builder.participant_with(module(&format!("small-{number}")), move |artifacts: &mut Artifacts| {
            let mut sink = artifacts.create(&format!("small-{number}"))?;
            sink.write_all(&Random(number).bytes(10_000))?;
            threads.raise_to(of_process("Threads:"));
            sink.finish()
        });
    }
    let engine = builder.start_blocking().unwrap();
    let before = of_process("Threads:");
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
    let more = threads.get() - before;
    let peak = of_process("VmHWM:") / 1024;
    println!("{before} threads before, {more} more at most; {peak} MiB at most");
    // Two for each participant at work, those that may block for storage, and a few.
    assert!(more <= 32, "{more} threads more for 4 participants at a time");
    assert!(peak <= 256, "{peak} MiB");
    assert_eq!(expect_directory(&home, &run).len(), 200);
    engine.stop();
}

/// An application with three modules: the middle one waits at a door in its first life.
fn three(home: &Home, calls: &Count, door: Option<&Door>) -> Builder {
    let (counted, door) = (calls.clone(), door.cloned());
    let deadlines = Deadlines { grace: DEADLINE, ..patient() };
    builder(home)
        .config(config(1, 1))
        .participant_with(module("first"), move |artifacts: &mut Artifacts| {
            counted.up();
            good(artifacts)
        })
        .participant_with(module("second").deadlines(deadlines), move |artifacts: &mut Artifacts| {
            let mut sink = artifacts.create("second.data")?;
            sink.write_all(b"sec")?;
            if let Some(door) = &door {
                let waiting = door.clone();
                std::thread::spawn(move || waiting.pass());
                while !artifacts.stopped() {
                    std::thread::yield_now();
                }
            }
            sink.write_all(b"ond")?;
            sink.finish()
        })
        .participant_with(module("third"), good)
}

#[test]
fn a_stop_at_work_leaves_the_run_open_and_the_next_start_completes_it() {
    let home = Home::new();
    let (calls, door) = (Count::default(), Door::default());
    let engine = three(&home, &calls, Some(&door)).start_blocking().unwrap();
    let handle = engine.back_up(Backup::full()).unwrap();
    let run_id = handle.run_id;
    door.wait_for(1);
    let began = Instant::now();
    engine.stop();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    door.open();
    assert!(handle.watch.borrow().is_open(), "a stop ends no run");

    let engine = three(&home, &calls, None).start_blocking().unwrap();
    assert_eq!(engine.handle().resumed().iter().map(|handle| handle.run_id).collect::<Vec<_>>(), [run_id]);
    let run = end(&engine, engine.handle().resumed()[0].clone());
    assert_eq!((run.outcome(), run.attempt()), (Some(Outcome::Completed), 2));
    assert_eq!(calls.get(), 1, "what was whole is kept");
    let contents = expect_directory(&home, &run);
    assert_eq!(contents["second.data"], b"second");
    assert_eq!(contents.len(), 3);
    assert!(engine.drain(DEADLINE));
    engine.stop();
}

#[test]
fn a_stop_does_not_wait_for_code_that_never_returns() {
    let home = Home::new();
    let door = Door::default();
    let blocked = door.clone();
    let deadlines = Deadlines { grace: SOON, ..patient() };
    let engine = builder(&home)
        .participant_with(module("deaf").deadlines(deadlines), move |artifacts: &mut Artifacts| {
            let mut sink = artifacts.create("deaf")?;
            sink.write_all(b"begun")?;
            blocked.pass();
            assert!(sink.write_all(b"on it goes").is_err(), "nothing is written into a home that was given back");
            sink.finish()
        })
        .start_blocking()
        .unwrap();
    let handle = engine.back_up(Backup::full()).unwrap();
    door.wait_for(1);
    let began = Instant::now();
    engine.stop();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());

    // Not beside it: once it has found out.
    door.open();
    let engine = builder(&home)
        .participant_with(module("deaf"), |artifacts: &mut Artifacts| write(artifacts, "deaf", b"again"))
        .start_blocking()
        .unwrap();
    let run = end(&engine, engine.handle().resumed()[0].clone());
    assert_eq!((run.id(), run.outcome()), (Some(handle.run_id), Some(Outcome::Completed)));
    assert_eq!(expect_directory(&home, &run)["deaf"], b"again");
    engine.stop();
}

/// Leaves a run open whose only participant `late` was at work.
fn interrupted(home: &Home, descriptor: Descriptor) {
    let door = Door::default();
    let announced = door.clone();
    let engine = builder(home)
        .participant_with(descriptor, move |artifacts: &mut Artifacts| {
            let announced = announced.clone();
            std::thread::spawn(move || announced.pass());
            while !artifacts.stopped() {
                std::thread::yield_now();
            }
            Err(ParticipantError::retryable("STOPPED", "it was stopped"))
        })
        .start_blocking()
        .unwrap();
    engine.back_up(Backup::full()).unwrap();
    door.wait_for(1);
    engine.stop();
    door.open();
}

fn registered(descriptor: Descriptor, code: impl Participant) -> Registered {
    Registered { descriptor, code: Arc::new(code) }
}

#[test]
fn a_module_that_comes_late_is_waited_for() {
    let home = Home::new();
    interrupted(&home, module("late"));
    let engine = builder(&home).late_registration(DEADLINE).start_blocking().unwrap();
    let handle = engine.handle().resumed()[0].clone();
    wait_until(&engine, &handle, |run| (run.attempt(), of(run, "late").status) == (2, ParticipantStatus::Running));
    engine.handle().register(registered(module("late"), good)).unwrap();
    let twice = engine.handle().register(registered(module("LATE"), good)).unwrap_err();
    assert_eq!(twice.code(), "PARTICIPANT_TWICE");
    let run = end(&engine, handle);
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    assert_eq!(expect_directory(&home, &run)["late.data"], b"late");
    engine.stop();
}

#[test]
fn a_module_that_never_comes_fails_and_says_what_to_do() {
    let home = Home::new();
    interrupted(&home, module("gone"));
    let engine = builder(&home).late_registration(SOON).start_blocking().unwrap();
    let run = end(&engine, engine.handle().resumed()[0].clone());
    assert_eq!(run.outcome(), Some(Outcome::Failed));
    assert_eq!(came_to(&run, "gone"), (ParticipantStatus::Failed, "PARTICIPANT_MISSING", 1));
    assert!(expect_directory(&home, &run).is_empty());
    engine.stop();
}

#[test]
fn a_run_that_waits_for_a_module_can_be_cancelled() {
    let home = Home::new();
    interrupted(&home, module("gone"));
    let engine = builder(&home).late_registration(Duration::from_secs(3600)).start_blocking().unwrap();
    let handle = engine.handle().resumed()[0].clone();
    wait_until(&engine, &handle, |run| (run.attempt(), of(run, "gone").status) == (2, ParticipantStatus::Running));
    engine.cancel(handle.run_id, "it will not come").unwrap();
    let run = end(&engine, handle);
    assert_eq!(run.outcome(), Some(Outcome::Cancelled));
    assert_eq!(of(&run, "gone").status, ParticipantStatus::Cancelled);
    engine.stop();
}

#[test]
fn a_module_that_writes_another_format_now_does_not_mix_it_into_the_run() {
    let home = Home::new();
    interrupted(&home, module("changed").format_version(1));
    let engine = builder(&home).participant_with(module("changed").format_version(2), good).start_blocking().unwrap();
    let run = end(&engine, engine.handle().resumed()[0].clone());
    assert_eq!(came_to(&run, "changed"), (ParticipantStatus::Failed, "DEFINITION_CHANGED", 1));
    assert!(expect_directory(&home, &run).is_empty());
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    engine.stop();
}

#[test]
fn an_engine_that_is_dropped_gives_the_home_back_and_leaves_its_run_open() {
    let home = Home::new();
    let (calls, door) = (Count::default(), Door::default());
    let engine = three(&home, &calls, Some(&door)).start_blocking().unwrap();
    let handle = engine.back_up(Backup::full()).unwrap();
    door.wait_for(1);
    drop(engine);
    // The lock is waited for, as after any other owner.
    let engine = three(&home, &calls, None).start_blocking().unwrap();
    door.open();
    let run = end(&engine, engine.handle().resumed()[0].clone());
    assert_eq!((run.id(), run.outcome()), (Some(handle.run_id), Some(Outcome::Completed)));
    assert_eq!(calls.get(), 1);
    expect_directory(&home, &run);
    let told = engine.handle().run_events(handle.run_id, Version::NONE).unwrap();
    let interrupted = told.iter().find(|event| event.event_type == "RunInterrupted").unwrap();
    let line = LogLine::of(interrupted).message;
    assert_eq!(line, "it was interrupted: the program was stopped while attempt 1 was at work");
    engine.stop();
}

#[test]
fn handles_dropped_on_a_runtime_of_the_application_give_the_home_back_too() {
    let home = Home::new();
    // One thread, as `#[tokio::main(flavor = "current_thread")]` has it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..2 {
        runtime.block_on(async {
            let started = builder(&home).participant_with(module("good"), good).start().await.unwrap();
            let clone = started.clone();
            let handle = started.back_up(Backup::full()).await.unwrap();
            let run = tokio::time::timeout(DEADLINE, started.wait(handle)).await.unwrap().unwrap();
            assert_eq!(run.outcome(), Some(Outcome::Completed));
            expect_directory(&home, &run);
            drop(started);
            assert_eq!(clone.participants().len(), 1, "a clone keeps it going");
            drop(clone);
        });
    }
    // Nothing is left of the first two that would hold it.
    let engine = blocking_with_no_wait(&home);
    engine.stop();
}

/// Takes the home once its owner has let go, and then asks without any wait.
fn blocking_with_no_wait(home: &Home) -> blocking::Holdfast {
    builder(home).start_blocking().unwrap().stop();
    builder(home).lock_wait(Duration::ZERO).start_blocking().unwrap()
}

#[test]
fn a_home_in_use_and_a_name_taken_twice_are_refused() {
    let home = Home::new();
    let engine = builder(&home).participant_with(module("good"), good).start_blocking().unwrap();
    let second = builder(&home).lock_wait(Duration::ZERO).start_blocking().err().unwrap();
    assert_eq!(second.code(), "HOME_IN_USE", "{second}");
    let unknown = engine.back_up(Backup::scoped([name("bad")])).unwrap_err();
    assert_eq!(unknown.code(), "UNKNOWN_PARTICIPANT");
    assert!(matches!(&unknown, EngineError::UnknownParticipant { known, .. } if known == &["good"]), "{unknown}");
    engine.stop();

    let twice = builder(&home).participant("a", good).participant("A", good).start_blocking().err().unwrap();
    assert_eq!(twice.code(), "PARTICIPANT_TWICE");
    let odd = builder(&home).participant("../a", good).start_blocking().err().unwrap();
    assert_eq!(odd.code(), "INVALID_DATA", "{odd}");
    let engine = builder(&home).lock_wait(Duration::ZERO).start_blocking().unwrap();
    assert_eq!(engine.back_up(Backup::full()).unwrap_err().code(), "NO_PARTICIPANTS");
    engine.handle().register(registered(module("good"), good)).unwrap();
    let handle = engine.handle().clone();
    engine.stop();
    let stopped = tokio::runtime::Runtime::new().unwrap().block_on(handle.back_up(Backup::full())).unwrap_err();
    assert_eq!(stopped.code(), "ENGINE_STOPPED");
}

#[test]
fn events_and_progress_are_told_to_the_end() {
    let home = Home::new();
    let door = Door::default();
    let half = door.clone();
    let engine = builder(&home)
        .participant_with(module("good"), move |artifacts: &mut Artifacts| {
            artifacts.expect_bytes(2000);
            let mut sink = artifacts.create("good.data")?;
            sink.write_all(&[1; 1000])?;
            half.pass();
            sink.write_all(&[2; 1000])?;
            sink.finish()
        })
        .start_blocking()
        .unwrap();
    let handle = engine.back_up(Backup::full()).unwrap();
    let mut events = engine.handle().events(Position::START);
    let told = within(&engine, "progress to its end", async {
        let mut updates = engine.handle().progress_updates(handle.clone());
        let mut told = Vec::new();
        while let Some(progress) = updates.next().await {
            if progress.bytes_done == 1000 {
                door.open();
            }
            told.push(progress);
        }
        told
    });
    assert!(told.iter().any(|progress| progress.bytes_done == 1000 && progress.bytes_total == 2000), "{told:?}");
    let last = told.last().unwrap();
    assert_eq!((last.phase, last.bytes_done, last.overall_percent), (Phase::Done, 2000, 100.0));
    assert!(told.windows(2).all(|pair| pair[0].overall_percent <= pair[1].overall_percent), "{told:?}");

    let engine_of_events = engine.handle().clone();
    let seen = within(&engine, "events to the run's end", async {
        let mut seen = Vec::new();
        while !seen.contains(&"RunPublished") {
            seen.extend(events.next(3).await.unwrap().iter().map(|event| event.event_type));
        }
        seen
    });
    assert_eq!(seen.first(), Some(&"HomeCreated"));
    for event in ["RunRequested", "ParticipantStarted", "WorkStarted", "ArtifactStored", "RunPublishRequested"] {
        assert!(seen.contains(&event), "{event}: {seen:?}");
    }
    drop(engine_of_events);
    let waiting = events.position();
    engine.stop();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let after = runtime.block_on(async { tokio::time::timeout(DEADLINE, events.next(1)).await }).expect("an answer");
    assert!(after.is_err() || events.position() > waiting, "a stopped engine's events have an end");
}

#[test]
fn a_sink_that_outlives_its_try_writes_nothing_more() {
    let home = Home::new();
    let kept: Arc<Mutex<Option<ArtifactSink>>> = Arc::default();
    let keep = kept.clone();
    let engine = builder(&home)
        .participant_with(module("leaky").optional(), move |artifacts: &mut Artifacts| {
            let mut sink = artifacts.create("leaked")?;
            sink.write_all(b"begun")?;
            *keep.lock().unwrap() = Some(sink);
            Ok(())
        })
        .participant_with(module("good"), good)
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full());
    assert_eq!(came_to(&run, "leaky"), (ParticipantStatus::Failed, "ARTIFACT_UNFINISHED", 1));
    let mut sink = kept.lock().unwrap().take().unwrap();
    assert!(sink.write_all(b"more").is_err());
    assert!(sink.finish().is_err());
    assert_eq!(expect_directory(&home, &run).into_keys().collect::<Vec<_>>(), ["good.data"]);
    engine.stop();
}

#[test]
fn async_code_enters_its_runtime_from_a_participant() {
    let home = Home::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let (send, receive) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
        let receive = tokio::sync::Mutex::new(receive);
        let engine: Holdfast = builder(&home)
            .participant_with(module("async"), move |artifacts: &mut Artifacts| {
                let mut sink = artifacts.create("async.data")?;
                handle.block_on(async {
                    let mut receive = receive.lock().await;
                    while let Some(bytes) = receive.recv().await {
                        sink.write_all(&bytes)?;
                    }
                    Ok::<_, ParticipantError>(())
                })?;
                sink.finish()
            })
            .start()
            .await
            .unwrap();
        let run = engine.back_up(Backup::full()).await.unwrap();
        for part in 0..10_u8 {
            send.send(vec![part; 100]).await.unwrap();
        }
        drop(send);
        let run = tokio::time::timeout(DEADLINE, engine.wait(run)).await.unwrap().unwrap();
        assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
        assert_eq!(expect_directory(&home, &run)["async.data"].len(), 1000);
        engine.stop().await;
    });
}

#[test]
fn code_that_an_engine_left_behind_is_never_run_beside_itself_by_the_next() {
    let home = Home::new();
    let (door, calls) = (Door::default(), Count::default());
    let start = || {
        let (door, calls) = (door.clone(), calls.clone());
        let stays = module("stays").deadlines(Deadlines { grace: SOON, ..patient() }).tries(1, SOON);
        let code = move |artifacts: &mut Artifacts| {
            calls.up();
            door.pass();
            good(artifacts)
        };
        builder(&home).participant_with(stays, code).start_blocking().unwrap()
    };
    let first = start();
    first.back_up(Backup::full()).unwrap();
    door.wait_for(1);
    first.stop();

    let second = start();
    let resumed = second.handle().resumed()[0].clone();
    let run = end(&second, resumed);
    assert_eq!(came_to(&run, "stays"), (ParticipantStatus::Failed, "PARTICIPANT_STUCK", 1));
    assert_eq!(calls.get(), 1);
    door.open();
    wait_until_returned(&second);
    assert_eq!(calls.get(), 2);
    second.stop();
}

/// Backs up until the code that was left behind has returned, and the run completes.
fn wait_until_returned(engine: &blocking::Holdfast) {
    let began = Instant::now();
    while back_up(engine, Backup::full()).outcome() != Some(Outcome::Completed) {
        assert!(began.elapsed() < DEADLINE, "it never returned");
    }
}
