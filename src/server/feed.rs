//! The channels: one task a subscription, which pulls from the log as its client takes what it sends.

use bytes::Bytes;
use holdfast_model::ids::Position;
use tokio::task::AbortHandle;

use super::outbox::Outbox;
use crate::api::envelope::{self, EventType};
use crate::api::{ApiError, Channel};
use crate::engine::Holdfast;

/// Most events that are read at a time.
const BATCH: usize = 64;

/// What is sent to subscribers.
pub(super) struct Feed;

/// A subscription; over when it is dropped.
pub(super) struct Subscription(AbortHandle);

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Feed {
    /// Sends a channel's events from after `since` on, and says up to where what was there has been looked at.
    ///
    /// # Errors
    /// Where the log cannot be read.
    #[expect(clippy::unused_async, reason = "finding where to begin may have to read")]
    pub(super) async fn subscribe(
        engine: &Holdfast,
        channel: Channel,
        since: Option<Position>,
        outbox: Outbox,
    ) -> Result<(Position, Subscription), ApiError> {
        let head = engine.head();
        let mut events = engine.events(Position(since.unwrap_or(head).0 + 1));
        let epoch = engine.desk().epoch().to_owned();
        let task = async move {
            while let Ok(batch) = events.next(BATCH).await {
                for event in batch.iter().filter(|_| channel == Channel::BackupEvents) {
                    let message = envelope::event(channel, EventType::Update, event.position.0, &epoch, event);
                    if outbox.send(Bytes::from(message)).await.is_err() {
                        return;
                    }
                }
            }
        };
        Ok((head, Subscription(engine.data_plane().spawn(task).abort_handle())))
    }
}
