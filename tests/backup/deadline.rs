//! How long a run may take: what is at work when the time is up is stopped, and the run has ended `timeout`.

use std::fs;
use std::time::Instant;

use holdfast::engine::Backup;
use holdfast::model::progress::Phase as Shown;
use holdfast::model::run::{Consistency, Outcome, ParticipantStatus, RunStatus};
use holdfast::participant::{Artifacts, Capture, Deadlines, Frozen, ParticipantError, Phase, Phased, Thaw};

use crate::support::engine::{
    Count, Door, SOON, back_up, builder, came_to, expect_directory, good, module, name, patient, wait_for_events,
    within,
};
use crate::support::{DEADLINE, Home, text};

#[test]
fn who_is_slow_or_hangs_is_stopped_and_who_was_quick_is_kept() {
    let home = Home::new();
    let door = Door::default();
    let held = door.clone();
    let deadlines = Deadlines { grace: SOON, ..patient() };
    let engine = builder(&home)
        .participant_with(module("quick"), good)
        .participant_with(module("slow").deadlines(patient()), |artifacts: &mut Artifacts| {
            let began = Instant::now();
            while !artifacts.stopped() && began.elapsed() < DEADLINE {
                std::thread::yield_now();
            }
            good(artifacts)
        })
        .participant_with(module("hangs").deadlines(deadlines), move |artifacts: &mut Artifacts| {
            held.pass();
            good(artifacts)
        })
        .participant_with(module("later").depends_on([name("slow")]), good)
        .start_blocking()
        .unwrap();

    let handle = engine.back_up(Backup::full().timeout(Some(SOON))).unwrap();
    let told = within(&engine, "progress to its end", async {
        let mut updates = engine.handle().progress_updates(handle.clone());
        let mut told = Vec::new();
        while let Some(progress) = updates.next().await {
            told.push(progress);
        }
        told
    });
    let run = handle.watch.borrow().clone();
    assert_eq!(run.outcome(), Some(Outcome::Timeout));
    let last = told.last().unwrap();
    assert_eq!((last.phase, last.status, last.active), (Shown::Failed, Some(RunStatus::Timeout), false));
    assert_eq!(came_to(&run, "quick"), (ParticipantStatus::Completed, "", 1));
    assert_eq!(came_to(&run, "slow"), (ParticipantStatus::Timeout, "RUN_TIMEOUT", 1));
    assert_eq!(came_to(&run, "hangs"), (ParticipantStatus::Timeout, "RUN_TIMEOUT", 1));
    assert_eq!(came_to(&run, "later"), (ParticipantStatus::Skipped, "NOT_RUN", 0));
    assert_eq!(
        run.error_summary(),
        "attempt 1 of the run took 300 ms, which is the most it may; at work then: slow, hangs; not begun: later"
    );
    assert_eq!(expect_directory(&home, &run).into_keys().collect::<Vec<_>>(), ["quick.data"]);

    // What has returned takes part again, and the deadline that passed means nothing to the next run.
    door.open();
    wait_for_events(&engine, "WorkReturned", 1);
    let run = back_up(&engine, Backup::scoped([name("quick"), name("hangs")]).timeout(Some(DEADLINE)));
    assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
    engine.stop();
}

/// Stands still, and goes on when it is told to. `hangs`: it does not come to stand still before it is told to stop.
#[derive(Clone, Default)]
struct Still {
    hangs: bool,
    frozen: Count,
    thawed: Count,
}

impl Phased for Still {
    fn freeze(&self, phase: &Phase) -> Result<Box<dyn Frozen>, ParticipantError> {
        let began = Instant::now();
        while self.hangs && !phase.stopped() && began.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
        self.frozen.up();
        Ok(Box::new(self.clone()))
    }
}

impl Frozen for Still {
    fn capture(&mut self, _phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError> {
        Ok(Box::new(self.clone()))
    }

    fn thaw(self: Box<Self>, _how: Thaw) -> Result<(), ParticipantError> {
        self.thawed.up();
        Ok(())
    }
}

impl Capture for Still {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        good(artifacts)
    }
}

#[test]
fn a_barrier_whose_run_takes_too_long_is_aborted_and_everybody_goes_on() {
    let home = Home::new();
    let (first, second) = (Still::default(), Still { hangs: true, ..Still::default() });
    let engine = builder(&home)
        .phased_with(module("first"), first.clone())
        .phased_with(module("second"), second.clone())
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full().consistency(Consistency::Barrier).timeout(Some(SOON)));
    assert_eq!(run.outcome(), Some(Outcome::Timeout));
    assert_eq!(run.barrier(), None);
    for (one, still) in [("first", &first), ("second", &second)] {
        assert_eq!(came_to(&run, one), (ParticipantStatus::Skipped, "NOT_RUN", 0));
        assert_eq!((still.frozen.get(), still.thawed.get()), (1, 1), "{one}");
    }
    assert!(expect_directory(&home, &run).is_empty());
    engine.stop();
}

/// A command that takes its time, and its children with it.
const SLOW: &str = "[[participant]]\nname = 'big'\nkind = 'command'\nshell = true\n\
                    command = 'echo begun; sleep 600 | sleep 600'\n";

#[test]
fn the_command_line_tells_of_it_and_the_children_are_gone() {
    let home = Home::new();
    let (file, lock) = (home.beside("holdfast.toml"), home.beside("lock"));
    let locked = SLOW.replace("echo begun", &format!("exec 9>>{}; flock -n 9; echo begun", lock.display()));
    fs::write(&file, &locked).unwrap();
    let backup = home.holdfast(["backup", "--timeout", "1s", "--config"]).arg(&file).run();
    backup.expect(1);
    let said = "timed out: attempt 1 of the run took 1.0 s, which is the most it may; at work then: big";
    assert!(backup.err().contains(said), "{backup}");
    home.command("flock", ["-n", &lock.display().to_string(), "true"]).run().expect(0);

    let run = home.show(&home.newest_run());
    assert_eq!((text(&run["status"]), text(&run["participants"][0]["status"])), ("timeout".into(), "timeout".into()));
    assert!(text(&run["path"]).starts_with("backups/failed/"), "{run}");
    let story = home.holdfast(["show", &text(&run["run_id"]), "--log"]).run();
    story.expect(0).says("attempt 1 took 1.0 s, which is the most it may: what is at work is stopped");

    // The configuration says it for all runs, and the command line for one.
    let quick = locked.replace("sleep 600 | sleep 600", "sleep 1.5");
    fs::write(&file, format!("[runs]\ntimeout = '1s'\n{quick}")).unwrap();
    let backup = |more: &[&str]| home.holdfast(["--json", "backup", "--config"]).arg(&file).args(more).run();
    assert_eq!(backup(&[]).expect(1).summary()["run"]["status"], "timeout");
    assert_eq!(backup(&["--timeout", "none"]).expect(0).summary()["run"]["status"], "completed");
    let refused = home.holdfast(["backup", "--timeout", "0s", "--config"]).arg(&file).run();
    assert!(refused.expect(2).err().contains("for no limit write"), "{refused}");
}

#[test]
fn a_process_that_dies_leaves_the_deadline_to_the_next_one() {
    let home = Home::new();
    let file = home.beside("holdfast.toml");
    fs::write(&file, SLOW).unwrap();
    let mut backup = home.holdfast(["--json", "backup", "--timeout", "5s", "--config"]).arg(&file).spawn();
    backup.wait_for_json("the command at work", |line| {
        line["progress"]["bytes_done"].as_u64().is_some_and(|bytes| bytes > 0)
    });
    backup.kill();
    let resumed = home.holdfast(["resume", "--config"]).arg(&file).run();
    assert!(resumed.expect(1).err().contains("attempt 2 of the run took 5.0 s"), "{resumed}");
    let run = home.show(&home.newest_run());
    assert_eq!((text(&run["status"]), run["attempt"].as_u64()), ("timeout".into(), Some(2)), "{run}");
}
