//! The end of what a command says on its standard error.

use std::collections::VecDeque;

use super::secrets::Secrets;
use crate::participant::ParticipantError;

/// The last [`ParticipantError::MAX_OUTPUT`] bytes of a stream of any length, without secrets.
///
/// A secret may begin before the first byte that is kept. So more is kept than is shown: as much as the longest secret has, and what
/// could be the rest of one that was cut is never shown.
pub(super) struct Tail<'a> {
    secrets: &'a Secrets,
    kept: VecDeque<u8>,
    most: usize,
    cut: bool,
}

impl<'a> Tail<'a> {
    pub(super) fn new(secrets: &'a Secrets) -> Self {
        Self { secrets, kept: VecDeque::new(), most: ParticipantError::MAX_OUTPUT + secrets.longest(), cut: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let last = bytes.get(bytes.len().saturating_sub(self.most)..).unwrap_or_default();
        let over = (self.kept.len() + last.len()).saturating_sub(self.most);
        self.cut |= over > 0 || last.len() < bytes.len();
        self.kept.drain(..over);
        self.kept.extend(last);
    }

    /// What may be shown of it.
    pub(super) fn shown(mut self) -> Vec<u8> {
        let doubtful = if self.cut { self.secrets.longest().saturating_sub(1) } else { 0 };
        let shown = self.secrets.redacted(self.kept.make_contiguous(), doubtful);
        let over = shown.len().saturating_sub(ParticipantError::MAX_OUTPUT);
        shown.get(over..).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

    use super::*;

    fn shown(secrets: &[&str], pieces: &[&str]) -> String {
        let secrets = Secrets::of(secrets);
        let mut tail = Tail::new(&secrets);
        pieces.iter().for_each(|piece| tail.push(piece.as_bytes()));
        String::from_utf8(tail.shown()).unwrap()
    }

    #[test]
    fn the_last_bytes_are_kept_however_many_come() {
        assert_eq!(shown(&[], &["ab", "", "cd"]), "abcd");
        let flood = ["x".repeat(100_000), "y".repeat(5000), "end".into()];
        let flood: Vec<&str> = flood.iter().map(String::as_str).collect();
        assert_eq!(shown(&[], &flood), format!("{}end", "y".repeat(4093)));
    }

    #[test]
    fn a_secret_is_hidden_also_where_it_came_in_pieces() {
        assert_eq!(shown(&["tops3cret"], &["pw tops", "3cret!", " tops3cret"]), "pw ***! ***");
    }

    #[test]
    fn the_rest_of_a_secret_that_was_cut_is_never_shown() {
        let secret: String = ('a'..='z').cycle().take(60).collect();
        // Whatever part of it lies before the kept bytes, nothing of it comes out.
        for before in 4000..4200 {
            let text = shown(&[&secret], &["#####", &secret, &"-".repeat(before)]);
            assert!(!text.contains(|c: char| c.is_ascii_lowercase()), "{before}: {text}");
            assert!(text.len() >= 4000.min(before), "{before}: {}", text.len());
        }
    }
}
