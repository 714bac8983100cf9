//! Secrets stay secret: passwords, a passphrase, a private key and tokens are planted and used, well and badly, at the fullest log; then all
//! that Holdfast wrote, said and started is searched for them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use serde_json::json;

use crate::far_side::{FarSide, LOGIN, PASSWORD};
use crate::support::server::Server;
use crate::support::{Finished, Home, small_tree};

const FROM_FILE: &str = "planted-Wx7-from-a-file";
const FROM_COMMAND: &str = "planted-Qz4-from-a-command";
const PASSPHRASE: &str = "planted Hn2 passphrase of words";
const BY_API: &str = "planted-Tb9-by-the-api";

/// What must be nowhere, by what it is.
pub(crate) struct Planted(BTreeMap<String, String>);

impl Planted {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A secret, as it is and as HTTP's basic authentication would carry it.
    pub(crate) fn plant(&mut self, what: &str, secret: &str) {
        self.0.insert(what.to_owned(), secret.to_owned());
        let basic = base64::engine::general_purpose::STANDARD_NO_PAD.encode(format!("{LOGIN}:{secret}"));
        self.0.insert(format!("{what}, as a header has it"), basic);
    }

    pub(crate) fn in_bytes(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        // Secrets are ASCII, which stays as it is amid bytes that are no text.
        let text = String::from_utf8_lossy(bytes);
        let held = self.0.iter().filter(|(_, secret)| text.contains(&**secret));
        held.map(|(what, _)| format!("{place} holds {what}")).collect()
    }

    /// Searches a folder but for these names at its top.
    pub(crate) fn in_folder(&self, folder: &Path, but: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if but.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if kind.is_dir() {
                found.extend(self.in_folder(&path, &[]));
            } else if kind.is_file() {
                found.extend(self.in_bytes(&path.display().to_string(), &fs::read(&path).unwrap()));
            }
        }
        found
    }

    /// Searches the arguments and, but for the variables `given`, the environment of every process of this home. Answers how many there are.
    pub(crate) fn in_processes(&self, home: &Home, given: &[&str]) -> usize {
        let mark = format!("HOLDFAST_HOME={}", home.path().display());
        let mut count = 0;
        for entry in fs::read_dir("/proc").unwrap().map(Result::unwrap) {
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let environment = read("environ");
            let variables: Vec<_> = environment.split(|byte| *byte == 0).collect();
            if !variables.contains(&mark.as_bytes()) {
                continue;
            }
            count += 1;
            let cmdline = read("cmdline");
            let place = format!("{:?}", String::from_utf8_lossy(&cmdline));
            let mut found = self.in_bytes(&format!("the command line {place}"), &cmdline);
            let own = cmdline.windows(5).any(|part| part == b"serve");
            for variable in variables {
                let is_given = given.iter().any(|name| variable.starts_with(format!("{name}=").as_bytes()));
                if !(own && is_given) {
                    found.extend(self.in_bytes(&format!("the environment of {place}"), variable));
                }
            }
            assert!(found.is_empty(), "{found:#?}");
        }
        count
    }
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn what_is_planted_is_nowhere_but_where_it_was_put() {
    let home = Home::new();
    let (webdav, sftp, s3) = (FarSide::webdav(), FarSide::sftp(), FarSide::s3());
    let mut planted = Planted::new();
    let mut said: Vec<(String, Finished)> = Vec::new();

    // Where they belong: files beside the home, the environment of the server, standard input.
    let at = |name: &str| home.beside(name).display().to_string();
    private(&home.beside("file-password"), FROM_FILE);
    private(&home.beside("command-password"), FROM_COMMAND);
    private(&home.beside("passphrase"), PASSPHRASE);
    private(&home.beside("stdin-password"), PASSWORD);
    home.holdfast(["key", "generate", "--output"]).arg(home.beside("identity")).run().expect(0);
    let keys = fs::read_to_string(home.beside("identity")).unwrap();
    let identity = keys.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap().to_owned();
    home.holdfast(["key", "generate", "--output"]).arg(home.beside("other")).run().expect(0);
    let keys = fs::read_to_string(home.beside("other")).unwrap();
    let secrets_key = keys.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap().to_owned();
    for (what, secret) in [
        ("the password of standard input", PASSWORD),
        ("the password of a file", FROM_FILE),
        ("the password of a command", FROM_COMMAND),
        ("the passphrase", PASSPHRASE),
        ("the identity", &identity),
        ("the key of the secrets", &secrets_key),
        ("the password of the API", BY_API),
    ] {
        planted.plant(what, secret);
    }

    small_tree(&home.beside("site"));
    let sftp_without_key = sftp.url.replace(&format!("key_file={}&", sftp.beside("id").display()), "");
    // Says that it is at work, and works until it may end: a pipe each.
    let hold = |name: &str| format!("echo > {0}; read go < {0}.go", at(name));
    for name in ["held", "held.go", "fetching", "fetching.go"] {
        rustix::fs::mknodat(rustix::fs::CWD, home.beside(name), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }
    let config = format!(
        "[encryption]\npassphrase_file = '{passphrase}'\nidentity_file = '{identity}'\n[runs]\nmax_tries = 1\n\
         [[participant]]\nname = 'site'\nkind = 'files'\npaths = ['{site}']\n\
         [[participant]]\nname = 'db'\nkind = 'command'\nshell = true\ncommand = '{hold}; echo rows'\n\
         env_file = {{ PGPASSWORD = '{pgpassword}' }}\n\
         [[endpoint]]\nname = 's3'\nurl = '{s3}'\nlogin = '{LOGIN}'\npassword_file = '{of_file}'\nenable = false\n\
         [[endpoint]]\nname = 'sftp'\nurl = '{sftp_without_key}'\nlogin = '{login}'\nenable = false\n\
         password_command = ['sh', '-c', '{fetch}; cat {of_command}']\n",
        passphrase = at("passphrase"),
        identity = at("identity"),
        site = at("site"),
        hold = hold("held"),
        pgpassword = at("pgpassword"),
        s3 = s3.url,
        of_file = at("file-password"),
        login = sftp.login(),
        fetch = hold("fetching"),
        of_command = at("command-password"),
    );
    private(&home.beside("pgpassword"), "not searched for: the command is given it");
    let key_variable = "HOLDFAST_SECRETS_KEY";
    let process = home
        .holdfast(["--json", "serve", "--config"])
        .arg(Server::config(&home, &config, "log_level = \"trace\""))
        .env(key_variable, &secrets_key)
        .spawn();
    let server = Server::listening(process, &home);
    let token = server.token.clone();
    planted.plant("the token", &token);

    // By the API, well and badly.
    let mut client = server.client();
    let mut answers = Vec::new();
    for (command, data) in [
        ("AddBackupConfig", json!({ "name": "api", "url": "file:///mnt/api", "password": BY_API })),
        ("AddBackupConfig", json!({ "name": "api", "password": BY_API })),
        ("AddBackupConfig", json!({ "name": "wrong", "password": [BY_API] })),
        ("AddBackupConfig", json!({ "name": "wrong", "password": BY_API, "url": format!("s3://a:{BY_API}@bucket") })),
        ("AddBackupConfig", json!({ "name": "wrong", "url": format!("s3://bucket/x?key={BY_API}") })),
        ("UpdateBackupConfig", json!({ "name": "api", "password": BY_API, "timeout": 0 })),
        ("UpdateBackupConfig", json!({ "name": "s3", "password": BY_API })),
        ("GetBackupConfig", json!({})),
    ] {
        answers.push((command, client.ask(command, data)));
    }
    // By the command line, through the server.
    let script = format!("exec \"$0\" \"$@\" < {}", at("stdin-password"));
    let add = ["-c", &script, env!("CARGO_BIN_EXE_holdfast"), "endpoints", "add", "kept", "--login", LOGIN];
    said.push((
        "add".into(),
        home.command("sh", add).args(["--password-stdin", "--url", &webdav.url]).env("HOLDFAST_LOG", "trace").run(),
    ));
    said.last().unwrap().1.expect(0);

    // A backup, with its command at work while processes are looked at.
    let run = client.granted("StartFullBackup", json!({ "wait": false }))["run_id"].as_str().unwrap().to_owned();
    says(&home.beside("held"));
    assert!(planted.in_processes(&home, &[key_variable]) >= 2, "the server and its command");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process.pid().as_raw_nonzero())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "no crash writes memory to a disk: {core}");
    fs::write(home.beside("held.go"), "go\n").unwrap();
    let good = |run: &str| {
        let mut client = server.client();
        client.granted("Subscribe", json!({ "channels": ["backup.progress"] }));
        let status = |client: &mut crate::support::server::Lines| {
            client.granted("GetBackupRun", json!({ "run_id": run }))["status"].as_str().unwrap().to_owned()
        };
        while !matches!(&*status(&mut client), "completed" | "partial" | "failed" | "cancelled" | "timeout") {
            client.event(|event| event["event"] == "backup.progress");
        }
        assert_eq!(status(&mut client), "completed");
    };
    good(&run);
    for (command, data) in [
        ("GetBackupRun", json!({ "run_id": run })),
        ("GetBackupRunLog", json!({ "run_id": run })),
        ("ValidateBackupRun", json!({ "run_id": run })),
    ] {
        answers.push((command, client.granted(command, data)));
    }

    // Far sides: the right password, and wrong ones.
    let tried = |name: &str| {
        home.holdfast(["endpoints", "test", name, "--config"])
            .arg(home.beside("serve.toml"))
            .env("HOLDFAST_LOG", "trace")
            .env(key_variable, &secrets_key)
    };
    let kept = tried("kept").run();
    kept.expect(0);
    said.push(("kept".into(), kept));
    let wrong = tried("s3").run();
    wrong.expect(1).says("REMOTE_CREDENTIALS");
    said.push(("s3".into(), wrong));
    let sftp_test = tried("sftp").spawn();
    says(&home.beside("fetching"));
    assert!(planted.in_processes(&home, &[key_variable, "none"]) >= 3, "the server, the test and the command");
    fs::write(home.beside("fetching.go"), "go\n").unwrap();
    let wrong = sftp_test.wait();
    wrong.expect(1).says("REMOTE_CREDENTIALS");
    said.push(("sftp".into(), wrong));
    private(&home.beside("stdin-password"), FROM_FILE);
    let wrong = ["endpoints", "test", "--login", LOGIN, "--password-file", &at("stdin-password"), "--url", &webdav.url];
    let wrong = home.holdfast(wrong).env("HOLDFAST_LOG", "trace").run();
    wrong.expect(1).says("REMOTE_CREDENTIALS");
    said.push(("webdav".into(), wrong));
    // Without the key, and with another one.
    let lost = home.holdfast(["endpoints", "test", "kept"]).env("HOLDFAST_LOG", "trace").run();
    lost.expect(1).says("SECRETS_KEY");
    said.push(("without the key".into(), lost));
    let other = home.holdfast(["endpoints", "test", "kept"]).env(key_variable, &identity).run();
    other.expect(1).says("SECRETS_KEY");
    said.push(("another key".into(), other));
    for args in [&["endpoints", "list"][..], &["log", "events"], &["show", "latest"], &["config", "check"]] {
        let told = home.holdfast(args.iter().chain(&["--json"])).env("HOLDFAST_LOG", "trace").run();
        said.push((args.join(" "), told));
    }
    said.push(("serve".into(), server.stop()));

    let mut found: Vec<String> = Vec::new();
    for (command, answer) in &answers {
        found.extend(planted.in_bytes(&format!("the answer to {command}"), answer.to_string().as_bytes()));
    }
    for (what, finished) in &said {
        found.extend(planted.in_bytes(&format!("the output of {what}"), finished.out().as_bytes()));
        found.extend(planted.in_bytes(&format!("the errors of {what}"), finished.err().as_bytes()));
    }
    let serve = said.last().unwrap().1.err();
    assert!(serve.contains("TRACE"), "the fullest log is what was searched");
    // The token lies in the file that is made to hand it over.
    found.extend(planted.in_folder(&home.path(), &["admin.token"]));
    assert!(found.is_empty(), "{found:#?}");
    assert!(home.path().join("secrets.age").exists() && !home.path().join("secrets.key").exists());
}

/// Waits until another process has written a line into a pipe.
fn says(pipe: &Path) {
    let (sender, said) = std::sync::mpsc::channel();
    let pipe = pipe.to_owned();
    std::thread::spawn(move || sender.send(fs::read_to_string(pipe).unwrap()));
    assert_eq!(said.recv_timeout(crate::support::DEADLINE).unwrap(), "\n");
}
