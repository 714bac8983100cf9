//! The participants an engine knows: those of the configuration, and those the application registers.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_model::ids::ParticipantName;
use tokio::sync::watch;

use crate::participant::{Descriptor, Participant};

/// A participant and what is known of it.
#[derive(Clone)]
pub struct Registered {
    /// What is known of it.
    pub descriptor: Descriptor,
    /// Its code.
    pub code: Arc<dyn Participant>,
}

/// The participants of one engine, in the order they work in. Clones share it.
#[derive(Clone)]
pub(super) struct Registry {
    known: Arc<RwLock<Known>>,
    changed: Arc<watch::Sender<()>>,
    /// How long a run that goes on waits for one that the application has not registered yet.
    late: Duration,
}

#[derive(Default)]
struct Known {
    /// Those of the configuration.
    configured: Vec<Registered>,
    /// Those of the application.
    registered: Vec<Registered>,
}

impl Known {
    fn all(&self) -> impl Iterator<Item = &Registered> {
        self.configured.iter().chain(&self.registered)
    }
}

/// Names are told apart without case: they are file names of artifacts, too.
fn same(one: &Registered, other: &Registered) -> bool {
    one.descriptor.name.as_str().eq_ignore_ascii_case(other.descriptor.name.as_str())
}

impl Registry {
    /// With those of the configuration.
    ///
    /// # Errors
    /// A name that is there twice.
    pub(super) fn new(configured: Vec<Registered>, late: Duration) -> Result<Self, ParticipantName> {
        let registry = Self { known: Arc::default(), changed: Arc::new(watch::Sender::new(())), late };
        registry.reconfigure(configured)?;
        Ok(registry)
    }

    /// Puts others in the place of those of the configuration.
    ///
    /// # Errors
    /// A name that is there twice, and then nothing has changed.
    pub(super) fn reconfigure(&self, configured: Vec<Registered>) -> Result<(), ParticipantName> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (index, one) in configured.iter().enumerate() {
            let before = configured.iter().take(index).chain(&known.registered);
            if before.into_iter().any(|other| same(one, other)) {
                return Err(one.descriptor.name.clone());
            }
        }
        known.configured = configured;
        drop(known);
        self.changed.send_replace(());
        Ok(())
    }

    /// Adds one of the application.
    ///
    /// # Errors
    /// Its name, where it is taken.
    pub(super) fn add(&self, participant: Registered) -> Result<(), ParticipantName> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.all().any(|other| same(&participant, other)) {
            return Err(participant.descriptor.name);
        }
        known.registered.push(participant);
        drop(known);
        self.changed.send_replace(());
        Ok(())
    }

    /// Tells of each change of who is registered or configured.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Registered> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).all().cloned().collect()
    }

    /// The one called `name`.
    pub(super) fn find(&self, name: &ParticipantName) -> Option<Registered> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.all().find(|participant| participant.descriptor.name == *name).cloned()
    }

    /// The one called `name`, also where it is registered a little later.
    pub(super) async fn find_late(&self, name: &ParticipantName) -> Option<Registered> {
        let mut changed = self.changed.subscribe();
        let registered = async {
            loop {
                if let Some(found) = self.find(name) {
                    return found;
                }
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(self.late, registered).await.ok()
    }
}
