//! Backups outlive the tool: what is in a run directory is read with `sha256sum`, the compressor's own program and `tar`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::tree::Tree;
use crate::support::{Home, awkward, need, root, small_tree, text};
use serde_json::Value;

/// Unpacks with the shell's tools alone and compares with what was backed up.
fn comes_back_by(method: &str, command: &str) {
    let home = Home::new();
    let source = awkward::plant(&home.beside("awkward"));
    let run = home.back_up(["awkward", "--compression", method]);
    let folder = home.run_dir(&run);
    need("tar", "tar");
    let owners = if root() { "--same-owner --numeric-owner" } else { "--no-same-owner" };
    // Not `--acls`: access lists are stored as the attributes they are, and GNU tar would look for them elsewhere.
    let options = format!("-p {owners} --xattrs --xattrs-include='*'");
    let script = format!(
        "set -euo pipefail; mkdir out; cd {}; {command} | tar x {options} -C {}",
        folder.display(),
        home.beside("out").display()
    );
    home.command("bash", ["-c", script.as_str()]).run().expect(0);
    awkward::expected(&source).expect_same(&Tree::read(&home.beside("out/awkward")));
}

#[test]
fn lz4_and_tar_give_the_tree_back() {
    need("lz4", "lz4");
    comes_back_by("lz4", "lz4 -dc awkward.tar.lz4");
}

#[test]
fn zstd_and_tar_give_the_tree_back() {
    need("zstd", "zstd");
    comes_back_by("zstd:3", "zstd -dc awkward.tar.zst");
}

#[test]
fn gzip_and_tar_give_the_tree_back() {
    need("gzip", "gzip");
    comes_back_by("gzip:2", "gzip -dc awkward.tar.gz");
}

#[test]
fn brotli_and_tar_give_the_tree_back() {
    need("brotli", "brotli");
    comes_back_by("brotli:2", "brotli -dc awkward.tar.br");
}

#[test]
fn tar_alone_gives_an_uncompressed_tree_back() {
    comes_back_by("none", "cat awkward.tar");
}

#[test]
fn a_command_s_output_comes_back_by_its_compressor_alone() {
    need("lz4", "lz4");
    let home = Home::new();
    let rows: String = (0..200_000).map(|row| format!("INSERT INTO shop VALUES ({row});\n")).collect();
    fs::write(home.beside("rows"), &rows).unwrap();
    let folder = home.beside("");
    let config = format!(
        "[[participant]]\nname = 'db'\nkind = 'command'\nartifact = 'shop.sql'\ncommand = ['cat', '{}/rows']\n",
        folder.display()
    );
    fs::write(home.beside("config.toml"), config).unwrap();
    home.holdfast(["backup", "--config", "config.toml"]).run().expect(0);
    let folder = home.run_dir("latest");
    let back = home.command("lz4", ["-dc", "shop.sql.lz4"]).current_dir(&folder).run();
    assert!(back.expect(0).out() == rows);
    home.command("sha256sum", ["--strict", "-c", "SHA256SUMS"]).current_dir(&folder).run().expect(0);
}

#[test]
fn sha256sum_checks_a_run_and_finds_a_changed_byte() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let run = home.back_up(["source"]);
    let folder = home.run_dir(&run);
    let check = || home.command("sha256sum", ["--strict", "-c", "SHA256SUMS"]).current_dir(&folder).run();
    check().expect(0).says("source.tar.lz4: OK").says("manifest.json: OK");

    // Everything in the directory is covered but the list itself.
    let listed: BTreeSet<_> = fs::read_to_string(folder.join("SHA256SUMS"))
        .unwrap()
        .lines()
        .map(|line| line.split_once("  ").or_else(|| line.split_once(" *")).expect("hash and name").1.to_owned())
        .collect();
    let there: BTreeSet<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "SHA256SUMS")
        .collect();
    assert_eq!(listed, there);

    let artifact = folder.join("source.tar.lz4");
    let mut bytes = fs::read(&artifact).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&artifact, bytes).unwrap();
    check().expect(1).says("source.tar.lz4: FAILED");
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn the_manifest_is_json_that_says_all_of_the_run() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let run = home.back_up(["source", "--compression", "zstd:3"]);
    let folder = home.run_dir(&run);
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let expected = [
        "app_version",
        "attempt",
        "backup_format_version",
        "consistency",
        "error_summary",
        "finished_at",
        "participants",
        "requested_by",
        "requested_participants",
        "run_id",
        "server_id",
        "size_bytes",
        "started_at",
        "status",
        "stored_bytes",
        "trigger",
        "type",
    ];
    assert_eq!(keys(&manifest), BTreeSet::from(expected), "what may change later is not in it");
    assert_eq!(manifest["backup_format_version"], 1);
    assert_eq!(manifest["status"], "completed");
    assert_eq!(manifest["server_id"].as_str().map(str::len), Some(36));

    // What the manifest and `show` both have is the same.
    let shown = home.show(&run);
    for field in keys(&manifest).intersection(&keys(&shown)).filter(|field| **field != "participants") {
        assert_eq!(manifest[*field], shown[*field], "{field}");
    }
    let participant = &manifest["participants"][0];
    for field in
        ["name", "kind", "critical", "ok", "status", "started_at", "finished_at", "error", "warnings", "artifacts"]
    {
        assert!(!participant[field].is_null(), "the participant has no {field}: {participant}");
    }
    let artifact = &participant["artifacts"][0];
    let fields = [
        "compression",
        "content_bytes",
        "content_sha256",
        "encryption",
        "index",
        "logical_name",
        "path",
        "sha256",
        "size_bytes",
    ];
    assert_eq!(keys(artifact), BTreeSet::from(fields));
    for file in [artifact, &artifact["index"]] {
        let name = text(&file["path"]);
        assert_eq!(Path::new(&name).components().count(), 1, "names are relative to the run directory: {name}");
        assert_eq!(folder.join(&name).metadata().unwrap().len(), file["size_bytes"].as_u64().unwrap(), "{name}");
        let sum = home.command("sha256sum", [folder.join(&name)]).run();
        assert!(sum.expect(0).out().starts_with(&text(&file["sha256"])), "{name}");
    }
    let content = format!("zstd -dc {}/source.tar.zst | sha256sum", folder.display());
    let content = home.command("sh", ["-c", content.as_str()]).run();
    assert!(content.expect(0).out().starts_with(&text(&artifact["content_sha256"])));
}

#[test]
fn the_index_is_lines_of_json_in_the_compression_of_its_artifact() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let folder = home.run_dir(&home.back_up(["source"]));
    let script = format!("lz4 -dc < {}/source.tar.lz4.index", folder.display());
    let lines = home.command("sh", ["-c", script.as_str()]).run().expect(0).json_lines();
    assert!(lines.iter().any(|line| line["path"] == "source/etc/hosts"), "{lines:?}");
}

#[test]
fn homes_and_runs_are_for_their_owner_alone() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new();
    small_tree(&home.beside("source"));
    let run = home.back_up(["source"]);
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&home.path()), 0o700);
    assert_eq!(mode(&home.run_dir(&run)), 0o700);
    for entry in fs::read_dir(home.run_dir(&run)).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}
