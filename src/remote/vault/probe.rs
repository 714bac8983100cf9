//! Tries a vault out: who one is there, a small upload, its place in the list, and its end. No run comes of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_actors::ports::Clock;
use holdfast_model::ids::{RunId, Sha256};
use secrecy::SecretString;
use sha2::Digest;
use uuid::Uuid;

use super::client::Client;
use super::upload;
use crate::endpoints::address::VaultAddress;
use crate::endpoints::probe::Step;
use crate::endpoints::{Bytewise, ErrorKind, Limits, Meter, StoreError};
use crate::engine::SystemClock;
use crate::remote::FileToSend;
use crate::vault::wire::VaultStanding;

/// Bytes that are sent.
const LENGTH: usize = 64 << 10;
/// What they are called.
const FILE: &str = "holdfast-test";

/// Tries a vault out, and tells each step when it has ended. Says whether all were good. Without a server id a token that is bound to none yet
/// stays so, and is refused.
pub(crate) async fn probe(
    address: &VaultAddress,
    token: SecretString,
    limits: &Limits,
    server_id: Option<Uuid>,
    mut told: impl FnMut(&Step),
) -> bool {
    let mut tell = |name, took: Duration, error: Option<StoreError>| {
        let step = Step { name, took, error };
        told(&step);
        step.error.is_none()
    };
    let began = Instant::now();
    let client = match Client::new(address, token, limits, server_id) {
        Ok(client) => client,
        Err(error) => return tell("set up", began.elapsed(), Some(error)),
    };
    let standing = client.get::<VaultStanding>("ask who one is there", "standing").await;
    if !tell("standing", began.elapsed(), standing.err()) {
        return false;
    }
    // No run has this number: it is far behind any that was counted.
    let run_id = RunId::new(SystemClock.now(), 999_999);
    let began = Instant::now();
    let written = write(&client, run_id).await;
    let mut good = tell("write", began.elapsed(), written.err());
    if good {
        let began = Instant::now();
        good = tell("list", began.elapsed(), find(&client, run_id).await.err());
    }
    let began = Instant::now();
    match upload::uploads(&client, run_id).await {
        Ok(open) if open.rows.is_empty() => good,
        open => tell("delete", began.elapsed(), take_away(&client, open).await.err()) && good,
    }
}

async fn write(client: &Client, run_id: RunId) -> Result<(), StoreError> {
    let content = Bytes::from_iter(Uuid::now_v7().into_bytes().into_iter().cycle().take(LENGTH));
    let sha256 = Sha256(sha2::Sha256::digest(&content).into());
    let refuse =
        |error: holdfast_model::ids::InvalidName| StoreError::new(ErrorKind::Fatal, "write", error.to_string());
    let (name, source) = (FILE.parse().map_err(refuse)?, Bytewise(content));
    let file = FileToSend { name: &name, size_bytes: LENGTH as u64, sha256, source: &source };
    upload::send(client, run_id, &file, 0, &Meter::default()).await.map(drop)
}

async fn find(client: &Client, run_id: RunId) -> Result<(), StoreError> {
    let open = upload::uploads(client, run_id).await?.rows;
    let whole = open.iter().any(|upload| upload.filename.as_str() == FILE && upload.finished);
    let missing = || StoreError::new(ErrorKind::Fatal, "list uploads", "what was sent is not there whole");
    whole.then_some(()).ok_or_else(missing)
}

async fn take_away(
    client: &Client,
    open: Result<crate::vault::wire::VaultUploads, StoreError>,
) -> Result<(), StoreError> {
    for upload in open?.rows {
        upload::end(client, upload.upload_id).await?;
    }
    Ok(())
}
