//! What those need of the handle who stand around the engine: the commands, the doors, the server.

use std::sync::{Arc, PoisonError, Weak};

use holdfast_model::codec::Origin;
use holdfast_model::ids::Timestamp;

use super::{EngineError, Holdfast, Shared, declared, plan, registry};
use crate::api::{Desk, Dispatcher};
use crate::config::Config;

/// A handle that does not keep the engine running.
#[derive(Clone)]
pub struct WeakHoldfast {
    shared: Weak<Shared>,
    origin: Origin,
}

impl WeakHoldfast {
    /// The handle, where the engine is still there.
    #[must_use]
    pub fn upgrade(&self) -> Option<Holdfast> {
        Some(Holdfast { shared: self.shared.upgrade()?, origin: self.origin.clone() })
    }
}

impl Holdfast {
    /// A handle that does not keep the engine running.
    #[must_use]
    pub fn downgrade(&self) -> WeakHoldfast {
        WeakHoldfast { shared: Arc::downgrade(&self.shared), origin: self.origin.clone() }
    }

    /// The commands, as other programs are offered them.
    #[must_use]
    pub fn dispatcher(&self) -> Dispatcher {
        Dispatcher::new(self.clone())
    }

    /// What the commands share.
    #[must_use]
    pub fn desk(&self) -> &Arc<Desk> {
        &self.shared.desk
    }

    /// What the clock says.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.world.clock.now()
    }

    /// Why nothing can be recorded any more, where that is so.
    #[must_use]
    pub fn is_lost(&self) -> Option<String> {
        self.shared.world.lost.borrow().clone()
    }

    /// Waits until nothing can be recorded any more, and says why. For ever where that does not happen.
    pub async fn until_lost(&self) -> String {
        match self.lost().wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes another configuration over, for runs from now on: participants, endpoints, compression, how runs go. Participants of the
    /// application stay, as do endpoints that were added by a command. What the process was started with, such as its workers, stays too.
    ///
    /// # Errors
    /// [`EngineError::ParticipantTwice`], or with the code `ENDPOINT_TAKEN` where an endpoint of the configuration was added by a command; then
    /// nothing has changed. Where endpoints could not be recorded; then the rest is in force.
    pub async fn reconfigure(&self, config: &Config) -> Result<(), EngineError> {
        self.read(|known| declared::check(&known.endpoints, config)).await??;
        let configured = plan::configured(config, self.shared.home.root(), &self.shared.launcher);
        self.shared.registry.reconfigure(configured).map_err(registry::taken)?;
        self.shared.passphrase.set(&config.encryption);
        self.shared.own_state.set(config);
        *self.shared.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config.clone());
        self.declare_endpoints().await
    }

    /// Where the work behind the actors runs.
    pub(crate) fn data_plane(&self) -> &tokio::runtime::Handle {
        &self.shared.world.data_plane
    }
}
