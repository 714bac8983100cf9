//! Subscriptions: one task each, which takes the next thing that happened on its channel when its client has room for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use holdfast_model::access::Role;
use holdfast_model::ids::Position;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::outbox::{Outbox, Reason};
use crate::api::{Channel, Feed};
use crate::engine::{EngineError, Holdfast};

/// A subscription; over when it is dropped.
pub(super) struct Subscription {
    task: AbortHandle,
    begin: Arc<Notify>,
    begun: AtomicBool,
    last: watch::Sender<Position>,
}

impl Subscription {
    /// Sends what happens on a channel after `since`, or after now. Nothing is sent before [`Subscription::begin`]. With it comes the
    /// position the log has reached.
    pub(super) fn new(
        engine: &Holdfast,
        channel: Channel,
        since: Option<Position>,
        role: Role,
        outbox: Outbox,
    ) -> (Position, Self) {
        let feed = Feed::open(engine, channel, since).seen_by(role);
        let from = feed.from();
        let begin = Arc::new(Notify::new());
        let may_begin = begin.clone();
        let (last, told_last) = watch::channel(Position(u64::MAX));
        let epoch = engine.desk().epoch().to_owned();
        let task = async move {
            may_begin.notified().await;
            pump(feed, &epoch, &outbox, told_last).await;
        };
        (
            from,
            Self { task: engine.data_plane().spawn(task).abort_handle(), begin, begun: AtomicBool::new(false), last },
        )
    }

    /// The client has been told that there is a subscription.
    pub(super) fn begin(&self) {
        if !self.begun.swap(true, Ordering::AcqRel) {
            self.begin.notify_one();
        }
    }

    /// Tells the client what the log holds up to `last`, and then no more. What is given is closed when that is done; nothing is where the
    /// client has not even been told that there is a subscription.
    pub(super) fn end_after(&self, last: Position) -> Option<watch::Sender<Position>> {
        self.last.send_replace(last);
        self.begun.load(Ordering::Acquire).then(|| self.last.clone())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pump(mut feed: Feed, epoch: &str, outbox: &Outbox, mut last: watch::Receiver<Position>) {
    loop {
        let upto = *last.borrow_and_update();
        let next = tokio::select! {
            next = feed.next_up_to(upto) => next,
            Ok(()) = last.changed() => continue,
        };
        match next {
            Ok(None) => return,
            Ok(Some(notice)) => {
                if outbox.send(Bytes::from(notice.message(epoch))).await.is_err() {
                    return;
                }
            }
            // The machine is very busy; nothing is lost by waiting on.
            Err(EngineError::Behind { .. }) => {}
            Err(EngineError::Stopped) => return,
            Err(error) => {
                // A client that hears nothing more must know it: it comes again, from where it was.
                tracing::error!(channel = %feed.channel(), %error, "a subscription cannot go on");
                return outbox.close(Reason::Gone);
            }
        }
    }
}
