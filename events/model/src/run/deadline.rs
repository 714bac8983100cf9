//! The deadline of a run: how long each of its attempts may take.
//!
//! It stops what is at work as a cancel does. The clock starts with the attempt, not in the queue, and anew with each further attempt: the
//! time nobody worked is no time it took. What has ended by itself by then, all of it, is still read again and published: that is not
//! work that could hang on a participant.

use super::{
    Outcome, ParticipantFailedV2, ParticipantSkippedV1, ParticipantStatus, Refusal, Run, RunEffect, RunParticipant,
    RunTimedOutV1,
};
use crate::event::RunEvent;
use crate::failure::{Failure, FailureKind, cut};
use crate::figures::seconds;

/// Most participants that an end by the deadline names.
const MAX_NAMED: usize = 5;

impl Run {
    /// Whether its deadline has passed.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// Whether nothing more is begun in it: somebody asked to stop, or its time is up.
    pub(super) fn is_stopping(&self) -> bool {
        self.cancel.is_some() || self.timed_out
    }

    /// The end it has because it was stopped.
    pub(super) fn stopped(&self) -> Option<Outcome> {
        match (&self.cancel, self.timed_out) {
            (Some(_), _) => Some(Outcome::Cancelled),
            (None, true) => Some(Outcome::Timeout),
            (None, false) => None,
        }
    }

    /// What is to be waited for from the beginning of an attempt, where it has a deadline.
    pub(super) fn deadline(&self) -> Option<RunEffect> {
        let after_ms = self.timeout_ms()?;
        Some(RunEffect::Deadline { attempt: self.attempt, after_ms })
    }

    fn timeout_ms(&self) -> Option<u64> {
        self.request.as_ref().map(|request| request.timeout_ms).filter(|timeout| *timeout > 0)
    }

    /// Why it is stopped, where its time is up.
    pub(super) fn time_up(&self) -> Option<Failure> {
        self.timed_out.then(|| {
            let limit = seconds(self.timeout_ms().unwrap_or_default() as f64 / 1000.0);
            let text = format!("attempt {} of the run took {limit}, which is the most it may", self.attempt);
            Failure::new(FailureKind::Timeout, "RUN_TIMEOUT", text)
        })
    }

    /// An attempt has taken as long as it may.
    pub(super) fn time_out(&self, attempt: u32) -> Result<Vec<RunEvent>, Refusal> {
        let timeout_ms = self.timeout_ms().filter(|_| attempt == self.attempt).ok_or(Refusal::OutOfOrder)?;
        if self.is_stopping() {
            return Ok(Vec::new());
        }
        let timed_out = RunEvent::TimedOut(RunTimedOutV1 { attempt, timeout_ms });
        let mut after = self.clone();
        after.apply_all(std::slice::from_ref(&timed_out));
        let mut events = vec![timed_out];
        let failure = after.time_up();
        for one in self.participants.iter().filter(|one| one.status == ParticipantStatus::Pending) {
            let participant = one.name.clone();
            // Who waits for another try has been at work, and would be if there were time.
            let begun = failure.clone().filter(|_| one.tries > 0);
            events.push(match (begun, &one.failure) {
                (Some(time_up), Some(last)) => {
                    let text = format!("{}; its last try failed: {last}", time_up.message);
                    let failure = Failure::new(FailureKind::Timeout, &time_up.code, text).bounded();
                    RunEvent::ParticipantFailed(ParticipantFailedV2 {
                        participant,
                        failure,
                        output: one.output.clone(),
                    })
                }
                _ => RunEvent::ParticipantSkipped(ParticipantSkippedV1 {
                    participant,
                    reason: "the run's time was up before".into(),
                }),
            });
        }
        // Before its directory is there nothing can be sealed: the directory's answer, or the barrier's, goes on from here.
        Ok(if self.stage == super::Stage::Working { self.go_on(events) } else { events })
    }

    /// The end of a run whose time was up, in one line: what was at work then, and what was not begun.
    pub(super) fn overran(&self, failure: &Failure) -> String {
        let stopped = |one: &RunParticipant| one.failure.as_ref().is_some_and(|why| why.code == failure.code);
        let begun = |one: &RunParticipant| matches!(one.status, ParticipantStatus::Failed | ParticipantStatus::Timeout);
        let mut text = failure.message.clone();
        text.push_str(&self.named("at work then", stopped));
        text.push_str(&self.named("not begun", |one| one.status == ParticipantStatus::Skipped));
        text.push_str(&self.named("failed before", |one| begun(one) && !stopped(one)));
        cut(&text, 2 * Failure::MAX_MESSAGE).to_owned()
    }

    /// The participants of which something is so, as a part of a line; nothing where there is none.
    fn named(&self, what: &str, is_so: impl Fn(&RunParticipant) -> bool) -> String {
        let names: Vec<_> = self.participants.iter().filter(|one| is_so(one)).map(|one| one.name.as_str()).collect();
        match names.get(..names.len().min(MAX_NAMED)) {
            None | Some([]) => String::new(),
            Some(named) if named.len() < names.len() => {
                format!("; {what}: {} and {} more", named.join(", "), names.len() - named.len())
            }
            Some(named) => format!("; {what}: {}", named.join(", ")),
        }
    }
}
