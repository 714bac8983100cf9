//! The far sides of endpoints, as they are configured.

use std::sync::Arc;

use holdfast_actors::event_sourced::CommandError;
use holdfast_actors::root::RootError;
use holdfast_model::endpoint::Endpoint;
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::Refusal;
use uuid::Uuid;

use super::{EngineError, Holdfast, RemoteError};
use crate::remote::{self, Remote, RemotePage};

impl Holdfast {
    /// The runs of an installation at an endpoint, a page of them, the newest first. Without a `server_id` it is this installation.
    ///
    /// # Errors
    /// [`RemoteError`] where there is no such endpoint, or it does not answer.
    pub async fn remote_runs(
        &self,
        endpoint: &EndpointName,
        server_id: Option<Uuid>,
        most: usize,
        cursor: &str,
    ) -> Result<RemotePage, RemoteError> {
        let remote = self.remote(endpoint, server_id).await?;
        Ok(remote.runs(most, cursor).await?)
    }

    /// Reads a run at an endpoint whole. Answers how many files and bytes that was.
    ///
    /// # Errors
    /// [`RemoteError`] where it is not there, cannot be read, or is not as it was published.
    pub async fn verify_remote(
        &self,
        endpoint: &EndpointName,
        server_id: Option<Uuid>,
        run_id: RunId,
    ) -> Result<(u64, u64), RemoteError> {
        let check = self.shared.remote_checks.begin(endpoint, run_id);
        let remote = self.remote(endpoint, server_id).await?;
        let head = match remote.run(run_id).await {
            Ok(head) => head,
            Err(error) => {
                let error = RemoteError::of(endpoint, run_id, error);
                if server_id.is_none() {
                    self.note_found(endpoint, run_id, &error).await?;
                }
                return Err(error);
            }
        };
        // What is known here of it is known better than what says so there.
        let of = self.server_id(server_id);
        if let Ok(known) = self.run(run_id).await
            && of == known.imported().map_or_else(|| self.server_id(None), |from| from.server_id)
            && known.sums_sha256().is_some_and(|sums| sums != head.row.sums_sha256)
        {
            if server_id.is_none() {
                self.note_altered(endpoint, run_id, Refusal::AnotherRun.to_string()).await?;
            }
            return Err(EngineError::from(RootError::Command(CommandError::Refused(Refusal::AnotherRun))).into());
        }
        let read = remote::verify(&*remote, run_id, &check.progress).await;
        if let Err(error) = read {
            let error = RemoteError::of_files(endpoint, run_id, error);
            if server_id.is_none() {
                self.note_found(endpoint, run_id, &error).await?;
            }
            return Err(error);
        }
        Ok((head.row.files.into(), head.row.stored_bytes))
    }

    /// The place of an installation's runs at an endpoint. Without a `server_id` it is this installation.
    pub(crate) async fn remote(
        &self,
        endpoint: &EndpointName,
        server_id: Option<Uuid>,
    ) -> Result<Arc<dyn Remote>, RemoteError> {
        let config = self.read(|known| known.endpoints.get(endpoint).and_then(Endpoint::config).cloned()).await?;
        let config = config.ok_or_else(|| RemoteError::NoEndpoint(endpoint.clone()))?;
        Ok(self.shared.uploader.open(&config, server_id, None).await?)
    }

    /// The installation that is meant: this one, where none is named.
    pub(crate) fn server_id(&self, named: Option<Uuid>) -> Uuid {
        named.unwrap_or_else(|| self.home().identity().server_id)
    }
}
