//! Uploads: begun, added to, finished, ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_actors::ports::Clock;
use holdfast_log::space;
use holdfast_model::aggregate::Aggregate;
use holdfast_model::ids::{ArtifactName, RunId, Sha256};
use holdfast_model::vault::{
    NewUpload, OpenUpload, Permission, Upload, UploadEnd, UploadLimits, VaultClient, VaultClientCommand,
    VaultClientRefusal, VaultUploadClosedV1, VaultUploadCreatedV1, VaultUploadOpenedV1,
};
use sha2::Digest;
use tokio::sync::mpsc::{Sender, channel};
use uuid::Uuid;

use super::Vault;
use super::commit::MAX_LIST;
use super::error::{Problem, VaultError};
use super::receive::{self, Piece, Taking};
use super::visitor::Visitor;
use super::wire::{PartChecksum, UploadMetadata, VaultUpload};
use crate::engine::SystemClock;
use crate::pipeline::hash_file;
use crate::storage::{MANIFEST, SUMS};

/// What this process knows of an upload beside what is recorded.
pub(super) struct Active {
    /// Bytes that are synced.
    offset: AtomicU64,
    /// Where the bytes end that room was claimed for, of an upload whose end is not known.
    claimed: AtomicU64,
    /// The hash of them, for the one request that may add to them.
    hash: Arc<tokio::sync::Mutex<Option<sha2::Sha256>>>,
}

impl Active {
    fn new(offset: u64) -> Arc<Self> {
        let hash = (offset == 0).then(sha2::Sha256::new);
        Arc::new(Self {
            offset: AtomicU64::new(offset),
            claimed: AtomicU64::new(offset),
            hash: Arc::new(tokio::sync::Mutex::new(hash)),
        })
    }
}

/// What a request says of the bytes it brings.
pub(super) struct Part {
    /// Where they go.
    pub(super) offset: u64,
    /// How many they are.
    pub(super) length: Option<u64>,
    pub(super) checksum: Option<PartChecksum>,
    /// Where the file ends, said with its last bytes.
    pub(super) end: Option<End>,
}

/// The end of a file that was not known when its upload was begun.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) size_bytes: u64,
    /// The hash of all of it, where the client says that.
    pub(super) sha256: Option<Sha256>,
}

/// A request whose bytes are being taken. Pieces go in, what became of them comes out.
pub(super) struct Appending {
    pub(super) pieces: Sender<Piece>,
    pub(super) done: tokio::task::JoinHandle<Result<u64, Problem>>,
}

impl Vault {
    /// Begins an upload. One of nothing is finished at once.
    pub(super) async fn create_upload(
        self: &Arc<Self>,
        visitor: &Visitor,
        metadata: UploadMetadata,
        size_bytes: u64,
    ) -> Result<Uuid, Problem> {
        visitor.may(Permission::Append)?;
        let Some(sha256) = metadata.sha256 else {
            let text = "Upload-Metadata needs sha256, the SHA-256 of the file";
            return Err(Problem::new(400, "INVALID_DATA", text));
        };
        let most = self.most(&metadata.filename);
        if size_bytes > most {
            return Err(Problem::new(413, "UPLOAD_TOO_LARGE", format!("at most {most} bytes are taken")));
        }
        self.slots.begin(visitor.server_id, &self.limits)?;
        let upload_id = SystemClock.new_id();
        let made = VaultUploadCreatedV1 {
            upload_id,
            run_id: metadata.run_id,
            file: metadata.filename,
            size_bytes,
            sha256,
            token_id: visitor.token_id,
        };
        // What others have whose end is not known is promised to nobody, and there all the same.
        let claimed = self.claimed(visitor.server_id, None).await?;
        let quota_bytes = visitor.quota_bytes.map(|quota| quota.saturating_sub(claimed));
        let limits = UploadLimits { uploads: self.limits.uploads, quota_bytes };
        let wish = VaultClientCommand::CreateUpload(NewUpload { made, limits });
        self.begin(visitor, upload_id, size_bytes, wish, size_bytes == 0).await
    }

    /// Begins an upload whose end is not known. Its bytes are counted as they come.
    pub(super) async fn open_upload(
        self: &Arc<Self>,
        visitor: &Visitor,
        metadata: UploadMetadata,
    ) -> Result<Uuid, Problem> {
        visitor.may(Permission::Append)?;
        self.slots.begin(visitor.server_id, &self.limits)?;
        let upload_id = SystemClock.new_id();
        let UploadMetadata { run_id, filename: file, .. } = metadata;
        let made = VaultUploadOpenedV1 { upload_id, run_id, file, token_id: visitor.token_id };
        let limits = UploadLimits { uploads: self.limits.uploads, quota_bytes: visitor.quota_bytes };
        let wish = VaultClientCommand::OpenUpload(OpenUpload { made, limits });
        self.begin(visitor, upload_id, 0, wish, false).await
    }

    /// Most bytes of a file.
    fn most(&self, file: &ArtifactName) -> u64 {
        match [MANIFEST, SUMS].contains(&file.as_str()) {
            true => MAX_LIST.min(self.limits.upload_bytes),
            false => self.limits.upload_bytes,
        }
    }

    async fn begin(
        self: &Arc<Self>,
        visitor: &Visitor,
        upload_id: Uuid,
        size_bytes: u64,
        wish: VaultClientCommand,
        is_whole: bool,
    ) -> Result<Uuid, Problem> {
        let (vault, visitor) = (self.clone(), visitor.clone());
        self.to_the_end(async move {
            // One at a time, so that no two count on the same room. What is refused touches nothing.
            let _one_at_a_time = vault.creating.lock().await;
            vault.book.client(visitor.server_id, |client| client.decide(wish.clone(), SystemClock.now()))?;
            let (server_id, of) = (visitor.server_id, vault.clone());
            vault
                .blocking(move || {
                    of.need_room(size_bytes)?;
                    of.place(server_id).make_upload(upload_id)
                })
                .await??;
            if let Err(error) = vault.book.tell_client(server_id, &visitor.principal(), wish).await {
                let of = vault.clone();
                vault.blocking(move || of.place(server_id).remove_upload(upload_id)).await??;
                return Err(error.into());
            }
            vault.active().insert(upload_id, Active::new(0));
            if is_whole {
                vault.finish(&visitor, upload_id, Some(sha2::Sha256::new())).await?;
            }
            Ok(upload_id)
        })
        .await
    }

    /// Refuses what there is no room for, with what others were promised. Blocks.
    fn need_room(&self, size_bytes: u64) -> Result<(), VaultError> {
        let failed = |source| VaultError::io("look at", &self.root)(source);
        let mut promised = 0u64;
        for server_id in self.book.clients() {
            let open: Vec<_> = self.book.client(server_id, |client| {
                let open = client.uploads().filter(|(_, up)| !up.finished);
                open.filter_map(|(id, up)| Some((id, up.size_bytes()?))).collect()
            });
            let place = self.place(server_id);
            for (upload_id, size) in open {
                let there = place.measure(upload_id).map_or(0, |(length, _)| length);
                promised = promised.saturating_add(size.saturating_sub(there));
            }
        }
        let needed = promised.saturating_add(size_bytes).saturating_add(self.reserve().map_err(failed)?);
        if space::free(&self.root).map_err(failed)? < needed {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(VaultError::io("take more into", &self.root)(full));
        }
        Ok(())
    }

    /// An upload of the visitor's client, as it is recorded.
    pub(super) fn upload(&self, visitor: &Visitor, upload_id: Uuid) -> Result<Upload, Problem> {
        self.book.client(visitor.server_id, |client| match client.upload(upload_id) {
            Some(upload) => Ok(upload.clone()),
            None if client.is_gone(upload_id) => Err(VaultClientRefusal::UploadGone.into()),
            None => Err(VaultClientRefusal::UploadNotFound.into()),
        })
    }

    fn activity(&self, server_id: Uuid, upload_id: Uuid) -> Result<Arc<Active>, VaultError> {
        if let Some(active) = self.active().get(&upload_id) {
            return Ok(active.clone());
        }
        let (length, _) = self.place(server_id).measure(upload_id)?;
        Ok(self.active().entry(upload_id).or_insert_with(|| Active::new(length)).clone())
    }

    /// How much of an upload is there for certain.
    pub(super) async fn offset(self: &Arc<Self>, visitor: &Visitor, upload_id: Uuid) -> Result<(u64, Upload), Problem> {
        let upload = self.upload(visitor, upload_id)?;
        if let Some(size) = upload.size_bytes().filter(|_| upload.finished) {
            return Ok((size, upload));
        }
        let (vault, server_id) = (self.clone(), visitor.server_id);
        let active = self.blocking(move || vault.activity(server_id, upload_id)).await??;
        Ok((active.offset.load(Ordering::Acquire), upload))
    }

    /// The open uploads of the visitor's client, of one run or of all.
    pub(super) async fn uploads(
        self: &Arc<Self>,
        visitor: &Visitor,
        run_id: Option<RunId>,
    ) -> Result<Vec<VaultUpload>, Problem> {
        let open: Vec<_> = self.book.client(visitor.server_id, |client| {
            let wanted = |upload: &Upload| run_id.is_none_or(|run_id| upload.run_id == run_id);
            client.uploads().filter(|(_, up)| wanted(up)).map(|(id, up)| (id, up.clone())).collect()
        });
        let mut rows = Vec::new();
        for (upload_id, upload) in open {
            // One that has ended meanwhile is not open any more.
            let Ok((offset, _)) = self.offset(visitor, upload_id).await else { continue };
            let (size_bytes, sha256) = (upload.size_bytes(), upload.sha256());
            let Upload { run_id, file: filename, finished, .. } = upload;
            rows.push(VaultUpload { upload_id, run_id, filename, sha256, size_bytes, offset, finished });
        }
        Ok(rows)
    }

    /// Begins to take bytes for an upload. They are taken to their end whatever becomes of whoever sends them.
    pub(super) async fn append(
        self: &Arc<Self>,
        visitor: &Visitor,
        upload_id: Uuid,
        part: &Part,
    ) -> Result<Appending, Problem> {
        let Part { offset, length, ref checksum, end } = *part;
        visitor.may(Permission::Append)?;
        let upload = self.upload(visitor, upload_id)?;
        if self.book.client(visitor.server_id, |client| client.is_committing(upload.run_id)) {
            return Err(VaultClientRefusal::RunCommitting(upload.run_id).into());
        }
        let slot = self.slots.receive(visitor.server_id, &self.limits)?;
        let (vault, server_id) = (self.clone(), visitor.server_id);
        let active = self.blocking(move || vault.activity(server_id, upload_id)).await??;
        let Ok(mut hash) = active.hash.clone().try_lock_owned() else {
            let text = "another request adds to this upload: wait for its end, and ask for the offset again";
            return Err(Problem::new(423, "UPLOAD_BUSY", text));
        };
        let there = active.offset.load(Ordering::Acquire);
        if offset != there {
            let text = format!("the upload is at {there}, not at {offset}: go on from there");
            return Err(Problem::new(409, "OFFSET_MISMATCH", text));
        }
        let size = upload.size_bytes().unwrap_or_else(|| self.most(&upload.file));
        if length.is_some_and(|length| offset.saturating_add(length) > size) {
            let text = "more bytes are announced than the upload is long: send the rest of it only";
            return Err(Problem::new(413, "UPLOAD_TOO_LONG", text));
        }
        let end = end.filter(|_| upload.said.is_none());
        if upload.said.is_none() {
            self.claim(visitor, upload_id, &active, part).await?;
        }
        let (vault, checksum) = (self.clone(), checksum.clone());
        let (file, reserve) = self
            .blocking(move || {
                let failed = |source| VaultError::io("look at", &vault.root)(source);
                let reserve = vault.reserve().map_err(failed)?;
                let missing = size.saturating_sub(offset).min(length.unwrap_or(0));
                if space::free(&vault.root).map_err(failed)? < reserve.saturating_add(missing) {
                    return Ok(Err(Problem::no_space()));
                }
                vault.place(server_id).open_upload(upload_id).map(|file| Ok((file, reserve)))
            })
            .await???;
        let (pieces, coming) = channel(receive::WAITING);
        let (vault, visitor) = (self.clone(), visitor.clone());
        let done = self.runtime.spawn(async move {
            let _slot = slot;
            let taking = Taking { file, offset, size, hash: hash.take(), checksum, reserve };
            let taken = match vault.blocking(move || receive::take(taking, coming)).await? {
                Ok(taken) => taken,
                Err(source) => {
                    // What is there now is measured by whoever asks next.
                    vault.active().remove(&upload_id);
                    return Err(VaultError::io("write", &vault.place(server_id).data(upload_id))(source).into());
                }
            };
            hash.clone_from(&taken.hash);
            active.offset.store(taken.offset, Ordering::Release);
            active.claimed.store(taken.offset, Ordering::Release);
            match end {
                Some(end) if taken.problem.is_none() => {
                    vault.close_upload(&visitor, upload_id, end, taken.hash).await?;
                }
                None if upload.size_bytes() == Some(taken.offset) && !upload.finished => {
                    vault.finish(&visitor, upload_id, taken.hash).await?;
                }
                _ => {}
            }
            taken.problem.map_or(Ok(taken.offset), Err)
        });
        Ok(Appending { pieces, done })
    }

    /// Sees that there is room for bytes that nobody was promised, and that they end where the client says that the file does.
    async fn claim(
        self: &Arc<Self>,
        visitor: &Visitor,
        upload_id: Uuid,
        active: &Active,
        part: &Part,
    ) -> Result<(), Problem> {
        let Some(length) = part.length else {
            let text = "the header Content-Length is needed while the end of the upload is not known";
            return Err(Problem::new(411, "LENGTH_NEEDED", text));
        };
        let until = part.offset.saturating_add(length);
        if part.end.is_some_and(|end| end.size_bytes != until) {
            let text = format!("Upload-Length is said with the last bytes, and these end at {until}");
            return Err(Problem::new(400, "INVALID_DATA", text));
        }
        // One at a time, so that no two count on the same room.
        let _one_at_a_time = self.creating.lock().await;
        if let Some(quota) = visitor.quota_bytes.filter(|_| length > 0) {
            let known = |client: &VaultClient| client.stored_bytes().saturating_add(client.promised_bytes());
            let held = self.book.client(visitor.server_id, known);
            let claimed = self.claimed(visitor.server_id, Some(upload_id)).await?;
            let held = held.saturating_add(claimed).saturating_add(part.offset);
            if held.saturating_add(length) > quota {
                return Err(VaultClientRefusal::QuotaExceeded { held, asked: length, quota }.into());
            }
        }
        active.claimed.store(until, Ordering::Release);
        Ok(())
    }

    /// Bytes that uploads have, or are taking, whose end is not known; all but one of them.
    async fn claimed(self: &Arc<Self>, server_id: Uuid, but: Option<Uuid>) -> Result<u64, Problem> {
        let uploads: Vec<_> = self.book.client(server_id, |client| {
            let open = client.uploads().filter(|(id, upload)| upload.said.is_none() && Some(*id) != but);
            open.map(|(id, _)| id).collect()
        });
        if uploads.is_empty() {
            return Ok(0);
        }
        let vault = self.clone();
        let sum = move || {
            let of = |id| vault.activity(server_id, id).map_or(0, |active| active.claimed.load(Ordering::Acquire));
            uploads.into_iter().map(of).fold(0, u64::saturating_add)
        };
        Ok(self.blocking(sum).await?)
    }

    /// The hash of the bytes of an upload: as they were taken, or read again where this process has not seen all of them.
    async fn hash_of(
        self: &Arc<Self>,
        server_id: Uuid,
        upload_id: Uuid,
        size_bytes: u64,
        hash: Option<sha2::Sha256>,
    ) -> Result<Sha256, Problem> {
        if let Some(hash) = hash {
            return Ok(Sha256(hash.finalize().into()));
        }
        let place = self.place(server_id);
        let hash = move || {
            let file = place.open_upload(upload_id)?;
            let failed = VaultError::io("read", &place.data(upload_id));
            hash_file(&file, size_bytes, &mut |_| {}).map_err(failed)
        };
        Ok(self.blocking(hash).await??)
    }

    /// Records where a file ended, unless it has another hash than its client says: that ends the upload.
    async fn close_upload(
        self: &Arc<Self>,
        visitor: &Visitor,
        upload_id: Uuid,
        end: End,
        hash: Option<sha2::Sha256>,
    ) -> Result<(), Problem> {
        let (by, server_id, size_bytes) = (visitor.principal(), visitor.server_id, end.size_bytes);
        let sha256 = self.hash_of(server_id, upload_id, size_bytes, hash).await?;
        if end.sha256.is_some_and(|said| said != sha256) {
            return self.damaged(server_id, &by, upload_id, sha256).await;
        }
        let closed = VaultUploadClosedV1 { upload_id, size_bytes, sha256 };
        self.book.tell_client(server_id, &by, VaultClientCommand::CloseUpload(closed)).await?;
        Ok(())
    }

    async fn damaged(
        self: &Arc<Self>,
        server_id: Uuid,
        by: &str,
        upload_id: Uuid,
        found: Sha256,
    ) -> Result<(), Problem> {
        self.end_upload(server_id, by, upload_id, UploadEnd::Damaged).await?;
        let text = format!("what came has the SHA-256 {found}, not the one that was said: begin the upload anew");
        Err(Problem::new(460, "UPLOAD_DAMAGED", text))
    }

    /// Compares the hash of an upload that is whole, which ends it one way or the other.
    async fn finish(
        self: &Arc<Self>,
        visitor: &Visitor,
        upload_id: Uuid,
        hash: Option<sha2::Sha256>,
    ) -> Result<(), Problem> {
        let upload = self.upload(visitor, upload_id)?;
        let (by, server_id) = (visitor.principal(), visitor.server_id);
        let Some(said) = upload.said else { return Ok(()) };
        let found = self.hash_of(server_id, upload_id, said.size_bytes, hash).await?;
        if found != said.sha256 {
            return self.damaged(server_id, &by, upload_id, found).await;
        }
        self.book.tell_client(server_id, &by, VaultClientCommand::FinishUpload(upload_id)).await?;
        Ok(())
    }

    /// Finishes those uploads of a run that are whole, and were not looked at because the process ended just then.
    pub(super) async fn finish_whole(self: &Arc<Self>, visitor: &Visitor, run_id: RunId) -> Result<(), Problem> {
        let open: Vec<_> = self.book.client(visitor.server_id, |client| {
            let open = client.uploads_of(run_id).filter(|(_, up)| !up.finished);
            open.filter_map(|(id, up)| Some((id, up.size_bytes()?))).collect()
        });
        for (upload_id, size) in open {
            let (vault, server_id) = (self.clone(), visitor.server_id);
            let active = self.blocking(move || vault.activity(server_id, upload_id)).await??;
            if active.offset.load(Ordering::Acquire) == size
                && let Ok(mut hash) = active.hash.clone().try_lock_owned()
            {
                self.finish(visitor, upload_id, hash.take()).await?;
            }
        }
        Ok(())
    }

    /// Ends an upload that its client takes back.
    pub(super) async fn terminate(self: &Arc<Self>, visitor: &Visitor, upload_id: Uuid) -> Result<(), Problem> {
        visitor.may(Permission::Append)?;
        self.upload(visitor, upload_id)?;
        let (vault, visitor) = (self.clone(), visitor.clone());
        self.to_the_end(async move {
            let (of, server_id) = (vault.clone(), visitor.server_id);
            let active = vault.blocking(move || of.activity(server_id, upload_id)).await??;
            let Ok(_alone) = active.hash.clone().try_lock_owned() else {
                let text = "a request adds to this upload: wait for its end";
                return Err(Problem::new(423, "UPLOAD_BUSY", text));
            };
            Ok(vault.end_upload(server_id, &visitor.principal(), upload_id, UploadEnd::Terminated).await?)
        })
        .await
    }

    /// Records that an upload ended, and deletes what came of it.
    pub(super) async fn end_upload(
        self: &Arc<Self>,
        server_id: Uuid,
        by: &str,
        upload_id: Uuid,
        end: UploadEnd,
    ) -> Result<(), VaultError> {
        self.book.tell_client(server_id, by, VaultClientCommand::RemoveUpload(upload_id, end)).await?;
        self.active().remove(&upload_id);
        let place = self.place(server_id);
        self.blocking(move || place.remove_upload(upload_id)).await?
    }

    /// Whether bytes come for an upload now.
    pub(super) fn is_busy(&self, upload_id: Uuid) -> bool {
        self.active().get(&upload_id).is_some_and(|active| active.hash.try_lock().is_err())
    }

    /// When an upload's run is deleted if nothing more comes for it, in Unix seconds.
    pub(super) fn expires(&self) -> i64 {
        let after = i64::try_from(self.limits.expire_after.as_secs()).unwrap_or(i64::MAX);
        SystemClock.now().seconds().saturating_add(after)
    }
}
