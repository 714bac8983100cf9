//! Where endpoints are, folded from the log: by it copies are told from those that an endpoint of the same name has not.

use std::sync::Arc;

use holdfast_actors::event_sourced::replay;
use holdfast_log::ReadLog;
use holdfast_model::codec::Envelope;
use holdfast_model::endpoint::{Endpoint, EndpointConfigV2};
use holdfast_model::event::{EndpointEvent, Event};
use holdfast_model::ids::{EndpointName, StreamId, Timestamp};
use holdfast_model::run::Places;

use super::ViewError;
use crate::endpoints::place;

/// Folds the next event of the log.
pub(super) fn apply(places: &mut Arc<Places>, envelope: &Envelope) {
    let Event::EndpointEvent(event) = &envelope.data else { return };
    let config = match event {
        EndpointEvent::Added(added) => Some(&added.config),
        EndpointEvent::Updated(updated) => Some(&updated.config),
        EndpointEvent::Deleted(_) => None,
        _ => return,
    };
    if let Some(name) = envelope.stream.endpoint_name() {
        note(Arc::make_mut(places), name, config, envelope.time);
    }
}

fn note(places: &mut Places, name: EndpointName, config: Option<&EndpointConfigV2>, since: Timestamp) {
    // One whose address cannot be read is nowhere.
    match config.map(place) {
        Some(Ok(address)) => places.note(name, address, since),
        _ => places.forget(&name),
    }
}

/// Where these endpoints are by all that is recorded now.
///
/// # Errors
/// [`ViewError`] where a stream cannot be read.
pub(super) fn of(log: &dyn ReadLog, names: &[EndpointName]) -> Result<Places, ViewError> {
    let mut places = Places::default();
    for name in names {
        let endpoint: Endpoint = replay(log, &StreamId::endpoint(name))?.0;
        note(&mut places, name.clone(), endpoint.config(), endpoint.changed_at());
    }
    Ok(places)
}
