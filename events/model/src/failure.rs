//! Why something did not work, in a form that is recorded and shown.

use serde::{Deserialize, Serialize};

/// What may be done about a failure. New kinds go to the end: events hold the place in this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Another try may work.
    Retryable,
    /// Another try cannot work.
    Fatal,
    /// A deadline passed.
    Timeout,
    /// The machine lacks something: disk space, memory, descriptors.
    Resource,
    /// Somebody asked to stop.
    Cancelled,
}

/// A failure with a stable code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Failure {
    /// What may be done about it.
    pub kind: FailureKind,
    /// Stable name, `UPPER_CASE`.
    pub code: String,
    /// What happened and what to do, for people. At most [`Failure::MAX_MESSAGE`] bytes.
    pub message: String,
}

impl Failure {
    /// Longest message in bytes.
    pub const MAX_MESSAGE: usize = 1024;
    const MAX_CODE: usize = 64;

    /// A failure; what is longer than it may be is cut.
    pub fn new(kind: FailureKind, code: &str, message: impl AsRef<str>) -> Self {
        Self {
            kind,
            code: cut(code, Self::MAX_CODE).to_owned(),
            message: cut(message.as_ref(), Self::MAX_MESSAGE).to_owned(),
        }
    }

    /// The same, cut to what an event may hold.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self::new(self.kind, &self.code, &self.message)
    }
}

/// What was left out of an artifact that is good otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Warnings {
    /// How many there were.
    pub count: u64,
    /// The first of them, at most [`Warnings::KEPT`].
    pub first: Vec<String>,
}

impl Warnings {
    /// How many are kept by name.
    pub const KEPT: usize = 10;
    const MAX_TEXT: usize = 280;

    /// Counts one, and keeps it if it is among the first.
    pub fn add(&mut self, text: &str) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < Self::KEPT {
            self.first.push(cut(text, Self::MAX_TEXT).to_owned());
        }
    }

    /// The same, cut to what an event may hold: two of these fit one event.
    #[must_use]
    pub fn bounded(self) -> Self {
        let first = self.first.iter().take(Self::KEPT).map(|text| cut(text, Self::MAX_TEXT).to_owned()).collect();
        Self { count: self.count, first }
    }
}

/// The longest beginning of `text` of at most `bytes` bytes that ends between characters.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(Failure::new(FailureKind::Fatal, "X", "ä".repeat(4000)).message.len(), 1024);
        let mut warnings = Warnings::default();
        (0..50).for_each(|_| warnings.add(&"w".repeat(900)));
        assert_eq!((warnings.count, warnings.first.len(), warnings.first[0].len()), (50, 10, 280));
    }
}
