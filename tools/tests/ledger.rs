//! The example application, killed while it backs itself up: it finds its data whole, goes on with the run by replay, and what it has
//! backed up is of one moment.
//!
//! `HOLDFAST_TEST_LONG=1` kills it a hundred times; `HOLDFAST_TEST_SEED` repeats the instants.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(150);

/// The ledger at work, and what it has said.
struct Ledger {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Ledger {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ledger"));
        command.arg("run").arg("--home").arg(folder.join("home")).arg("--data").arg(folder.join("data")).args(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the ledger starts");
        let (send, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines, said: Vec::new() }
    }

    /// Hears what it says for so long, or until `found`; says whether it was found.
    fn hear(&mut self, within: Duration, found: impl Fn(&str) -> bool) -> bool {
        let until = Instant::now() + within;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let is_it = found(&line);
                    self.said.push(line);
                    if is_it {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// As a power cut would.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.hear(DEADLINE, |_| false);
        std::mem::take(&mut self.said)
    }

    /// Waits until it ends by itself, well.
    fn end(mut self) -> Vec<String> {
        self.hear(DEADLINE, |_| false);
        let ended = self.child.try_wait().unwrap().unwrap_or_else(|| {
            // Its output has ended; it is at its last instruction, or hangs.
            let _ = self.child.kill();
            self.child.wait().unwrap()
        });
        assert!(ended.success(), "{ended}: {:#?}", self.said);
        std::mem::take(&mut self.said)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Small random numbers (splitmix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn seed() -> u64 {
    let given = std::env::var("HOLDFAST_TEST_SEED").ok().map(|text| text.parse().expect("a whole number"));
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = given.unwrap_or_else(now);
    println!("HOLDFAST_TEST_SEED={seed}");
    seed
}

/// The runs that were asked for, as the output says.
fn asked_for(said: &[String]) -> Vec<String> {
    let id = |line: &String| line.strip_prefix("run ")?.strip_suffix(" was asked for").map(str::to_owned);
    said.iter().filter_map(id).collect()
}

#[test]
fn killed_while_it_backs_itself_up_it_goes_on_with_the_run_at_the_next_start() {
    let kills = if std::env::var_os("HOLDFAST_TEST_LONG").is_some_and(|value| value == "1") { 100 } else { 10 };
    let mut random = Random(seed());
    let folder = tempfile::Builder::new().prefix("ledger").tempdir().unwrap();
    let folder = folder.path();

    let mut first = Ledger::start(folder, &["--runs", "1"]);
    assert!(first.hear(DEADLINE, |line| line.ends_with(" was asked for")), "{:#?}", first.said);
    let began = Instant::now();
    assert!(first.hear(DEADLINE, |line| line.contains(" ended: completed")), "{:#?}", first.said);
    let whole = began.elapsed();
    println!("a whole run takes {whole:?}");
    let said = first.end();
    expect_whole(folder, &asked_for(&said)[0]);

    let mut recovered = 0;
    for number in 1..=kills {
        let mut ledger = Ledger::start(folder, &["--backup-every", "10ms"]);
        let asked = ledger.hear(DEADLINE, |line| line.ends_with(" was asked for"));
        assert!(asked, "{:#?}", ledger.said);
        let after = Duration::from_micros(random.below(whole.as_micros() as u64 + 1));
        ledger.hear(after, |_| false);
        let before = ledger.kill();

        let after = Ledger::start(folder, &["--runs", "1"]).end();
        let goes_on = |line: &String| line.strip_prefix("recovery: goes on with run ").map(str::to_owned);
        let resumed: Vec<_> = after.iter().filter_map(goes_on).collect();
        for id in &resumed {
            assert!(
                after.iter().any(|line| line.starts_with(&format!("run {id} ended: completed, attempt"))),
                "{after:#?}"
            );
            expect_whole(folder, id);
        }
        // What was shown before the kill is what replay shows after it, and no run it was told of is gone.
        let events = |said: &[String]| -> Vec<String> {
            said.iter().filter(|line| line.starts_with("event ")).cloned().collect()
        };
        let (shown, replayed) = (events(&before), events(&after));
        assert_eq!(shown, replayed[..shown.len()], "kill {number}");
        for id in asked_for(&before).iter().chain(&asked_for(&after)) {
            let published = format!("run/{id} RunPublished");
            assert!(replayed.iter().any(|line| line.ends_with(&published)), "{id} has no end: {after:#?}");
        }
        expect_whole(folder, asked_for(&after).last().unwrap());
        assert_eq!(fs::read_dir(folder.join("home/backups/.running")).unwrap().count(), 0);
        recovered += resumed.len();
    }
    println!("{recovered} of {kills} kills left a run open, and each was completed");
    assert!(recovered * 4 >= kills, "too few kills came while a run was open: {recovered} of {kills}");
}

/// Fails the test unless the run's files are as their hashes say, and their contents are whole and of one moment.
fn expect_whole(folder: &Path, run_id: &str) {
    let dir = folder.join("home/backups/completed").join(run_id);
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&dir));

    let snapshot = String::from_utf8(decompressed(dir.join("accounts.snapshot.lz4"))).unwrap();
    let mut lines = snapshot.lines();
    assert!(lines.next().unwrap().starts_with("transfers "));
    assert_eq!(lines.next_back(), Some("end"));
    let balances: Vec<i64> = lines.map(|line| line.split_once(' ').unwrap().1.parse().unwrap()).collect();
    assert_eq!(balances.len(), 1000);
    assert_eq!(balances.iter().sum::<i64>(), 0, "money was made or lost: the balances are not of one moment");

    let audit = decompressed(dir.join("audit.bin.lz4"));
    assert_eq!(audit.len() % 24, 0);
    let numbers: Vec<_> = audit.chunks(24).map(|record| u64::from_le_bytes(record[..8].try_into().unwrap())).collect();
    assert!(numbers.iter().zip(1..).all(|(number, place)| *number == place), "records are missing or doubled");
}

fn decompressed(path: PathBuf) -> Vec<u8> {
    run(Command::new("lz4").arg("-dc").arg(path)).stdout
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
