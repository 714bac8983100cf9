//! The commit: what is staged and what is live exchange their names. And what follows from it.

use holdfast_log::fault;
use rustix::fs::{Mode, RenameFlags};

use super::super::facts::Facts;
use super::super::report::{Observer, Report};
use super::beside::{Beside, Staged, What};
use super::error::{ReplaceError, failed};
use super::keep::How;
use super::site::{Site, is_folder, open_folder};
use super::{Replace, live_first, stored_name};

impl Replace<'_> {
    /// Puts what is staged under `key` in the place of what is live. Done again it goes on to the same end. On the way `back` there may be
    /// nothing to do: nothing was there, and nothing is.
    ///
    /// # Errors
    /// [`ReplaceError::NotStaged`]; else as the system says, with some of the given paths in place and some not.
    pub fn commit(&self, key: &str, back: bool, observer: &dyn Observer) -> Result<(), ReplaceError> {
        let mut staged = Vec::new();
        for site in self.sites()? {
            let Some(beside) = Beside::open(&site, key)? else { continue };
            let is = beside.staged().ok_or_else(|| ReplaceError::NotStaged { path: site.path.clone() })?;
            site.check_mounts()?;
            staged.push((site, beside, is));
        }
        let Some((first, ..)) = staged.first() else {
            let path = self.spec.paths.first().cloned().unwrap_or_default();
            return if back { Ok(()) } else { Err(ReplaceError::NotStaged { path }) };
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
        if let (What::Put(_), Some(mode)) = (staged.what, staged.mode) {
            let closed = open_folder(&beside.parent, &site.name)
                .and_then(|folder| rustix::fs::fchmod(folder, Mode::from_raw_mode(mode)));
            closed.map_err(failed("close again", &site.path))?;
        }
        for folder in [&beside.parent, &beside.tree] {
            rustix::fs::fsync(folder).map_err(failed("sync what was put in place at", &site.path))?;
        }
        fault::point("exchange.synced");
        self.sweep(site, beside, staged, report)
    }

    /// After the exchange: moves over what came to the tree that was replaced since it was staged.
    pub(super) fn sweep(
        &self,
        site: &Site,
        beside: &Beside,
        staged: Staged,
        report: &Report<'_>,
    ) -> Result<(), ReplaceError> {
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
}
