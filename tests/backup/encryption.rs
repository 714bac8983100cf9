//! Encrypted runs: what they give back and to whom, what they tell others, and what is said where the key does not fit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use holdfast::encryption::{FileKeys, recipients};
use holdfast::engine::Backup;
use holdfast::model::run::Outcome;
use serde_json::Value;

use crate::support::engine::{back_up, builder, write};
use crate::support::tree::Tree;
use crate::support::{Home, need, small_tree, text};

/// Makes a key in a file beside the home; gives its public half.
fn key(home: &Home, name: &str) -> String {
    let made = home.holdfast(["key", "generate", "--output", name, "--json"]).run();
    let made = made.expect(0).json();
    assert_eq!(fs::metadata(home.beside(name)).unwrap().permissions().mode() & 0o777, 0o600);
    text(&made["public_key"])
}

/// The private half of a key.
fn private(home: &Home, name: &str) -> String {
    let file = fs::read_to_string(home.beside(name)).unwrap();
    file.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap().to_owned()
}

/// A configuration with files and a command, encrypted as `encryption` says.
fn configure(home: &Home, encryption: &str) {
    if !home.beside("planted-folder").exists() {
        small_tree(&home.beside("planted-folder"));
    }
    fs::write(home.beside("rows"), "a row\n".repeat(1000)).unwrap();
    let text = format!(
        "[encryption]\n{encryption}\n[[participant]]\nname = 'planted-web'\nkind = 'files'\npaths = ['{}']\n\
         [[participant]]\nname = 'planted-db'\nkind = 'command'\nartifact = 'planted-shop.sql'\ncommand = ['cat', '{rows}']\n\
         restore = ['sh', '-c', 'cat > {rows}']\n",
        home.beside("planted-folder").display(),
        rows = home.beside("rows").display()
    );
    fs::create_dir_all(home.path()).unwrap();
    fs::write(home.path().join("config.toml"), text).unwrap();
}

/// Whether any file below a folder holds these bytes.
fn holds(folder: &Path, what: &str) -> bool {
    let found = std::process::Command::new("grep").args(["-rlaF", "--", what]).arg(folder).output().unwrap();
    assert!(found.status.code().is_some_and(|code| code < 2), "grep: {found:?}");
    !found.stdout.is_empty()
}

#[test]
fn each_of_several_keys_brings_files_and_commands_back_and_another_one_does_not() {
    let home = Home::new();
    let (one, two) = (key(&home, "one"), key(&home, "two"));
    key(&home, "other");
    configure(&home, &format!("encrypt_to = ['{one}', '{two}']"));
    home.holdfast(["backup"]).run().expect(0);
    let source = Tree::read(&home.beside("planted-folder"));
    for name in ["one", "two"] {
        let out = format!("out-{name}");
        home.holdfast(["restore", "latest", "--target", &out]).env("HOLDFAST_IDENTITY_FILE", name).run().expect(0);
        let back = fs::read_dir(home.beside(&out)).unwrap().count();
        assert_eq!(back, 2);
        source.expect_same(&Tree::read(&home.beside(&out).join("planted-folder")));
        let rows = home.holdfast(["dump", "latest", "--participant", "planted-db", "--identity", name]).run();
        assert_eq!(rows.expect(0).out(), "a row\n".repeat(1000));
        home.holdfast(["ls", "latest", "--identity", name]).run().expect(0).says("planted-folder/etc/hosts");
        let checked = home.json(["key", "check", "--identity", name]);
        assert_eq!(checked["opened_by"], serde_json::json!([one, two]));
    }
    for args in [
        &["ls", "latest"][..],
        &["dump", "latest", "planted-folder/etc/hosts"],
        &["restore", "latest", "--target", "no"],
        &["restore", "latest", "--in-place", "--force"],
        &["key", "check"],
    ] {
        let missing = home.holdfast(args).run();
        missing.expect(12).says(&one);
        let wrong = home.holdfast(args).args(["--identity", "other"]).run();
        wrong.expect(12).says(&two);
        assert!(wrong.err().contains("does not open"), "{wrong}");
    }
    assert!(!home.beside("no").exists(), "nothing was touched");
    // What needs no key works without one.
    home.holdfast(["verify", "latest"]).run().expect(0).says("the content was not looked at");
    home.holdfast(["verify", "latest", "--identity", "two"]).run().expect(0);
    assert_eq!(home.show("latest")["participants"][0]["artifacts"][0]["encryption"], "age");
    // Nor does a configured one that opens later runs alone, or is not at hand, keep the bytes from being checked.
    for (name, says) in [("other", "does not open it"), ("gone", "cannot be used")] {
        configure(&home, &format!("encrypt_to = ['{one}']\nidentity_file = '{}'", home.beside(name).display()));
        home.holdfast(["verify", "--all"]).run().expect(0).says(says).says("the content was not looked at");
    }
    fs::write(home.run_dir(&home.newest_run()).join("a1.age"), "altered").unwrap();
    home.holdfast(["verify", "--all"]).run().expect(4);
}

#[test]
fn in_place_the_key_is_needed_once_and_everything_comes_back() {
    let home = Home::new();
    let public = key(&home, "key");
    configure(&home, &format!("encrypt_to = ['{public}']"));
    home.holdfast(["backup"]).run().expect(0);
    let source = Tree::read(&home.beside("planted-folder"));
    fs::write(home.beside("planted-folder/readme.txt"), "lost").unwrap();
    fs::write(home.beside("rows"), "lost").unwrap();
    let restore = ["restore", "latest", "--in-place", "--force", "--identity", "key"];
    home.holdfast(restore).arg("--dry-run").run().expect(0).says("the key that is given opens it");
    home.holdfast(restore).run().expect(0);
    source.expect_same(&Tree::read(&home.beside("planted-folder")));
    assert_eq!(fs::read_to_string(home.beside("rows")).unwrap(), "a row\n".repeat(1000));
    let left = fs::read_dir(home.path().join("backups/.restoring")).unwrap().count();
    assert_eq!(left, 0, "neither a claim nor keys are left");
}

#[test]
fn a_far_side_learns_no_name_and_no_secret_lies_anywhere() {
    let home = Home::new();
    let public = key(&home, "key");
    configure(&home, &format!("encrypt_to = ['{public}']\nidentity_file = '{}'", home.beside("key").display()));
    let mut said = home.holdfast(["backup", "--json"]).env("RUST_LOG", "trace").run().expect(0).to_string();
    let run = home.run_dir("latest");
    let names: Vec<_> =
        fs::read_dir(&run).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
    let neutral = |name: &String| name.starts_with("a") || ["manifest.json", "SHA256SUMS"].contains(&name.as_str());
    // Two artifacts of the participants, four of the installation itself, their indices and the two lists.
    assert!(names.len() == 14 && names.iter().all(neutral), "{names:?}");
    for planted in ["planted-", "readme.txt", "local:uid", "a row"] {
        assert!(!holds(&run, planted), "{planted} is in the run's directory");
    }
    let view = home.show("latest");
    for artifact in view["participants"].as_array().unwrap().iter().flat_map(|one| one["artifacts"].as_array().unwrap())
    {
        assert!(!holds(&run, &text(&artifact["content_sha256"])), "a hash of content");
        assert!(holds(&run, &text(&artifact["sha256"])), "the stored hash is there");
    }
    let restore = ["restore", "latest", "--in-place", "--force", "--json"];
    said.push_str(&home.holdfast(restore).env("RUST_LOG", "trace").run().expect(0).to_string());
    let log = ["log", "events", "--json", "--limit", "100000"];
    said.push_str(&home.holdfast(log).run().expect(0).to_string());
    said.push_str(&home.holdfast(["key", "check", "--json"]).run().expect(0).to_string());
    let secret = private(&home, "key");
    assert!(!said.contains(&secret) && !said.contains("file_keys"), "{said}");
    assert!(!holds(&home.path(), &secret));
}

#[test]
fn age_lz4_and_tar_alone_give_an_encrypted_run_back() {
    for (program, package) in [("age", "age"), ("lz4", "lz4"), ("tar", "tar"), ("jq", "jq")] {
        need(program, package);
    }
    let home = Home::new();
    let public = key(&home, "key");
    let source = small_tree(&home.beside("source"));
    home.back_up(["source", "--encrypt-to", &public]);
    let run = home.run_dir("latest");
    let script = format!(
        "set -euo pipefail; cd {0}; sha256sum --strict -c SHA256SUMS; mkdir ../../../../out; \
         age -d -i ../../../../key a1.age | lz4 -d | tar x -p -C ../../../../out; \
         jq -r .sealed manifest.json | age -d -i ../../../../key | jq -r '.participants[0].artifacts[0].logical_name'",
        run.display()
    );
    home.command("bash", ["-c", &script]).run().expect(0).says("source.tar");
    Tree::read(&source).expect_same(&Tree::read(&home.beside("out/source")));
}

#[test]
fn a_passphrase_encrypts_and_opens() {
    let home = Home::new();
    let write = |name: &str, text: &str| {
        fs::write(home.beside(name), text).unwrap();
        fs::set_permissions(home.beside(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("phrase", "correct horse battery staple\n");
    write("wrong", "incorrect horse battery staple\n");
    configure(&home, &format!("passphrase_file = '{}'", home.beside("phrase").display()));
    home.holdfast(["backup"]).run().expect(0);
    home.holdfast(["ls", "latest"]).run().expect(0).says("planted-folder/etc/hosts");
    let wrong = home.holdfast(["ls", "latest", "--passphrase-file", "wrong"]).run();
    wrong.expect(12).says("passphrase");
    assert!(!holds(&home.path().join("log"), "battery"));
}

#[test]
fn what_is_wrong_with_a_key_is_told_with_its_line_and_without_the_key() {
    let home = Home::new();
    let public = key(&home, "key");
    let secret = private(&home, "key");
    let check = |encryption: &str| {
        configure(&home, encryption);
        home.holdfast(["config", "check"]).run()
    };
    for (encryption, code, says) in [
        (format!("encrypt_to = ['{secret}']"), 2, "this is a private key"),
        ("encrypt_to = ['age1abc']".to_owned(), 2, "age1abc"),
        (format!("identity_file = '{secret}'"), 2, "a private key stands here"),
        (format!("encrypt_to = ['{public}']\npassphrase_file = '/nowhere'"), 2, "not both"),
        ("identity_file = '/nowhere'".to_owned(), 2, "/nowhere"),
        ("identity_fil = '/nowhere'".to_owned(), 2, "identity_file"),
    ] {
        let told = check(&encryption);
        assert!(told.code() == Some(code) || told.code() == Some(1), "{told}");
        assert!(told.to_string().contains(says), "{told}");
        assert!(!told.to_string().contains(&secret), "the private key is not shown");
    }
    fs::set_permissions(home.beside("key"), fs::Permissions::from_mode(0o640)).unwrap();
    let told = check(&format!("identity_file = '{}'", home.beside("key").display()));
    assert!(told.to_string().contains("chmod 600"), "{told}");
    home.holdfast(["backup"]).run().expect(2).says("chmod 600");
    home.holdfast(["backup", "rows", "--encrypt-to", &secret]).run().expect(2).says("private key");
}

#[test]
fn damage_of_an_encrypted_run_is_damage_and_no_wrong_key() {
    let home = Home::new();
    let public = key(&home, "key");
    small_tree(&home.beside("source"));
    home.back_up(["source", "--encrypt-to", &public]);
    let artifact = home.run_dir("latest").join("a1.age");
    let whole = fs::read(&artifact).unwrap();
    let restore = |out: &str| home.holdfast(["restore", "latest", "--target", out, "--identity", "key"]).run();
    for place in [5, 60, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&artifact, damaged).unwrap();
        home.holdfast(["verify", "latest"]).run().expect(4);
        let told = restore("out");
        assert!(matches!(told.code(), Some(4 | 12)), "{told}");
        assert!(!home.beside("out").exists());
    }
    for length in [0, 100, whole.len() - 1] {
        fs::write(&artifact, &whole[..length]).unwrap();
        restore("out").expect(4);
        assert!(!home.beside("out").exists());
    }
    fs::write(&artifact, &whole).unwrap();
    restore("out").expect(0);
}

#[test]
fn a_manifest_whose_parts_do_not_belong_together_is_refused() {
    let home = Home::new();
    let public = key(&home, "key");
    small_tree(&home.beside("source"));
    let one = home.back_up(["source", "--encrypt-to", &public]);
    let other = home.back_up(["source", "--encrypt-to", &public]);
    let read = |run: &str| -> Value {
        serde_json::from_slice(&fs::read(home.run_dir(run).join("manifest.json")).unwrap()).unwrap()
    };
    let mut manifest = read(&other);
    manifest["sealed"] = read(&one)["sealed"].clone();
    fs::write(home.run_dir(&other).join("manifest.json"), manifest.to_string()).unwrap();
    // What the log keeps of the run finds it before anything is opened.
    home.holdfast(["key", "check", &other, "--identity", "key"]).run().expect(4);
    home.holdfast(["verify", &other]).run().expect(4);
}

#[test]
fn modules_of_an_application_are_encrypted_like_everything_else() {
    let home = Home::new();
    let public = key(&home, "key");
    let engine = builder(&home)
        .participant("module", |artifacts: &mut holdfast::participant::Artifacts| {
            write(artifacts, "planted.state", b"what the module knows")?;
            write(artifacts, "planted.other", b"and more")
        })
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full().encryption(recipients([public.as_str()]).unwrap()));
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    engine.stop();
    assert!(!holds(&home.run_dir("latest"), "planted"));
    let dumped = home.holdfast(["dump", "latest", "planted.state", "--identity", "key"]).run();
    assert_eq!(dumped.expect(0).out(), "what the module knows");
}

#[test]
fn keys_of_files_are_not_shown_and_none_is_taken_that_is_none() {
    let text = r#"{"a1.age":"000102030405060708090a0b0c0d0e0f"}"#;
    let keys: FileKeys = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&keys).unwrap(), text);
    assert_eq!(format!("{keys:?}"), "FileKeys(1 files)");
    for wrong in [r#"{"a1.age":"0001"}"#, r#"{"../x":"000102030405060708090a0b0c0d0e0f"}"#, r#"{"a1.age":"zz"}"#] {
        let error = serde_json::from_str::<FileKeys>(wrong).unwrap_err().to_string();
        assert!(!error.contains("0001") && !error.contains("zz"), "{error}");
    }
}
