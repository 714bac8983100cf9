//! `backup.events`: the log itself.

use std::collections::VecDeque;

use holdfast_model::codec::Envelope;
use holdfast_model::ids::Position;

use super::{BATCH, Told};
use crate::api::envelope::EventType;
use crate::engine::{EngineError, Events, Holdfast, json};

pub(super) struct Log {
    events: Events,
    read: VecDeque<Envelope>,
}

impl Log {
    pub(super) fn new(engine: &Holdfast, since: Position) -> Self {
        Self { events: engine.events(since.next()), read: VecDeque::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Told, EngineError> {
        let event = self.event().await?;
        Ok((EventType::Update, event.position, json(&event)))
    }

    /// The next event, read from the log in batches.
    pub(super) async fn event(&mut self) -> Result<Envelope, EngineError> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(event);
            }
            self.read = self.events.next(BATCH).await?.into();
        }
    }
}
