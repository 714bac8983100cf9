//! What goes by while a participant's code is at work: deadlines, and what becomes of code that is told to stop.
//!
//! Code is asked to return, and its sinks take nothing more. It has a grace for that; after it the run goes on without it, and nothing is
//! begun with that participant until it has returned. A deadline that passed is a failure, whatever the code says afterwards.

use std::sync::Arc;
use std::time::Duration;

use holdfast_actors::ports::{Job, Stop, WorkFailure};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::RunId;
use holdfast_model::participant::NOT_ENDED;
use tokio::sync::{oneshot, watch};

use crate::participant::{Deadlines, ParticipantError, Pulse, Step, overdue};
use crate::pipeline::Credits;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Code of a participant that has not returned.
#[derive(Clone)]
pub(super) struct Living {
    pub(super) run_id: RunId,
    pub(super) stop: Stop,
    pub(super) pulse: Arc<Pulse>,
    pub(super) grace: Duration,
    /// True once nothing of a try is left to do. Whoever drives it may be gone before that.
    pub(super) returned: watch::Receiver<bool>,
    /// Where the code stands; closed when its thread ends.
    pub(super) steps: watch::Receiver<Step>,
}

impl Living {
    pub(super) fn stop(&self) {
        self.stop.request();
        self.pulse.revoke();
    }

    /// Waits until it has returned; says whether it did in time.
    pub(super) async fn gone(mut self, within: Duration) -> bool {
        let gone = async {
            let _ = self.returned.wait_for(|returned| *returned).await;
            let _ = self.steps.wait_for(|_| false).await;
        };
        tokio::time::timeout(within, gone).await.is_ok()
    }

    /// The same; where it is being let go by a process then, as long as that may take.
    pub(super) async fn gone_and_thawed(self, within: Duration) -> bool {
        if self.clone().gone(within).await {
            return true;
        }
        match self.pulse.thaw_left() {
            Some(left) => self.gone(left).await,
            None => false,
        }
    }
}

/// Comes back when it is asked for.
pub(super) async fn stopped(stop: &Stop) {
    let mut tick = tokio::time::interval(TICK);
    while !stop.requested() {
        tick.tick().await;
    }
}

pub(super) fn cancelled() -> Failure {
    Failure::new(FailureKind::Cancelled, "CANCELLED", "it was told to stop")
}

/// What goes by while a try is at work.
pub(super) struct Watch<'a> {
    pub(super) job: &'a Job,
    pub(super) living: &'a Living,
    pub(super) deadlines: Deadlines,
    pub(super) credits: &'a Credits,
}

impl Watch<'_> {
    pub(super) async fn until_its_end(
        &self,
        mut answered: oneshot::Receiver<Result<(), ParticipantError>>,
    ) -> Result<(), WorkFailure> {
        let mut tick = tokio::time::interval(TICK);
        let overdue = loop {
            tokio::select! {
                biased;
                result = &mut answered => return ended(result),
                _ = tick.tick() => {}
            }
            if self.job.stop.requested() {
                break cancelled();
            }
            let step = *self.living.steps.borrow();
            if let Err(failure) = step.in_time(self.deadlines).and_then(|()| self.alive(step)) {
                break failure;
            }
        };
        self.living.stop();
        match tokio::time::timeout(self.deadlines.grace, &mut answered).await {
            // It may have been quicker than the wish; a deadline is one.
            Ok(Ok(Ok(()))) if overdue.kind == FailureKind::Cancelled => Ok(()),
            Ok(result) => Err(told(overdue, result)),
            Err(_) => {
                // What it holds is not missed by the others.
                let _lent = self.credits.lend();
                (self.job.stuck)(overdue.clone());
                let result = answered.await;
                tracing::warn!(participant = %self.job.participant.name, "it has returned after all");
                Err(WorkFailure { failure: overdue, output: output(result) })
            }
        }
    }

    fn alive(&self, step: Step) -> Result<(), Failure> {
        let silent = self.living.pulse.silent_for();
        match self.deadlines.stall {
            Some(limit) if silent > limit && matches!(step, Step::Write(_)) => Err(overdue(
                "PARTICIPANT_STALLED",
                format!("nothing came from it for {limit:?}: see to it, or raise its stall_timeout"),
            )),
            _ => Ok(()),
        }
    }
}

/// The failure of a try that was told to stop: the reason for that, but where something is left that does not end.
fn told(overdue: Failure, result: Result<Result<(), ParticipantError>, oneshot::error::RecvError>) -> WorkFailure {
    match result {
        Ok(Err(error)) if error.failure().code == NOT_ENDED => {
            WorkFailure { failure: error.failure().clone(), output: error.output().to_owned() }
        }
        result => WorkFailure { failure: overdue, output: output(result) },
    }
}

/// A try that has returned by itself.
fn ended(result: Result<Result<(), ParticipantError>, oneshot::error::RecvError>) -> Result<(), WorkFailure> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(WorkFailure { failure: error.failure().clone(), output: error.output().to_owned() }),
        Err(_) => Err(Failure::new(FailureKind::Retryable, "PARTICIPANT_PANICKED", "its thread ended early").into()),
    }
}

fn output(result: Result<Result<(), ParticipantError>, oneshot::error::RecvError>) -> String {
    match result {
        Ok(Err(error)) => error.output().to_owned(),
        _ => String::new(),
    }
}
