//! What a client asks, and how it knows the right answer.

/// A command with its data.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) command: &'static str,
    /// A JSON object.
    pub(super) data: String,
    /// Text that the right answer has and no other one.
    has: String,
}

impl Question {
    pub(super) fn new(command: &'static str, data: &str, has: &str) -> Self {
        Self { command, data: data.to_owned(), has: has.to_owned() }
    }

    /// Whether an answer with status 200 is the one to this question.
    pub(super) fn is_answered_by(&self, body: &[u8]) -> bool {
        std::str::from_utf8(body).is_ok_and(|body| body.contains(&self.has))
    }
}
