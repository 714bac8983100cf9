//! The participants an engine knows: those of the configuration, and those the application registers.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_model::ids::ParticipantName;
use tokio::sync::watch;

use crate::participant::{Descriptor, Participant};

/// How long a run that goes on waits for a participant that the application has not registered yet.
const LATE_REGISTRATION: Duration = Duration::from_secs(30);

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
    known: Arc<RwLock<Vec<Registered>>>,
    changed: Arc<watch::Sender<()>>,
}

impl Registry {
    /// Names are told apart without case: they are file names of artifacts, too.
    ///
    /// # Errors
    /// A name that is there twice.
    pub(super) fn new(participants: Vec<Registered>) -> Result<Self, ParticipantName> {
        let registry = Self { known: Arc::default(), changed: Arc::new(watch::Sender::new(())) };
        participants.into_iter().try_for_each(|participant| registry.add(participant))?;
        Ok(registry)
    }

    /// Adds one.
    ///
    /// # Errors
    /// Its name, where it is taken.
    pub(super) fn add(&self, participant: Registered) -> Result<(), ParticipantName> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let name = participant.descriptor.name.clone();
        if known.iter().any(|other| other.descriptor.name.as_str().eq_ignore_ascii_case(name.as_str())) {
            return Err(name);
        }
        known.push(participant);
        drop(known);
        self.changed.send_replace(());
        Ok(())
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Registered> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one called `name`.
    pub(super) fn find(&self, name: &ParticipantName) -> Option<Registered> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|participant| participant.descriptor.name == *name).cloned()
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
        tokio::time::timeout(LATE_REGISTRATION, registered).await.ok()
    }
}
