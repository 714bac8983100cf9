//! Peak memory by the size of the input.

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::contenders::{Places, holdfast};
use super::dataset;
use super::measure::{self, Taken};

/// Bytes of the inputs.
const SIZES: [u64; 3] = [100_000_000, 1_000_000_000, 10_000_000_000];

/// What one size took.
#[derive(Debug, Clone, Serialize)]
pub(super) struct OfSize {
    pub(super) bytes: u64,
    pub(super) backup: Taken,
    pub(super) verify: Taken,
    pub(super) restore: Taken,
}

/// Backs one file of each size up, verifies and restores it.
///
/// # Errors
/// Where a command fails.
pub(super) fn run(places: &Places, size: f64, say: &dyn Fn(&str)) -> anyhow::Result<Vec<OfSize>> {
    SIZES.iter().map(|full| one(places, (*full as f64 * size) as u64, say)).collect()
}

fn one(places: &Places, bytes: u64, say: &dyn Fn(&str)) -> anyhow::Result<OfSize> {
    let [data, home, target] = ["memory-data", "memory-home", "memory-restored"].map(|name| places.work.join(name));
    let bytes = dataset::dump(&data, 0, bytes)?;
    rustix::fs::sync();
    say(&format!("memory: {bytes} bytes"));
    let call = || holdfast(places, &home);
    let backup = measure::run(&call().arg("backup").arg(&data))?;
    remove(&data)?;
    let verify = measure::run(&call().args(["verify", "latest"]))?;
    let restore = measure::run(&call().args(["restore", "latest", "--target"]).arg(&target))?;
    remove(&target)?;
    remove(&home)?;
    Ok(OfSize { bytes, backup, verify, restore })
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
