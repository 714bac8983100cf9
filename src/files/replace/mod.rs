//! Given paths put back where they are.
//!
//! ```text
//! plan ─► stage ─► commit ─► verify
//!            └────────┴─► discard
//! ```
//!
//! A given path is replaced as a whole: what the backup has of it is restored [beside] it, with what is [kept](keep) of the live tree, and
//! the two exchange their names in one step. So there is no moment in which the path is not there, and who has a file of the old tree open
//! keeps it. Several given paths are several steps.
//!
//! What holds:
//!
//! - **Nothing before it is whole.** Staging ends with everything on stable storage, then with a record of which inode is to be live.
//! - **Any step may be repeated**, by this process or the next: the record and the inode that is live say what is left to do. Staging anew
//!   first takes away what any earlier one left, and from one whose exchange was made what came meanwhile.
//! - **Nothing is lost that is in no backup**, unless deletion was asked for: what cannot be kept is refused while it is staged.
//! - **Nothing outside.** All folders are opened below each other and never through symbolic links; those in a given path itself are followed
//!   as a backup follows them, once.

mod beside;
mod error;
mod keep;
mod remove;
mod site;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use holdfast_log::fault;
use rustix::fs::RenameFlags;

use self::beside::{Beside, Staged, What};
pub use self::error::ReplaceError;
use self::error::failed;
use self::keep::{How, Keep};
use self::site::{Site, is_folder, open_folder};
use super::entry::{Entry, Kind};
use super::error::FilesError;
use super::extract::{ExtractOptions, extract_by_top};
use super::facts::Facts;
use super::raw_path::RawPath;
use super::report::{Observer, Report, Summary};
use super::spec::FilesSpec;
use super::target::Target;

/// A restore of given paths in their own places.
#[derive(Debug, Clone, Copy)]
pub struct Replace<'a> {
    /// The given paths, and what is left out of their backups.
    pub spec: &'a FilesSpec,
    /// Files and folders that Holdfast itself works with, without symbolic links on the way: none of them is moved.
    pub own: &'a [PathBuf],
}

/// What would be done with one given path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// As given.
    pub path: PathBuf,
    /// What it is called in the stream.
    pub stored: RawPath,
    /// The lowest folder on the way to it that is there.
    pub beside: PathBuf,
    /// Whether the folder it lies in has to be made.
    pub makes_parent: bool,
    /// Content bytes that are restored.
    pub bytes: u64,
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
    fn sites(&self) -> Result<Vec<Site>, ReplaceError> {
        let sites = Site::all(self.spec)?;
        site::check_apart(&sites)?;
        Ok(sites)
    }

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
            let Site { path, stored, there, .. } = site;
            planned.paths.push(Replacement { path, stored, beside: there, makes_parent, bytes: *bytes });
        }
        Ok(planned)
    }

    /// Restores a stream beside the given paths, durably, under `key`. `exactly` what the stream has is to be live after the commit: what else
    /// is live now is removed, but for what no backup takes. On the way `back` that is also a given path that the stream does not have.
    ///
    /// # Errors
    /// [`ReplaceError`]; what was made until then is taken away by [`Replace::discard`].
    pub fn stage(
        &self,
        reader: &mut dyn Read,
        key: &str,
        (exactly, back): (bool, bool),
        observer: &dyn Observer,
    ) -> Result<Summary, ReplaceError> {
        self.discard(observer)?;
        let sites = self.sites()?;
        let mut made: HashMap<Vec<u8>, Beside> = HashMap::new();
        let mut refused = None;
        let mut open = |top: &[u8]| {
            let opened = self.open(&sites, top, key).and_then(|beside| {
                let root = beside
                    .tree
                    .try_clone()
                    .map_err(failed("open", &self.spec.paths.first().cloned().unwrap_or_default()))?;
                made.insert(top.to_vec(), beside);
                Ok(Target::of_folder(root))
            });
            opened.map_err(|error| {
                let told = FilesError::Refused { path: RawPath::new(top), reason: error.to_string() };
                refused = Some(error);
                told
            })
        };
        let extracted = extract_by_top(reader, &mut open, &ExtractOptions::default(), observer);
        let summary = match (extracted, refused) {
            (Ok(summary), None) => summary,
            (_, Some(error)) => return Err(error),
            (Err(error), None) => return Err(error.into()),
        };
        fault::point("stage.extracted");
        let report = Report::new(observer);
        for site in &sites {
            let what = match made.get(site.stored.as_bytes()) {
                Some(beside) => self.complete(site, beside, exactly, &report)?,
                None if back && self.is_there(site)? => {
                    made.insert(site.stored.as_bytes().to_vec(), Beside::create(site, key)?);
                    What::Remove
                }
                None => continue,
            };
            let Some(beside) = made.get(site.stored.as_bytes()) else { continue };
            // What could not be written since the file was opened is told here, whoever else was told of it.
            rustix::fs::syncfs(&beside.tree).map_err(failed("sync what is staged for", &site.path))?;
            beside.record(Staged { what, delete: exactly })?;
        }
        Ok(summary)
    }

    fn open(&self, sites: &[Site], top: &[u8], key: &str) -> Result<Beside, ReplaceError> {
        let site = sites.iter().find(|site| site.stored.as_bytes() == top);
        let site = site.ok_or_else(|| ReplaceError::NotAGivenPath { name: RawPath::new(top) })?;
        site.check(self.own)?;
        Beside::create(site, key)
    }

    fn is_there(&self, site: &Site) -> Result<bool, ReplaceError> {
        if site.there != site.parent {
            return Ok(false);
        }
        let is_there = site.live(site.open_parent(false)?)?.is_some();
        if is_there {
            site.check(self.own)?;
        }
        Ok(is_there)
    }

    /// Adds what is kept of the live tree to what is staged.
    fn complete(&self, site: &Site, beside: &Beside, exactly: bool, report: &Report<'_>) -> Result<What, ReplaceError> {
        let name = stored_name(site)?;
        let staged = Facts::at(&beside.tree, &name).map_err(failed("look at what is staged for", &site.path))?;
        if let Some(live) = site.live(&beside.parent)? {
            match (is_folder(&live), is_folder(&staged)) {
                (true, true) => drop(self.keep(site, How::Link, !exactly, report, live_first(site, beside)?)?),
                (true, false) if !exactly => return Err(ReplaceError::FolderInTheWay { path: site.path.clone() }),
                _ => {}
            }
        }
        Ok(What::Put(staged.id.inode))
    }

    fn keep(
        &self,
        site: &Site,
        how: How,
        all: bool,
        report: &Report<'_>,
        (from, to): (OwnedFd, OwnedFd),
    ) -> Result<bool, ReplaceError> {
        Keep { how, all, exclude: &self.spec.exclude, path: &site.path, report }.run(from, to)
    }

    /// Puts what is staged under `key` in the place of what is live. Done again it goes on to the same end.
    ///
    /// # Errors
    /// [`ReplaceError::NotStaged`]; else as the system says, with some of the given paths in place and some not.
    pub fn commit(&self, key: &str, observer: &dyn Observer) -> Result<(), ReplaceError> {
        let mut staged = Vec::new();
        for site in self.sites()? {
            let Some(beside) = Beside::open(&site, key)? else { continue };
            let is = beside.staged().ok_or_else(|| ReplaceError::NotStaged { path: site.path.clone() })?;
            site.check_mounts()?;
            staged.push((site, beside, is));
        }
        let Some((first, ..)) = staged.first() else {
            let path = self.spec.paths.first().cloned().unwrap_or_default();
            // Nothing was there before, and nothing is now.
            return if key.ends_with("-back") { Ok(()) } else { Err(ReplaceError::NotStaged { path }) };
        };
        tracing::info!(path = %first.path.display(), paths = staged.len(), "files are put in place");
        let report = Report::new(observer);
        staged.iter().try_for_each(|(site, beside, is)| self.exchange(site, beside, *is, &report))
    }

    fn exchange(&self, site: &Site, beside: &Beside, staged: Staged, report: &Report<'_>) -> Result<(), ReplaceError> {
        let stored = stored_name(site)?;
        let live = site.live(&beside.parent)?;
        fault::point("exchange.before");
        let exchanged = match (staged.what, live) {
            (What::Put(inode), Some(live)) if live.id.inode == inode => Ok(()),
            (What::Put(_), Some(_)) => {
                rustix::fs::renameat_with(&beside.tree, &stored, &beside.parent, &site.name, RenameFlags::EXCHANGE)
            }
            (What::Put(_), None) => {
                rustix::fs::renameat_with(&beside.tree, &stored, &beside.parent, &site.name, RenameFlags::NOREPLACE)
            }
            (What::Remove, Some(_)) => {
                rustix::fs::renameat_with(&beside.parent, &site.name, &beside.tree, &stored, RenameFlags::NOREPLACE)
            }
            (What::Remove, None) => Ok(()),
        };
        exchanged.map_err(failed("put in place what is staged for", &site.path))?;
        fault::point("exchange.after");
        for folder in [&beside.parent, &beside.tree] {
            rustix::fs::fsync(folder).map_err(failed("sync what was put in place at", &site.path))?;
        }
        fault::point("exchange.synced");
        self.sweep(site, beside, staged, report)
    }

    /// After the exchange: moves over what came to the tree that was replaced since it was staged.
    fn sweep(&self, site: &Site, beside: &Beside, staged: Staged, report: &Report<'_>) -> Result<(), ReplaceError> {
        let stored = stored_name(site)?;
        let (What::Put(inode), Some(live)) = (staged.what, site.live(&beside.parent)?) else { return Ok(()) };
        let replaced = Facts::at(&beside.tree, &stored).ok();
        let folders = is_folder(&live) && replaced.as_ref().is_some_and(is_folder);
        if live.id.inode != inode || !folders {
            return Ok(());
        }
        let (live, replaced) = live_first(site, beside)?;
        if self.keep(site, How::Move, !staged.delete, report, (replaced, live))? {
            rustix::fs::syncfs(&beside.parent).map_err(failed("sync", &site.path))?;
        }
        Ok(())
    }

    /// Sees whether what is live at each given path that was put in place under `key` is the very tree that was staged: whose bytes were all
    /// read and compared on their way, and synced. It does not read them again, and does not see what was changed within the tree since. Then
    /// what was replaced is removed.
    ///
    /// # Errors
    /// [`ReplaceError::Replaced`].
    pub fn verify(&self, key: &str) -> Result<(), ReplaceError> {
        let mut replaced = Vec::new();
        for site in self.sites()? {
            let Some(beside) = Beside::open(&site, key)? else { continue };
            let live = site.live(&beside.parent)?;
            let is = match beside.staged().map(|staged| staged.what) {
                Some(What::Put(inode)) => live.is_some_and(|live| live.id.inode == inode),
                Some(What::Remove) => live.is_none(),
                None => false,
            };
            if !is {
                return Err(ReplaceError::Replaced { path: site.path });
            }
            replaced.push((site, beside));
        }
        for (site, beside) in replaced {
            if let Err(error) = beside.remove() {
                tracing::warn!(path = %site.path.display(), %error, "what was replaced stays until the next restore");
            }
        }
        Ok(())
    }

    /// Takes away what any restore left beside the given paths. Where an exchange was made and not followed up, what came meanwhile is moved
    /// over first.
    ///
    /// # Errors
    /// As the system says.
    pub fn discard(&self, observer: &dyn Observer) -> Result<(), ReplaceError> {
        let report = Report::new(observer);
        for site in self.sites()? {
            for beside in beside::left(&site)? {
                if let Some(staged) = beside.staged() {
                    self.sweep(&site, &beside, staged, &report)?;
                }
                beside.remove()?;
            }
        }
        Ok(())
    }
}

/// The live folder and the one beside it.
fn live_first(site: &Site, beside: &Beside) -> Result<(OwnedFd, OwnedFd), ReplaceError> {
    let stored = stored_name(site)?;
    let open = || Ok((open_folder(beside.parent.as_fd(), &site.name)?, open_folder(&beside.tree, &stored)?));
    open().map_err(|errno: rustix::io::Errno| failed("open", &site.path)(errno))
}

fn stored_name(site: &Site) -> Result<std::ffi::CString, ReplaceError> {
    std::ffi::CString::new(site.stored.as_bytes()).map_err(failed("name", &site.path))
}

/// The first component of a path of the stream.
fn top(path: &RawPath) -> &[u8] {
    path.as_bytes().split(|byte| *byte == b'/').next().unwrap_or_default()
}
