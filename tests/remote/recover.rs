//! A machine that has nothing: its home comes back from a far side, by the commands that README gives.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::side::{Side, VaultSide};
use crate::support::far::server_id;
use crate::support::far_side::FarSide;
use crate::support::kill::{copy, for_each, kill_at, points};
use crate::support::tree::Tree;
use crate::support::{Finished, Home, long, small_tree, text};

/// The URL of a far side, who one is there, and the password.
fn way(side: &Side) -> (String, String, String) {
    let credentials = side.credentials();
    (side.url(), credentials.login, credentials.password.expose_secret().to_owned())
}

fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Makes a key, and gives its public half.
fn key(home: &Home, path: &Path) -> String {
    text(&home.holdfast(["--json", "key", "generate", "--output"]).arg(path).run().expect(0).json()["public_key"])
}

const PASSWORD: &str = "correct-horse-battery";

/// An installation with a configuration of two participants, a folder of files and a command.
fn installation(encrypt_to: Option<&str>) -> Home {
    let home = Home::new();
    small_tree(&home.beside("uploads"));
    fs::write(home.beside("shop.sql"), "insert into shop values (1);\n".repeat(3000)).unwrap();
    let encryption = encrypt_to.map(|key| format!("[encryption]\nencrypt_to = [\"{key}\"]\n")).unwrap_or_default();
    let folder = home.beside("");
    let folder = folder.display().to_string();
    let folder = folder.trim_end_matches('/');
    let config = format!(
        "# what this machine backs up\n{encryption}[[participant]]\nname = \"uploads\"\nkind = \"files\"\npaths = [\"{folder}/uploads\"]\n\n\
         [[participant]]\nname = \"shop\"\nkind = \"command\"\ncommand = [\"cat\", \"{folder}/shop.sql\"]\nartifact = \"shop.sql\"\n\
         env = {{ SHOP_PASSWORD = \"{PASSWORD}\", SHOP_HOST = \"db.example.org\" }}\n"
    );
    fs::write(home.beside("holdfast.toml"), config).unwrap();
    home
}

/// The program with the configuration of the installation.
fn with_config(home: &Home, args: &[&str]) -> Finished {
    home.holdfast(args).arg("--config").arg(home.beside("holdfast.toml")).run()
}

fn back_up(home: &Home) -> String {
    let done = with_config(home, &["--json", "backup"]);
    done.expect(0);
    text(&done.summary()["run"]["run_id"])
}

fn add(home: &Home, name: &str, side: &Side, more: &[&str]) {
    let (url, login, password) = way(side);
    let file = home.beside(format!("{name}.secret"));
    write_secret(&file, &password);
    let mut args = vec!["endpoints", "add", name, "--url", &url];
    if !login.is_empty() {
        args.extend(["--login", &login]);
    }
    let file = file.display().to_string();
    if !password.is_empty() {
        args.extend(["--password-file", &file]);
    }
    args.extend(more);
    with_config(home, &args).expect(0);
}

/// The events of runs and endpoints up to a position: what must come back as it was.
fn events_upto(home: &Home, position: u64) -> Vec<Value> {
    home.events_from(1).into_iter().filter(|event| event["position"].as_u64().unwrap() <= position).collect()
}

/// The commands of a section of README, without what stands behind them.
fn commands(section: &str) -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let text = readme.split(&format!("\n## {section}\n")).nth(1).expect("the section is there");
    let text = text.split("\n## ").next().unwrap();
    let blocks = text.split("```\n").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.map(|line| line.split(" #").next().unwrap().trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Runs a line as somebody would type it, in the folder beside the home.
fn typed(home: &Home, line: &str) -> Finished {
    let program = Path::new(env!("CARGO_BIN_EXE_holdfast")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    home.command("sh", ["-c", line]).env("PATH", path).run()
}

#[test]
fn the_commands_of_the_readme_bring_all_back() {
    let vault = Side::Vault(VaultSide::new(true));
    let nas = Side::Far(FarSide::sftp());
    let keys = Home::new();
    let public = key(&keys, &keys.beside("holdfast.key"));
    let old = installation(Some(&public));
    add(&old, "vault", &vault, &[]);
    add(&old, "nas", &nas, &["--enable", "false"]);
    let older = back_up(&old);
    with_config(&old, &["upload", "latest", "--to", "nas"]).expect(0);
    fs::write(old.beside("uploads/added.txt"), "later").unwrap();
    let newest = back_up(&old);
    with_config(&old, &["upload", "latest", "--to", "nas"]).expect(0);
    let (before, server_id) = (old.events_from(1), server_id(&old));
    let uploads = Tree::read(&old.beside("uploads"));
    let config = fs::read(old.beside("holdfast.toml")).unwrap();
    let (secrets, secrets_key) =
        (fs::read(old.path().join("secrets.age")).unwrap(), fs::read(old.path().join("secrets.key")).unwrap());
    // The machine is gone. Nothing of it is used from here on.
    fs::remove_dir_all(old.path()).unwrap();

    let written = commands("When the machine is gone");
    let (recover, rest): (Vec<_>, Vec<_>) = written.into_iter().partition(|line| line.starts_with("holdfast recover"));
    assert_eq!((recover.len(), rest.len()), (2, 5), "{recover:?} {rest:?}");
    for (line, side, endpoint, examples) in [
        (&recover[0], &vault, "vault", ["vault://vault.example.org:7430/?fingerprint=SHA256", "--login backup"]),
        (&recover[1], &nas, "nas", ["sftp://nas.example.org/srv/backups", "--login backup"]),
    ] {
        let new = Home::new();
        let (url, login, password) = way(side);
        write_secret(&new.beside("vault.token"), &password);
        // The server of the test lets in by a key.
        write_secret(&new.beside("nas.password"), if password.is_empty() { "-" } else { &password });
        fs::copy(keys.beside("holdfast.key"), new.beside("holdfast.key")).unwrap();
        fs::set_permissions(new.beside("holdfast.key"), fs::Permissions::from_mode(0o600)).unwrap();
        let line = line.replace(examples[0], &url).replace(&url, &format!("'{url}'")).replace("''", "'");
        let done = typed(&new, &line.replace(examples[1], &format!("--login {login}")));
        done.expect(0).says("is installation").says(&newest);

        assert_eq!(crate::support::far::server_id(&new), server_id);
        assert_eq!(fs::read(new.path().join("config.toml")).unwrap(), config, "the configuration, byte for byte");
        assert_eq!(fs::read(new.path().join("secrets.age")).unwrap(), secrets);
        assert_eq!(fs::read(new.path().join("secrets.key")).unwrap(), secrets_key);
        let history = new.events_from(1);
        let cut = before.iter().position(|event| event["stream"] == format!("run/{newest}")).unwrap();
        assert_eq!(history[..cut], before[..cut], "the history is the one that was");
        assert!(history.iter().any(|event| event["data"]["command"] == "Recover"), "and says that it was recovered");

        let mut runs = Vec::new();
        for line in &rest {
            let run = if line.contains("remote") || line.contains("older") { &older } else { &newest };
            let line = line.replace("ENDPOINT", endpoint).replace("RUN", run);
            let done = typed(&new, &line);
            done.expect(0);
            if line == "holdfast runs" {
                runs = new.runs();
            }
        }
        let of = |run: &str| runs.iter().find(|row| row["run_id"] == run).unwrap().clone();
        assert_eq!(runs.len(), 2, "{runs:?}");
        assert_eq!(of(&newest)["status"], "completed");
        let first = of(&older);
        assert_eq!((&first["status"], &first["deleted"]), (&json!("completed"), &json!(false)), "{first}");
        assert_eq!(first["path"], "", "it is not here: {first}");
        uploads.expect_same(&Tree::read(&new.beside("restored/uploads")));
        let shop = fs::read(old.beside("shop.sql")).unwrap();
        assert_eq!(fs::read(new.beside("restored/shop.sql")).unwrap(), shop);
        assert_eq!(fs::read(new.beside("older/shop.sql")).unwrap(), shop);
        let names: Vec<_> =
            fs::read_dir(new.beside("restored")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "the state of the installation is no data: {names:?}");
        assert!(!new.beside("older/uploads/added.txt").exists());

        // It goes on as the installation it was: the next run is above all there were, and goes to the vault under the same id.
        let next = new.holdfast(["--json", "backup"]).run();
        next.expect(0);
        let run = next.summary()["run"].clone();
        assert!(text(&run["run_id"])[16..] > newest[16..], "{run}");
        assert_eq!(new.show(run["run_id"].as_str().unwrap())["remote_status"], "completed");
        new.holdfast(["remote", "delete", "vault", run["run_id"].as_str().unwrap()]).run();
    }
}

/// An installation with one run in a folder, which is what `recover` is given.
struct Away {
    home: Home,
    url: String,
    key: PathBuf,
    run: String,
}

fn away(encrypted: bool) -> Away {
    let keys = Home::new();
    let public = key(&keys, &keys.beside("holdfast.key"));
    let home = installation(encrypted.then_some(&*public));
    let key = home.beside("holdfast.key");
    fs::copy(keys.beside("holdfast.key"), &key).unwrap();
    fs::create_dir(home.beside("far")).unwrap();
    let url = format!("file://{}", home.beside("far").display());
    let password = home.beside("far.secret");
    write_secret(&password, "kept-for-nothing");
    let password = password.display().to_string();
    with_config(
        &home,
        &["endpoints", "add", "far", "--url", &url, "--password-file", &password, "--plaintext", "true"],
    )
    .expect(0);
    let run = back_up(&home);
    Away { home, url, key, run }
}

fn recover(new: &Home, url: &str, more: &[&str]) -> Finished {
    new.holdfast(["--json", "recover", url]).args(more).run()
}

#[test]
fn what_cannot_be_recovered_is_told_before_anything_is_made() {
    let away = away(true);
    let (url, key) = (away.url.as_str(), away.key.display().to_string());
    let new = Home::new();
    let other = new.beside("other.key");
    self::key(&new, &other);
    let other = other.display().to_string();
    let missing = recover(&new, url, &[]);
    missing.expect(12);
    assert_eq!(missing.json_lines().last().unwrap()["error"], "KEY_MISSING");
    recover(&new, url, &["--identity", &other]).expect(12);
    recover(&new, url, &["--identity", "/nowhere/at/all"]).expect(12);
    // A folder that is not there is nothing that is mounted.
    recover(&new, &format!("{url}/nothing"), &["--identity", &key]).expect(1);
    fs::create_dir(away.home.beside("empty")).unwrap();
    recover(&new, &format!("file://{}", away.home.beside("empty").display()), &["--identity", &key]).expect(10);
    recover(&new, "not a place", &["--identity", &key]).expect(2);
    recover(&new, url, &["--identity", &key, "--run", "20200101-000000-000001"]).expect(10);
    assert!(!new.path().join("home.json").exists());
    // A folder that holds something, and a home.
    for path in [away.home.path(), away.home.beside("uploads")] {
        let before = Tree::read(&path);
        let refused = new.holdfast(["--json", "recover", url, "--identity", &key, "--home"]).arg(&path).run();
        refused.expect(2);
        assert_eq!(refused.json_lines().last().unwrap()["error"], "HOME_NOT_EMPTY");
        before.expect_same(&Tree::read(&path));
    }
}

#[test]
fn of_several_installations_one_is_chosen() {
    let (one, two) = (away(false), away(false));
    copy(&two.home.beside("far").join(server_id(&two.home).to_string()), &one.home.beside("far"));
    let new = Home::new();
    let refused = recover(&new, &one.url, &[]);
    refused.expect(2);
    let told = refused.json_lines().last().unwrap().clone();
    assert_eq!(told["error"], "SEVERAL_INSTALLATIONS");
    for away in [&one, &two] {
        let next = text(&told["next"]);
        assert!(next.contains(&server_id(&away.home).to_string()) && next.contains(&away.run), "{next}");
    }
    let id = server_id(&two.home).to_string();
    let done = recover(&new, &one.url, &["--server-id", &id]);
    done.expect(3);
    assert_eq!((&done.summary()["server_id"], &done.summary()["run_id"]), (&json!(id), &json!(two.run)));
}

#[test]
fn without_encryption_no_secret_travels_and_what_is_missing_is_told() {
    let away = away(false);
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(away.home.run_dir(&away.run)).unwrap() {
        let path = entry.unwrap().path();
        files.insert(path.file_name().unwrap().to_string_lossy().into_owned(), path);
    }
    assert!(
        files.contains_key("holdfast.secrets.age.lz4") && !files.contains_key("holdfast.secrets.key.lz4"),
        "{files:?}"
    );
    let config = away.home.command("lz4", ["-dc"]).arg(&files["holdfast.config.toml.lz4"]).run();
    config.expect(0);
    assert!(!config.out().contains(PASSWORD) && config.out().contains("SHOP_PASSWORD = \"***\""), "{}", config.out());
    assert!(config.out().contains("SHOP_HOST = \"db.example.org\""));
    let new = Home::new();
    let done = recover(&new, &away.url, &[]);
    done.expect(3);
    let summary = done.summary();
    assert_eq!(
        (&summary["passwords"], &summary["redacted"], &summary["data"]),
        (&json!("missing"), &json!(true), &json!(true))
    );
    assert_eq!(summary["without_password"], json!(["far"]));
    assert!(!new.path().join("secrets.age").exists());
    let password = away.home.beside("far.secret");
    new.holdfast(["endpoints", "set", "far", "--password-file"]).arg(&password).run().expect(0);
    new.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    Tree::read(&away.home.beside("uploads")).expect_same(&Tree::read(&new.beside("out/uploads")));
}

#[test]
fn runs_that_the_history_does_not_know_are_named() {
    let away = away(true);
    let scoped = with_config(&away.home, &["--json", "backup", "--participant", "shop"]);
    scoped.expect(0);
    let scoped = scoped.summary()["run"]["run_id"].clone();
    let new = Home::new();
    let key = away.key.display().to_string();
    let done = recover(&new, &away.url, &["--identity", &key]);
    done.expect(0);
    let summary = done.summary();
    assert_eq!(summary["run_id"], json!(away.run));
    assert_eq!(summary["unknown"], json!({ "total": 1, "runs": [scoped] }), "{summary}");
    let scoped = text(&scoped);
    assert!(summary["next"].to_string().contains(&format!("remote import far {scoped}")), "{summary}");
    new.holdfast(["remote", "import", "far", &scoped]).run().expect(0);
    let dumped = new.holdfast(["dump", &scoped, "shop.sql", "--identity", &key]).run();
    dumped.expect(0);
    assert!(dumped.stdout == fs::read(away.home.beside("shop.sql")).unwrap());
}

#[test]
fn what_was_staged_nowhere_comes_back_whole() {
    let far = Side::vault(true);
    let keys = Home::new();
    let old = installation(Some(&key(&keys, &keys.beside("holdfast.key"))));
    let config = fs::read_to_string(old.beside("holdfast.toml")).unwrap();
    fs::write(old.beside("holdfast.toml"), format!("[runs]\nstaging = \"none\"\n{config}")).unwrap();
    add(&old, "far", &far, &[]);
    back_up(&old);
    let run = back_up(&old);
    assert_eq!(old.show(&run)["path"], "", "it is there alone");
    let identity = ["--identity".to_owned(), keys.beside("holdfast.key").display().to_string()];
    let checked = with_config(&old, &["--json", "key", "check", &identity[0], &identity[1]]);
    checked.expect(0);
    assert_eq!((&checked.json()["at"], &checked.json()["run_id"]), (&json!("far"), &json!(run)), "{checked}");
    let other = old.beside("other.key");
    key(&old, &other);
    with_config(&old, &["key", "check", "--identity", &other.display().to_string()]).expect(12);
    let id = server_id(&old);
    fs::remove_dir_all(old.path()).unwrap();
    let new = Home::new();
    let (url, ..) = way(&far);
    // The token of before went with the machine.
    let Side::Vault(vault) = &far else { panic!("a vault") };
    let token = vault.new_token_of(id, "second", "full");
    vault.revoke("first");
    let token_file = new.beside("token");
    write_secret(&token_file, &token);
    let (token_file, key) = (token_file.display().to_string(), keys.beside("holdfast.key").display().to_string());
    let done = recover(&new, &url, &["--password-file", &token_file, "--identity", &key]);
    done.expect(0);
    assert_eq!(done.summary()["run_id"], json!(run));
    new.holdfast(["restore", "latest", "--target", "out", "--identity", &key]).run().expect(0);
    Tree::read(&old.beside("uploads")).expect_same(&Tree::read(&new.beside("out/uploads")));
    assert_eq!(fs::read(new.beside("out/shop.sql")).unwrap(), fs::read(old.beside("shop.sql")).unwrap());
    // It goes on as it was, without a copy here, and with the token that was given.
    new.holdfast(["remote", "list", "far"]).run().expect(0);
    let next = new.holdfast(["--json", "backup"]).run();
    next.expect(0);
    assert_eq!(next.summary()["run"]["path"], "");
}

#[test]
fn what_was_backed_up_without_a_configuration_comes_back_too() {
    let old = Home::new();
    small_tree(&old.beside("data"));
    fs::create_dir(old.beside("far")).unwrap();
    let url = format!("file://{}", old.beside("far").display());
    old.holdfast(["backup", "data", "--plaintext", "--to", &url]).run().expect(0);
    let run = old.newest_run();
    let new = Home::new();
    let done = recover(&new, &url, &[]);
    done.expect(3);
    assert_eq!((&done.summary()["state"], &done.summary()["run_id"]), (&json!(false), &json!(run)));
    assert_eq!(server_id(&new), server_id(&old));
    new.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    Tree::read(&old.beside("data")).expect_same(&Tree::read(&new.beside("out/data")));
    let next = new.holdfast(["--json", "backup"]).arg(old.beside("data")).run();
    next.expect(0);
    assert!(text(&next.summary()["run"]["run_id"])[16..] > run[16..]);
}

#[test]
fn an_object_store_and_webdav_do_as_well() {
    for far in [FarSide::s3(), FarSide::webdav()] {
        let side = Side::Far(far);
        let keys = Home::new();
        let public = key(&keys, &keys.beside("holdfast.key"));
        let old = installation(Some(&public));
        add(&old, "far", &side, &[]);
        let run = back_up(&old);
        let (url, login, password) = way(&side);
        let new = Home::new();
        write_secret(&new.beside("password"), &password);
        let (secret, identity) = (new.beside("password"), keys.beside("holdfast.key"));
        let (secret, identity) = (secret.display().to_string(), identity.display().to_string());
        let done = recover(&new, &url, &["--login", &login, "--password-file", &secret, "--identity", &identity]);
        done.expect(0);
        assert_eq!((&done.summary()["run_id"], &done.summary()["endpoint"]), (&json!(run), &json!("far")));
        new.holdfast(["restore", "latest", "--target", "out", "--identity", &identity]).run().expect(0);
        Tree::read(&old.beside("uploads")).expect_same(&Tree::read(&new.beside("out/uploads")));
    }
}

#[test]
fn the_state_alone_leaves_the_data_where_it_is() {
    let away = away(true);
    let key = away.key.display().to_string();
    let new = Home::new();
    let done = recover(&new, &away.url, &["--identity", &key, "--state-only"]);
    done.expect(0);
    assert_eq!((&done.summary()["data"], &done.summary()["passwords"]), (&json!(false), &json!("recovered")));
    assert!(new.runs().is_empty());
    let endpoint = text(&done.summary()["endpoint"]);
    assert_eq!(endpoint, "far");
    new.holdfast(["remote", "import", "far", &away.run]).run().expect(0);
    new.holdfast(["restore", "latest", "--target", "out", "--identity", &key]).run().expect(0);
    Tree::read(&away.home.beside("uploads")).expect_same(&Tree::read(&new.beside("out/uploads")));
    recover(&new, &away.url, &["--identity", &key]).expect(2);
    // The next run holds all of that, and so on.
    let imported = new.events_from(1).len() as u64;
    new.holdfast(["backup"]).run().expect(0);
    let restore = ["restore", "latest", "--target", "state", "--participant", "holdfast", "--identity", &key];
    new.holdfast(restore).run().expect(0);
    let state: Value = serde_json::from_slice(&fs::read(new.beside("state/holdfast.state.json")).unwrap()).unwrap();
    assert!(state["log"]["position"].as_u64().unwrap() >= imported, "{state}, and {imported} events");
    let again = Home::new();
    let done = recover(&again, &away.url, &["--identity", &key]);
    done.expect(0);
    assert_eq!((&done.summary()["runs"], &done.summary()["runs_elsewhere"]), (&json!(1), &json!(1)));
    assert_eq!(again.runs().len(), 2);
}

#[test]
fn the_own_state_of_a_run_is_given_where_it_is_named_and_goes_into_no_home() {
    let away = away(false);
    let home = &away.home;
    let named: Vec<_> =
        home.show(&away.run)["participants"].as_array().unwrap().iter().map(|one| text(&one["name"])).collect();
    assert_eq!(named, ["uploads", "shop", "holdfast"]);
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    assert!(!home.beside("out/holdfast.state.json").exists() && home.beside("out/uploads").exists());
    home.holdfast(["restore", "latest", "--target", "state", "--participant", "holdfast"]).run().expect(0);
    let state: Value = serde_json::from_slice(&fs::read(home.beside("state/holdfast.state.json")).unwrap()).unwrap();
    assert_eq!(text(&state["server_id"]), server_id(home).to_string());
    let position = state["log"]["position"].as_u64().unwrap();
    assert!(
        position > 0 && events_upto(home, position).iter().all(|event| event["stream"] != format!("run/{}", away.run))
    );
    let refused = with_config(home, &["restore", "latest", "--in-place", "--force", "--participant", "holdfast"]);
    refused.expect(2).says("living");
    with_config(home, &["restore", "latest", "--in-place", "--force", "--participant", "uploads"]).expect(0);
    // The name is nobody else's, and it can be left out.
    let file = home.beside("holdfast.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace("name = \"shop\"", "name = \"Holdfast\"")).unwrap();
    with_config(home, &["config", "check"]).expect(2).says("own state");
    fs::write(&file, format!("[runs]\nown_state = false\n{config}")).unwrap();
    let run = back_up(home);
    assert_eq!(home.show(&run)["participants"].as_array().unwrap().len(), 2);
}

#[test]
fn killed_at_any_point_the_same_command_makes_a_whole_home() {
    let away = away(true);
    let key = away.key.display().to_string();
    let args = ["--json", "recover", &away.url, "--identity", &key];
    let whole = Home::new();
    let passed = points(&whole, &args);
    let uploads = Tree::read(&away.home.beside("uploads"));
    for_each("point", passed.len(), |number| {
        // The last ones put it in its place.
        if !long() && number % 7 != 0 && number + 30 < passed.len() {
            return;
        }
        let new = Home::new();
        kill_at(&new, &args, number);
        if !new.path().join("home.json").exists() {
            // Half of it is no home, and nothing makes one of it.
            let refused = new.holdfast(["--json", "backup"]).arg(away.home.beside("uploads")).run();
            if new.path().join(".recovering").exists() {
                refused.expect(2);
                assert_eq!(refused.json_lines().last().unwrap()["error"], "HOME_HALF_RECOVERED");
            } else {
                refused.expect(0);
                return;
            }
            new.holdfast(args).run().expect(0);
        }
        assert!(new.path().join("home.json").exists());
        assert_eq!(server_id(&new), server_id(&away.home));
        new.holdfast(["verify", "latest"]).run().expect(0);
        new.holdfast(["restore", "latest", "--target", "out", "--identity", &key]).run().expect(0);
        uploads.expect_same(&Tree::read(&new.beside("out/uploads")));
        assert_eq!(new.runs().len(), 1);
    });
    println!("{} points", passed.len());
}
