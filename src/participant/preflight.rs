//! What a participant is asked before it writes.

use holdfast_actors::ports::Stop;

use super::artifacts::Admit;

/// A look at whether a participant could write.
#[derive(Clone)]
pub struct Preflight {
    stop: Stop,
    admit: Option<Admit>,
}

impl Preflight {
    pub(crate) fn new(stop: Stop, admit: Admit) -> Self {
        Self { stop, admit: Some(admit) }
    }

    /// One that no run waits for.
    pub(crate) fn asked(stop: Stop) -> Self {
        Self { stop, admit: None }
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.requested()
    }

    /// Where its children are recorded; `None` where no run waits for it.
    pub(crate) fn admit(&self) -> Option<&Admit> {
        self.admit.as_ref()
    }
}
