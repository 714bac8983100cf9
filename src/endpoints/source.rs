//! What is sent, and how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::{Answer, ByteStream, ErrorKind, StoreError};

/// Bytes to be sent: a file, an artifact that is still being written, the pipeline itself.
pub trait Source: Send + Sync {
    /// The bytes from the first on. It may be asked for again for another attempt; a source that can be read once only refuses that with
    /// [`ErrorKind::Source`].
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be read.
    fn open(&self) -> Answer<'_, ByteStream>;

    /// How many bytes it has, where that is known beforehand. A stream that turns out otherwise is not kept.
    fn length(&self) -> Option<u64>;
}

/// Bytes in memory, sent piece by piece.
#[derive(Debug, Clone)]
pub struct Bytewise(pub Bytes);

/// Size of a piece on its way, in bytes.
pub(super) const PIECE: usize = 64 << 10;

impl Source for Bytewise {
    fn open(&self) -> Answer<'_, ByteStream> {
        let pieces = pieces(self.0.clone()).map(Ok).boxed();
        Box::pin(std::future::ready(Ok(pieces)))
    }

    fn length(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
}

/// The same bytes in pieces, without a copy.
pub(crate) fn pieces(bytes: Bytes) -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
    stream::unfold(bytes, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(PIECE));
        Some((piece, rest))
    })
}

/// How far a put is. Clones count the same.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    beats: AtomicU64,
    excuses: AtomicUsize,
}

impl Meter {
    /// How many bytes the far side has taken in this attempt. Another attempt begins at 0 again.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// So many bytes from the first on are there.
    pub(crate) fn reached(&self, bytes: u64) {
        self.0.done.store(bytes, Ordering::Relaxed);
        self.beat();
    }

    /// Something moved: whoever waits for a stall begins anew.
    pub(crate) fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn beats(&self) -> u64 {
        self.0.beats.load(Ordering::Relaxed)
    }

    /// Until this is dropped no stall is the far side's fault: the source is waited for, or who asks watches the far side itself.
    pub(crate) fn excuse(&self) -> Excuse {
        self.0.excuses.fetch_add(1, Ordering::Relaxed);
        Excuse(self.clone())
    }

    pub(crate) fn is_excused(&self) -> bool {
        self.0.excuses.load(Ordering::Relaxed) > 0
    }
}

/// A time in which nothing has to move.
pub(crate) struct Excuse(Meter);

impl Drop for Excuse {
    fn drop(&mut self) {
        self.0.beat();
        self.0.0.excuses.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says that a source was not what it was said to be.
pub(crate) fn wrong_length(expected: u64, found: u64) -> StoreError {
    let why = format!("it has {found} bytes and not {expected}");
    StoreError::new(ErrorKind::Source, "send what is read here", why)
}
