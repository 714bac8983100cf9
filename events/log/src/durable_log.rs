//! The log that is on disk: journal in front, store behind.
//!
//! ```text
//! append ─► queue ─► writer: check versions ─► journal: write, sync ─► head ─► answer
//!                                                  │
//!                                                  └─► keeper: store: one batch, flush, sync
//! read   ─► catalog: which positions? ─► store up to its tip, journal beyond it
//! ```
//!
//! See [`event_log`](crate::event_log) for the contract, and the folder's layout below.
//!
//! ```text
//! log/journal/00000000000000000001.seg    the truth; its sync is the acknowledgement
//! log/store/                              sled: the same events by position
//! log/store.damaged-1/                    a store that was set aside
//! log/head                                how far the journal is synced, for readers beside the owner
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use holdfast_model::ids::{Position, StreamId, Version};
use holdfast_model::record::Record;
use tokio::sync::watch;

use crate::backlog::{Backlog, Bounds};
use crate::disk::{Disk, SystemDisk};
use crate::error::{OpenError, ReadError};
use crate::event_log::{Append, AppendFuture, EventLog, ReadLog};
use crate::export::{ExportError, Exported};
use crate::head::{self, HeadFile};
use crate::journal;
use crate::journal::writer::{Layout, Writer as Journal};
use crate::keeper;
use crate::latency::AppendLatency;
use crate::queue::Queue;
use crate::recovery;
use crate::report::{OpenReport, StoreReport};
use crate::view::{Health, View};
use crate::writer::Writer;

/// How a log is laid out. The defaults are for everybody but tests.
#[derive(Debug, Clone)]
pub struct Options {
    /// A segment of the journal that would grow past this is closed and a new one started.
    pub segment_bytes: u64,
    /// Room on the disk is taken ahead in steps of this size, with zeros.
    pub reserve_bytes: u64,
    /// What writes the journal.
    pub disk: Arc<dyn Disk>,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, reserve_bytes: 256 << 10, disk: Arc::new(SystemDisk) }
    }
}

/// See the module. One at a time has a folder open; the caller holds the home's lock.
pub struct DurableLog {
    queue: Arc<Queue>,
    view: Arc<View>,
    head: watch::Receiver<Position>,
    poison: Arc<Mutex<Option<String>>>,
    latency: Arc<AppendLatency>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

impl DurableLog {
    /// Opens the log in `dir` (`home/log`), making it where it is missing, and repairs what can be. The report says what
    /// was found and done; append an event that says so if it is not [clean](OpenReport::is_clean).
    ///
    /// # Errors
    /// [`OpenError`]; nothing that was acknowledged is ever dropped to avoid one.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, OpenReport), OpenError> {
        let recovered = recovery::open(dir)?;
        let report = recovered.report;
        tracing::info!(position = report.head.0, clean = report.is_clean(), "{report}");

        let head_path = dir.join(head::NAME);
        let io = |doing, path: &PathBuf| {
            let path = path.clone();
            move |source| OpenError::Io { doing, path, source }
        };
        let head_file = HeadFile::open(dir).map_err(io("open", &head_path))?;
        head_file.set(report.head).map_err(io("write", &head_path))?;

        let layout = Layout {
            dir: dir.join(journal::DIR),
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            disk: options.disk,
        };
        let last = recovered.last.as_ref().map(|(path, end)| (path.as_path(), *end));
        let journal_dir = layout.dir.clone();
        let journal = Journal::new(layout, last, recovered.catalog.chain).map_err(io("open", &journal_dir))?;

        let store = recovered.store.ok_or_else(|| match &report.store {
            StoreReport::Unavailable { reason } => reason.clone(),
            _ => "the store is missing".to_owned(),
        });
        let view = Arc::new(View::new(recovered.catalog, store));
        let queue = Arc::new(Queue::new());
        let poison = Arc::new(Mutex::new(None));
        let latency = Arc::new(AppendLatency::default());
        let (head_sender, head) = watch::channel(report.head);
        let backlog = Arc::new(Backlog::new(Bounds::default()));
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(io("start a thread for", &journal_dir))
        };
        let keeper = {
            let (view, backlog) = (view.clone(), backlog.clone());
            spawn("holdfast-store", Box::new(move || keeper::run(&view, &backlog)))?
        };
        let writer = Writer {
            queue: queue.clone(),
            view: view.clone(),
            journal,
            head_file,
            head: head_sender,
            backlog,
            poison: poison.clone(),
            latency: latency.clone(),
        };
        let writer = spawn("holdfast-log", Box::new(move || writer.run()))?;
        let threads = Mutex::new(Some(Threads { writer, keeper }));
        Ok((Self { queue, view, head, poison, latency, threads }, report))
    }

    /// How the two copies are.
    #[must_use]
    pub fn health(&self) -> Health {
        self.view.health()
    }

    /// How long appends take.
    #[must_use]
    pub fn append_latency(&self) -> &Arc<AppendLatency> {
        &self.latency
    }

    /// Why nothing is taken any more, if so.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        self.poison.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the log out, up to the last whole commit that ends before a position: see [`export`](crate::export). Memory is a commit, and
    /// nothing is held up by it.
    ///
    /// # Errors
    /// [`ExportError`] where the journal cannot be read, or the bytes are not taken.
    pub fn export(&self, before: Position, out: &mut dyn std::io::Write) -> Result<Exported, ExportError> {
        self.check_open()?;
        let before = before.min(self.head().next());
        let route = self.view.catalog().route(Position(1), before);
        crate::export::write(&route, before, out)
    }

    /// Works off what was submitted, brings the store up, and lets go of the files: another open works at once. Appends and
    /// reads are refused from then on. Blocks for as long as that takes; a second call does nothing.
    pub fn close(&self) {
        self.queue.close();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { writer, keeper }) = threads else { return };
        if writer.join().is_err() || keeper.join().is_err() {
            tracing::error!("a thread of the event log broke down");
        }
        self.view.close_store();
    }

    fn check_open(&self) -> Result<(), ReadError> {
        // The writer holds the sender as long as it lives.
        if self.head.has_changed().is_err() { Err(ReadError::Closed) } else { Ok(()) }
    }
}

impl Drop for DurableLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl ReadLog for DurableLog {
    fn read_stream(&self, stream: &StreamId, from: Version, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.check_open()?;
        self.view.read_stream(stream, from, limit)
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.check_open()?;
        self.view.read_all(from, limit)
    }

    fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        self.check_open()?;
        Ok(self.view.catalog().streams.version(stream))
    }

    fn head(&self) -> Position {
        self.view.catalog().head
    }

    fn watch_head(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }
}

impl EventLog for DurableLog {
    fn append(&self, append: Append) -> AppendFuture {
        let queue = self.queue.clone();
        Box::pin(async move {
            append.check()?;
            queue.submit(append).await
        })
    }
}
