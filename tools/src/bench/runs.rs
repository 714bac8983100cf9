//! Backup, second backup, restore and check of the same data by all contenders, in turns.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::contenders::{Contender, Places, Task};
use super::measure::{self, Series};

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Runs {
    /// By task and contender.
    #[serde(serialize_with = "as_rows")]
    pub(super) taken: BTreeMap<(Task, Contender), Series>,
    /// Bytes of one backup: of ours without the event log, which is a few MB and its reserve for a full disk.
    pub(super) stored: BTreeMap<Contender, u64>,
}

fn as_rows<S: serde::Serializer>(
    taken: &BTreeMap<(Task, Contender), Series>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(taken.iter().map(|((task, contender), series)| (task, contender, series)))
}

/// Runs `rounds` rounds. In each, each task is done by all contenders, one after the other, and another one begins each time.
///
/// # Errors
/// Where a command fails.
pub(super) fn run(
    places: &Places,
    contenders: &[Contender],
    rounds: usize,
    say: &dyn Fn(&str),
) -> anyhow::Result<Runs> {
    let mut runs = Runs::default();
    for round in 0..rounds {
        for (turn, task) in Task::ALL.into_iter().enumerate() {
            let mut order = contenders.to_vec();
            order.rotate_left((round + turn) % contenders.len().max(1));
            for contender in order {
                let Some(step) = contender.step(task, places)? else { continue };
                if task == Task::First {
                    contender.prepare(places).iter().try_for_each(|step| measure::run(step).map(|_| ()))?;
                }
                let taken = measure::run(&step)?;
                say(&format!(
                    "round {} of {rounds}: {}: {} {:.2} s",
                    round + 1,
                    task.title(),
                    contender.name(),
                    taken.wall
                ));
                runs.taken.entry((task, contender)).or_default().0.push(taken);
                match task {
                    Task::First => {
                        runs.stored.insert(contender, bytes_below(&contender.stored(places))?);
                    }
                    Task::Restore => {
                        clear(&contender.target(places))?;
                    }
                    Task::Again | Task::Check => {}
                }
            }
        }
        for contender in contenders {
            clear(&contender.store(places))?;
        }
        for cache in ["cache-restic", "cache-borg"] {
            clear(&places.work.join(cache))?;
        }
    }
    Ok(runs)
}

/// Removes a folder, if it is there, and waits until the disk is done with that.
fn clear(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        rustix::fs::sync();
    }
    Ok(())
}

/// What the files below a folder hold, by their lengths.
///
/// # Errors
/// As the file system says.
pub(super) fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let context = || format!("cannot list {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            let metadata = entry.metadata().with_context(context)?;
            if metadata.is_dir() { open.push(entry.path()) } else { sum += metadata.len() }
        }
    }
    Ok(sum)
}
