//! Which events belong to which stream: an index in memory, made from the records in the order of their positions.
//!
//! It is built while the journal is read at open, which has to happen anyway, and is never stored: an entry of the store
//! for each event's stream would cost more than all the rest of a commit. Memory: 16 bytes for each append (events of one
//! append are neighbours and share an entry), and about 150 bytes for each stream.

use std::collections::HashMap;

use holdfast_model::ids::{Position, StreamId, Version};

/// Neighbouring events of one stream: both version and position go up by one from each to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Position of the first.
    pub(crate) position: Position,
    /// Version of the first.
    pub(crate) version: Version,
    /// How many; at least 1.
    pub(crate) count: u64,
}

/// The spans of one stream; each ends where the next one's version starts.
#[derive(Debug, Default)]
struct Stream {
    starts: Vec<(Version, Position)>,
    last: Version,
    last_position: Position,
}

/// All streams of a log.
#[derive(Debug, Default)]
pub(crate) struct Streams(HashMap<StreamId, Stream>);

impl Streams {
    /// The version of the newest event of a stream.
    pub(crate) fn version(&self, stream: &StreamId) -> Version {
        self.0.get(stream).map_or(Version::NONE, |stream| stream.last)
    }

    /// Adds an event. Positions come in ascending order.
    pub(crate) fn add(&mut self, stream: &StreamId, version: Version, position: Position) {
        // Not `entry`: it would need an owned name each time.
        let Some(known) = self.0.get_mut(stream) else {
            let new = Stream { starts: vec![(version, position)], last: version, last_position: position };
            self.0.insert(stream.clone(), new);
            return;
        };
        if known.last_position.next() != position || known.last.next() != version {
            known.starts.push((version, position));
        }
        known.last = version;
        known.last_position = position;
    }

    /// Where at most `limit` events of a stream lie, from version `from` on.
    pub(crate) fn spans(&self, stream: &StreamId, from: Version, limit: usize) -> Vec<Span> {
        let Some(known) = self.0.get(stream) else { return Vec::new() };
        let mut spans = Vec::new();
        let mut wanted = limit as u64;
        let begin = known.starts.partition_point(|(version, _)| *version <= from).saturating_sub(1);
        let mut starts = known.starts.get(begin..).unwrap_or_default().iter().copied().peekable();
        while let Some((version, position)) = starts.next() {
            let end = starts.peek().map_or(known.last.next(), |(next, _)| *next);
            let skipped = from.0.saturating_sub(version.0);
            let count = end.0.saturating_sub(version.0).saturating_sub(skipped).min(wanted);
            if count > 0 {
                let (position, version) = (Position(position.0 + skipped), Version(version.0 + skipped));
                spans.push(Span { position, version, count });
            }
            wanted -= count;
            if wanted == 0 {
                break;
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_span_and_reads_start_and_end_inside_of_one() {
        let (a, b): (StreamId, StreamId) = ("run/a".parse().unwrap(), "run/b".parse().unwrap());
        let mut streams = Streams::default();
        // Positions: a a a b a a b
        for (position, (stream, version)) in
            [(&a, 1), (&a, 2), (&a, 3), (&b, 1), (&a, 4), (&a, 5), (&b, 2)].iter().enumerate()
        {
            streams.add(stream, Version(*version), Position(position as u64 + 1));
        }
        let spans = |stream, from, limit| -> Vec<(u64, u64, u64)> {
            let spans = streams.spans(stream, Version(from), limit);
            spans.into_iter().map(|span| (span.position.0, span.version.0, span.count)).collect()
        };
        assert_eq!(spans(&a, 1, 9), [(1, 1, 3), (5, 4, 2)]);
        assert_eq!(spans(&a, 0, 9), [(1, 1, 3), (5, 4, 2)]);
        assert_eq!(spans(&a, 3, 2), [(3, 3, 1), (5, 4, 1)]);
        assert_eq!(spans(&a, 5, 9), [(6, 5, 1)]);
        assert_eq!(spans(&a, 6, 9), []);
        assert_eq!(spans(&b, 1, 1), [(4, 1, 1)]);
        assert_eq!(spans(&b, 1, 0), []);
        assert_eq!(spans(&"run/c".parse().unwrap(), 1, 9), []);
        assert_eq!((streams.version(&a), streams.version(&b)), (Version(5), Version(2)));
    }
}
