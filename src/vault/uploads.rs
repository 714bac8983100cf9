//! Uploads: begun, added to, finished, ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_actors::ports::Clock;
use holdfast_log::space;
use holdfast_model::aggregate::Aggregate;
use holdfast_model::ids::{RunId, Sha256};
use holdfast_model::vault::{
    NewUpload, Permission, Upload, UploadEnd, UploadLimits, VaultClientCommand, VaultClientRefusal,
    VaultUploadCreatedV1,
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
    /// The hash of them, for the one request that may add to them.
    hash: Arc<tokio::sync::Mutex<Option<sha2::Sha256>>>,
}

impl Active {
    fn new(offset: u64) -> Arc<Self> {
        let hash = (offset == 0).then(sha2::Sha256::new);
        Arc::new(Self { offset: AtomicU64::new(offset), hash: Arc::new(tokio::sync::Mutex::new(hash)) })
    }
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
        let is_list = [MANIFEST, SUMS].contains(&metadata.filename.as_str());
        let most = if is_list { MAX_LIST.min(self.limits.upload_bytes) } else { self.limits.upload_bytes };
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
            sha256: metadata.sha256,
            token_id: visitor.token_id,
        };
        let limits = UploadLimits { uploads: self.limits.uploads, quota_bytes: visitor.quota_bytes };
        let wish = VaultClientCommand::CreateUpload(NewUpload { made, limits });
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
            if size_bytes == 0 {
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
                client.uploads().filter(|(_, up)| !up.finished).map(|(id, up)| (id, up.size_bytes)).collect()
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
        if upload.finished {
            return Ok((upload.size_bytes, upload));
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
            let Upload { run_id, file: filename, size_bytes, sha256, finished, .. } = upload;
            rows.push(VaultUpload { upload_id, run_id, filename, sha256, size_bytes, offset, finished });
        }
        Ok(rows)
    }

    /// Begins to take bytes for an upload. They are taken to their end whatever becomes of whoever sends them.
    pub(super) async fn append(
        self: &Arc<Self>,
        visitor: &Visitor,
        upload_id: Uuid,
        offset: u64,
        length: Option<u64>,
        checksum: Option<PartChecksum>,
    ) -> Result<Appending, Problem> {
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
        if length.is_some_and(|length| offset.saturating_add(length) > upload.size_bytes) {
            let text = "more bytes are announced than the upload is long: send the rest of it only";
            return Err(Problem::new(413, "UPLOAD_TOO_LONG", text));
        }
        let vault = self.clone();
        let size = upload.size_bytes;
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
            if taken.offset == size && !upload.finished {
                vault.finish(&visitor, upload_id, taken.hash).await?;
            }
            taken.problem.map_or(Ok(taken.offset), Err)
        });
        Ok(Appending { pieces, done })
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
        let found = match hash {
            Some(hash) => Sha256(hash.finalize().into()),
            None => {
                let place = self.place(server_id);
                let hash = move || {
                    let file = place.open_upload(upload_id)?;
                    let failed = VaultError::io("read", &place.data(upload_id));
                    hash_file(&file, upload.size_bytes, &mut |_| {}).map_err(failed)
                };
                self.blocking(hash).await??
            }
        };
        if found == upload.sha256 {
            self.book.tell_client(server_id, &by, VaultClientCommand::FinishUpload(upload_id)).await?;
            return Ok(());
        }
        self.end_upload(server_id, &by, upload_id, UploadEnd::Damaged).await?;
        let text = format!("what came has the SHA-256 {found}, not the one that was said: begin the upload anew");
        Err(Problem::new(460, "UPLOAD_DAMAGED", text))
    }

    /// Finishes those uploads of a run that are whole, and were not looked at because the process ended just then.
    pub(super) async fn finish_whole(self: &Arc<Self>, visitor: &Visitor, run_id: RunId) -> Result<(), Problem> {
        let open: Vec<_> = self.book.client(visitor.server_id, |client| {
            client.uploads_of(run_id).filter(|(_, up)| !up.finished).map(|(id, up)| (id, up.size_bytes)).collect()
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
