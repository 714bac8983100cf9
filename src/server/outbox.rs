//! What waits for one client to take it.
//!
//! The queue is bounded in bytes and in messages. Whoever sends waits for room, first come, first served, so nothing is dropped:
//! a subscription that waits pulls less from the log, and an answer that waits holds back the next request. A client that takes
//! nothing for as long as its queue is full is a slow consumer: its connection is closed, and that is all it can do to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::gauges::Gauges;
use crate::config::ServerLimits;

/// The connection takes nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub(crate) struct Closed;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The client went, or cannot be reached.
    Gone,
    /// The client sends no more.
    Left,
    /// The client said nothing for too long, and nobody knows who it is.
    Silent,
    /// No token was shown in the moment there was for it.
    Unknown,
    /// A message was longer than it may be.
    TooLarge,
    /// The client does not keep to the protocol of the connection.
    Protocol,
    /// It sent what is no text.
    Binary,
    /// It sent what is said to be text, and is not.
    NotText,
    /// It did not answer pings.
    Dead,
    /// The token it rested on was revoked, or has expired.
    TokenEnded,
    /// It does not take what is sent to it.
    SlowConsumer,
    /// The server stops.
    GoingAway,
}

impl Reason {
    /// Whether what is queued is not even tried to be sent.
    fn is_abrupt(self) -> bool {
        matches!(self, Self::Gone | Self::Dead | Self::SlowConsumer)
    }

    /// The status and text of a WebSocket's close frame (RFC 6455 section 7.4).
    pub(super) fn close_code(self) -> (u16, &'static str) {
        match self {
            Self::Gone | Self::Left => (1000, ""),
            Self::GoingAway => (1001, "SERVER_DRAINING"),
            Self::Protocol | Self::Dead => (1002, "PROTOCOL_ERROR"),
            Self::Binary => (1003, "TEXT_ONLY"),
            Self::NotText => (1007, "NOT_UTF_8"),
            Self::TooLarge => (1009, "MESSAGE_TOO_LARGE"),
            Self::Silent | Self::Unknown => (4001, "UNAUTHENTICATED"),
            Self::TokenEnded => (4001, "INVALID_TOKEN: it was revoked or has expired"),
            Self::SlowConsumer => (4008, "SLOW_CONSUMER"),
        }
    }
}

/// Where messages to a client are put. Clones share it.
#[derive(Clone)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    /// Bytes there is room for. Each message takes a least number of them, which bounds how many there are.
    room: Arc<Semaphore>,
    whole: u32,
    least: u32,
    queue: UnboundedSender<Item>,
    patience: Duration,
    began: Instant,
    /// When the client last took something, in milliseconds from the beginning.
    taken: AtomicU64,
    end: watch::Sender<Option<Reason>>,
    gauges: Arc<Gauges>,
}

enum Item {
    Message(Queued),
    /// Nothing to send: whoever waits for the queue has something else to look at.
    Wake,
}

/// A message on its way, and the room it takes until it is dropped.
pub(super) struct Queued {
    pub(super) message: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Room for a message.
pub(super) struct Room<'a> {
    shared: &'a Shared,
    room: OwnedSemaphorePermit,
}

impl Room<'_> {
    pub(super) fn put(self, message: Bytes) {
        // Where nobody takes from the queue any more, the connection has ended.
        let _ = self.shared.queue.send(Item::Message(Queued { message, _room: self.room }));
    }
}

impl Outbox {
    /// An empty one, and the end that the client's messages are taken from.
    pub(super) fn new(limits: &ServerLimits, gauges: Arc<Gauges>) -> (Self, Queue) {
        let whole = u32::try_from(limits.outbox_bytes).unwrap_or(u32::MAX).max(1);
        let messages = u32::try_from(limits.outbox_messages).unwrap_or(u32::MAX).max(1);
        let (queue, items) = mpsc::unbounded_channel();
        let shared = Shared {
            room: Arc::new(Semaphore::new(whole as usize)),
            whole,
            least: whole.div_ceil(messages),
            queue,
            patience: limits.slow_consumer,
            began: Instant::now(),
            taken: AtomicU64::new(0),
            end: watch::Sender::new(None),
            gauges,
        };
        let outbox = Self { shared: Arc::new(shared) };
        let queue = Queue { items, outbox: outbox.clone() };
        (outbox, queue)
    }

    /// Puts a message into the queue once there is room. It is sent unless the connection ends before.
    ///
    /// # Errors
    /// [`Closed`] where the connection has ended, or does so while this waits.
    pub(crate) async fn send(&self, message: Bytes) -> Result<(), Closed> {
        let room = self.room(message.len()).await?;
        room.put(message);
        Ok(())
    }

    /// Waits for room. A message that is larger than the queue has it to itself.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room<'_>, Closed> {
        let shared = &*self.shared;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(shared.least, shared.whole);
        let mut room = std::pin::pin!(shared.room.clone().acquire_many_owned(bytes));
        let waiting_since = Instant::now();
        loop {
            let patient_until = waiting_since.max(shared.taken()) + shared.patience;
            match timeout_at(patient_until, &mut room).await {
                Ok(Ok(room)) => return Ok(Room { shared, room }),
                Ok(Err(_)) => return Err(Closed),
                Err(_) if shared.taken() + shared.patience > Instant::now() => {}
                Err(_) => {
                    self.close(Reason::SlowConsumer);
                    return Err(Closed);
                }
            }
        }
    }

    /// Ends the connection. What is queued is still sent, but for a client that cannot be reached or takes nothing.
    pub(super) fn close(&self, reason: Reason) {
        let first = self.shared.end.send_if_modified(|end| {
            let better = end.is_none_or(|end| reason.is_abrupt() && !end.is_abrupt());
            if better {
                *end = Some(reason);
            }
            better
        });
        self.shared.room.close();
        if first {
            if reason == Reason::SlowConsumer {
                self.shared.gauges.was_slow();
            }
            self.wake();
        }
    }

    /// Lets whoever takes from the queue look at what else there is.
    pub(super) fn wake(&self) {
        let _ = self.shared.queue.send(Item::Wake);
    }

    /// Whether it takes nothing more.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.end.borrow().is_some()
    }

    /// Waits for the connection's end.
    pub(super) async fn closed(&self) -> Reason {
        self.ended(|_| true).await
    }

    /// Waits until it makes no sense to send anything.
    pub(super) async fn abandoned(&self) -> Reason {
        self.ended(Reason::is_abrupt).await
    }

    async fn ended(&self, which: impl Fn(Reason) -> bool) -> Reason {
        let mut end = self.shared.end.subscribe();
        // The sender lives as long as this does.
        end.wait_for(|end| end.is_some_and(&which)).await.ok().and_then(|end| *end).unwrap_or(Reason::Gone)
    }
}

impl Shared {
    fn taken(&self) -> Instant {
        self.began + Duration::from_millis(self.taken.load(Ordering::Relaxed))
    }
}

/// What was put into an [`Outbox`], in that order.
pub(super) struct Queue {
    items: UnboundedReceiver<Item>,
    outbox: Outbox,
}

/// What there is to do for whoever takes from a [`Queue`].
pub(super) enum Next {
    /// Send this.
    Message(Queued),
    /// Look at what else there is.
    Woken,
    /// End, for this reason.
    End(Reason),
}

impl Queue {
    /// The next message; `None` once the connection is to end.
    pub(super) async fn next(&mut self) -> Option<Queued> {
        loop {
            match std::future::poll_fn(|cx| self.poll(cx)).await {
                Next::Message(message) => return Some(message),
                Next::Woken => {}
                Next::End(_) => return None,
            }
        }
    }

    /// A message that is there already.
    pub(super) fn next_now(&mut self) -> Option<Queued> {
        loop {
            match self.items.try_recv() {
                Ok(Item::Message(message)) => return Some(message),
                Ok(Item::Wake) => {}
                Err(_) => return None,
            }
        }
    }

    /// What is to be done next.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        let end = *self.outbox.shared.end.borrow();
        if let Some(reason) = end.filter(|reason| reason.is_abrupt()) {
            return Poll::Ready(Next::End(reason));
        }
        match self.items.poll_recv(context) {
            Poll::Ready(Some(Item::Message(message))) => Poll::Ready(Next::Message(message)),
            Poll::Ready(Some(Item::Wake)) => match end.filter(|_| self.items.is_empty()) {
                Some(reason) => Poll::Ready(Next::End(reason)),
                None => Poll::Ready(Next::Woken),
            },
            Poll::Ready(None) => Poll::Ready(Next::End(Reason::Gone)),
            Poll::Pending => match end {
                Some(reason) => Poll::Ready(Next::End(reason)),
                None => Poll::Pending,
            },
        }
    }

    /// Where it comes from.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Says that the client took something.
    pub(super) fn taken(&self) {
        let shared = &self.outbox.shared;
        let now = u64::try_from(shared.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        shared.taken.store(now, Ordering::Relaxed);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.outbox.close(Reason::Gone);
    }
}

#[cfg(test)]
mod tests;
