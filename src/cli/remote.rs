//! `remote`: runs that lie on endpoints.

use std::time::Duration;

use holdfast_model::ids::{EndpointName, RunId};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::Context;
use super::args::RemoteCommand;
use super::door::{Door, Purpose};
use super::endpoints::endpoint_name;
use super::exit::{CliError, CliResult, Exit};
use super::interrupts::Interrupts;
use super::output::{Output, counted, printable, size, table, time};
use crate::api::commands::{
    DeleteRemoteBackupRun, GetImportProgress, GetRemoteBackupRuns, GetRemoteValidations, ImportRemoteBackupRun,
    ImportShown, RemoteRunRow, ValidateRemoteBackupRun,
};
use crate::engine::ImportPhase;

/// Rows of a page that is asked for.
const PAGE: u64 = 1000;
/// How often it is asked how far an import is.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn run(context: &Context, command: &RemoteCommand) -> CliResult {
    match command {
        RemoteCommand::List { of, limit } => {
            let (endpoint, door) = (endpoint_name(&of.endpoint)?, open(context, Purpose::Brief("remote")).await?);
            let result = list(context.output, &door, endpoint, of.server_id, *limit).await;
            door.close().await;
            result
        }
        RemoteCommand::Import { of, run, overwrite } => {
            let wish = ImportRemoteBackupRun {
                server_name: endpoint_name(&of.endpoint)?,
                run_id: *run,
                server_id: of.server_id,
                overwrite: *overwrite,
            };
            let mut interrupts = Interrupts::new()?;
            let door = open(context, Purpose::Stays("import")).await?;
            let result = import(context.output, &door, &wish, &mut interrupts).await;
            match &result {
                // What was interrupted ends with the engine, where that is of this process.
                Err(error) if error.exit == Exit::Cancelled => door.close().await,
                _ => door.close_after_others(context, &mut interrupts).await,
            }
            result
        }
        RemoteCommand::Delete { endpoint, run, force } => {
            let wish = DeleteRemoteBackupRun { server_name: endpoint_name(endpoint)?, run_id: *run, force: *force };
            let door = open(context, Purpose::Brief("remote")).await?;
            let deleted = door.ask(&wish).await;
            door.close().await;
            let deleted = deleted?;
            context.output.value(&deleted)?;
            context.output.line(format!("run {run} is deleted at {endpoint}; what is here stays"))?;
            Ok(Exit::Good)
        }
        RemoteCommand::Verify { of, run } => {
            let (endpoint, mut interrupts) = (endpoint_name(&of.endpoint)?, Interrupts::new()?);
            let door = open(context, Purpose::Stays("remote")).await?;
            let result = tokio::select! {
                result = verify(context.output, &door, endpoint, of.server_id, *run) => result,
                () = interrupts.next() => Err(CliError::new(Exit::Cancelled, "CANCELLED", "cancelled", "")),
            };
            door.close_after_others(context, &mut interrupts).await;
            result
        }
    }
}

async fn open(context: &Context, purpose: Purpose) -> Result<Door, CliError> {
    Door::open(context, purpose, context.lock_wait).await
}

async fn list(out: Output, door: &Door, endpoint: EndpointName, server_id: Option<Uuid>, most: u64) -> CliResult {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let limit = u32::try_from((most - rows.len() as u64).min(PAGE)).ok();
        let asked = GetRemoteBackupRuns { server_name: endpoint.clone(), server_id, limit, cursor };
        let page = door.ask(&asked).await?;
        let none = page.rows.is_empty();
        rows.extend(page.rows);
        cursor = page.next_cursor;
        if none || cursor.is_empty() || rows.len() as u64 >= most {
            break;
        }
    }
    out.value(&json!({ "server_name": endpoint, "rows": rows, "more": !cursor.is_empty() }))?;
    if rows.is_empty() {
        out.line(format!("no runs on {endpoint}"))?;
    } else if !out.json {
        let cells: Vec<_> = rows.iter().map(cells).collect();
        out.result(table(&["RUN", "STATUS", "STARTED", "STORED", "KEY", "HERE"], &cells))?;
    }
    if !cursor.is_empty() {
        out.note("there are more: --limit N shows them");
    }
    Ok(Exit::Good)
}

fn cells(row: &RemoteRunRow) -> Vec<String> {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    vec![
        row.run_id.to_string(),
        printable(row.status.as_bytes()),
        time(row.started_at),
        size(row.stored_bytes),
        yes(row.encrypted),
        yes(row.here),
    ]
}

async fn import(out: Output, door: &Door, wish: &ImportRemoteBackupRun, interrupts: &mut Interrupts) -> CliResult {
    let mut shown = Display::new(out);
    let asked = door.ask(wish);
    tokio::pin!(asked);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let imported = loop {
        tokio::select! {
            biased;
            imported = &mut asked => break imported,
            () = interrupts.next() => {
                shown.finish();
                let (message, next) = match door.engine() {
                    Some(_) => ("cancelled; what is here is as it was", ""),
                    None => ("the server goes on with it", "`holdfast runs` shows when the run is here."),
                };
                return Err(CliError::new(Exit::Cancelled, "CANCELLED", message, next));
            }
            _ = looks.tick() => {
                // Where that cannot be told, the end can.
                if let Ok(now) = door.ask(&GetImportProgress {}).await {
                    shown.show(&now, wish.run_id);
                }
            }
        }
    };
    shown.finish();
    let run = imported?;
    out.value(&json!({ "message_type": "summary", "run": run }))?;
    let stored = size(run.stored_bytes);
    out.line(format!("run {} is here: {}, {stored} in {}", run.run_id, run.status.as_str(), run.path))?;
    if run.imported_from.as_ref().is_some_and(|from| from.masked) {
        out.line("it is encrypted: what it holds is shown, and restored, with its key (--identity)")?;
    }
    Ok(Exit::Good)
}

/// How far an import is: a bar on a terminal, a line a phase elsewhere, JSON lines for programs.
pub(super) struct Display {
    out: Output,
    bar: Option<ProgressBar>,
    phase: Option<&'static str>,
}

impl Display {
    pub(super) fn new(out: Output) -> Self {
        let bar = out.has_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10));
            let template =
                "{prefix:>7} {bar:24.cyan/blue} {percent:>3}%  {bytes} of {total_bytes}, {bytes_per_sec}, {eta} to go";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { out, bar, phase: None }
    }

    pub(super) fn show(&mut self, now: &ImportShown, run_id: RunId) {
        let Some(phase) = now.phase.filter(|_| now.run_id == run_id.to_string()) else { return };
        // Whoever read the output may have gone away: the import goes on.
        let _ = self.out.value(&json!({ "message_type": "status", "import": now }));
        let (word, doing) = match phase {
            ImportPhase::Asking => ("ask", None),
            ImportPhase::Fetching => ("fetch", Some("fetching")),
            ImportPhase::Checking => ("verify", Some("reading what came again")),
        };
        self.advance(word, doing.map(|doing| format!("{run_id}: {doing}")), (now.bytes_done, now.bytes_total));
    }

    /// Shows how far a phase is; its line is said once where there is no bar.
    fn advance(&mut self, word: &'static str, line: Option<String>, (done, total): (u64, u64)) {
        if self.phase.replace(word) != Some(word) {
            match (&self.bar, line) {
                (Some(bar), _) => {
                    bar.reset();
                    bar.set_prefix(word);
                }
                (None, Some(line)) if !self.out.json => self.out.note(line),
                (None, _) => {}
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(1));
            bar.set_position(done);
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

async fn verify(out: Output, door: &Door, endpoint: EndpointName, server_id: Option<Uuid>, run_id: RunId) -> CliResult {
    let asked = ValidateRemoteBackupRun { server_name: endpoint.clone(), run_id, server_id };
    let mut shown = Display::new(out);
    let reading = door.ask(&asked);
    tokio::pin!(reading);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let read = loop {
        tokio::select! {
            biased;
            read = &mut reading => break read,
            _ = looks.tick() => {
                // Where that cannot be told, the end can.
                let Ok(now) = door.ask(&GetRemoteValidations {}).await else { continue };
                let mine = now.rows.iter().find(|row| row.run_id == run_id && row.server_name == endpoint);
                if let Some(row) = mine.filter(|row| row.bytes_total > 0) {
                    let _ = out.value(&json!({ "message_type": "status", "verify": row }));
                    let line = format!("{run_id}: reading {} on {endpoint}", size(row.bytes_total));
                    shown.advance("verify", Some(line), (row.bytes_done, row.bytes_total));
                }
            }
        }
    };
    shown.finish();
    let read = read.map_err(|error| damaged_there(error, &endpoint, run_id))?;
    out.value(&read)?;
    let (files, bytes) = (counted(read.files, "file"), size(read.bytes));
    out.line(format!("run {run_id} on {endpoint}: {files}, {bytes}, all as published"))?;
    Ok(Exit::Good)
}

/// What can be done about a copy that is not what was published.
fn damaged_there(error: CliError, endpoint: &EndpointName, run_id: RunId) -> CliError {
    if error.exit != Exit::Damaged {
        return error;
    }
    let next = format!(
        "It is not counted as a copy any more. Where `holdfast verify {run_id}` finds it whole here: `holdfast remote delete {endpoint} {run_id}`, \
         then `holdfast upload {run_id} --to {endpoint}`. A vault takes a run once only: copy it to another endpoint, and tell who runs the vault."
    );
    CliError { next, ..error }
}
