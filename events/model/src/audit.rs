//! Who did what: each command that changes something, and what was refused.
//!
//! Who asked and the command's correlation id stand in the envelope. What a stranger can cause is bounded: refusals above a principal's
//! rate and guesses of tokens are summed before they come here, and every text is cut to what an event holds.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Moment};
use crate::event::AuditEvent;
use crate::failure::cut;
use crate::ids::Timestamp;

/// Most fields of a command that are recorded.
pub const MAX_FIELDS: usize = 16;
/// Most of a field's value that is recorded, in bytes.
pub const MAX_VALUE: usize = 256;
/// Most sources of guesses that are recorded by name.
pub const MAX_SOURCES: usize = 10;
/// Longest of the other texts, in bytes.
const MAX_TEXT: usize = 64;
/// Longest address, in bytes.
const MAX_SOURCE: usize = 128;

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandOutcome {
    /// It was begun; its end is told by what it began.
    Accepted,
    /// It is done.
    Done,
    /// It was not granted.
    Refused,
    /// It was granted and did not work.
    Failed,
}

/// A principal gave a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecordedV1 {
    /// Which.
    pub command: String,
    /// The role it was given in.
    pub role: String,
    /// The door it came through, for example `http`.
    pub door: String,
    /// The address it came from.
    pub source: String,
    /// What became of it.
    pub outcome: CommandOutcome,
    /// The code of its error; empty where it has none.
    pub code: String,
    /// What it was about: names and values that are known to be no secrets, at most [`MAX_FIELDS`].
    pub fields: Vec<(String, String)>,
}

/// [`CommandRecordedV1`], with the token it was given with: a name can be given again once its token is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecordedV2 {
    /// Which.
    pub command: String,
    /// The role it was given in.
    pub role: String,
    /// The token; none for processes of this machine, and where an older program recorded it.
    pub token_id: Option<Uuid>,
    /// The door it came through, for example `http`.
    pub door: String,
    /// The address it came from.
    pub source: String,
    /// What became of it.
    pub outcome: CommandOutcome,
    /// The code of its error; empty where it has none.
    pub code: String,
    /// What it was about: names and values that are known to be no secrets, at most [`MAX_FIELDS`].
    pub fields: Vec<(String, String)>,
}

impl From<CommandRecordedV1> for CommandRecordedV2 {
    fn from(v1: CommandRecordedV1) -> Self {
        Self {
            command: v1.command,
            role: v1.role,
            token_id: None,
            door: v1.door,
            source: v1.source,
            outcome: v1.outcome,
            code: v1.code,
            fields: v1.fields,
        }
    }
}

/// Commands of one principal were refused more often than each is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalsSummedV1 {
    /// The last of them.
    pub command: String,
    /// The role they were given in.
    pub role: String,
    /// The address the last one came from.
    pub source: String,
    /// When the first one came.
    pub from: Timestamp,
    /// When the last one came.
    pub to: Timestamp,
    /// How many.
    pub count: u64,
}

/// [`RefusalsSummedV1`] of one command with one error, and with the token they were given with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalsSummedV2 {
    /// Which command.
    pub command: String,
    /// The code of the error; empty where an older program recorded it, and the command is then the last of several.
    pub code: String,
    /// The role they were given in.
    pub role: String,
    /// The token; none for processes of this machine, and where an older program recorded it.
    pub token_id: Option<Uuid>,
    /// The address the last one came from.
    pub source: String,
    /// When the first one came.
    pub from: Timestamp,
    /// When the last one came.
    pub to: Timestamp,
    /// How many.
    pub count: u64,
}

impl From<RefusalsSummedV1> for RefusalsSummedV2 {
    fn from(v1: RefusalsSummedV1) -> Self {
        Self {
            command: v1.command,
            code: String::new(),
            role: v1.role,
            token_id: None,
            source: v1.source,
            from: v1.from,
            to: v1.to,
            count: v1.count,
        }
    }
}

/// Tokens were guessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuessesSummedV1 {
    /// When the first guess came.
    pub from: Timestamp,
    /// When the last one came.
    pub to: Timestamp,
    /// How many.
    pub count: u64,
    /// Addresses they came from, and how many from each; at most [`MAX_SOURCES`].
    pub sources: Vec<(String, u64)>,
    /// How many other addresses.
    pub more_sources: u64,
}

/// The state: that there is such a stream. Its facts are for readers, nothing is decided from them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit;

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditCommand {
    /// A command.
    Command(CommandRecordedV2),
    /// Refused ones.
    Refusals(RefusalsSummedV2),
    /// Guesses.
    Guesses(GuessesSummedV1),
}

impl Aggregate for Audit {
    type Command = AuditCommand;
    type Event = AuditEvent;
    type Effect = ();
    type Refusal = Infallible;

    fn decide(&self, command: AuditCommand, _now: Timestamp) -> Result<Vec<AuditEvent>, Infallible> {
        Ok(vec![match command {
            AuditCommand::Command(command) => AuditEvent::CommandRecorded(command.bounded()),
            AuditCommand::Refusals(refusals) => AuditEvent::RefusalsSummed(RefusalsSummedV2 {
                command: short(&refusals.command),
                code: short(&refusals.code),
                role: short(&refusals.role),
                source: address(&refusals.source),
                ..refusals
            }),
            AuditCommand::Guesses(guesses) => AuditEvent::GuessesSummed(guesses.bounded()),
        }])
    }

    fn apply(&mut self, _event: &AuditEvent, _moment: &Moment) {}

    fn effects(&self, _events: &[AuditEvent]) -> Vec<()> {
        Vec::new()
    }
}

fn short(text: &str) -> String {
    cut(text, MAX_TEXT).to_owned()
}

fn address(text: &str) -> String {
    cut(text, MAX_SOURCE).to_owned()
}

impl CommandRecordedV2 {
    fn bounded(self) -> Self {
        let bounded = |(name, value): (String, String)| (short(&name), cut(&value, MAX_VALUE).to_owned());
        Self {
            command: short(&self.command),
            role: short(&self.role),
            token_id: self.token_id,
            door: short(&self.door),
            source: address(&self.source),
            outcome: self.outcome,
            code: short(&self.code),
            fields: self.fields.into_iter().take(MAX_FIELDS).map(bounded).collect(),
        }
    }
}

impl GuessesSummedV1 {
    fn bounded(self) -> Self {
        let unnamed = self.sources.len().saturating_sub(MAX_SOURCES) as u64;
        let named = self.sources.iter().take(MAX_SOURCES);
        Self {
            sources: named.map(|(source, count)| (address(source), *count)).collect(),
            more_sources: self.more_sources.saturating_add(unnamed),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::given;

    #[test]
    fn the_longest_that_can_be_said_fits_an_event() {
        let long = || "ä".repeat(9000);
        let command = AuditCommand::Command(CommandRecordedV2 {
            command: long(),
            role: long(),
            token_id: Some(Uuid::max()),
            door: long(),
            source: long(),
            outcome: CommandOutcome::Failed,
            code: long(),
            fields: vec![(long(), long()); 99],
        });
        let refusals = AuditCommand::Refusals(RefusalsSummedV2 {
            command: long(),
            code: long(),
            role: long(),
            token_id: Some(Uuid::max()),
            source: long(),
            from: Timestamp(i64::MIN),
            to: Timestamp(i64::MAX),
            count: u64::MAX,
        });
        let guesses = AuditCommand::Guesses(GuessesSummedV1 {
            from: Timestamp(i64::MIN),
            to: Timestamp(i64::MAX),
            count: u64::MAX,
            sources: vec![(long(), u64::MAX); 99],
            more_sources: 1,
        });
        for wish in [command, refusals, guesses] {
            let then = given::<Audit>([]).when(wish);
            let events = then.decision().clone().expect("never refused");
            assert!(events.into_iter().all(|event| Event::from(event).encode().is_ok()));
        }
    }

    #[test]
    fn sources_that_are_not_named_are_counted() {
        let sources = (0..13).map(|number| (format!("10.0.0.{number}"), 1)).collect::<Vec<_>>();
        let guesses = GuessesSummedV1 {
            from: Timestamp(1),
            to: Timestamp(2),
            count: 20,
            sources: sources.clone(),
            more_sources: 4,
        };
        let recorded = GuessesSummedV1 { sources: sources[..10].to_vec(), more_sources: 7, ..guesses };
        given::<Audit>([]).when(AuditCommand::Guesses(guesses)).then([AuditEvent::GuessesSummed(recorded)]);
    }
}
