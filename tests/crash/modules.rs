//! Four modules restored together and killed at each point of it: at the next start all are of the backup, or all as before.

mod module;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holdfast::api::Dispatcher;
use holdfast::api::commands::StartRestoreRun;
use holdfast::engine::{Backup, Builder, Holdfast};
use holdfast::model::ids::RunId;
use holdfast::model::restore::{RestoreStatus, RestoreView, Safety};
use holdfast::model::run::Consistency;
use holdfast::participant::{Artifacts, Descriptor};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use self::module::Module;
use crate::support::kill::{copy, for_each};
use crate::support::mount::{Filler, Mount};
use crate::support::{Home, Random, long, seed};

const NAMES: [&str; 4] = ["accounts", "symbols", "staff", "trades"];
/// What the part of the application in this test is told to do.
const PART: &str = "HOLDFAST_TEST_MODULES";
/// What all modules hold when they are backed up, and when they are restored.
const BACKED_UP: &str = "backed up";
const LATER: &str = "later";
/// What a module does when it is to look at what it has: its process dies, or it waits until it is told to stop.
const DIES: &str = "dies";
const HANGS: &str = "hangs";

fn modules(home: &Path) -> Vec<Module> {
    let folder = home.join("../modules");
    NAMES.iter().map(|name| Module::new(name, &folder)).collect()
}

fn builder(home: &Path, modules: &[Module]) -> Builder {
    modules.iter().fold(Holdfast::builder(home), |builder, module| {
        let mut descriptor = Descriptor::new(module.name).unwrap().format_version(2);
        if module.name == "trades" {
            descriptor = descriptor.depends_on(["accounts".parse().unwrap()]);
        }
        builder.phased_with(descriptor, module.clone())
    })
}

fn request(run_id: RunId, safety: Safety) -> StartRestoreRun {
    serde_json::from_value(serde_json::json!({ "run_id": run_id, "force": true, "safety": safety })).unwrap()
}

/// A home with a run of four modules, which have changed since.
fn prepared() -> (Home, RunId) {
    let home = Home::new();
    let modules = modules(&home.path());
    modules.iter().for_each(|module| module.put(BACKED_UP));
    let run_id = runtime().block_on(async {
        let engine = builder(&home.path(), &modules).start().await.unwrap();
        let run = engine.back_up(Backup::full().consistency(Consistency::Barrier)).await.unwrap();
        let run = engine.wait(run).await.unwrap();
        assert_eq!(run.status(true).as_str(), "completed", "{}", run.error_summary());
        engine.stop().await;
        run.id().unwrap()
    });
    modules.iter().for_each(|module| module.put(LATER));
    (home, run_id)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Restores, and lets the modules be looked at.
fn restore(home: &Path, modules: &[Module], run_id: RunId, safety: Safety) -> RestoreView {
    restore_within(home, modules, run_id, safety, None)
}

fn restore_within(
    home: &Path,
    modules: &[Module],
    run_id: RunId,
    safety: Safety,
    timeout_s: Option<u64>,
) -> RestoreView {
    let request = StartRestoreRun { timeout_s, ..request(run_id, safety) };
    runtime().block_on(async {
        let engine = builder(home, modules).start().await.unwrap();
        let answer = Dispatcher::new(engine.clone()).ask(&request).await;
        let view = match answer {
            Ok(view) => view,
            Err(error) => {
                serde_json::from_value(error.detail.clone().unwrap_or_default()).unwrap_or_else(|_| panic!("{error:?}"))
            }
        };
        engine.stop().await;
        view
    })
}

/// What all modules hold: one and the same, or the test fails.
fn expect_all(modules: &[Module], of: &[&'static str]) -> &'static str {
    let is = |content: &str| {
        modules.iter().all(|module| fs::read_to_string(module.live()).unwrap() == module.content(content))
    };
    let found = of.iter().find(|content| is(content));
    found.unwrap_or_else(|| {
        let all: Vec<_> = modules.iter().map(|module| fs::read_to_string(module.live()).unwrap()).collect();
        let firsts: Vec<_> = all.iter().map(|text| text.lines().next().unwrap_or_default()).collect();
        panic!("none of {of:?}, or not whole: {firsts:?}")
    })
}

#[test]
fn four_modules_are_restored_and_the_state_before_is_kept() {
    let (home, run_id) = prepared();
    let modules = modules(&home.path());
    let view = restore(&home.path(), &modules, run_id, Safety::Required);
    assert_eq!((view.status, view.phase.as_str()), (RestoreStatus::Completed, "done"), "{view:?}");
    assert_eq!(expect_all(&modules, &[BACKED_UP, LATER]), BACKED_UP);
    assert!(view.participants.iter().all(|one| one.safety_artifacts.len() == 1));
    let kept = home.path().join(&view.pre_restore_path);
    let checked = Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS"]).current_dir(&kept).status().unwrap();
    assert!(checked.success());
    // All of them go on.
    modules.iter().for_each(|module| module.put(LATER));
}

#[test]
fn a_failure_of_one_leaves_all_as_before() {
    for (at, safety, status) in [
        ("quiesce", Safety::Required, RestoreStatus::Failed),
        ("capture", Safety::Required, RestoreStatus::Failed),
        ("stage", Safety::None, RestoreStatus::Failed),
        ("commit", Safety::Required, RestoreStatus::RolledBack),
        ("panic", Safety::Required, RestoreStatus::RolledBack),
        ("verify", Safety::Required, RestoreStatus::RolledBack),
    ] {
        let (home, run_id) = prepared();
        let mut modules = modules(&home.path());
        modules[3].fails = Some(at);
        let view = restore(&home.path(), &modules, run_id, safety);
        assert_eq!(view.status, status, "at {at}: {view:?}");
        assert_eq!(expect_all(&modules, &[BACKED_UP, LATER]), LATER, "at {at}");
        modules.iter().for_each(|module| module.put(LATER));
        let left = fs::read_dir(home.path().join("../modules")).unwrap().count();
        assert_eq!(left, NAMES.len(), "nothing staged is left");
    }
}

#[test]
fn a_run_in_a_format_that_is_too_new_and_a_damaged_one_are_refused_before_anything_is_touched() {
    let (home, run_id) = prepared();
    let all = modules(&home.path());
    let ask = |builder: Builder| {
        runtime().block_on(async {
            let engine = builder.start().await.unwrap();
            let answer = Dispatcher::new(engine.clone()).ask(&request(run_id, Safety::Required)).await;
            engine.stop().await;
            answer
        })
    };
    // The program before, which writes version 1.
    let older =
        all.iter().fold(Holdfast::builder(home.path()), |builder, module| builder.phased(module.name, module.clone()));
    let refused = ask(older).unwrap_err();
    assert_eq!(refused.code.as_str(), "BACKUP_RUN_NOT_RESTORABLE", "{refused:?}");
    // One that takes nothing back.
    let silent = |artifacts: &mut Artifacts| artifacts.create("x")?.finish();
    let without = NAMES.iter().fold(Holdfast::builder(home.path()), |builder, name| builder.participant(name, silent));
    let refused = ask(without).unwrap_err();
    assert_eq!(refused.code.as_str(), "RESTORE_NOT_SUPPORTED", "{refused:?}");

    let artifact = home.path().join(format!("backups/completed/{run_id}/staff.snapshot.lz4"));
    let mut bytes = fs::read(&artifact).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&artifact, bytes).unwrap();
    let view = restore(&home.path(), &all, run_id, Safety::Required);
    assert_eq!(view.status, RestoreStatus::Failed);
    assert_eq!(expect_all(&all, &[LATER]), LATER);
    assert!(!home.path().join("backups/pre-restore").read_dir().unwrap().any(|_| true));
}

/// Not a test of its own: the application that is killed. Elsewhere it does nothing.
#[test]
fn the_part_of_the_application() {
    let Ok(part) = std::env::var(PART) else { return };
    let (home, run_id) = part.split_once(' ').unwrap();
    let home = Path::new(home);
    let mut modules = modules(home);
    if run_id.ends_with('!') {
        modules[3].fails = Some("verify");
    }
    let mut timeout_s = None;
    if run_id.ends_with('?') {
        modules[3].fails = Some(DIES);
        timeout_s = Some(3);
    }
    let run_id = run_id.trim_end_matches(['!', '?']).parse().unwrap();
    restore_within(home, &modules, run_id, Safety::Required, timeout_s);
}

fn application(home: &Path, run: &str) -> Command {
    let mut application = Command::new(std::env::current_exe().unwrap());
    application
        .args(["--exact", "modules::the_part_of_the_application", "--nocapture"])
        .env(PART, format!("{} {run}", home.display()))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    application
}

/// A copy of the home and what lies beside it.
fn twin(home: &Home) -> Home {
    let twin = Home::new();
    copy(&home.path(), &twin.path());
    copy(&home.path().join("../modules"), &twin.path().join("../modules"));
    twin
}

/// Kills the application at each point it passes in a restore, and says how often all were of the backup after the next start, and how
/// often as before.
fn kill_at_each_point(run: impl Fn(RunId) -> String + Sync, ends: &[&'static str]) -> [usize; 2] {
    let (model, run_id) = prepared();
    let run = run(run_id);
    let trial = twin(&model);
    let trace = trial.beside("points");
    let status = application(&trial.path(), &run).env("HOLDFAST_FAULT_TRACE", &trace).status().unwrap();
    assert!(status.success());
    let points = fs::read_to_string(&trace).unwrap();
    let points: Vec<_> = points.lines().collect();
    assert!(points.iter().filter(|point| **point == "restore.step").count() > 10, "{points:?}");
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    // One more than was passed: it then comes to its end.
    for_each("point", points.len() + 1, |number| {
        let home = twin(&model);
        let status = application(&home.path(), &run).env("HOLDFAST_FAULT_KILL", number.to_string()).status().unwrap();
        let killed = !status.success();
        let modules = modules(&home.path());
        runtime().block_on(async {
            let engine = builder(&home.path(), &modules).start().await.unwrap();
            // Settled when the start returns, and nobody stands still.
            let found = expect_all(&modules, ends);
            counts[usize::from(found == LATER)].fetch_add(1, Ordering::SeqCst);
            modules.iter().for_each(|module| module.put(found));
            engine.stop().await;
        });
        let left = fs::read_dir(home.path().join("../modules")).unwrap().count();
        assert!(!killed || left == NAMES.len(), "nothing staged is left at {number}: {left}");
    });
    let counts = counts.map(AtomicUsize::into_inner);
    println!("{} points, {} of the backup, {} as before", points.len(), counts[0], counts[1]);
    counts
}

#[test]
fn killed_at_each_point_of_a_restore_all_are_of_the_backup_or_all_as_before() {
    let [backed_up, before] = kill_at_each_point(|run_id| run_id.to_string(), &[BACKED_UP, LATER]);
    assert!(backed_up > 0 && before > 0);
}

#[test]
fn killed_at_each_point_of_a_rollback_all_are_of_the_backup_or_all_as_before() {
    // The process after has modules that do not fail: what was decided before it is done again, and what was rolled back is too.
    let [_, before] = kill_at_each_point(|run_id| format!("{run_id}!"), &[BACKED_UP, LATER]);
    assert!(before > 0);
}

#[test]
fn a_restore_that_is_gone_on_with_after_a_crash_has_the_deadline_it_had() {
    let (home, run_id) = prepared();
    let died = application(&home.path(), &format!("{run_id}?")).status().unwrap();
    assert_eq!(died.code(), Some(9));
    // All had committed, so the next process does it again, and hangs at the same place: what is left of the time is not much.
    let mut modules = modules(&home.path());
    assert_eq!(expect_all(&modules, &[BACKED_UP, LATER]), BACKED_UP);
    modules[3].fails = Some(HANGS);
    let told = runtime().block_on(async {
        let engine = builder(&home.path(), &modules).start().await.unwrap();
        let told = engine.settled().join("\n");
        engine.stop().await;
        told
    });
    assert!(told.contains("rolled_back") && told.contains("RESTORE_TIMED_OUT"), "{told}");
    assert_eq!(expect_all(&modules, &[BACKED_UP, LATER]), LATER);
    modules.iter().for_each(|module| module.put(LATER));
}

#[test]
fn killed_at_random_instants_of_a_restore_all_are_of_the_backup_or_all_as_before() {
    let instants = if long() { 500 } else { 50 };
    let (model, run_id) = prepared();
    let run = run_id.to_string();
    let trial = twin(&model);
    let began = Instant::now();
    assert!(application(&trial.path(), &run).status().unwrap().success());
    let whole = began.elapsed();
    let mut random = Random(seed());
    let after: Vec<_> =
        (0..instants).map(|_| Duration::from_micros(random.below(whole.as_micros() as u64 * 11 / 10))).collect();
    let back = AtomicUsize::new(0);
    for_each("random instant", after.len(), |number| {
        let home = twin(&model);
        let mut application = application(&home.path(), &run).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&application), PidfdFlags::empty()).unwrap();
        let rest = Timespec { tv_sec: 0, tv_nsec: after[number - 1].as_nanos() as i64 };
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&rest));
        application.kill().unwrap();
        application.wait().unwrap();
        let modules = modules(&home.path());
        runtime().block_on(async {
            let engine = builder(&home.path(), &modules).start().await.unwrap();
            let found = expect_all(&modules, &[BACKED_UP, LATER]);
            back.fetch_add(usize::from(found == BACKED_UP), Ordering::SeqCst);
            modules.iter().for_each(|module| module.put(found));
            engine.stop().await;
        });
        let left = fs::read_dir(home.path().join("../modules")).unwrap().count();
        assert_eq!(left, NAMES.len(), "nothing staged is left");
    });
    println!("a restore takes {whole:?}; {} of {instants} kills: of the backup", back.into_inner());
}

#[test]
fn a_disk_that_fills_up_while_a_module_stages_leaves_all_as_before() {
    let (home, run_id) = prepared();
    let folder = home.path().join("../modules");
    let mount = {
        let live: Vec<_> = NAMES.iter().map(|name| (name, fs::read(folder.join(name)).unwrap())).collect();
        let mount = Mount::small_disk(&folder, 1);
        live.iter().for_each(|(name, content)| fs::write(folder.join(name), content).unwrap());
        mount
    };
    let modules = modules(&home.path());
    let filler = Filler::take_all(&folder);
    let view = restore(&home.path(), &modules, run_id, Safety::Required);
    assert_eq!(view.status, RestoreStatus::Failed, "{view:?}");
    assert!(view.error_summary.contains("No space left on device"), "{}", view.error_summary);
    assert_eq!(expect_all(&modules, &[BACKED_UP, LATER]), LATER);
    filler.give_back();
    let view = restore(&home.path(), &modules, run_id, Safety::Required);
    assert_eq!(view.status, RestoreStatus::Completed, "{view:?}");
    assert_eq!(expect_all(&modules, &[BACKED_UP, LATER]), BACKED_UP);
    drop(mount);
}
