#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use holdfast_actors::ports::Clock;
use holdfast_model::ids::{Sha256, Timestamp};
use sha2::Digest;
use uuid::Uuid;

use super::*;
use crate::endpoints::{Answer, ByteStream, Entry, Page as Listed, Prefix, Source, Stat};
use crate::engine::SystemClock;
use crate::remote::store::StoreRemote;
use crate::remote::{Held, Remote, Standing};
use crate::storage::{MANIFEST, SUMS};

/// A store in memory that counts, lets others go first at each step, and dies after so many writes.
#[derive(Default)]
struct Memory {
    objects: Mutex<BTreeMap<String, Bytes>>,
    writes: AtomicUsize,
    reads: AtomicUsize,
    lists: AtomicUsize,
    dies_after: AtomicUsize,
}

impl Memory {
    fn new(dies_after: usize) -> Arc<Self> {
        Arc::new(Self { dies_after: AtomicUsize::new(dies_after), ..Self::default() })
    }

    fn alive(&self) -> Result<(), StoreError> {
        let done = self.writes.fetch_add(1, Ordering::SeqCst);
        let dead = done >= self.dies_after.load(Ordering::SeqCst);
        if dead { Err(StoreError::new(ErrorKind::Fatal, "write", "killed")) } else { Ok(()) }
    }

    fn names(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    /// The runs of an installation that exist.
    fn runs(&self, server_id: Uuid) -> BTreeSet<RunId> {
        let names = Names::of(server_id);
        let files = self.names().into_iter().filter_map(|name| names.file_of(&ObjectName::new(name).unwrap()));
        files.filter(|(_, file)| file.as_str() == MANIFEST).map(|(run_id, _)| run_id).collect()
    }

    fn count(&self, folder: &str) -> usize {
        self.names().iter().filter(|name| name.contains(&format!("/catalog/{folder}/"))).count()
    }
}

fn missing(name: &ObjectName) -> StoreError {
    StoreError::new(ErrorKind::NotFound, format!("read {name}"), "it is not there")
}

impl Store for Memory {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(async move {
            let bytes = whole(source.open().await?, u64::MAX, "source").await?;
            tokio::task::yield_now().await;
            self.alive()?;
            let mut objects = self.objects.lock().unwrap();
            if put.existing == Existing::Refuse && objects.contains_key(name.as_str()) {
                return Err(StoreError::new(ErrorKind::Exists, format!("write {name}"), "it is there"));
            }
            let length = bytes.len() as u64;
            objects.insert(name.as_str().to_owned(), bytes);
            Ok(length)
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, _: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.reads.fetch_add(1, Ordering::SeqCst);
            let bytes = self.objects.lock().unwrap().get(name.as_str()).cloned().ok_or_else(|| missing(name))?;
            Bytewise(bytes).open().await
        })
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, Stat> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.reads.fetch_add(1, Ordering::SeqCst);
            let size = self.objects.lock().unwrap().get(name.as_str()).map(|bytes| bytes.len() as u64);
            Ok(Stat { size: size.ok_or_else(|| missing(name))?, modified: Some(SystemTime::now()), sha256: None })
        })
    }

    /// A few at a time, so that things change between pages of a listing.
    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, _: usize) -> Answer<'a, Listed> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.lists.fetch_add(1, Ordering::SeqCst);
            let objects = self.objects.lock().unwrap();
            let found = objects.iter().map(|(name, bytes)| (ObjectName::new(name.as_str()).unwrap(), bytes));
            let mut found = found.filter(|(name, _)| prefix.holds(name) && after.is_none_or(|after| name > after));
            let some: Vec<_> = found.by_ref().take(7).collect();
            let next = found.next().and(some.last().map(|(name, _)| name.clone()));
            let modified = Some(SystemTime::UNIX_EPOCH);
            let entries =
                some.into_iter().map(|(name, bytes)| Entry { name, size: bytes.len() as u64, modified }).collect();
            Ok(Listed { entries, next })
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, ()> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.alive()?;
            self.objects.lock().unwrap().remove(name.as_str());
            Ok(())
        })
    }

    fn sweep(&self, _: Duration) -> Answer<'_, u64> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

const SERVER: Uuid = Uuid::from_u128(7);
const SMALL: Sizes = Sizes { marks: 3, rows: 4 };

fn remote(memory: &Arc<Memory>, server_id: Uuid, sizes: Sizes) -> StoreRemote {
    let store: Arc<dyn Store> = memory.clone();
    let names = Names::of(server_id);
    let catalog = Catalog::new(store.clone(), names.clone(), sizes);
    StoreRemote { store, names, catalog, streams: 2, leftover: Duration::from_secs(3600) }
}

fn run_id(number: u32) -> RunId {
    RunId::new(Timestamp((1_800_000_000 + i64::from(number)) * 1_000_000), number)
}

fn row(number: u32) -> RemoteRun {
    RemoteRun {
        run_id: run_id(number),
        run_type: "full".into(),
        status: "completed".into(),
        started_at: i64::from(number),
        finished_at: i64::from(number) + 1,
        received_at: 5,
        files: 2,
        stored_bytes: 9,
        encrypted: false,
        sums_sha256: Sha256([7; 32]),
    }
}

/// The lists of a run without artifacts.
fn lists(server_id: Uuid, number: u32) -> (Bytes, Bytes) {
    let manifest = serde_json::json!({
        "backup_format_version": 1, "server_id": server_id, "app_version": "1", "run_id": run_id(number), "type": "full",
        "trigger": "manual", "status": "completed", "attempt": 1, "started_at": number, "finished_at": number,
        "error_summary": "", "requested_by": "", "requested_participants": [], "size_bytes": 0, "stored_bytes": 0,
        "consistency": { "mode": "concurrent", "barrier_at": 0 }, "participants": [],
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let sums = format!("{}  {MANIFEST}\n", Sha256(sha2::Sha256::digest(&manifest).into()));
    (manifest.into(), sums.into())
}

async fn commit(remote: &StoreRemote, server_id: Uuid, number: u32) -> Result<(), StoreError> {
    let (manifest, sums) = lists(server_id, number);
    remote.commit(&row(number), manifest, sums).await
}

async fn listed(remote: &StoreRemote, most: usize) -> Vec<RemoteRun> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = remote.runs(most, &cursor).await.unwrap();
        assert!(page.rows.len() <= most);
        rows.extend(page.rows);
        match page.next_cursor {
            Some(next) => cursor = next,
            None => return rows,
        }
    }
}

async fn assert_right(memory: &Arc<Memory>, context: &str) {
    for most in [1, 3, 1000] {
        let rows = listed(&remote(memory, SERVER, SMALL), most).await;
        let ids: Vec<RunId> = rows.iter().map(|row| row.run_id).collect();
        let expected: Vec<RunId> = memory.runs(SERVER).into_iter().rev().collect();
        assert_eq!(ids, expected, "{context}, {most} a page\n{:#?}", memory.names());
    }
}

/// A life: commits, deletions, a run that comes again, one that comes late, compactions, the catalogue made anew.
async fn live(memory: &Arc<Memory>) -> Result<(), StoreError> {
    let remote = remote(memory, SERVER, SMALL);
    for number in 10..16 {
        commit(&remote, SERVER, number).await?;
    }
    remote.delete(run_id(11)).await?;
    commit(&remote, SERVER, 11).await?;
    for number in [20, 21, 5, 22, 23, 24] {
        commit(&remote, SERVER, number).await?;
    }
    for number in [10, 12, 13, 24, 20] {
        remote.delete(run_id(number)).await?;
    }
    for number in 30..33 {
        commit(&remote, SERVER, number).await?;
    }
    remote.rebuild().await?;
    remote.delete(run_id(31)).await?;
    commit(&remote, SERVER, 33).await
}

/// Killed before each write of a life: the list is that of the runs that exist; it stays so when things go on, are compacted or made anew.
#[tokio::test]
async fn killed_at_any_write_the_list_is_right() {
    let mut kills = 0;
    loop {
        let memory = Memory::new(kills);
        let lived = live(&memory).await;
        memory.dies_after.store(usize::MAX, Ordering::SeqCst);
        assert_right(&memory, &format!("killed at write {kills}")).await;
        let again = remote(&memory, SERVER, SMALL);
        for number in 40..44 {
            commit(&again, SERVER, number).await.unwrap();
        }
        assert_right(&memory, &format!("killed at write {kills}, and gone on")).await;
        again.catalog.rebuild().await.unwrap();
        assert_right(&memory, &format!("killed at write {kills}, and made anew")).await;
        // A life that is lived again ends as if it had never been interrupted.
        live(&memory).await.unwrap();
        assert_right(&memory, &format!("killed at write {kills}, and lived again")).await;
        if lived.is_ok() {
            break;
        }
        kills += 1;
    }
    assert!(kills > 100, "{kills} writes are a life");
}

/// While others commit, delete and compact, whatever exists all the time is in each list, and what never does is in none.
#[tokio::test]
async fn a_list_made_meanwhile_is_right() {
    let memory = Memory::new(usize::MAX);
    let before = remote(&memory, SERVER, SMALL);
    for number in (100..140).step_by(2) {
        commit(&before, SERVER, number).await.unwrap();
    }
    let stays: BTreeSet<RunId> = memory.runs(SERVER);
    let change = |from: u32| {
        let remote = remote(&memory, SERVER, SMALL);
        async move {
            for number in (from..300).step_by(4) {
                commit(&remote, SERVER, number).await.unwrap();
                remote.catalog.tidy().await.unwrap();
                if number % 3 == 0 {
                    remote.delete(run_id(number)).await.unwrap();
                }
            }
        }
    };
    let changes = async { tokio::join!(change(101), change(103)) };
    let mut changes = std::pin::pin!(changes);
    let lister = remote(&memory, SERVER, SMALL);
    let mut lists = 0;
    let mut is_over = false;
    while !is_over {
        let mut listing = std::pin::pin!(listed(&lister, 5));
        let rows = loop {
            tokio::select! {
                rows = &mut listing => break rows,
                _ = &mut changes, if !is_over => is_over = true,
            }
        };
        let ids: BTreeSet<RunId> = rows.iter().map(|row| row.run_id).collect();
        assert_eq!(ids.len(), rows.len(), "each once");
        assert!(stays.is_subset(&ids), "{:?}", stays.difference(&ids).collect::<Vec<_>>());
        lists += 1;
    }
    assert!(lists > 3, "{lists} lists were made meanwhile");
    assert_right(&memory, "afterwards").await;
}

#[tokio::test]
async fn ninety_thousand_runs_are_listed_out_of_few_objects() {
    let memory = Memory::new(usize::MAX);
    let remote = remote(&memory, SERVER, Sizes::default());
    let rows: BTreeMap<RunId, RemoteRun> = (1..=90_000).map(|number| (run_id(number), row(number))).collect();
    remote.catalog.put_pages(rows).await.unwrap();
    for number in 90_001..90_020 {
        commit(&remote, SERVER, number).await.unwrap();
    }
    memory.reads.store(0, Ordering::SeqCst);
    let newest = remote.runs(100, "").await.unwrap();
    assert_eq!((newest.rows.len(), newest.rows[0].run_id), (100, run_id(90_019)));
    let reads = memory.reads.swap(0, Ordering::SeqCst);
    assert!(reads <= 2 * 19 + 1, "{reads} reads for the newest 100");
    assert_eq!(listed(&remote, 1000).await.len(), 90_019);
    let reads = memory.reads.load(Ordering::SeqCst);
    assert!(reads <= 300, "{reads} reads for all");
}

#[tokio::test]
async fn what_is_old_goes_and_pages_are_few() {
    let memory = Memory::new(usize::MAX);
    let remote = remote(&memory, SERVER, SMALL);
    for number in 0..40 {
        commit(&remote, SERVER, number).await.unwrap();
    }
    assert!(memory.count("new") < 3 && memory.count("pages") <= 11, "{:#?}", memory.names());
    // Marks of deletions two days ago, one of a run that was never deleted.
    let two_days_ago = u64::try_from(SystemClock.now().seconds() - 2 * 86_400).unwrap() * 1000;
    for number in [3, 4, 17, 20] {
        let id = uuid::Builder::from_unix_timestamp_millis(two_days_ago, &[number; 10]).into_uuid();
        let mark = Mark { run_id: run_id(u32::from(number)), id };
        let name = remote.names.in_folder(Folder::Deleted, &mark).unwrap();
        remote.catalog.put(&name, Bytes::new()).await.unwrap();
        if number != 20 {
            memory.delete(&remote.names.manifest(run_id(u32::from(number))).unwrap()).await.unwrap();
        }
    }
    assert_right(&memory, "with marks").await;
    remote.catalog.tidy().await.unwrap();
    assert_eq!(memory.count("deleted"), 0);
    assert_right(&memory, "without marks").await;
    // A commit that was given up.
    remote.catalog.announce(&row(77)).await.unwrap();
    assert_right(&memory, "with a row too many").await;
    let later = SystemClock.now().seconds() + 3601;
    let left = memory.count("new");
    assert_eq!(remote.catalog.sweep(later, Duration::from_secs(3600)).await.unwrap(), 1);
    assert_eq!(memory.count("new"), left - 1);
    // Files of a run that never came to be.
    let orphan = remote.names.file(run_id(78), "a.lz4").unwrap();
    memory.put(&orphan, &Bytewise("x".into()), &Put::default()).await.unwrap();
    assert_eq!(
        remote.standing(run_id(78)).await.unwrap(),
        Standing::Open([("a.lz4".parse().unwrap(), Held { bytes: 1, sha256: None })].into())
    );
    assert_eq!(remote.sweep().await.unwrap(), 1 + 3, "with what is left of the three runs above");
    assert!(!memory.names().contains(&orphan.as_str().to_owned()));
    assert_right(&memory, "swept").await;
}

#[tokio::test]
async fn what_is_damaged_is_made_up_for_by_the_runs() {
    let memory = Memory::new(usize::MAX);
    let remote = remote(&memory, SERVER, SMALL);
    for number in 0..11 {
        commit(&remote, SERVER, number).await.unwrap();
    }
    for (count, name) in memory.names().into_iter().filter(|name| name.contains("/catalog/")).enumerate() {
        let hostile: &[u8] = match count % 3 {
            0 => b"",
            1 => b"{\"version\":1,\"rows\":[]}",
            _ => br#"{"run_id":"20991231-000000-000001"}"#,
        };
        memory.objects.lock().unwrap().insert(name, Bytes::copy_from_slice(hostile));
    }
    assert_right(&memory, "damaged").await;
    // A run whose lists are damaged is listed all the same.
    let sums = remote.names.file(run_id(3), SUMS).unwrap();
    memory.objects.lock().unwrap().insert(sums.as_str().to_owned(), "x".into());
    assert_eq!(remote.rebuild().await.unwrap(), 11);
    assert_right(&memory, "made anew").await;
    let rows = listed(&remote, 100).await;
    assert_eq!(rows.iter().filter(|row| row.status == "unknown").count(), 1);
    assert!(remote.runs(10, "../x").await.is_err());
}

#[tokio::test]
async fn two_installations_in_one_place_never_mingle() {
    let memory = Memory::new(usize::MAX);
    let (mine, theirs) = (remote(&memory, SERVER, SMALL), remote(&memory, Uuid::from_u128(8), SMALL));
    for number in 0..9 {
        commit(&mine, SERVER, number).await.unwrap();
        commit(&theirs, Uuid::from_u128(8), number + 3).await.unwrap();
    }
    mine.delete(run_id(5)).await.unwrap();
    let ids = |rows: Vec<RemoteRun>| rows.iter().map(|row| row.run_id.counter()).collect::<Vec<_>>();
    assert_eq!(ids(listed(&mine, 4).await), [8, 7, 6, 4, 3, 2, 1, 0]);
    assert_eq!(ids(listed(&theirs, 4).await), [11, 10, 9, 8, 7, 6, 5, 4, 3]);
    let foreign = commit(&mine, Uuid::from_u128(8), 50).await.unwrap_err();
    assert!(foreign.to_string().contains("another installation"), "{foreign}");
    let (manifest, sums) = lists(SERVER, 4);
    assert_eq!(
        mine.commit(&row(4), manifest, sums).await.map_err(|error| error.kind()),
        Ok(()),
        "done again it is good"
    );
}
