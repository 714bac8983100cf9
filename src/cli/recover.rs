//! `recover`: a home made anew of what lies at a far side.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use holdfast_model::ids::RunId;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::args::RecoverArgs;
use super::endpoints::{endpoint_name, password_from};
use super::exit::{CliError, CliResult, Exit};
use super::interrupts::Interrupts;
use super::output::{Output, counted, table};
use super::remote::Display;
use super::{errors, key, uploads};
use crate::api::commands::ImportShown;
use crate::api::text::Secret;
use crate::encryption::Keyring;
use crate::endpoints::Address;
use crate::recover::{Observer, RecoverError, Recovered, Recovery, Seen, Step};
use crate::restore::is_damage;
use crate::storage::StorageError;

/// Runs that are named where newer ones were passed over.
const NAMED: usize = 5;

pub(super) fn recover(args: &RecoverArgs, home: PathBuf, out: Output, principal: String) -> CliResult {
    let recovery = wish(args, home, principal)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::failed("RUNTIME", format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(work(&recovery, out));
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

fn wish(args: &RecoverArgs, home: PathBuf, principal: String) -> Result<Recovery, CliError> {
    let usage = |error: &dyn std::fmt::Display| {
        CliError::new(Exit::Usage, "INVALID_DATA", error, "`holdfast recover --help` shows examples.")
    };
    // A vault is named by its host and port alone, too.
    let url = if args.url.contains("://") { args.url.clone() } else { format!("vault://{}", args.url) };
    let address = Address::parse(&url).map_err(|error| usage(&error))?;
    let password = password_from(args.password_file.as_deref(), args.password_stdin)?;
    let password: SecretString = password.map(Secret::into_inner).unwrap_or_default();
    let ring = Keyring::read(args.key.identity.as_deref(), args.key.passphrase_file.as_deref());
    let name = endpoint_name(&uploads::slug(address.kind(), &url))?;
    Ok(Recovery {
        home,
        url,
        address,
        login: args.login.clone(),
        password,
        name,
        keyring: ring.map_err(|error| key::refused(&error))?,
        passphrase_file: args.key.passphrase_file.clone(),
        server_id: args.server_id,
        run: args.run,
        data: !args.state_only,
        principal,
    })
}

async fn work(recovery: &Recovery, out: Output) -> CliResult {
    let mut interrupts = Interrupts::new()?;
    let shown = Mutex::new(Display::new(out));
    let display = || shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let observer = |step: &Step<'_>| tell(out, step, &mut display());
    let observer: Observer<'_> = &observer;
    let recovered = tokio::select! {
        biased;
        () = interrupts.next() => {
            display().finish();
            let next = "There is no home yet; the same command starts over.";
            return Err(CliError::new(Exit::Cancelled, "CANCELLED", "cancelled", next));
        }
        recovered = Box::pin(recovery.run(observer)) => recovered,
    };
    display().finish();
    told(out, recovery, &recovered.map_err(failed)?)
}

fn tell(out: Output, step: &Step<'_>, display: &mut Display) {
    let step_value = |name: &str, more: Value| json!({ "message_type": "status", "step": name, "detail": more });
    // Whoever read the output may have gone away: the recovery goes on.
    let _ = match step {
        Step::Chosen(server_id, run_id) => {
            out.note(format!("recovering installation {server_id} from run {run_id}"));
            out.value(&step_value("chosen", json!({ "server_id": server_id, "run_id": run_id })))
        }
        Step::PassedOver([]) => Ok(()),
        Step::PassedOver(runs) => {
            out.note(format!(
                "note: {} passed over: it is not completed, or does not hold the state",
                some(runs, runs.len() as u64)
            ));
            out.value(&step_value("passed_over", json!({ "runs": runs })))
        }
        Step::State => {
            out.note("fetching and checking the state of the installation");
            out.value(&step_value("state", Value::Null))
        }
        Step::History => {
            out.note("recording what is not here");
            out.value(&step_value("history", Value::Null))
        }
        Step::Data(now) => {
            display.show(&ImportShown::of(Some(now)), now.run_id);
            Ok(())
        }
    };
}

/// The first of `total` runs.
fn some(runs: &[RunId], total: u64) -> String {
    let named: Vec<_> = runs.iter().take(NAMED).map(ToString::to_string).collect();
    let more = total.saturating_sub(named.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

fn told(out: Output, recovery: &Recovery, recovered: &Recovered) -> CliResult {
    let home = recovery.home.display();
    let Recovered { run_id, server_id, .. } = recovered;
    let exit = if recovered.state && recovered.without_password.is_empty() && !recovered.redacted {
        Exit::Good
    } else {
        Exit::Warnings
    };
    let next = next(recovery, recovered);
    let mut summary = serde_json::to_value(recovered).map_err(|error| CliError::failed("OUTPUT", error))?;
    if let Some(fields) = summary.as_object_mut() {
        fields.insert("message_type".into(), json!("summary"));
        fields.insert("home".into(), json!(home.to_string()));
        fields.insert("next".into(), json!(next));
        fields.insert("exit_code".into(), json!(exit as u8));
    }
    out.value(&summary)?;
    out.line(format!("{home} is installation {server_id} again, as of run {run_id}"))?;
    if recovered.state {
        let (runs, elsewhere) = (counted(recovered.runs, "earlier run"), recovered.runs_elsewhere);
        out.line(format!("history: {runs}, {elsewhere} of them kept on endpoints; nothing of them is here"))?;
    } else {
        out.alert(
            "no run there holds the state of the installation: its history begins anew, and nothing is configured",
        );
    }
    let unknown = &recovered.unknown;
    if unknown.total > 0 {
        let (runs, endpoint) = (counted(unknown.total, "run"), &recovered.endpoint);
        let named = some(&unknown.runs, unknown.total);
        out.line(format!("also there: {runs} at {endpoint} that this history does not know: {named}"))?;
    }
    match &recovered.config {
        Some(path) => out.line(format!("configuration: {home}/config.toml; it was {path}"))?,
        None if recovered.state => out.line("configuration: none was in the run")?,
        None => {}
    }
    if recovered.redacted {
        out.alert(
            "the run was not encrypted: secret values in the configuration stand as ***, and have to be set again",
        );
    }
    match recovered.passwords.as_str() {
        "recovered" => out.line("passwords of endpoints: recovered")?,
        "missing" => out.alert(
            "passwords of endpoints: lost, since the run holds no key for them (it was not encrypted, or the key lay elsewhere)",
        ),
        _ => {}
    }
    if recovered.data {
        out.line(format!("data: run {run_id} is here"))?;
    }
    out.alert(
        "This home goes on as that installation. The machine before must not: switch it off, or two would write under one name.",
    );
    out.line(format!("\nNext:\n  {}", next.join("\n  ")))?;
    Ok(exit)
}

/// What is to be done now, as it is typed.
fn next(recovery: &Recovery, recovered: &Recovered) -> Vec<String> {
    let Recovered { run_id, endpoint, .. } = recovered;
    // Whoever named the home has to name it again.
    let named = std::env::args().any(|argument| argument == "--home" || argument.starts_with("--home="));
    let program = if named { format!("holdfast --home '{}'", recovery.home.display()) } else { "holdfast".to_owned() };
    let key = match (recovery.keyring.is_empty(), &recovery.passphrase_file) {
        (true, _) => "",
        (false, Some(_)) => " --passphrase-file FILE",
        (false, None) => " --identity FILE",
    };
    let mut next = Vec::new();
    next.extend(
        recovered.without_password.iter().map(|name| format!("{program} endpoints set {name} --password-file FILE")),
    );
    if !recovered.data {
        next.push(format!("{program} remote import {endpoint} {run_id}"));
    }
    next.push(format!("{program} restore {run_id} --target DIR{key}"));
    next.push(format!("{program} remote list {endpoint}"));
    let unknown = recovered.unknown.runs.iter().take(NAMED).map(ToString::to_string);
    let fetched: Vec<_> = if recovered.unknown.total > 0 { unknown.collect() } else { vec!["RUN".to_owned()] };
    next.extend(fetched.into_iter().map(|run| format!("{program} remote import {endpoint} {run}")));
    next
}

fn failed(error: RecoverError) -> CliError {
    let code = error.code().to_owned();
    let (exit, next) = match &error {
        RecoverError::NotEmpty { is_home: true, .. } => {
            (Exit::Usage, "Name another folder by --home; this one is an installation, and stays as it is.".to_owned())
        }
        RecoverError::NotEmpty { .. } => {
            (Exit::Usage, "Name another folder by --home, or move away what is there.".to_owned())
        }
        RecoverError::Owner(_) => {
            (Exit::Busy, "Another recovery is at work in this home: wait for its end.".to_owned())
        }
        RecoverError::Several(seen) => (Exit::Usage, choices(seen)),
        RecoverError::Nobody => (Exit::NoSuchRun, "See whether the address has all of its path.".to_owned()),
        RecoverError::NoGoodRun(_) | RecoverError::NoRun { .. } => {
            (Exit::NoSuchRun, "See whether the address and the installation are the right ones.".to_owned())
        }
        RecoverError::Storage(StorageError::Encryption(about)) => return key::refused(about),
        RecoverError::Storage(_) | RecoverError::Pipeline(_) | RecoverError::Log(_) | RecoverError::Invalid(_) => {
            (Exit::Damaged, "Recover from another run (--run RUN), or from another endpoint.".to_owned())
        }
        RecoverError::Import(error) if is_damage(error.code()) || error.code() == "REMOTE_RUN_ALTERED" => {
            let next = "Its state may be whole all the same: with --state-only everything but its data comes back. Or recover from another \
                        run (--run RUN), or from another endpoint.";
            (Exit::Damaged, next.to_owned())
        }
        RecoverError::Engine(_) => {
            let RecoverError::Engine(error) = error else { return CliError::failed(&code, "") };
            return errors::engine(error);
        }
        _ => (Exit::Failed, "There is no home yet; the same command starts over.".to_owned()),
    };
    CliError::new(exit, &code, &error, next)
}

/// The installations there are.
fn choices(seen: &[Seen]) -> String {
    let row = |one: &Seen| {
        let more = if one.more { "more than " } else { "" };
        let newest = one.newest.map_or_else(|| "-".to_owned(), |run| run.to_string());
        vec![one.server_id.to_string(), newest, format!("{more}{}", one.runs)]
    };
    let rows: Vec<_> = seen.iter().map(row).collect();
    format!("Choose one by --server-id:\n{}", table(&["INSTALLATION", "NEWEST RUN", "RUNS"], &rows))
}
