//! The program's own copies: `backup`, `upload`, `resume`, `remote`, against every kind of far side.

use std::fs;

use secrecy::ExposeSecret;
use serde_json::Value;

use crate::side::{Side, VaultSide};
use crate::support::far_side::FarSide;
use crate::support::{Home, Random, small_tree, text};

/// The URL of a far side, and the flags that say who one is there.
pub(crate) fn way(side: &Side, home: &Home) -> (String, Vec<String>) {
    let credentials = side.credentials();
    let password = home.beside("far-password");
    fs::write(&password, credentials.password.expose_secret()).unwrap();
    let mut flags = vec!["--plaintext".to_owned()];
    if !credentials.login.is_empty() {
        flags.extend(["--login".to_owned(), credentials.login]);
    }
    if !credentials.password.expose_secret().is_empty() {
        flags.extend(["--password-file".to_owned(), password.display().to_string()]);
    }
    (side.url(), flags)
}

fn home_with_source() -> Home {
    let home = Home::new();
    small_tree(&home.beside("source"));
    fs::write(home.beside("source/large.bin"), Random(5).bytes(9_000_000)).unwrap();
    home
}

fn copy(run: &Value, name: &str) -> Value {
    let rows = run["endpoints"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no copy at {name}: {run}")).clone()
}

/// There, found there, gone here, back again, and restored.
fn there_and_back(side: &Side) {
    let home = home_with_source();
    let (url, flags) = way(side, &home);
    home.holdfast(["backup", "source", "--to", &url]).args(&flags).run().expect(0);
    let run = home.newest_run();
    let shown = home.show(&run);
    assert_eq!((&shown["remote_status"], &shown["good"]), (&"completed".into(), &true.into()), "{shown}");
    let name = text(&shown["endpoints"][0]["name"]);
    let row = copy(&shown, &name);
    assert_eq!((&row["status"], &row["sent_bytes"]), (&"uploaded".into(), &row["stored_bytes"]), "{row}");
    assert_eq!(row["check"], if side.is_vault() { "hash" } else { "size" });

    home.holdfast(["upload", "latest", "--to", &name]).run().expect(0);
    let listed = home.json(["remote", "list", &name]);
    assert_eq!(listed["rows"][0]["run_id"], run.as_str(), "{listed}");
    home.holdfast(["remote", "verify", &name, &run]).run().expect(0);
    home.holdfast(["delete", &run]).run().expect(0);
    home.holdfast(["remote", "import", &name, &run]).run().expect(0);
    home.holdfast(["verify", &run]).run().expect(0);
    home.holdfast(["restore", &run, "--target", "back"]).run().expect(0);
    let back = fs::read(home.beside("back").join(home.beside("source/large.bin").strip_prefix("/").unwrap()));
    let back = back.or_else(|_| fs::read(home.beside("back/source/large.bin"))).unwrap();
    assert!(back == fs::read(home.beside("source/large.bin")).unwrap(), "the bytes are the bytes");

    let other = home.holdfast(["remote", "delete", &name, "20200101-000000-000077"]).run();
    other.expect(10);
    home.holdfast(["remote", "delete", &name, &run]).run().expect(0);
    assert_eq!(home.json(["remote", "list", &name])["rows"], serde_json::json!([]));
    assert_eq!(copy(&home.show(&run), &name)["status"], "deleted");
}

#[test]
fn a_folder() {
    there_and_back(&Side::Far(FarSide::file()));
}

#[test]
fn sftp() {
    there_and_back(&Side::Far(FarSide::sftp()));
}

#[test]
fn webdav() {
    there_and_back(&Side::Far(FarSide::webdav()));
}

#[test]
fn s3() {
    there_and_back(&Side::Far(FarSide::s3()));
}

#[test]
fn a_vault() {
    there_and_back(&Side::vault(true));
}

/// Adds an endpoint that takes a second for each 2 MB.
fn slow(home: &Home, name: &str, side: &Side) {
    let (url, flags) = way(side, home);
    let flags: Vec<_> = flags
        .iter()
        .flat_map(|flag| if flag == "--plaintext" { vec!["--plaintext", "true"] } else { vec![flag.as_str()] })
        .collect();
    let add = ["endpoints", "add", name, "--url", &url, "--bandwidth", "2MB", "--retry-delay", "0"];
    home.holdfast(add).args(&flags).run().expect(0);
}

/// The program is killed while a copy is on its way, and the next one goes on where the far side is.
fn killed_and_resumed(side: &Side) {
    let home = home_with_source();
    slow(&home, "far", side);
    let mut running = home.holdfast(["backup", "source", "--json"]).spawn();
    running.wait_for_json("bytes on their way", |line| {
        line["message_type"] == "upload" && line["rows"][0]["bytes_done"].as_u64().is_some_and(|done| done > 5_000_000)
    });
    running.kill();
    let run = home.newest_run();
    let shown = home.show(&run);
    assert_eq!((&shown["status"], &shown["remote_status"]), (&"completed".into(), &"uploading".into()), "{shown}");
    home.holdfast(["status"]).run().expect(0).says("holdfast resume");
    home.holdfast(["resume"]).run().expect(0);
    let row = copy(&home.show(&run), "far");
    assert_eq!((&row["status"], &row["tries"]), (&"uploaded".into(), &1.into()), "a kill costs no try: {row}");
    let (sent, stored) = (row["sent_bytes"].as_u64().unwrap(), row["stored_bytes"].as_u64().unwrap());
    match side.is_vault() {
        true => assert!(sent + 4_000_000 <= stored, "goes on by the byte: {row}"),
        false => assert!(sent <= stored, "goes on by the file: {row}"),
    }
    home.holdfast(["remote", "verify", "far", &run]).run().expect(0);
    home.holdfast(["resume"]).run().expect(0).says("nothing to resume");
}

#[test]
fn a_copy_to_a_vault_goes_on_after_a_kill() {
    killed_and_resumed(&Side::vault(false));
}

#[test]
fn a_copy_to_a_folder_goes_on_after_a_kill() {
    killed_and_resumed(&Side::Far(FarSide::file()));
}

#[test]
fn a_vault_that_dies_and_comes_back_has_it_in_the_next_try() {
    let mut vault = VaultSide::new(false);
    let port = vault.port;
    let home = home_with_source();
    let side = Side::Vault(vault);
    slow(&home, "far", &side);
    let Side::Vault(back) = side else { panic!("a vault") };
    vault = back;
    home.holdfast(["endpoints", "set", "far", "--retry-attempts", "100", "--retry-delay", "1"]).run().expect(0);
    let mut running = home.holdfast(["backup", "source", "--json"]).spawn();
    running.wait_for_json("bytes on their way", |line| {
        line["message_type"] == "upload" && line["rows"][0]["bytes_done"].as_u64().is_some_and(|done| done > 3_000_000)
    });
    vault.kill();
    running.wait_for_json("a failed try", |line| line["event"]["type"] == "UploadTryFailed");
    vault.serve_at(port);
    running.wait().expect(0);
    let row = copy(&home.show("latest"), "far");
    assert_eq!(row["status"], "uploaded", "{row}");
    assert!(row["tries"].as_u64().is_some_and(|tries| tries > 1), "{row}");
    let rows = home.json(["endpoints", "list"])["rows"].clone();
    assert_eq!((&rows[0]["health"], &rows[0]["last_error"]), (&"healthy".into(), &"".into()), "{rows}");
}

#[test]
fn an_endpoint_that_is_not_there_changes_no_run_and_is_told() {
    let home = home_with_source();
    let nowhere =
        ["--url", "webdav://127.0.0.1:1/x", "--retry-attempts", "2", "--retry-delay", "0", "--plaintext", "true"];
    home.holdfast(["endpoints", "add", "gone"]).args(nowhere).run().expect(0);
    let backup = home.holdfast(["backup", "source"]).run();
    backup.expect(3);
    let run = home.newest_run();
    let shown = home.show(&run);
    assert_eq!(
        (&shown["status"], &shown["remote_status"], &shown["good"]),
        (&"completed".into(), &"failed".into(), &true.into())
    );
    let row = copy(&shown, "gone");
    assert_eq!((&row["tries"], &row["error_code"]), (&2.into(), &"REMOTE_UNAVAILABLE".into()), "{row}");
    let asked = home.holdfast(["backup", "source", "--to", "gone"]).run();
    asked.expect(1).says("is not at gone");
    let rows = home.json(["endpoints", "list"])["rows"].clone();
    assert_eq!(rows[0]["health"], "degraded", "{rows}");
    home.holdfast(["verify", &run]).run().expect(0);
    home.holdfast(["backup", "source", "--to", "nobody"]).run().expect(2);
    let readable = home.holdfast(["backup", "source", "--to", "webdav://127.0.0.1:1/y"]).run();
    readable.expect(1);
    assert!(readable.err().contains("plaintext"), "{readable}");
}

#[test]
fn what_is_not_kept_here_is_kept_there_and_comes_back() {
    let far = FarSide::file();
    let home = home_with_source();
    let config = home.beside("config.toml");
    let source = home.beside("source");
    let settings = format!(
        "[runs]\nendpoints = [\"far\"]\nrequire_endpoints = \"all\"\nkeep_local = false\n\n[[endpoint]]\nname = \"far\"\nurl = \"{}\"\n\n\
         [[participant]]\nname = \"site\"\nkind = \"files\"\npaths = [\"{}\"]\n",
        far.url,
        source.display()
    );
    fs::write(&config, settings).unwrap();
    home.holdfast(["backup", "--config"]).arg(&config).run().expect(0);
    let run = home.newest_run();
    let shown = home.show(&run);
    assert_eq!(
        (&shown["path"], &shown["deleted"], &shown["good"]),
        (&"".into(), &false.into(), &true.into()),
        "{shown}"
    );
    let folders = fs::read_dir(home.path().join("backups/completed")).unwrap().count();
    assert_eq!(folders, 0, "nothing is kept here");
    let missing = home.holdfast(["restore", &run, "--target", "back", "--config"]).arg(&config).run();
    assert_ne!(missing.code(), Some(0));
    assert!(missing.err().contains("remote import"), "{missing}");
    home.holdfast(["remote", "import", "far", &run, "--config"]).arg(&config).run().expect(0);
    home.holdfast(["restore", &run, "--target", "back", "--config"]).arg(&config).run().expect(0);
}

#[test]
fn a_run_whose_lists_are_damaged_in_a_vault_is_no_copy() {
    let vault = VaultSide::new(false);
    let root = vault.root.clone();
    let side = Side::Vault(vault);
    let home = home_with_source();
    let (url, _) = way(&side, &home);
    let add = ["endpoints", "add", "far", "--url", &url, "--plaintext", "true", "--password-file"];
    home.holdfast(add).arg(home.beside("far-password")).run().expect(0);
    home.holdfast(["backup", "source"]).run().expect(0);
    let run = home.newest_run();
    let there = root.join(format!("{}/runs/{run}", crate::support::far::server_id(&home)));
    fs::write(there.join("manifest.json"), "x").unwrap();
    home.holdfast(["upload", &run, "--to", "far"]).run().expect(1).says("A vault takes a run once only");
    assert_eq!(copy(&home.show(&run), "far")["error_code"], "REMOTE_RUN_ALTERED");
    home.holdfast(["remote", "verify", "far", &run]).run().expect(4);
    home.holdfast(["delete", &run]).run().expect(1).says("is not what was published").says("--force");
    home.holdfast(["verify", &run]).run().expect(0);
}
