//! What systemd is told, where it started the server and wants to know (`sd_notify(3)`); nothing elsewhere.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::engine::WeakHoldfast;

/// How often more time is asked for while the server stops, and how much of it.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
const EXTEND_BY: Duration = Duration::from_secs(20);

pub(super) struct Service;

impl Service {
    pub(super) fn status(&self, what: &str) {
        tell(&[NotifyState::Status(what)]);
    }

    pub(super) fn ready(&self, what: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(what)]);
    }

    /// Answers the watchdog, where there is one, as long as the engine answers: its actors, and what is read of the log.
    pub(super) fn watch(&self, engine: WeakHoldfast) {
        let Some(limit) = sd_notify::watchdog_enabled() else { return };
        let every = (limit / 3).max(Duration::from_millis(100));
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(every);
            loop {
                tick.tick().await;
                // Where it is gone, the server is about to end, and that has a limit of its own.
                let answers = async {
                    if let Some(engine) = engine.upgrade() {
                        engine.open_run().await;
                        let _ = engine.read(|_| ()).await;
                    }
                };
                match timeout(every, answers).await {
                    Ok(()) => tell(&[NotifyState::Watchdog]),
                    Err(_) => tracing::error!("the engine does not answer, and so the watchdog is not answered"),
                }
            }
        });
    }

    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
        }
    }

    /// Says that the server stops, and that this may take so long: more than what is configured for the unit, where a backup comes first.
    pub(super) fn stopping(&self, within: Duration) -> Stopping {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        let until = Instant::now() + within;
        let extending = tokio::spawn(async move {
            let by = u32::try_from(EXTEND_BY.as_micros()).unwrap_or(u32::MAX);
            while Instant::now() < until {
                tell(&[NotifyState::ExtendTimeoutUsec(by)]);
                tokio::time::sleep(EXTEND_EVERY).await;
            }
        });
        Stopping(extending.abort_handle())
    }
}

/// Asks for more time until it is dropped.
pub(super) struct Stopping(AbortHandle);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told how the server stands");
    }
}
