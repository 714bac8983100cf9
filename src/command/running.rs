//! A command's process, with its group.
//!
//! The first process of the group is not waited for until the group was killed: so long its number cannot be given to anybody else,
//! and a signal to the group cannot reach strangers.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use holdfast_model::participant::ChildV1;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, test_kill_process_group, waitid,
};
use uuid::Uuid;

use super::error::CommandError;
use super::launch::{Launcher, READY, Refused, Word};
use super::leftover::{end_group, end_left_over};
use super::process::{Process, boot_id, ended_by, timespec};

/// How long at most between two looks at whether somebody wants it to stop.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How long a launcher may take to be ready, and then to become the command.
const LAUNCHED_WITHIN: Duration = Duration::from_secs(60);
/// How long a killed process may take to end.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// A process that was started and not yet waited for. Dropped, its group is killed.
pub(super) struct Running {
    child: Child,
    pidfd: OwnedFd,
    record: ChildV1,
    waited_for: bool,
}

impl Running {
    pub(super) fn new(mut child: Child, child_id: Uuid) -> Result<Self, CommandError> {
        match look(Pid::from_child(&child), child_id) {
            Ok((pidfd, record)) => Ok(Self { child, pidfd, record, waited_for: false }),
            Err(reason) => {
                // It is still a launcher, which ends at once.
                let _ = child.kill();
                let _ = child.wait();
                Err(CommandError::Watch { reason })
            }
        }
    }

    /// What is recorded of it.
    pub(super) fn record(&self) -> ChildV1 {
        self.record
    }

    /// Its pipes, once.
    pub(super) fn pipes(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Readable when it has ended.
    pub(super) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// How it ended, once it has.
    pub(super) fn good(&self) -> Result<(), CommandError> {
        let status = waitid(WaitId::Pid(self.pid()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let status = status.map_err(|errno| CommandError::Watch { reason: errno.into() })?;
        let status = status.ok_or_else(|| CommandError::Watch { reason: io::ErrorKind::NotFound.into() })?;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => Ok(()),
            (Some(status), _) => Err(CommandError::Failed { status }),
            (None, signal) => Err(CommandError::Killed { signal: signal_name(signal.unwrap_or(0)) }),
        }
    }

    /// Asks the whole group to end.
    pub(super) fn terminate(&self) {
        let _ = kill_process_group(self.pid(), Signal::TERM);
    }

    /// Kills what is left of the group, and waits until it is gone; with `wide` also what went into other groups.
    pub(super) fn end(mut self, wide: bool) -> Result<(), CommandError> {
        let group = self.record.group;
        let not_ended = |error: io::Error| {
            tracing::warn!(group, %error, "processes of a command could not be ended");
            CommandError::NotEnded { group }
        };
        if !self.kill_and_wait().map_err(not_ended)? {
            return Err(CommandError::NotEnded { group });
        }
        if wide {
            end_left_over(&self.record).map_err(not_ended)?;
        } else if test_kill_process_group(self.pid()) != Err(Errno::SRCH) {
            end_group(&self.record).map_err(not_ended)?;
        }
        Ok(())
    }

    fn kill_and_wait(&mut self) -> io::Result<bool> {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let ended = ended_by(&self.pidfd, Instant::now() + KILLED_WITHIN)?;
        // From here on the number may be another one's.
        self.waited_for = true;
        if ended {
            self.child.wait()?;
        }
        Ok(ended)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.waited_for
            && let Err(error) = self.kill_and_wait()
        {
            tracing::warn!(group = self.record.group, %error, "a command could not be ended");
        }
    }
}

fn look(pid: Pid, child_id: Uuid) -> io::Result<(OwnedFd, ChildV1)> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let process = Process::find(pid)?.ok_or(io::ErrorKind::NotFound)?;
    let group = pid.as_raw_nonzero().get().unsigned_abs();
    Ok((pidfd, ChildV1 { child_id, group, started: process.started, boot_id: boot_id()? }))
}

/// The socket to a launcher.
pub(super) struct Control<'a> {
    pub(super) socket: &'a mut UnixStream,
    pub(super) launcher: &'a Launcher,
    pub(super) stopped: &'a dyn Fn() -> bool,
}

impl Control<'_> {
    /// Waits until the launcher is ready.
    pub(super) fn ready(&mut self) -> Result<(), CommandError> {
        let mut word = [0];
        match self.hear(&mut word, Instant::now() + LAUNCHED_WITHIN)? {
            1 if word == [READY] => Ok(()),
            0 => Err(self.launcher.unusable("it ended without a word")),
            _ => Err(self.launcher.unusable("it says something else")),
        }
    }

    /// Tells it to become the command, and waits until it has. The answer is what the system refused.
    pub(super) fn go(mut self, word: Word) -> Result<Option<Refused>, CommandError> {
        self.socket
            .write_all(&[word.byte()])
            .map_err(|_| self.launcher.unusable("it ended before it was told to go"))?;
        let until = Instant::now() + LAUNCHED_WITHIN;
        let mut message = Vec::new();
        loop {
            let mut bytes = [0; Refused::LENGTH];
            let heard = self.hear(&mut bytes, until)?;
            message.extend_from_slice(bytes.get(..heard).unwrap_or_default());
            if heard == 0 || message.len() > Refused::LENGTH {
                break;
            }
        }
        match Refused::read(&message) {
            None if message.is_empty() => Ok(None),
            None => Err(self.launcher.unusable("it says something else")),
            refused => Ok(refused),
        }
    }

    fn hear(&mut self, bytes: &mut [u8], until: Instant) -> Result<usize, CommandError> {
        loop {
            if (self.stopped)() {
                return Err(CommandError::Stopped);
            }
            if Instant::now() >= until {
                return Err(self.launcher.unusable("it did not answer in time"));
            }
            let ready = poll(&mut [PollFd::new(&*self.socket, PollFlags::IN)], Some(&timespec(TICK)));
            match ready {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(CommandError::Watch { reason: errno.into() }),
            }
            match self.socket.read(bytes) {
                // Ended with what we sent still unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(reason) => return Err(CommandError::Watch { reason }),
                Ok(heard) => return Ok(heard),
            }
        }
    }
}

fn signal_name(signal: i32) -> String {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    let name = names.iter().find(|(known, _)| known.as_raw() == signal);
    name.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}
