//! What things are called in a store: one folder an installation, and everything of it below.

use std::fmt;
use std::str::FromStr;

use holdfast_model::ids::{ArtifactName, RunId};
use uuid::Uuid;

use crate::endpoints::{ErrorKind, InvalidObjectName, ObjectName, Prefix, StoreError};
use crate::storage::MANIFEST;

/// The names of one installation.
#[derive(Debug, Clone)]
pub(super) struct Names {
    server_id: Uuid,
}

/// A folder of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folder {
    /// A mark for each run whose deletion was begun.
    Deleted,
    /// A row for each run whose commit was begun, and that no page has yet.
    New,
    /// Rows of many runs.
    Pages,
}

impl Folder {
    fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::New => "new",
            Self::Pages => "pages",
        }
    }
}

fn invalid(error: &InvalidObjectName) -> StoreError {
    StoreError::new(ErrorKind::Fatal, "name a file at the far side", error.to_string())
}

impl Names {
    pub(super) fn of(server_id: Uuid) -> Self {
        Self { server_id }
    }

    pub(super) fn server_id(&self) -> Uuid {
        self.server_id
    }

    fn object(&self, below: &str) -> Result<ObjectName, StoreError> {
        ObjectName::new(format!("{}/{below}", self.server_id)).map_err(|error| invalid(&error))
    }

    fn prefix(&self, below: &str) -> Result<Prefix, StoreError> {
        Prefix::new(format!("{}/{below}", self.server_id)).map_err(|error| invalid(&error))
    }

    /// The folder of all runs.
    pub(super) fn runs(&self) -> Result<Prefix, StoreError> {
        self.prefix("runs")
    }

    /// The folder of a run.
    pub(super) fn run(&self, run_id: RunId) -> Result<Prefix, StoreError> {
        self.prefix(&format!("runs/{run_id}"))
    }

    /// What all names of a run and of those after it come after.
    pub(super) fn before(&self, run_id: RunId) -> Result<ObjectName, StoreError> {
        self.object(&format!("runs/{run_id}"))
    }

    /// A file of a run.
    pub(super) fn file(&self, run_id: RunId, name: &str) -> Result<ObjectName, StoreError> {
        self.object(&format!("runs/{run_id}/{name}"))
    }

    /// What makes a run exist.
    pub(super) fn manifest(&self, run_id: RunId) -> Result<ObjectName, StoreError> {
        self.file(run_id, MANIFEST)
    }

    /// The run and the name of a file that is listed; none for what is no file of a run.
    pub(super) fn file_of(&self, name: &ObjectName) -> Option<(RunId, ArtifactName)> {
        let below = name.as_str().strip_prefix(&format!("{}/runs/", self.server_id))?;
        let (run_id, file) = below.split_once('/')?;
        let (run_id, file) = (run_id.parse::<RunId>().ok()?, file.parse().ok()?);
        // A run id has one spelling.
        below.starts_with(&format!("{run_id}/")).then_some((run_id, file))
    }

    pub(super) fn folder(&self, folder: Folder) -> Result<Prefix, StoreError> {
        self.prefix(&format!("catalog/{}", folder.name()))
    }

    pub(super) fn in_folder(&self, folder: Folder, name: &impl fmt::Display) -> Result<ObjectName, StoreError> {
        self.object(&format!("catalog/{}/{name}", folder.name()))
    }

    /// What a listed name of a folder of the catalogue says; none for what is foreign there.
    pub(super) fn read<T: FromStr>(&self, folder: Folder, name: &ObjectName) -> Option<T> {
        let below = name.as_str().strip_prefix(&format!("{}/catalog/{}/", self.server_id, folder.name()))?;
        below.parse().ok()
    }
}

/// What is said of one run, under a name that is never used again: `<run id>.<uuid>`. The UUID (version 7) says when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) run_id: RunId,
    pub(super) id: Uuid,
}

impl Mark {
    pub(super) fn new(run_id: RunId) -> Self {
        Self { run_id, id: Uuid::now_v7() }
    }

    /// How old it is by the clock of this machine, in seconds; 0 where it is of the future.
    pub(super) fn age(&self, now: i64) -> u64 {
        u64::try_from(now.saturating_sub(made_at(self.id))).unwrap_or(0)
    }
}

/// When an id was made, in Unix seconds (RFC 9562, section 5.7).
fn made_at(id: Uuid) -> i64 {
    id.get_timestamp().and_then(|at| i64::try_from(at.to_unix().0).ok()).unwrap_or(i64::MAX)
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.run_id, self.id)
    }
}

/// A name that is none of ours.
#[derive(Debug)]
pub(super) struct Foreign;

impl FromStr for Mark {
    type Err = Foreign;

    fn from_str(text: &str) -> Result<Self, Foreign> {
        let (run_id, id) = text.split_once('.').ok_or(Foreign)?;
        Ok(Self { run_id: run_id.parse().map_err(|_| Foreign)?, id: id.parse().map_err(|_| Foreign)? })
    }
}

/// A page: `<first run>_<last run>_<rows>.<uuid>`, under a name that is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PageName {
    /// The newest run of it; first here, so that pages sort by it.
    pub(super) last: RunId,
    pub(super) first: RunId,
    pub(super) rows: usize,
    pub(super) id: Uuid,
}

impl PageName {
    /// Whether a run may be in it.
    pub(super) fn spans(&self, run_id: RunId) -> bool {
        (self.first..=self.last).contains(&run_id)
    }

    /// Whether a run may be in both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}.{}", self.first, self.last, self.rows, self.id)
    }
}

impl FromStr for PageName {
    type Err = Foreign;

    fn from_str(text: &str) -> Result<Self, Foreign> {
        let (range, id) = text.split_once('.').ok_or(Foreign)?;
        let mut parts = range.split('_');
        let mut part = || parts.next().ok_or(Foreign);
        let first = part()?.parse().map_err(|_| Foreign)?;
        let last = part()?.parse().map_err(|_| Foreign)?;
        let rows = part()?.parse().map_err(|_| Foreign)?;
        let id = id.parse().map_err(|_| Foreign)?;
        Ok(Self { last, first, rows, id })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn names_read_back_and_those_of_others_are_none() {
        let (mine, theirs) = (Names::of(Uuid::from_u128(1)), Names::of(Uuid::from_u128(2)));
        let (early, late): (RunId, RunId) =
            ("20261121-220000-000042".parse().unwrap(), "20261122-220000-1000000".parse().unwrap());
        let file = mine.file(early, "a.lz4").unwrap();
        assert_eq!(mine.file_of(&file).unwrap(), (early, "a.lz4".parse().unwrap()));
        assert!(theirs.file_of(&file).is_none());
        let mark = Mark::new(late);
        let at = mine.in_folder(Folder::New, &mark).unwrap();
        assert_eq!(mine.read::<Mark>(Folder::New, &at), Some(mark));
        assert!(mine.read::<Mark>(Folder::Deleted, &at).is_none() && theirs.read::<Mark>(Folder::New, &at).is_none());
        let page = PageName { last: late, first: early, rows: 1000, id: Uuid::now_v7() };
        assert_eq!(page.to_string().parse::<PageName>().unwrap(), page);
        for foreign in ["", "x", "20261121-220000-000042", "20261121-220000-000042.x", "a_b_c.d"] {
            assert!(foreign.parse::<Mark>().is_err() && foreign.parse::<PageName>().is_err(), "{foreign}");
        }
        assert!(Mark::new(early).age(i64::from(u32::MAX)) > 0);
    }
}
