//! How rules are tested: `given` events, `when` a command comes, `then` these events, or this refusal.
//!
//! What a `then` has seen is folded, so that a story goes on after it.

use std::fmt::Debug;

use crate::aggregate::{Aggregate, Moment};
use crate::ids::Timestamp;

/// Who every command of a test comes from.
pub(crate) const PRINCIPAL: &str = "local:uid=0";

/// A state, and the time at which the next command comes.
#[derive(Clone)]
pub(crate) struct Given<A: Aggregate> {
    state: A,
    now: Timestamp,
}

/// What was decided.
pub(crate) struct Then<A: Aggregate> {
    given: Given<A>,
    decision: Result<Vec<A::Event>, A::Refusal>,
}

/// The state after `events`, the first second of 1970 being the present.
pub(crate) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given { state: A::default(), now: Timestamp(0) }.and(events)
}

impl<A: Aggregate> Given<A> {
    /// More events, in one commit.
    pub(crate) fn and(mut self, events: impl IntoIterator<Item = A::Event>) -> Self {
        let moment = Moment { time: self.now, principal: PRINCIPAL.to_owned() };
        events.into_iter().for_each(|event| self.state.apply(&event, &moment));
        self
    }

    /// Lets time pass.
    pub(crate) fn seconds_later(mut self, seconds: i64) -> Self {
        self.now = Timestamp(self.now.0 + seconds * 1_000_000);
        self
    }

    /// A command comes.
    pub(crate) fn when(self, command: A::Command) -> Then<A> {
        let decision = self.state.decide(command, self.now);
        Then { given: self, decision }
    }

    /// The state.
    pub(crate) fn state(&self) -> &A {
        &self.state
    }
}

impl<A: Aggregate<Refusal: PartialEq + Debug>> Then<A> {
    /// These facts follow.
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = A::Event>) -> Given<A> {
        assert_eq!(self.decision, Ok(expected.into_iter().collect::<Vec<_>>()));
        self.granted()
    }

    /// These facts follow, and these effects after them.
    #[track_caller]
    pub(crate) fn then_do(
        self,
        expected: impl IntoIterator<Item = A::Event>,
        effects: impl IntoIterator<Item = A::Effect>,
    ) -> Given<A> {
        let events: Vec<_> = expected.into_iter().collect();
        let after = self.then(events.clone());
        assert_eq!(after.state.effects(&events), effects.into_iter().collect::<Vec<_>>());
        after
    }

    /// It is refused, and nothing follows.
    #[track_caller]
    pub(crate) fn refused(self, refusal: A::Refusal) -> Given<A> {
        assert_eq!(self.decision, Err(refusal));
        self.given
    }

    /// Whatever follows.
    #[track_caller]
    pub(crate) fn granted(self) -> Given<A> {
        let events = self.decision.expect("the command is granted");
        self.given.and(events)
    }

    /// What was decided, to look at.
    pub(crate) fn decision(&self) -> &Result<Vec<A::Event>, A::Refusal> {
        &self.decision
    }
}
