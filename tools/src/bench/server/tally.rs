//! What became of many requests.

use std::time::Duration;

use serde::Serialize;

use super::question::Question;
use super::wire::Heard;

/// Longest that is kept of a wrong answer, in characters.
const SHOWN: usize = 300;

/// Answers as they come in.
#[derive(Debug, Default)]
pub(super) struct Tally {
    right: u64,
    too_many: u64,
    wrong: u64,
    first_wrong: Option<String>,
    /// Of right ones, in microseconds.
    latencies: Vec<u32>,
}

/// Answers that have come in.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Answers {
    pub(super) right: u64,
    /// Refused with 429, in the form that such a refusal has.
    pub(super) too_many: u64,
    /// Anything else, and what was never answered.
    pub(super) wrong: u64,
    pub(super) first_wrong: Option<String>,
    /// Middle latency of the right ones, in ms.
    pub(super) p50: f64,
    /// The latency that 99 of 100 right ones do not exceed, in ms.
    pub(super) p99: f64,
}

impl Tally {
    /// Takes an answer. The latency counts where the answer is right.
    pub(super) fn take(&mut self, heard: &Heard<'_>, question: Option<&Question>, latency: Option<Duration>) {
        match (heard, question) {
            (Heard::Answer { status: 200, body, .. }, Some(question)) if question.is_answered_by(body) => {
                self.right += 1;
                let micros = latency.map(|latency| u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
                self.latencies.extend(micros);
            }
            (Heard::Answer { status: 429, body, .. }, Some(_)) if is_refusal(body) => self.too_many += 1,
            (Heard::Answer { status, body, .. }, _) => {
                self.not_right(&format!("{status} {}", String::from_utf8_lossy(body)));
            }
            (Heard::Unasked(text), _) => self.not_right(&String::from_utf8_lossy(text)),
        }
    }

    /// Takes note of something that should not be.
    pub(super) fn not_right(&mut self, what: &str) {
        self.wrong += 1;
        self.first_wrong.get_or_insert_with(|| what.chars().take(SHOWN).collect());
    }

    /// Answers so far.
    pub(super) fn answered(&self) -> u64 {
        self.right + self.too_many + self.wrong
    }

    /// Only what should not be.
    pub(super) fn without_right(self) -> Self {
        Self { right: 0, latencies: Vec::new(), ..self }
    }

    /// Together with another one.
    pub(super) fn add(&mut self, other: Self) {
        self.right += other.right;
        self.too_many += other.too_many;
        self.wrong += other.wrong;
        if self.first_wrong.is_none() {
            self.first_wrong = other.first_wrong;
        }
        self.latencies.extend(other.latencies);
    }

    /// What it comes to.
    pub(super) fn answers(mut self) -> Answers {
        self.latencies.sort_unstable();
        let (p50, p99) = (self.quantile(0.5), self.quantile(0.99));
        let Self { right, too_many, wrong, first_wrong, .. } = self;
        Answers { right, too_many, wrong, first_wrong, p50, p99 }
    }

    /// Of sorted latencies, in ms; 0 where there are none.
    fn quantile(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * part).ceil() as usize).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }
}

impl Answers {
    /// Questions that were not answered as they should have been, where none may be refused.
    pub(super) fn errors(&self) -> u64 {
        self.wrong + self.too_many
    }
}

/// Whether a 429 says what it must, and when it is worth another try.
fn is_refusal(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let wait = text.split_once("\"retry_after_ms\":").map(|(_, rest)| !rest.starts_with('0'));
    text.contains("\"RATE_LIMITED\"") && wait == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_right_refused_or_wrong() {
        let question = Question::new("GetBackupRun", "{}", "\"run_id\":\"7\"");
        let mut tally = Tally::default();
        let refusal = br#","error":"RATE_LIMITED","retryable":true,"retry_after_ms":20}"#;
        let all: [(u16, &[u8]); 5] = [
            (200, br#","data":{"run_id":"7"}}"#),
            (200, br#","data":{"run_id":"8"}}"#),
            (429, refusal),
            (429, b"{}"),
            (500, br#","data":{"run_id":"7"}}"#),
        ];
        for (status, body) in all {
            let heard = Heard::Answer { number: 0, status, body };
            tally.take(&heard, Some(&question), Some(Duration::from_millis(3)));
        }
        tally.take(&Heard::Unasked(b"{}"), Some(&question), None);
        let answers = tally.answers();
        assert_eq!((answers.right, answers.too_many, answers.wrong), (1, 1, 4));
        assert_eq!((answers.p50, answers.p99, answers.errors()), (3.0, 3.0, 5));
        assert!(answers.first_wrong.unwrap().contains("\"8\""));
    }

    #[test]
    fn quantiles_are_of_all_clients() {
        let mut all = Tally::default();
        for part in 0..4_u32 {
            all.add(Tally { latencies: (0..=100).map(|ms| ms * 1000 + part).collect(), ..Tally::default() });
        }
        let answers = all.answers();
        assert!((answers.p50 - 50.0).abs() < 0.1 && (answers.p99 - 99.0).abs() < 0.1, "{answers:?}");
        assert_eq!(Tally::default().answers(), Answers::default());
    }
}
