//! Commands that stand still, and Holdfast killed at each point of that: after each freeze there is a thaw before anything else happens to
//! them, and the run comes to its end.

use std::fs;
use std::path::PathBuf;

use crate::support::kill::{expect_nothing_to_resume, for_each};
use crate::support::{Home, Invocation, text};

const NAMES: [&str; 2] = ["db", "site"];

struct Scene {
    home: Home,
    config: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        let state = home.beside("state");
        let command = |name: &str| {
            format!(
                "[[participant]]\nname = '{name}'\nkind = 'command'\nshell = true\nenv = {{ STATE = {:?} }}\n\
                 freeze = 'echo \"{name} freeze\" >> \"$STATE\"'\nthaw = 'echo \"{name} thaw\" >> \"$STATE\"'\ncommand = 'seq 1 1000'\n",
                state.display().to_string()
            )
        };
        let config = home.beside("holdfast.toml");
        let runs = "[runs]\nconsistency = 'barrier'\nfreeze_budget = '60s'\n";
        fs::write(&config, format!("{runs}{}", NAMES.map(command).concat())).unwrap();
        Self { home, config }
    }

    fn program(&self, command: &str) -> Invocation {
        self.home.holdfast([command, "--config"]).arg(&self.config)
    }

    /// The phases of one of them, in their order.
    fn phases(&self, name: &str) -> Vec<String> {
        let state = fs::read_to_string(self.home.beside("state")).unwrap_or_default();
        state.lines().filter_map(|line| line.strip_prefix(name)).map(|phase| phase.trim().to_owned()).collect()
    }

    /// Nobody is frozen twice without a thaw between, and nobody stays frozen.
    fn expect_all_let_go(&self) {
        for name in NAMES {
            let phases = self.phases(name);
            let twice = phases.windows(2).any(|two| two == ["freeze", "freeze"]);
            assert!(!twice && phases.last().is_none_or(|last| last == "thaw"), "{name}: {phases:?}");
        }
    }
}

#[test]
fn killed_at_each_point_of_a_barrier_all_commands_are_let_go_and_the_run_comes_to_its_end() {
    let model = Scene::new();
    let trace = model.home.beside("points");
    model.program("backup").env("HOLDFAST_FAULT_TRACE", &trace).run().expect(0);
    model.expect_all_let_go();
    let points = fs::read_to_string(&trace).unwrap().lines().count();
    for_each("fault point", points, |number| {
        let scene = Scene::new();
        let killed = scene.program("backup").env("HOLDFAST_FAULT_KILL", number.to_string()).run();
        assert!(matches!((killed.signal(), killed.code()), (Some(9), _) | (_, Some(0))), "{killed}");
        let before = scene.phases("db").len();
        scene.program("resume").run().expect(0);
        scene.expect_all_let_go();
        // What stood still is let go first of all.
        let after = scene.phases("db");
        let stood = before > 0 && after[before - 1] == "freeze";
        assert!(!stood || after.get(before).is_some_and(|phase| phase == "thaw"), "{after:?}, {before} before");
        if scene.home.runs().is_empty() {
            scene.program("backup").run().expect(0);
        }
        let run = scene.home.show("latest");
        assert_eq!(text(&run["status"]), "completed", "{run}");
        assert!(run["consistency"]["barrier_at"].as_i64().is_some_and(|at| at > 0), "{run}");
        scene.expect_all_let_go();
        expect_nothing_to_resume(&scene.home);
    });
    println!("{points} points");
}
