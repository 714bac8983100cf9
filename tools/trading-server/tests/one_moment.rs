//! Backups of an exchange under traffic: with a barrier the money in accounts and trades is always all there is; without one it is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use holdfast::api::commands::{
    GetBackupRun, GetBackupRuns, GetRestoreRun, StartFullBackup, StartRestoreRun, StopBackupServer,
};
use holdfast::api::text::Reason;
use holdfast::client::Client;
use holdfast::model::restore::{RestoreStatus, Safety};
use holdfast::model::run::{Consistency, RunStatus, RunView};
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(120);

fn exchange(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-trading-server"));
    command.args(args).current_dir(folder).stdin(Stdio::null());
    command
}

fn prove(runs: &str, consistency: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let args = ["prove", "--dir", ".", "--runs", runs, "--consistency", consistency];
    let output = exchange(&args, folder.path()).output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    let last = said.lines().last().unwrap_or_default().to_owned();
    println!("{last}\n{}", String::from_utf8_lossy(&output.stderr));
    (output, last)
}

#[test]
fn a_hundred_backups_with_a_barrier_are_each_of_one_moment() {
    let (output, last) = prove("100", "barrier");
    assert!(output.status.success() && last.starts_with("100 of 100 "), "{last}");
}

/// The test above can fail.
#[test]
fn backups_without_a_barrier_are_not_always_of_one_moment() {
    let (output, last) = prove("30", "concurrent");
    let whole: u32 = last.split(' ').next().unwrap().parse().unwrap();
    assert!(output.status.success() && whole < 30, "{last}");
}

/// An exchange that serves; killed when it is dropped.
struct Serving {
    child: Child,
    client: Client,
}

impl Serving {
    async fn start(folder: &Path) -> Self {
        let args = ["serve", "--data", "data", "--home", "home", "--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let mut child = exchange(&args, folder).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("trading; backups by lines on 127.0.0.1:"));
        std::thread::spawn(move || lines.for_each(drop));
        let client = Client::connect(&folder.join("home"), DEADLINE).await.unwrap().expect("it listens");
        Self { child, client }
    }

    async fn back_up(&self, wait: bool) -> RunView {
        let backup = StartFullBackup { wait, ..StartFullBackup::default() };
        timeout(DEADLINE, self.client.ask(&backup)).await.unwrap().unwrap()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check(folder: &Path) {
    let checked = exchange(&["check", "--data", "data"], folder).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[tokio::test]
async fn an_exchange_takes_commands_and_a_run_it_died_over_is_of_a_new_moment() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path()).await;
    let run = serving.back_up(true).await;
    assert_eq!((run.status, run.consistency.mode), (RunStatus::Completed, Consistency::Barrier), "{run:?}");
    assert!(run.consistency.barrier_at > 0 && run.consistency.held_us > 0);
    let names: Vec<_> =
        run.participants.iter().flat_map(|one| &one.artifacts).map(|one| &one.logical_name[..]).collect();
    assert_eq!(names, ["accounts.snapshot", "symbols.snapshot", "staff.snapshot", "trades.snapshot"]);

    let open = serving.back_up(false).await;
    serving.kill();
    check(folder.path());
    let mut serving = Serving::start(folder.path()).await;
    let run_id = open.run_id.parse().unwrap();
    let until = Instant::now() + DEADLINE;
    let run = loop {
        let run = serving.client.ask(&GetBackupRun { run_id }).await.unwrap();
        if run.finished_at != 0 {
            break run;
        }
        assert!(Instant::now() < until, "{run:?}");
        tokio::task::yield_now().await;
    };
    assert_eq!(run.status, RunStatus::Completed, "{}", run.error_summary);
    assert!(run.consistency.barrier_at > 0);
    let runs = serving.client.ask(&GetBackupRuns::default()).await.unwrap();
    assert_eq!(runs.rows.len(), 2);
    serving.client.ask(&StopBackupServer { grace_s: None }).await.unwrap();
    let until = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = serving.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < until);
        tokio::task::yield_now().await;
    };
    assert!(status.success());
    check(folder.path());
}

fn restore(run: &RunView, wait: bool) -> StartRestoreRun {
    StartRestoreRun {
        run_id: run.run_id.parse().unwrap(),
        participants: Vec::new(),
        dry_run: false,
        force: true,
        safety: Safety::Required,
        delete: false,
        timeout_s: None,
        accept_incomplete: false,
        wait,
        reason: Reason::default(),
        target: None,
        overwrite: None,
        file_keys: None,
    }
}

#[tokio::test]
async fn an_exchange_is_taken_back_as_a_whole_also_where_it_dies_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut serving = Serving::start(folder.path()).await;
    let run = serving.back_up(true).await;
    let restored = timeout(DEADLINE, serving.client.ask(&restore(&run, true))).await.unwrap().unwrap();
    assert_eq!(restored.status, RestoreStatus::Completed, "{restored:?}");
    assert_eq!(restored.participants.len(), 4);
    // It trades on, from there.
    assert_eq!(serving.back_up(true).await.status, RunStatus::Completed);
    for _ in 0..5 {
        let begun = serving.client.ask(&restore(&run, false)).await.unwrap();
        assert_eq!(begun.status, RestoreStatus::Running, "{begun:?}");
        serving.kill();
        serving = Serving::start(folder.path()).await;
        let restore_id = begun.restore_id.parse().unwrap();
        let settled = serving.client.ask(&GetRestoreRun { restore_id }).await.unwrap();
        let is_settled =
            matches!(settled.status, RestoreStatus::Completed | RestoreStatus::Failed | RestoreStatus::RolledBack);
        assert!(is_settled, "{settled:?}");
        // All four are of one moment, whichever it is.
        assert_eq!(serving.back_up(true).await.status, RunStatus::Completed);
    }
    serving.kill();
    check(folder.path());
}
