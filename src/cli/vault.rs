//! `vault`: a server that keeps the runs of other installations, and its administration.

use std::path::{Path, PathBuf};

use holdfast_model::ids::TokenName;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use super::args::{VaultCommand, VaultServeArgs, VaultTokenCommand};
use super::exit::{CliError, CliResult, Exit};
use super::interrupts::Interrupts;
use super::output::{count, counted, size, table, time};
use super::{Context, absolute, trace};
use crate::storage::ReadLease;
use crate::vault::wire::VaultRun;
use crate::vault::{
    CertificateFiles, Vault, VaultAddress, VaultAdmin, VaultError, VaultLimits, VaultServer, VaultTokenRow,
};

pub(super) async fn run(context: &Context, command: &VaultCommand) -> CliResult {
    match command {
        VaultCommand::Init { root, names, no_certificate } => init(context, &root.root, names, *no_certificate).await,
        VaultCommand::Serve(args) => serve(context, args).await,
        VaultCommand::Token(command) => token(context, command).await,
        VaultCommand::Runs { root, client } => runs(context, &root.root, *client).await,
        VaultCommand::Delete { root, client, run } => {
            admin(context, &root.root)?.delete(*client, *run).await.map_err(failed)?;
            context.output.value(&json!({ "message_type": "deleted", "client": client, "run_id": run }))?;
            context.output.line(format!("run {run} is not in the vault any more"))?;
            Ok(Exit::Good)
        }
        VaultCommand::Verify { root, client } => verify(context, &root.root, *client).await,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn failed(error: VaultError) -> CliError {
    let exit = match error.code() {
        "VAULT_IN_USE" => Exit::Busy,
        "RUN_NOT_FOUND" | "RUN_DELETED" => Exit::NoSuchRun,
        "VAULT_MISSING" | "NOT_A_VAULT" | "TLS_NEEDED" => Exit::Usage,
        _ => Exit::Failed,
    };
    CliError::new(exit, error.code(), &error, "")
}

fn admin(context: &Context, root: &Path) -> Result<VaultAdmin, CliError> {
    Ok(VaultAdmin::new(absolute(root)?, context.origin().principal))
}

/// Does what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, CliError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(VaultError::Thread(error.to_string()))).map_err(failed)
}

async fn init(context: &Context, root: &Path, names: &[String], no_certificate: bool) -> CliResult {
    let root = absolute(root)?;
    let names = if names.is_empty() { vec!["localhost".to_owned()] } else { names.to_vec() };
    let path = root.clone();
    let (vault_id, fingerprint) = blocking(move || {
        let vault_id = Vault::init(&path)?;
        let files = CertificateFiles::of(&path);
        if !no_certificate {
            files.make(&names)?;
        }
        let fingerprint = files.are_there().then(|| files.fingerprint()).transpose()?;
        Ok((vault_id, fingerprint))
    })
    .await?;
    let out = context.output;
    out.value(&json!({ "message_type": "vault", "vault_id": vault_id, "root": root, "fingerprint": fingerprint }))?;
    out.line(format!("vault        {vault_id}"))?;
    out.line(format!("folder       {}", root.display()))?;
    if let Some(fingerprint) = fingerprint {
        out.result(format!("fingerprint  sha256:{fingerprint}"))?;
    }
    Ok(Exit::Good)
}

async fn serve(context: &Context, args: &VaultServeArgs) -> CliResult {
    let root = absolute(&args.root.root)?;
    let own = CertificateFiles::of(&root);
    let tls = match (&args.tls_cert, &args.tls_key) {
        _ if args.insecure => None,
        (Some(cert), Some(key)) => Some(CertificateFiles { cert: absolute(cert)?, key: absolute(key)? }),
        _ => own.are_there().then_some(own),
    };
    let limits = VaultLimits {
        upload_bytes: args.max_upload,
        expire_after: args.expire_after,
        min_free: args.min_free,
        idle: args.idle,
        ..VaultLimits::default()
    };
    let mut stop = Interrupts::without_hang_up()?;
    let mut reload = signal(SignalKind::hangup()).map_err(|error| CliError::failed("SIGNALS", error))?;
    let vault = Vault::open(&root, limits).await.map_err(failed)?;
    tokio::spawn(trace::tell_of_lost_lines());
    let address = VaultAddress { listen: args.listen, tls, insecure: args.insecure };
    let server = match VaultServer::start(&vault, &address) {
        Ok(server) => server,
        Err(error) => {
            vault.close().await;
            return Err(failed(error));
        }
    };
    let scheme = if server.is_encrypted() { "https" } else { "http" };
    let listens = format!("{scheme}://{}", server.address());
    let fingerprint = match address.tls {
        Some(files) => Some(blocking(move || files.fingerprint()).await?),
        None => None,
    };
    let out = context.output;
    out.value(
        &json!({ "message_type": "listening", "door": "vault", "address": listens, "fingerprint": fingerprint }),
    )?;
    out.line(format!("vault     {listens}"))?;
    if let Some(fingerprint) = fingerprint {
        out.line(format!("pin       sha256:{fingerprint}"))?;
    }
    let mut lost = server.watch_lost();
    let is_lost = loop {
        tokio::select! {
            () = stop.next() => break false,
            _ = reload.recv() => match server.reload() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!(%error, "the certificate cannot be taken over, the one before stays"),
            },
            _ = lost.wait_for(|lost| *lost) => break true,
        }
    };
    server.stop().await;
    vault.close().await;
    match is_lost {
        false => Ok(Exit::Good),
        true => Err(CliError::failed(
            "LOG_POISONED",
            "the vault's event log takes no more events: check its disk, then start it again",
        )),
    }
}

async fn token(context: &Context, command: &VaultTokenCommand) -> CliResult {
    let out = context.output;
    match command {
        VaultTokenCommand::Add { root, name, permission, quota, server_id } => {
            let name: TokenName = name
                .parse()
                .map_err(|error| CliError::new(Exit::Usage, "INVALID_DATA", error, "Give it another name."))?;
            let admin = admin(context, &root.root)?;
            let (text, row) = admin.add_token(name, *permission, *quota, *server_id).await.map_err(failed)?;
            let shown = secrecy::ExposeSecret::expose_secret(&text);
            out.value(&json!({ "message_type": "vault_token", "token": shown, "row": row }))?;
            // It is shown this once, on a line of its own, also with --quiet.
            out.result(shown)?;
            out.note(format!("{}, {}: it is not shown again", row.name, row.permission));
        }
        VaultTokenCommand::List { root } => {
            let rows = admin(context, &root.root)?.tokens().await.map_err(failed)?;
            out.value(&json!({ "message_type": "vault_tokens", "rows": rows }))?;
            let cells: Vec<_> = rows.iter().map(cells).collect();
            out.result(table(&["TOKEN", "PERMISSION", "STATE", "CREATED", "QUOTA", "CLIENT"], &cells))?;
        }
        VaultTokenCommand::Revoke { root, token } => {
            admin(context, &root.root)?.revoke_token(token).await.map_err(failed)?;
            out.value(&json!({ "message_type": "vault_token_revoked", "token": token }))?;
            out.line(format!("token {token} is not taken any more"))?;
        }
    }
    Ok(Exit::Good)
}

fn cells(row: &VaultTokenRow) -> Vec<String> {
    let state = if row.revoked_at == 0 { "live".to_owned() } else { format!("revoked {}", time(row.revoked_at)) };
    let quota = row.quota_bytes.map_or_else(|| "-".to_owned(), size);
    let client = row.server_id.map_or_else(|| "not yet".to_owned(), |id| id.to_string());
    vec![row.name.to_string(), row.permission.to_string(), state, time(row.created_at), quota, client]
}

/// The clients that are meant.
async fn clients(admin: &VaultAdmin, only: Option<Uuid>) -> Result<Vec<Uuid>, CliError> {
    match only {
        Some(client) => Ok(vec![client]),
        None => Ok(admin.clients().await.map_err(failed)?.into_iter().map(|row| row.server_id).collect()),
    }
}

async fn runs(context: &Context, root: &Path, only: Option<Uuid>) -> CliResult {
    let (admin, out) = (admin(context, root)?, context.output);
    for client in clients(&admin, only).await? {
        let mut cursor = None;
        loop {
            let page = admin.runs(client, cursor).await.map_err(failed)?;
            for run in &page.rows {
                out.value(&json!({ "message_type": "vault_run", "client": client, "run": run }))?;
            }
            let rows: Vec<_> = page.rows.iter().map(|run| row(client, run)).collect();
            if !rows.is_empty() {
                out.result(table(&["CLIENT", "RUN", "RECEIVED", "FILES", "SIZE"], &rows))?;
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(Exit::Good)
}

fn row(client: Uuid, run: &VaultRun) -> Vec<String> {
    let files = count(u64::from(run.files));
    vec![client.to_string(), run.run_id.to_string(), time(run.received_at), files, size(run.stored_bytes)]
}

/// Reads each run again. What the vault's log says of the list of hashes decides, and not the list itself.
async fn verify(context: &Context, root: &Path, only: Option<Uuid>) -> CliResult {
    let (admin, out) = (admin(context, root)?, context.output);
    let (mut good, mut bad) = (0u64, 0u64);
    for client in clients(&admin, only).await? {
        let mut cursor = None;
        loop {
            let page = admin.runs(client, cursor).await.map_err(failed)?;
            for run in page.rows {
                let path: PathBuf = admin.run_directory(client, run.run_id);
                let faults = blocking(move || {
                    let report = ReadLease::take(run.run_id, path)?.verify(Some(run.sums_sha256), &mut |_| {});
                    Ok(report.faults().map(|(_, error)| error.to_string()).collect::<Vec<_>>())
                });
                let faults = faults.await.unwrap_or_else(|error| vec![error.message]);
                let ok = faults.is_empty();
                if ok {
                    good += 1;
                } else {
                    bad += 1;
                }
                out.value(&json!({
                    "message_type": "vault_verified", "client": client, "run_id": run.run_id, "ok": ok, "errors": faults,
                }))?;
                for fault in faults {
                    out.alert(format!("run {} of {client}: {fault}", run.run_id));
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    out.line(format!("{} good, {} damaged", counted(good, "run"), count(bad)))?;
    Ok(if bad == 0 { Exit::Good } else { Exit::Damaged })
}
