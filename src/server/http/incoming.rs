//! What comes in on a WebSocket: frames as clients send them, and the messages they make up (RFC 6455, section 5).
//!
//! How long a frame is stands at its beginning, and one that is too long is refused there: no more is held than a message of the length
//! that is allowed, and what one read brought.

use bytes::{Buf, Bytes, BytesMut};

/// Longest payload of a control frame.
const MOST_OF_CONTROL: u64 = 125;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Text(Bytes),
    Ping(Bytes),
    Pong,
    Close,
}

/// Why a client cannot be listened to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A message is longer than it may be.
    TooLarge,
    /// It is no text.
    Binary,
    /// It is said to be text, and is not UTF-8.
    NotText,
    /// It is no WebSocket.
    Protocol,
}

/// Makes messages of bytes.
#[derive(Default)]
pub(super) struct Decoder {
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

impl Decoder {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message or control frame; `None` where it is not whole yet.
    ///
    /// # Errors
    /// [`Fault`]. Nothing can be taken after it.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Incoming>, Fault> {
        while let Some(head) = self.head()? {
            let before = self.begun.as_ref().map_or(0, BytesMut::len);
            let most = if head.is_control() { MOST_OF_CONTROL } else { limit.saturating_sub(before) as u64 };
            if head.payload > most {
                return Err(if head.is_control() { Fault::Protocol } else { Fault::TooLarge });
            }
            self.check(&head)?;
            let Some(payload) = self.payload(&head) else { return Ok(None) };
            match head.opcode {
                0x8 => return Ok(Some(Incoming::Close)),
                0x9 => return Ok(Some(Incoming::Ping(payload.freeze()))),
                0xA => return Ok(Some(Incoming::Pong)),
                _ => {}
            }
            let message = match self.begun.take() {
                None => payload,
                Some(mut begun) => {
                    begun.extend_from_slice(&payload);
                    begun
                }
            };
            if head.last {
                std::str::from_utf8(&message).map_err(|_| Fault::NotText)?;
                return Ok(Some(Incoming::Text(message.freeze())));
            }
            self.begun = Some(message);
        }
        Ok(None)
    }

    /// Whether a frame may be of this kind, here.
    fn check(&self, head: &Head) -> Result<(), Fault> {
        match (head.opcode, &self.begun) {
            (0x1, None) | (0x0, Some(_)) => Ok(()),
            (0x2, None) => Err(Fault::Binary),
            (0x8..=0xA, _) if head.last => Ok(()),
            _ => Err(Fault::Protocol),
        }
    }

    fn head(&self) -> Result<Option<Head>, Fault> {
        let mut bytes = &self.buffer[..];
        let (Ok(first), Ok(second)) = (bytes.try_get_u8(), bytes.try_get_u8()) else { return Ok(None) };
        // No extension was agreed on that could use the reserved bits, and what a client sends is masked.
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(Fault::Protocol);
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

    fn all(bytes: &[u8], limit: usize) -> (Vec<Incoming>, Option<Fault>) {
        let mut decoder = Decoder::default();
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

    fn text(text: &'static str) -> Incoming {
        Incoming::Text(Bytes::from_static(text.as_bytes()))
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
        let ping = Incoming::Ping(Bytes::from_static(b"ping"));
        let expected = vec![text("one"), ping, Incoming::Pong, text("two"), text(""), Incoming::Close];
        assert_eq!(all(&bytes, 100), (expected, None));
    }

    #[test]
    fn what_is_against_the_protocol_is_told_apart() {
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7F;
        for (bytes, fault) in [
            (frame(0x82, b"x"), Fault::Binary),
            (frame(0x02, b"x"), Fault::Binary),
            (frame(0x80, b"x"), Fault::Protocol),
            (frame(0x00, b"x"), Fault::Protocol),
            (frame(0xC1, b"x"), Fault::Protocol),
            (frame(0x83, b"x"), Fault::Protocol),
            (frame(0x8B, b"x"), Fault::Protocol),
            (frame(0x09, b"x"), Fault::Protocol),
            (frame(0x89, &[0; 126]), Fault::Protocol),
            ([frame(0x01, b"x"), frame(0x81, b"x")].concat(), Fault::Protocol),
            (unmasked, Fault::Protocol),
            (frame(0x81, b"\xFF"), Fault::NotText),
        ] {
            assert_eq!(all(&bytes, 1000), (vec![], Some(fault)), "{bytes:x?}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_at_its_beginning() {
        assert_eq!(all(&frame(0x81, b"1234"), 4), (vec![text("1234")], None));
        assert_eq!(all(&frame(0x81, b"12345")[..6], 4), (vec![], Some(Fault::TooLarge)));
        assert_eq!(all(&[0x81, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4], 4).1, Some(Fault::TooLarge));
        let parts = [frame(0x01, b"123"), frame(0x00, b"45")].concat();
        assert_eq!(all(&parts, 4).1, Some(Fault::TooLarge));
        // Nothing that is empty adds up to anything.
        let empty = [frame(0x01, b""), frame(0x00, b"").repeat(1000), frame(0x80, b"1234")].concat();
        assert_eq!(all(&empty, 4), (vec![text("1234")], None));
    }
}
