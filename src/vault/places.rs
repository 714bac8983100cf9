//! The folders of a vault.
//!
//! ```text
//! state/                                  the vault's own log, identity and lock
//! tls/cert.pem, tls/key.pem               its certificate
//! <server id>/runs/<run id>/…             committed runs of one client
//! <server id>/uploads/<upload id>/data    files on their way
//! <server id>/committing/<run id>/…       a run between its promise and its place
//! <server id>/deleting/<run id>/…         what is deleted, to be unlinked
//! ```
//!
//! A run comes into `runs/` by one rename that replaces nothing, once each file of it is synced and its manifest has joined the others as the
//! last; both folders are synced before it is taken for done. Names come from typed ones only, so that no path leads out of its folder.
//! Everything here blocks.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_log::{durable, fault};
use holdfast_model::ids::{ArtifactName, RunId};
use rustix::fs::OFlags;
use uuid::Uuid;

use super::error::VaultError;
use crate::storage::MANIFEST;

/// The folder of the vault's own state.
pub(super) const STATE: &str = "state";
/// The folder of its certificate.
pub(super) const TLS: &str = "tls";
const FOLDERS: [&str; 4] = ["runs", "uploads", "committing", "deleting"];

/// The folders of one client.
#[derive(Debug, Clone)]
pub(super) struct ClientPlace {
    root: PathBuf,
}

impl ClientPlace {
    /// Of a client in the vault at `vault`. Touches nothing.
    pub(super) fn of(vault: &Path, server_id: Uuid) -> Self {
        Self { root: vault.join(server_id.to_string()) }
    }

    /// Makes the folders that are not there.
    pub(super) fn make(&self) -> Result<(), VaultError> {
        for folder in [self.root.clone()].into_iter().chain(FOLDERS.map(|name| self.root.join(name))) {
            if !folder.is_dir() {
                durable::make_dir(&folder, 0o700).map_err(VaultError::io("make", &folder))?;
            }
        }
        Ok(())
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A run's directory.
    pub(super) fn run(&self, run_id: RunId) -> PathBuf {
        self.folder("runs").join(run_id.to_string())
    }

    /// The bytes of an upload.
    pub(super) fn data(&self, upload_id: Uuid) -> PathBuf {
        self.upload(upload_id).join("data")
    }

    fn upload(&self, upload_id: Uuid) -> PathBuf {
        self.folder("uploads").join(upload_id.to_string())
    }

    /// Makes an upload without bytes.
    pub(super) fn make_upload(&self, upload_id: Uuid) -> Result<(), VaultError> {
        self.make()?;
        let (folder, data) = (self.upload(upload_id), self.data(upload_id));
        durable::make_dir(&folder, 0o700).map_err(VaultError::io("make", &folder))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&data);
        let file = file.map_err(VaultError::io("make", &data))?;
        durable::sync_file(&file).map_err(VaultError::io("sync", &data))?;
        durable::sync_dir(&folder).map_err(VaultError::io("sync", &folder))
    }

    /// Opens the bytes of an upload, to add to them.
    pub(super) fn open_upload(&self, upload_id: Uuid) -> Result<File, VaultError> {
        let data = self.data(upload_id);
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        options.open(&data).map_err(VaultError::io("open", &data))
    }

    /// How many bytes of an upload are there, and when one came last, in Unix microseconds.
    pub(super) fn measure(&self, upload_id: Uuid) -> Result<(u64, i64), VaultError> {
        let data = self.data(upload_id);
        let found = data.symlink_metadata().map_err(VaultError::io("look at", &data))?;
        let changed = found.modified().unwrap_or(SystemTime::UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((found.len(), i64::try_from(changed.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Deletes an upload.
    pub(super) fn remove_upload(&self, upload_id: Uuid) -> Result<(), VaultError> {
        let folder = self.upload(upload_id);
        remove(&folder).map_err(VaultError::io("delete", &folder))
    }

    /// Brings a promised run into its place, from wherever the attempt before came to. `uploads` are its files.
    pub(super) fn publish(&self, run_id: RunId, uploads: &[(Uuid, ArtifactName)]) -> Result<(), VaultError> {
        let to = self.run(run_id);
        let from = self.folder("committing").join(run_id.to_string());
        if !to.is_dir() {
            durable::make_dir(&from, 0o700).map_err(VaultError::io("make", &from))?;
            let is_manifest = |file: &ArtifactName| file.as_str() == MANIFEST;
            let (manifest, others): (Vec<_>, Vec<_>) = uploads.iter().partition(|(_, file)| is_manifest(file));
            for (upload_id, file) in others.into_iter().chain(manifest) {
                let (data, name) = (self.data(*upload_id), from.join(file.as_str()));
                match durable::rename_no_replace(&data, &name) {
                    // It went there before the last attempt ended.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && name.is_file() => {}
                    result => result.map_err(VaultError::io("move", &data))?,
                }
            }
            durable::sync_dir(&from).map_err(VaultError::io("sync", &from))?;
            fault::point("vault.publish.before");
            durable::rename_no_replace(&from, &to).map_err(VaultError::io("move", &from))?;
        }
        for folder in [self.folder("runs"), self.folder("committing")] {
            durable::sync_dir(&folder).map_err(VaultError::io("sync", &folder))?;
        }
        fault::point("vault.publish.after");
        Ok(())
    }

    /// Takes a run away, from wherever it is; from then on it is nowhere. Its bytes stay until [`ClientPlace::sweep_deleted`].
    pub(super) fn retire(&self, run_id: RunId) -> Result<(), VaultError> {
        let name = run_id.to_string();
        for place in ["runs", "committing"] {
            let (from, to) = (self.folder(place).join(&name), self.folder("deleting").join(&name));
            match durable::rename_no_replace(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(VaultError::io("move", &from))?,
            }
        }
        for place in ["deleting", "runs", "committing"] {
            let folder = self.folder(place);
            durable::sync_dir(&folder).map_err(VaultError::io("sync", &folder))?;
        }
        fault::point("vault.retire.after");
        Ok(())
    }

    /// Unlinks what was deleted.
    pub(super) fn sweep_deleted(&self) -> Result<(), VaultError> {
        let folder = self.folder("deleting");
        for name in names(&folder)? {
            let path = folder.join(name);
            remove(&path).map_err(VaultError::io("delete", &path))?;
        }
        Ok(())
    }

    /// Deletes the uploads that nobody knows: those `known` says no to.
    pub(super) fn sweep_uploads(&self, known: impl Fn(Uuid) -> bool) -> Result<(), VaultError> {
        let folder = self.folder("uploads");
        for name in names(&folder)? {
            if !Uuid::parse_str(&name).is_ok_and(&known) {
                let path = folder.join(name);
                remove(&path).map_err(VaultError::io("delete", &path))?;
            }
        }
        Ok(())
    }
}

/// The names in a folder; none where it is not there.
fn names(folder: &Path) -> Result<Vec<String>, VaultError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(VaultError::io("list", folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(VaultError::io("list", folder))?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Deletes a folder or a file; one that is not there is deleted already.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
