//! The data of a request of each command: it is read and checked, or refused with an error that is the client's.
//!
//! The first byte chooses the command, by its place in the dispatcher's list; the rest is the data.
#![no_main]

use holdfast::api::{ErrorCode, TABLE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [which, data @ ..] = data else { return };
    let (Some(entry), Ok(data)) = (TABLE.get(usize::from(*which)), std::str::from_utf8(data)) else { return };
    if let Err(error) = entry.check(data) {
        let of_its_own = entry.errors.contains(&error.code);
        assert!(error.code == ErrorCode::InvalidData || of_its_own, "{}: {error}", entry.name);
        assert!((400..500).contains(&error.code.status()), "{}: {error}", entry.name);
    }
});
