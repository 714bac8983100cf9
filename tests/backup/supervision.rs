//! What becomes of participants that do not behave, and of those beside them.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast::engine::Backup;
use holdfast::model::failure::FailureKind;
use holdfast::model::run::{Outcome, ParticipantStatus, Run};
use holdfast::participant::{Artifacts, Deadlines, Descriptor, Participant, ParticipantError, Preflight};

use crate::support::engine::{
    Count, Door, SOON, back_up, builder, came_to, code, config, end, expect_directory, good, module, name, of, patient,
    wait_for_events, wait_until, write,
};
use crate::support::{DEADLINE, Home, Random};

/// Writes more, and more, whatever the sink says, until it is let go.
fn flood(artifacts: &mut Artifacts, until: &Door) -> Result<(), ParticipantError> {
    let mut sink = artifacts.create("flood")?;
    let began = Instant::now();
    let mut refused = 0;
    while refused < 1000 && began.elapsed() < DEADLINE {
        refused += usize::from(sink.write_all(&[7; 10_000]).is_err());
    }
    until.pass();
    assert!(sink.write_all(b"and more").is_err(), "its sink takes nothing any more");
    Ok(())
}

#[test]
fn code_that_panics_is_tried_again_and_fails_alone() {
    let home = Home::new();
    let calls = Count::default();
    let counted = calls.clone();
    let engine = builder(&home)
        .participant_with(module("bomb"), move |artifacts: &mut Artifacts| {
            counted.up();
            let mut sink = artifacts.create("half")?;
            sink.write_all(b"half of it")?;
            panic!("on purpose, while it writes")
        })
        .participant_with(module("good"), good)
        .start_blocking()
        .unwrap();

    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Failed));
    assert_eq!(came_to(&run, "bomb"), (ParticipantStatus::Failed, "PARTICIPANT_PANICKED", 3));
    let failure = of(&run, "bomb").failure.as_ref().unwrap();
    assert!(failure.message.contains("on purpose, while it writes"), "{failure}");
    assert_eq!(calls.get(), 3);
    assert_eq!(came_to(&run, "good"), (ParticipantStatus::Completed, "", 1));
    assert_eq!(expect_directory(&home, &run)["good.data"], b"good");
    assert!(run.error_summary().contains("bomb"), "{}", run.error_summary());

    // The engine is none the worse for it.
    let run = back_up(&engine, Backup::scoped([name("good")]));
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    engine.stop();
}

/// Stands still in its preflight.
struct Hesitant;

impl Participant for Hesitant {
    fn preflight(&self, check: &Preflight) -> Result<(), ParticipantError> {
        let began = Instant::now();
        while !check.stopped() && began.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        good(artifacts)
    }
}

#[test]
fn what_hangs_or_is_late_fails_by_its_deadline_and_leaves_nothing() {
    let home = Home::new();
    let until_stopped = |artifacts: &Artifacts, beat: bool| {
        let began = Instant::now();
        while !artifacts.stopped() && began.elapsed() < DEADLINE {
            if beat {
                artifacts.alive();
            }
            std::thread::yield_now();
        }
    };
    let engine = builder(&home)
        .participant_with(
            module("stalls").deadlines(Deadlines { stall: Some(SOON), ..patient() }),
            move |artifacts: &mut Artifacts| {
                write(artifacts, "stalls.first", b"whole")?;
                let mut sink = artifacts.create("stalls.second")?;
                sink.write_all(b"begun")?;
                until_stopped(artifacts, false);
                sink.finish()
            },
        )
        .participant_with(
            module("late").deadlines(Deadlines { write: Some(SOON), stall: Some(DEADLINE), ..patient() }),
            move |artifacts: &mut Artifacts| {
                write(artifacts, "late.data", b"whole, and too late")?;
                until_stopped(artifacts, true);
                Ok(())
            },
        )
        .participant_with(module("hesitant").deadlines(Deadlines { preflight: Some(SOON), ..patient() }), Hesitant)
        .participant_with(module("good"), good)
        .start_blocking()
        .unwrap();

    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Failed));
    assert_eq!(came_to(&run, "stalls"), (ParticipantStatus::Timeout, "PARTICIPANT_STALLED", 1));
    assert_eq!(came_to(&run, "late"), (ParticipantStatus::Timeout, "PARTICIPANT_TIMEOUT", 1));
    assert_eq!(came_to(&run, "hesitant"), (ParticipantStatus::Timeout, "PREFLIGHT_TIMEOUT", 1));
    assert_eq!(expect_directory(&home, &run).into_keys().collect::<Vec<_>>(), ["good.data"]);
    engine.stop();
}

#[test]
fn a_deadline_that_passed_between_two_looks_is_a_failure_too() {
    let home = Home::new();
    // Ends long before the engine looks again.
    let deadlines = Deadlines { write: Some(Duration::from_millis(1)), ..patient() };
    let engine = builder(&home)
        .participant_with(module("late").deadlines(deadlines), |artifacts: &mut Artifacts| {
            let began = Instant::now();
            while began.elapsed() <= Duration::from_millis(1) {
                std::thread::yield_now();
            }
            good(artifacts)
        })
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full());
    assert_eq!(came_to(&run, "late"), (ParticipantStatus::Timeout, "PARTICIPANT_TIMEOUT", 1));
    assert!(expect_directory(&home, &run).is_empty());
    engine.stop();
}

#[test]
fn the_run_goes_on_without_stuck_code_and_nothing_is_begun_beside_it() {
    let home = Home::new();
    let (door, calls) = (Door::default(), Count::default());
    let deadlines = Deadlines { stall: Some(SOON), grace: SOON, ..patient() };
    let stuck = {
        let (door, calls) = (door.clone(), calls.clone());
        move |artifacts: &mut Artifacts| {
            calls.up();
            good(artifacts)?;
            door.pass();
            write(artifacts, "stuck.afterwards", b"nobody wants it")
        }
    };
    let flooding = {
        let door = door.clone();
        let deadlines = Deadlines { write: Some(SOON), grace: SOON, ..patient() };
        (module("flooding").deadlines(deadlines), move |artifacts: &mut Artifacts| flood(artifacts, &door))
    };
    let engine = builder(&home)
        .participant_with(module("stuck").deadlines(deadlines), stuck)
        .participant_with(flooding.0, flooding.1)
        .participant_with(module("good"), good)
        .start_blocking()
        .unwrap();

    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Failed));
    assert_eq!(came_to(&run, "stuck"), (ParticipantStatus::Timeout, "PARTICIPANT_STALLED", 1));
    assert_eq!(came_to(&run, "flooding"), (ParticipantStatus::Timeout, "PARTICIPANT_TIMEOUT", 1));
    assert_eq!(expect_directory(&home, &run).into_keys().collect::<Vec<_>>(), ["good.data"]);
    wait_for_events(&engine, "WorkStuck", 2);

    // It has not returned: it is not called again, and the run says so.
    let run = back_up(&engine, Backup::scoped([name("stuck"), name("good")]));
    assert_eq!(came_to(&run, "stuck"), (ParticipantStatus::Failed, "PARTICIPANT_STUCK", 1));
    assert_eq!(calls.get(), 1);
    assert_eq!(expect_directory(&home, &run).into_keys().collect::<Vec<_>>(), ["good.data"]);

    door.open();
    wait_for_events(&engine, "WorkReturned", 2);
    let first = expect_directory(&home, &run);
    let again = back_up(&engine, Backup::scoped([name("good")]));
    assert_eq!(again.outcome(), Some(Outcome::Completed));
    assert_eq!(expect_directory(&home, &run), first, "what came late went nowhere");
    engine.stop();
}

#[test]
fn more_stuck_participants_than_chunks_of_memory_do_not_hold_the_others_up() {
    let home = Home::new();
    let door = Door::default();
    let mut builder = builder(&home).config(config(2, 1));
    for number in 0..8 {
        let door = door.clone();
        let deadlines = Deadlines { stall: Some(Duration::from_millis(100)), grace: SOON, ..patient() };
        let descriptor = module(&format!("stuck-{number}")).deadlines(deadlines).optional();
        builder = builder.participant_with(descriptor, move |artifacts: &mut Artifacts| {
            let mut sink = artifacts.create(&format!("stuck-{number}"))?;
            sink.write_all(b"a chunk that is not full")?;
            door.pass();
            Ok(())
        });
    }
    let content = Random(1).bytes(30_000_000);
    let expected = content.clone();
    let engine = builder
        .participant_with(module("good"), move |artifacts: &mut Artifacts| write(artifacts, "good", &content))
        .start_blocking()
        .unwrap();

    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Partial));
    assert!(expect_directory(&home, &run)["good"] == expected);
    door.open();
    engine.stop();
}

#[test]
fn what_another_try_may_mend_is_tried_again_and_what_none_can_is_not() {
    let home = Home::new();
    let calls = Count::default();
    let counted = calls.clone();
    let engine = builder(&home)
        .participant_with(module("third-time"), move |artifacts: &mut Artifacts| {
            // The same name each time: what a failed try left is gone.
            write(artifacts, "third-time.data", format!("try {}", counted.up()).as_bytes())?;
            assert_eq!(artifacts.work().try_number as usize, counted.get());
            if counted.get() < 3 { Err(ParticipantError::retryable("NOT_YET", "come again")) } else { Ok(()) }
        })
        .participant_with(module("fatal").optional(), |_: &mut Artifacts| {
            Err(ParticipantError::fatal("NEVER", "do not come again").with_output(b"its last words"))
        })
        .participant_with(module("full").optional(), |_: &mut Artifacts| {
            Err(ParticipantError::new(FailureKind::Resource, "NO_ROOM", "buy a disk"))
        })
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Partial));
    assert_eq!(of(&run, "third-time").status, ParticipantStatus::Completed);
    assert_eq!((of(&run, "third-time").tries, calls.get()), (3, 3));
    assert_eq!(came_to(&run, "fatal"), (ParticipantStatus::Failed, "NEVER", 1));
    assert_eq!(of(&run, "fatal").output, "its last words");
    assert_eq!(came_to(&run, "full"), (ParticipantStatus::Failed, "NO_ROOM", 1));
    assert_eq!(expect_directory(&home, &run)["third-time.data"], b"try 3");
    engine.stop();
}

#[test]
fn a_participant_that_fails_often_in_a_row_gets_one_try_a_run_until_it_is_good() {
    let home = Home::new();
    let (calls, bad) = (Count::default(), Count::default());
    bad.up();
    let (counted, is_bad) = (calls.clone(), bad.clone());
    let engine = builder(&home)
        .participant_with(module("moody"), move |artifacts: &mut Artifacts| {
            counted.up();
            match is_bad.get() {
                0 => good(artifacts),
                _ => Err(ParticipantError::retryable("MOODY", "not today")),
            }
        })
        .start_blocking()
        .unwrap();
    let tries = |expected: u32| {
        let before = calls.get();
        let run = back_up(&engine, Backup::full());
        assert_eq!(of(&run, "moody").tries, expected);
        assert_eq!(calls.get() - before, expected as usize);
        expect_directory(&home, &run);
        run.outcome().unwrap()
    };
    assert_eq!(tries(3), Outcome::Failed);
    assert_eq!(tries(2), Outcome::Failed, "the fifth failure in a row ends the tries");
    assert_eq!(tries(1), Outcome::Failed);
    wait_for_events(&engine, "ParticipantQuarantined", 1);

    bad.down();
    assert_eq!(tries(1), Outcome::Completed, "it is still tried, and good again");
    bad.up();
    assert_eq!(tries(3), Outcome::Failed, "a good run ends the quarantine");
    assert_eq!(tries(2), Outcome::Failed);

    engine.block_on(engine.handle().lift_quarantine(&name("moody"), "it was mended")).unwrap();
    let refused = engine.block_on(engine.handle().lift_quarantine(&name("moody"), "again")).unwrap_err();
    assert_eq!(refused.code(), "PARTICIPANT_NOT_QUARANTINED");
    assert_eq!(tries(3), Outcome::Failed);
    engine.stop();

    // It is in the log, so it outlives the process.
    let engine = builder(&home)
        .participant_with(module("moody"), |_: &mut Artifacts| Err(ParticipantError::retryable("MOODY", "still")))
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full());
    assert_eq!(of(&run, "moody").tries, 2, "three failures before, and two here");
    engine.stop();
}

#[test]
fn warnings_fail_a_strict_run_and_no_other() {
    let home = Home::new();
    let warns = |artifacts: &mut Artifacts| {
        artifacts.warn("one thing was left out");
        artifacts.note("nobody needs to act on this");
        good(artifacts)
    };
    let engine = builder(&home)
        .participant_with(module("warns"), warns)
        .participant_with(module("good"), good)
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full());
    assert_eq!((run.outcome(), run.warning_count()), (Some(Outcome::Completed), 1));
    expect_directory(&home, &run);

    let run = back_up(&engine, Backup::full().strict(true));
    assert_eq!(run.outcome(), Some(Outcome::Failed));
    assert_eq!(came_to(&run, "warns"), (ParticipantStatus::Failed, "STRICT_WARNINGS", 1));
    assert_eq!(expect_directory(&home, &run).into_keys().collect::<Vec<_>>(), ["good.data"]);
    engine.stop();
}

/// Notes who worked when, and how many at a time.
#[derive(Clone, Default)]
struct Watcher {
    at_work: Count,
    most: Count,
    order: Arc<Mutex<Vec<String>>>,
}

impl Watcher {
    /// A participant that is at work until so many are, where so many can be.
    fn participant(&self, together: usize) -> impl Fn(&mut Artifacts) -> Result<(), ParticipantError> + use<> {
        let watcher = self.clone();
        move |artifacts: &mut Artifacts| {
            watcher.order.lock().unwrap().push(artifacts.participant().to_string());
            watcher.most.raise_to(watcher.at_work.up());
            let began = Instant::now();
            while watcher.most.get() < together && began.elapsed() < DEADLINE {
                std::thread::yield_now();
            }
            let done = good(artifacts);
            watcher.at_work.down();
            done
        }
    }
}

#[test]
fn as_many_work_at_a_time_as_may_and_one_at_a_time_in_their_order() {
    for (max_parallel, together) in [(3, 3), (1, 1)] {
        let home = Home::new();
        let watcher = Watcher::default();
        let names: Vec<_> = ["delta", "alpha", "charlie", "bravo", "echo", "foxtrot", "golf"].to_vec();
        let mut builder = builder(&home).config(config(max_parallel, 1));
        for name in &names {
            builder = builder.participant_with(module(name), watcher.participant(together));
        }
        let engine = builder.start_blocking().unwrap();
        let run = back_up(&engine, Backup::full());
        assert_eq!(run.outcome(), Some(Outcome::Completed));
        assert_eq!(watcher.most.get(), max_parallel, "at work at a time");
        if max_parallel == 1 {
            assert_eq!(*watcher.order.lock().unwrap(), names, "the order they were registered in");
        }
        assert_eq!(expect_directory(&home, &run).len(), names.len());
        engine.stop();
    }
}

#[test]
fn dependents_work_after_what_they_depend_on_also_where_that_failed() {
    let home = Home::new();
    let watcher = Watcher::default();
    let failing = watcher.clone();
    let after = |descriptor: Descriptor, names: &[&str]| descriptor.depends_on(names.iter().map(|text| name(text)));
    let engine = builder(&home)
        .participant_with(after(module("last"), &["middle", "broken"]), watcher.participant(1))
        .participant_with(after(module("middle"), &["first"]), watcher.participant(1))
        .participant_with(module("broken").optional(), move |_: &mut Artifacts| {
            failing.order.lock().unwrap().push("broken".into());
            Err(ParticipantError::fatal("BROKEN", "it is broken"))
        })
        .participant_with(module("first"), watcher.participant(1))
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Partial));
    let order = std::mem::take(&mut *watcher.order.lock().unwrap());
    let place = |name: &str| order.iter().position(|other| other == name).unwrap();
    assert!(place("first") < place("middle") && place("middle") < place("last"), "{order:?}");
    assert!(place("broken") < place("last"), "{order:?}");
    expect_directory(&home, &run);

    // Those that are not part of a run are not waited for.
    let run = back_up(&engine, Backup::scoped([name("last"), name("first")]));
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    let mut order = std::mem::take(&mut *watcher.order.lock().unwrap());
    order.sort();
    assert_eq!(order, ["first", "last"]);
    engine.stop();
}

#[test]
fn a_cancelled_run_stops_those_at_work_and_does_not_wait_for_a_retry() {
    let home = Home::new();
    let (at_work, calls) = (Door::default(), Count::default());
    let mut builder = builder(&home).config(config(3, 2));
    for name in ["one", "two"] {
        let at_work = at_work.clone();
        builder = builder.participant_with(module(name), move |artifacts: &mut Artifacts| {
            let mut sink = artifacts.create(&format!("{}.data", artifacts.participant()))?;
            let announced = at_work.clone();
            std::thread::spawn(move || announced.pass());
            loop {
                sink.write_all(&[1; 1000])?;
            }
        });
    }
    let counted = calls.clone();
    let engine = builder
        .participant_with(module("later").tries(3, DEADLINE), move |_: &mut Artifacts| {
            counted.up();
            Err(ParticipantError::retryable("LATER", "in a while"))
        })
        .participant_with(module("never").depends_on([name("one")]), good)
        .start_blocking()
        .unwrap();

    let handle = engine.back_up(Backup::full()).unwrap();
    at_work.wait_for(2);
    wait_until(&engine, &handle, |run| run.participant(&name("later")).is_some_and(|one| one.retry_at.is_some()));
    engine.cancel(handle.run_id, "the test says so").unwrap();
    let run = end(&engine, handle);
    at_work.open();
    assert_eq!(run.outcome(), Some(Outcome::Cancelled));
    for name in ["one", "two", "later", "never"] {
        assert_eq!(of(&run, name).status, ParticipantStatus::Cancelled, "{name}");
    }
    assert_eq!(calls.get(), 1);
    assert!(expect_directory(&home, &run).is_empty());
    engine.stop();
}

#[test]
fn two_runs_at_once_wait_for_each_other() {
    let home = Home::new();
    let (watcher, door) = (Watcher::default(), Door::default());
    let (watched, passed) = (watcher.clone(), door.clone());
    let engine = builder(&home)
        .participant_with(module("only"), move |artifacts: &mut Artifacts| {
            watched.most.raise_to(watched.at_work.up());
            watched.order.lock().unwrap().push(artifacts.work().run_id.to_string());
            passed.pass();
            let done = good(artifacts);
            watched.at_work.down();
            done
        })
        .start_blocking()
        .unwrap();
    let handles: Vec<_> = (0..3).map(|_| engine.back_up(Backup::full()).unwrap()).collect();
    let ids: Vec<_> = handles.iter().map(|handle| handle.run_id.to_string()).collect();
    door.wait_for(1);
    door.open();
    let runs: Vec<Arc<Run>> = handles.into_iter().map(|handle| end(&engine, handle)).collect();
    for run in &runs {
        assert_eq!((run.outcome(), code(run, "only")), (Some(Outcome::Completed), ""));
        expect_directory(&home, run);
    }
    assert_eq!(watcher.most.get(), 1, "runs of one home never work at the same time");
    assert_eq!(*watcher.order.lock().unwrap(), ids, "first come, first served");
    engine.stop();
}
