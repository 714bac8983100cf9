//! What the commands of one engine share, whichever door they come by.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use super::record::Counts;
use crate::config::ServerLimits;

/// Settings of the commands. They may change while the engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Rows of a list where nothing is asked for.
    pub page: usize,
    /// Rows of a list at most.
    pub page_max: usize,
    /// Longest answer in bytes.
    pub answer_bytes: usize,
    /// Whether a backup that is asked for while one is open waits for its turn; otherwise it is refused.
    pub queueing: bool,
    /// Wrong tokens a minute from one source that are answered as such.
    pub guesses_per_minute: u32,
    /// How long what is at work has to end by itself when the server is told to stop and nothing is said of it.
    pub grace: Duration,
    /// What a connection may ask at most, as clients are told it.
    pub limits: ServerLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            page: 100,
            page_max: 1000,
            answer_bytes: 10 << 20,
            queueing: false,
            guesses_per_minute: 10,
            grace: Duration::from_secs(10),
            limits: ServerLimits::default(),
        }
    }
}

/// What the commands of one engine share.
pub struct Desk {
    settings: RwLock<Arc<Settings>>,
    epoch: String,
    /// Held from the look whether a run is open until the new one is recorded.
    pub(super) starting: Mutex<()>,
    pub(super) counts: Counts,
    life: Life,
}

impl Desk {
    /// With settings to begin with.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            counts: Counts::new(settings.guesses_per_minute),
            settings: RwLock::new(Arc::new(settings)),
            epoch: Uuid::now_v7().simple().to_string(),
            starting: Mutex::new(()),
            life: Life::default(),
        }
    }

    /// The settings as they are now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other settings from now on.
    pub fn set(&self, settings: Settings) {
        self.counts.allow(settings.guesses_per_minute);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Names this process's stay: what is not in the log and was told in another epoch may be gone.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Records what was counted and not recorded yet. To be asked for before the engine stops.
    pub async fn flush(&self, engine: &crate::engine::Holdfast) {
        self.counts.record(engine).await;
    }

    /// Wrong tokens that were shown since the engine was started.
    #[must_use]
    pub fn wrong_tokens(&self) -> u64 {
        self.counts.wrong_tokens()
    }

    /// Begins nothing new as long as what is given is there.
    pub(crate) fn refuse_work(self: &Arc<Self>) -> Refusing {
        self.life.refusing.fetch_add(1, Ordering::AcqRel);
        Refusing(self.clone())
    }

    /// How long it stays.
    #[must_use]
    pub fn life(&self) -> &Life {
        &self.life
    }
}

/// Whether the server goes on, and who is told that it does not.
#[derive(Debug, Default)]
pub struct Life {
    stop: watch::Sender<Option<Duration>>,
    server: AtomicBool,
    /// Servers that have begun to stop, and are not gone yet.
    refusing: AtomicUsize,
}

/// As long as it is there, nothing new is begun.
pub(crate) struct Refusing(Arc<Desk>);

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.life.refusing.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Life {
    /// Says that it is a server that can be told to stop.
    pub fn is_a_server(&self) {
        self.server.store(true, Ordering::Release);
    }

    /// Whether it is a server that can be told to stop.
    #[must_use]
    pub fn can_stop(&self) -> bool {
        self.server.load(Ordering::Acquire)
    }

    /// Asks it to stop, with so much time for what is at work. False where what answers is no server.
    pub fn stop(&self, grace: Duration) -> bool {
        let server = self.can_stop();
        if server {
            self.drain(grace);
        }
        server
    }

    /// From now on nothing new is begun. Asked again, the shorter grace holds.
    pub fn drain(&self, grace: Duration) {
        self.stop.send_if_modified(|stop| {
            let sooner = stop.is_none_or(|before| grace < before);
            if sooner {
                *stop = Some(grace);
            }
            sooner
        });
    }

    /// A server begins: what an earlier one was asked for is over.
    pub(crate) fn begin(&self) {
        self.stop.send_replace(None);
    }

    /// Whether it is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.stop.borrow().is_some() || self.refusing.load(Ordering::Acquire) > 0
    }

    /// Hears that it is to stop, and how much time there is.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Duration>> {
        self.stop.subscribe()
    }
}
