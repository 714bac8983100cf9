//! `symbols`: what is traded and at which price. A JSON file that is replaced as a whole; in memory one value that is never changed,
//! so a capture is another hand on it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// All symbols, by name.
pub(crate) type Listing = BTreeMap<String, Symbol>;

/// What is traded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Symbol {
    /// The price of one, in cents.
    pub(crate) cents: i64,
    /// How often it was traded.
    pub(crate) trades: u64,
}

/// The symbols.
pub(crate) struct Symbols {
    path: PathBuf,
    listing: RwLock<Arc<Listing>>,
}

impl Symbols {
    /// Opens the file at `path`; where there is none, with these.
    pub(crate) fn open(path: &Path, first: impl FnOnce() -> Listing) -> anyhow::Result<Self> {
        let listing = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => first(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let symbols = Self { path: path.to_owned(), listing: RwLock::new(Arc::new(listing)) };
        symbols.flush()?;
        Ok(symbols)
    }

    /// The symbols as of now.
    pub(crate) fn capture(&self) -> Arc<Listing> {
        self.listing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A trade was made: the price moves by so much, and stays above nothing. In memory until the next flush.
    pub(crate) fn traded(&self, name: &str, by: i64) {
        let mut listing = self.listing.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(symbol) = Arc::make_mut(&mut listing).get_mut(name) {
            symbol.cents = (symbol.cents + by).max(1);
            symbol.trades += 1;
        }
    }

    /// Brings what is in memory to the disk.
    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(&*self.capture())?)
            .with_context(|| format!("cannot write {}", new.display()))?;
        crate::files::replace(&new, &self.path)
    }

    /// Makes a file beside the live one of what was written as a snapshot.
    pub(crate) fn stage(&self, mut snapshot: impl Read, staged: &Path) -> anyhow::Result<()> {
        let mut text = Vec::new();
        snapshot.read_to_end(&mut text)?;
        serde_json::from_slice::<Listing>(&text).context("the snapshot of the symbols is not whole")?;
        fs::write(staged, text).with_context(|| format!("cannot write {}", staged.display()))
    }

    /// Puts a file that was staged in the place of the live one, in one step. Where it is there no more, that was done before.
    pub(crate) fn swap(&self, staged: &Path) -> anyhow::Result<()> {
        let mut listing = self.listing.write().unwrap_or_else(PoisonError::into_inner);
        crate::files::replace(staged, &self.path)?;
        *listing = Arc::new(serde_json::from_slice(&fs::read(&self.path)?)?);
        Ok(())
    }
}

/// Writes a listing as its file has it.
pub(crate) fn write(listing: &Listing, to: &mut dyn Write) -> anyhow::Result<()> {
    to.write_all(&serde_json::to_vec_pretty(listing)?)?;
    Ok(())
}
