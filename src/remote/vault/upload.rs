//! A file on its way to a vault: an upload by tus, in pieces, from wherever the vault says it is.
//!
//! Each piece carries its SHA-256 and counts whole or not at all; one that is acknowledged is synced there and never sent again. The next piece
//! is read while one is under way, so that two are in memory. The answer to the last one comes after the vault has compared the whole file with
//! the hash it was told.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use holdfast_model::ids::RunId;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::client::{Client, Failure, Patience};
use crate::endpoints::layer::retry::{again, pause};
use crate::endpoints::layer::stall::moving;
use crate::endpoints::source::pieces;
use crate::endpoints::{ByteStream, ErrorKind, Meter, StoreError};
use crate::remote::FileToSend;
use crate::vault::wire::{OFFSET_STREAM, PartChecksum, UploadMetadata, VaultUpload, VaultUploads};

/// Size of a piece: what a connection that breaks can lose.
const PIECE: usize = 4 << 20;

/// Where an upload is.
struct Begun {
    path: String,
    offset: u64,
}

/// What became of a piece.
enum Delivery {
    /// It is there.
    Done,
    /// The upload is not there any more, or somewhere else: it has to be looked for.
    Lost(StoreError),
}

/// Sends a file. Answers how many of its bytes were acknowledged by this call.
pub(super) async fn send(
    client: &Client,
    run_id: RunId,
    file: &FileToSend<'_>,
    held: u64,
    meter: &Meter,
) -> Result<u64, StoreError> {
    if held == file.size_bytes && held > 0 {
        meter.reached(held);
        return Ok(0);
    }
    let sending = Sending { client, run_id, file, meter, doing: format!("send {} of run {run_id}", file.name) };
    let (mut sent, mut lost, mut is_known) = (0, 0, held > 0);
    loop {
        let begun = again(client.limits.attempts, || Box::pin(sending.begin(is_known))).await?;
        meter.reached(begun.offset);
        match sending.rest(&begun, &mut sent).await? {
            Delivery::Done => return Ok(sent),
            Delivery::Lost(error) => {
                lost += 1;
                if lost >= client.limits.attempts.total.max(2) {
                    return Err(error.tried(lost));
                }
                is_known = true;
            }
        }
    }
}

struct Sending<'a> {
    client: &'a Client,
    run_id: RunId,
    file: &'a FileToSend<'a>,
    meter: &'a Meter,
    doing: String,
}

impl Sending<'_> {
    fn metadata(&self) -> UploadMetadata {
        UploadMetadata { run_id: self.run_id, filename: self.file.name.clone(), sha256: self.file.sha256 }
    }

    /// The upload that there is, or a new one.
    async fn begin(&self, is_known: bool) -> Result<Begun, StoreError> {
        if is_known {
            let open = uploads(self.client, self.run_id).await?.rows;
            if let Some(begun) = self.take_up(open).await? {
                return Ok(begun);
            }
        }
        let request = self.client.request(Method::POST, "uploads")?;
        let request = request.header("Upload-Length", self.file.size_bytes).header(CONTENT_LENGTH, 0);
        let request = request.header("Upload-Metadata", self.metadata().to_header());
        match self.client.ask(&self.doing, request).await {
            Ok(answer) => {
                let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                let wrong = || StoreError::new(ErrorKind::Fatal, &*self.doing, "the answer is no vault's");
                Ok(Begun { path: path(location.ok_or_else(wrong)?)?, offset: 0 })
            }
            Err(failure) if failure.code() == "UPLOAD_EXISTS" => {
                let open = uploads(self.client, self.run_id).await?.rows;
                let gone = || StoreError::new(ErrorKind::Retryable, &*self.doing, "it changes at the same time");
                self.take_up(open).await?.ok_or_else(gone)
            }
            Err(failure) => Err(failure.told(&self.doing)),
        }
    }

    /// The upload of this file, if there is one. One of other bytes is ended.
    async fn take_up(&self, open: Vec<VaultUpload>) -> Result<Option<Begun>, StoreError> {
        let Some(upload) = open.into_iter().find(|upload| upload.filename == *self.file.name) else { return Ok(None) };
        if upload.sha256 != self.file.sha256 || upload.size_bytes != self.file.size_bytes {
            end(self.client, upload.upload_id).await?;
            return Ok(None);
        }
        let offset = if upload.finished { upload.size_bytes } else { upload.offset };
        Ok(Some(Begun { path: format!("uploads/{}", upload.upload_id), offset }))
    }

    /// Sends what is missing.
    async fn rest(&self, begun: &Begun, sent: &mut u64) -> Result<Delivery, StoreError> {
        let mut offset = begun.offset;
        if offset == self.file.size_bytes {
            return Ok(Delivery::Done);
        }
        let mut reading =
            Reading { stream: self.file.source.open_at(offset).await?.fuse().boxed(), rest: Bytes::new() };
        let mut piece = reading.piece().await?;
        while !piece.is_empty() {
            let (delivered, next) = tokio::join!(self.deliver(&begun.path, offset, &piece), reading.piece());
            if let Delivery::Lost(error) = delivered? {
                return Ok(Delivery::Lost(error));
            }
            offset += piece.len() as u64;
            *sent += piece.len() as u64;
            self.meter.reached(offset);
            piece = next?;
        }
        let short = || crate::endpoints::source::wrong_length(self.file.size_bytes, offset);
        (offset == self.file.size_bytes).then_some(Delivery::Done).ok_or_else(short)
    }

    /// Brings one piece there, as often as that may be tried.
    async fn deliver(&self, path: &str, offset: u64, piece: &Bytes) -> Result<Delivery, StoreError> {
        let hashed = piece.clone();
        let digest = tokio::task::spawn_blocking(move || Sha256::digest(&hashed));
        let digest =
            digest.await.map_err(|_| StoreError::new(ErrorKind::Fatal, &*self.doing, "its hash broke down"))?;
        let checksum = PartChecksum::Sha256(digest.into()).to_header();
        let (patience, mut done) = (Patience::new(), 0);
        loop {
            match self.patch(path, offset, piece, &checksum).await {
                Ok(()) => return Ok(Delivery::Done),
                Err(Failure::Refused(refusal)) if refusal.is_busy() && patience.is_left() => refusal.pause().await,
                Err(failure) => match failure.code() {
                    "UPLOAD_GONE" | "UPLOAD_NOT_FOUND" | "UPLOAD_DAMAGED" => {
                        return Ok(Delivery::Lost(failure.told(&self.doing)));
                    }
                    "OFFSET_MISMATCH" if done == 0 => done += 1,
                    _ => {
                        done += 1;
                        pause(self.client.limits.attempts, done, failure.told(&self.doing)).await?;
                    }
                },
            }
            // The answer may have been lost, and not the piece.
            match self.offset(path).await {
                Ok(there) if there == offset + piece.len() as u64 => return Ok(Delivery::Done),
                Ok(there) if there == offset => {}
                Ok(_) => {
                    let moved = StoreError::new(ErrorKind::Retryable, &*self.doing, "the upload is somewhere else");
                    return Ok(Delivery::Lost(moved));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Delivery::Lost(error)),
                Err(error) => return Err(error),
            }
        }
    }

    async fn patch(&self, path: &str, offset: u64, piece: &Bytes, checksum: &str) -> Result<(), Failure> {
        let moved = Meter::default();
        let request = self.client.request(Method::PATCH, path)?;
        let request = request.header("Upload-Offset", offset).header("Upload-Checksum", checksum);
        let request = request.header(CONTENT_TYPE, OFFSET_STREAM).header(CONTENT_LENGTH, piece.len());
        let request = request.body(reqwest::Body::wrap_stream(self.body(piece.clone(), offset, &moved)));
        let limit = self.client.limits.timeout;
        moving(limit, &moved, || self.doing.clone(), self.client.send(&self.doing, request)).await.map(drop)
    }

    /// The bytes of a piece at the pace that is allowed. What is waited for here is not the vault's fault.
    fn body(&self, piece: Bytes, offset: u64, moved: &Meter) -> ByteStream {
        let bytes = pieces(piece).map(Ok).boxed();
        let bytes = match &self.client.limits.bandwidth {
            Some(bucket) => bucket.clone().limit(bytes),
            None => bytes,
        };
        let state = (bytes, offset, moved.clone(), self.meter.clone());
        stream::unfold(state, |(mut bytes, mut at, moved, meter)| async move {
            let excuse = moved.excuse();
            let next = bytes.next().await?;
            drop(excuse);
            at += next.as_ref().map_or(0, Bytes::len) as u64;
            meter.reached(at);
            Some((next, (bytes, at, moved, meter)))
        })
        .boxed()
    }

    /// How much the vault has for certain.
    async fn offset(&self, path: &str) -> Result<u64, StoreError> {
        let ask = || async {
            let answer = self.client.ask(&self.doing, self.client.request(Method::HEAD, path)?).await;
            let answer = answer.map_err(|failure| failure.told(&self.doing))?;
            let said = answer.headers().get("upload-offset").and_then(|value| value.to_str().ok()?.parse().ok());
            said.ok_or_else(|| StoreError::new(ErrorKind::Fatal, &*self.doing, "the answer is no vault's"))
        };
        again(self.client.limits.attempts, || Box::pin(ask())).await
    }
}

/// A stream, read piece by piece. It may be asked again after its end.
struct Reading {
    stream: ByteStream,
    rest: Bytes,
}

impl Reading {
    /// The next piece; an empty one at the end.
    async fn piece(&mut self) -> Result<Bytes, StoreError> {
        let mut piece = BytesMut::with_capacity(PIECE);
        while piece.len() < PIECE {
            if self.rest.is_empty() {
                match self.stream.next().await {
                    Some(bytes) => self.rest = bytes?,
                    None => break,
                }
            }
            let some = self.rest.split_to(self.rest.len().min(PIECE - piece.len()));
            piece.extend_from_slice(&some);
        }
        Ok(piece.freeze())
    }
}

/// The open uploads of a run, and the run itself where it is committed.
pub(super) async fn uploads(client: &Client, run_id: RunId) -> Result<VaultUploads, StoreError> {
    client.get(&format!("look for uploads of run {run_id}"), &format!("uploads?run_id={run_id}")).await
}

/// Ends an upload. Good, too, where there is none.
pub(super) async fn end(client: &Client, upload_id: Uuid) -> Result<(), StoreError> {
    let doing = "end an upload";
    match client.tell(doing, Method::DELETE, &format!("uploads/{upload_id}")).await {
        Ok(()) => Ok(()),
        Err(failure) if matches!(failure.code(), "UPLOAD_GONE" | "UPLOAD_NOT_FOUND") => Ok(()),
        Err(failure) => Err(failure.told(doing)),
    }
}

/// The path of an upload that the vault names, which must be one.
fn path(location: &str) -> Result<String, StoreError> {
    let id = location.rsplit_once("/uploads/").and_then(|(_, id)| Uuid::parse_str(id).ok());
    let wrong = || StoreError::new(ErrorKind::Fatal, "begin an upload", "the answer is no vault's");
    id.map(|id| format!("uploads/{id}")).ok_or_else(wrong)
}
