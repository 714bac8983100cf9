//! The framing of WebSockets: however the bytes arrive, the same messages come out, and none is longer than it may be.
//!
//! The first byte is the limit, the second how many bytes arrive at a time; the rest is what arrives. What comes out as a message is read as
//! the first one of a connection too, which may only say who is there.
#![no_main]

use holdfast::api::envelope;
use holdfast::server::{Frame, FrameFault, Frames};
use libfuzzer_sys::fuzz_target;

/// Everything up to the first fault, and that.
fn read(bytes: &[u8], at_a_time: usize, limit: usize) -> (Vec<Frame>, Option<FrameFault>) {
    let (mut frames, mut taken) = (Frames::default(), Vec::new());
    for part in bytes.chunks(at_a_time) {
        frames.add(part);
        loop {
            match frames.next(limit) {
                Ok(Some(frame)) => {
                    match &frame {
                        Frame::Text(text) => assert!(text.len() <= limit && std::str::from_utf8(text).is_ok()),
                        Frame::Ping(payload) => assert!(payload.len() <= 125),
                        Frame::Pong | Frame::Close | Frame::Nothing => {}
                    }
                    taken.push(frame);
                }
                Ok(None) => break,
                Err(fault) => return (taken, Some(fault)),
            }
        }
    }
    (taken, None)
}

fuzz_target!(|data: &[u8]| {
    let [limit, at_a_time, bytes @ ..] = data else { return };
    let (limit, at_a_time) = (usize::from(*limit), usize::from(*at_a_time).max(1));
    let whole = read(bytes, bytes.len().max(1), limit);
    assert_eq!(read(bytes, at_a_time, limit), whole);
    for frame in &whole.0 {
        if let Frame::Text(text) = frame
            && let Some(token) = envelope::authorization(text)
        {
            assert!(envelope::Request::read(text).is_err(), "a message is a request or says who is there, not both");
            assert!(token.len() <= text.len());
        }
    }
});
