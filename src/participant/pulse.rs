//! Whether a participant is alive: what its deadlines go by.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::pipeline::ArtifactControl;

/// How long a command may take to let its participant go.
pub(crate) const THAW_WITHIN: Duration = Duration::from_secs(60);
/// How long code may take to return once that is over.
const RETURNS_WITHIN: Duration = Duration::from_secs(5);

/// Signs of life of one try. While its sink holds a participant up it counts as alive.
pub(crate) struct Pulse {
    began: Instant,
    /// Milliseconds after the beginning.
    last: AtomicU64,
    held: AtomicBool,
    artifact: Mutex<(Option<ArtifactControl>, bool)>,
    /// Since when it is being let go by a process that must not be ended with this one.
    thaws: watch::Sender<Option<Instant>>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            held: AtomicBool::new(false),
            artifact: Mutex::default(),
            thaws: watch::Sender::new(None),
        }
    }

    /// It lives.
    pub(crate) fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(now, Ordering::Relaxed);
    }

    /// It is in its sink's hands until the guard is dropped.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.held.store(true, Ordering::Release);
        Held(self)
    }

    /// It is being let go until the guard is dropped: whoever ends this process waits for that.
    pub(crate) fn thaw(&self) -> Thaws<'_> {
        self.thaws.send_replace(Some(Instant::now()));
        Thaws(self)
    }

    /// How much longer it may take until it is let go and has returned, where it is being let go.
    pub(crate) fn thaw_left(&self) -> Option<Duration> {
        let since = *self.thaws.borrow();
        since.map(|since| (THAW_WITHIN + RETURNS_WITHIN).saturating_sub(since.elapsed()))
    }

    /// Waits until it is not being let go, at most as long as that may take.
    pub(crate) async fn thawed(&self) {
        let Some(left) = self.thaw_left() else { return };
        let mut thaws = self.thaws.subscribe();
        let _ = tokio::time::timeout(left, thaws.wait_for(Option::is_none)).await;
    }

    /// How long it has been silent.
    pub(crate) fn silent_for(&self) -> Duration {
        if self.held.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    /// The artifact it writes now.
    pub(crate) fn watch(&self, artifact: ArtifactControl) {
        let mut watched = self.artifact.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.1 {
            artifact.revoke();
        }
        watched.0 = Some(artifact);
    }

    /// Takes from it what it writes, and all that it will.
    pub(crate) fn revoke(&self) {
        let mut watched = self.artifact.lock().unwrap_or_else(PoisonError::into_inner);
        watched.1 = true;
        if let Some(artifact) = &watched.0 {
            artifact.revoke();
        }
    }
}

/// The participant waits for its sink.
pub(crate) struct Held<'a>(&'a Pulse);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.beat();
        self.0.held.store(false, Ordering::Release);
    }
}

/// The participant is being let go.
pub(crate) struct Thaws<'a>(&'a Pulse);

impl Drop for Thaws<'_> {
    fn drop(&mut self) {
        self.0.thaws.send_replace(None);
    }
}
