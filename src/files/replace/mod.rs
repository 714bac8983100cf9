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
mod exchange;
mod keep;
mod level;
mod plan;
mod remove;
mod site;

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use holdfast_log::fault;
use rustix::fs::Mode;

use self::beside::{Beside, Staged, What};
pub use self::error::ReplaceError;
use self::error::failed;
use self::keep::{How, Keep};
pub use self::plan::{Replacement, Replacements};
use self::site::{Site, is_folder, open_folder};
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

impl Replace<'_> {
    fn sites(&self) -> Result<Vec<Site>, ReplaceError> {
        let sites = Site::all(self.spec)?;
        site::check_apart(&sites)?;
        Ok(sites)
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
            let opened = self.open(&sites, top, key).map(|(beside, root)| {
                made.insert(top.to_vec(), beside);
                Target::of_folder(root)
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
            let staged = match made.get(site.stored.as_bytes()) {
                Some(beside) => self.complete(site, beside, exactly, &report)?,
                None if back && self.is_there(site)? => {
                    made.insert(site.stored.as_bytes().to_vec(), Beside::create(site, key)?);
                    Staged { what: What::Remove, delete: exactly, mode: None }
                }
                None => continue,
            };
            let Some(beside) = made.get(site.stored.as_bytes()) else { continue };
            // What could not be written since the file was opened is told here, whoever else was told of it.
            rustix::fs::syncfs(&beside.tree).map_err(failed("sync what is staged for", &site.path))?;
            beside.record(staged)?;
        }
        Ok(summary)
    }

    /// Makes the folder beside the given path that this is of.
    fn open(&self, sites: &[Site], top: &[u8], key: &str) -> Result<(Beside, OwnedFd), ReplaceError> {
        let site = sites.iter().find(|site| site.stored.as_bytes() == top);
        let site = site.ok_or_else(|| ReplaceError::NotAGivenPath { name: RawPath::new(top) })?;
        site.check(self.own)?;
        let beside = Beside::create(site, key)?;
        let root = beside.tree.try_clone().map_err(failed("open", &site.path))?;
        Ok((beside, root))
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
    fn complete(
        &self,
        site: &Site,
        beside: &Beside,
        exactly: bool,
        report: &Report<'_>,
    ) -> Result<Staged, ReplaceError> {
        let name = stored_name(site)?;
        let staged = Facts::at(&beside.tree, &name).map_err(failed("look at what is staged for", &site.path))?;
        if let Some(live) = site.live(&beside.parent)? {
            match (is_folder(&live), is_folder(&staged)) {
                (true, true) => drop(self.keep(site, How::Link, !exactly, report, live_first(site, beside)?)?),
                (true, false) if !exactly => return Err(ReplaceError::FolderInTheWay { path: site.path.clone() }),
                _ => {}
            }
        }
        let closed = is_folder(&staged) && staged.mode & 0o200 == 0;
        if closed {
            // A folder that its owner may not write cannot be moved by him.
            let fail = failed("make ready what is staged for", &site.path);
            let opened = open_folder(&beside.tree, &name)
                .and_then(|folder| rustix::fs::fchmod(folder, Mode::from_raw_mode(staged.mode | 0o200)));
            opened.map_err(fail)?;
        }
        let mode = closed.then_some(staged.mode);
        Ok(Staged { what: What::Put(staged.id.inode), delete: exactly, mode })
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
