//! One call of a command: started, recorded, followed to its end, and its group ended whatever happened.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use holdfast_model::failure::Failure;
use holdfast_model::participant::ChildV1;
use uuid::Uuid;

use super::carry::Carry;
use super::error::CommandError;
use super::launch::{Direction, Launcher, Word};
use super::leftover::CHILD_VARIABLE;
use super::running::{Control, Running, TICK};
use super::secrets::Secrets;
use super::spec::CommandSpec;
use crate::participant::ParticipantError;

/// How long its output may stay open after it exited.
const OUTPUT_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// A command that is to be run once.
///
/// The thread that calls [`take`](Call::take) or [`feed`](Call::feed) works until the command and its group have ended, and the
/// system kills the command when that thread ends before.
pub struct Call<'a> {
    spec: &'a CommandSpec,
    launcher: &'a Launcher,
    variables: Vec<(&'a str, String)>,
    admit: Option<&'a dyn Fn(ChildV1) -> Result<(), Failure>>,
    stopped: &'a dyn Fn() -> bool,
}

/// A command that was good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Bytes of its output that were taken, or of its input that it read.
    pub bytes: u64,
    /// The last 4 KiB of what it said on its standard error, with every secret in it replaced by `***`.
    pub said: Vec<u8>,
}

impl<'a> Call<'a> {
    /// A call that nobody stops and nobody records.
    #[must_use]
    pub fn new(spec: &'a CommandSpec, launcher: &'a Launcher) -> Self {
        Self { spec, launcher, variables: Vec::new(), admit: None, stopped: &|| false }
    }

    /// Its process is recorded by `admit` before it becomes the command. Where that fails, nothing is run.
    #[must_use]
    pub fn admitted_by(mut self, admit: &'a dyn Fn(ChildV1) -> Result<(), Failure>) -> Self {
        self.admit = Some(admit);
        self
    }

    /// It is ended once `stopped` says so, which is asked at least ten times a second.
    #[must_use]
    pub fn stopped_by(mut self, stopped: &'a dyn Fn() -> bool) -> Self {
        self.stopped = stopped;
        self
    }

    /// Another variable for its environment, before those of the configuration.
    #[must_use]
    pub fn variable(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs it with its output into `sink`. Good is an exit status of 0 *and* the end of its output at most 5 s after the exit.
    ///
    /// A write into the sink may wait: the command then waits too. A command that closes its output and goes on is waited for.
    ///
    /// # Errors
    /// The failure of a [`CommandError`] or of the sink, with the last 4 KiB of what the command said on its standard error.
    pub fn take(&self, sink: &mut dyn Write) -> Result<Finished, ParticipantError> {
        self.run(Stream::Into(sink))
    }

    /// Runs it with `source` as its input. Good is an exit status of 0 after all of it was read. What it writes to its output joins
    /// what it says on its standard error.
    ///
    /// # Errors
    /// The failure of a [`CommandError`] or of the source, with the last 4 KiB of what the command said.
    pub fn feed(&self, source: &mut dyn Read) -> Result<Finished, ParticipantError> {
        self.run(Stream::From(source))
    }

    fn run(&self, stream: Stream<'_>) -> Result<Finished, ParticipantError> {
        let nothing = |error: CommandError| error.said(&[]);
        let gated = self.gate(stream.direction()).map_err(nothing)?;
        if let Some(admit) = self.admit {
            admit(gated.record()).map_err(|failure| nothing(CommandError::NotAdmitted(failure)))?;
        }
        self.go(gated, Word::Go).map_err(nothing)?.follow(self, stream)
    }

    /// Starts the process that is to become it, and waits there.
    pub(super) fn gate(&self, direction: Direction) -> Result<Gated, CommandError> {
        let secrets = Secrets::read(&self.spec.env_file)?.and_named(&self.spec.env);
        let words = self.spec.words()?;
        let child_id = Uuid::now_v7();
        let configured = self.spec.env.iter().map(|(name, value)| (name.clone(), OsString::from(value)));
        let ours = self.variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        let id = (CHILD_VARIABLE.to_owned(), OsString::from(child_id.to_string()));
        let secret = secrets.variables().map(|(name, value)| (name.to_owned(), value));
        let variables = ours.chain(configured).chain(secret).chain([id]);
        let (child, socket) = self.launcher.spawn(direction, &words, self.spec.directory(), variables)?;
        let running = Running::new(child, child_id)?;
        let mut gated = Gated { running, socket, secrets };
        self.control(&mut gated.socket).ready()?;
        Ok(gated)
    }

    /// Lets the process become it. When this returns well it is the command that runs.
    pub(super) fn go(&self, mut gated: Gated, word: Word) -> Result<Begun, CommandError> {
        let words = self.spec.words()?;
        let program = words.first().copied().unwrap_or_default();
        match self.control(&mut gated.socket).go(word)? {
            Some(refused) => Err(refused.error(program, self.spec.directory())),
            None => Ok(Begun { running: gated.running, secrets: gated.secrets }),
        }
    }

    fn control<'b>(&'b self, socket: &'b mut UnixStream) -> Control<'b> {
        Control { socket, launcher: self.launcher, stopped: self.stopped }
    }

    /// Moves its bytes until it has ended well, or cannot any more.
    fn follow(&self, running: &Running, carry: &mut Carry<'_>) -> Result<(), CommandError> {
        let mut exited: Option<Instant> = None;
        loop {
            if exited.is_some() && carry.out_ended() {
                break;
            }
            if (self.stopped)() {
                return Err(CommandError::Stopped);
            }
            let ready = carry.wait(exited.is_none().then(|| running.pidfd()), TICK)?;
            let began = Instant::now();
            carry.carry(&ready)?;
            match &mut exited {
                None if ready.exited => {
                    running.good()?;
                    exited = Some(Instant::now());
                }
                None => {}
                // How long the sink takes is not its time.
                Some(at) => {
                    *at += began.elapsed();
                    if !carry.out_ended() && at.elapsed() >= OUTPUT_WITHIN {
                        return Err(CommandError::OutputHeld { within: OUTPUT_WITHIN });
                    }
                }
            }
        }
        if carry.all_read() { Ok(()) } else { Err(CommandError::StoppedReading) }
    }
}

/// A process that stands ready to become a command, and has not. Dropped, it ends, and nothing has run.
pub(super) struct Gated {
    running: Running,
    socket: UnixStream,
    secrets: Secrets,
}

impl Gated {
    /// What is recorded of it.
    pub(super) fn record(&self) -> ChildV1 {
        self.running.record()
    }
}

/// A command that runs. Dropped, it is killed.
pub(super) struct Begun {
    running: Running,
    secrets: Secrets,
}

impl Begun {
    /// Follows it to its end, and ends its group.
    pub(super) fn follow(mut self, call: &Call<'_>, stream: Stream<'_>) -> Result<Finished, ParticipantError> {
        let mut carry = Carry::new(&self.secrets);
        let connected = match stream {
            Stream::Into(sink) => {
                carry.take(&mut self.running, Some(sink));
                Ok(())
            }
            Stream::From(source) => {
                carry.take(&mut self.running, None);
                carry.feed(&mut self.running, source)
            }
        };
        let mut result = connected.and_then(|()| call.follow(&self.running, &mut carry));
        let ended_by_us =
            matches!(result, Err(CommandError::Stopped | CommandError::Stream(_) | CommandError::Watch { .. }));
        if ended_by_us {
            ask_to_end(&self.running, &mut carry);
        }
        // One that was good may have left a service running; one that failed is run again, and nothing of it may be beside that.
        let wide = result.is_err();
        if let Err(error) = self.running.end(wide) {
            result = Err(error);
        }
        carry.drain_err();
        let bytes = carry.bytes();
        let said = carry.said();
        match result {
            Ok(()) => Ok(Finished { bytes, said }),
            Err(error) => Err(error.said(&said)),
        }
    }
}

/// What is on our side of a command.
pub(super) enum Stream<'a> {
    Into(&'a mut dyn Write),
    From(&'a mut dyn Read),
}

impl Stream<'_> {
    fn direction(&self) -> Direction {
        match self {
            Stream::Into(_) => Direction::Take,
            Stream::From(_) => Direction::Feed,
        }
    }
}

/// Asks the group to end, and waits a while for the command. What it still writes is thrown away, so that it is not held up by that.
fn ask_to_end(running: &Running, carry: &mut Carry<'_>) {
    carry.discard();
    running.terminate();
    let until = Instant::now() + GRACE;
    while Instant::now() < until {
        match carry.wait(Some(running.pidfd()), TICK) {
            Ok(ready) if !ready.exited && carry.carry(&ready).is_ok() => {}
            _ => return,
        }
    }
}
