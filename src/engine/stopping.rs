//! How an engine ends: what is at work has some time to end by itself, and what is open then is for the next start.

use std::time::Duration;

use holdfast_actors::root::{NextOpenRun, RunHandle};
use tokio::time::{Instant, sleep_until};

use super::Holdfast;

impl Holdfast {
    /// Waits until no run is open, and nothing is being restored in place or imported, or for so long; less where the server is told meanwhile to stop
    /// sooner. Says whether it is so.
    pub async fn drain(&self, within: Duration) -> bool {
        let ended = async {
            loop {
                match self.shared.root.send(NextOpenRun).await {
                    Ok(Some(RunHandle { mut watch, .. })) => {
                        if watch.wait_for(|run| run.id().is_some() && !run.is_open()).await.is_err() {
                            return false;
                        }
                    }
                    Ok(None) if self.shared.restoring.is_idle() && self.shared.importing.is_idle() => return true,
                    Ok(None) => {
                        self.restores_ended().await;
                        self.shared.importing.ended().await;
                    }
                    Err(_) => return false,
                }
            }
        };
        tokio::pin!(ended);
        let mut stops = self.shared.desk.life().subscribe();
        stops.mark_unchanged();
        let mut until = Instant::now() + within;
        loop {
            tokio::select! {
                ended = &mut ended => return ended,
                () = sleep_until(until) => return false,
                Ok(()) = stops.changed() => {
                    let grace = *stops.borrow_and_update();
                    until = grace.map_or(until, |grace| until.min(Instant::now() + grace));
                }
            }
        }
    }

    /// Waits until nothing is being restored in place.
    pub async fn restores_ended(&self) {
        self.shared.restoring.ended().await;
    }

    /// Stops the actors, then the participants' code (their sinks refuse, their processes are ended; it has its
    /// [grace](crate::participant::Deadlines::grace) to return, 10 s where nothing is said), closes the log and gives the home back.
    /// A run that is open stays open in the log: the next start goes on with it. To let runs end first, [`Holdfast::drain`].
    ///
    /// Code that has not returned by then is left behind: its sinks take nothing any more. A run that is being sealed or published just
    /// now keeps the home until that step is done; the next start waits for it as for any owner.
    ///
    /// An engine whose last handle is dropped stops too, in a thread of its own that nobody waits for. What holds a handle: clones, and
    /// [`ProgressUpdates`](super::ProgressUpdates).
    pub async fn stop(self) {
        self.shared.restoring.end().await;
        self.shared.importing.end().await;
        self.take_leave().await;
        // Once the actors answer, they have said of each run that has ended what is to be done for it.
        let _ = self.shared.root.send(NextOpenRun).await;
        self.shared.uploader.freed().await;
        let Some(running) = self.shared.running.lock().ok().and_then(|mut running| running.take()) else { return };
        drop(self);
        running.end().await;
    }
}
