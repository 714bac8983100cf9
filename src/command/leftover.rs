//! The end of what a dead process of ours left running.
//!
//! Only what certainly belongs to the recorded child is ended; a pid may have been given to another process since:
//!
//! - what carries the child's id in its environment, in whatever group or session it is now;
//! - what is in the child's group while its first process, known by its start time, is there: the number cannot be anybody else's;
//! - what is in the group after its first process ended, unless something says that the number was given away: a process of that
//!   number with another start time, a session of that number (the child never leads one), a session that began after the child,
//!   or the id of another child in the environment.

use std::io;
use std::time::{Duration, Instant};

use holdfast_model::participant::ChildV1;
use rustix::process::{Pid, getpid};
use uuid::Uuid;

use super::process::{Process, boot_id, ended_by};

/// The variable that carries a child's id.
pub(super) const CHILD_VARIABLE: &str = "HOLDFAST_CHILD";

/// How long killed processes may take to end.
const WITHIN: Duration = Duration::from_secs(10);

/// What was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// How many processes.
    pub processes: usize,
}

/// Kills every process that the recorded child left, and waits until they have ended. No other process is touched; after another
/// boot of the machine there is nothing to do.
///
/// # Errors
/// What the system said, where processes cannot be looked at or killed; [`io::ErrorKind::TimedOut`] where killed ones have not ended
/// after 10 s. The command must not be run again then.
pub fn end_left_over(child: &ChildV1) -> io::Result<Ended> {
    if boot_id()? != child.boot_id {
        return Ok(Ended::default());
    }
    end_all(|process, all| belongs(process, child, all))
}

/// Kills what is left in the group of a child of ours.
pub(super) fn end_group(child: &ChildV1) -> io::Result<Ended> {
    end_all(|process, _| Ok(process.group == child.group && process.started >= child.started))
}

/// Rounds of looking and killing, until a round finds nothing: what is killed may have started something just before.
fn end_all(mut belongs: impl FnMut(&Process, &[Process]) -> io::Result<bool>) -> io::Result<Ended> {
    let until = Instant::now() + WITHIN;
    let mut ended = Ended::default();
    loop {
        let all = Process::all()?;
        let mut dying = Vec::new();
        // One that cannot be killed keeps none of the others alive.
        let mut unkillable = None;
        for process in all.iter().filter(|process| process.pid != getpid() && !process.zombie) {
            if belongs(process, &all)? {
                match process.kill() {
                    Ok(killed) => dying.extend(killed),
                    Err(error) => unkillable = Some(error),
                }
            }
        }
        if dying.is_empty() {
            return unkillable.map_or(Ok(ended), Err);
        }
        for pidfd in dying {
            if !ended_by(&pidfd, until)? {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a killed process did not end within 10 s"));
            }
            ended.processes += 1;
        }
        if Instant::now() >= until {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "new processes appeared for 10 s while they were killed",
            ));
        }
    }
}

fn belongs(process: &Process, child: &ChildV1, all: &[Process]) -> io::Result<bool> {
    // Nothing of it can be older than it. This also spares most environments.
    if process.started < child.started {
        return Ok(false);
    }
    let named = |pid: u32| all.iter().find(|other| as_u32(other.pid) == pid);
    let in_group = process.group == child.group;
    if in_group && named(child.group).is_some_and(|leader| leader.started == child.started) {
        return Ok(true);
    }
    let environment = process.environment()?;
    let carried = environment.as_deref().and_then(carried);
    if carried == Some(child.child_id) {
        return Ok(true);
    }
    let given_away = named(child.group).is_some()
        || process.session == child.group
        || named(process.session).is_some_and(|session| session.started > child.started)
        || carried.is_some();
    Ok(in_group && !given_away)
}

/// The child's id in an environment.
fn carried(environment: &[u8]) -> Option<Uuid> {
    let mut entries = environment.split(|&byte| byte == 0);
    let value = entries.find_map(|entry| entry.strip_prefix(CHILD_VARIABLE.as_bytes())?.strip_prefix(b"="))?;
    Uuid::try_parse_ascii(value).ok()
}

fn as_u32(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

#[cfg(test)]
mod tests;
