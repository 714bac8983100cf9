use std::fmt::Write;

use holdfast_model::endpoint::UploadCheck;

use super::*;

#[test]
fn all_that_can_be_said_of_an_endpoint_is_read_and_the_rest_is_usual() {
    let text = "[encryption]\npassphrase_file = '/etc/holdfast/passphrase'\n\
        [[endpoint]]\nname = 'nas'\nurl = 'sftp://nas:2222/srv/backups?key_file=/etc/id'\nlogin = 'backup'\n\
        password_command = ['pass', 'show', 'nas']\nenable = false\nmode = 1\ntimeinterval = '24h'\ntimeout = '1m'\n\
        retry_attempts = 7\nretry_delay = '2s'\nverify = 'readback'\nbandwidth = '20 MB'\n\
        priority = -3\nstreams = 16\nplaintext = true\nstream = true\n\
        [[endpoint]]\nname = 'vault1'\nhost = 'backup.example.org:7420'\npassword_env = 'VAULT'\n\
        [[endpoint]]\nname = 'disk'\nurl = 'file:///mnt/backups'\n";
    let config = parse(text).unwrap();
    let [nas, vault, disk] = &config.endpoints[..] else { panic!("three, in their order") };
    let expected = EndpointConfigV2 {
        url: "sftp://nas:2222/srv/backups?key_file=/etc/id".into(),
        login: "backup".into(),
        password_command: ["pass", "show", "nas"].map(str::to_owned).to_vec(),
        enable: false,
        mode: 1,
        timeinterval_s: 86_400,
        timeout_s: 60,
        retry_attempts: 7,
        retry_delay_s: 2,
        verify: UploadCheck::Readback,
        bandwidth: 20_000_000,
        priority: -3,
        streams: 16,
        plaintext: true,
        stream: true,
        declared: true,
        ..EndpointConfigV2::new("nas".parse().unwrap())
    };
    assert_eq!(nas, &expected);
    assert_eq!((vault.host.as_str(), vault.password_env.as_str()), ("backup.example.org:7420", "VAULT"));
    let usual = (disk.timeout_s, disk.retry_attempts, disk.retry_delay_s, disk.streams, disk.enable, disk.plaintext);
    assert_eq!(usual, (30, 3, 5, 4, true, false), "as commands have it");
    assert!(config.endpoints.iter().all(|endpoint| endpoint.declared && endpoint.secret.is_none()));
}

#[test]
fn what_is_wrong_with_an_endpoint_is_told_with_line_and_key() {
    let disk = "[[endpoint]]\nname = 'disk'\nurl = 'file:///mnt'\n";
    let cases: Vec<(String, Vec<(usize, &str)>)> = vec![
        ("[endpoint]\nname = 'a'".into(), vec![(1, "with two brackets")]),
        ("[[endpoints]]".into(), vec![(1, "did you mean [[endpoint]]?")]),
        ("[[endpoint]]".into(), vec![(1, "endpoint 1 has no `name`"), (1, "there is no `url`")]),
        (format!("{disk}{disk}"), vec![(5, "there is an endpoint \"disk\" above already")]),
        (format!("{disk}strems = 4"), vec![(4, "did you mean `streams`?")]),
        (format!("{disk}host = 'nas:1'"), vec![(4, "there is a `url` already")]),
        (format!("{disk}streams = 17"), vec![(4, "from 1 to 16")]),
        (format!("{disk}mode = 2"), vec![(4, "from 0 to 1")]),
        (format!("{disk}timeout = '0s'"), vec![(4, "out of bounds")]),
        (format!("{disk}verify = 'hash'"), vec![(4, "\"size\" or \"readback\"")]),
        (format!("{disk}priority = 1001"), vec![(4, "out of bounds")]),
        (format!("{disk}retention = 'a month'"), vec![(4, "nothing is deleted at an endpoint by rule yet")]),
        (format!("{disk}bandwidth = 'fast'"), vec![(4, "is no size")]),
        (
            format!("{disk}password_file = '/a'\npassword_env = 'B'"),
            vec![(5, "there is `password_file` already: write one of")],
        ),
        (format!("{disk}password_file = 'relative'"), vec![(4, "write the path of the file")]),
        (format!("{disk}password_command = []"), vec![(4, "the list is empty")]),
        (format!("{disk}password_command = 'pass show'"), vec![(4, "a list as")]),
        (format!("{disk}password_env = 'A B'"), vec![(4, "the name of a variable")]),
        ("[[endpoint]]\nname = '../x'\nurl = 'file:///mnt'".into(), vec![(2, "endpoint name")]),
        ("[[endpoint]]\nname = 'x'\nurl = 'ftp://nas/x'".into(), vec![(3, "must begin with vault://")]),
        ("[[endpoint]]\nname = 'x'\nurl = 's3://bucket?key=x'".into(), vec![(3, "`key` is no parameter of s3://")]),
        ("[[endpoint]]\nname = 'x'\nhost = 'nas'".into(), vec![(3, "must be host:port")]),
        // What would leave the machine readable; and nothing of the sort where it is not known what is encrypted.
        (
            "[[endpoint]]\nname = 'x'\nurl = 'sftp://nas/x'\n[[endpoint]]\nname = 'y'\nhost = 'nas:1'".into(),
            vec![(3, "name public keys as `encrypt_to`"), (6, "set plaintext to true")],
        ),
        (
            "[encryption]\nencrypt_to = ['age1x']\n[[endpoint]]\nname = 'x'\nurl = 'sftp://nas/x'".into(),
            vec![(2, "is no age recipient")],
        ),
    ];
    let mut text = String::new();
    for n in 0..=200 {
        write!(text, "[[endpoint]]\nname = 'e{n}'\nurl = 'file:///mnt'\n").unwrap();
    }
    let mut cases: Vec<Wrong<'_>> = cases.iter().map(|(text, expected)| (&text[..], &expected[..])).collect();
    cases.push((&text, &[(601, "200 endpoints at most")]));
    expect_wrong(&cases);
}

#[test]
fn a_password_that_stands_where_it_should_not_is_never_part_of_an_error() {
    for line in [
        "url = 'webdavs://me:hunter2@host/path'",
        "url = 's3://bucket/prefix?secret=hunter2'",
        "host = 'me:hunter2@host'",
        "password = 'hunter2'",
        "secret_key = 'hunter2'",
        "password_file = 'hunter2'",
        "password_env = 'hunter2!'",
        "password_command = 'echo hunter2'",
        "password_command = ['echo', 'hunter2', 3]",
    ] {
        let error = parse(&format!("[[endpoint]]\nname = 'x'\n{line}\n")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{line}\n{error}");
        assert!(error.to_string().contains("holdfast.toml:3:"), "{error}");
    }
}
