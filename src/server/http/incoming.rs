//! What comes in on a WebSocket: frames as clients send them, and the messages they make up (RFC 6455, section 5).
//!
//! How long a frame is stands at its beginning, and one that is too long is refused there: no more is held than a message of the length
//! that is allowed, and what one read brought.

use bytes::{Buf, Bytes, BytesMut};

/// Longest payload of a control frame.
const MOST_OF_CONTROL: u64 = 125;

/// What a client sent: a message that is whole, or what goes between the parts of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message.
    Text(Bytes),
    /// A ping with what is to be sent back.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// The client ends the connection.
    Close,
    /// A part of a message without anything in it.
    Nothing,
}

/// Why a client cannot be listened to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// A message is longer than it may be.
    #[error("a message is longer than it may be")]
    TooLarge,
    /// It is no text.
    #[error("a message is binary: send text")]
    Binary,
    /// It is said to be text, and is not UTF-8.
    #[error("a message is not UTF-8")]
    NotText,
    /// It is no WebSocket.
    #[error("what was sent is not of the protocol of WebSockets")]
    Protocol,
}

/// Makes messages of the bytes that a client sends on a WebSocket. It holds at most one message of the length that is allowed, and what one
/// read brought beyond.
///
/// ```
/// use holdfast::server::{Frame, Frames};
///
/// let mut frames = Frames::default();
/// // "hi", masked with zeros.
/// frames.add(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i', 0x8A]);
/// assert_eq!(frames.next(100), Ok(Some(Frame::Text("hi".into()))));
/// assert_eq!(frames.next(100), Ok(None));
/// ```
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
    /// The first frames of a message that is not whole yet.
    begun: Option<BytesMut>,
}

/// The beginning of a frame.
struct Head {
    last: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Bytes of the head itself, and of what follows.
    own: usize,
    payload: u64,
}

impl Frames {
    /// Adds bytes as they came.
    pub fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message or control frame; `None` where it is not whole yet.
    ///
    /// # Errors
    /// [`FrameFault`]. Nothing can be taken after it.
    pub fn next(&mut self, limit: usize) -> Result<Option<Frame>, FrameFault> {
        while let Some(head) = self.head()? {
            let before = self.begun.as_ref().map_or(0, BytesMut::len);
            let most = if head.is_control() { MOST_OF_CONTROL } else { limit.saturating_sub(before) as u64 };
            if head.payload > most {
                return Err(if head.is_control() { FrameFault::Protocol } else { FrameFault::TooLarge });
            }
            self.check(&head)?;
            let Some(payload) = self.payload(&head) else { return Ok(None) };
            match head.opcode {
                0x8 => return Ok(Some(Frame::Close)),
                0x9 => return Ok(Some(Frame::Ping(payload.freeze()))),
                0xA => return Ok(Some(Frame::Pong)),
                _ => {}
            }
            let message = match self.begun.take() {
                None => payload,
                Some(mut begun) => {
                    begun.extend_from_slice(&payload);
                    begun
                }
            };
            let is_nothing = head.payload == 0;
            if head.last {
                std::str::from_utf8(&message).map_err(|_| FrameFault::NotText)?;
                return Ok(Some(Frame::Text(message.freeze())));
            }
            self.begun = Some(message);
            if is_nothing {
                return Ok(Some(Frame::Nothing));
            }
        }
        Ok(None)
    }

    /// Whether a frame may be of this kind, here.
    fn check(&self, head: &Head) -> Result<(), FrameFault> {
        match (head.opcode, &self.begun) {
            (0x1, None) | (0x0, Some(_)) => Ok(()),
            (0x2, None) => Err(FrameFault::Binary),
            (0x8..=0xA, _) if head.last => Ok(()),
            _ => Err(FrameFault::Protocol),
        }
    }

    fn head(&self) -> Result<Option<Head>, FrameFault> {
        let mut bytes = &self.buffer[..];
        let (Ok(first), Ok(second)) = (bytes.try_get_u8(), bytes.try_get_u8()) else { return Ok(None) };
        // No extension was agreed on that could use the reserved bits, and what a client sends is masked.
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(FrameFault::Protocol);
        }
        let payload = match second & 0x7F {
            126 => bytes.try_get_u16().map(u64::from),
            127 => bytes.try_get_u64(),
            length => Ok(u64::from(length)),
        };
        let (Ok(payload), Ok(mask)) = (payload, bytes.try_get_u32()) else { return Ok(None) };
        let own = self.buffer.len() - bytes.len();
        Ok(Some(Head { last: first & 0x80 != 0, opcode: first & 0x0F, mask: mask.to_be_bytes(), own, payload }))
    }

    /// Takes a frame out, where all of it is there.
    fn payload(&mut self, head: &Head) -> Option<BytesMut> {
        let length = usize::try_from(head.payload).ok()?;
        if self.buffer.len() - head.own < length {
            return None;
        }
        self.buffer.advance(head.own);
        let mut payload = self.buffer.split_to(length);
        for (byte, mask) in payload.iter_mut().zip(head.mask.iter().cycle()) {
            *byte ^= mask;
        }
        Some(payload)
    }
}

impl Head {
    fn is_control(&self) -> bool {
        self.opcode & 0x8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ ..126 => frame.push(0x80 | u8::try_from(length).unwrap_or_default()),
            length => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
            }
        }
        frame.extend([9, 8, 7, 6]);
        frame.extend(payload.iter().zip([9, 8, 7, 6].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn all(bytes: &[u8], limit: usize) -> (Vec<Frame>, Option<FrameFault>) {
        let mut decoder = Frames::default();
        let mut seen = Vec::new();
        // Byte by byte: nothing depends on how it comes.
        for byte in bytes {
            decoder.add(&[*byte]);
            loop {
                match decoder.next(limit) {
                    Ok(Some(incoming)) => seen.push(incoming),
                    Ok(None) => break,
                    Err(fault) => return (seen, Some(fault)),
                }
            }
        }
        (seen, None)
    }

    fn text(text: &'static str) -> Frame {
        Frame::Text(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn frames_make_up_messages_with_control_frames_between_them() {
        let bytes = [
            frame(0x81, b"one"),
            frame(0x01, b"t"),
            frame(0x89, b"ping"),
            frame(0x00, b"w"),
            frame(0x8A, b""),
            frame(0x80, b"o"),
            frame(0x81, b""),
            frame(0x88, &[3, 232]),
        ]
        .concat();
        let ping = Frame::Ping(Bytes::from_static(b"ping"));
        let expected = vec![text("one"), ping, Frame::Pong, text("two"), text(""), Frame::Close];
        assert_eq!(all(&bytes, 100), (expected, None));
    }

    #[test]
    fn what_is_against_the_protocol_is_told_apart() {
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7F;
        for (bytes, fault) in [
            (frame(0x82, b"x"), FrameFault::Binary),
            (frame(0x02, b"x"), FrameFault::Binary),
            (frame(0x80, b"x"), FrameFault::Protocol),
            (frame(0x00, b"x"), FrameFault::Protocol),
            (frame(0xC1, b"x"), FrameFault::Protocol),
            (frame(0x83, b"x"), FrameFault::Protocol),
            (frame(0x8B, b"x"), FrameFault::Protocol),
            (frame(0x09, b"x"), FrameFault::Protocol),
            (frame(0x89, &[0; 126]), FrameFault::Protocol),
            ([frame(0x01, b"x"), frame(0x81, b"x")].concat(), FrameFault::Protocol),
            (unmasked, FrameFault::Protocol),
            (frame(0x81, b"\xFF"), FrameFault::NotText),
        ] {
            assert_eq!(all(&bytes, 1000), (vec![], Some(fault)), "{bytes:x?}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_at_its_beginning() {
        assert_eq!(all(&frame(0x81, b"1234"), 4), (vec![text("1234")], None));
        assert_eq!(all(&frame(0x81, b"12345")[..6], 4), (vec![], Some(FrameFault::TooLarge)));
        assert_eq!(
            all(&[0x81, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4], 4).1,
            Some(FrameFault::TooLarge)
        );
        let parts = [frame(0x01, b"123"), frame(0x00, b"45")].concat();
        assert_eq!(all(&parts, 4).1, Some(FrameFault::TooLarge));
        // Nothing that is empty adds up to anything.
        let empty = [frame(0x01, b""), frame(0x00, b"").repeat(1000), frame(0x80, b"1234")].concat();
        let (seen, fault) = all(&empty, 4);
        assert_eq!((seen.len(), seen.last(), fault), (1002, Some(&text("1234")), None));
        assert!(seen.iter().take(1001).all(|seen| *seen == Frame::Nothing), "each of them is counted");
    }
}
