//! `holdfast endpoints test`, and addresses that are refused when they are configured.

use std::fs;

use crate::far_side::{FarSide, PASSWORD};
use crate::support::Home;

#[test]
fn an_endpoint_is_tried_step_by_step() {
    let home = Home::new();
    let password = home.beside("password");
    fs::write(&password, PASSWORD).unwrap();
    let password = password.to_str().unwrap();
    let far = FarSide::webdav();

    let add = [
        "endpoints",
        "add",
        "far",
        "--url",
        &far.url,
        "--login",
        far.login(),
        "--password-file",
        password,
        "--retry-delay",
        "0",
        "--plaintext",
        "true",
    ];
    home.holdfast(add).run().expect(0);
    let tried = home.json(["endpoints", "test", "far"]);
    assert_eq!((&tried["ok"], &tried["endpoint"]), (&true.into(), &"far".into()), "{tried}");
    let steps: Vec<_> = tried["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["write", "list", "read", "delete"]);
    assert!(fs::read_dir(far.data.join("holdfast-test")).unwrap().next().is_none(), "nothing is left");

    fs::write(home.beside("password"), "hunter2").unwrap();
    let wrong = home
        .holdfast(["endpoints", "test", "--url", &far.url, "--login", far.login(), "--password-file", password])
        .run();
    let said = format!("{}{}", wrong.out(), wrong.err());
    assert_eq!(wrong.code(), Some(1), "{said}");
    assert!(said.contains("REMOTE_CREDENTIALS") && !said.contains("hunter2"), "{said}");

    let file = FarSide::file();
    let good = home.holdfast(["endpoints", "test", "--url", &file.url]).run();
    good.expect(0);
    assert!(good.out().contains("write    good") && good.out().contains("can be used"), "{}", good.out());
}

#[test]
fn an_address_that_cannot_be_used_is_refused_at_once() {
    let home = Home::new();
    for (url, says) in [
        ("s3://bucket?zone=eu", "it has endpoint, region, path_style, ca_file"),
        ("s3://ab", "a bucket of 3 to 63 characters"),
        ("sftp://nas", "name a folder"),
        ("file:///", "name a folder"),
    ] {
        let refused = home.holdfast(["endpoints", "add", "far", "--url", url]).run();
        assert_ne!(refused.code(), Some(0));
        assert!(refused.err().contains("url") && refused.err().contains(says), "{url}: {}", refused.err());
    }
    let unknown = home.holdfast(["endpoints", "test", "nowhere"]).run();
    assert_eq!(unknown.code(), Some(2), "{}", unknown.err());
}
