//! `upload`, and what `backup` does about copies once its run has ended: shows how they come on, and says how they stand.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_model::ids::{EndpointName, RunId, StreamId};
use holdfast_model::run::{COPY_ALTERED, CopyView, RunView};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::args::UploadArgs;
use super::door::{Door, Purpose};
use super::endpoints::{self, endpoint_name};
use super::exit::{CliError, CliResult, Exit};
use super::follow::{Whose, listen};
use super::interrupts::Interrupts;
use super::output::{Output, printable, seconds, size};
use super::runs::find;
use super::{Context, errors};
use crate::api::Channel;
use crate::api::commands::{
    AddBackupConfig, EndpointRow, GetBackupConfig, GetBackupRun, GetUploads, UpdateBackupConfig, UploadBackupRun,
};
use crate::client::Heard;
use crate::endpoints::Address;

/// How often counts are looked at while bytes are on their way.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn run(context: &Context, args: &UploadArgs) -> CliResult {
    let found = find(&context.view()?, args.run, context.output)?;
    let run_id = found.id().ok_or_else(|| CliError::failed("RUN_UNREADABLE", "the run has no id"))?;
    let door = Door::open(context, Purpose::Work("upload"), context.lock_wait).await?;
    let mut interrupts = Interrupts::new()?;
    let result = upload(context, &door, args, run_id, &mut interrupts).await;
    door.close_after_others(context, &mut interrupts).await;
    result
}

async fn upload(
    context: &Context,
    door: &Door,
    args: &UploadArgs,
    run_id: RunId,
    interrupts: &mut Interrupts,
) -> CliResult {
    let endpoints = args.to.endpoints(door).await?;
    let whose = if door.engine().is_some() { Whose::Ours } else { Whose::Theirs };
    door.ask(&UploadBackupRun { run_id, endpoints: endpoints.clone(), wait: false }).await?;
    let view = attend(context, door, interrupts, run_id, whose).await?;
    context.output.value(&json!({ "message_type": "summary", "run": view }))?;
    let asked = |copy: &&CopyView| match endpoints.is_empty() {
        true => copy.status != "elsewhere" && copy.status != "deleted",
        false => endpoints.iter().any(|name| name.as_str() == copy.name),
    };
    let missing: Vec<_> = view.endpoints.iter().filter(asked).filter(|copy| copy.status != "uploaded").collect();
    let end = match missing.first() {
        None => Ok(Exit::Good),
        Some(copy) => Err(not_there(run_id, &view, copy)),
    };
    // Others are told by `show`.
    let asked = RunView { endpoints: view.endpoints.iter().filter(asked).cloned().collect(), ..view.clone() };
    tell(context.output, &asked, &end)?;
    end
}

/// Waits until no copy of a run is on its way any more, and shows how far they are. Answers how the run stands then. Ctrl-C leaves the copies
/// to whoever works on them, or to the next start.
pub(super) async fn attend(
    context: &Context,
    door: &Door,
    interrupts: &mut Interrupts,
    run_id: RunId,
    whose: Whose,
) -> Result<RunView, CliError> {
    // Before it is looked at, so that nothing is missed.
    let mut events = listen(door, None).await.map_err(errors::client)?;
    let mut view = door.ask(&GetBackupRun { run_id }).await?;
    let stream = StreamId::run(run_id).to_string();
    let mut display = Display::new(context.output);
    // One that had begun by then is in no event that is heard.
    view.endpoints.iter().filter(|copy| copy.status == "uploading").for_each(|copy| display.begins(&copy.name));
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while view.remote_status == "uploading" {
        tokio::select! {
            biased;
            heard = events.next() => match heard {
                Ok(Heard::Notice(notice)) if notice.channel == Channel::BackupEvents => {
                    let event: Value = notice.read().map_err(errors::client)?;
                    if event.get("stream").and_then(Value::as_str) == Some(&stream) {
                        display.event(&event)?;
                        view = door.ask(&GetBackupRun { run_id }).await?;
                    }
                }
                Ok(Heard::Notice(_)) => {}
                Ok(Heard::Missed) => view = door.ask(&GetBackupRun { run_id }).await?,
                Err(error) => return Err(errors::client(error)),
            },
            error = door.broken() => return Err(error),
            () = interrupts.next() => {
                display.finish();
                return Err(left(door, run_id, whose).await);
            }
            _ = looks.tick() => {
                if !display.look(door, run_id).await? && left_alone(door, &view).await? {
                    break;
                }
            }
        }
    }
    display.finish();
    Ok(view)
}

/// Whether all copies that are not there yet wait for endpoints that failed so often that they are left alone for a while: that can be an hour,
/// and the next start goes on with them.
async fn left_alone(door: &Door, view: &RunView) -> Result<bool, CliError> {
    let open: Vec<_> = view.endpoints.iter().filter(|copy| copy.status == "pending").collect();
    if open.is_empty() || view.endpoints.iter().any(|copy| copy.status == "uploading") {
        return Ok(false);
    }
    let rows = door.ask(&GetBackupConfig {}).await?.rows;
    let alone = |name: &str| rows.iter().any(|row| row.name == name && row.health == "unavailable");
    Ok(open.iter().all(|copy| alone(&copy.name)))
}

/// The same for what an engine of this process goes on with of earlier runs: else it would end with this process.
pub(super) async fn attend_others(context: &Context, door: &Door, interrupts: &mut Interrupts) -> CliResult {
    let Some(engine) = door.engine() else { return Ok(Exit::Good) };
    let open = engine.read(|known| known.history.uploading().map(|entry| entry.run_id).collect::<Vec<_>>());
    let mut worst: CliResult = Ok(Exit::Good);
    for run_id in open.await.map_err(errors::engine)? {
        context.output.note(format!("going on with the copies of run {run_id}"));
        let view = attend(context, door, interrupts, run_id, Whose::Ours).await?;
        worst = match (worst, conclude(context.output, run_id, &view, Exit::Good)) {
            (Err(first), _) => Err(first),
            (Ok(_), Err(error)) => Err(error),
            (Ok(Exit::Good), Ok(exit)) => Ok(exit),
            (Ok(exit), Ok(_)) => Ok(exit),
        };
    }
    worst
}

async fn left(door: &Door, run_id: RunId, whose: Whose) -> CliError {
    let next = match (whose, door.engine()) {
        (Whose::Ours, Some(_)) => {
            format!(
                "The run is whole here. `holdfast resume` or the next backup goes on with its copies; `holdfast cancel {run_id}` gives them up."
            )
        }
        _ => format!(
            "They go on. `holdfast show {run_id}` says how they stand; `holdfast cancel {run_id}` gives them up."
        ),
    };
    CliError::new(Exit::Cancelled, "LEFT", format!("the copies of run {run_id} are not waited for any more"), next)
}

/// Says how each copy stands. What an error says that follows is not said twice.
fn tell(out: Output, view: &RunView, end: &CliResult) -> Result<(), CliError> {
    if out.json {
        return Ok(());
    }
    let said = |copy: &&CopyView| match end {
        Err(error) => error.message.ends_with(&reason(copy)),
        Ok(_) => false,
    };
    for copy in view.endpoints.iter().filter(|copy| copy.status == "uploaded" || !said(copy)) {
        match copy.status.as_str() {
            "uploaded" => {
                // One that went there while it was written took as long as the run.
                let began = if copy.started_at > 0 { copy.started_at } else { copy.finished_at };
                let took = copy.finished_at.saturating_sub(began);
                let took = if took > 0 { format!(" in {}", seconds(took as f64)) } else { String::new() };
                let sent = if copy.sent_bytes < copy.stored_bytes {
                    format!(", {} of it sent in the last try", size(copy.sent_bytes))
                } else {
                    String::new()
                };
                let stored = size(copy.stored_bytes);
                out.line(format!("{}: copied, {stored}{sent}{took}, checked by {}", copy.name, copy.check))?;
            }
            "deleted" => {}
            "pending" => out.alert(format!(
                "{}: it failed so often that it is left alone for a while; its copy is made later: {}",
                copy.name,
                printable(copy.error.as_bytes())
            )),
            status => out.alert(format!("{}: {status}: {}", copy.name, printable(copy.error.as_bytes()))),
        }
    }
    let there: Vec<_> =
        view.endpoints.iter().filter(|copy| copy.status == "uploaded").map(|copy| copy.name.as_str()).collect();
    match there.first().filter(|_| !view.keep_local && !view.deleted) {
        // The directory goes about now, unless it is locked or read.
        Some(first) if view.good && view.remote_status == "completed" => out.line(format!(
            "run {id} is kept at {at}, and not here. To bring it back: holdfast remote import {first} {id}",
            id = view.run_id,
            at = there.join(", ")
        )),
        _ => Ok(()),
    }
}

/// Why a copy is not there.
fn reason(copy: &CopyView) -> String {
    format!("{}: {}", copy.name, printable(copy.error.as_bytes()))
}

fn not_there(run_id: RunId, view: &RunView, copy: &CopyView) -> CliError {
    let name = &copy.name;
    let message = format!("run {run_id} is not at {}", reason(copy));
    let there = view.endpoints.iter().find(|copy| copy.status == "uploaded");
    let next = match (view.path.is_empty(), there) {
        _ if copy.error_code == "UPLOAD_SOURCE" => {
            format!("What is here is not as it was published: `holdfast verify {run_id}` says what.")
        }
        _ if copy.error_code == COPY_ALTERED => format!(
            "What lies there is not the run. Where it is whole here: `holdfast remote delete {name} {run_id}`, then `holdfast upload {run_id} --to \
             {name}`. A vault takes a run once only: copy it to another endpoint, and tell who runs the vault."
        ),
        (true, Some(there)) => format!(
            "It is not kept here and whole at {}. Once that is mended: holdfast remote import {} {run_id}, then holdfast upload {run_id} --to {name}",
            there.name, there.name
        ),
        _ => format!("The run is whole here. Once that is mended: holdfast upload {run_id} --to {name}"),
    };
    CliError::new(Exit::Failed, "UPLOAD_FAILED", message, next)
}

/// Says how each copy stands, and how the command ends by them that made a run which is good here.
pub(super) fn conclude(out: Output, run_id: RunId, view: &RunView, here: Exit) -> CliResult {
    let end = exit(run_id, view, here);
    tell(out, view, &end)?;
    end
}

/// Whether it is good only with a copy on an endpoint.
pub(super) fn needs_copies(view: &RunView) -> bool {
    matches!(view.require_endpoints.as_str(), "any" | "all")
}

fn exit(run_id: RunId, view: &RunView, here: Exit) -> CliResult {
    let missing = view.endpoints.iter().find(|copy| copy.status != "uploaded");
    let enough = match view.require_endpoints.as_str() {
        "all" => missing.is_none() && !view.endpoints.is_empty(),
        "any" => view.endpoints.iter().any(|copy| copy.status == "uploaded"),
        _ => true,
    };
    match (enough, missing) {
        (true, None) => Ok(here),
        (true, Some(_)) => Ok(Exit::Warnings),
        (false, Some(copy)) => Err(not_there(run_id, view, copy)),
        (false, None) => {
            let required = &view.require_endpoints;
            let message =
                format!("run {run_id} needs a copy (require_endpoints = \"{required}\"), and no endpoint is in use");
            let next = "The run is whole here. `holdfast endpoints list` says which endpoints there are; `holdfast endpoints add` adds one.";
            Err(CliError::new(Exit::Failed, "UPLOAD_FAILED", message, next))
        }
    }
}

struct Display {
    out: Output,
    bar: Option<ProgressBar>,
    /// Where uploads were said to have begun.
    begun: BTreeSet<String>,
}

impl Display {
    fn new(out: Output) -> Self {
        let bar = out.has_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("   upload {bar:28.cyan/blue} {percent:>3}%  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { out, bar, begun: BTreeSet::new() }
    }

    fn begins(&mut self, endpoint: &str) {
        let new = self.begun.insert(endpoint.to_owned());
        if new && self.bar.is_none() && !self.out.json {
            self.out.note(format!("uploading to {endpoint}"));
        }
    }

    fn event(&mut self, event: &Value) -> Result<(), CliError> {
        if self.out.json {
            return self.out.value(&json!({ "message_type": "event", "event": event }));
        }
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let endpoint = text("/data/endpoint");
        let line = match text("/type") {
            "UploadStarted" => {
                self.begins(endpoint);
                return Ok(());
            }
            "UploadTryFailed" => {
                let reason = text("/data/failure/message");
                let pause = event.pointer("/data/retry_after_ms").and_then(Value::as_f64).unwrap_or(0.0) / 1000.0;
                let reason = printable(reason.as_bytes());
                format!("{endpoint}: a try failed, the next is in {}: {reason}", seconds(pause))
            }
            _ => return Ok(()),
        };
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.note(line)),
            None => self.out.note(line),
        }
        Ok(())
    }

    /// Shows how many bytes are there of those that are on their way. Says whether any are.
    async fn look(&self, door: &Door, run_id: RunId) -> Result<bool, CliError> {
        let rows = door.ask(&GetUploads {}).await?.rows;
        let rows: Vec<_> = rows.into_iter().filter(|row| row.run_id == run_id).collect();
        if rows.is_empty() {
            return Ok(false);
        }
        if self.out.json {
            self.out.value(&json!({ "message_type": "upload", "rows": rows }))?;
            return Ok(true);
        }
        let Some(bar) = &self.bar else { return Ok(true) };
        let (done, total) = rows.iter().fold((0_u64, 0_u64), |(done, total), row| {
            (done.saturating_add(row.bytes_done), total.saturating_add(row.bytes_total))
        });
        bar.set_length(total.max(1));
        bar.set_position(done);
        let to: Vec<_> = rows.iter().map(|row| row.server_name.as_str()).collect();
        let rate = bar.per_sec();
        let eta = if rate > 0.0 && total > done { (total - done) as f64 / rate } else { 0.0 };
        let eta = if eta >= 1.0 { format!(", {} to go", seconds(eta)) } else { String::new() };
        bar.set_message(format!(
            "{} of {} to {}, {}/s{eta}",
            size(done),
            size(total),
            to.join(", "),
            size(rate as u64)
        ));
        Ok(true)
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl super::args::ToArgs {
    /// The endpoints that are named, those of URLs made known: an address that no endpoint has becomes one that is out of use, so that only
    /// what is asked for goes there.
    pub(super) async fn endpoints(&self, door: &Door) -> Result<Vec<EndpointName>, CliError> {
        let mut names = Vec::new();
        for given in &self.to {
            names.push(if given.contains("://") { self.of_url(door, given).await? } else { endpoint_name(given)? });
        }
        Ok(names)
    }

    async fn of_url(&self, door: &Door, url: &str) -> Result<EndpointName, CliError> {
        let usage =
            |error: &dyn std::fmt::Display| CliError::new(Exit::Usage, "INVALID_DATA", format!("--to: {error}"), "");
        let address = Address::parse(url).map_err(|error| usage(&error))?;
        let known = door.ask(&GetBackupConfig {}).await?.rows;
        let password = endpoints::password_from(self.password_file.as_deref(), false)?;
        let same_login = |row: &EndpointRow| self.login.as_ref().is_none_or(|login| *login == row.login);
        if let Some(same) = known.iter().find(|row| row.url == url && same_login(row)) {
            let name = endpoint_name(&same.name)?;
            if !same.declared && (password.is_some() || (self.plaintext && !same.plaintext)) {
                let plaintext = same.plaintext || self.plaintext;
                let change = json!({ "name": name, "plaintext": plaintext });
                let mut set: UpdateBackupConfig = serde_json::from_value(change).map_err(|error| usage(&error))?;
                set.password = password;
                door.ask(&set).await?;
            }
            return Ok(name);
        }
        let taken = |name: &str| known.iter().any(|row| row.name == name);
        let base = slug(address.kind(), url);
        let name = (1..).map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") }).find(|name| !taken(name));
        let name = name.unwrap_or(base);
        let mut data = json!({ "name": name, "url": url, "enable": 0, "plaintext": self.plaintext });
        if let (Some(login), Some(data)) = (&self.login, data.as_object_mut()) {
            data.insert("login".into(), json!(login));
        }
        let mut add: AddBackupConfig = serde_json::from_value(data).map_err(|error| usage(&error))?;
        add.password = password;
        door.ask(&add).await?;
        endpoint_name(&name)
    }
}

/// A name made of an address: its kind, its host or bucket, its path.
pub(super) fn slug(kind: &str, url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let words = rest.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let text = std::iter::once(kind).chain(words).collect::<Vec<_>>().join("-").to_ascii_lowercase();
    text.chars().take(40).collect::<String>().trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn an_address_makes_a_name() {
        assert_eq!(slug("s3", "s3://Bucket/a/b?region=x"), "s3-bucket-a-b");
        assert_eq!(slug("sftp", "sftp://nas:22/srv/backups"), "sftp-nas-22-srv-backups");
        assert_eq!(slug("file", "file:///"), "file");
        assert!(slug("file", &format!("file:///{}", "x/".repeat(100))).len() <= 40);
    }
}
