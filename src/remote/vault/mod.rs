//! Runs in a [vault](crate::vault), which says itself what is there.
//!
//! A file goes by byte from where the vault has it; the vault compares each with its SHA-256 before it says that it is there. Nothing is
//! remembered here: what is open is asked for, so that whoever comes after a crash goes on in the same way. What an upload that was given up
//! has left, the vault itself sweeps.

mod client;
mod probe;
mod trust;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdfast_model::ids::{ArtifactName, RunId, Sha256};
use reqwest::header::RANGE;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use sha2::Digest;
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::client::{Client, Failure};
pub(super) use self::probe::probe;
use super::lists::{Lists, MAX_LIST};
use super::{FileToSend, GrowingSource, Held, Remote, RemoteHead, RemotePage, RemoteRun, Standing};
use crate::endpoints::address::VaultAddress;
use crate::endpoints::layer::retry::{Opener, resuming};
use crate::endpoints::layer::stall::watched;
use crate::endpoints::{Answer, ByteStream, Bytewise, ErrorKind, Limits, Meter, Range, StoreError, http};
use crate::storage::{MANIFEST, SUMS};
use crate::vault::wire::{VaultRun, VaultRuns, VaultStanding};

/// Most rows of a page.
const MAX_PAGE: usize = 1000;

/// The runs of one installation in a vault.
pub struct VaultRemote {
    client: Arc<Client>,
    turns: Arc<Semaphore>,
}

impl VaultRemote {
    /// The runs of an installation. The vault is not asked yet.
    ///
    /// # Errors
    /// [`StoreError`] where there is no token, or TLS cannot be set up.
    pub fn new(
        address: &VaultAddress,
        token: SecretString,
        limits: &Limits,
        server_id: Uuid,
    ) -> Result<Self, StoreError> {
        let client = Arc::new(Client::new(address, token, limits, Some(server_id))?);
        let turns = Arc::new(Semaphore::new(limits.streams.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { client, turns })
    }

    async fn turn(&self) -> Result<tokio::sync::OwnedSemaphorePermit, StoreError> {
        let turn = self.turns.clone().acquire_owned().await;
        turn.map_err(|_| StoreError::new(ErrorKind::Fatal, "wait for a turn", "the endpoint is closed"))
    }

    /// A file of a run, whole.
    async fn text(&self, run_id: RunId, name: &'static str) -> Result<Bytes, StoreError> {
        let refuse = |error: holdfast_model::ids::InvalidName| {
            StoreError::new(ErrorKind::Fatal, format!("read {name}"), error.to_string())
        };
        let file: ArtifactName = name.parse().map_err(refuse)?;
        super::lists::whole(self.read(run_id, &file, Range::ALL).await?, MAX_LIST, name).await
    }

    /// Ends uploads of files that the list of hashes does not have, or has otherwise: the vault would refuse the run for them.
    async fn end_others(&self, run_id: RunId, lists: &Lists) -> Result<(), StoreError> {
        for open in upload::uploads(&self.client, run_id).await?.rows {
            let wanted = match open.filename.as_str() {
                SUMS => Some(lists.sums_sha256),
                _ => lists.sums.get(&open.filename).copied(),
            };
            if wanted.is_none() || wanted != open.sha256 {
                upload::end(&self.client, open.upload_id).await?;
            }
        }
        Ok(())
    }

    async fn send_list(&self, run_id: RunId, name: &'static str, text: &Bytes) -> Result<(), StoreError> {
        let sha256 = Sha256(sha2::Sha256::digest(text).into());
        let refuse = |error: holdfast_model::ids::InvalidName| {
            StoreError::new(ErrorKind::Fatal, format!("send {name}"), error.to_string())
        };
        let (name, source) = (name.parse().map_err(refuse)?, Bytewise(text.clone()));
        let file = FileToSend { name: &name, size_bytes: text.len() as u64, sha256, source: &source };
        upload::send(&self.client, run_id, &file, 0, &Meter::default()).await.map(drop)
    }

    async fn bring_to_commit(&self, row: &RemoteRun, manifest: &Bytes, sums: &Bytes) -> Result<(), StoreError> {
        let run_id = row.run_id;
        let doing = format!("commit run {run_id}");
        let lists = Lists::read(run_id, manifest.clone(), sums.clone(), ErrorKind::Source)?;
        if let Some(run) = upload::uploads(&self.client, run_id).await?.run {
            let other = || StoreError::new(ErrorKind::Exists, doing, "another run is there under its name");
            return (run.sums_sha256 == lists.sums_sha256).then_some(()).ok_or_else(other);
        }
        self.end_others(run_id, &lists).await?;
        self.send_list(run_id, SUMS, sums).await?;
        self.send_list(run_id, MANIFEST, manifest).await?;
        let told = self.client.tell(&doing, Method::POST, &format!("runs/{run_id}/commit")).await;
        told.map_err(|failure| failure.told(&doing))
    }
}

/// The installation that a token belongs to.
pub(super) async fn server_id(
    address: &VaultAddress,
    token: SecretString,
    limits: &Limits,
) -> Result<Uuid, StoreError> {
    let client = Client::new(address, token, limits, None)?;
    let standing: VaultStanding = client.get("ask who one is there", "standing").await?;
    Ok(standing.server_id)
}

fn row(run: &VaultRun) -> RemoteRun {
    let summary = run.summary.clone().unwrap_or_default();
    RemoteRun {
        run_id: run.run_id,
        run_type: summary.run_type,
        status: summary.status,
        started_at: summary.started_at,
        finished_at: summary.finished_at,
        received_at: run.received_at,
        files: run.files,
        stored_bytes: run.stored_bytes,
        encrypted: summary.encrypted,
        sums_sha256: run.sums_sha256,
    }
}

/// Bytes of a file of a run, once.
async fn read_once(client: &Client, path: &str, doing: &str, range: Range) -> Result<ByteStream, StoreError> {
    let mut request = client.request(Method::GET, path)?;
    let header = range.header();
    if let Some(range) = &header {
        request = request.header(RANGE, range);
    }
    let limit = client.limits.timeout;
    let answer = match client.ask(doing, request).await {
        Ok(answer) => answer,
        // What begins at the end is empty.
        Err(Failure::Refused(refusal)) if refusal.status == 416 => {
            let head = client.ask(doing, client.request(Method::HEAD, path)?).await;
            let head = head.map_err(|failure| failure.told(doing))?;
            let size = head.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            let behind = || StoreError::new(ErrorKind::Fatal, doing, "it ends before that");
            return (size == Some(range.from)).then(|| stream::empty().boxed()).ok_or_else(behind);
        }
        Err(failure) => return Err(failure.told(doing)),
    };
    let expected = if header.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    if answer.status() != expected {
        return Err(StoreError::new(ErrorKind::Fatal, doing, "the answer is no vault's"));
    }
    if range.length == Some(0) {
        return Ok(stream::empty().boxed());
    }
    let told = doing.to_owned();
    let bytes = answer.bytes_stream().map_err(move |error| http::unanswered(told.clone(), &error)).boxed();
    let bytes = watched(bytes, limit, doing.to_owned());
    Ok(match &client.limits.bandwidth {
        Some(bucket) => bucket.clone().limit(bytes),
        None => bytes,
    })
}

impl Remote for VaultRemote {
    fn standing(&self, run_id: RunId) -> Answer<'_, Standing> {
        Box::pin(async move {
            let found = upload::uploads(&self.client, run_id).await?;
            if let Some(run) = found.run {
                return Ok(Standing::Committed { sums_sha256: run.sums_sha256 });
            }
            let held = found.rows.into_iter().map(|open| {
                let held = Held { bytes: open.offset, sha256: open.sha256 };
                (open.filename, held)
            });
            Ok(Standing::Open(held.collect::<BTreeMap<_, _>>()))
        })
    }

    fn send<'a>(&'a self, run_id: RunId, file: &'a FileToSend<'a>, held: u64, meter: &'a Meter) -> Answer<'a, u64> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            upload::send(&self.client, run_id, file, held, meter).await
        })
    }

    fn stream<'a>(
        &'a self,
        run_id: RunId,
        name: &'a ArtifactName,
        source: &'a dyn GrowingSource,
        meter: &'a Meter,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            upload::stream(&self.client, run_id, name, source, meter).await
        })
    }

    fn commit<'a>(&'a self, row: &'a RemoteRun, manifest: Bytes, sums: Bytes) -> Answer<'a, ()> {
        Box::pin(async move { self.bring_to_commit(row, &manifest, &sums).await })
    }

    fn runs<'a>(&'a self, most: usize, cursor: &'a str) -> Answer<'a, RemotePage> {
        Box::pin(async move {
            let doing = "list the runs";
            if !cursor.bytes().all(|byte| byte.is_ascii_digit()) || cursor.len() > 20 {
                return Err(StoreError::new(ErrorKind::Fatal, doing, "the cursor is none that was given here"));
            }
            let after = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
            let path = format!("runs?summary=true&limit={}{after}", most.clamp(1, MAX_PAGE));
            let page: VaultRuns = self.client.get(doing, &path).await?;
            Ok(RemotePage { rows: page.rows.iter().map(row).collect(), next_cursor: page.next_cursor })
        })
    }

    fn run(&self, run_id: RunId) -> Answer<'_, RemoteHead> {
        Box::pin(async move {
            let run: VaultRun = self.client.get(&format!("look at run {run_id}"), &format!("runs/{run_id}")).await?;
            let (manifest, sums) = (self.text(run_id, MANIFEST).await?, self.text(run_id, SUMS).await?);
            let lists = Lists::read(run_id, manifest, sums, ErrorKind::Altered)?;
            if lists.sums_sha256 != run.sums_sha256 {
                let why = format!("{SUMS} is not the one that the vault received");
                return Err(StoreError::new(ErrorKind::Fatal, format!("look at run {run_id}"), why));
            }
            Ok(lists.head(run.received_at))
        })
    }

    fn read<'a>(&'a self, run_id: RunId, file: &'a ArtifactName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let turn = self.turn().await?;
            let (client, path) = (self.client.clone(), format!("runs/{run_id}/{file}"));
            let doing = format!("read {file} of run {run_id}");
            let opener: Opener = Box::new(move |range| {
                let (client, path, doing) = (client.clone(), path.clone(), doing.clone());
                Box::pin(async move { read_once(&client, &path, &doing, range).await })
            });
            let stream = resuming(self.client.limits.attempts, range, None, opener);
            // The turn is over when the stream is dropped.
            Ok(stream.inspect(move |_| _ = &turn).boxed())
        })
    }

    fn delete(&self, run_id: RunId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.give_up(run_id).await?;
            let doing = format!("delete run {run_id}");
            match self.client.tell(&doing, Method::DELETE, &format!("runs/{run_id}")).await {
                Ok(()) => Ok(()),
                // By an attempt whose answer was lost.
                Err(failure) if matches!(failure.code(), "RUN_DELETED" | "RUN_NOT_FOUND") => Ok(()),
                Err(failure) => Err(failure.told(&doing)),
            }
        })
    }

    fn give_up(&self, run_id: RunId) -> Answer<'_, ()> {
        Box::pin(async move {
            for open in upload::uploads(&self.client, run_id).await?.rows {
                upload::end(&self.client, open.upload_id).await?;
            }
            Ok(())
        })
    }

    /// Nothing: a vault sweeps by itself.
    fn sweep(&self) -> Answer<'_, u64> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// Nothing to be made: a vault's list is its record.
    fn rebuild(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let standing: VaultStanding = self.client.get("ask who one is there", "standing").await?;
            Ok(standing.runs)
        })
    }

    fn compares_hashes(&self) -> bool {
        true
    }

    fn streams(&self) -> usize {
        self.client.limits.streams.max(1)
    }
}
