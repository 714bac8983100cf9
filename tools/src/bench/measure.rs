//! What a command takes: time by the clock, CPU time, memory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// Longest that one command may take, in seconds.
const DEADLINE: &str = "3600";

/// A command to be measured.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, OsString)>,
    pub(super) folder: PathBuf,
}

impl Step {
    /// A command that runs in `folder`.
    pub(super) fn new(program: impl Into<OsString>, folder: &Path) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new(), folder: folder.to_owned() }
    }

    /// A shell's pipeline, which fails where any of its commands does.
    pub(super) fn shell(script: &str, folder: &Path) -> Self {
        Self::new("bash", folder).args(["-c".into(), format!("set -o pipefail; {script}")])
    }

    pub(super) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(super) fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(super) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }
}

/// What one run of a command took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// By the clock, in seconds.
    pub(super) wall: f64,
    /// Of the processor, by it and its children, in user and kernel mode, in seconds.
    pub(super) cpu: f64,
    /// Most resident memory of its largest process, in MiB.
    pub(super) peak: f64,
    /// A `sync` right after it, which is in none of the others, in seconds.
    pub(super) sync: f64,
}

/// Runs a command and says what it took; what was written is on the disk when this returns.
///
/// The figures are the kernel's (`wait4(2)`), by way of GNU time: a process's peak begins with that of the one which
/// started it, and that one is small.
///
/// # Errors
/// Where it cannot be run, or does not end with status 0; then with the end of what it wrote.
pub(super) fn run(step: &Step) -> anyhow::Result<Taken> {
    let shown = || format!("{} {:?}", step.program.display(), step.arguments);
    let figures = tempfile::NamedTempFile::new().context("cannot make a temp file")?;
    let mut command = Command::new("timeout");
    command
        .args(["--foreground", "--kill-after=10", DEADLINE, "time", "--quiet", "--format=%U %S %M", "--output"])
        .arg(figures.path())
        .arg(&step.program)
        .args(&step.arguments)
        .env_remove("HOLDFAST_CONFIG")
        .env_remove("HOLDFAST_HOME")
        .envs(step.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&step.folder)
        .stdin(Stdio::null());
    let begun = Instant::now();
    let output = command.output().with_context(|| format!("cannot run {}", shown()))?;
    let wall = begun.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    let end: Vec<&str> = said.lines().rev().take(5).collect();
    ensure!(output.status.success(), "{} failed with {}: {end:?}", shown(), output.status);
    let begun = Instant::now();
    rustix::fs::sync();
    let sync = begun.elapsed().as_secs_f64();

    let text = std::fs::read_to_string(figures.path()).context("cannot read what time wrote")?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [user, system, kib] = numbers.as_slice() else { anyhow::bail!("time wrote {text:?}, not three numbers") };
    Ok(Taken { wall, cpu: user + system, peak: kib / 1024.0, sync })
}

/// Several runs of the same, in the order they were made.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Series(pub(super) Vec<Taken>);

impl Series {
    /// The median of one of the figures; not a number where there are none.
    pub(super) fn median(&self, of: impl Fn(&Taken) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }

    pub(super) fn wall(&self) -> f64 {
        self.median(|taken| taken.wall)
    }
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    match (numbers.get(half), numbers.len() % 2) {
        (Some(upper), 0) => numbers.get(half.wrapping_sub(1)).map_or(f64::NAN, |lower| (lower + upper) / 2.0),
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
