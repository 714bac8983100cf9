//! What a participant does just now, and how long it may.

use std::time::Instant;

use holdfast_model::failure::{Failure, FailureKind};
use tokio::sync::watch;

use super::descriptor::Deadlines;

/// What a try does just now, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Preflight(Instant),
    Prepare(Instant),
    /// From its freeze to its thaw.
    Freeze(Instant),
    Write(Instant),
}

impl Step {
    /// Whether its own deadline has not passed.
    pub(crate) fn in_time(self, deadlines: Deadlines) -> Result<(), Failure> {
        let (since, limit, code, what) = match self {
            Step::Preflight(since) => (since, deadlines.preflight, "PREFLIGHT_TIMEOUT", "its preflight took"),
            Step::Prepare(since) => (since, deadlines.prepare, "PREPARE_TIMEOUT", "to prepare itself it took"),
            Step::Freeze(since) => {
                (since, Some(deadlines.freeze), "FREEZE_BUDGET_EXCEEDED", "to stand still and go on it took")
            }
            Step::Write(since) => (since, deadlines.write, "PARTICIPANT_TIMEOUT", "it took"),
        };
        match limit.filter(|limit| since.elapsed() > *limit) {
            None => Ok(()),
            Some(limit) => {
                Err(overdue(code, format!("{what} longer than {limit:?}: see to it, or raise its deadline")))
            }
        }
    }
}

/// Where a try says what it does.
#[derive(Clone)]
pub(crate) struct Steps {
    now: watch::Sender<Step>,
    deadlines: Deadlines,
}

impl Steps {
    pub(crate) fn new(deadlines: Deadlines) -> (Self, watch::Receiver<Step>) {
        let (now, steps) = watch::channel(Step::Preflight(Instant::now()));
        (Self { now, deadlines }, steps)
    }

    /// Goes over to the next step. A deadline of the one before that passed while nobody looked is found here.
    pub(crate) fn begin(&self, step: Step) -> Result<(), Failure> {
        self.in_time()?;
        self.now.send_replace(step);
        Ok(())
    }

    /// Whether the deadline of what it does has not passed.
    pub(crate) fn in_time(&self) -> Result<(), Failure> {
        self.now.borrow().in_time(self.deadlines)
    }
}

pub(crate) fn overdue(code: &str, text: String) -> Failure {
    Failure::new(FailureKind::Timeout, code, text)
}
