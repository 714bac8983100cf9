//! One call of a command: started, recorded, followed to its end, and its group ended whatever happened.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use holdfast_model::failure::Failure;
use holdfast_model::participant::ChildV1;
use uuid::Uuid;

use super::carry::Carry;
use super::error::CommandError;
use super::launch::{Direction, Launcher};
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
        let secrets = Secrets::read(&self.spec.env_file).map_err(nothing)?.and_named(&self.spec.env);
        let mut running = self.start(stream.direction(), &secrets).map_err(nothing)?;
        let mut carry = Carry::new(&secrets);
        let connected = match stream {
            Stream::Into(sink) => {
                carry.take(&mut running, Some(sink));
                Ok(())
            }
            Stream::From(source) => {
                carry.take(&mut running, None);
                carry.feed(&mut running, source)
            }
        };
        let mut result = connected.and_then(|()| self.follow(&running, &mut carry));
        let ended_by_us =
            matches!(result, Err(CommandError::Stopped | CommandError::Stream(_) | CommandError::Watch { .. }));
        if ended_by_us {
            ask_to_end(&running, &mut carry);
        }
        // One that was good may have left a service running; one that failed is run again, and nothing of it may be beside that.
        let wide = result.is_err();
        if let Err(error) = running.end(wide) {
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

    /// Starts it. When this returns it is the command that runs, and it is recorded.
    fn start(&self, direction: Direction, secrets: &Secrets) -> Result<Running, CommandError> {
        let words = self.spec.words()?;
        let directory = self.spec.directory();
        let child_id = Uuid::now_v7();
        let configured = self.spec.env.iter().map(|(name, value)| (name.clone(), OsString::from(value)));
        let ours = self.variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        let id = (CHILD_VARIABLE.to_owned(), OsString::from(child_id.to_string()));
        let secret = secrets.variables().map(|(name, value)| (name.to_owned(), value));
        let variables = ours.chain(configured).chain(secret).chain([id]);
        let (child, socket) = self.launcher.spawn(direction, &words, directory, variables)?;
        let running = Running::new(child, child_id)?;
        let mut control = Control { socket, launcher: self.launcher, stopped: self.stopped };
        control.ready()?;
        if let Some(admit) = self.admit {
            admit(running.record()).map_err(CommandError::NotAdmitted)?;
        }
        let program = words.first().copied().unwrap_or_default();
        match control.go()? {
            Some(refused) => Err(refused.error(program, directory)),
            None => Ok(running),
        }
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

/// What is on our side of a command.
enum Stream<'a> {
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
