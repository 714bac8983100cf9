//! Ctrl-C, a polite request to end, and a terminal that goes away: one wish, heard in one place.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::CliError;

/// What comes so soon after another one is the same wish: `timeout` and terminals signal a process and its group.
const SAME: Duration = Duration::from_millis(500);

/// The signals that ask a command to stop.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever started the process had it ignored, as `nohup` does.
    hang_up: Option<Signal>,
    last: Option<Instant>,
}

impl Interrupts {
    pub(super) fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|error| CliError::failed("SIGNALS", error));
        let hang_up = if hang_up_is_ignored() { None } else { Some(listen(SignalKind::hangup())?) };
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hang_up, last: None })
    }

    /// Without the terminal that goes away: for a server, to whom that signal means something else.
    pub(super) fn without_hang_up() -> Result<Self, CliError> {
        Ok(Self { hang_up: None, ..Self::new()? })
    }

    /// Waits for the next wish.
    pub(super) async fn next(&mut self) {
        loop {
            let hung_up = async {
                match &mut self.hang_up {
                    Some(signal) => drop(signal.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
                () = hung_up => {}
            }
            let now = Instant::now();
            if self.last.replace(now).is_none_or(|last| now.duration_since(last) > SAME) {
                return;
            }
        }
    }
}

/// Field `SigIgn` of `/proc/self/status` (proc(5)): a bit a signal, SIGHUP the lowest.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}
