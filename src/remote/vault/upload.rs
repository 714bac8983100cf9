//! A file on its way to a vault: an upload by tus, in pieces, from wherever the vault says it is.
//!
//! Each piece carries its SHA-256 and counts whole or not at all; one that is acknowledged is synced there and never sent again. The next piece
//! is read while one is under way, so that two are in memory. The answer to the last one comes after the vault has compared the whole file with
//! the hash it was told.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use holdfast_model::ids::{ArtifactName, RunId};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::client::{Client, Failure, Patience};
use crate::endpoints::layer::retry::{again, pause};
use crate::endpoints::layer::stall::moving;
use crate::endpoints::source::pieces;
use crate::endpoints::{ByteStream, ErrorKind, Meter, StoreError};
use crate::remote::{FileToSend, GrowingSource, SeekableSource, Whole};
use crate::vault::wire::{FILE_SHA256, OFFSET_STREAM, PartChecksum, UploadMetadata, VaultUpload, VaultUploads};

/// Size of a piece: what a connection that breaks can lose.
const PIECE: usize = 4 << 20;

/// Where an upload is.
struct Begun {
    path: String,
    offset: u64,
    /// Whether the vault is to be told where it ends.
    is_open: bool,
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
    let doing = format!("send {} of run {run_id}", file.name);
    let whole = Whole { bytes: file.size_bytes, sha256: file.sha256 };
    let sending = Sending { client, run_id, name: file.name, source: file.source, meter, doing };
    let (mut sent, mut lost, mut is_known) = (0, 0, held > 0);
    loop {
        let begun = again(client.limits.attempts, || Box::pin(sending.begin(is_known, whole))).await?;
        meter.reached(begun.offset);
        let delivered = match sending.rest(&begun, Some(whole.bytes), &mut sent).await? {
            Delivery::Done if begun.is_open => sending.close(&begun.path, whole).await?,
            delivered => delivered,
        };
        match delivered {
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

/// Sends a file that is being written. What an earlier try left of it is ended.
pub(super) async fn stream(
    client: &Client,
    run_id: RunId,
    name: &ArtifactName,
    source: &dyn GrowingSource,
    meter: &Meter,
) -> Result<(), StoreError> {
    let doing = format!("send {name} of run {run_id} while it is written");
    let sending = Sending { client, run_id, name, source, meter, doing };
    for open in uploads(client, run_id).await?.rows.into_iter().filter(|open| open.filename == *name) {
        end(client, open.upload_id).await?;
    }
    let begun = again(client.limits.attempts, || Box::pin(sending.create(None))).await?;
    let delivered = match sending.rest(&begun, None, &mut 0).await? {
        Delivery::Done => {
            let unknown = || StoreError::new(ErrorKind::Source, &*sending.doing, "it ended and is not whole");
            sending.close(&begun.path, source.whole().ok_or_else(unknown)?).await?
        }
        lost @ Delivery::Lost(_) => lost,
    };
    match delivered {
        Delivery::Done => Ok(()),
        Delivery::Lost(error) => Err(error),
    }
}

struct Sending<'a> {
    client: &'a Client,
    run_id: RunId,
    name: &'a ArtifactName,
    source: &'a dyn SeekableSource,
    meter: &'a Meter,
    doing: String,
}

impl Sending<'_> {
    /// The upload that there is, or a new one.
    async fn begin(&self, is_known: bool, whole: Whole) -> Result<Begun, StoreError> {
        if is_known {
            let open = uploads(self.client, self.run_id).await?.rows;
            if let Some(begun) = self.take_up(open, whole).await? {
                return Ok(begun);
            }
        }
        match self.create(Some(whole)).await {
            Err(error) if error.kind() == ErrorKind::Exists => {
                let open = uploads(self.client, self.run_id).await?.rows;
                match self.take_up(open, whole).await? {
                    Some(begun) => Ok(begun),
                    // It was of other bytes, and is gone.
                    None => self.create(Some(whole)).await,
                }
            }
            begun => begun,
        }
    }

    /// A new upload. [`ErrorKind::Exists`] where there is one.
    async fn create(&self, whole: Option<Whole>) -> Result<Begun, StoreError> {
        let (run_id, filename) = (self.run_id, self.name.clone());
        let metadata = UploadMetadata { run_id, filename, sha256: whole.map(|whole| whole.sha256) };
        let request = self.client.request(Method::POST, "uploads")?.header(CONTENT_LENGTH, 0);
        let request = match whole {
            Some(whole) => request.header("Upload-Length", whole.bytes),
            None => request.header("Upload-Defer-Length", 1),
        };
        let request = request.header("Upload-Metadata", metadata.to_header());
        match self.client.ask(&self.doing, request).await {
            Ok(answer) => {
                let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                let wrong = || StoreError::new(ErrorKind::Fatal, &*self.doing, "the answer is no vault's");
                Ok(Begun { path: path(location.ok_or_else(wrong)?)?, offset: 0, is_open: whole.is_none() })
            }
            Err(failure) if failure.code() == "UPLOAD_EXISTS" => {
                Err(StoreError::new(ErrorKind::Exists, &*self.doing, "another upload brings it already"))
            }
            Err(failure) => Err(failure.told(&self.doing)),
        }
    }

    /// The upload of this file, if there is one. One of other bytes is ended; of one without an end the vault says at its end what it has.
    async fn take_up(&self, open: Vec<VaultUpload>, whole: Whole) -> Result<Option<Begun>, StoreError> {
        let Some(upload) = open.into_iter().find(|upload| upload.filename == *self.name) else { return Ok(None) };
        let is_open = upload.sha256.is_none();
        let same = match upload.sha256 {
            Some(sha256) => sha256 == whole.sha256 && upload.size_bytes == Some(whole.bytes),
            None => upload.offset <= whole.bytes,
        };
        if !same {
            end(self.client, upload.upload_id).await?;
            return Ok(None);
        }
        let offset = if upload.finished { whole.bytes } else { upload.offset };
        Ok(Some(Begun { path: format!("uploads/{}", upload.upload_id), offset, is_open }))
    }

    /// Says where the file ends. The vault compares all of it with its hash.
    async fn close(&self, path: &str, whole: Whole) -> Result<Delivery, StoreError> {
        let ask = || async {
            let request = self.client.request(Method::PATCH, path).map_err(Failure::from)?;
            let request = request.header("Upload-Offset", whole.bytes).header("Upload-Length", whole.bytes);
            let request = request.header(CONTENT_TYPE, OFFSET_STREAM).header(CONTENT_LENGTH, 0);
            self.client.ask(&self.doing, request.header(FILE_SHA256, whole.sha256.to_string())).await
        };
        let (patience, mut done) = (Patience::new(), 0);
        loop {
            match ask().await {
                Ok(_) => return Ok(Delivery::Done),
                Err(Failure::Refused(refusal)) if refusal.is_busy() && patience.is_left() => refusal.pause().await,
                Err(failure) => match failure.code() {
                    "UPLOAD_GONE" | "UPLOAD_NOT_FOUND" | "UPLOAD_DAMAGED" | "OFFSET_MISMATCH" => {
                        return Ok(Delivery::Lost(failure.told(&self.doing)));
                    }
                    _ => {
                        done += 1;
                        pause(self.client.limits.attempts, done, failure.told(&self.doing)).await?;
                    }
                },
            }
        }
    }

    /// Sends what is missing, up to where the file ends, or the source does.
    async fn rest(&self, begun: &Begun, size: Option<u64>, sent: &mut u64) -> Result<Delivery, StoreError> {
        let mut offset = begun.offset;
        if size == Some(offset) {
            return Ok(Delivery::Done);
        }
        let mut reading = Reading { stream: self.source.open_at(offset).await?.fuse().boxed(), rest: Bytes::new() };
        let mut piece = self.piece(&mut reading).await?;
        while !piece.bytes.is_empty() {
            let (delivered, next) = tokio::join!(self.deliver(&begun.path, offset, &piece), self.piece(&mut reading));
            if let Delivery::Lost(error) = delivered? {
                return Ok(Delivery::Lost(error));
            }
            offset += piece.bytes.len() as u64;
            *sent += piece.bytes.len() as u64;
            self.meter.reached(offset);
            piece = next?;
        }
        match size {
            Some(size) if size != offset => Err(crate::endpoints::source::wrong_length(size, offset)),
            _ => Ok(Delivery::Done),
        }
    }

    /// The next piece with its hash; an empty one at the end.
    async fn piece(&self, reading: &mut Reading) -> Result<Piece, StoreError> {
        let bytes = reading.piece().await?;
        let hashed = bytes.clone();
        let digest = tokio::task::spawn_blocking(move || Sha256::digest(&hashed)).await;
        let digest = digest.map_err(|_| StoreError::new(ErrorKind::Fatal, &*self.doing, "its hash broke down"))?;
        Ok(Piece { bytes, checksum: PartChecksum::Sha256(digest.into()).to_header() })
    }

    /// Brings one piece there, as often as that may be tried.
    async fn deliver(&self, path: &str, offset: u64, piece: &Piece) -> Result<Delivery, StoreError> {
        let Piece { bytes: piece, checksum } = piece;
        let (patience, mut done) = (Patience::new(), 0);
        loop {
            match self.patch(path, offset, piece, checksum).await {
                Ok(()) => return Ok(Delivery::Done),
                Err(Failure::Refused(refusal)) if refusal.is_busy() && patience.is_left() => {
                    refusal.pause().await;
                    self.wait_until_free(path, offset, &patience).await;
                }
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

    /// Asks with nothing at all whether the vault still waits for what an earlier connection was bringing: a piece is too large to ask with.
    async fn wait_until_free(&self, path: &str, offset: u64, patience: &Patience) {
        let nothing = PartChecksum::Sha256(Sha256::digest([]).into()).to_header();
        while let Err(Failure::Refused(refusal)) = self.patch(path, offset, &Bytes::new(), &nothing).await {
            if !refusal.is_busy() || !patience.is_left() {
                return;
            }
            refusal.pause().await;
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

/// A piece and its hash as the vault is told it.
struct Piece {
    bytes: Bytes,
    checksum: String,
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
    let patience = Patience::new();
    loop {
        match client.tell(doing, Method::DELETE, &format!("uploads/{upload_id}")).await {
            Ok(()) => return Ok(()),
            // A connection that is gone may not have been noticed there yet.
            Err(Failure::Refused(refusal)) if refusal.is_busy() && patience.is_left() => refusal.pause().await,
            Err(failure) if matches!(failure.code(), "UPLOAD_GONE" | "UPLOAD_NOT_FOUND") => return Ok(()),
            Err(failure) => return Err(failure.told(doing)),
        }
    }
}

/// The path of an upload that the vault names, which must be one.
fn path(location: &str) -> Result<String, StoreError> {
    let id = location.rsplit_once("/uploads/").and_then(|(_, id)| Uuid::parse_str(id).ok());
    let wrong = || StoreError::new(ErrorKind::Fatal, "begin an upload", "the answer is no vault's");
    id.map(|id| format!("uploads/{id}")).ok_or_else(wrong)
}
