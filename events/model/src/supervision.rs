//! What is done about a participant that failed: pure rules over recorded facts.
//!
//! Within a run a failure that another try may mend is tried again after a pause, which doubles. A participant that failed
//! often in a row is quarantined: a run still tries it, so that a bad night never becomes silence, but only once.

use crate::failure::FailureKind;
use crate::ids::RunId;

/// So many failed tries in a row put a participant into quarantine.
pub const QUARANTINE_AFTER: u32 = 5;
/// Most tries of a participant in one attempt of a run.
pub const MAX_TRIES: u32 = 10;
/// Longest pause before another try, in milliseconds.
pub const MAX_RETRY_DELAY_MS: u64 = 60_000;

/// Whether another try may mend a failure of this kind. A deadline that passed has cost its time already, and room or memory does not
/// come back in seconds: those wait for the next run.
#[must_use]
pub fn may_be_mended(kind: FailureKind) -> bool {
    kind == FailureKind::Retryable
}

/// The pause after a failed try of a participant or an upload, in milliseconds: `base`, doubled with each try, at most [`MAX_RETRY_DELAY_MS`], and of that between
/// a half and the whole, so that those that failed together do not come back together. The same for the same try, always.
#[must_use]
pub fn retry_delay_ms(base_ms: u64, run_id: RunId, name: &str, try_number: u32) -> u64 {
    let doubled = 1_u64.checked_shl(try_number.saturating_sub(1)).unwrap_or(u64::MAX);
    let whole = base_ms.saturating_mul(doubled).min(MAX_RETRY_DELAY_MS);
    let seed = format!("{run_id}/{name}/{try_number}");
    whole / 2 + spread(seed.as_bytes()) % (whole / 2 + 1)
}

/// FNV-1a (Fowler, Noll, Vo): spreads names evenly, no more.
fn spread(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Timestamp;

    fn pause(base_ms: u64, name: &str, try_number: u32) -> u64 {
        retry_delay_ms(base_ms, RunId::new(Timestamp(0), 1), name, try_number)
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound_and_is_spread_over_its_upper_half() {
        for (try_number, whole) in [(1, 1000), (2, 2000), (3, 4000), (6, 32_000), (7, 60_000), (200, 60_000)] {
            let pauses: Vec<_> = (0..50).map(|n| pause(1000, &format!("p{n}"), try_number)).collect();
            assert!(pauses.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{try_number}: {pauses:?}");
            let (least, most) = (pauses.iter().min(), pauses.iter().max());
            assert!(most > least, "{try_number}: {pauses:?}");
        }
        assert_eq!(pause(0, "p", 3), 0);
        assert!(pause(u64::MAX, "p", 9) <= MAX_RETRY_DELAY_MS);
        assert_eq!(pause(1000, "p", 2), pause(1000, "p", 2));
    }
}
