//! What systemd is told, where it started the server and wants to know (`sd_notify(3)`); nothing elsewhere.

use std::time::Duration;

use sd_notify::NotifyState;

pub(super) struct Service;

impl Service {
    /// Begins to answer the watchdog, where there is one.
    pub(super) fn detect() -> Self {
        if let Some(every) = sd_notify::watchdog_enabled() {
            tokio::spawn(async move {
                let mut tick = tokio::time::interval((every / 2).max(Duration::from_millis(100)));
                loop {
                    tick.tick().await;
                    tell(&[NotifyState::Watchdog]);
                }
            });
        }
        Self
    }

    pub(super) fn status(&self, what: &str) {
        tell(&[NotifyState::Status(what)]);
    }

    pub(super) fn ready(&self, what: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(what)]);
    }

    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
        }
    }

    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told how the server stands");
    }
}
