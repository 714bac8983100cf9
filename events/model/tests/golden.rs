//! The bytes of each event type and version, kept under `golden/` as they were when the version was made.
//!
//! They are forever: a file is written once, by `HOLDFAST_WRITE_GOLDEN=1 cargo test -p holdfast-model --test golden`, and
//! that never touches one that is there. A change that makes this test fail is a new version of the event.

#[cfg(test)]
mod samples;

#[cfg(test)]
mod golden {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    use holdfast_model::event::Event;
    use holdfast_model::record::EventType;

    use super::samples::samples;

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
    }

    fn file_name(number: u32, name: &str, version: u16) -> String {
        format!("{number:03}-{name}-v{version}.hex")
    }

    fn to_hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(text: &str) -> Vec<u8> {
        let digits = text.strip_suffix('\n').expect("one line");
        assert!(digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digits:?}");
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect()
    }

    /// The sample of an event type: it has one form in memory, whatever the version it was written in.
    fn sample(number: u32) -> Event {
        let mut found = samples().into_iter().filter(|event| event.event_type().0 == EventType(number));
        let sample = found.next().unwrap_or_else(|| panic!("add a sample of event {number} to samples.rs"));
        assert_eq!(found.next(), None, "one sample of each");
        sample
    }

    fn write_missing() {
        for event in samples() {
            let (event_type, version) = event.event_type();
            let path = folder().join(file_name(event_type.0, event.name(), version));
            if !path.exists() {
                fs::write(path, to_hex(&event.encode().expect("fits")) + "\n").expect("written");
            }
        }
    }

    #[test]
    fn every_version_reads_and_the_last_one_is_written_as_it_always_was() {
        if std::env::var("HOLDFAST_WRITE_GOLDEN").is_ok_and(|value| value == "1") {
            write_missing();
        }
        let mut expected = BTreeSet::new();
        for (number, name, versions) in Event::TABLE {
            let sample = sample(*number);
            for version in *versions {
                let file = file_name(*number, name, *version);
                let text = fs::read_to_string(folder().join(&file)).unwrap_or_else(|error| {
                    panic!("{file}: {error}: a new version needs its bytes, see the head of this file")
                });
                let bytes = from_hex(&text);
                let read = Event::decode(EventType(*number), *version, &bytes);
                assert_eq!(read.as_ref(), Ok(&sample), "{file} no longer reads as it did");
                if sample.event_type().1 == *version {
                    let written = sample.encode().expect("fits");
                    assert_eq!(to_hex(&written), to_hex(&bytes), "{file}: the form has changed without a new version");
                }
                expected.insert(file);
            }
        }
        let files = fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        let files: BTreeSet<_> = files.map(|file| file.into_string().expect("text")).collect();
        assert_eq!(files, expected, "a version that was once written is read for ever");
    }
}
