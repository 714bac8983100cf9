//! Events to bytes and back.

use holdfast_model::codec::{CodecError, Envelope, Origin, record};
use holdfast_model::event::{Event, SystemEvent};
use holdfast_model::ids::{Position, StreamId, Timestamp, Version};
use holdfast_model::record::{EventType, MAX_PAYLOAD, MAX_PRINCIPAL, Record};
use holdfast_model::system::LogRepairedV1;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::arbitrary::{any_event, every_kind, largest, text};

fn known(event_type: EventType, version: u16) -> bool {
    Event::TABLE.iter().any(|(number, _, versions)| *number == event_type.0 && versions.contains(&version))
}

#[test]
fn there_is_a_strategy_for_every_kind_of_event() {
    let mut runner = TestRunner::deterministic();
    let names: Vec<_> = every_kind()
        .iter()
        .map(|kind| kind.new_tree(&mut runner).expect("a value").current())
        .map(|event| (event.event_type().0.0, event.name()))
        .collect();
    let table: Vec<_> = Event::TABLE.iter().map(|(number, name, _)| (*number, *name)).collect();
    assert_eq!(names, table);
}

#[test]
fn the_largest_events_fit_and_read_back() {
    for event in largest() {
        let bytes = event.encode().unwrap_or_else(|error| panic!("{}: {error}", event.name()));
        assert!(bytes.len() <= MAX_PAYLOAD, "{} has {} bytes", event.name(), bytes.len());
        let (event_type, version) = event.event_type();
        assert_eq!(Event::decode(event_type, version, &bytes), Ok(event));
    }
}

#[test]
fn what_does_not_fit_is_refused_both_ways() {
    let what = "x".repeat(MAX_PAYLOAD);
    let event = Event::from(SystemEvent::LogRepaired(LogRepairedV1 { what }));
    assert_eq!(event.encode(), Err(CodecError::TooLarge));
    let (event_type, version) = event.event_type();
    assert_eq!(Event::decode(event_type, version, &vec![0; MAX_PAYLOAD + 1]), Err(CodecError::TooLarge));
}

#[test]
fn the_fullest_payload_that_can_be_written_reads_back() {
    // Three bytes are the length of the text.
    let what = "x".repeat(MAX_PAYLOAD - 3);
    let event = Event::from(SystemEvent::LogRepaired(LogRepairedV1 { what }));
    let bytes = event.encode().expect("fits");
    assert_eq!(bytes.len(), MAX_PAYLOAD);
    let (event_type, version) = event.event_type();
    assert_eq!(Event::decode(event_type, version, &bytes), Ok(event));
}

#[test]
fn a_length_that_no_memory_holds_is_refused_before_any_is_taken() {
    // 253 announces eight bytes of length.
    let hostile = [[253].as_slice(), &u64::MAX.to_le_bytes()].concat();
    for (number, _, versions) in Event::TABLE {
        for version in *versions {
            // Some events have no fields, and for them these are bytes that follow the end.
            let decoded = Event::decode(EventType(*number), *version, &hostile);
            // Some are one number, and for them these are one.
            let is_number = matches!(&decoded, Ok(event) if event.encode().as_ref() == Ok(&hostile));
            assert!(is_number || matches!(decoded, Err(CodecError::Malformed(_))), "{number}: {decoded:?}");
        }
    }
}

proptest! {
    #[test]
    fn every_event_reads_back(event in any_event()) {
        let (event_type, version) = event.event_type();
        let bytes = event.encode().expect("fits");
        prop_assert_eq!(Event::decode(event_type, version, &bytes), Ok(event.clone()));
        prop_assert_eq!(event.encode(), Ok(bytes), "the bytes of an event are always the same");
    }

    #[test]
    fn bytes_that_follow_or_lack_are_refused(event in any_event(), more in vec(any::<u8>(), 1..20), cut in 0_usize..9000) {
        let (event_type, version) = event.event_type();
        let bytes = event.encode().expect("fits");
        let longer = [bytes.as_slice(), &more].concat();
        let decoded = Event::decode(event_type, version, &longer);
        prop_assert!(matches!(decoded, Err(CodecError::Malformed(_) | CodecError::TooLarge)), "{decoded:?}");
        if !bytes.is_empty() {
            prop_assert!(Event::decode(event_type, version, &bytes[..cut % bytes.len()]).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_any_decoder(bytes in vec(any::<u8>(), 0..600)) {
        for (number, _, versions) in Event::TABLE {
            for version in *versions {
                // What reads at all reads to something that can be written.
                if let Ok(event) = Event::decode(EventType(*number), *version, &bytes) {
                    let _ = event.encode().expect("what was read fits");
                }
            }
        }
    }

    #[test]
    fn altered_events_never_panic(event in any_event(), place in any::<prop::sample::Index>(), with in any::<u8>()) {
        let (event_type, version) = event.event_type();
        let mut bytes = event.encode().expect("fits");
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] ^= with;
            let _ = Event::decode(event_type, version, &bytes);
        }
    }

    #[test]
    fn an_unknown_type_or_version_is_named(number in any::<u32>(), version in any::<u16>(), bytes in vec(any::<u8>(), 0..40)) {
        let event_type = EventType(number);
        prop_assume!(!known(event_type, version));
        let unknown = CodecError::Unknown { event_type, version };
        prop_assert_eq!(Event::decode(event_type, version, &bytes), Err(unknown));
    }

    #[test]
    fn an_envelope_carries_who_when_and_what(event in any_event(), principal in text(), time in any::<i64>(), ids in any::<(u128, u128)>()) {
        let origin = Origin { principal, correlation_id: Uuid::from_u128(ids.1) };
        let body = record(&event, Uuid::from_u128(ids.0), Timestamp(time), &origin).expect("fits");
        prop_assert_eq!(body.check(), Ok(()));
        let record = Record { position: Position(9), stream: StreamId::system(), version: Version(3), body };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let envelope = Envelope::read(Record::decode(&bytes).expect("a record")).expect("an event");
        prop_assert_eq!((envelope.position, envelope.version, envelope.time), (Position(9), Version(3), Timestamp(time)));
        prop_assert!(origin.principal.starts_with(&envelope.principal) && envelope.principal.len() <= MAX_PRINCIPAL);
        prop_assert_eq!((envelope.event_id.as_u128(), envelope.correlation_id.as_u128()), ids);
        prop_assert_eq!((envelope.event_type, &envelope.data), (event.name(), &event));
    }
}
