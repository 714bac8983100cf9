//! The line of each event, as people read it. An event without its line here fails the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod samples;

use std::collections::BTreeMap;

use holdfast_model::codec::Envelope;
use holdfast_model::event::Event;
use holdfast_model::ids::{Position, StreamId, Timestamp, Version};
use holdfast_model::story::{Level, LogLine};
use samples::samples;
use uuid::Uuid;

fn line(event: Event) -> LogLine {
    let stream: StreamId = match &event {
        Event::ParticipantEvent(_) => "participant/site".parse().unwrap(),
        Event::EndpointEvent(_) => "endpoint/offsite".parse().unwrap(),
        _ => StreamId::system(),
    };
    LogLine::of(&Envelope {
        position: Position(1),
        stream,
        version: Version(1),
        time: Timestamp(0),
        event_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        principal: "token:ops".into(),
        event_type: event.name(),
        data: event,
    })
}

/// The event's name, its level, whom it is about, and its words.
const LINES: &[(&str, Level, &str, &str)] = &[];

#[test]
fn every_event_has_a_line_that_stands_alone() {
    let mut told = BTreeMap::new();
    for event in samples() {
        let name = event.name();
        let line = line(event);
        assert!(!line.message.is_empty() && !line.message.contains("  "), "{name}: {:?}", line.message);
        let about = format!("{}{}", line.participant, line.endpoint);
        told.insert(name, (line.level, about, line.message));
    }
    for (_, name, _) in Event::TABLE {
        let (level, about, message) = told.get(name).unwrap_or_else(|| panic!("{name} has no sample"));
        let (_, expected, whom, words) = LINES
            .iter()
            .find(|(event, ..)| event == name)
            .unwrap_or_else(|| panic!("{name} has no line here; it reads {level:?} {about:?} {message:?}"));
        assert_eq!((level, about.as_str(), message.as_str()), (expected, *whom, *words), "{name}");
    }
}
