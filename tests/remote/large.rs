//! A large artifact, and how much memory it takes here and at the vault: 5 GB in the long form of the tests, 100 MB otherwise.

use std::fs;
use std::time::Duration;

use crate::side::Side;
use crate::support::far_side::FarSide;
use crate::support::{Home, long, need};

/// The most that a process may have in memory, in KiB.
const MOST: u64 = 400 << 10;
/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// A backup of zeros that are not compressed goes there, is verified there, and comes back.
fn goes_and_comes_back(side: &Side) {
    need("time", "time");
    let length: u64 = if long() { 5_000_000_000 } else { 100_000_000 };
    let home = Home::new();
    fs::create_dir(home.path()).unwrap();
    let config = format!(
        "[pipeline]\ncompression = 'none'\n[runs]\nown_state = false\n[[participant]]\nname = 'zeros'\nkind = 'command'\nartifact = 'zeros'\n\
         command = ['head', '-c', '{length}', '/dev/zero']\n"
    );
    fs::write(home.path().join("config.toml"), config).unwrap();
    side.add_to(&home, "far", side.port(), &["--timeout", "120", "--retry-attempts", "1"]);
    let figure = home.beside("peak");
    let measured = |args: &[&str]| {
        let time = ["-f", "%M %e", "-o", figure.to_str().unwrap(), env!("CARGO_BIN_EXE_holdfast")];
        let mut running = home.command("/usr/bin/time", time).args(args).spawn();
        assert!(running.ends_within(LIMIT), "{args:?} does not end");
        running.wait().expect(0);
        let told = fs::read_to_string(&figure).unwrap();
        let (peak, seconds) = told.trim().split_once(' ').unwrap();
        let peak: u64 = peak.parse().unwrap();
        println!("{length} bytes: {}: {} MiB at most, {seconds} s", args[..2.min(args.len())].join(" "), peak >> 10);
        assert!(peak < MOST, "{args:?}: {peak} KiB");
    };
    measured(&["backup"]);
    let run = home.newest_run();
    let shown = home.show(&run);
    assert_eq!((&shown["remote_status"], &shown["size_bytes"]), (&"completed".into(), &length.into()), "{shown}");
    measured(&["remote", "verify", "far", &run]);
    measured(&["delete", &run]);
    measured(&["remote", "import", "far", &run]);
    measured(&["verify", &run]);
    if let Side::Vault(vault) = side {
        let peak = vault.peak();
        println!("the vault: {} MiB at most", peak >> 10);
        assert!(peak < MOST, "the vault: {peak} KiB");
    }
}

#[test]
fn a_large_artifact_to_a_vault() {
    goes_and_comes_back(&Side::vault(true));
}

#[test]
fn a_large_artifact_to_s3() {
    goes_and_comes_back(&Side::Far(FarSide::s3()));
}
