//! What a process concludes of a run that another one left open.
//!
//! Nothing is rewritten: what it finds is appended. A participant is kept only where it completed and its artifacts are
//! as recorded; attempts and the time of the gap are bounded, so that no run is taken up for ever.

use super::{
    Found, Outcome, ParticipantFailedV2, ParticipantResetV1, ParticipantStatus, Retained, Run, RunClassifiedV1,
    RunInterruptedV1, RunResumedV1, Stage,
};
use crate::event::RunEvent;
use crate::failure::{Failure, FailureKind, cut};
use crate::ids::{ParticipantName, Timestamp};

impl Run {
    /// `now` is when the process took over that goes on with the run; `stopped` says that the one before was stopped in good order.
    pub(super) fn recover(
        &self,
        found: Found,
        broken: &[(ParticipantName, String)],
        now: Timestamp,
        stopped: bool,
    ) -> Vec<RunEvent> {
        let interrupted = |reason: &str| RunEvent::Interrupted(RunInterruptedV1 { reason: reason.into() });
        match self.stage {
            Stage::Unknown => Vec::new(),
            Stage::Queued => self.recover_queued(now),
            Stage::Ended if self.retained == Retained::Deleting => vec![interrupted("it was being deleted")],
            Stage::Ended => Vec::new(),
            Stage::Sealing | Stage::Publishing if found == Found::Nowhere => {
                let mut events = vec![interrupted("its directory is gone")];
                events.extend(self.end_without_directory(directory_missing()));
                events
            }
            // Damage found after the rename leads from publishing back to sealing: then it is already in its place.
            Stage::Sealing => vec![interrupted("it was being sealed")],
            Stage::Publishing => vec![interrupted("it was being published")],
            Stage::Preparing | Stage::Barrier | Stage::Working => self.recover_work(found, broken, now, stopped),
        }
    }

    fn too_late(&self, now: Timestamp) -> Option<(&'static str, String)> {
        let within = self.request.as_ref().map_or(0, |request| request.resume_within_s);
        let gone = now.seconds_since(self.updated_at);
        let reason = || format!("interrupted {gone} s ago, and runs are resumed within {within} s");
        (gone > within).then(|| ("RESUME_WINDOW_PASSED", reason()))
    }

    fn recover_queued(&self, now: Timestamp) -> Vec<RunEvent> {
        match self.too_late(now) {
            Some((code, reason)) => self.end_without_directory(Failure::new(FailureKind::Fatal, code, reason)),
            None => Vec::new(),
        }
    }

    fn recover_work(
        &self,
        found: Found,
        broken: &[(ParticipantName, String)],
        now: Timestamp,
        stopped: bool,
    ) -> Vec<RunEvent> {
        let reason = match stopped {
            true => format!("the program was stopped while attempt {} was at work", self.attempt),
            false => format!("the process that worked on attempt {} is gone", self.attempt),
        };
        let mut events = vec![RunEvent::Interrupted(RunInterruptedV1 { reason })];
        if self.stage == Stage::Barrier {
            events.push(self.barrier_lost());
        }
        let max_attempts = self.request.as_ref().map_or(0, |request| request.max_attempts);
        let fatal = |(code, text): (&str, String)| Some(Failure::new(FailureKind::Fatal, code, text));
        let hopeless = if self.cancel.is_some() {
            fatal(("CANCELLED", "interrupted after it was asked to stop".to_owned()))
        } else if let Some(time_up) = self.time_up() {
            Some(time_up)
        } else if let Some(reason) = self.too_late(now) {
            fatal(reason)
        } else if self.attempt >= max_attempts {
            let text = match max_attempts {
                1 => "interrupted, and not resumed: on_crash or max_attempts allow one attempt".to_owned(),
                _ => format!("interrupted in attempt {} of {max_attempts}", self.attempt),
            };
            fatal(("ATTEMPTS_EXHAUSTED", text))
        } else {
            None
        };
        if let Some(failure) = hopeless {
            events.extend(self.give_up(found, failure));
            return events;
        }
        events.push(RunEvent::Resumed(RunResumedV1 { attempt: self.attempt.saturating_add(1) }));
        for participant in &self.participants {
            let reason = match participant.status {
                ParticipantStatus::Pending if participant.tries == 0 => continue,
                ParticipantStatus::Pending => "it was to be tried again".to_owned(),
                ParticipantStatus::Completed if self.wants_barrier() => {
                    "the moment it is of is gone: the barrier is made again, for all".to_owned()
                }
                ParticipantStatus::Completed if found == Found::Running => {
                    match broken.iter().find(|(name, _)| *name == participant.name) {
                        Some((_, reason)) => cut(reason, Failure::MAX_MESSAGE).to_owned(),
                        None => continue,
                    }
                }
                ParticipantStatus::Completed => "the run directory is gone".to_owned(),
                ParticipantStatus::Running => "it was at work when the process died".to_owned(),
                _ => "it runs again in each attempt".to_owned(),
            };
            let participant = participant.name.clone();
            events.push(RunEvent::ParticipantReset(ParticipantResetV1 { participant, reason }));
        }
        events
    }

    /// Ends a run that is not resumed, with what it has.
    fn give_up(&self, found: Found, failure: Failure) -> Vec<RunEvent> {
        if found != Found::Running {
            return self.end_without_directory(failure);
        }
        let open = self.participants.iter().filter(|participant| participant.status.is_open());
        let mut events: Vec<_> = open
            .map(|participant| match participant.status {
                ParticipantStatus::Running if self.cancel.is_none() => {
                    RunEvent::ParticipantFailed(ParticipantFailedV2 {
                        participant: participant.name.clone(),
                        failure: failure.clone(),
                        output: String::new(),
                    })
                }
                _ => self.not_run(participant, &failure.message),
            })
            .collect();
        let (outcome, error_summary) = match &self.cancel {
            Some(reason) => (Outcome::Cancelled, format!("cancelled: {reason}")),
            None => (self.stopped().unwrap_or(Outcome::Failed), failure.to_string()),
        };
        events.push(RunEvent::Classified(RunClassifiedV1 { outcome, error_summary }));
        events
    }
}

fn directory_missing() -> Failure {
    let message = "the run directory was found neither where the run works nor where it was to be published";
    Failure::new(FailureKind::Fatal, "RUN_DIRECTORY_MISSING", message)
}
