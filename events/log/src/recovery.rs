//! Opens a log: makes journal and store whole and equal, each from the other.
//!
//! 1. The journal is read to its end, the store opened and read to its end beside it.
//! 2. Where the journal has a gap, or ends before the store does, the gap is closed from the store. The store only ever gets
//!    commits that the journal had synced, so what it has more was acknowledged.
//! 3. What then is left at the journal's end that is no whole commit is dropped, unless `head` says that somebody was
//!    told of it: an event that was acknowledged and is whole nowhere is never passed over, the log is not opened.
//! 4. A store that is behind is caught up. One that is damaged is set aside and made anew. One that is whole but differs
//!    is another history: the log is not opened.

mod repair;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use holdfast_model::ids::Position;

use crate::durable;
use crate::error::OpenError;
use crate::head;
use crate::journal;
use crate::journal::catalog::Catalog;
use crate::journal::cursor;
use crate::journal::frame::{Encoded, Flaw};
use crate::journal::scan::{Gap, Last, Scan, Scanned, scan};
use crate::journal::segment;
use crate::report::{OpenReport, StoreReport, TornTail};
use crate::store::{self, Store, StoreError, Sweep};

/// The store's folder in the log's.
const STORE: &str = "store";
/// Least bytes of a batch when the store is caught up.
const CATCH_UP_BATCH: usize = 512 << 10;
/// A store that takes longer than this to open is not waited for, and not used.
const STORE_WAIT: Duration = Duration::from_secs(300);

/// A log that is whole.
pub(crate) struct Recovered {
    pub(crate) catalog: Catalog,
    /// The segment to go on with, and where its commits end.
    pub(crate) last: Option<(PathBuf, u64)>,
    pub(crate) store: Option<Store>,
    pub(crate) report: OpenReport,
}

/// Opens the log in `dir`.
///
/// # Errors
/// See [`OpenError`].
pub(crate) fn open(dir: &Path) -> Result<Recovered, OpenError> {
    let journal = dir.join(journal::DIR);
    for folder in [dir, &journal] {
        durable::make_dir(folder, 0o700).map_err(|source| OpenError::io("make", folder, source))?;
    }
    let told = head::read(dir).map_err(|source| OpenError::io("read", &dir.join(head::NAME), source))?;

    let opening = open_store(&dir.join(STORE))?;
    let mut scanned = scan(&journal)?;
    let opened = opening
        .opened
        .recv_timeout(STORE_WAIT)
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the store does not open, or broke down while it did".into())));
    if matches!(opened, Err(StoreError::Locked)) {
        return Err(OpenError::InUse { dir: dir.to_owned() });
    }
    repair::sweep(&journal).map_err(|source| OpenError::io("tidy", &journal, source))?;
    let store = opened.as_ref().ok().map(|(store, _)| store);

    let mut repaired = Vec::new();
    let found = loop {
        let gap = match scanned {
            Scanned::Broken(gap) => gap,
            Scanned::Whole(found) => match missing_end(&journal, &found, store) {
                Some(gap) => gap,
                None => break found,
            },
        };
        let segment = repair::close(dir, &gap, store).map_err(|error| unless_reachable(error, &opened))?;
        tracing::warn!(segment = %segment.segment.display(), reason = segment.reason, "journal segment written anew");
        repaired.push(segment);
        scanned = scan(&journal)?;
    };
    let Scan { catalog, last } = found;
    if let Ok((store, sweep)) = &opened {
        compare(dir, &catalog, store, sweep)?;
    }
    if let Some(told) = told.filter(|told| *told > catalog.head) {
        let gone = acknowledged_but_gone(&journal, &catalog, last.as_ref(), told);
        return Err(unless_reachable(gone, &opened));
    }
    let torn_tail = match &last {
        Some(last) if last.tail > 0 => drop_tail(last, catalog.head)?,
        _ => None,
    };
    let (store, store_report) = settle(&dir.join(STORE), opened, opening.existed, &catalog);
    let report = OpenReport { head: catalog.head, torn_tail, repaired, store: store_report };
    Ok(Recovered { catalog, last: last.map(|last| (last.path, last.end)), store, report })
}

/// A store on its way.
struct Opening {
    existed: bool,
    opened: Receiver<Opened>,
}

type Opened = Result<(Store, Sweep), StoreError>;

/// Opens and reads the store in a thread of its own: beside the journal's scan it costs no time.
fn open_store(dir: &Path) -> Result<Opening, OpenError> {
    let existed = dir.exists();
    let (sender, opened) = mpsc::channel();
    let open = {
        let dir = dir.to_owned();
        move || {
            let opened = Store::open(&dir).map(|store| {
                let sweep = store.sweep();
                (store, sweep)
            });
            // Nobody waits any more after a timeout; the store is closed then.
            let _ = sender.send(opened);
        }
    };
    let spawned = std::thread::Builder::new().name("holdfast-log-open".into()).spawn(open);
    spawned.map(|_| Opening { existed, opened }).map_err(|source| OpenError::io("open", dir, source))
}

/// The gap at the end of a journal that the store goes on from.
fn missing_end(journal: &Path, found: &Scan, store: Option<&Store>) -> Option<Gap> {
    let Catalog { head, chain, .. } = found.catalog;
    store?.commit(head.next(), chain)?;
    let ends_early = Flaw::new("the journal ended before the store");
    let (from, before, until, resume) = (head.next(), chain, None, None);
    Some(match &found.last {
        Some(last) if last.tail > 0 => Gap {
            path: last.path.clone(),
            first: last.first,
            start: last.start,
            offset: Some(last.end),
            resume,
            before,
            from,
            until,
            flaw: last.flaw.unwrap_or(ends_early),
        },
        _ => Gap {
            path: segment::path(journal, from),
            first: from,
            start: chain,
            offset: None,
            resume,
            before,
            from,
            until,
            flaw: ends_early,
        },
    })
}

fn acknowledged_but_gone(journal: &Path, catalog: &Catalog, last: Option<&Last>, told: Position) -> OpenError {
    let next = catalog.head.next();
    let flaw = last.and_then(|last| last.flaw).unwrap_or(Flaw::new("the journal ends before it"));
    let position = flaw.event.filter(|event| (next..=told).contains(event)).unwrap_or(next);
    let segment = last.map_or_else(|| segment::path(journal, next), |last| last.path.clone());
    OpenError::BothDamaged { position, segment, reason: flaw.reason }
}

/// An event is only lost if the store was asked. One that cannot be opened now may have it.
fn unless_reachable(error: OpenError, opened: &Opened) -> OpenError {
    match (error, opened) {
        (OpenError::BothDamaged { position, segment, .. }, Err(StoreError::Unavailable(reason))) => {
            OpenError::StoreNeeded { position, segment, reason: reason.clone() }
        }
        (error, _) => error,
    }
}

/// Cuts off what follows the last commit.
fn drop_tail(last: &Last, after: Position) -> Result<Option<TornTail>, OpenError> {
    let cut = OpenOptions::new().write(true).open(&last.path).and_then(|file| {
        file.set_len(last.end)?;
        durable::sync_file(&file)
    });
    cut.map_err(|source| OpenError::io("cut", &last.path, source))?;
    let torn = TornTail { segment: last.path.clone(), offset: last.end, bytes: last.torn, after };
    Ok(last.flaw.is_some().then_some(torn))
}

/// Makes the store in `dir` equal to the journal, which is whole.
fn settle(dir: &Path, opened: Opened, existed: bool, catalog: &Catalog) -> (Option<Store>, StoreReport) {
    match opened {
        Ok((store, Sweep { head, flaw: None, .. })) => {
            let report = match head {
                _ if !existed && catalog.head == Position::START => StoreReport::Created,
                _ if !existed => StoreReport::Rebuilt { reason: "it was missing".into(), set_aside: None },
                head if head == catalog.head => StoreReport::InStep,
                from => StoreReport::CaughtUp { from },
            };
            bring_up(store, catalog, report)
        }
        Ok((store, Sweep { flaw: Some(reason), .. })) => {
            drop(store);
            rebuild(dir, catalog, reason)
        }
        Err(StoreError::Damaged(reason)) => rebuild(dir, catalog, reason),
        Err(error) => (None, StoreReport::Unavailable { reason: error.to_string() }),
    }
}

/// Refuses a store whose events, as far as they are whole, are not the journal's.
fn compare(dir: &Path, catalog: &Catalog, store: &Store, sweep: &Sweep) -> Result<(), OpenError> {
    let diverged = |position| Err(OpenError::Diverged { position, dir: dir.to_owned() });
    let common = sweep.head.min(catalog.head);
    // Chains are equal only if all before them is. Where they are not, it is worth the long way to the first difference.
    if common > Position::START && first_difference(catalog, store, common, common)?.is_some() {
        return diverged(first_difference(catalog, store, Position(1), common)?.unwrap_or(common));
    }
    // What it has more was not fit to go on from here with.
    if sweep.head > common { diverged(common.next()) } else { Ok(()) }
}

/// The first event of the first commit that is not the store's.
fn first_difference(
    catalog: &Catalog,
    store: &Store,
    from: Position,
    to: Position,
) -> Result<Option<Position>, OpenError> {
    let mut difference = None;
    cursor::commits(&catalog.route(from, to), from, to, |commit| {
        if difference.is_none() && store.chain_at(commit.last()) != Some(commit.chain) {
            difference = Some(commit.first);
        }
        Ok::<_, OpenError>(())
    })?;
    Ok(difference)
}

/// Makes the store anew.
fn rebuild(dir: &Path, catalog: &Catalog, reason: String) -> (Option<Store>, StoreReport) {
    let unavailable = |error: String| {
        let reason = format!("{reason}; it cannot be rebuilt: {error}");
        (None, StoreReport::Unavailable { reason })
    };
    let set_aside = match dir.exists().then(|| store::set_aside(dir)).transpose() {
        Ok(set_aside) => set_aside,
        Err(error) => return unavailable(error.to_string()),
    };
    tracing::warn!(reason, "store of the event log set aside, rebuilding it from the journal");
    match Store::open(dir) {
        Ok(store) => bring_up(store, catalog, StoreReport::Rebuilt { reason, set_aside }),
        Err(error) => unavailable(error.to_string()),
    }
}

/// Adds what the store lacks.
fn bring_up(store: Store, catalog: &Catalog, report: StoreReport) -> (Option<Store>, StoreReport) {
    match catch_up(&store, catalog) {
        Ok(()) => (Some(store), report),
        Err(error) => (None, StoreReport::Unavailable { reason: error.to_string() }),
    }
}

fn catch_up(store: &Store, catalog: &Catalog) -> Result<(), StoreError> {
    let (from, to) = (store.tip().next(), catalog.head);
    let mut batch = Vec::new();
    let mut bytes = 0;
    cursor::commits(&catalog.route(from, to), from, to, |commit| {
        batch.push(Encoded { bytes: commit.bytes.to_vec(), chain: commit.chain });
        bytes += commit.bytes.len();
        if bytes >= CATCH_UP_BATCH {
            store.add(&batch)?;
            batch.clear();
            bytes = 0;
        }
        Ok::<_, StoreError>(())
    })?;
    if batch.is_empty() { Ok(()) } else { store.add(&batch) }
}
