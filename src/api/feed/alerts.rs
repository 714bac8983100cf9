//! `alerts`: what somebody has to see to, derived from the log.

use std::sync::Arc;

use holdfast_model::alert::Alert;
use holdfast_model::codec::Envelope;
use holdfast_model::ids::Position;
use holdfast_model::run::Run;

use super::Next;
use super::log::Log;
use crate::api::envelope::EventType;
use crate::engine::{Holdfast, json};

pub(super) struct Alerts {
    engine: Holdfast,
    log: Log,
    /// An event that was taken from the log, and what is told of it is not known yet.
    taken: Option<Envelope>,
}

impl Alerts {
    pub(super) fn new(engine: &Holdfast, since: Position) -> Self {
        Self { engine: engine.clone(), log: Log::new(engine, since), taken: None }
    }

    pub(super) async fn next(&mut self, last: Position) -> Next {
        loop {
            let event = match self.taken.take() {
                Some(event) => event,
                None => match self.log.event(last).await? {
                    Some(event) => event,
                    None => return Ok(None),
                },
            };
            let run: Option<Arc<Run>> = match Alert::needs(&event) {
                None => None,
                Some(run_id) => {
                    self.taken = Some(event.clone());
                    let run = self.engine.run(run_id).await?;
                    self.taken = None;
                    Some(run)
                }
            };
            if let Some(alert) = Alert::of(&event, run.as_deref()) {
                return Ok(Some((EventType::Update, event.position, json(&alert))));
            }
        }
    }
}
