//! `backup.events`: the log itself.

use std::collections::VecDeque;

use holdfast_model::codec::Envelope;
use holdfast_model::ids::Position;

use super::{BATCH, Next};
use crate::api::envelope::EventType;
use crate::engine::{EngineError, Events, Holdfast, json};

pub(super) struct Log {
    events: Events,
    read: VecDeque<Envelope>,
    /// What is for admins alone is not told.
    leaves_out_confidential: bool,
}

impl Log {
    pub(super) fn new(engine: &Holdfast, since: Position) -> Self {
        Self { events: engine.events(since.next()), read: VecDeque::new(), leaves_out_confidential: false }
    }

    pub(super) fn leave_out_confidential(&mut self, does: bool) {
        self.leaves_out_confidential = does;
    }

    pub(super) async fn next(&mut self, last: Position) -> Next {
        let event = self.event(last).await?;
        Ok(event.map(|event| (EventType::Update, event.position, json(&event))))
    }

    /// The next event, read from the log in batches; none where all up to `last` were given.
    pub(super) async fn event(&mut self, last: Position) -> Result<Option<Envelope>, EngineError> {
        loop {
            while let Some(event) = self.read.pop_front() {
                if !(self.leaves_out_confidential && event.data.is_confidential()) {
                    return Ok(Some(event));
                }
            }
            if self.events.position() > last {
                return Ok(None);
            }
            self.read = self.events.next(BATCH).await?.into();
        }
    }
}
