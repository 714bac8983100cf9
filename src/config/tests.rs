#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod endpoint;
mod server;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::command::CommandSpec;
use crate::pipeline::Compression;

const WHOLE: &str = r#"
[pipeline]
compression = "zstd:3"
workers = 2
[runs]
max_parallel = 8
max_attempts = 5
resume_within = "90m"
on_crash = "fail"
queueing = true
consistency = "barrier"
freeze_budget = "5s"
timeout = "3h"
endpoints = ["nas", "offsite"]
require_endpoints = "any"
keep_local = false
staging = "none"
max_tries = 2
retry_delay = "1s"
[restores]
timeout = "4h"
keep_safety = "7d"
[space]
min_free = "10 GiB"
[[participant]]
name = "site"
kind = "files"
paths = ["/srv/site", "/etc"]
exclude = ["*.tmp"]
one_file_system = true
allow_empty = true
timeout = "2h"
max_tries = 5
[[participant]]
name = "db"
kind = "command"
critical = false
depends_on = ["site"]
command = ["pg_dump", "-Fc", "shop"]
artifact = "shop.dump"
env = { PGHOST = "/run/postgresql" }
env_file = { PGPASSWORD = "/etc/holdfast/pg.password" }
directory = "/var/lib/postgresql"
preflight = ["pg_isready"]
restore = ["pg_restore", "-d", "shop"]
prepare = ["sync"]
freeze = ["snap", "make"]
thaw = ["snap", "drop"]
prepare_timeout = "2m"
stall_timeout = "none"
[[participant]]
name = "mail"
kind = "command"
shell = true
command = "tar c /var/mail | gzip"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("holdfast.toml"))
}

fn minutes(minutes: u64) -> Option<Duration> {
    Some(Duration::from_secs(minutes * 60))
}

#[test]
fn all_settings_are_read() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(config.pipeline, PipelineConfig { compression: Compression::Zstd(3), workers: 2 });
    let runs = RunsConfig {
        max_parallel: 8,
        max_attempts: 5,
        resume_within: Duration::from_secs(5400),
        on_crash: OnCrash::Fail,
        max_tries: 2,
        retry_delay: Duration::from_secs(1),
        queueing: true,
        consistency: holdfast_model::run::Consistency::Barrier,
        freeze_budget: Duration::from_secs(5),
        timeout: minutes(180),
        endpoints: Some(vec!["nas".parse().unwrap(), "offsite".parse().unwrap()]),
        require_endpoints: holdfast_model::run::RequireEndpoints::Any,
        keep_local: false,
        staging: holdfast_model::run::Staging::None,
    };
    assert_eq!((config.runs, config.space.min_free), (runs, 10 << 30));
    let restores = RestoresConfig { timeout: minutes(240), keep_safety: minutes(7 * 24 * 60) };
    assert_eq!(config.restores, restores);

    let [site, db, mail] = &config.participants[..] else { panic!("three participants, in their order") };
    assert_eq!((site.descriptor.name.as_str(), &site.descriptor.kind[..]), ("site", "files"));
    assert_eq!((site.descriptor.critical, site.descriptor.max_tries), (true, 5));
    assert_eq!(site.descriptor.retry_delay, Duration::from_secs(1), "what [runs] says is the default");
    let deadlines = site.descriptor.deadlines;
    assert_eq!((deadlines.preflight, deadlines.write, deadlines.stall), (minutes(1), minutes(120), minutes(5)));
    let Source::Files(files) = &site.source else { panic!("files") };
    assert_eq!(files.spec.paths, ["/srv/site", "/etc"].map(PathBuf::from));
    assert_eq!(
        (&files.spec.exclude[..], files.spec.one_file_system, files.allow_empty),
        (&["*.tmp".to_owned()][..], true, true)
    );

    assert_eq!((db.descriptor.critical, db.descriptor.max_tries), (false, 2));
    assert_eq!(db.descriptor.depends_on, ["site".parse().unwrap()]);
    let deadlines = db.descriptor.deadlines;
    assert_eq!((deadlines.preflight, deadlines.write, deadlines.stall), (minutes(1), minutes(30), None));
    let Source::Command(command) = &db.source else { panic!("a command") };
    assert_eq!(command.artifact.as_str(), "shop.dump");
    let spec = |argv: &[&str]| CommandSpec {
        argv: argv.iter().map(ToString::to_string).collect(),
        shell: false,
        env: [("PGHOST".to_owned(), "/run/postgresql".to_owned())].into(),
        env_file: [("PGPASSWORD".to_owned(), PathBuf::from("/etc/holdfast/pg.password"))].into(),
        directory: Some("/var/lib/postgresql".into()),
    };
    assert_eq!(command.command, spec(&["pg_dump", "-Fc", "shop"]));
    assert_eq!(command.preflight, Some(spec(&["pg_isready"])));
    assert_eq!(command.restore, Some(spec(&["pg_restore", "-d", "shop"])));
    let phases = [&command.prepare, &command.freeze, &command.thaw].map(|spec| spec.clone().unwrap());
    assert_eq!(phases, [spec(&["sync"]), spec(&["snap", "make"]), spec(&["snap", "drop"])]);
    assert_eq!((deadlines.prepare, deadlines.freeze), (minutes(2), Duration::from_secs(5)));

    let Source::Command(command) = &mail.source else { panic!("a command") };
    assert_eq!((&command.command.argv[..], command.command.shell), (&["tar c /var/mail | gzip".to_owned()][..], true));
    assert_eq!((command.artifact.as_str(), &command.preflight, &command.restore), ("mail.out", &None, &None));

    assert_eq!(parse("").unwrap(), Config::default());
}

/// What a file is wrong with: the file, and for each problem its line and a part of its message, in order.
type Wrong<'t> = (&'t str, &'t [(usize, &'t str)]);

fn expect_wrong(cases: &[Wrong<'_>]) {
    let mut missed = String::new();
    for (text, expected) in cases {
        let problems = match parse(text) {
            Err(ConfigError::Invalid { problems, .. }) => problems,
            other => panic!("{text}\n{other:?}"),
        };
        let told = problems
            .iter()
            .zip(*expected)
            .all(|(problem, (line, says))| problem.line == *line && problem.message.contains(says));
        if !told || problems.len() != expected.len() {
            missed.push_str(&format!("{text}\n  expected {expected:?}\n  found {problems:#?}\n"));
        }
    }
    assert!(missed.is_empty(), "{missed}");
}

#[test]
fn wrong_settings_are_told_with_line_and_key_and_what_is_allowed() {
    expect_wrong(&[
        (
            "[pipeline]\ncompresion = 'lz4'",
            &[(2, "no key `compresion`: did you mean `compression`? its keys are `compression`, `workers`")],
        ),
        ("[pipeline]\ncompression = 'rar'", &[(2, "`compression`: compression \"rar\" is not known: use lz4, zstd:1")]),
        (
            "[pipeline]\ncompression = 3",
            &[(2, "`compression`: a compression as \"lz4\" or \"zstd:3\" is needed, not a whole number")],
        ),
        ("[pipeline]\nworkers = 257", &[(2, "`workers`: a whole number from 0 to 256 is needed, not 257")]),
        ("[pipeline]\nworkers = -1", &[(2, "`workers`: a whole number from 0 to 256 is needed, not -1")]),
        ("[pipeline]\nworkers = 1.5", &[(2, "not a number with a fraction")]),
        ("[runs]\nmax_parallel = 0", &[(2, "`max_parallel`: a whole number from 1 to 64")]),
        (
            "[runs]\nmax_attempts = 'three'",
            &[(2, "`max_attempts`: a whole number from 1 to 100 is needed, not a string")],
        ),
        ("[runs]\nmax_tries = 11", &[(2, "`max_tries`: a whole number from 1 to 10")]),
        ("[runs]\nresume_within = 6", &[(2, "`resume_within`: a duration as \"6h\"")]),
        ("[runs]\nresume_within = 'soon'", &[(2, "`resume_within`: \"soon\" is no duration: write")]),
        ("[runs]\nresume_within = '-6h'", &[(2, "\"-6h\" is negative")]),
        ("[runs]\nresume_within = '9999h'", &[(2, "at most 8784 hours")]),
        ("[runs]\nretry_delay = '61s'", &[(2, "`retry_delay`: \"61s\" is too long: at most 60 s")]),
        ("[runs]\nretry_delay = 'none'", &[(2, "`retry_delay`: \"none\" is no duration")]),
        ("[runs]\non_crash = 'restart'", &[(2, "`on_crash`: \"restart\" is not known: \"resume\" or \"fail\"")]),
        ("[runs]\nqueueing = 'yes'", &[(2, "`queueing`: true or false is needed, not a string")]),
        (
            "[runs]\nendpoints = 'all'",
            &[(2, "a list of names as [\"offsite\"], or \"every\", is needed, not a string")],
        ),
        ("[runs]\nendpoints = ['a', '../b', 'a']", &[(2, "`endpoints`: endpoint name"), (2, "\"a\" is named twice")]),
        ("[runs]\nrequire_endpoints = 'some'", &[(2, "\"some\" is not known: \"none\", \"any\" or \"all\"")]),
        ("[runs]\nendpoints = []\nrequire_endpoints = 'all'", &[(3, "no run is ever good")]),
        ("[runs]\nstaging = \"away\"", &[(2, "\"local\" or \"none\"")]),
        ("[runs]\nendpoints = []\nstaging = \"none\"", &[(3, "artifacts would go nowhere")]),
        ("[runs]\nkeep_local = false", &[(2, "nothing would be left: write require_endpoints")]),
        ("[space]\nmin_free = '10 parsecs'", &[(2, "`min_free`: \"10 parsecs\" is no size: write it as `10 GiB`")]),
        ("[space]\nmin_free = -1", &[(2, "`min_free`: a size")]),
        ("[space]\nmin_free = '99999999999 TiB'", &[(2, "is no size")]),
        ("\n[spaces]\n", &[(2, "no part `spaces`: did you mean [space]?")]),
        (
            "[serve]\n",
            &[(
                1,
                "no part `serve`: did you mean [server]? the parts are [pipeline], [runs], [restores], [space], [encryption], [server], [[endpoint]]",
            )],
        ),
        ("[[participants]]", &[(1, "did you mean [[participant]]?")]),
        ("participant = 'site'", &[(1, "[[participant]], with two brackets, is needed, not a string")]),
        ("[participant]\nname = 'site'", &[(1, "with two brackets")]),
        ("runs = 3", &[(1, "a part [runs] is needed, not a whole number")]),
        ("workers = 3", &[(1, "there is no part `workers`")]),
        // Every problem of a file, by their lines.
        (
            "[pipeline]\nworkers = 'x'\n[runs]\nmax_tries = 0\nunknown = 1\n[[participant]]\nname = '..'\nkind = 'disk'",
            &[
                (2, "`workers`"),
                (4, "`max_tries`"),
                (5, "`unknown`"),
                (7, "`name`"),
                (8, "`kind`: \"disk\" is not known"),
            ],
        ),
        // What is no TOML.
        ("[runs]\nmax_tries = = 3", &[(2, "")]),
        ("[runs]\nmax_tries = 3\nmax_tries = 4", &[(3, "duplicate key")]),
    ]);
}

#[test]
fn wrong_participants_are_told_with_line_and_key_and_what_is_allowed() {
    let files = "[[participant]]\nname = 'a'\nkind = 'files'\npaths = ['/a']\n";
    let command = "[[participant]]\nname = 'c'\nkind = 'command'\n";
    let cases: Vec<(String, Vec<(usize, &str)>)> = vec![
        ("[[participant]]".into(), vec![(1, "participant 1 has no `name`"), (1, "no `kind`: write kind = \"files\"")]),
        ("[[participant]]\nname = 'a'\nkind = 'files'".into(), vec![(1, "no `paths`: write which folders")]),
        (
            "[[participant]]\nname = 'a b'\nkind = 'files'\npaths = ['/a']".into(),
            vec![(2, "`name`: participant name \"a b\" is not valid: 1 to 64")],
        ),
        ("[[participant]]\nname = 'a'\nkind = 'files'\npaths = []".into(), vec![(4, "name at least one folder")]),
        (
            "[[participant]]\nname = 'a'\nkind = 'files'\npaths = '/srv'".into(),
            vec![(4, "a list of paths as [\"/srv/site\"] is needed, not a string")],
        ),
        (
            "[[participant]]\nname = 'a'\nkind = 'files'\npaths = [\n'/a',\n'srv',\n3]".into(),
            vec![(6, "`paths`: \"srv\" is not an absolute path"), (7, "`paths`: a string is needed")],
        ),
        (format!("{files}exclude = ['ok', '{{a']"), vec![(5, "`exclude`: the exclude pattern `{a` is not valid")]),
        (format!("{files}command = ['x']"), vec![(5, "`command` is for kind = \"command\"; this kind has `paths`")]),
        (format!("{files}exlude = []"), vec![(5, "did you mean `exclude`?")]),
        (format!("{files}critical = 'yes'"), vec![(5, "`critical`: true or false is needed, not a string")]),
        (format!("{files}max_tries = 0"), vec![(5, "`max_tries`: a whole number from 1 to 10")]),
        (
            format!("{files}timeout = '0s'"),
            vec![(5, "`timeout`: it must be longer than nothing; for no limit write \"none\"")],
        ),
        (
            format!("{files}timeout = 'never'"),
            vec![(5, "is no duration: write hours, minutes and seconds as `6h`, `90m`, `1h 30m` or `30s`, or `none`")],
        ),
        (
            format!("{files}depends_on = ['b', 'a']"),
            vec![(5, "there is no participant \"b\""), (5, "cannot wait for itself")],
        ),
        (
            format!("{files}depends_on = ['B', 'b']\n{}", files.replace("'a'", "'b'")),
            vec![(5, "there is no participant \"B\": did you mean \"b\"?")],
        ),
        (format!("{files}depends_on = ['b', 'b']\n{}", files.replace("'a'", "'b'")), vec![(5, "\"b\" is named twice")]),
        (
            format!("{files}{}", files.replace("'a'", "'A'")),
            vec![
                (6, "there is a participant \"a\" above already (names are told apart without case)"),
                (6, "files would have the names of those of a.tar"),
            ],
        ),
        (format!("{command}command = ['x']\nfreeze = ['y']"), vec![(5, "`freeze` without `thaw`: write what lets")]),
        (
            format!("{command}command = ['x']\nthaw = ['y']\nprepare = ['z']"),
            vec![(5, "`thaw` without `freeze` is never run"), (6, "`prepare` is the work before `freeze`")],
        ),
        (format!("{files}freeze = ['x']"), vec![(5, "`freeze` is for kind = \"command\"")]),
        (
            format!("{command}command = 'pg_dump -Fc shop'"),
            vec![(4, "`command`: without shell = true it is a list: write [\"pg_dump\", \"-Fc\", \"shop\"]")],
        ),
        (format!("{command}command = 'pg_dump shop | gzip'"), vec![(4, "set shell = true")]),
        (
            format!("{command}shell = true\ncommand = ['pg_dump']"),
            vec![(5, "a script in quotes (shell = true) is needed, not a list")],
        ),
        (format!("{command}shell = true\ncommand = ' '"), vec![(5, "the script is empty")]),
        (format!("{command}command = []"), vec![(4, "its first word is the program")]),
        (format!("{command}command = ['./dump']"), vec![(4, "\"./dump\" is relative")]),
        (
            format!("{command}command = ['x']\npreflight = ['']\nrestore = 'x'"),
            vec![(5, "`preflight`: the list is empty"), (6, "`restore`: without shell")],
        ),
        (command.to_owned(), vec![(1, "no `command`: write what is run, as command = [\"pg_dump\"")]),
        (
            format!("{command}command = ['x']\npaths = ['/a']"),
            vec![(5, "`paths` is for kind = \"files\"; this kind has `command`")],
        ),
        (
            format!("{command}command = ['x']\ndirectory = 'here'"),
            vec![(5, "`directory`: \"here\" is not an absolute path")],
        ),
        (
            format!("{command}command = ['x']\nenv_file = {{ A = 'pw' }}"),
            vec![(5, "`env_file`, A: write the file that holds its value")],
        ),
        (format!("{command}command = ['x']\nenv = {{ 'A B' = 'x' }}"), vec![(5, "`env`: the name of a variable")]),
        (
            format!("{command}command = ['x']\nenv = ['A=x']"),
            vec![(5, "`env`: a table as `env = { NAME = \"…\" }` is needed, not a list")],
        ),
        (
            format!("{command}command = ['x']\nenv = {{ A = 'x' }}\nenv_file = {{ A = '/x' }}"),
            vec![(6, "`env_file`: A stands in `env` too")],
        ),
        (
            format!("{command}command = ['x']\nartifact = '../x'"),
            vec![(5, "`artifact`: artifact name \"../x\" is not valid")],
        ),
        (format!("{command}command = ['x']\nartifact = 'Manifest.json'"), vec![(5, "a file of Holdfast's own")]),
        (
            format!("{command}command = ['x']\nartifact = '{}'", "x".repeat(119)),
            vec![(5, "too long for the extensions")],
        ),
        (format!("{files}{command}command = ['x']\nartifact = 'A.tar'"), vec![(9, "the names of those of a.tar")]),
        // With no compression, files have the names of their artifacts.
        (
            format!("[pipeline]\ncompression = 'none'\n{files}{command}command = ['x']\nartifact = 'a.tar.index'"),
            vec![(11, "the names of those of a.tar")],
        ),
    ];
    let cases: Vec<Wrong<'_>> = cases.iter().map(|(text, expected)| (&text[..], &expected[..])).collect();
    expect_wrong(&cases);
}

#[test]
fn participants_that_wait_for_each_other_are_told_as_a_ring() {
    let one = |name: &str, needs: &str| {
        format!("[[participant]]\nname = '{name}'\nkind = 'files'\npaths = ['/a']\ndepends_on = [{needs}]\n")
    };
    let ring = one("a", "'b'") + &one("b", "'free', 'c'") + &one("c", "'b'") + &one("free", "");
    expect_wrong(&[(&ring, &[(15, "none of these can begin: b waits for c waits for b")])]);
    let order = one("a", "'b', 'c'") + &one("b", "'c'") + &one("c", "");
    assert!(parse(&order).is_ok(), "a later one may be waited for");
}

#[test]
fn there_are_at_most_as_many_participants_as_a_run_takes() {
    let many = |count: usize| -> String {
        let one = |n| format!("[[participant]]\nname = 'p{n}'\nkind = 'files'\npaths = ['/a']\n");
        (0..count).map(one).collect()
    };
    assert_eq!(parse(&many(MAX_PARTICIPANTS)).unwrap().participants.len(), MAX_PARTICIPANTS);
    expect_wrong(&[(&many(MAX_PARTICIPANTS + 1), &[(MAX_PARTICIPANTS * 4 + 1, "200 participants at most")])]);
}

#[test]
fn an_error_shows_the_line_and_where() {
    let error = parse("[runs]\n  max_tries = 11   # too many\n").unwrap_err().to_string();
    assert_eq!(
        error,
        "holdfast.toml:2:15: `max_tries`: a whole number from 1 to 10 is needed, not 11\n  \
         |   max_tries = 11   # too many\n  |               ^^"
    );
}

#[test]
fn values_of_variables_are_never_part_of_an_error() {
    let start = "[[participant]]\nname = 'c'\nkind = 'command'\n";
    for text in [
        "env = { PW = 'hunter2', 'B B' = 'x' }\ncommand = ['x']",
        "env = { PW = 'hunter2', B = 3 }\ncommand = ['x']",
        "env = 'hunter2'\ncommand = ['x']",
        "env_file = { PW = 'hunter2' }\ncommand = ['x']",
        "command = ['x']\nenv = { PW = 'hunter2\n}",
        "command = ['x']\n[participant.env]\nPW = 'hunter2\n",
        "command = ['x']\n[participant.env]\nPW = hunter2\n",
        "command = ['x']\nenv.PW = 'hunter2' 3\n",
        "command = ['x']\nevn = { PW = 'hunter2' }\n",
        "command = ['x']\nenv = { PW = 'hunter2' }\nenv_file = { PW = '/x' }\n",
    ] {
        let error = parse(&format!("{start}{text}")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}\n{error}");
    }
}

#[test]
fn a_digest_tells_definitions_apart_and_holds_no_values_of_variables() {
    let digest = |text: &str| {
        let config = parse(&format!("[[participant]]\nname = 'c'\nkind = 'command'\n{text}")).unwrap();
        config.participants[0].descriptor.digest
    };
    let first = digest("command = ['x']\nenv = { A = 'one' }\n");
    assert_eq!(first, digest("env = { A = 'two' }\ncommand = ['x']\ntimeout = '5m'\n"));
    for other in [
        "command = ['y']\nenv = { A = 'one' }\n",
        "command = ['x']\nenv = { B = 'one' }\n",
        "command = ['x']\nenv = { A = 'one' }\nrestore = ['z']\n",
        "command = ['x']\nenv = { A = 'one' }\nartifact = 'other'\n",
    ] {
        assert_ne!(first, digest(other), "{other}");
    }
    let config = parse(WHOLE).unwrap();
    let Source::Command(command) = &config.participants[1].source else { panic!("a command") };
    assert_eq!(command.restore.as_ref().unwrap().env["PGHOST"], "/run/postgresql", "the values themselves stay");
}

#[test]
fn a_file_others_may_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let code = |path: &Path| Config::read(path).map(drop).map_err(|error| error.code());
    assert_eq!(code(&path), Err("CONFIG_MISSING"));
    std::fs::write(&path, "[runs]\nmax_tries = 2\n").unwrap();
    for (mode, expected) in
        [(0o600, Ok(())), (0o644, Ok(())), (0o666, Err("CONFIG_UNSAFE")), (0o602, Err("CONFIG_UNSAFE"))]
    {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(code(&path), expected, "{mode:o}");
    }
    let said = Config::read(&path).unwrap_err().to_string();
    assert!(said.contains(&format!("`chmod o-w {}`", path.display())), "{said}");
    if rustix::process::geteuid().is_root() {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert_eq!(code(&path), Err("CONFIG_UNSAFE"));
    }
    assert_eq!(code(folder.path()), Err("CONFIG_UNREADABLE"));
}

#[test]
fn what_is_no_text_or_too_much_of_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, b"[runs]\n# \xff\n").unwrap();
    assert!(Config::read(&path).unwrap_err().to_string().contains("config.toml:2:1: the file is not UTF-8"));
    std::fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(Config::read(&path).unwrap_err().code(), "CONFIG_INVALID");
}
