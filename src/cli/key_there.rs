//! `key check` of a run that lies on endpoints alone: its manifest there, and the head of each of its artifacts. Nothing else is fetched.

use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::{Elsewhere, Refusal, Run};

use super::errors;
use super::exit::{CliError, Exit};
use crate::encryption::Keyring;
use crate::endpoints::{ErrorKind, Range, StoreError};
use crate::engine::{HomeView, open_endpoint};
use crate::remote::{Remote, RemoteHead};
use crate::restore::RestoreError;
use crate::storage::{MANIFEST, Manifest, StorageError, key_refused};

/// Longest head of a file that is encrypted, in bytes.
const HEAD: u64 = 64 << 10;

/// Answers where it is, and how many artifacts the key opens: all of them.
pub(super) async fn check(
    view: &HomeView,
    run: &Run,
    elsewhere: &Elsewhere,
    ring: &Keyring,
) -> Result<(EndpointName, usize), CliError> {
    let run_id = elsewhere.run_id;
    let mut failed = Err(CliError::new(Exit::NoSuchRun, "BACKUP_RUN_NOT_FOUND", elsewhere.to_string(), ""));
    for name in &elsewhere.endpoints {
        match head(view, name, run_id).await? {
            Ok((remote, head)) if run.sums_sha256() == Some(head.row.sums_sha256) => {
                return Ok((name.clone(), opens(&*remote, &head, ring).await?));
            }
            Ok(_) => failed = Err(CliError::failed(Refusal::AnotherRun.code(), Refusal::AnotherRun)),
            Err(error) => failed = Err(CliError::failed(error.code(), error)),
        }
    }
    failed
}

type Found = Result<(Arc<dyn Remote>, RemoteHead), StoreError>;

async fn head(view: &HomeView, name: &EndpointName, run_id: RunId) -> Result<Found, CliError> {
    let endpoints = view.endpoints().map_err(errors::view)?;
    let config = endpoints.get(name).and_then(|endpoint| endpoint.config()).cloned();
    let Some(config) = config else {
        let why = format!("there is no endpoint {name} any more");
        return Ok(Err(StoreError::new(ErrorKind::Fatal, format!("look at run {run_id}"), why)));
    };
    let found = async {
        let remote = open_endpoint(view.home().root(), &config, view.home().identity().server_id, None).await?;
        let head = remote.run(run_id).await?;
        Ok((remote, head))
    };
    Ok(found.await)
}

async fn opens(remote: &dyn Remote, head: &RemoteHead, ring: &Keyring) -> Result<usize, CliError> {
    let told = |error: StorageError| errors::restore(RestoreError::Storage(error));
    let path = Path::new(MANIFEST);
    let outer = Manifest::from_text(&head.manifest, path).map_err(told)?;
    let manifest = outer.open(ring, path).map_err(told)?;
    let mut count = 0;
    for artifact in manifest.artifacts() {
        let range = Range { from: 0, length: Some(artifact.size_bytes.min(HEAD)) };
        let unread = |error: StoreError| CliError::failed(error.code(), error);
        let mut stream = remote.read(manifest.run_id, &artifact.path, range).await.map_err(unread)?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.map_err(unread)?);
        }
        let opened = ring.unlock(&bytes, Path::new(artifact.path.as_str()));
        if opened.map_err(|error| told(StorageError::Encryption(error)))?.is_none() {
            let refused = key_refused(manifest.run_id, artifact.opened_by.clone(), ring);
            return Err(told(StorageError::Encryption(refused)));
        }
        count += 1;
    }
    Ok(count)
}
