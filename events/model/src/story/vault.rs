//! What happens in a vault, as lines for people.

use crate::event::{VaultAccessEvent, VaultClientEvent};
use crate::figures::{counted, size};
use crate::vault::UploadEnd;

use super::{Level, Told};

pub(super) fn access(event: &VaultAccessEvent, by: &str) -> Told {
    let text = match event {
        VaultAccessEvent::TokenAdded(token) => {
            let quota = token.quota_bytes.map(|quota| format!(", for at most {}", size(quota))).unwrap_or_default();
            let client = token.server_id.map(|id| format!(", for installation {id}")).unwrap_or_default();
            format!(
                "vault token {} with the permission {} was made by {by}{client}{quota}",
                token.name, token.permission
            )
        }
        VaultAccessEvent::ClientBound(bound) => {
            format!("vault token {} belongs to installation {} from now on", bound.token_id, bound.server_id)
        }
        VaultAccessEvent::TokenRevoked(revoked) => format!("vault token {} was revoked by {by}", revoked.token_id),
    };
    (Level::Info, text)
}

pub(super) fn client(event: &VaultClientEvent, by: &str) -> Told {
    match event {
        VaultClientEvent::UploadCreated(made) => {
            let text = format!(
                "{by} began to bring {} of run {}, {} (upload {})",
                made.file,
                made.run_id,
                size(made.size_bytes),
                made.upload_id
            );
            (Level::Debug, text)
        }
        VaultClientEvent::UploadOpened(made) => {
            let (file, run_id, upload_id) = (&made.file, made.run_id, made.upload_id);
            let text = format!("{by} began to bring {file} of run {run_id} while it is written (upload {upload_id})");
            (Level::Debug, text)
        }
        VaultClientEvent::UploadClosed(closed) => {
            (Level::Debug, format!("upload {} is whole: {}", closed.upload_id, size(closed.size_bytes)))
        }
        VaultClientEvent::UploadFinished(finished) => {
            (Level::Debug, format!("upload {} is whole, and has its hash", finished.upload_id))
        }
        VaultClientEvent::UploadRemoved(removed) => {
            let upload_id = removed.upload_id;
            match removed.end {
                UploadEnd::Terminated => (Level::Info, format!("upload {upload_id} was taken back by {by}")),
                UploadEnd::Expired => {
                    (Level::Info, format!("upload {upload_id} was deleted: nothing came for its run for too long"))
                }
                UploadEnd::Damaged => {
                    let text = format!("upload {upload_id} was deleted: what came has another hash than {by} said");
                    (Level::Warning, text)
                }
                UploadEnd::Lost => {
                    (Level::Warning, format!("upload {upload_id} was given up: it is not on the disk any more"))
                }
            }
        }
        VaultClientEvent::RunCommitRequested(wish) => {
            let text = format!(
                "run {} came as a whole, and is to be put into its place: {}, {}",
                wish.run_id,
                counted(u64::from(wish.files), "file"),
                size(wish.stored_bytes)
            );
            (Level::Info, text)
        }
        VaultClientEvent::RunCommitted(committed) => (Level::Info, format!("run {} is in the vault", committed.run_id)),
        VaultClientEvent::RunDeleteRequested(wish) => {
            (Level::Info, format!("run {} is to be deleted from the vault, said {by}", wish.run_id))
        }
        VaultClientEvent::RunDeleted(deleted) => {
            (Level::Info, format!("run {} is not in the vault any more", deleted.run_id))
        }
    }
}
