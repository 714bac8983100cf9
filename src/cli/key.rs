//! `key`: making keys, showing their public halves, proving that one opens a run; and where other commands have theirs from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use holdfast_log::durable;
use holdfast_model::run::{Retained, Run};
use secrecy::zeroize::Zeroizing;

use super::args::{KeyArgs, KeyCommand, RunArg};
use super::exit::{CliError, CliResult, Exit};
use super::output::{Output, counted, output_error};
use super::{Context, absolute, errors, key_there, runs};
use crate::encryption::{EncryptionError, Keyring};
use crate::restore::{Key, RestoreError, RunSource};
use crate::storage::{MANIFEST, Storage};

/// The keys that the arguments name, else those of the configuration.
pub(super) fn ring(context: &Context, args: &KeyArgs) -> Result<Keyring, EncryptionError> {
    let config = &context.config.encryption;
    match (&args.identity, &args.passphrase_file) {
        (None, None) => Keyring::read(config.identity_file.as_deref(), config.passphrase_file.as_deref()),
        (identity, passphrase) => Keyring::read(identity.as_deref(), passphrase.as_deref()),
    }
}

/// What opens a run; one that is not encrypted needs no file to be read.
pub(super) fn of(context: &Context, args: &KeyArgs, run: &Run) -> Result<Key, CliError> {
    if !run.encryption().is_on() {
        return Ok(Key::Without);
    }
    ring(context, args).map(Key::Ring).map_err(|error| refused(&error))
}

/// An error about keys.
pub(super) fn refused(error: &EncryptionError) -> CliError {
    let next = match error {
        EncryptionError::KeyMissing { .. } | EncryptionError::KeyWrong { .. } => {
            "Nothing was read or touched. Give the private key of one of these by --identity FILE, or HOLDFAST_IDENTITY_FILE; a \
             passphrase by --passphrase-file FILE."
        }
        _ => "",
    };
    CliError::new(Exit::Key, error.code(), error, next)
}

pub(super) async fn run(context: &Context, command: &KeyCommand) -> CliResult {
    match command {
        KeyCommand::Generate { output } => generate(context.output, output.as_deref()),
        KeyCommand::Show { key } => show(context, key),
        KeyCommand::Check { key, run } => check(context, key, *run).await,
    }
}

pub(super) fn generate(out: Output, output: Option<&Path>) -> CliResult {
    let identity = Identity::generate();
    let public = identity.to_public().to_string();
    let mut text = Zeroizing::new(String::new());
    for part in
        ["# holdfast: keep this file secret\n# public key: ", &public, "\n", identity.to_string().expose_secret(), "\n"]
    {
        text.push_str(part);
    }
    let Some(path) = output else {
        io::stdout().lock().write_all(text.as_bytes()).map_err(|error| output_error(&error))?;
        out.note(format!("public key: {public}"));
        return Ok(Exit::Good);
    };
    let path = absolute(path)?;
    let failed = |error: io::Error| {
        let next = match error.kind() {
            io::ErrorKind::AlreadyExists => "A key is never replaced: name another file, or move that one away.",
            _ => "",
        };
        CliError::new(Exit::Failed, "KEY_FILE_NOT_WRITTEN", format!("{}: {error}", path.display()), next)
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| durable::sync_file(&file));
    written.and_then(|()| durable::sync_dir(durable::parent(&path))).map_err(failed)?;
    out.value(&serde_json::json!({ "public_key": public, "identity_file": path.display().to_string() }))?;
    out.line(&public)?;
    out.note(format!(
        "The private key is in {0}, for you alone. Put the public one into the configuration:\n\n  [encryption]\n  encrypt_to = \
         [\"{public}\"]\n\nThen move the private one off this machine, with a spare copy in a safe: without it nothing that is \
         encrypted comes back. `holdfast key check --identity {0}` proves that it opens the newest run.",
        path.display()
    ));
    Ok(Exit::Good)
}

fn show(context: &Context, args: &KeyArgs) -> CliResult {
    let ring = ring(context, args).map_err(|error| refused(&error))?;
    let config = &context.config.encryption;
    context.output.value(&serde_json::json!({
        "identity": ring.public_keys(), "encrypt_to": config.encrypt_to, "passphrase": config.passphrase_file.is_some(),
    }))?;
    for key in ring.public_keys() {
        context.output.line(format!("{key}  private key at hand"))?;
    }
    for key in config.encrypt_to.iter().filter(|key| !ring.public_keys().contains(key)) {
        context.output.line(format!("{key}  encrypted to"))?;
    }
    if config.passphrase_file.is_some() {
        context.output.line("passphrase  encrypted with")?;
    }
    if ring.is_empty() && config.encrypt_to.is_empty() {
        context.output.line("no keys: `holdfast key generate` makes one")?;
    }
    Ok(Exit::Good)
}

async fn check(context: &Context, args: &KeyArgs, run: RunArg) -> CliResult {
    let view = context.view()?;
    let run = runs::find(&view, run, context.output)?;
    let opened_by = run.encryption().opened_by();
    if !run.encryption().is_on() {
        let text = "the run is not encrypted: it needs no key";
        return Err(CliError::new(
            Exit::Failed,
            "RUN_NOT_ENCRYPTED",
            text,
            "[encryption] encrypt_to encrypts those from now on.",
        ));
    }
    let ring = ring(context, args).map_err(|error| refused(&error))?;
    if let Some(elsewhere) = run.elsewhere_at(view.places()).filter(|_| run.retained() != Retained::Kept) {
        let (at, artifacts) = key_there::check(&view, &run, &elsewhere, &ring).await?;
        let run_id = elsewhere.run_id;
        context.output.value(&serde_json::json!({
            "ok": true, "run_id": run_id, "artifacts": artifacts, "opened_by": opened_by, "at": at,
        }))?;
        let artifacts = counted(artifacts as u64, "artifact");
        let given = ring.given();
        context.output.line(format!("the key in {given} opens run {run_id} at {at}: {artifacts}, and the manifest"))?;
        context.output.line(format!("it is opened by {}", opened_by.join(", ")))?;
        return Ok(Exit::Good);
    }
    let source = RunSource::open(view.home(), &run, None, true, &Key::Ring(ring.clone())).map_err(errors::restore)?;
    let lease = Storage::at(view.home().backups()).lease(source.run_id());
    let opened = lease.and_then(|lease| lease.manifest()?.open(&ring, &lease.path().join(MANIFEST)));
    opened.map_err(|error| errors::restore(RestoreError::Storage(error)))?;
    // The index is read whole: with it what the run holds is found.
    for artifact in source.artifacts() {
        source.frames(artifact).map_err(errors::restore)?;
    }
    let artifacts = counted(source.artifacts().len() as u64, "artifact");
    context.output.value(&serde_json::json!({
        "ok": true, "run_id": source.run_id(), "artifacts": source.artifacts().len(), "opened_by": opened_by,
    }))?;
    context.output.line(format!(
        "the key in {} opens run {}: {artifacts}, each with its index, and the manifest",
        ring.given(),
        source.run_id()
    ))?;
    context.output.line(format!("it is opened by {}", opened_by.join(", ")))?;
    Ok(Exit::Good)
}
