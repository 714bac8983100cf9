//! An artifact's file that others read while it is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use holdfast_model::ids::{ArtifactName, Sha256};
use tokio::sync::watch;

/// What a file is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Sha256,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// So many bytes are written.
    Writing(u64),
    /// It has its name and is on stable storage.
    Whole(Whole),
    /// It never will be whole.
    Gone,
}

/// Somebody who reads artifacts while they are written. What he does takes no time of whoever writes.
pub trait Follower: std::fmt::Debug + Send + Sync {
    /// An artifact is begun.
    fn begun(&self, file: &ArtifactName, growing: Growing);
}

/// A file that is being written. Clones are the same file; it can be read, too, after it has got its name or was removed.
#[derive(Debug, Clone)]
pub struct Growing {
    file: Arc<File>,
    growth: watch::Receiver<Growth>,
}

impl Growing {
    /// How far it is.
    #[must_use]
    pub fn growth(&self) -> Growth {
        *self.growth.borrow()
    }

    /// Waits until there are more than so many bytes, or it has come to its end.
    pub async fn beyond(&mut self, bytes: u64) -> Growth {
        let reached = |growth: &Growth| !matches!(growth, Growth::Writing(written) if *written <= bytes);
        match self.growth.wait_for(reached).await {
            Ok(growth) => *growth,
            // Whoever wrote it is gone without a word.
            Err(_) => Growth::Gone,
        }
    }

    /// Reads bytes that are written. Blocks.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }
}

/// The side that writes.
#[derive(Debug)]
pub(crate) struct Teller(watch::Sender<Growth>);

impl Teller {
    /// The two sides of a file.
    pub(super) fn new(file: File) -> (Self, Growing) {
        let (teller, growth) = watch::channel(Growth::Writing(0));
        (Self(teller), Growing { file: Arc::new(file), growth })
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.0.send_modify(|growth| {
            if let Growth::Writing(written) = growth {
                *written += bytes as u64;
            }
        });
    }

    pub(super) fn whole(&self, whole: Whole) {
        self.0.send_replace(Growth::Whole(whole));
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.send_if_modified(|growth| {
            let unfinished = matches!(growth, Growth::Writing(_));
            if unfinished {
                *growth = Growth::Gone;
            }
            unfinished
        });
    }
}
