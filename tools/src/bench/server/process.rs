//! A server in a process of its own: what it says first, what it takes, its end.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Longest that a server takes to say where it listens, and to end.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often its end is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// A server; killed where it is dropped before it has ended, and with this process.
pub(in crate::bench) struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: PathBuf,
}

/// What a process has taken so far.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Usage {
    /// Of the processor, in user and kernel mode, in seconds.
    pub(super) cpu: f64,
    /// Most resident memory so far, in MiB.
    pub(super) peak: f64,
}

impl Process {
    /// Starts a program; what it writes to standard error goes to a file.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(in crate::bench) fn start(program: &Path, arguments: &[&str], errors: PathBuf) -> anyhow::Result<Self> {
        let file = std::fs::File::create(&errors).with_context(|| format!("cannot write {}", errors.display()))?;
        // It becomes the program, with the same process id.
        let mut child = std::process::Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .env_remove("HOLDFAST_CONFIG")
            .env_remove("HOLDFAST_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("a child has no output")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            // Read to its end, also where nobody looks any more: the child must not wait for that.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Ok(Self { child, lines, errors })
    }

    /// Waits for the first line in which something is found.
    ///
    /// # Errors
    /// Where it ends before, or takes too long.
    pub(in crate::bench) fn wait_for<T>(&self, found: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).with_context(|| {
                let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
                format!("the server does not say where it listens: {}", errors.trim())
            })?;
            if let Some(found) = found(&line) {
                return Ok(found);
            }
        }
    }

    /// What it has taken so far.
    ///
    /// # Errors
    /// Where it is not there any more.
    pub(in crate::bench) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(&self.child.id().to_string())
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// Where it does not end in time; then it is killed.
    pub(super) fn end(mut self) -> anyhow::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("cannot end a server")?;
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < until, "a server does not end");
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Usage {
    /// Of a process, as `/proc` names it.
    fn of(process: &str) -> anyhow::Result<Self> {
        let context = || format!("process {process} is not there");
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).with_context(context)?;
        // The name before it may hold anything (proc_pid_stat(5)); then fields 14 and 15 are the twelfth and the next.
        let (_, fields) = stat.rsplit_once(')').with_context(context)?;
        let ticks =
            fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).with_context(context)?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: f64 = peak.and_then(|line| line.split_whitespace().next()?.parse().ok()).with_context(context)?;
        Ok(Self { cpu: ticks as f64 / rustix::param::clock_ticks_per_second() as f64, peak: kib / 1024.0 })
    }

    /// Of this process.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub(super) fn own() -> anyhow::Result<Self> {
        Self::of("self")
    }
}
