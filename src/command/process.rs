//! What the system says of processes (proc(5)), and their end.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use uuid::Uuid;

/// One process, as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) group: u32,
    pub(super) session: u32,
    /// When it began, in clock ticks after boot. With the pid it names a process for as long as the machine runs.
    pub(super) started: u64,
    /// It has ended, and nobody has asked how.
    pub(super) zombie: bool,
}

impl Process {
    /// The process `pid`, if there is one.
    pub(super) fn find(pid: Pid) -> io::Result<Option<Self>> {
        match std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
            Ok(stat) => match parse(pid, &stat) {
                Some(process) => Ok(Some(process)),
                None if is_being_reaped(&stat) => Ok(None),
                None => Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/<pid>/stat is not as proc(5) says")),
            },
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All that may be looked at.
    pub(super) fn all() -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let Some(pid) = pid else { continue };
            match Self::find(pid) {
                Ok(process) => all.extend(process),
                // Where the system hides others' processes, they are not ours to end.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// The environment it was started with, as it left it; `None` where nobody may look.
    pub(super) fn environment(&self) -> io::Result<Option<Vec<u8>>> {
        // The most that execve(2) takes for arguments and environment together is below this.
        const MOST: u64 = 8 * 1024 * 1024;
        let mut environment = Vec::new();
        let path = format!("/proc/{}/environ", self.pid.as_raw_nonzero());
        match std::fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut environment)) {
            Ok(_) => Ok(Some(environment)),
            Err(error) if gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A descriptor of it, unless it has ended: by it no other process is ever meant.
    fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        let pidfd = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // The pid may have been given to another process in between.
        let same = Self::find(self.pid)?.is_some_and(|now| now.started == self.started);
        Ok(same.then_some(pidfd))
    }

    /// Kills it, and says by which descriptor its end can be seen; `None` where it has ended.
    pub(super) fn kill(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pidfd) = self.descriptor()? else { return Ok(None) };
        match pidfd_send_signal(&pidfd, Signal::KILL) {
            Ok(()) => Ok(Some(pidfd)),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Waits until the process behind `pidfd` has ended; whether it did before `until`.
pub(crate) fn ended_by(pidfd: &OwnedFd, until: Instant) -> io::Result<bool> {
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timespec(rest))) {
            Ok(0) if rest.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// `duration` as poll(2) takes it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Which boot of the machine this is.
pub(super) fn boot_id() -> io::Result<Uuid> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Uuid::parse_str(text.trim()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// The fields from the third on. They stand after the program's name, which may hold blanks and brackets itself.
fn fields(stat: &[u8]) -> Option<Vec<&str>> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let fields = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    Some(fields.split_ascii_whitespace().collect())
}

/// Whether it belongs to no group and no session any more: both are -1 between the end of a process and that of its entry.
fn is_being_reaped(stat: &[u8]) -> bool {
    fields(stat).is_some_and(|fields| fields.get(2..4).is_some_and(|ids| ids == ["-1", "-1"]))
}

fn parse(pid: Pid, stat: &[u8]) -> Option<Process> {
    let fields = fields(stat)?;
    // The first of these is field 3.
    let field = |number: usize| fields.get(number - 3).copied();
    let id = |number| field(number)?.parse::<i32>().ok().and_then(|id| u32::try_from(id).ok());
    Some(Process {
        pid,
        group: id(5)?,
        session: id(6)?,
        started: field(22)?.parse().ok()?,
        zombie: matches!(field(3)?, "Z" | "X" | "x"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_move_the_fields() {
        let pid = Pid::from_raw(7).unwrap();
        let stat = b"7 (a) Z 1 (b) S 1 5 6 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1\n";
        let process = Process { pid, group: 5, session: 6, started: 98765, zombie: false };
        assert_eq!(parse(pid, stat), Some(process));
        assert_eq!(parse(pid, b"7 (a) S 1 5"), None);
    }

    #[test]
    fn one_whose_end_was_just_asked_for_is_gone() {
        let stat = b"7 (seq) X 0 -1 -1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 0 0 98765 0 0\n";
        assert_eq!(parse(Pid::from_raw(7).unwrap(), stat), None);
        assert!(is_being_reaped(stat) && !is_being_reaped(b"7 (a) S 1 5 6 0 -1"));
    }

    #[test]
    fn this_process_is_found() {
        let own = Process::find(rustix::process::getpid()).unwrap().unwrap();
        assert_eq!(own.group, rustix::process::getpgrp().as_raw_nonzero().get() as u32);
        assert!(Process::all().unwrap().contains(&own));
        assert!(own.environment().unwrap().is_some());
    }
}
