//! Commands that stand still for a moment: whatever happens to them, to others or to Holdfast, each freeze that was begun is followed by
//! one thaw.

use std::fs;
use std::path::PathBuf;

use holdfast::blocking;
use holdfast::command::Launcher;
use holdfast::config::Config;
use holdfast::engine::{Backup, Holdfast};
use holdfast::model::ids::RunId;
use holdfast::model::run::{Consistency, Outcome};
use holdfast::participant::{Artifacts, Capture, Frozen, ParticipantError, Phase, Phased, Thaw};

use crate::support::engine::{back_up, came_to, good, module, name};
use crate::support::{Home, text};

/// Commands that say what they do, a line each.
struct Scene {
    home: Home,
    config: PathBuf,
}

/// A command, and what its phases do besides saying so.
#[derive(Clone, Copy, Default)]
struct Script {
    name: &'static str,
    after: &'static str,
    freeze: &'static str,
    thaw: &'static str,
    write: &'static str,
}

fn script(name: &'static str) -> Script {
    Script { name, ..Script::default() }
}

fn toml(home: &Home, script: &Script) -> String {
    let Script { name, after, freeze, thaw, write } = script;
    let say = |what: &str| format!(r#"echo "$HOLDFAST_PARTICIPANT {what}" >> "$STATE""#);
    let (say_prepare, say_freeze, say_write) = (say("prepare"), say("freeze"), say("write"));
    let say_thaw = say("thaw${HOLDFAST_ABORT:+ abort}");
    let after = if after.is_empty() { String::new() } else { format!("{after:?}") };
    format!(
        "[[participant]]\nname = '{name}'\nkind = 'command'\nshell = true\ndepends_on = [{after}]\nmax_tries = 1\n\
         prepare = '{say_prepare}'\nfreeze = '{say_freeze}; {freeze}:'\nthaw = '{thaw}{say_thaw}'\n\
         command = '{say_write}; {write}echo \"$HOLDFAST_RUN_ID\"'\nenv = {{ STATE = {:?}, PLACE = {:?} }}\n",
        home.beside("state").display().to_string(),
        home.beside("").display().to_string()
    )
}

impl Scene {
    fn new(runs: &str, scripts: &[Script]) -> Self {
        let home = Home::new();
        let parts: String = scripts.iter().map(|script| toml(&home, script)).collect();
        let config = home.beside("holdfast.toml");
        fs::write(&config, format!("[runs]\n{runs}\n{parts}")).unwrap();
        for fifo in ["here", "gate"] {
            home.command("mkfifo", [home.beside(fifo)]).run().expect(0);
        }
        Self { home, config }
    }

    fn program(&self, command: &str) -> crate::support::Invocation {
        self.home.holdfast([command, "--config"]).arg(&self.config)
    }

    /// What was done so far.
    fn said(&self) -> Vec<String> {
        let said = fs::read_to_string(self.home.beside("state")).unwrap_or_default();
        said.lines().map(str::to_owned).collect()
    }

    fn count(&self, what: &str) -> usize {
        self.said().iter().filter(|line| line.starts_with(what)).count()
    }

    /// Waits until a command has come to [`STAND`].
    fn wait_for_a_stand(&self) {
        self.home.command("cat", [self.home.beside("here")]).run().expect(0);
    }
}

/// Says that it is there, and stays until it may go on.
const STAND: &str = r#"test -e "$PLACE/go" || { echo > "$PLACE/here"; read -r _ < "$PLACE/gate"; }; "#;
const BARRIER: &str = "consistency = \"barrier\"\nfreeze_budget = \"60s\"";

#[test]
fn a_command_has_a_moment_of_its_own() {
    let scene = Scene::new("", &[script("db")]);
    scene.program("backup").run().expect(0);
    assert_eq!(scene.said(), ["db prepare", "db freeze", "db thaw", "db write"]);
    let run = scene.home.newest_run();
    let content = scene.home.holdfast(["dump", &run, "db.out"]).run();
    assert_eq!(content.expect(0).out().trim(), run, "its command knows the run");
    // Nothing is owed any more.
    let resumed = scene.program("backup").run();
    assert!(!resumed.expect(0).err().contains("let go"), "{resumed}");
    assert_eq!(scene.count("db thaw"), 2);
}

#[test]
fn a_barrier_freezes_in_the_order_of_dependencies_and_thaws_the_other_way_round() {
    let scene = Scene::new(BARRIER, &[Script { after: "db", ..script("site") }, script("db")]);
    scene.program("backup").run().expect(0);
    let said = scene.said();
    let order = ["db freeze", "site freeze", "site thaw", "db thaw"];
    assert_eq!(said.get(2..6), Some(&order.map(str::to_owned)[..]), "{said:?}");
    let run = scene.home.show(&scene.home.newest_run());
    assert!(run["consistency"]["barrier_at"].as_i64().is_some_and(|at| at > 0), "{run}");
}

#[test]
fn a_freeze_that_fails_hangs_or_dies_is_followed_by_one_thaw_and_nobody_else_stays_frozen() {
    let faults = [
        ("echo no >&2; exit 3; ", "COMMAND_FAILED", "failed"),
        ("sleep 600; ", "FREEZE_BUDGET_EXCEEDED", "timeout"),
        ("kill -KILL $$; ", "COMMAND_KILLED", "failed"),
    ];
    for (fault, code, status) in faults {
        for mode in ["barrier", "concurrent"] {
            let bad = Script { after: "good", freeze: fault, ..script("bad") };
            let runs = format!("consistency = \"{mode}\"\nfreeze_budget = \"700ms\"");
            let scene = Scene::new(&runs, &[script("good"), bad]);
            scene.program("backup").run().expect(1);
            let said = scene.said();
            for name in ["good", "bad"] {
                let counts = (scene.count(&format!("{name} freeze")), scene.count(&format!("{name} thaw")));
                assert_eq!(counts, (1, 1), "{fault} {mode} {name}: {said:?}");
            }
            assert_eq!(scene.count("bad thaw abort"), 1, "{fault} {mode}: {said:?}");
            assert_eq!(scene.count("good thaw abort"), usize::from(mode == "barrier"), "{fault} {mode}: {said:?}");
            assert_eq!(scene.count("bad write"), 0);
            let run = scene.home.show(&scene.home.newest_run());
            let shown = run["participants"].as_array().unwrap().iter().find(|one| one["name"] == "bad").unwrap();
            assert_eq!(shown["status"], status, "{fault} {mode}: {shown}");
            assert!(text(&shown["error"]).contains(code), "{fault} {mode}: {shown}");
            let next = scene.program("resume").run();
            assert_eq!(scene.said(), said, "nothing is owed: {next}");
        }
    }
}

#[test]
fn a_command_that_dies_in_the_middle_of_its_artifact_gives_only_what_its_second_try_of_the_same_moment_wrote() {
    let dies = r#"test -e "$PLACE/died" || { touch "$PLACE/died"; seq 1 100000; kill -KILL $$; }; "#;
    let scene = Scene::new(BARRIER, &[script("db"), Script { write: dies, ..script("site") }]);
    let config = fs::read_to_string(&scene.config).unwrap();
    fs::write(&scene.config, config.replace("max_tries = 1", "max_tries = 2\nretry_delay = '1ms'")).unwrap();
    scene.program("backup").run().expect(0);
    let run = scene.home.newest_run();
    let content = scene.home.holdfast(["dump", &run, "site.out"]).run();
    assert_eq!(content.expect(0).out().trim(), run, "the second try's bytes, and no others");
    assert_eq!((scene.count("site freeze"), scene.count("site thaw"), scene.count("site write")), (1, 1, 2));
    let shown = scene.home.show(&run);
    let site = shown["participants"].as_array().unwrap().iter().find(|one| one["name"] == "site").unwrap();
    assert_eq!((&site["tries"], &site["status"]), (&2.into(), &"completed".into()), "{site}");
}

#[test]
fn a_prepare_that_fails_freezes_nobody() {
    let scene = Scene::new(BARRIER, &[script("good"), script("bad")]);
    let text = fs::read_to_string(&scene.config).unwrap();
    let bad = text.rfind("prepare = '").unwrap();
    let (before, after) = text.split_at(bad);
    fs::write(&scene.config, format!("{before}{}", after.replacen("prepare = '", "prepare = 'false; ", 1))).unwrap();
    scene.program("backup").run().expect(1);
    assert_eq!((scene.count("good freeze"), scene.count("bad freeze")), (0, 0), "{:?}", scene.said());
    scene.program("backup").run().expect(1);
    assert_eq!((scene.count("good thaw"), scene.count("bad thaw")), (0, 0), "nothing is owed: {:?}", scene.said());
}

#[test]
fn what_a_killed_process_left_frozen_is_let_go_by_the_next_start_before_anything_else() {
    let scene = Scene::new(BARRIER, &[script("db"), Script { after: "db", freeze: STAND, ..script("site") }]);
    let backup = scene.program("backup").spawn();
    scene.wait_for_a_stand();
    backup.kill();
    assert_eq!((scene.count("db freeze"), scene.count("site freeze"), scene.count("db thaw")), (1, 1, 0));

    fs::write(scene.home.beside("go"), "").unwrap();
    let before = scene.said().len();
    let resumed = scene.program("resume").run();
    resumed.expect(0);
    for name in ["db", "site"] {
        assert!(resumed.err().contains(&format!("{name} was let go: a process that died in run")), "{resumed}");
        assert_eq!((scene.count(&format!("{name} freeze")), scene.count(&format!("{name} thaw"))), (2, 2));
        assert_eq!(scene.count(&format!("{name} thaw abort")), 1);
    }
    let said = scene.said();
    let first: Vec<_> = said[before..].iter().take(2).map(String::as_str).collect();
    assert_eq!(first, ["site thaw abort", "db thaw abort"], "before anything else, the other way round: {said:?}");
    let run = scene.home.show(&scene.home.newest_run());
    assert_eq!((text(&run["status"]), run["attempt"].as_u64()), ("completed".into(), Some(2)), "{run}");
    scene.program("resume").run().expect(0);
    assert_eq!(scene.said(), said);
}

#[test]
fn who_was_let_go_before_the_process_was_killed_is_not_let_go_again() {
    let scene = Scene::new("", &[Script { write: STAND, ..script("db") }]);
    let backup = scene.program("backup").spawn();
    scene.wait_for_a_stand();
    backup.kill();
    fs::write(scene.home.beside("go"), "").unwrap();
    scene.program("resume").run().expect(0);
    let once = ["db prepare", "db freeze", "db thaw", "db write"];
    assert_eq!(scene.said(), [once, once].concat());
}

#[test]
fn a_thaw_that_fails_is_owed_further_on() {
    let scene = Scene::new("", &[Script { thaw: r#"test -e "$PLACE/go"; "#, ..script("db") }]);
    let backup = scene.program("backup").run();
    assert!(backup.expect(1).err().contains("its thaw"), "{backup}");
    assert_eq!(scene.said(), ["db prepare", "db freeze"]);
    // Without its configuration nobody can.
    let other = scene.home.beside("other.toml");
    fs::write(&other, "[[participant]]\nname = 'x'\nkind = 'command'\ncommand = ['seq', '3']\n").unwrap();
    let without = scene.home.holdfast(["backup", "--config"]).arg(&other).run();
    assert!(without.expect(0).err().contains("db may stand still since run"), "{without}");
    fs::write(scene.home.beside("go"), "").unwrap();
    let next = scene.program("backup").run();
    assert!(next.expect(0).err().contains("db was let go"), "{next}");
    assert_eq!(scene.said()[2..], ["db thaw abort", "db prepare", "db freeze", "db thaw", "db write"]);
}

/// An engine with these commands that is at work for a run, one of which has come to [`STAND`].
fn at_a_stand(scene: &Scene) -> (blocking::Holdfast, RunId) {
    let engine = Holdfast::builder(scene.home.path())
        .config(Config::read(&scene.config).unwrap())
        .launcher(Launcher::of(env!("CARGO_BIN_EXE_holdfast")))
        .start_blocking()
        .unwrap();
    let run = engine.back_up(Backup::full()).unwrap();
    scene.wait_for_a_stand();
    (engine, run.run_id)
}

#[test]
fn a_stop_waits_for_a_thaw_that_takes_longer_than_its_grace_and_nobody_is_let_go_twice() {
    // The grace of a command is 10 s.
    let thaw = r#"test -e "$PLACE/go" || { echo > "$PLACE/here"; sleep 11; }; "#;
    for mode in ["barrier", "concurrent"] {
        let runs = format!("consistency = \"{mode}\"\nfreeze_budget = \"60s\"");
        let scene = Scene::new(&runs, &[Script { thaw, ..script("db") }]);
        let (engine, run_id) = at_a_stand(&scene);
        engine.stop();
        assert_eq!(scene.said()[..3], ["db prepare", "db freeze", "db thaw"], "{mode}");
        fs::write(scene.home.beside("go"), "").unwrap();
        let resumed = scene.program("resume").run();
        assert!(!resumed.expect(0).err().contains("was let go"), "{mode}: {resumed}");
        assert_eq!((scene.count("db thaw"), scene.count("db thaw abort")), (2, 0), "{mode}: {:?}", scene.said());
        assert_eq!(text(&scene.home.show(&run_id.to_string())["status"]), "completed");
    }
}

#[test]
fn who_is_let_go_because_the_engine_stops_is_known_to_be() {
    for mode in ["barrier", "concurrent"] {
        let runs = format!("consistency = \"{mode}\"\nfreeze_budget = \"60s\"");
        let scene = Scene::new(&runs, &[Script { freeze: STAND, ..script("db") }]);
        let (engine, _) = at_a_stand(&scene);
        engine.stop();
        let said = scene.said();
        assert_eq!(said, ["db prepare", "db freeze", "db thaw abort"], "{mode}");
        fs::write(scene.home.beside("go"), "").unwrap();
        let resumed = scene.program("resume").run();
        assert!(!resumed.expect(0).err().contains("was let go"), "{mode}: {resumed}");
        let again = ["db prepare", "db freeze", "db thaw", "db write"];
        assert_eq!(scene.said()[said.len()..], again, "{mode}");
    }
}

/// A module that says what it does in the same way.
#[derive(Clone)]
struct Said(PathBuf);

impl Said {
    fn say(&self, what: &str) {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&self.0).unwrap();
        writeln!(file, "module {what}").unwrap();
    }
}

impl Phased for Said {
    fn freeze(&self, _phase: &Phase) -> Result<Box<dyn Frozen>, ParticipantError> {
        self.say("freeze");
        Ok(Box::new(self.clone()))
    }
}

impl Frozen for Said {
    fn capture(&mut self, _phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError> {
        Ok(Box::new(self.clone()))
    }

    fn thaw(self: Box<Self>, how: Thaw) -> Result<(), ParticipantError> {
        assert_eq!(how, Thaw::Done);
        self.say("thaw");
        Ok(())
    }
}

impl Capture for Said {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        good(artifacts)
    }
}

#[test]
fn two_commands_and_a_module_stand_still_together() {
    let scene = Scene::new(BARRIER, &[script("db"), Script { after: "db", ..script("site") }]);
    let config = Config::read(&scene.config).unwrap();
    let engine = Holdfast::builder(scene.home.path())
        .config(config)
        .launcher(Launcher::of(env!("CARGO_BIN_EXE_holdfast")))
        .phased_with(module("module").depends_on([name("site")]), Said(scene.home.beside("state")))
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full().consistency(Consistency::Barrier));
    assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
    assert!(run.barrier().is_some());
    for one in ["db", "site", "module"] {
        assert_eq!(came_to(&run, one).2, 1);
        assert!(run.participant(&name(one)).unwrap().frozen.is_some());
    }
    let said: Vec<_> =
        scene.said().into_iter().filter(|line| line.contains("freeze") || line.contains("thaw")).collect();
    assert_eq!(said, ["db freeze", "site freeze", "module freeze", "module thaw", "site thaw", "db thaw"]);
    engine.stop();
}
