//! The vault: a server that keeps the runs of other installations.
//!
//! A client brings the files of a run one by one, each as a resumable upload, and then asks for its commit. Until then the run does not exist;
//! from then on it is never changed, and none of what a client may do takes it away or puts another one in its place.
//!
//! - **What was acknowledged is there.** An answer that names an offset, a file or a run is given once it is on stable storage. `kill -9` at any
//!   instant loses no committed run and leaves nothing half visible: what was promised is finished at the next start, the rest swept.
//! - **A client has its own and nothing else.** A token is bound to one installation (`server_id`). No path, id or cursor leads to another's.
//! - **`append` cannot destroy.** It cannot delete, overwrite or date ahead, and a quota that is full refuses what is new and removes nothing.
//!   The vault stamps each run with the time at which it received it. Runs are deleted by the vault's administration, and by the
//!   holder of a token with the permission `full`, which nobody has to be given.
//! - **Everything is bounded**: uploads open, sizes, requests at once, what waits in memory, how long a client may be silent.
//!
//! # What is spoken
//!
//! HTTP/1.1, answers in JSON (types in [`wire`]); uploads by [tus 1.0](https://tus.io/protocols/resumable-upload) with the extensions
//! creation, creation-with-upload, checksum (sha1, sha256), expiration and termination. Each request but `OPTIONS` shows its token as
//! `Authorization: Bearer …`. `Holdfast-Server-Id: <uuid>` says which installation asks: needed with a token that is bound to none yet, which
//! it binds; with any other it must be the one it is bound to, or be left out.
//!
//! | request | does | good answer |
//! |---|---|---|
//! | `OPTIONS /uploads` | says what of tus is spoken | 204 |
//! | `POST /uploads` | begins an upload: `Upload-Length`, and `Upload-Metadata` with `run_id`, `filename`, `sha256` ([`wire::UploadMetadata`]); a body of `application/offset+octet-stream` is its beginning | 201, `Location`, `Upload-Expires`, with a body `Upload-Offset` |
//! | `GET /uploads?run_id=` | lists open uploads with their offsets, and the run where it is committed ([`wire::VaultUploads`]): all a client needs to go on after it lost its memory | 200 |
//! | `HEAD /uploads/ID` | how much is there and synced | 200, `Upload-Offset`, `Upload-Length` |
//! | `PATCH /uploads/ID` | adds bytes at `Upload-Offset`, checked by `Upload-Checksum` where it is given; the one that ends the file is answered once the file's SHA-256 was compared | 204, `Upload-Offset`, `Upload-Expires` |
//! | `DELETE /uploads/ID` | ends an upload of one's own that is not committed | 204 |
//! | `POST /runs/RUN/commit` | commits: `manifest.json`, `SHA256SUMS` and each file they name must be finished uploads of the run, and nothing else; asked again, it answers the same | 200, [`wire::VaultRun`] |
//! | `GET /runs?limit=&cursor=&summary=` | lists committed runs, the one received last first ([`wire::VaultRuns`]); with `summary=true` also what their manifests say of them | 200 |
//! | `GET /runs/RUN` | one run ([`wire::VaultRun`]) | 200 |
//! | `GET /runs/RUN/FILE`, `HEAD` | a file, or one range of it (`Range`, RFC 9110 section 14) | 200, 206 |
//! | `DELETE /runs/RUN` | deletes a run, with the permission `full` | 204 |
//! | `GET /standing` | who one is here, what one may and has ([`wire::VaultStanding`]) | 200 |
//!
//! `X-HTTP-Method-Override` on `POST` is taken for the method, as tus asks for. Requests under `/uploads` carry `Tus-Resumable: 1.0.0` (listing need
//! not). The order of uploads does not matter to the vault; a client sends the manifest last.
//!
//! What is not good is answered by a [`wire::VaultFault`] with a stable code:
//!
//! | status | codes |
//! |---|---|
//! | 400 | `INVALID_DATA`, `SERVER_ID_NEEDED`, `REQUEST_CUT_OFF` |
//! | 401 | `UNAUTHENTICATED`, `INVALID_TOKEN` |
//! | 403 | `PERMISSION_DENIED`, `FOREIGN_SERVER_ID`, `SERVER_ID_TAKEN`, `RUN_IN_FUTURE` |
//! | 404, 405, 410 | `UNKNOWN_PATH`, `METHOD_NOT_ALLOWED`, `UPLOAD_NOT_FOUND`, `RUN_NOT_FOUND`, `FILE_NOT_FOUND`; `UPLOAD_GONE`, `RUN_DELETED` |
//! | 408 | `TOO_SLOW` |
//! | 409 | `OFFSET_MISMATCH`; `UPLOAD_EXISTS`, whose `Location` is the one to go on with; `RUN_EXISTS`, `UPLOAD_UNFINISHED`, `RUN_INCOMPLETE`, `RUN_NOT_GOOD`, `RUN_LIST_INVALID`, `MANIFEST_FOREIGN`, `FILE_NOT_AS_LISTED`, `FILE_NOT_LISTED`, `SUMS_DISAGREE` |
//! | 412 | `TUS_VERSION`, with `Tus-Version` |
//! | 413, 415, 416 | `UPLOAD_TOO_LARGE`, `UPLOAD_TOO_LONG`; `CONTENT_TYPE`; `RANGE` |
//! | 423 | `UPLOAD_BUSY`, `RUN_COMMITTING`, `RUN_CHANGED`: another request is at it; a moment later it may do |
//! | 429 | `RATE_LIMITED`, `TOO_MANY_UPLOADS`, `TOO_MANY_AT_ONCE` |
//! | 460 | `CHECKSUM_MISMATCH`: none of the request's bytes count; `UPLOAD_DAMAGED`: the whole file came otherwise than said, and its upload has ended |
//! | 503, 507 | `VAULT_UNAVAILABLE`; `NOT_ENOUGH_SPACE`, `QUOTA_EXCEEDED` |
//!
//! A request that is cut off has its bytes kept, as far as they came, where it gave no checksum; `HEAD` says how far that is.

mod admin;
mod book;
mod certificate;
mod commit;
mod error;
mod http;
mod limits;
mod places;
mod receive;
mod refusals;
mod runs;
mod slots;
mod uploads;
mod visitor;
pub mod wire;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_actors::ports::Clock;
use holdfast_log::durable;
use holdfast_log::home::{Home, HomeError, ProgramVersion};
use holdfast_log::owner::Owner;
use holdfast_log::space::Ballast;
use uuid::Uuid;

pub use self::admin::{VaultAdmin, VaultClientRow, VaultTokenRow};
use self::book::Book;
pub use self::certificate::CertificateFiles;
pub use self::error::VaultError;
pub use self::http::{VaultAddress, VaultServer};
pub use self::limits::VaultLimits;
use self::places::ClientPlace;
use self::refusals::Refusals;
use self::slots::Slots;
use self::uploads::Active;
use crate::engine::SystemClock;

/// How often expired uploads are looked for and sums of refusals recorded.
const ROUND: Duration = Duration::from_secs(60);

/// A vault that this process has the right to write in.
pub struct Vault {
    root: PathBuf,
    home: Home,
    _owner: Owner,
    book: Arc<Book>,
    limits: VaultLimits,
    refusals: Refusals,
    slots: Slots,
    active: Mutex<BTreeMap<Uuid, Arc<Active>>>,
    creating: tokio::sync::Mutex<()>,
    committing: tokio::sync::Mutex<()>,
    runtime: tokio::runtime::Handle,
}

fn program() -> ProgramVersion {
    // The version of this crate is one.
    env!("CARGO_PKG_VERSION").parse().unwrap_or(ProgramVersion(0, 0, 0))
}

impl Vault {
    /// Makes a vault at `root`, a folder that is empty or not there. Answers who it is. One that is there stays as it is. Blocks.
    ///
    /// # Errors
    /// [`VaultError::NotAVault`] where the folder holds something else; of the system.
    pub fn init(root: &Path) -> Result<Uuid, VaultError> {
        let is_vault = root.join(places::STATE).is_dir();
        if !is_vault {
            let mut there = match std::fs::read_dir(root) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                there => Some(there.map_err(VaultError::io("list", root))?),
            };
            if there.as_mut().is_some_and(|there| there.next().is_some()) {
                return Err(VaultError::NotAVault(root.to_owned()));
            }
        }
        let state = root.join(places::STATE);
        let home = Home::create(&state, program(), SystemClock.new_id(), SystemClock.now())?;
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(root, closed).map_err(VaultError::io("close to others", root))?;
        durable::sync_dir(root).map_err(VaultError::io("sync", root))?;
        Ok(home.identity().server_id)
    }

    /// Who the vault at `root` is. Reads alone.
    ///
    /// # Errors
    /// [`VaultError::Missing`] where there is none.
    pub fn identity(root: &Path) -> Result<Uuid, VaultError> {
        Ok(open_home(root)?.identity().server_id)
    }

    /// Takes the vault at `root` over, and brings to its end what a process before left half done. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`VaultError::Missing`] where there is none, [`VaultError::Owner`] where another process has it; where its log cannot be opened.
    pub async fn open(root: &Path, limits: VaultLimits) -> Result<Arc<Self>, VaultError> {
        let runtime = tokio::runtime::Handle::current();
        let (path, of_book) = (root.to_owned(), runtime.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let home = open_home(&path)?;
            let owner = Owner::try_acquire(&home.lock(), "vault", SystemClock.now())?;
            let ballast = Ballast::new(home.ballast(), Ballast::SIZE);
            let book = Book::open(&home.log(), ballast, of_book)?;
            Ok::<_, VaultError>((home, owner, book))
        });
        let (home, owner, book) = opened.await.map_err(|error| VaultError::Thread(error.to_string()))??;
        let vault = Arc::new(Self {
            root: root.to_owned(),
            home,
            _owner: owner,
            book,
            limits,
            refusals: Refusals::default(),
            slots: Slots::default(),
            active: Mutex::default(),
            creating: tokio::sync::Mutex::default(),
            committing: tokio::sync::Mutex::default(),
            runtime,
        });
        vault.recover().await?;
        Ok(vault)
    }

    /// Records what was counted and closes the log.
    pub async fn close(self: &Arc<Self>) {
        self.refusals.record(&self.book).await;
        let vault = self.clone();
        if let Err(error) = self.blocking(move || vault.book.close()).await {
            tracing::error!(%error, "the vault's event log did not close");
        }
    }

    /// Does what is to be done from time to time, until its task is ended.
    pub(crate) async fn keep_house(self: Arc<Self>) {
        let mut round = tokio::time::interval(ROUND.min(self.limits.expire_after));
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            round.tick().await;
            if let Err(error) = self.expire().await {
                tracing::error!(%error, "expired uploads cannot be deleted");
            }
            self.refusals.record(&self.book).await;
            let vault = self.clone();
            let _ = self.blocking(move || vault.book.keep_reserve()).await;
        }
    }

    fn place(&self, server_id: Uuid) -> ClientPlace {
        ClientPlace::of(&self.root, server_id)
    }

    fn active(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Active>>> {
        // Each change under the lock is whole.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self) -> io::Result<u64> {
        receive::reserve(&self.root, self.limits.min_free)
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, VaultError> {
        let done = self.runtime.spawn_blocking(work).await;
        done.map_err(|error| VaultError::Thread(error.to_string()))
    }

    /// Does work in a task of its own: a client that hangs up does not end it half-way.
    async fn to_the_end<T, E>(&self, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<VaultError> + Send + 'static,
    {
        let done = self.runtime.spawn(work).await;
        done.unwrap_or_else(|error| Err(VaultError::Thread(error.to_string()).into()))
    }
}

fn open_home(root: &Path) -> Result<Home, VaultError> {
    match Home::open(&root.join(places::STATE), holdfast_log::home::Access::Write, program()) {
        Err(HomeError::Missing(_)) => Err(VaultError::Missing(root.to_owned())),
        opened => Ok(opened?),
    }
}
