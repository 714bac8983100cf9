//! The command line as people meet it: help, exit codes, errors that say what to do.

use std::fs;

use crate::support::{Home, small_tree, text};

const COMMANDS: [&[&str]; 17] = [
    &["backup"],
    &["runs"],
    &["show"],
    &["verify"],
    &["ls"],
    &["dump"],
    &["restore"],
    &["delete"],
    &["lock"],
    &["unlock"],
    &["resume"],
    &["log"],
    &["log", "events"],
    &["log", "replay"],
    &["init"],
    &["config", "check"],
    &["completions"],
];

pub(crate) fn backed_up() -> (Home, String) {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let run = home.back_up(["source"]);
    (home, run)
}

#[test]
fn help_shows_examples_and_every_exit_code() {
    let home = Home::new();
    let help = home.holdfast(["--help"]).run();
    help.expect(0).says("Examples:").says("Exit codes:");
    let codes = [
        ("0", "all good"),
        ("1", "failed"),
        ("2", "wrong usage or configuration"),
        ("3", "partial, or completed with warnings"),
        ("4", "verification failed"),
        ("10", "no such run"),
        ("11", "busy"),
        ("12", "wrong or missing key"),
        ("130", "cancelled"),
    ];
    for (code, meaning) in codes {
        let found =
            help.out().lines().any(|line| line.split_whitespace().next() == Some(code) && line.contains(meaning));
        assert!(found, "no line for exit code {code}: {help}");
    }
    for command in COMMANDS {
        let help = home.holdfast(command).arg("--help").env_remove("HOLDFAST_HOME").run();
        help.expect(0).says("Usage:");
        assert!(help.out().lines().all(|line| line.chars().count() <= 100), "lines of a width people read: {help}");
        if !matches!(command, ["resume" | "log"]) {
            help.says("holdfast").says("Example");
        }
    }
    home.holdfast(["--version"]).run().expect(0).says(env!("CARGO_PKG_VERSION"));
    assert!(!home.path().exists(), "help makes no home");
}

#[test]
fn completions_are_there_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = home.holdfast(["completions", shell]).run();
        script.expect(0).says("holdfast").says("one-file-system");
    }
    let script = home.holdfast(["completions", "bash"]).run();
    fs::write(home.beside("completions.bash"), &script.stdout).unwrap();
    home.command("bash", ["-n", "completions.bash"]).run().expect(0);
    home.holdfast(["completions", "cmd.exe"]).run().expect(2).says("bash");
}

#[test]
fn wrong_usage_is_exit_code_2_and_changes_nothing() {
    let home = Home::new();
    let wrong: [&[&str]; 12] = [
        &[],
        &["no-such-command"],
        &["backup", "--no-such-flag", "x"],
        &["backup", "x", "--name", "a/b"],
        &["show"],
        &["show", "not-a-run-id"],
        &["runs", "--status", "splendid"],
        &["runs", "--limit", "0"],
        &["verify"],
        &["verify", "latest", "--all"],
        &["log", "events", "--from", "here"],
        &["log", "events", "--stream", "white space"],
    ];
    for args in wrong {
        home.holdfast(args).run().expect(2);
    }
    home.holdfast(["show", "not-a-run-id"]).run().says("YYYYMMDD-HHMMSS-NNNNNN").says("latest");
    home.holdfast(["runs", "--status", "splendid"]).run().says("interrupted");
    assert!(!home.path().exists(), "no home is made");
}

#[test]
fn a_bare_backup_prints_three_examples() {
    let home = Home::new();
    let bare = home.holdfast(["backup"]).run();
    bare.expect(2);
    let examples = bare.err().lines().filter(|line| line.trim().starts_with("holdfast backup ")).count();
    assert_eq!(examples, 3, "{bare}");
    assert!(!home.path().exists());
}

#[test]
fn what_is_not_there_is_exit_code_10_and_says_what_to_do() {
    let home = Home::new();
    let unknown = "20200101-000000-000001";
    let commands = |run: &'static str| -> [Vec<&'static str>; 7] {
        [
            vec!["show", run],
            vec!["verify", run],
            vec!["ls", run],
            vec!["dump", run, "a/file"],
            vec!["restore", run, "--target", "out"],
            vec!["delete", unknown],
            vec!["log", "replay", "run/20200101-000000-000001"],
        ]
    };
    for run in [unknown, "latest"] {
        for args in commands(run) {
            let finished = home.holdfast(&args).run();
            finished.expect(10).says("holdfast ");
        }
    }
    home.holdfast(["runs"]).run().expect(0).says("holdfast backup");
    home.holdfast(["resume"]).run().expect(0).says("nothing to resume");
    assert!(!home.path().exists(), "reading makes no home");

    small_tree(&home.beside("source"));
    home.back_up(["source"]);
    for args in commands(unknown) {
        home.holdfast(&args).run().expect(10).says("holdfast ");
    }
    assert!(!home.beside("out").exists());
}

#[test]
fn runs_are_listed_by_status_and_number() {
    let (home, good) = backed_up();
    fs::create_dir(home.beside("empty")).unwrap();
    home.holdfast(["backup", "empty"]).run().expect(1);
    let ids = |args: &[&str]| -> Vec<String> {
        let rows = home.json(args)["rows"].clone();
        rows.as_array().unwrap().iter().map(|row| text(&row["run_id"])).collect()
    };
    assert_eq!(ids(&["runs", "--status", "completed"]), [good.as_str()]);
    assert_eq!(ids(&["runs", "--status", "failed"]).len(), 1);
    assert_eq!(ids(&["runs", "--status", "cancelled"]).len(), 0);
    assert_ne!(ids(&["runs", "--limit", "1"]), [good.as_str()], "the newest");
    let table = home.holdfast(["runs"]).run();
    table.expect(0).says("RUN").says("completed").says("failed").says("there is nothing in");
    assert_eq!(table.out().lines().count(), 3, "{table}");
    home.holdfast(["show", "latest"]).run().expect(0).says("passed over 1 newer run");
}

#[test]
fn the_end_of_a_backup_says_what_a_person_wants() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let backup = home.holdfast(["backup", "source"]).run();
    let run = home.newest_run();
    let said = backup.expect(0).out();
    assert_eq!(said.lines().count(), 1, "{backup}");
    assert!(said.starts_with(&format!("run {run} completed: 4 files, ")), "{backup}");
    assert!(said.trim_end().ends_with("verified. Restore: holdfast restore latest --target ./out"), "{backup}");
    assert!(backup.err().lines().filter(|line| line.starts_with(&run)).count() >= 2, "a line a phase: {backup}");
    assert!(
        !backup.stdout.contains(&0x1b) && !backup.err().contains('\u{1b}'),
        "no colours where there is no terminal"
    );
}

#[test]
fn quiet_says_nothing_but_errors() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    for args in
        [&["backup", "source"][..], &["verify", "latest"], &["restore", "latest", "--target", "out"], &["resume"]]
    {
        let finished = home.holdfast(["--quiet"]).args(args).run();
        finished.expect(0);
        assert_eq!((finished.out(), finished.err()), (String::new(), String::new()), "{finished}");
    }
    home.holdfast(["--quiet", "ls", "latest"]).run().expect(0).says("source/etc/hosts");
    home.holdfast(["--quiet", "backup", "missing"]).run().expect(1).says("missing");
}

#[test]
fn a_reader_that_goes_away_is_no_error_worth_a_message() {
    let home = Home::new();
    let source = home.beside("many");
    fs::create_dir(&source).unwrap();
    for number in 0..3000 {
        fs::write(source.join(format!("a-file-with-a-rather-long-name-{number:05}")), "x").unwrap();
    }
    home.back_up(["many"]);
    for args in
        ["ls latest", "ls latest --json", "dump latest many/a-file-with-a-rather-long-name-00000", "runs", "--help"]
    {
        let script = format!("'{}' {args} | head -c 1 >/dev/null", env!("CARGO_BIN_EXE_holdfast"));
        let finished = home.command("bash", ["-c", script.as_str()]).run();
        finished.expect(0);
        assert_eq!(finished.err(), "", "{args}: {finished}");
    }
}

#[test]
fn a_backup_goes_on_when_nobody_reads_its_output() {
    let home = Home::new();
    crate::support::large_tree(&home.beside("source"), 30);
    let settings = crate::support::slow_settings(&home);
    let script = format!(
        "'{}' backup source --json --config {} | head -n 1",
        env!("CARGO_BIN_EXE_holdfast"),
        settings.display()
    );
    let finished = home.command("bash", ["-c", script.as_str()]).run();
    assert!(!finished.err().contains("panicked"), "{finished}");
    assert_eq!(home.show("latest")["status"], "completed");
}

#[test]
fn configuration_errors_name_file_line_key_and_what_is_allowed() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let wrong = [
        ("[pipeline]\ncompresion = 'lz4'\n", "compresion", "`compression`"),
        ("[pipeline]\ncompression = 'rar'\n", "rar", "zstd:1"),
        ("[runs]\nmax_attempts = 'three'\n", "max_attempts", "1 to 100"),
        ("[runs]\nresume_within = 'soon'\n", "soon", "6h"),
        ("[space]\nmin_free = '10 parsecs'\n", "parsecs", "GiB"),
    ];
    for (settings, key, allowed) in wrong {
        fs::write(home.beside("holdfast.toml"), settings).unwrap();
        let refused = home.holdfast(["backup", "source", "--config", "holdfast.toml"]).run();
        refused.expect(2).says("holdfast.toml:2:").says(key).says(allowed);
        let refused = home.holdfast(["runs"]).env("HOLDFAST_CONFIG", "holdfast.toml").run();
        refused.expect(2).says("holdfast.toml:2:");
    }
    home.holdfast(["runs", "--config", "no-such-file"]).run().expect(2).says("no-such-file");
    assert!(!home.path().exists());

    fs::write(home.beside("holdfast.toml"), "[pipeline]\ncompression = 'zstd:1'\n").unwrap();
    home.back_up(["source", "--config", "holdfast.toml"]);
    assert_eq!(home.show("latest")["participants"][0]["artifacts"][0]["compression"], "zstd:1");
    home.back_up(["source", "--config", "holdfast.toml", "--compression", "none"]);
    assert_eq!(home.show("latest")["participants"][0]["artifacts"][0]["compression"], "none");
}

#[test]
fn the_home_is_the_flag_then_the_environment_then_xdg_then_the_users() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let made = |name: &str| {
        let there = home.beside(name).join("home.json").is_file();
        assert_eq!(there, home.beside(name).join("backups/completed").is_dir(), "{name}");
        there
    };
    let backup = || home.holdfast(["--quiet", "backup", "source"]).env_remove("HOLDFAST_HOME");
    backup().run().expect(0);
    assert!(made("user/.local/share/holdfast"));
    backup().env("XDG_DATA_HOME", home.beside("xdg")).run().expect(0);
    assert!(made("xdg/holdfast"));
    backup().env("XDG_DATA_HOME", "relative/is/ignored").run().expect(0);
    backup().env("XDG_DATA_HOME", home.beside("other")).env("HOLDFAST_HOME", home.beside("by-env")).run().expect(0);
    assert!(made("by-env") && !made("other/holdfast"));
    backup().env("HOLDFAST_HOME", home.beside("not-this")).args(["--home", "by-flag"]).run().expect(0);
    assert!(made("by-flag") && !made("not-this"), "a relative --home is below the current folder");
    let unknown = home.holdfast(["runs"]).env_remove("HOLDFAST_HOME").env_remove("HOME").run();
    unknown.expect(2).says("--home");
}

#[test]
fn a_home_that_is_something_else_is_left_alone() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    fs::write(home.path(), "a file\n").unwrap();
    let refused = home.holdfast(["backup", "source"]).run();
    assert!(matches!(refused.code(), Some(1 | 2)), "{refused}");
    assert_eq!(fs::read_to_string(home.path()).unwrap(), "a file\n");

    fs::remove_file(home.path()).unwrap();
    fs::create_dir(home.path()).unwrap();
    fs::write(home.path().join("precious"), "someone's\n").unwrap();
    let refused = home.holdfast(["backup", "source"]).run();
    assert!(matches!(refused.code(), Some(1 | 2)), "a folder with other things in it is no home: {refused}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let home = Home::new();
    let source = home.beside("source");
    fs::create_dir(&source).unwrap();
    for name in ["evil\x1b[2J\x1b]0;title\x07", "two\nlines", "fine"] {
        fs::write(source.join(name), name).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(source.join(name), fs::Permissions::from_mode(if name == "fine" { 0o600 } else { 0 }))
            .unwrap();
    }
    let backup = home.holdfast(["backup", "source"]).without_privileges().run();
    backup.expect(3);
    for finished in [backup, home.holdfast(["show", "latest"]).run(), home.holdfast(["ls", "latest"]).run()] {
        let all = finished.out() + &finished.err();
        assert!(!all.contains('\u{1b}') && !all.contains('\u{7}'), "{all:?}");
        assert!(!all.lines().any(|line| line.starts_with("lines")), "{all:?}");
    }
}
