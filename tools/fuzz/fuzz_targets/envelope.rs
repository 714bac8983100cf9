//! A message of a client: it is a request, or is answered with an error that can be read.
#![no_main]

use holdfast::api::envelope::{self, MAX_EXT_ID, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match Request::read(data) {
        Ok(request) => assert!(request.ext_id.len() <= MAX_EXT_ID),
        Err(unread) => {
            let (ext_id, error) = *unread;
            assert!(ext_id.as_ref().is_none_or(|id| id.len() <= MAX_EXT_ID));
            let answer = envelope::error(ext_id.as_deref(), &error);
            let answer: serde_json::Value = serde_json::from_slice(&answer).expect("an answer is JSON");
            assert_eq!(answer["extID"].as_str(), ext_id.as_deref());
            assert_eq!(answer["status"], 400);
        }
    }
});
