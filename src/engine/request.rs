//! What may be asked of the engine.

use holdfast_model::ids::ParticipantName;
use holdfast_model::run::Trigger;

use crate::participant::FilesDefinition;
use crate::pipeline::Compression;

/// A backup that is asked for.
#[derive(Debug, Clone)]
pub struct Backup {
    pub(super) what: What,
    pub(super) trigger: Trigger,
    pub(super) compression: Option<Compression>,
    pub(super) strict: bool,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    All,
    Named(Vec<ParticipantName>),
    Files(ParticipantName, FilesDefinition),
}

impl Backup {
    /// Of all participants: a full run.
    #[must_use]
    pub fn full() -> Self {
        Self::of(What::All)
    }

    /// Of these: a scoped run. They work in the order they are configured in.
    #[must_use]
    pub fn scoped(participants: impl IntoIterator<Item = ParticipantName>) -> Self {
        Self::of(What::Named(participants.into_iter().collect()))
    }

    /// Of files, without a configuration: the run records what to take.
    #[must_use]
    pub fn files(name: ParticipantName, definition: FilesDefinition) -> Self {
        Self::of(What::Files(name, definition))
    }

    fn of(what: What) -> Self {
        Self { what, trigger: Trigger::Manual, compression: None, strict: false }
    }

    /// What makes it start; manual where nothing is said.
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// How its artifacts are compressed; as configured where nothing is said.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Whether a warning fails its participant.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }
}
