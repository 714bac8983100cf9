//! Every way in which a command can fail, as a user sees it: failed, with the reason, and nobody else the worse for it.

use std::fs;

use serde_json::Value;

use crate::support::{Home, text};

/// A participant that is a command, and what must be said of it.
struct Case {
    name: &'static str,
    /// Its part of the configuration, in TOML.
    toml: &'static str,
    status: &'static str,
    error: &'static str,
    output: &'static str,
    tries: u64,
}

const fn case(name: &'static str, toml: &'static str, error: &'static str) -> Case {
    Case { name, toml, status: "failed", error, output: "", tries: 1 }
}

const fn cases() -> [Case; 12] {
    [
        Case {
            output: "disk on fire",
            tries: 2,
            ..case(
                "exit-1",
                "shell = true\ncommand = 'seq 1 10000; echo disk on fire >&2; exit 1'",
                "exited with status 1 (COMMAND_FAILED)",
            )
        },
        Case {
            tries: 2,
            ..case("killed", "shell = true\ncommand = 'echo half; kill -KILL $$'", "SIGKILL (COMMAND_KILLED)")
        },
        case("empty", "command = ['true']", "(COMMAND_EMPTY)"),
        Case {
            status: "timeout",
            ..case("hangs", "command = ['sleep', '600']\nstall_timeout = '300ms'", "(PARTICIPANT_STALLED)")
        },
        Case { status: "timeout", ..case("too-long", "command = ['yes']\ntimeout = '300ms'", "(PARTICIPANT_TIMEOUT)") },
        // It closes its output half-way and goes on: only its deadline can tell.
        Case {
            status: "timeout",
            ..case(
                "closed-early",
                "shell = true\ncommand = 'echo half; exec >&-; sleep 600'\nstall_timeout = '300ms'",
                "(PARTICIPANT_STALLED)",
            )
        },
        case("held", "shell = true\ncommand = 'echo all; sleep 600 &'", "(COMMAND_OUTPUT_HELD)"),
        Case {
            output: "the end of it",
            tries: 2,
            ..case(
                "floods",
                "shell = true\ncommand = 'head -c 20000000 /dev/zero >&2; echo the end of it >&2; exit 7'",
                "exited with status 7 (COMMAND_FAILED)",
            )
        },
        Case {
            tries: 2,
            ..case("first-stage", "shell = true\ncommand = 'false | seq 1 10'", "status 1 (COMMAND_FAILED)")
        },
        Case {
            tries: 2,
            ..case("first-of-two", "shell = true\ncommand = 'seq 1 3; false; seq 4 6'", "status 1 (COMMAND_FAILED)")
        },
        case("not-there", "command = ['no-such-program-anywhere']", "(COMMAND_NOT_FOUND)"),
        Case {
            output: "the server is away",
            tries: 2,
            ..case(
                "preflight",
                "shell = true\npreflight = 'echo the server is away >&2; exit 2'\ncommand = 'touch \"$MARK\"; echo never'",
                "exited with status 2 (COMMAND_FAILED)",
            )
        },
    ]
}

fn participant<'a>(run: &'a Value, name: &str) -> &'a Value {
    let all = run["participants"].as_array().expect("participants");
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {run}"))
}

#[test]
fn each_failure_is_told_with_its_reason_and_harms_nobody_else() {
    let home = Home::new();
    let mark = home.beside("mark");
    let mut config = String::from("[runs]\nmax_parallel = 6\nmax_tries = 2\nretry_delay = '10ms'\n");
    for Case { name, toml, .. } in cases() {
        config.push_str(&format!(
            "[[participant]]\nname = '{name}'\nkind = 'command'\ncritical = false\nenv = {{ MARK = {:?} }}\n{toml}\n",
            mark.display().to_string()
        ));
    }
    config.push_str("[[participant]]\nname = 'good'\nkind = 'command'\ncommand = ['seq', '1', '100000']\n");
    let file = home.beside("holdfast.toml");
    fs::write(&file, config).unwrap();

    let backup = home.holdfast(["backup", "--config"]).arg(&file).run();
    backup.expect(3);
    let run = home.show(&home.newest_run());
    assert_eq!(run["status"], "partial", "{run}");
    for Case { name, status, error, output, tries, .. } in cases() {
        let shown = participant(&run, name);
        assert_eq!((shown["status"].as_str(), shown["tries"].as_u64()), (Some(status), Some(tries)), "{shown}");
        assert!(text(&shown["error"]).contains(error), "{shown}");
        assert!(text(&shown["output"]).contains(output), "{shown}");
        assert!(text(&shown["output"]).len() <= 4096, "the end of it, no more: {shown}");
        assert_eq!(shown["artifacts"], serde_json::json!([]), "{shown}");
        assert!(backup.err().contains(name), "the command line names {name}: {backup}");
    }
    assert_eq!(participant(&run, "good")["status"], "completed");
    let folder = home.path().join(text(&run["path"]));
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    // The installation's own state is not what this is about.
    files.retain(|file| !file.starts_with("holdfast."));
    assert_eq!(files, ["SHA256SUMS", "good.out.lz4", "good.out.lz4.index", "manifest.json"]);
    assert!(!mark.exists(), "a command whose preflight fails is not run");
}

#[test]
fn a_failing_critical_command_fails_the_run_and_the_next_one_is_good_again() {
    let home = Home::new();
    let flag = home.beside("database-is-up");
    let file = home.beside("holdfast.toml");
    let command = format!("test -e {} && seq 1 5", flag.display());
    fs::write(
        &file,
        format!("[[participant]]\nname = 'db'\nkind = 'command'\nshell = true\ncommand = '{command}'\nmax_tries = 1\n"),
    )
    .unwrap();
    let backup = || home.holdfast(["backup", "--config"]).arg(&file).run();
    for _ in 0..5 {
        let failed = backup();
        failed.expect(1);
        assert!(failed.err().contains("COMMAND_FAILED"), "{failed}");
    }
    let listed = |field: &str| {
        let rows = home.holdfast(["--json", "participants", "--config"]).arg(&file).run().expect(0).json();
        rows["rows"][0][field].clone()
    };
    assert_eq!((listed("state"), listed("failures")), ("quarantined".into(), 5.into()));
    home.holdfast(["participants", "reset", "db", "--config"]).arg(&file).run().expect(0);
    assert_eq!(listed("state"), "idle");
    fs::write(&flag, "").unwrap();
    backup().expect(0);
    assert_eq!(listed("last_good_run"), home.newest_run().as_str());
}

#[test]
fn a_cancelled_run_ends_its_commands_with_all_they_started() {
    let home = Home::new();
    let lock = home.beside("lock");
    let file = home.beside("holdfast.toml");
    let script = format!("exec 9>>{}; flock -n 9; trap '' TERM; echo begun; sleep 600 | sleep 600", lock.display());
    fs::write(
        &file,
        format!("[[participant]]\nname = 'stubborn'\nkind = 'command'\nshell = true\ncommand = \"{script}\"\n"),
    )
    .unwrap();
    let mut backup = home.holdfast(["--json", "backup", "--config"]).arg(&file).spawn();
    backup.wait_for_json("the command at work", |line| {
        line["progress"]["bytes_done"].as_u64().is_some_and(|bytes| bytes > 0)
    });
    backup.signal(rustix::process::Signal::INT);
    backup.wait().expect(130);
    assert_eq!(home.show(&home.newest_run())["status"], "cancelled");
    let free = home.command("flock", ["-n", &lock.display().to_string(), "true"]).run();
    free.expect(0);
}

#[test]
fn a_terminal_that_goes_away_cancels_and_an_ignored_hang_up_does_not() {
    let home = Home::new();
    let file = home.beside("holdfast.toml");
    let lock = home.beside("lock");
    let script =
        format!("exec 9>>{}; flock -n 9; echo begun; read -r _ < {}", lock.display(), home.beside("go").display());
    fs::write(
        &file,
        format!("[[participant]]\nname = 'waits'\nkind = 'command'\nshell = true\ncommand = \"{script}\"\n"),
    )
    .unwrap();
    home.command("mkfifo", [home.beside("go")]).run().expect(0);
    let begun = |line: &Value| line["progress"]["bytes_done"].as_u64().is_some_and(|bytes| bytes > 0);

    let mut backup = home.holdfast(["--json", "backup", "--config"]).arg(&file).spawn();
    backup.wait_for_json("the command at work", begun);
    backup.signal(rustix::process::Signal::HUP);
    backup.wait().expect(130);
    assert_eq!(home.show(&home.newest_run())["status"], "cancelled");
    home.command("flock", ["-n", &lock.display().to_string(), "true"]).run().expect(0);

    // As `nohup` starts it. The shell becomes the program, so the signal is the program's.
    let program =
        format!("trap '' HUP; exec {} --json backup --config {}", env!("CARGO_BIN_EXE_holdfast"), file.display());
    let mut backup = home.command("sh", ["-c", &program]).spawn();
    backup.wait_for_json("the command at work", begun);
    backup.signal(rustix::process::Signal::HUP);
    fs::write(home.beside("go"), "\n").unwrap();
    backup.wait().expect(0);
}

#[test]
fn what_failed_is_told_to_whoever_asked_for_errors_only() {
    let home = Home::new();
    let file = home.beside("holdfast.toml");
    let config = "[[participant]]\nname = 'good'\nkind = 'command'\ncommand = ['seq', '3']\n\
                  [[participant]]\nname = 'bad'\nkind = 'command'\ncritical = false\nmax_tries = 1\nshell = true\n\
                  command = 'echo the server is away >&2; exit 1'\n";
    fs::write(&file, config).unwrap();
    let backup = home.holdfast(["--quiet", "backup", "--config"]).arg(&file).run();
    backup.expect(3);
    assert_eq!(backup.out(), "", "{backup}");
    assert!(backup.err().contains("bad failed") && backup.err().contains("the server is away"), "{backup}");

    // A scoped run is not the latest backup of all, but it is that of its participant.
    let full = home.newest_run();
    fs::write(&file, config.replace("exit 1", "exit 0")).unwrap();
    // Nothing at all is no answer of an optional one either.
    home.holdfast(["backup", "--config"]).arg(&file).run().expect(3);
    fs::write(&file, config.replace("exit 1", "echo fine")).unwrap();
    let backup = |args: &[&str]| home.holdfast(args).arg("--config").arg(&file).run();
    backup(&["backup"]).expect(0);
    let all = home.newest_run();
    let told = backup(&["backup", "--participant", "good"]);
    told.expect(0);
    let scoped = home.newest_run();
    assert!(told.out().contains(&format!("holdfast restore {scoped}")), "what restores it: {told}");
    assert_eq!(home.show("latest")["run_id"], all.as_str());
    assert_eq!(home.show(&scoped)["requested_participants"], serde_json::json!(["good"]));
    let listed = home.holdfast(["show", "latest"]).run();
    assert!(listed.err().contains(&scoped), "the command says what it passed over: {listed}");
    let target = home.beside("out");
    let restore = home.json(["restore", "latest", "--participant", "good", "--target", &target.display().to_string()]);
    assert_eq!(restore["source_run_id"], scoped.as_str());
    assert_ne!(full, all);
}
