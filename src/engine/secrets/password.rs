//! The password of an endpoint, fetched where its configuration says it lies, when it is used.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_model::endpoint::EndpointConfigV2;
use holdfast_model::ids::EndpointName;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::{KEY_VARIABLE, MAX_SECRET, Secrets, SecretsError};
use crate::command::{ended_by, timespec};

/// How long a command has to give its password and to end.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why the password of an endpoint is not at hand. Nothing of what was read is ever part of it.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file of secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// It is not where it was kept.
    #[error("the password of endpoint {0} is gone from the file of secrets: set it again")]
    Gone(EndpointName),
    /// Its file cannot be used.
    #[error("password_file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Its command did not give it.
    #[error("password_command {program:?}: {reason}")]
    Command {
        /// The program, without its arguments.
        program: String,
        /// What is wrong.
        reason: String,
    },
    /// Its variable cannot be used.
    #[error("password_env {name}: {reason}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl PasswordError {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            PasswordError::Secrets(error) => error.code(),
            _ => "ENDPOINT_PASSWORD",
        }
    }
}

/// The password of an endpoint, empty where it has none. Blocks: a file is read, or a command is run, at most 10 s.
///
/// # Errors
/// [`PasswordError`].
pub(crate) fn endpoint_password(home: &Path, config: &EndpointConfigV2) -> Result<SecretString, PasswordError> {
    if let Some(id) = config.secret {
        return Secrets::of(home).get(id)?.ok_or_else(|| PasswordError::Gone(config.name.clone()));
    }
    if !config.password_file.is_empty() {
        return of_file(Path::new(&config.password_file));
    }
    if let Some((program, arguments)) = config.password_command.split_first() {
        let failed = |reason| PasswordError::Command { program: program.clone(), reason };
        return of_command(program, arguments, DEADLINE).map_err(failed);
    }
    if !config.password_env.is_empty() {
        let failed = |reason| PasswordError::Environment { name: config.password_env.clone(), reason };
        let value = std::env::var(&config.password_env).map(Zeroizing::new);
        let value = value.map_err(|_| failed("it is not set, or is no UTF-8, in the environment of this process"))?;
        return first_line(value.as_bytes()).map_err(failed);
    }
    Ok(SecretString::default())
}

fn of_file(path: &Path) -> Result<SecretString, PasswordError> {
    let failed = |reason: String| PasswordError::File { path: path.to_owned(), reason };
    let unreadable = |error: io::Error| failed(format!("it cannot be read ({error}): give this user access"));
    // A pipe nobody writes to must not hold the program up.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(failed("it is not a file: name one".into()));
    }
    let text = read_bounded(file).map_err(unreadable)?;
    first_line(&text).map_err(|reason| failed(reason.to_owned()))
}

/// What a password may be read from: one longest password and the end of its line.
fn read_bounded(mut from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // As large as it will get, so that no copy of it is left behind as it grows.
    let mut text = Zeroizing::new(vec![0; MAX_SECRET + 2]);
    let mut length = 0;
    while let Some(room) = text.get_mut(length..).filter(|room| !room.is_empty()) {
        match from.read(room) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(length);
    Ok(text)
}

fn first_line(text: &[u8]) -> Result<SecretString, &'static str> {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| "its first line is no UTF-8: write the password there")?;
    match line.len() {
        0 => Err("its first line is empty: write the password there"),
        1..=MAX_SECRET => Ok(line.to_owned().into()),
        _ => Err("its first line is longer than a password may be (4096 bytes)"),
    }
}

/// The first line of a command's output. What it says on standard error goes nowhere: it may be the password too.
fn of_command(program: &str, arguments: &[String], within: Duration) -> Result<SecretString, String> {
    let until = Instant::now() + within;
    let mut command = Command::new(program);
    command.args(arguments).env_remove(KEY_VARIABLE).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let mut child = Group(child);
    let output = child.0.stdout.take().ok_or("it has no output")?;
    let unreadable = |error: io::Error| format!("its output cannot be read: {error}");
    let late = || format!("it has not ended within {} s", within.as_secs_f64());
    let mut output = Until { output, until };
    let text = read_bounded(&mut output).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => late(),
        _ => unreadable(error),
    })?;
    // What comes after the first line is let go: a full pipe would keep the command from its end.
    io::copy(&mut output, &mut io::sink()).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => late(),
        _ => unreadable(error),
    })?;
    let pid = Pid::from_child(&child.0);
    let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from).and_then(|fd| ended_by(&fd, until));
    if !ended.map_err(|error| format!("its end cannot be waited for: {error}"))? {
        return Err(late());
    }
    let status = child.0.wait().map_err(|error| format!("its end cannot be asked for: {error}"))?;
    match status.success() {
        true => first_line(&text).map_err(str::to_owned),
        false => Err(format!("it ended with {status}: run it by hand to see why")),
    }
}

/// A child in a process group of its own, which ends with this.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Nothing of it outlives the call; where all have ended there is nobody to tell.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// An output that is read until a time.
struct Until<R> {
    output: R,
    until: Instant,
}

impl<R: Read + std::os::fd::AsFd> Read for Until<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.until.saturating_duration_since(Instant::now());
            match poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&timespec(rest))) {
                Ok(0) if rest.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) if rest.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return self.output.read(into),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use secrecy::ExposeSecret;

    use super::*;

    fn config(change: impl FnOnce(&mut EndpointConfigV2)) -> EndpointConfigV2 {
        let mut config = EndpointConfigV2::new("offsite".parse().unwrap());
        change(&mut config);
        config
    }

    fn fetched(config: &EndpointConfigV2) -> Result<String, PasswordError> {
        let home = tempfile::tempdir().unwrap();
        endpoint_password(home.path(), config).map(|password| password.expose_secret().to_owned())
    }

    fn shell(script: &str) -> EndpointConfigV2 {
        config(|config| config.password_command = ["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[test]
    fn it_is_the_first_line_of_a_file_or_of_what_a_command_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let file = config(|config| config.password_file = path.display().to_string());
        assert_eq!(fetched(&config(|_| ())).unwrap(), "", "none is none");
        for (text, password) in [("one", "one"), ("two\r\nmore\n", "two"), ("a b\n", "a b")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(fetched(&file).unwrap(), password);
        }
        assert_eq!(fetched(&shell("echo hunter2; seq 100000")).unwrap(), "hunter2");
        assert_eq!(fetched(&shell(&format!("echo ${{{KEY_VARIABLE}-none}}"))).unwrap(), "none");
        assert_eq!(fetched(&config(|config| config.password_env = "CARGO_PKG_NAME".into())).unwrap(), "holdfast");
    }

    #[test]
    fn what_goes_wrong_is_told_without_what_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let file = || config(|config| config.password_file = path.display().to_string());
        assert!(fetched(&file()).unwrap_err().to_string().contains("cannot be read"));
        for (bytes, says) in
            [(&b"\nhunter2"[..], "is empty"), (b"hunter2\xff", "no UTF-8"), (&[b'x'; 4097][..], "longer")]
        {
            std::fs::write(&path, bytes).unwrap();
            let error = fetched(&file()).unwrap_err();
            assert!(error.to_string().contains(says) && error.code() == "ENDPOINT_PASSWORD", "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
        for (script, says) in [
            ("echo hunter2; echo hunter2 >&2; exit 3", "exit status: 3"),
            ("exit 0", "is empty"),
            ("kill -9 $$", "signal: 9"),
        ] {
            let error = fetched(&shell(script)).unwrap_err();
            assert!(error.to_string().contains(says) && error.code() == "ENDPOINT_PASSWORD", "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let nowhere = config(|config| config.password_command = vec!["/no/such/program".into()]);
        assert!(fetched(&nowhere).unwrap_err().to_string().contains("cannot be started"));
        let unset = config(|config| config.password_env = "HOLDFAST_TEST_NEVER_SET".into());
        assert!(fetched(&unset).unwrap_err().to_string().contains("not set"));
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("held");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        // It holds the writing end open for as long as one of the two lives.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let held = File::options().read(true).custom_flags(nonblocking).open(&fifo).unwrap();
        let script = format!("exec 3>{}; sleep 600 & echo hunter2; sleep 600", fifo.display());
        let began = Instant::now();
        let error = of_command("sh", &["-c".into(), script], Duration::from_millis(300)).unwrap_err();
        assert!(error.contains("0.3 s") && began.elapsed() < Duration::from_secs(60), "{error}");
        assert!(!error.contains("hunter2"));
        let ended = poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&timespec(Duration::from_secs(60)))).unwrap();
        assert_eq!(ended, 1, "nobody holds it any more");
    }
}
