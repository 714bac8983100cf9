//! What every event-sourced thing has: `decide`, `apply`, and the effects that follow.

use crate::ids::Timestamp;

/// What the envelope says of an event, as far as state depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When it was recorded.
    pub time: Timestamp,
    /// Who asked for it.
    pub principal: String,
}

/// State folded from the events of one stream.
///
/// All three functions are total and deterministic. `apply` believes what is in the log: it does not ask again whether
/// an event may follow, that is `decide`'s part, and it never panics, also on events in an order that `decide` would
/// not have made.
pub trait Aggregate: Default + Clone + PartialEq + std::fmt::Debug + Send + 'static {
    /// A wish.
    type Command: Send + 'static;
    /// A fact.
    type Event: Clone + PartialEq + std::fmt::Debug + Send + 'static;
    /// What must be done in the world once facts are durable.
    type Effect: Clone + PartialEq + std::fmt::Debug + Send + 'static;
    /// Why a wish was not granted.
    type Refusal: std::error::Error + Clone + Send + 'static;

    /// Turns a wish into facts, or refuses it. An empty list grants it without a new fact.
    ///
    /// # Errors
    /// The refusal says why, with a stable code.
    fn decide(&self, command: Self::Command, now: Timestamp) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// Folds one fact into the state.
    fn apply(&mut self, event: &Self::Event, moment: &Moment);

    /// What the last of `events`, all of one commit and all applied, asks of the world.
    fn effects(&self, events: &[Self::Event]) -> Vec<Self::Effect>;
}
