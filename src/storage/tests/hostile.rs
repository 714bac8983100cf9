//! Manifests and lists that somebody made to do harm: refused, with the field.

use serde_json::{Value, json};

use super::*;

/// A good manifest with the value at `pointer` replaced, or removed where there is none.
fn with(manifest: &Manifest, pointer: &str, value: Option<Value>) -> Vec<u8> {
    let mut json = serde_json::to_value(manifest).unwrap();
    match value {
        Some(value) => *json.pointer_mut(pointer).unwrap() = value,
        None => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            json.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        }
    }
    serde_json::to_vec_pretty(&json).unwrap()
}

#[test]
fn hostile_values_are_refused_with_the_field() {
    let world = World::new();
    let (manifest, _, path) = world.published();
    let artifact = "/participants/0/artifacts/0";
    let second = "/participants/1/artifacts/0";
    let hostile = [
        (format!("{artifact}/path"), json!("../../etc/passwd"), "participants[0].artifacts[0].path"),
        (format!("{artifact}/path"), json!("/etc/passwd"), "participants[0].artifacts[0].path"),
        (format!("{artifact}/path"), json!("a/b"), "participants[0].artifacts[0].path"),
        (format!("{artifact}/path"), json!(".."), "participants[0].artifacts[0].path"),
        (format!("{artifact}/path"), json!("-rf"), "participants[0].artifacts[0].path"),
        (format!("{artifact}/path"), json!("other.lz4"), "participants[0].artifacts[0].path"),
        (format!("{artifact}/path"), json!("manifest.json"), "participants[0].artifacts[0].path"),
        (format!("{artifact}/path"), json!(7), "participants[0].artifacts[0].path"),
        (format!("{artifact}/index/path"), json!("../x.index"), "participants[0].artifacts[0].index.path"),
        (format!("{artifact}/index/path"), json!("site.tar.lz4.index"), "participants[0].artifacts[0].index.path"),
        (format!("{artifact}/logical_name"), json!("../x"), "participants[0].artifacts[0].logical_name"),
        (format!("{second}/sha256"), json!("7"), "participants[1].artifacts[0].sha256"),
        (format!("{second}/sha256"), json!("A".repeat(64)), "participants[1].artifacts[0].sha256"),
        (format!("{second}/size_bytes"), json!(-1), "participants[1].artifacts[0].size_bytes"),
        (format!("{second}/size_bytes"), json!("7"), "participants[1].artifacts[0].size_bytes"),
        (format!("{second}/compression"), json!("xz"), "participants[1].artifacts[0].compression"),
        (format!("{second}/encryption"), json!("rot13"), "participants[1].artifacts[0].encryption"),
        ("/participants/1/name".to_owned(), json!("a/b"), "participants[1].name"),
        ("/run_id".to_owned(), json!("../20261121-220000-000001"), "run_id"),
        ("/run_id".to_owned(), json!("20261121-220000-000002"), "run_id"),
        ("/server_id".to_owned(), json!("x"), "server_id"),
        ("/backup_format_version".to_owned(), json!(2), "backup_format_version"),
        ("/participants".to_owned(), json!({}), "participants"),
    ];
    for (pointer, value, field) in hostile {
        std::fs::write(path.join(MANIFEST), with(&manifest, &pointer, Some(value.clone()))).unwrap();
        let error = world.storage.lease(run(RUN)).unwrap().manifest().unwrap_err();
        assert_eq!(error.code(), "MANIFEST_INVALID");
        let StorageError::ManifestInvalid { field: found, .. } = &error else { panic!("{error}") };
        assert_eq!(found, field, "{value}: {error}");
    }
}

#[test]
fn two_artifacts_in_one_file_are_refused_whatever_their_case() {
    let world = World::new();
    let (manifest, _, path) = world.published();
    let mut twice = manifest;
    twice.participants[1].artifacts = twice.participants[0].artifacts.clone();
    for upper in [false, true] {
        if upper {
            let artifact = &mut twice.participants[1].artifacts[0];
            artifact.logical_name = "ACCOUNTS.snapshot".parse().unwrap();
            artifact.path = "ACCOUNTS.snapshot.lz4".parse().unwrap();
            artifact.index = None;
        }
        std::fs::write(path.join(MANIFEST), serde_json::to_vec(&twice).unwrap()).unwrap();
        let error = world.storage.lease(run(RUN)).unwrap().manifest().unwrap_err();
        assert!(error.to_string().contains("participants[1].artifacts[0].path"), "{error}");
    }
}

#[test]
fn missing_fields_are_named_and_unknown_ones_ignored() {
    let world = World::new();
    let (manifest, _, path) = world.published();
    let text = with(&manifest, "/participants/0/artifacts/0/content_sha256", None);
    std::fs::write(path.join(MANIFEST), text).unwrap();
    let error = world.storage.lease(run(RUN)).unwrap().manifest().unwrap_err().to_string();
    assert!(error.contains("participants[0].artifacts[0]") && error.contains("content_sha256"), "{error}");
    let mut json = serde_json::to_value(&manifest).unwrap();
    json["from_the_future"] = json!({"a": [1]});
    std::fs::write(path.join(MANIFEST), json.to_string()).unwrap();
    assert_eq!(world.storage.lease(run(RUN)).unwrap().manifest().unwrap(), manifest);
}

#[test]
fn no_length_of_a_small_file_takes_all_memory() {
    let world = World::new();
    let (_, _, path) = world.published();
    for name in [MANIFEST, SUMS] {
        // Sparse: it costs the attacker nothing.
        std::fs::File::options().write(true).open(path.join(name)).unwrap().set_len(1 << 40).unwrap();
    }
    let codes: Vec<_> = world.faults(None).into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["SUMS_ALTERED", "MANIFEST_ALTERED"]);
}

#[test]
fn a_link_in_the_place_of_a_run_is_no_run() {
    let world = World::new();
    let (_, _, path) = world.published();
    let aside = world.dir.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &path).unwrap();
    assert_eq!(world.storage.lease(run(RUN)).unwrap_err().code(), "RUN_DIRECTORY_MISSING");
    assert_eq!(world.storage.delete(run(RUN)).unwrap_err().code(), "RUN_DIRECTORY_MISSING");
    assert!(aside.join(MANIFEST).exists());
}

#[test]
fn a_sweep_does_not_follow_links() {
    let world = World::new();
    let precious = world.dir.path().join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("thesis"), "…").unwrap();
    let deleting = world.storage.path(Place::Deleting, run(RUN));
    std::fs::create_dir(&deleting).unwrap();
    std::os::unix::fs::symlink(&precious, deleting.join("link")).unwrap();
    std::os::unix::fs::symlink(&precious, deleting.with_file_name("other")).unwrap();
    assert_eq!(world.storage.sweep().unwrap(), 2);
    assert!(precious.join("thesis").exists());
}
