//! The way from our program to a command, through a small second start of our own program.
//!
//! Between us and the command stands a launcher: our program, started with the hidden argument `__launch`, in a process group of its
//! own. It asks the system to be killed when the thread that started it ends, sees that it has not ended already, says that it is
//! ready, and waits. Only when its child's record is durable it is told to go, and becomes the command by execve(2): same pid, same
//! group, same start time. If we die before, it reads the end of its control socket and ends, and nothing has run. If we die after,
//! the system kills the command; what the command had started is left, and found by the record.
//!
//! The control socket takes the place of the standard stream that the command does not need from us: its input when we take its
//! output, its output when we feed it. So no descriptor has to be inherited beside the three, and none can be by accident. The
//! launcher keeps a copy that closes at the execve, which tells the two ways it can go apart: the end of the socket is success, a
//! message before it says what the system refused.
//!
//! The kill at the parent's end does not reach a command that changes its user by the set-user-ID bit (prctl(2)), such as `sudo`.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use super::error::CommandError;

const LAUNCH: &str = "__launch";
/// Longest wait of a launcher for its word to go. Recording its child takes milliseconds; one that is to freeze or thaw waits until all
/// others of its run have prepared themselves. It ends with the thread that started it in any case.
const GO_WITHIN: Duration = Duration::from_secs(3600);
pub(super) const READY: u8 = b'R';
const GO: u8 = b'G';
const GO_ABORTING: u8 = b'A';
/// Tells a command that what was begun is given up.
const ABORT_VARIABLE: &str = "HOLDFAST_ABORT";

/// A program that becomes a command: one whose `main` calls [`launch_if_asked`] first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    path: PathBuf,
}

impl Launcher {
    /// The program at this path.
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The program that runs now, also after its file was replaced by a newer one.
    #[must_use]
    pub fn this_program() -> Self {
        Self::of("/proc/self/exe")
    }

    /// Starts the launcher; it waits for a [`Word`] on the socket.
    pub(super) fn spawn(
        &self,
        direction: Direction,
        words: &[&str],
        directory: &Path,
        variables: impl Iterator<Item = (String, OsString)>,
    ) -> Result<(Child, UnixStream), CommandError> {
        let unusable = |reason: io::Error| match reason.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                CommandError::Launcher { path: self.path.clone(), reason }
            }
            _ => CommandError::NotStarted { program: words.first().copied().unwrap_or_default().to_owned(), reason },
        };
        let (ours, theirs) = UnixStream::pair().map_err(unusable)?;
        let theirs = Stdio::from(OwnedFd::from(theirs));
        let mut command = Command::new(&self.path);
        command.arg0("holdfast").args([LAUNCH, direction.word()]);
        command.arg(getpid().as_raw_nonzero().to_string()).arg(directory).args(words);
        // The key that opens all passwords is nobody else's.
        command.env_remove(crate::engine::SECRETS_KEY_VARIABLE);
        command.envs(variables).process_group(0).stderr(Stdio::piped());
        match direction {
            Direction::Take => command.stdin(theirs).stdout(Stdio::piped()),
            Direction::Feed => command.stdin(Stdio::piped()).stdout(theirs),
        };
        // Its side of the socket is closed here with `command`.
        Ok((command.spawn().map_err(unusable)?, ours))
    }

    /// Why a launcher that was started did not do its part.
    pub(super) fn unusable(&self, reason: &str) -> CommandError {
        CommandError::Launcher { path: self.path.clone(), reason: io::Error::other(reason) }
    }
}

/// Which way the bytes of a command go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From its standard output to us. It reads nothing.
    Take,
    /// From us to its standard input. What it writes joins its standard error.
    Feed,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::Feed => "feed",
        }
    }
}

/// What a launcher waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Become the command.
    Go,
    /// Become the command, with `HOLDFAST_ABORT=1` in its environment.
    Abort,
}

impl Word {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Go => GO,
            Self::Abort => GO_ABORTING,
        }
    }

    fn read(byte: u8) -> Option<Self> {
        [Self::Go, Self::Abort].into_iter().find(|word| word.byte() == byte)
    }
}

/// What the system refused a launcher.
pub(super) struct Refused {
    step: Step,
    errno: i32,
}

/// What it was refused at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Directory,
    Execute,
}

impl Refused {
    /// Bytes of a message.
    pub(super) const LENGTH: usize = 5;

    fn at(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(0) }
    }

    fn message(&self) -> [u8; Self::LENGTH] {
        let step = if self.step == Step::Directory { b'D' } else { b'X' };
        let [a, b, c, d] = self.errno.to_le_bytes();
        [step, a, b, c, d]
    }

    /// Reads a message back.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let (step, errno) = match *message {
            [b'D', a, b, c, d] => (Step::Directory, [a, b, c, d]),
            [b'X', a, b, c, d] => (Step::Execute, [a, b, c, d]),
            _ => return None,
        };
        Some(Self { step, errno: i32::from_le_bytes(errno) })
    }

    /// The error of the command whose launcher said it.
    pub(super) fn error(&self, program: &str, directory: &Path) -> CommandError {
        let reason = io::Error::from_raw_os_error(self.errno);
        match self.step {
            Step::Directory => CommandError::Directory { path: directory.to_owned(), reason },
            Step::Execute => CommandError::not_executed(program, reason),
        }
    }
}

/// Becomes a command, where this process was started to. To be called first in `main`, before any thread is started: by Holdfast's own
/// program, and by applications that embed it and run commands. Returns at once otherwise.
pub fn launch_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() == Some(OsStr::new(LAUNCH)) {
        let Err(status) = launch(arguments);
        std::process::exit(status);
    }
}

/// Exit statuses of a launcher are for those who start one by hand: to the process it works for it speaks by its socket.
fn launch(mut arguments: impl Iterator<Item = OsString>) -> Result<Infallible, i32> {
    let failed = |_| 125;
    let direction = match arguments.next() {
        Some(word) if word == "take" => Direction::Take,
        Some(word) if word == "feed" => Direction::Feed,
        _ => return Err(125),
    };
    let parent = arguments.next().and_then(|parent| parent.to_str()?.parse().ok());
    let (Some(parent), Some(directory), Some(program)) = (parent, arguments.next(), arguments.next()) else {
        return Err(125);
    };
    let control = match direction {
        Direction::Take => io::stdin().as_fd().try_clone_to_owned(),
        Direction::Feed => io::stdout().as_fd().try_clone_to_owned(),
    };
    let mut control = UnixStream::from(control.map_err(failed)?);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|_| 125)?;
    // Who died before the line above sends no signal; its children have another parent by now.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        return Err(125);
    }
    control.write_all(&[READY]).map_err(failed)?;
    control.set_read_timeout(Some(GO_WITHIN)).map_err(failed)?;
    let mut word = [0];
    control.read_exact(&mut word).map_err(failed)?;
    let [word] = word;
    let word = Word::read(word).ok_or(125)?;
    let refused = become_command(direction, word, &directory, &program, arguments);
    // Nobody to tell it to is the same end.
    let _ = control.write_all(&refused.message());
    Err(if refused.step == Step::Directory { 125 } else { 126 })
}

/// Comes back only where the system refused.
fn become_command(
    direction: Direction,
    word: Word,
    directory: &OsStr,
    program: &OsStr,
    arguments: impl Iterator<Item = OsString>,
) -> Refused {
    if let Err(error) = std::env::set_current_dir(directory) {
        return Refused::at(Step::Directory, &error);
    }
    let mut command = Command::new(program);
    command.args(arguments);
    if word == Word::Abort {
        command.env(ABORT_VARIABLE, "1");
    }
    match direction {
        Direction::Take => command.stdin(Stdio::null()),
        Direction::Feed => match io::stderr().as_fd().try_clone_to_owned() {
            Ok(stderr) => command.stdout(stderr),
            Err(error) => return Refused::at(Step::Execute, &error),
        },
    };
    // The signal mask is emptied and SIGPIPE gets its default back by `exec`.
    Refused::at(Step::Execute, &command.exec())
}
