//! The framing of the doors of lines: however the bytes arrive, the same lines come out, and none is longer than it may be.
//!
//! The first byte is the limit, the second how many bytes arrive at a time; the rest is what arrives.
#![no_main]

use holdfast::server::Lines;
use libfuzzer_sys::fuzz_target;

/// All lines up to the first that is too long, and whether there was one.
fn read(bytes: &[u8], at_a_time: usize, limit: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut lines, mut taken) = (Lines::default(), Vec::new());
    for part in bytes.chunks(at_a_time) {
        lines.buffer().extend_from_slice(part);
        loop {
            match lines.take(limit) {
                Ok(Some(line)) => {
                    assert!(line.len() <= limit && !line.contains(&b'\n'));
                    taken.push(line.to_vec());
                }
                Ok(None) => break,
                Err(_) => return (taken, true),
            }
        }
        assert!(lines.buffer().len() <= limit + 1, "no more is held than a line and one byte");
    }
    (taken, false)
}

fuzz_target!(|data: &[u8]| {
    let [limit, at_a_time, bytes @ ..] = data else { return };
    let (limit, at_a_time) = (usize::from(*limit), usize::from(*at_a_time).max(1));
    let whole = read(bytes, bytes.len().max(1), limit);
    assert_eq!(read(bytes, at_a_time, limit), whole);
    let mut told = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    assert!(whole.0.iter().all(|line| told.next() == Some(line)));
});
