//! `holdfast serve` under load: how much it can answer, what answering costs a run, and what a flood does to it.
//!
//! The clients run in this process, on the same processors as the server: each figure has the CPU time of both beside it.

mod bare;
mod capacity;
mod client;
mod holdfast;
mod interference;
mod overload;
mod process;
mod question;
mod tally;
mod text;
mod wire;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;

pub(crate) use bare::BareArgs;
use capacity::Capacity;
use client::Client;
use holdfast::{Holdfast, Limits};
use interference::Interference;
use overload::Overload;
pub(super) use process::Process;
use question::Question;
pub(super) use text::text;

use super::contenders::Places;

/// Runs that a list shows by default: so many are there before anything is measured.
const HISTORY: usize = 100;
/// Threads of the clients.
const CLIENT_THREADS: usize = 2;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    pub(super) capacity: Capacity,
    pub(super) interference: Interference,
    pub(super) overload: Overload,
}

/// Measures the server with the data set as what is backed up.
///
/// # Errors
/// Where the server does not start, a run does not complete, or a client cannot speak with it. Wrong answers are figures.
pub(super) fn run(places: &Places, rounds: usize, size: f64, say: &dyn Fn(&str)) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(CLIENT_THREADS).enable_all().build()?;
    let home = places.work.join("server-home");
    let note = places.work.join("server-note");
    std::fs::create_dir(&note).context("cannot make a folder")?;
    std::fs::write(note.join("note.txt"), "a few words\n").context("cannot write a file")?;

    say("server: making a history");
    let start = |limits| Holdfast::start(places, &home, &note, limits);
    let server = start(Limits::Raised)?;
    let newest = runtime.block_on(make_history(&server))?;
    server.end()?;

    let questions = questions(&newest);
    let capacity = capacity::run(places, &runtime, &start, &questions, rounds, size, say)?;
    let interference = interference::run(&runtime, &start, &questions, rounds, say)?;
    let overload = overload::run(&runtime, &start, &questions, size, say)?;
    for folder in [&home, &note] {
        remove(folder)?;
    }
    Ok(Figures { capacity, interference, overload })
}

/// Makes the runs that lists show. The id of the last one.
async fn make_history(server: &Holdfast) -> anyhow::Result<String> {
    let mut client = Client::lines(server.tcp, &server.token).await?;
    let mut newest = String::new();
    for _ in 0..HISTORY {
        newest = client.granted("StartFullBackup", r#"{"participants":["note"]}"#).await?.text("run_id")?;
    }
    Ok(newest)
}

/// What is asked in turns: what runs do now, which there are, and all of one.
fn questions(run_id: &str) -> Arc<[Question]> {
    let of_run = format!(r#""run_id":"{run_id}""#);
    Arc::new([
        Question::new("GetBackupProgress", "{}", r#""overall_percent":"#),
        Question::new("GetBackupRuns", "{}", &of_run),
        Question::new("GetBackupRun", &format!("{{{of_run}}}"), &of_run),
    ])
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
