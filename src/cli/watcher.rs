//! What watches a restore: Ctrl-C, and how far it is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::Exit;
use super::interrupts::Interrupts;
use super::output::counted;
use crate::files::Observer;

/// Asks the restore to stop at the first signal, and ends the process at the second.
pub(super) async fn cancel_on_signal(watcher: Arc<Watcher>) {
    let Ok(mut interrupts) = Interrupts::new() else { return };
    interrupts.next().await;
    watcher.cancelled.store(true, Ordering::Release);
    interrupts.next().await;
    // The second one stops at once; the next start takes away what is left.
    std::process::exit(i32::from(Exit::Cancelled as u8));
}

/// Hears how far it is, and shows it.
#[derive(Default)]
pub(super) struct Watcher {
    cancelled: AtomicBool,
    files: AtomicU64,
    bar: std::sync::OnceLock<ProgressBar>,
}

impl Watcher {
    /// Draws a bar, where there is a terminal for it.
    pub(super) fn expect(&self, files: u64, bytes: u64, terminal: bool) {
        if !terminal {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(bytes.max(1)), ProgressDrawTarget::stderr_with_hz(10));
        let template =
            "  restore {bar:28.cyan/blue} {percent:>3}%  {bytes} of {total_bytes}, {msg}, {bytes_per_sec}, {eta} to go";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(counted(files, "file"));
        let _ = self.bar.set(bar);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Watcher {
    fn advance(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        if let Some(bar) = self.bar.get() {
            bar.inc(bytes);
        }
    }

    fn warn(&self, path: &Path, reason: &str) {
        tracing::warn!(path = %path.display(), reason, "restored with a difference");
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}
