//! The bytes in and out of a running command.
//!
//! One thread waits for all its pipes at once and moves what is ready, so that no pipe can be full while another one is waited for.
//! Only a slow sink holds a command up.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::fcntl_setpipe_size;

use super::error::CommandError;
use super::process::timespec;
use super::running::Running;
use super::secrets::Secrets;
use super::tail::Tail;

/// What is moved at once, and what the pipe holds where the system lets it.
const BUFFER: usize = 1024 * 1024;

/// The pipes of a command and what is behind them on our side.
pub(super) struct Carry<'a> {
    out: Option<ChildStdout>,
    sink: Option<&'a mut dyn Write>,
    err: Option<ChildStderr>,
    tail: Tail<'a>,
    input: Option<Input<'a>>,
    buffer: Vec<u8>,
    bytes: u64,
}

/// What is ready to be moved.
pub(super) struct Ready {
    pub(super) out: bool,
    pub(super) err: bool,
    pub(super) input: bool,
    pub(super) exited: bool,
}

impl<'a> Carry<'a> {
    /// With nothing to carry yet.
    pub(super) fn new(secrets: &'a Secrets) -> Self {
        Self {
            out: None,
            sink: None,
            err: None,
            tail: Tail::new(secrets),
            input: None,
            buffer: vec![0; BUFFER],
            bytes: 0,
        }
    }

    /// Takes the command's output into `sink`.
    pub(super) fn take(&mut self, running: &mut Running, sink: Option<&'a mut dyn Write>) {
        let pipes = running.pipes();
        (self.out, self.err, self.sink) = (pipes.stdout.take(), pipes.stderr.take(), sink);
        if let Some(out) = &self.out {
            // A larger pipe saves switches between both; without it all works as well.
            let _ = fcntl_setpipe_size(out, BUFFER);
        }
    }

    /// Gives the command its input from `source`.
    pub(super) fn feed(&mut self, running: &mut Running, source: &'a mut dyn Read) -> Result<(), CommandError> {
        if let Some(pipe) = running.pipes().stdin.take() {
            let _ = fcntl_setpipe_size(&pipe, BUFFER);
            // Of our end alone: the command's end is another open file.
            fcntl_getfl(&pipe)
                .and_then(|flags| fcntl_setfl(&pipe, flags | OFlags::NONBLOCK))
                .map_err(|errno| watch(errno.into()))?;
            let buffer = vec![0; BUFFER];
            self.input = Some(Input { pipe: Some(pipe), source, buffer, from: 0, to: 0, unread: None });
        }
        Ok(())
    }

    /// Bytes that went through, in the direction of the call.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The end of what it said.
    pub(super) fn said(self) -> Vec<u8> {
        self.tail.shown()
    }

    /// Whether nothing more can come of its output.
    pub(super) fn out_ended(&self) -> bool {
        self.out.is_none()
    }

    /// Waits until something is ready, at most so long.
    pub(super) fn wait(&self, pidfd: Option<&OwnedFd>, most: Duration) -> Result<Ready, CommandError> {
        let pipe = self.input.as_ref().and_then(|input| input.pipe.as_ref());
        let watched = [
            (self.out.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (self.err.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (pipe.map(AsFd::as_fd), PollFlags::OUT),
            (pidfd.map(AsFd::as_fd), PollFlags::IN),
        ];
        let present = watched.iter().filter_map(|(fd, flags)| Some(PollFd::from_borrowed_fd((*fd)?, *flags)));
        let mut polled: Vec<PollFd<'_>> = present.collect();
        match poll(&mut polled, Some(&timespec(most))) {
            Ok(_) => {}
            Err(Errno::INTR) => polled.iter_mut().for_each(PollFd::clear_revents),
            Err(errno) => return Err(watch(errno.into())),
        }
        let mut events = polled.iter().map(|fd| !fd.revents().is_empty());
        let [out, err, input, exited] = watched.map(|(fd, _)| fd.is_some() && events.next().unwrap_or(false));
        Ok(Ready { out, err, input, exited })
    }

    /// Moves what is ready.
    pub(super) fn carry(&mut self, ready: &Ready) -> Result<(), CommandError> {
        if ready.err {
            self.carry_err()?;
        }
        if ready.input {
            self.carry_input()?;
        }
        if ready.out {
            self.carry_out()?;
        }
        Ok(())
    }

    fn carry_out(&mut self) -> Result<(), CommandError> {
        let Some(out) = &mut self.out else { return Ok(()) };
        let count = read(out, &mut self.buffer).map_err(watch)?;
        match count {
            None => {}
            Some(0) => self.out = None,
            Some(count) => {
                if let (Some(sink), Some(bytes)) = (&mut self.sink, self.buffer.get(..count)) {
                    sink.write_all(bytes).map_err(|error| CommandError::Stream(error.into()))?;
                    self.bytes += count as u64;
                }
            }
        }
        Ok(())
    }

    fn carry_err(&mut self) -> Result<(), CommandError> {
        let Some(err) = &mut self.err else { return Ok(()) };
        match read(err, &mut self.buffer).map_err(watch)? {
            None => {}
            Some(0) => self.err = None,
            Some(count) => self.tail.push(self.buffer.get(..count).unwrap_or_default()),
        }
        Ok(())
    }

    fn carry_input(&mut self) -> Result<(), CommandError> {
        if let Some(input) = &mut self.input {
            self.bytes += input.carry()?;
        }
        Ok(())
    }

    /// From now on what it writes is thrown away, and it is given nothing.
    pub(super) fn discard(&mut self) {
        self.sink = None;
        self.close_input();
    }

    /// Gives it nothing more.
    pub(super) fn close_input(&mut self) {
        if let Some(input) = &mut self.input {
            input.pipe = None;
        }
    }

    /// Whether the command, which has ended, read all that there was for it.
    pub(super) fn all_read(&self) -> bool {
        self.input.as_ref().is_none_or(Input::all_read)
    }

    /// Takes what lies in the pipe of its standard error. A flood has an end: what is written on is not waited for.
    pub(super) fn drain_err(&mut self) {
        for _ in 0..16 {
            let Ok(Ready { err: true, .. }) = self.wait(None, Duration::ZERO) else { return };
            if self.carry_err().is_err() {
                return;
            }
        }
    }
}

/// What is fed into a command.
struct Input<'a> {
    pipe: Option<ChildStdin>,
    source: &'a mut dyn Read,
    /// What was read of the source; from `from` to `to` it is still to be given.
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// The reading end of the pipe, from when all was put into it: by it is seen what nobody took out.
    unread: Option<File>,
}

impl Input<'_> {
    /// Gives as much as the pipe takes now. Answers with how much that was.
    fn carry(&mut self) -> Result<u64, CommandError> {
        let Some(pipe) = &mut self.pipe else { return Ok(0) };
        if self.from == self.to {
            let count = read(&mut self.source, &mut self.buffer).map_err(|error| CommandError::Stream(error.into()))?;
            let Some(count) = count else { return Ok(0) };
            (self.from, self.to) = (0, count);
            if count == 0 {
                self.unread = Some(reading_end(pipe).map_err(watch)?);
                self.pipe = None;
                return Ok(0);
            }
        }
        match pipe.write(self.buffer.get(self.from..self.to).unwrap_or_default()) {
            Ok(count) => {
                self.from += count;
                Ok(count as u64)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            // Whether that was good is told by how it ends; that it did not read all is known from here on.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.pipe = None;
                Ok(0)
            }
            Err(error) => Err(watch(error)),
        }
    }

    fn all_read(&self) -> bool {
        self.unread.as_ref().is_some_and(|pipe| ioctl_fionread(pipe) == Ok(0))
    }
}

/// Another descriptor of the same pipe, to read from (pipe(7), proc(5)).
fn reading_end(pipe: &ChildStdin) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    Ok(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// Reads once; `None` where a signal or another reader came between.
fn read(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match from.read(buffer) {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

fn watch(reason: io::Error) -> CommandError {
    CommandError::Watch { reason }
}
