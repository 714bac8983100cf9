//! Children of the tests: started, listened to, waited for with a deadline, killed when dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

use super::DEADLINE;

/// A program to be started.
pub(crate) struct Invocation {
    command: Command,
}

impl Invocation {
    pub(super) fn new(command: Command) -> Self {
        Self { command }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// The same program, arguments and environment, run by another program that takes them as its last arguments.
    fn through<S: AsRef<OsStr>>(self, program: &str, args: impl IntoIterator<Item = S>) -> Self {
        let mut outer = Command::new(program);
        outer.args(args).arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        outer.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = self.command.get_current_dir() {
            outer.current_dir(folder);
        }
        Self { command: outer }
    }

    /// Without root's right to read and write what modes forbid; the uid stays.
    pub(crate) fn without_privileges(self) -> Self {
        if !super::root() {
            return self;
        }
        super::need("setpriv", "util-linux");
        self.through("setpriv", ["--bounding-set=-all", "--inh-caps=-all", "--"])
    }

    /// In a mount namespace of its own, after a shell script that may mount; the mounts end with the process.
    pub(crate) fn with_mounts(self, script: &str) -> Self {
        super::need("unshare", "util-linux");
        super::need("mount", "mount");
        let namespaces = if super::root() { "--mount" } else { "--map-root-user" };
        let script = format!("set -e; {script}; exec \"$@\"");
        self.through("unshare", ["--mount", namespaces, "sh", "-c", script.as_str(), "sh"])
    }

    /// With a clock that stands somewhere else, for example `-2d`. Only the time of day: what waits goes by the real one.
    pub(crate) fn clock(self, offset: &str) -> Self {
        super::need("faketime", "faketime");
        // Not by the program of that name: it stays between, and does not pass on how its child ended.
        let library = "/usr/$LIB/faketime/libfaketimeMT.so.1";
        self.env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }

    /// With standard error into a file, or whatever is there.
    pub(crate) fn errors_into(self, path: &Path) -> Self {
        let script = format!("exec \"$@\" 2>'{}'", path.display());
        self.through("sh", ["-c", script.as_str(), "sh"])
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Finished {
        self.spawn().wait()
    }

    /// Starts it and listens.
    pub(crate) fn spawn(mut self) -> Running {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let what = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
        let out = Stream::listen(child.stdout.take().expect("stdout is a pipe"));
        let err = Stream::listen(child.stderr.take().expect("stderr is a pipe"));
        Running { what, child, out, err, ended: None }
    }
}

/// What a child says on one of its pipes, line by line.
struct Stream {
    lines: Receiver<Vec<u8>>,
    heard: Vec<u8>,
}

impl Stream {
    fn listen(pipe: impl Read + Send + 'static) -> Self {
        let (send, lines) = channel();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                if send.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { lines, heard: Vec::new() }
    }

    fn next(&mut self, until: Instant) -> Result<String, RecvTimeoutError> {
        let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()))?;
        self.heard.extend_from_slice(&line);
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// All that was said, once the child has ended.
    fn rest(&mut self) -> Vec<u8> {
        let until = Instant::now() + DEADLINE;
        while self.next(until).is_ok() {}
        std::mem::take(&mut self.heard)
    }
}

fn wait_for(stream: &mut Stream, mut found: impl FnMut(&str) -> bool) -> Result<String, RecvTimeoutError> {
    let until = Instant::now() + DEADLINE;
    loop {
        let line = stream.next(until)?;
        if found(&line) {
            return Ok(line);
        }
    }
}

/// A child that may still run. Killed when dropped.
pub(crate) struct Running {
    what: String,
    child: Child,
    out: Stream,
    err: Stream,
    ended: Option<ExitStatus>,
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal; nothing happens if the child has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        // Not yet waited for, so the pid is still the child's.
        if self.ended.is_none() {
            let _ = kill_process(self.pid(), signal);
        }
    }

    /// The next line on standard output that is looked for, with those before it passed over.
    ///
    /// # Panics
    /// If the output ends or the deadline passes before.
    pub(crate) fn wait_for_line(&mut self, looked_for: &str, found: impl FnMut(&str) -> bool) -> String {
        let line = wait_for(&mut self.out, found);
        line.unwrap_or_else(|error| self.fail_waiting(looked_for, error))
    }

    /// The same on standard error.
    ///
    /// # Panics
    /// If the output ends or the deadline passes before.
    pub(crate) fn wait_for_note(&mut self, looked_for: &str, found: impl FnMut(&str) -> bool) -> String {
        let line = wait_for(&mut self.err, found);
        line.unwrap_or_else(|error| self.fail_waiting(looked_for, error))
    }

    fn fail_waiting(&mut self, looked_for: &str, error: RecvTimeoutError) -> ! {
        match error {
            RecvTimeoutError::Timeout => {
                panic!("{}: no {looked_for} within {DEADLINE:?}; heard:\n{}", self.what, self.heard_text())
            }
            RecvTimeoutError::Disconnected => {
                let finished = self.finish();
                panic!("ended before {looked_for} was heard: {finished}")
            }
        }
    }

    /// The next JSON line that is looked for.
    pub(crate) fn wait_for_json(&mut self, looked_for: &str, found: impl Fn(&Value) -> bool) -> Value {
        let line = self.wait_for_line(looked_for, |line| serde_json::from_str(line).is_ok_and(|value| found(&value)));
        serde_json::from_str(&line).expect("just parsed")
    }

    fn heard_text(&self) -> String {
        format!("{}\n{}", String::from_utf8_lossy(&self.out.heard), String::from_utf8_lossy(&self.err.heard))
    }

    /// Kills it as a crash would and waits until it is gone.
    pub(crate) fn kill(mut self) -> Finished {
        self.signal(Signal::KILL);
        self.finish()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> Finished {
        self.finish()
    }

    /// Waits for the end at most so long; whether it came.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        if self.ended.is_some() {
            return true;
        }
        let pidfd = pidfd_open(self.pid(), PidfdFlags::empty()).expect("pidfd_open");
        let until = Instant::now() + limit;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            let rest = Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: i64::from(rest.subsec_nanos()) };
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&rest)) {
                Ok(0) => return false,
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => panic!("poll: {errno}"),
            }
        }
        self.ended = Some(self.child.wait().expect("waits"));
        true
    }

    fn finish(&mut self) -> Finished {
        if !self.ends_within(DEADLINE) {
            self.signal(Signal::KILL);
            panic!("{} did not end within {DEADLINE:?}; heard:\n{}", self.what, self.heard_text());
        }
        let status = self.ended.expect("has ended");
        if status.signal().is_some() {
            // What a clock of its own leaves of a process that could not clean up behind itself.
            for leftover in ["faketime_shm_", "sem.faketime_sem_"] {
                let _ = std::fs::remove_file(format!("/dev/shm/{leftover}{}", self.child.id()));
            }
        }
        Finished { what: self.what.clone(), status, stdout: self.out.rest(), stderr: self.err.rest() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a child left: how it ended and what it said.
pub(crate) struct Finished {
    what: String,
    status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = |bytes: &[u8]| {
            let from = bytes.len().saturating_sub(6000);
            String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
        };
        write!(f, "{}\n{}\n", self.what, self.status)?;
        write!(f, "--- stdout\n{}\n--- stderr\n{}\n---", cut(&self.stdout), cut(&self.stderr))
    }
}

impl Finished {
    /// The exit code; `None` if a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Fails the test unless it ended with this exit code.
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert!(self.code() == Some(code), "expected exit code {code}: {self}");
        self
    }

    /// Fails the test unless standard output and standard error together hold this text.
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.out().contains(text) || self.err().contains(text), "expected to read {text:?}: {self}");
        self
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("not one JSON value ({error}): {self}"))
    }

    /// Standard output as a JSON value a line.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("line {line:?} is no JSON ({error}): {self}"))
        };
        self.out().lines().map(parse).collect()
    }

    /// The `summary` line of `backup --json` or another command that has one.
    pub(crate) fn summary(&self) -> Value {
        let summary = self.json_lines().into_iter().rev().find(|line| line["message_type"] == "summary");
        summary.unwrap_or_else(|| panic!("no summary: {self}"))
    }
}
