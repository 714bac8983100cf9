//! What goes out on a WebSocket: messages as the client takes them, with pings, pongs and the close frame between them (RFC 6455).
//!
//! It is the body of the answer to the upgrade. The HTTP worker asks it for more only once the client has taken most of what came before,
//! and gets a piece at a time: so nothing waits for a client but what its bounded queue holds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use bytes::{BufMut, Bytes, BytesMut};

use crate::server::outbox::{Next, Outbox, Queue, Queued, Reason};

/// Bytes of a message that are given out at a time.
const PIECE: usize = 16 << 10;
/// Longest payload of a control frame.
const MOST_OF_CONTROL: usize = 125;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FINAL: u8 = 0x80;

/// Frames that go before messages. There is at most one of each kind: a client is owed a pong for its last ping only.
#[derive(Clone)]
pub(super) struct Control {
    waiting: Arc<Mutex<Waiting>>,
    outbox: Outbox,
}

#[derive(Default)]
struct Waiting {
    ping: bool,
    pong: Option<Bytes>,
}

impl Control {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self { waiting: Arc::default(), outbox }
    }

    pub(super) fn ping(&self) {
        self.add(|waiting| waiting.ping = true);
    }

    pub(super) fn pong(&self, payload: Bytes) {
        self.add(|waiting| waiting.pong = Some(payload));
    }

    fn add(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting();
        let first = !waiting.ping && waiting.pong.is_none();
        change(&mut waiting);
        drop(waiting);
        if first {
            self.outbox.wake();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frames that wait.
    fn take(&self) -> Option<Bytes> {
        let waiting = std::mem::take(&mut *self.waiting());
        let mut frames = BytesMut::new();
        if let Some(payload) = waiting.pong {
            frames.put(control(PONG, &payload));
        }
        if waiting.ping {
            frames.put(control(PING, b""));
        }
        (!frames.is_empty()).then(|| frames.freeze())
    }
}

/// The body.
pub(super) struct Outgoing {
    queue: Queue,
    control: Control,
    /// A message of which the client has not taken all yet.
    current: Option<Queued>,
    ended: bool,
}

impl Outgoing {
    pub(super) fn new(queue: Queue, control: Control) -> Self {
        Self { queue, control, current: None, ended: false }
    }

    /// The next piece of the message that is on its way.
    fn piece(&mut self) -> Option<Bytes> {
        let queued = self.current.as_mut()?;
        let piece = queued.message.split_to(queued.message.len().min(PIECE));
        if queued.message.is_empty() {
            self.current = None;
        }
        Some(piece)
    }

    /// Begins a message: its head, and with it the first of its bytes.
    fn begin(&mut self, mut queued: Queued) -> Bytes {
        let first = queued.message.split_to(queued.message.len().min(PIECE));
        let mut bytes = head(TEXT, first.len() + queued.message.len());
        bytes.put_slice(&first);
        if !queued.message.is_empty() {
            self.current = Some(queued);
        }
        bytes.freeze()
    }
}

impl MessageBody for Outgoing {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        // Whoever asks for more has sent what was there before.
        this.queue.taken();
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(piece) = this.piece() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if let Some(frames) = this.control.take() {
                return Poll::Ready(Some(Ok(frames)));
            }
            match this.queue.poll(context) {
                Poll::Ready(Next::Message(queued)) => return Poll::Ready(Some(Ok(this.begin(queued)))),
                Poll::Ready(Next::Woken) => {}
                Poll::Ready(Next::End(reason)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Ok(close(reason))));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// The beginning of a frame that is a message's only one. What a server sends is not masked.
fn head(opcode: u8, length: usize) -> BytesMut {
    let mut head = BytesMut::with_capacity(10 + length.min(PIECE));
    head.put_u8(FINAL | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => head.put_u8(length),
        (_, Ok(length)) => {
            head.put_u8(126);
            head.put_u16(length);
        }
        _ => {
            head.put_u8(127);
            head.put_u64(length as u64);
        }
    }
    head
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = payload.get(..MOST_OF_CONTROL).unwrap_or(payload);
    let mut frame = head(opcode, payload.len());
    frame.put_slice(payload);
    frame.freeze()
}

fn close(reason: Reason) -> Bytes {
    let (code, text) = reason.close_code();
    let mut payload = BytesMut::new();
    payload.put_u16(code);
    payload.put_slice(text.as_bytes());
    control(CLOSE, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_the_length_in_the_shortest_form() {
        let cases: [(usize, &[u8]); 5] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xFF, 0xFF]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (length, expected) in cases {
            assert_eq!(&head(TEXT, length)[..], expected, "{length} bytes");
        }
    }

    #[test]
    fn a_close_frame_has_its_code_and_text() {
        assert_eq!(&close(Reason::SlowConsumer)[..], b"\x88\x0f\x0f\xa8SLOW_CONSUMER");
        assert_eq!(&close(Reason::GoingAway)[..4], &[0x88, 17, 0x03, 0xE9]);
    }

    #[test]
    fn a_control_frame_is_never_too_long() {
        assert_eq!(control(PONG, &[7; 300]).len(), 2 + MOST_OF_CONTROL);
    }
}
