//! The home while it comes to be.
//!
//! ```text
//! <home>/.recovering/fetched/     files of the run that hold the state
//! <home>/.recovering/home/        the home, as it will be
//! <home>/.recovering/whole.json   that it is whole, and what it is: from here on it is put in its place, whatever happens
//! ```
//!
//! It is made in the home itself, so that moving it is a rename wherever the home lies. Without `whole.json` all of it is thrown away by the
//! next try; with it nothing is fetched any more, and what was not moved yet is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_actors::ports::Clock;
use holdfast_log::durable;
use holdfast_log::home::RECOVERING;
use holdfast_log::owner::Owner;

use super::{RecoverError, Recovered};
use crate::engine::SystemClock;

const IDENTITY: &str = "home.json";
const LOCK: &str = "lock";
const WHOLE: &str = "whole.json";
/// How long another recovery of the same home is waited for.
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// A home that is being recovered, by this process alone.
pub(super) struct Site {
    root: PathBuf,
    _owner: Owner,
}

/// What an earlier try left.
pub(super) enum Begun {
    /// Nothing that counts.
    Nothing,
    /// All of it, but for its being put in its place.
    Whole(Recovered),
}

impl Site {
    /// Takes a folder for a home that is to be, which is not there, is empty, or was taken so before.
    pub(super) fn take(root: &Path) -> Result<(Self, Begun), RecoverError> {
        // Before anything is made in it.
        refuse_others(root)?;
        make_all(root)?;
        let owner = Owner::acquire(&root.join(LOCK), "recover", SystemClock.now(), LOCK_WAIT)?;
        refuse_others(root)?;
        let site = Self { root: root.to_owned(), _owner: owner };
        let whole = site.folder().join(WHOLE);
        let begun = match fs::read(&whole) {
            Ok(text) => {
                let recovered = serde_json::from_slice(&text);
                Begun::Whole(recovered.map_err(|error| RecoverError::io("read", &whole)(error.into()))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Begun::Nothing,
            Err(error) => return Err(RecoverError::io("read", &whole)(error)),
        };
        Ok((site, begun))
    }

    fn folder(&self) -> PathBuf {
        self.root.join(RECOVERING)
    }

    /// The home, as it will be.
    pub(super) fn home(&self) -> PathBuf {
        self.folder().join("home")
    }

    /// Begins anew: the folder of the home, empty.
    pub(super) fn begin(&self) -> Result<PathBuf, RecoverError> {
        let (folder, home) = (self.folder(), self.home());
        remove(&folder)?;
        for path in [&folder, &home] {
            durable::make_dir(path, 0o700).map_err(RecoverError::io("make", path))?;
        }
        Ok(home)
    }

    /// Where fetched files go.
    pub(super) fn fetched(&self) -> Result<PathBuf, RecoverError> {
        let path = self.folder().join("fetched");
        durable::make_dir(&path, 0o700).map_err(RecoverError::io("make", &path))?;
        Ok(path)
    }

    /// Nothing comes of it: what was made goes. Where it cannot, the next try takes it away.
    pub(super) fn give_up(&self) {
        if let Err(error) = remove(&self.folder()) {
            tracing::warn!(%error, "what was made of a home cannot be taken away");
        }
    }

    /// It is whole: from now on it is put in its place.
    pub(super) fn decide(&self, recovered: &Recovered) -> Result<(), RecoverError> {
        // As it lay there, and part of no home.
        remove(&self.folder().join("fetched"))?;
        let path = self.folder().join(WHOLE);
        let text =
            serde_json::to_vec_pretty(recovered).map_err(|error| RecoverError::io("write", &path)(error.into()))?;
        durable::write_atomic(&path, &text, 0o600).map_err(RecoverError::io("write", &path))
    }

    /// Puts what is whole in its place, or the rest of it.
    pub(super) fn put_in_place(&self) -> Result<(), RecoverError> {
        let home = self.home();
        let mut names = Vec::new();
        if home.is_dir() {
            for entry in fs::read_dir(&home).map_err(RecoverError::io("list", &home))? {
                names.push(entry.map_err(RecoverError::io("list", &home))?.file_name());
            }
        }
        // Without it there is no home yet.
        names.sort_by_key(|name| name == IDENTITY);
        for name in names.iter().filter(|name| *name != LOCK) {
            let (from, to) = (home.join(name), self.root.join(name));
            durable::rename_no_replace(&from, &to).map_err(RecoverError::io("move", &from))?;
            durable::sync_dir(&self.root).map_err(RecoverError::io("sync", &self.root))?;
        }
        remove(&self.folder())?;
        durable::sync_dir(&self.root).map_err(RecoverError::io("sync", &self.root))
    }
}

/// Refuses a folder that holds anything but what a recovery left.
fn refuse_others(root: &Path) -> Result<(), RecoverError> {
    if root.join(RECOVERING).is_dir() {
        return Ok(());
    }
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(RecoverError::io("list", root))?,
    };
    for entry in entries {
        let name = entry.map_err(RecoverError::io("list", root))?.file_name();
        if name != LOCK {
            let holds = name.to_string_lossy().escape_debug().to_string();
            return Err(RecoverError::NotEmpty { home: root.to_owned(), holds, is_home: root.join(IDENTITY).exists() });
        }
    }
    Ok(())
}

/// Makes a folder and those above it; only what is new is closed to others.
fn make_all(path: &Path) -> Result<(), RecoverError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_all(above)?;
    }
    durable::make_dir(path, 0o700).map_err(RecoverError::io("make", path))
}

/// Takes a folder away with all there is in it, where it is there.
fn remove(path: &Path) -> Result<(), RecoverError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RecoverError::io("take away", path)(error)),
        _ => Ok(()),
    }
}
