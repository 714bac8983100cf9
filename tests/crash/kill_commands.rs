//! Runs of five participants, commands among them and tries that fail, killed at any instant: the next start ends what was left
//! running, and brings the run to its verified end. No second instance of a command ever runs beside a first: each holds a lock
//! while it or anything it started is alive, and says so where it finds it held.
//!
//! `HOLDFAST_TEST_SEED` repeats random instants, `HOLDFAST_TEST_LONG=1` tries more of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::kill::{events, expect_all_still_there, expect_nothing_to_resume, for_each};
use crate::support::{Home, Invocation, Random, long, need, seed, small_tree, text};

/// What every command does first: takes its lock, which everything it starts inherits.
const GUARD: &str = r#"exec 9>>"$STATE/$HOLDFAST_PARTICIPANT.lock"
flock -n 9 || { echo "$HOLDFAST_PARTICIPANT" >> "$STATE/doubles"; exit 1; }
"#;

/// The commands: their names, what each depends on, and what follows the guard.
const COMMANDS: [(&str, &str, &str); 4] = [
    ("numbers", "", "seq 1 200000"),
    // Every other try of it fails, after half of what it has.
    (
        "flaky",
        "",
        r#"tries="$STATE/tries"; echo >> "$tries"
if [ $(( $(wc -l < "$tries") % 2 )) = 1 ]; then echo half; echo not yet >&2; exit 1; fi
seq 1 1000"#,
    ),
    // What it starts outlives it where it alone is killed.
    ("slow", "", "seq 1 10; sleep 0.15; seq 11 20 | cat | cat; sleep 0.15"),
    ("after", "flaky", "seq 5 9"),
];

/// A home beside its sources and its commands' state.
struct Scene {
    home: Home,
    config: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        let (site, state) = (home.beside("site"), home.beside("state"));
        small_tree(&site);
        fs::create_dir(&state).unwrap();
        let mut text = format!(
            "[runs]\nmax_parallel = 3\nretry_delay = \"50ms\"\n[[participant]]\nname = \"site\"\nkind = \"files\"\npaths = [{:?}]\n",
            site.display().to_string()
        );
        for (name, after, script) in COMMANDS {
            let after = if after.is_empty() { String::new() } else { format!("{after:?}") };
            text.push_str(&format!(
                "[[participant]]\nname = {name:?}\nkind = \"command\"\nshell = true\ndepends_on = [{after}]\n\
                 command = '''{GUARD}{script}'''\nenv = {{ STATE = {:?} }}\n",
                state.display().to_string()
            ));
        }
        let config = home.beside("holdfast.toml");
        fs::write(&config, text).unwrap();
        Self { home, config }
    }

    fn program(&self, command: &str) -> Invocation {
        self.home.holdfast(["--json", command, "--config"]).arg(&self.config)
    }

    /// Whatever came of the kill: the run is brought to a completed end, or there was none and a new one comes to it.
    fn expect_recovery(&self, seen: &[serde_json::Value]) -> bool {
        expect_all_still_there(&self.home, seen);
        let open = self.home.path().join("home.json").exists()
            && self.home.runs().iter().any(|run| run["status"] == "interrupted");
        self.program("resume").run().expect(0);
        if self.home.runs().is_empty() {
            self.program("backup").run().expect(0);
        }
        expect_all_still_there(&self.home, seen);
        self.expect_good();
        expect_nothing_to_resume(&self.home);
        open
    }

    fn expect_good(&self) {
        let doubles = fs::read_to_string(self.home.beside("state/doubles")).unwrap_or_default();
        assert_eq!(doubles, "", "commands that ran beside themselves");
        let run = self.home.newest_run();
        let shown = self.home.show(&run);
        assert_eq!(shown["status"], "completed", "{shown}");
        self.home.holdfast(["verify", &run]).run().expect(0);
        let folder = self.home.path().join(text(&shown["path"]));
        for (name, content) in [
            ("numbers", lines(1..=200_000)),
            ("flaky", lines(1..=1000)),
            ("slow", lines(1..=20)),
            ("after", lines(5..=9)),
        ] {
            assert!(content_of(&folder.join(format!("{name}.out.lz4"))) == content, "{name} is not what it wrote");
        }
        assert!(folder.join("site.tar.lz4").exists());
        self.expect_nothing_running();
    }

    /// Whatever a command started is gone when the run has ended: no lock is held.
    fn expect_nothing_running(&self) {
        for (name, ..) in COMMANDS {
            let lock = self.home.beside(format!("state/{name}.lock"));
            let free = Command::new("flock").arg("-n").arg(&lock).arg("true").status().expect("flock starts");
            assert!(free.success(), "something of {name} still runs");
        }
    }
}

/// A scene whose backup was killed while the slow command was at work.
fn killed_at_work() -> Scene {
    let scene = Scene::new();
    let mut run = scene.program("backup").spawn();
    run.wait_for_json("the slow command at work", |line| {
        line["event"]["type"] == "ParticipantStarted" && line["event"]["data"]["participant"] == "slow"
    });
    assert_eq!(run.kill().signal(), Some(9));
    scene
}

impl Scene {
    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&self.config, text.replace(from, to)).unwrap();
    }

    /// The participant of the newest run, after a resume that fails.
    fn resumed_in_vain(&self, name: &str) -> serde_json::Value {
        self.program("resume").run().expect(1);
        let run = self.home.show(&self.home.newest_run());
        assert_eq!(run["status"], "failed", "{run}");
        self.expect_nothing_running();
        expect_nothing_to_resume(&self.home);
        let all = run["participants"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{run}")).clone()
    }
}

fn lines(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

fn content_of(artifact: &Path) -> String {
    let output = Command::new("lz4").args(["-dc"]).arg(artifact).output().expect("lz4 starts");
    assert!(output.status.success(), "lz4 -dc {}", artifact.display());
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_run_of_five_participants_killed_at_each_fault_point_comes_to_its_end() {
    need("flock", "util-linux");
    need("lz4", "lz4");
    let model = Scene::new();
    let trace = model.home.beside("points");
    model.program("backup").env("HOLDFAST_FAULT_TRACE", &trace).run().expect(0);
    model.expect_good();
    let flaky = model.home.show("latest");
    let flaky = flaky["participants"].as_array().unwrap().iter().find(|one| one["name"] == "flaky").unwrap().clone();
    assert_eq!(flaky["tries"], 2, "a retry is part of the run: {flaky}");
    let points: Vec<_> = fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect();
    let appends: Vec<_> = (1..).zip(&points).filter(|(_, point)| point.starts_with("append")).collect();
    println!("{} points, {} of them of appends", points.len(), appends.len());
    // All of the appends; of the rest, which other tests kill at too, a part.
    let places: Vec<_> = (1..=points.len())
        .filter(|number| long() || appends.iter().any(|(append, _)| append == number) || number % 7 == 0)
        .collect();
    let resumed = Mutex::new(0);

    for_each("fault point", places.len(), |number| {
        let scene = Scene::new();
        let killed = scene.program("backup").env("HOLDFAST_FAULT_KILL", places[number - 1].to_string()).run();
        assert!(matches!((killed.signal(), killed.code()), (Some(9), _) | (_, Some(0))), "{killed}");
        if scene.expect_recovery(&[]) {
            *resumed.lock().unwrap() += 1;
        }
    });
    let resumed = resumed.into_inner().unwrap();
    println!("{resumed} of {} were resumed", places.len());
    assert!(resumed * 2 > places.len(), "most points lie within the run: {resumed} of {}", places.len());
}

#[test]
fn a_participant_that_is_configured_otherwise_or_gone_fails_a_run_that_is_resumed() {
    need("flock", "util-linux");
    let changed = killed_at_work();
    changed.edit("seq 11 20", "seq 11 30");
    let slow = changed.resumed_in_vain("slow");
    assert!(text(&slow["error"]).contains("DEFINITION_CHANGED"), "{slow}");

    let gone = killed_at_work();
    gone.edit("name = \"slow\"", "name = \"quick\"");
    let slow = gone.resumed_in_vain("slow");
    assert!(text(&slow["error"]).contains("PARTICIPANT_MISSING"), "{slow}");
}

#[test]
fn where_a_crash_is_to_fail_a_run_the_next_start_fails_it_and_leaves_nothing_running() {
    need("flock", "util-linux");
    let scene = Scene::new();
    scene.edit("[runs]\n", "[runs]\non_crash = \"fail\"\n");
    let mut run = scene.program("backup").spawn();
    run.wait_for_json("somebody at work", |line| line["event"]["type"] == "ParticipantStarted");
    assert_eq!(run.kill().signal(), Some(9));
    scene.program("resume").run().expect(1);
    let run = scene.home.show(&scene.home.newest_run());
    assert_eq!(run["status"], "failed");
    assert!(text(&run["error_summary"]).contains("on_crash"), "{run}");
    scene.expect_nothing_running();
    scene.program("backup").run().expect(0);
    scene.expect_good();
}

#[test]
fn a_run_of_five_participants_killed_at_random_instants_comes_to_its_end() {
    need("flock", "util-linux");
    need("lz4", "lz4");
    let instants = if long() { 500 } else { 50 };
    let mut random = Random(seed());
    let model = Scene::new();
    let began = Instant::now();
    model.program("backup").run().expect(0);
    let whole = began.elapsed();
    println!("a whole run takes {whole:?}");
    let after: Vec<_> = (0..instants).map(|_| Duration::from_micros(random.below(whole.as_micros() as u64))).collect();
    let resumed = Mutex::new(0);

    for_each("random instant", after.len(), |number| {
        let scene = Scene::new();
        let mut run = scene.program("backup").spawn();
        run.ends_within(after[number - 1]);
        let seen = events(&scene.home);
        let finished = run.kill();
        assert!(matches!((finished.signal(), finished.code()), (Some(9), _) | (_, Some(0))), "{finished}");
        if scene.expect_recovery(&seen) {
            *resumed.lock().unwrap() += 1;
        }
    });
    let resumed = resumed.into_inner().unwrap();
    println!("{resumed} of {} were resumed", after.len());
    assert!(resumed * 3 > after.len(), "too few kills came while a run was open: {resumed} of {}", after.len());
}
