#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use super::*;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// The secrets of a home whose key lies in it, whatever the environment of the tests is.
fn secrets(home: &Path) -> Secrets {
    Secrets::opened_by(home, KeySource::Home(home.join(key::NAME)))
}

fn read_all(secrets: &Secrets) -> Vec<(u128, String)> {
    let all = secrets.load().unwrap();
    all.iter().map(|(id, secret)| (id.as_u128(), secret.expose_secret().to_owned())).collect()
}

fn names(home: &Path) -> BTreeSet<String> {
    std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_is_put_is_there_encrypted_for_the_owner_alone_until_it_is_removed() {
    let home = tempfile::tempdir().unwrap();
    let kept = secrets(home.path());
    kept.remove(id(1)).unwrap();
    assert!(names(home.path()).is_empty(), "no file is made for nothing");
    kept.put(id(1), "a \"quoted\"\nä".into()).unwrap();
    kept.put(id(2), "two".into()).unwrap();
    let mode = |name: &str| std::fs::metadata(home.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(NAME), mode(key::NAME)), (0o600, 0o600));
    assert_eq!(read_all(&kept), [(1, "a \"quoted\"\nä".into()), (2, "two".into())]);
    kept.put(id(2), "hunter2".into()).unwrap();
    kept.remove(id(1)).unwrap();
    assert_eq!(read_all(&kept), [(2, "hunter2".into())]);
    assert_eq!(names(home.path()), [NAME, key::NAME].map(str::to_owned).into(), "no other copy is left");
    let bytes = std::fs::read(home.path().join(NAME)).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1"), "what `age -d -i secrets.key` reads");
    assert!(!bytes.windows(7).any(|part| part == b"hunter2"));

    std::fs::set_permissions(home.path().join(NAME), Permissions::from_mode(0o644)).unwrap();
    assert_eq!(read_all(&kept).len(), 1);
    assert_eq!(mode(NAME), 0o600, "closed again");
}

#[test]
fn a_sweep_takes_what_nobody_names_and_tells_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let kept = secrets(home.path());
    (1..=3).for_each(|number| kept.put(id(number), "x".into()).unwrap());
    let missing = kept.sweep(&BTreeSet::from([id(2), id(9)])).unwrap();
    assert_eq!((missing, read_all(&kept).len()), (BTreeSet::from([id(9)]), 1));
    let unfinished = ["secrets.age.tmp", "secrets.json.tmp", "secrets.key.tmp"].map(|name| home.path().join(name));
    unfinished.iter().for_each(|path| std::fs::write(path, "hunter2").unwrap());
    kept.sweep(&BTreeSet::from([id(2)])).unwrap();
    assert!(unfinished.iter().all(|path| !path.exists()), "what a kill left half written is taken away");
}

#[test]
fn what_lay_there_unencrypted_is_taken_over_wherever_a_kill_came() {
    let plain = format!("{{\"format\":1,\"secrets\":{{\"{}\":\"old\",\"{}\":\"two\"}}}}", id(1), id(2));
    let expected = [(1, "old".to_owned()), (2, "two".to_owned())];
    let home = tempfile::tempdir().unwrap();
    let kept = secrets(home.path());
    std::fs::write(home.path().join(PLAIN), &plain).unwrap();
    assert_eq!(read_all(&kept), expected, "read as it is, without a write");
    assert_eq!(names(home.path()), [PLAIN.to_owned()].into());
    let named = BTreeSet::from([id(1), id(2)]);
    kept.sweep(&named).unwrap();
    let after = [NAME, key::NAME].map(str::to_owned).into();
    assert_eq!((read_all(&kept), names(home.path())), (expected.to_vec(), after));

    // Killed when the encrypted file was durable and the plain one still there; what was changed since counts.
    kept.put(id(1), "new".into()).unwrap();
    std::fs::write(home.path().join(PLAIN), &plain).unwrap();
    kept.sweep(&named).unwrap();
    assert_eq!(read_all(&kept), [(1, "new".to_owned()), (2, "two".to_owned())]);
    assert!(!home.path().join(PLAIN).exists());

    // Killed when only the key was durable.
    std::fs::remove_file(home.path().join(NAME)).unwrap();
    std::fs::write(home.path().join(PLAIN), &plain).unwrap();
    kept.sweep(&named).unwrap();
    assert_eq!(read_all(&kept), expected);
}

#[test]
fn without_the_right_key_nothing_is_read_and_nothing_written() {
    let home = tempfile::tempdir().unwrap();
    let (file, key) = (home.path().join(NAME), home.path().join(key::NAME));
    let kept = secrets(home.path());
    kept.put(id(1), "hunter2".into()).unwrap();
    let (bytes, own) = (std::fs::read(&file).unwrap(), std::fs::read_to_string(&key).unwrap());
    let other = x25519::Identity::generate();
    let refused = |source: KeySource, says: &str| {
        let secrets = Secrets::opened_by(home.path(), source);
        for error in [
            secrets.put(id(2), "new".into()).unwrap_err(),
            secrets.sweep(&BTreeSet::new()).unwrap_err(),
            secrets.get(id(1)).unwrap_err(),
        ] {
            assert_eq!(error.code(), "SECRETS_KEY");
            assert!(error.to_string().contains(says), "{error}");
            assert!(!format!("{error} {error:?}").contains("AGE-SECRET-KEY-1Q"), "{error}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    };
    refused(KeySource::Given(other.to_string().expose_secret().into()), "HOLDFAST_SECRETS_KEY is not the key");
    refused(KeySource::Given("AGE-SECRET-KEY-1QQ".into()), "holds no age key");
    refused(KeySource::Twice, "are both set");
    refused(KeySource::File(home.path().join("nowhere")), "is not there");
    std::fs::remove_file(&key).unwrap();
    refused(KeySource::Home(key.clone()), "secrets.key is not there");
    assert!(!key.exists(), "no new key takes the place of the one that is missing");
    std::fs::write(&key, "").unwrap();
    refused(KeySource::Home(key.clone()), "holds no age key");
    std::fs::write(&key, &own).unwrap();
    assert_eq!(read_all(&kept), [(1, "hunter2".to_owned())], "with the key that was put back all is as before");

    let elsewhere = tempfile::tempdir().unwrap();
    let given = |path: &Path| Secrets::opened_by(elsewhere.path(), KeySource::File(path.to_owned()));
    assert_eq!(given(&home.path().join("no")).put(id(1), "x".into()).unwrap_err().code(), "SECRETS_KEY");
    given(&key).put(id(1), "x".into()).unwrap();
    assert_eq!(names(elsewhere.path()), [NAME.to_owned()].into(), "with a key of its own none is made in the home");
}

#[test]
fn a_damaged_file_is_refused_and_left_and_its_text_is_not_told() {
    let home = tempfile::tempdir().unwrap();
    let kept = secrets(home.path());
    let nil = Uuid::nil();
    let texts = [
        "".to_owned(),
        "hunter2".to_owned(),
        format!("{{\"format\":1,\"secrets\":{{\"{nil}\":[\"hunter2\"]}}}}"),
        format!("{{\"format\":1,\"secrets\":{{\"{nil}\":\"hunter2\"}}"),
        format!("{{\"format\":2,\"secrets\":{{\"{nil}\":\"hunter2\"}}}}"),
    ];
    let refused = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).unwrap();
        for error in [kept.put(id(1), "new".into()).unwrap_err(), kept.sweep(&BTreeSet::new()).unwrap_err()] {
            assert_eq!(error.code(), "SECRETS_DAMAGED");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        assert_eq!(std::fs::read(path).unwrap(), bytes);
    };
    texts.iter().for_each(|text| refused(&home.path().join(PLAIN), text.as_bytes()));
    std::fs::remove_file(home.path().join(PLAIN)).unwrap();
    kept.put(id(1), "one".into()).unwrap();
    let whole = std::fs::read(home.path().join(NAME)).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bytes in [&b""[..], b"hunter2", &whole[..whole.len() - 1], &whole[..40], &flipped] {
        refused(&home.path().join(NAME), bytes);
    }
}

#[test]
fn a_secret_has_a_length() {
    let home = tempfile::tempdir().unwrap();
    let kept = secrets(home.path());
    assert_eq!(kept.put(id(1), "".into()).unwrap_err().code(), "INVALID_DATA");
    assert_eq!(kept.put(id(1), "x".repeat(MAX_SECRET + 1).into()).unwrap_err().code(), "INVALID_DATA");
    kept.put(id(1), "\u{1}".repeat(MAX_SECRET).into()).unwrap();
    assert_eq!(read_all(&kept).len(), 1);
}
