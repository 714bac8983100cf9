//! The configuration as an operator meets it: `init` writes one, `config check` tells what is wrong with one, and every
//! command goes by the one in the home.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Home, small_tree};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn init_writes_a_configuration_that_passes_the_check_and_that_backups_go_by() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let init = home
        .holdfast(["init", "--files", "site=source", "--files"])
        .arg(format!("site={}", source.join("etc").display()))
        .args(["--command", "list=ls / | sort"])
        .run();
    init.expect(0).says("with 2 participants").says("\n  holdfast config check\n  holdfast backup");
    let file = home.path().join("config.toml");
    assert_eq!((mode(&home.path()), mode(&file)), (0o700, 0o600));

    let check = home.holdfast(["config", "check"]).run();
    check.expect(0).says("2 participants, 0 errors, 0 warnings").says("note: list: there is no `restore`");
    let value = home.json(["config", "check"]);
    assert_eq!((&value["ok"], &value["exit_code"]), (&true.into(), &0.into()), "{value}");
    let names: Vec<_> = value["participants"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["site", "list"]);
    assert_eq!(value["participants"][0]["timeout_seconds"], serde_json::Value::Null);
    assert_eq!(value["participants"][1]["timeout_seconds"], 1800.0);

    // A second one would take the place of what was edited by hand.
    let before = fs::read(&file).unwrap();
    home.holdfast(["init"]).run().expect(2).says("already").says("--force");
    assert_eq!(fs::read(&file).unwrap(), before);
    home.holdfast(["init", "--force"]).run().expect(0).says("with 0 participants");

    // The folder with nothing but a configuration in it becomes the home, and its settings go.
    fs::write(&file, "[pipeline]\ncompression = 'zstd:1'\n").unwrap();
    home.back_up(["source"]);
    assert_eq!(home.show("latest")["participants"][0]["artifacts"][0]["compression"], "zstd:1");
    fs::write(&file, "[pipeline]\ncompression = 'rar'\n").unwrap();
    home.holdfast(["runs"]).run().expect(2).says("config.toml:2:15: ").says("^^^^^");
}

#[test]
fn without_a_terminal_and_flags_init_writes_a_template() {
    let home = Home::new();
    let place = home.beside("my config.toml");
    let init = home.holdfast(["init", "--output", "my config.toml"]).run();
    init.expect(0).says("with 0 participants").says("holdfast config check --config '").says("my config.toml'");
    assert!(!home.path().exists(), "what lies elsewhere makes no home");
    assert_eq!(mode(&place), 0o600);
    let text = fs::read_to_string(&place).unwrap();
    assert!(text.contains("\n#[[participant]]\n") && text.contains("\n#compression = \"lz4\"\n"), "{text}");
    home.holdfast(["config", "check", "my config.toml"]).run().expect(0).says("0 participants");
    home.holdfast(["config", "check", "--config"]).arg(&place).run().expect(0);
}

#[test]
fn what_is_named_to_init_is_checked_before_anything_is_written() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    for (args, says) in [
        (["--files", "source"], "a name, `=`"),
        (["--files", "a b=source"], "participant name"),
        (["--files", "a=no-such-folder"], "does not exist"),
        (["--command", "a= "], "write what is run"),
    ] {
        home.holdfast(["init"]).args(args).run().expect(2).says(says);
    }
    let twice = ["init", "--files", "a=source", "--command", "A=true"];
    home.holdfast(twice).run().expect(2).says("a participant A already");
    assert!(!home.path().exists());
    // A terminal is not asked where a program listens.
    let value = home.json(["init"]);
    assert_eq!((&value["participants"], &value["next"][1]), (&0.into(), &"holdfast backup".into()), "{value}");
}

#[test]
fn the_check_tells_all_problems_of_a_file_with_their_places() {
    let home = Home::new();
    let file = home.beside("holdfast.toml");
    fs::write(&file, "[runs]\nmax_parallel = 65\n[[participant]]\nname = 'db'\nkind = 'command'\npaths = ['/x']\n")
        .unwrap();
    let check = home.holdfast(["config", "check", "holdfast.toml"]).run();
    check
        .expect(2)
        .says("holdfast.toml:2:16: `max_parallel`")
        .says("holdfast.toml:6:1: `paths` is for kind = \"files\"");
    check.says("holdfast.toml:3:1: the participant has no `command`");
    let check = home.holdfast(["config", "check", "holdfast.toml", "--json"]).run();
    let value = check.expect(2).json();
    let lines: Vec<_> = value["problems"].as_array().unwrap().iter().map(|problem| problem["line"].clone()).collect();
    assert_eq!((lines, &value["ok"]), (vec![2.into(), 3.into(), 6.into()], &false.into()), "{value}");

    home.holdfast(["config", "check", "nowhere.toml"]).run().expect(2).says("nowhere.toml").says("holdfast init");
    home.holdfast(["config", "check"]).run().expect(2).says("config.toml").says("holdfast init");
}

/// A certificate for `localhost` that ends on this day, with its key.
fn issue(folder: &Path, year: i32, month: u8, day: u8) {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, month, day);
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(folder.join("server.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    set_mode(&folder.join("server.key"), 0o600);
}

#[test]
fn the_check_shows_the_server_and_looks_at_its_certificate() {
    let home = Home::new();
    let folder = home.beside("tls");
    fs::create_dir(&folder).unwrap();
    let file = home.beside("holdfast.toml");
    let check = || home.holdfast(["config", "check", "holdfast.toml"]).run();
    fs::write(&file, "[runs]\nqueueing = true\n").unwrap();
    check()
        .expect(0)
        .says(
            "serve: TCP 127.0.0.1:7420, HTTP 127.0.0.1:7421, no TLS\na stop gives 10s of grace; the log is text, info",
        )
        .says("under way waits");

    fs::write(&file, "[server]\ntcp = '0.0.0.0:7420'\nhttp = 'off'\n").unwrap();
    check().expect(2).says("holdfast.toml:2:7: `tcp`: other machines reach 0.0.0.0:7420").says("insecure = true");
    home.holdfast(["runs", "--config", "holdfast.toml"]).run().expect(2).says("other machines reach");
    fs::write(&file, "[server]\ntcp = '0.0.0.0:7420'\nhttp = 'off'\ninsecure = true\n").unwrap();
    check().expect(0).says("TCP 0.0.0.0:7420, HTTP off").says("note: `insecure`: what goes over 0.0.0.0:7420");

    let tls = format!(
        "[server]\ntcp = '0.0.0.0:7420'\ntls_cert = '{0}/server.pem'\ntls_key = '{0}/server.key'\n",
        folder.display()
    );
    fs::write(&file, tls).unwrap();
    check().expect(2).says("error: `tls_cert` and `tls_key`: cannot read").says("server.pem");
    issue(&folder, 2999, 1, 1);
    check().expect(0).says("TLS with").says("0 errors, 0 warnings");
    let value = home.holdfast(["config", "check", "holdfast.toml", "--json"]).run().expect(0).json();
    assert_eq!((&value["server"]["tcp"], &value["runs"]["queueing"]), (&"0.0.0.0:7420".into(), &false.into()));
    assert_eq!(value["server"]["limits"]["message_bytes"], 1 << 20, "{value}");

    set_mode(&folder.join("server.key"), 0o644);
    check().expect(3).says("warning: `tls_key`: everybody may read").says("chmod o-r");
    let key = fs::read(folder.join("server.key")).unwrap();
    issue(&folder, 2021, 1, 1);
    check().expect(2).says("error: `tls_cert`: ").says("ended at 2021-01-01T00:00:00Z, clients refuse it: renew it");
    fs::write(folder.join("server.key"), key).unwrap();
    check().expect(2).says("is not that of the first certificate");
}

#[test]
fn the_check_looks_for_what_is_named_and_runs_nothing() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let (secret, mark) = (home.beside("password"), home.beside("mark"));
    fs::write(&secret, "hunter2").unwrap();
    set_mode(&secret, 0o600);
    let file = home.beside("holdfast.toml");
    let good = format!(
        "[[participant]]\nname = 'site'\nkind = 'files'\npaths = ['{}']\n\
         [[participant]]\nname = 'db'\nkind = 'command'\nshell = true\ncommand = 'touch {}'\nrestore = 'cat'\n\
         env_file = {{ PW = '{}' }}\n",
        source.display(),
        mark.display(),
        secret.display()
    );
    fs::write(&file, &good).unwrap();
    let check = || home.holdfast(["config", "check", "holdfast.toml"]).run();
    check().expect(0).says("0 errors, 0 warnings");
    assert!(!mark.exists(), "nothing is run");

    set_mode(&secret, 0o644);
    check().expect(3).says("warning: db: `env_file`, PW: everybody may read").says("chmod o-r");
    set_mode(&secret, 0o600);

    fs::write(&file, format!("{good}env = {{ A = 'x' }}\n")).unwrap();
    set_mode(&file, 0o644);
    check().expect(3).says("warning: everybody may read");
    set_mode(&file, 0o600);
    check().expect(0);

    let wrong = [
        (good.replace("source'", "gone'"), "error: site: `paths`: "),
        (good.replace("password'", "gone'"), "error: db: `env_file`, PW: "),
        (
            good.replace("shell = true\ncommand = 'touch", "command = ['no-such-program']\n#")
                .replace("'cat'", "['cat']"),
            "no program no-such-program in PATH",
        ),
        (
            good.replace("shell = true", "shell = true\ndirectory = '/no/such'"),
            "error: db: `directory`: /no/such is not a folder",
        ),
    ];
    for (text, says) in wrong {
        fs::write(&file, text).unwrap();
        check().expect(2).says(says).says("1 error");
    }

    set_mode(&file, 0o666);
    check().expect(2).says("chmod o-w");
    home.holdfast(["runs", "--config", "holdfast.toml"]).run().expect(2).says("chmod o-w");
}

#[test]
fn who_cannot_stand_still_where_all_are_to_is_named_with_its_line() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let source = home.beside("source");
    let text = |consistency: &str| {
        format!(
            "[runs]\nconsistency = '{consistency}'\n[[participant]]\nname = 'site'\nkind = 'files'\npaths = [{source:?}]\n\
             [[participant]]\nname = 'plain'\nkind = 'command'\ncommand = ['true']\n\
             [[participant]]\nname = 'still'\nkind = 'command'\ncommand = ['true']\nfreeze = ['true']\nthaw = ['true']\n"
        )
    };
    fs::write(home.beside("holdfast.toml"), text("barrier")).unwrap();
    let check = home.holdfast(["config", "check", "holdfast.toml"]).run();
    check.expect(2).says("holdfast.toml:4:8: site is of kind \"files\"").says("holdfast.toml:8:8: plain cannot");
    check.says("BARRIER_NOT_SUPPORTED").says("consistency = \"concurrent\"").says("2 errors");
    assert!(!check.out().contains("holdfast.toml:11"), "{check}");
    // A run of those that can is no reason to refuse the file.
    let backup = home.holdfast(["backup", "--config", "holdfast.toml"]);
    backup.args(["--consistency", "concurrent", "--participant", "site"]).run().expect(0);
    fs::write(home.beside("holdfast.toml"), text("concurrent")).unwrap();
    home.holdfast(["config", "check", "holdfast.toml"]).run().expect(0).says("0 errors");
}
