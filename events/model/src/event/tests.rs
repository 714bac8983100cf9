use std::collections::BTreeSet;

use super::*;

#[test]
fn numbers_and_names_are_used_once_and_versions_go_up() {
    let numbers: BTreeSet<_> = Event::TABLE.iter().map(|row| row.0).collect();
    let names: BTreeSet<_> = Event::TABLE.iter().map(|row| row.1).collect();
    assert_eq!((numbers.len(), names.len()), (Event::TABLE.len(), Event::TABLE.len()));
    for (number, name, versions) in Event::TABLE {
        assert!(versions.iter().copied().eq(1..=versions.len() as u16), "{number} {name}: {versions:?}");
    }
}

/// A set of events with a past: the forms that product events will have once they change.
mod past {
    #![expect(unreachable_pub, reason = "the macro makes public items, and these are for this test alone")]

    use serde::{Deserialize, Serialize};

    use crate::codec::{CodecError, decode_payload, encode_payload};
    use crate::record::EventType;

    /// A door had a colour by name.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct DoorPaintedV1 {
        pub colour: String,
    }

    /// Then also a number of coats.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct DoorPaintedV2 {
        pub colour: String,
        pub coats: u32,
    }

    /// Then a painter, and the colour as a number.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct DoorPaintedV3 {
        pub painter: Option<String>,
        pub colour: u8,
        pub coats: u32,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct GateShutV1 {}

    impl From<DoorPaintedV1> for DoorPaintedV2 {
        fn from(old: DoorPaintedV1) -> Self {
            Self { colour: old.colour, coats: 1 }
        }
    }

    impl From<DoorPaintedV2> for DoorPaintedV3 {
        fn from(old: DoorPaintedV2) -> Self {
            Self { painter: None, colour: if old.colour == "red" { 1 } else { 0 }, coats: old.coats }
        }
    }

    events! {
        /// A fact of a door.
        DoorEvent {
            7 "DoorPainted" Painted: 1 DoorPaintedV1, 2 DoorPaintedV2, 3 DoorPaintedV3;
        }
        /// A fact of a gate.
        GateEvent {
            8 "GateShut" Shut: 1 GateShutV1;
        }
    }
}

mod upcasting {
    use super::past::{DoorEvent, DoorPaintedV1, DoorPaintedV2, DoorPaintedV3, Event, GateEvent, GateShutV1};
    use crate::codec::{CodecError, encode_payload};
    use crate::record::EventType;

    const PAINTED: EventType = EventType(7);

    fn painted(painter: Option<&str>, coats: u32) -> Event {
        DoorEvent::Painted(DoorPaintedV3 { painter: painter.map(str::to_owned), colour: 1, coats }).into()
    }

    #[test]
    fn each_version_is_brought_forward_step_by_step_to_the_last() {
        let first = encode_payload(&DoorPaintedV1 { colour: "red".into() }).expect("fits");
        let second = encode_payload(&DoorPaintedV2 { colour: "red".into(), coats: 3 }).expect("fits");
        let third = painted(Some("Ada"), 2).encode().expect("fits");
        assert_eq!(Event::decode(PAINTED, 1, &first), Ok(painted(None, 1)));
        assert_eq!(Event::decode(PAINTED, 2, &second), Ok(painted(None, 3)));
        assert_eq!(Event::decode(PAINTED, 3, &third), Ok(painted(Some("Ada"), 2)));
    }

    #[test]
    fn the_last_version_is_the_one_written() {
        let shut = Event::from(GateEvent::Shut(GateShutV1 {}));
        assert_eq!(painted(None, 1).event_type(), (PAINTED, 3));
        assert_eq!(painted(None, 1).name(), "DoorPainted");
        assert_eq!((shut.event_type(), shut.name()), ((EventType(8), 1), "GateShut"));
        assert_eq!(Event::TABLE, &[(7, "DoorPainted", &[1, 2, 3][..]), (8, "GateShut", &[1][..])]);
        assert_eq!(DoorEvent::try_from(shut.clone()), Err(shut.clone()));
        assert_eq!(GateEvent::try_from(shut), Ok(GateEvent::Shut(GateShutV1 {})));
    }

    #[test]
    fn a_version_of_the_future_is_unknown_by_its_number() {
        for version in [0, 4, u16::MAX] {
            let unknown = CodecError::Unknown { event_type: PAINTED, version };
            assert_eq!(Event::decode(PAINTED, version, &[]), Err(unknown));
        }
    }
}
