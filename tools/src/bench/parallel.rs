//! Many participants on one CPU worker, and one participant on many.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::contenders::{Places, holdfast};
use super::measure::{self, Series};

/// A configuration that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Shape {
    pub(super) workers: usize,
    pub(super) participants: usize,
}

const SHAPES: [Shape; 4] = [
    Shape { workers: 0, participants: 1 },
    Shape { workers: 1, participants: 8 },
    Shape { workers: 8, participants: 1 },
    Shape { workers: 0, participants: 8 },
];

/// What each shape took.
///
/// # Errors
/// Where a command fails.
pub(super) fn run(places: &Places, rounds: usize, say: &dyn Fn(&str)) -> anyhow::Result<Vec<(Shape, Series)>> {
    let mut taken: Vec<(Shape, Series)> = SHAPES.into_iter().map(|shape| (shape, Series::default())).collect();
    let home = places.work.join("parallel-home");
    let config = places.work.join("parallel.toml");
    for round in 0..rounds {
        for turn in 0..taken.len() {
            let at = (round + turn) % taken.len();
            let Some((shape, series)) = taken.get_mut(at) else { continue };
            std::fs::write(&config, shape.config(&places.data)?).context("cannot write a configuration")?;
            let result = measure::run(&holdfast(places, &home).arg("--config").arg(&config).arg("backup"))?;
            say(&format!("round {} of {rounds}: {shape:?} {:.2} s", round + 1, result.wall));
            series.0.push(result);
            std::fs::remove_dir_all(&home).context("cannot remove a home")?;
        }
    }
    Ok(taken)
}

impl Shape {
    /// A configuration that shares the data set out over its participants.
    fn config(self, data: &Path) -> anyhow::Result<String> {
        let mut shares = vec![Vec::new(); self.participants];
        let mut paths = Vec::new();
        for folder in ["sources", "sql", "media"] {
            let folder = data.join(folder);
            let list = || format!("cannot list {}", folder.display());
            for entry in std::fs::read_dir(&folder).with_context(list)? {
                paths.push(entry.with_context(list)?.path());
            }
        }
        paths.sort();
        for (number, path) in paths.into_iter().enumerate() {
            let share = shares.get_mut(number % self.participants).context("no participants")?;
            share.push(path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{path:?} is not UTF-8"))?);
        }
        let mut text =
            format!("[pipeline]\nworkers = {}\n[runs]\nmax_parallel = {}\n", self.workers, self.participants);
        for (number, share) in shares.iter().enumerate() {
            // JSON's strings are TOML's, too. Writing to a string cannot fail.
            let paths = serde_json::to_string(share)?;
            let _ = write!(text, "[[participant]]\nname = \"part-{number}\"\nkind = \"files\"\npaths = {paths}\n");
        }
        Ok(text)
    }
}
