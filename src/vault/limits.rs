//! What a vault lets its clients have and do.

use std::time::Duration;

/// The bounds of a vault. The defaults are for everybody but tests.
#[derive(Debug, Clone)]
pub struct VaultLimits {
    /// Largest file that is taken, in bytes.
    pub upload_bytes: u64,
    /// Uploads that a client may have open.
    pub uploads: usize,
    /// Uploads that a client may begin a second for long, and at once after a rest.
    pub begun_per_second: u32,
    /// See [`VaultLimits::begun_per_second`].
    pub begun_at_once: u32,
    /// Uploads of a client that bytes may come for at the same time.
    pub at_once: usize,
    /// Uploads of all clients that bytes may come for at the same time.
    pub at_once_in_all: usize,
    /// Answers that a client may be taking at the same time.
    pub reads_at_once: usize,
    /// How long nothing may come, or be taken, in the middle of a request.
    pub idle: Duration,
    /// How long a MiB may take to come.
    pub pace: Duration,
    /// How long nothing may come for a run before it is deleted.
    pub expire_after: Duration,
    /// Bytes that stay free on the disk, whatever clients want. Where nothing is said: 256 MiB, a tenth of a smaller disk.
    pub min_free: Option<u64>,
    /// Wrong tokens a minute of one address that are answered as such.
    pub guesses_per_minute: u64,
    /// Connections at the same time.
    pub connections: usize,
}

impl Default for VaultLimits {
    fn default() -> Self {
        Self {
            upload_bytes: 1 << 40,
            uploads: 1024,
            begun_per_second: 5,
            begun_at_once: 8192,
            at_once: 8,
            at_once_in_all: 64,
            reads_at_once: 16,
            idle: Duration::from_secs(30),
            pace: Duration::from_secs(120),
            expire_after: Duration::from_secs(24 * 3600),
            min_free: None,
            guesses_per_minute: 10,
            connections: 256,
        }
    }
}
