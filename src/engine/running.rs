//! What a start has begun, and how it ends.
//!
//! The end is the same whether somebody waits for it or every handle was dropped: it happens on a thread of its own, in this order, and
//! whoever waits only waits. The home is given back last, so no two engines ever work on one.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_log::DurableLog;
use holdfast_log::owner::Owner;
use holdfast_model::codec::Origin;
use tokio::sync::oneshot;

use super::control_plane::ControlPlane;
use super::drive::Drivers;
use super::ledger;
use super::restoring::Restorer;
use super::uploads::Uploader;

/// What ends with the engine.
pub(super) struct Parts {
    pub(super) control_plane: ControlPlane,
    pub(super) drivers: Drivers,
    pub(super) restorer: Restorer,
    pub(super) uploader: Uploader,
    pub(super) log: Arc<DurableLog>,
    pub(super) owner: Arc<Owner>,
    /// Who the end is recorded for; nobody where the process did not go on with runs.
    pub(super) origin: Option<Origin>,
}

/// An engine at work; ends when it is dropped.
pub(super) struct Running {
    parts: Option<Parts>,
}

impl Running {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts: Some(parts) }
    }

    /// Ends it, and waits for that.
    pub(super) async fn end(mut self) {
        if let Some(parts) = self.parts.take() {
            let _ = parts.end().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            drop(parts.end());
        }
    }
}

impl Parts {
    /// Begins the end; the answer comes when the home is given back.
    fn end(self) -> oneshot::Receiver<()> {
        let (ended, wait) = oneshot::channel();
        let parts = Arc::new(Mutex::new(Some((self, ended))));
        let end = move || {
            let parts = parts.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((parts, ended)) = parts {
                parts.end_now();
                let _ = ended.send(());
            }
        };
        // Where there is no thread for it, it ends here: the home must not be given back while the actors are at work.
        if std::thread::Builder::new().name("holdfast-end".into()).spawn(end.clone()).is_err() {
            end();
        }
        wait
    }

    /// The actors first: what is stopped here is to be found open by the next start, not recorded as failed.
    fn end_now(self) {
        let Self { control_plane, drivers, restorer, uploader, log, owner, origin } = self;
        // The data plane may be gone already, so its timers are not relied on.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        // While there is somebody to record it: who is not known to have been let go is let go again by the next start.
        if let Ok(runtime) = &runtime {
            runtime.block_on(drivers.thaws_ended());
        }
        control_plane.stop();
        // After that nobody records that they were.
        uploader.end();
        let left_open = drivers.has_open_runs();
        match runtime {
            Ok(runtime) => {
                for participant in runtime.block_on(drivers.stop_all()) {
                    tracing::error!(%participant, "it was told to stop and has not returned");
                }
                if let Err(error) = runtime.block_on(ledger::record_thaws(&log, drivers.thawed(), origin.as_ref())) {
                    tracing::warn!(%error, "that participants were let go cannot be recorded: the next start does it again");
                }
                // Without it the next start takes the open runs for those of a process that died.
                if let Some(origin) = origin.filter(|_| left_open)
                    && let Err(error) = runtime.block_on(ledger::record_stop(&log, &origin))
                {
                    tracing::warn!(%error, "that runs were left open in good order cannot be recorded");
                }
            }
            Err(error) => tracing::error!(%error, "the participants' code is not waited for"),
        }
        // Who stands still for a restore goes on; the next start settles the restore.
        restorer.let_go();
        log.close();
        drop(owner);
    }
}
