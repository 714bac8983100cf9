//! The machine's clock and random numbers.

use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_actors::ports::Clock;
use holdfast_model::ids::Timestamp;
use uuid::Uuid;

/// The real clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        })
    }

    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}
