//! The thread of the actors.

use std::thread::JoinHandle;

use actix::Addr;
use holdfast_actors::participant::LiveCounts;
use holdfast_actors::ports::World;
use holdfast_actors::root::{Root, Shutdown};
use holdfast_model::codec::Origin;

use super::error::EngineError;

/// How many runs are worked on at a time.
const MAX_RUNS: usize = 1;

/// The actors and their thread.
pub(super) struct ControlPlane {
    root: Addr<Root>,
    thread: JoinHandle<()>,
}

impl ControlPlane {
    pub(super) fn start(world: World, live: LiveCounts, origin: Origin) -> Result<Self, EngineError> {
        let (send, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("control-plane".into())
            .spawn(move || {
                let system = actix::System::new();
                let root = system.block_on(async move { Root::start(world, live, MAX_RUNS, origin) });
                if send.send(root).is_ok() {
                    let _ = system.run();
                }
            })
            .map_err(|error| EngineError::Thread(error.to_string()))?;
        let root = started.recv().map_err(|_| EngineError::Thread("the actors did not start".into()))?;
        Ok(Self { root, thread })
    }

    pub(super) fn root(&self) -> &Addr<Root> {
        &self.root
    }

    /// Ends the actors and waits until their thread has.
    pub(super) fn stop(self) {
        self.root.do_send(Shutdown);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the actors panicked");
        }
    }
}
