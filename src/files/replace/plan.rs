//! What a restore of given paths in their own places would do, found out without changing anything.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::super::entry::{Entry, Kind};
use super::super::error::FilesError;
use super::super::raw_path::RawPath;
use super::Replace;
use super::error::ReplaceError;
use super::site::Site;

/// What would be done with one given path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// As given.
    pub path: PathBuf,
    /// Where it is, without symbolic links on the way.
    pub real: PathBuf,
    /// What it is called in the stream.
    pub stored: RawPath,
    /// The lowest folder on the way to it that is there.
    pub beside: PathBuf,
    /// Whether the folder it lies in has to be made.
    pub makes_parent: bool,
    /// Content bytes that are restored.
    pub bytes: u64,
}

impl Replacement {
    /// Whether it is called in the stream as it is here: not so the second of two paths with the same last name.
    #[must_use]
    pub fn has_its_own_name(&self) -> bool {
        self.path.file_name().is_some_and(|name| name.as_bytes() == self.stored.as_bytes())
    }
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacements {
    /// Those that the stream has, in the order they are given in.
    pub paths: Vec<Replacement>,
    /// Those that it does not have: they stay as they are.
    pub untouched: Vec<PathBuf>,
}

impl Replace<'_> {
    /// Says what would be done with a stream of these entries. Changes nothing.
    ///
    /// # Errors
    /// [`ReplaceError`]: why it could not be done.
    pub fn plan(&self, entries: impl IntoIterator<Item = io::Result<Entry>>) -> Result<Replacements, ReplaceError> {
        self.spec.check_patterns()?;
        let sites = self.sites()?;
        let device = |site: &Site| site.there.metadata().map(|facts| facts.dev()).unwrap_or_default();
        let devices: HashMap<&[u8], u64> = sites.iter().map(|site| (site.stored.as_bytes(), device(site))).collect();
        let mut bytes: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(FilesError::Index)?;
            let top = top(&entry.path);
            let Some(device) = devices.get(top) else {
                return Err(ReplaceError::NotAGivenPath { name: RawPath::new(top) });
            };
            if let (Kind::HardLink, Some(first)) = (entry.kind, &entry.link)
                && devices.get(self::top(first)) != Some(device)
            {
                return Err(ReplaceError::LinkAcross { name: entry.path.clone(), first: first.clone() });
            }
            let content = if entry.kind == Kind::File { entry.data_length } else { 0 };
            match bytes.get_mut(top) {
                Some(sum) => *sum = sum.saturating_add(content),
                None => drop(bytes.insert(top.to_vec(), content)),
            }
        }
        let mut planned = Replacements { paths: Vec::new(), untouched: Vec::new() };
        for site in sites {
            let Some(bytes) = bytes.get(site.stored.as_bytes()) else {
                planned.untouched.push(site.path);
                continue;
            };
            site.check(self.own)?;
            let makes_parent = site.there != site.parent;
            let real = site.real();
            let Site { path, stored, there, .. } = site;
            planned.paths.push(Replacement { path, real, stored, beside: there, makes_parent, bytes: *bytes });
        }
        Ok(planned)
    }
}

/// The first component of a path of the stream.
fn top(path: &RawPath) -> &[u8] {
    path.as_bytes().split(|byte| *byte == b'/').next().unwrap_or_default()
}
