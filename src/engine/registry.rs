//! The participants an engine knows: those of the configuration, and those the application registers.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_model::ids::ParticipantName;
use tokio::sync::watch;

use super::EngineError;
use crate::own_state;
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
    /// The installation itself, which is part of no list.
    own: Option<Registered>,
}

/// A name that a participant cannot have.
pub(super) fn taken(name: ParticipantName) -> EngineError {
    match own_state::is_reserved(name.as_str()) {
        true => EngineError::ParticipantName { name: name.to_string(), reason: own_state::RESERVED.to_owned() },
        false => EngineError::ParticipantTwice(name),
    }
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

/// The installation's own name is nobody else's.
fn is_reserved(one: &Registered) -> bool {
    own_state::is_reserved(one.descriptor.name.as_str())
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
            if is_reserved(one) {
                return Err(one.descriptor.name.clone());
            }
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
        if is_reserved(&participant) || known.all().any(|other| same(&participant, other)) {
            return Err(participant.descriptor.name);
        }
        known.registered.push(participant);
        drop(known);
        self.changed.send_replace(());
        Ok(())
    }

    /// The installation itself takes part in full runs.
    pub(super) fn set_own(&self, own: Registered) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).own = Some(own);
    }

    /// The installation itself.
    pub(super) fn own(&self) -> Option<Registered> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).own.clone()
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
        known.all().chain(&known.own).find(|participant| participant.descriptor.name == *name).cloned()
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
