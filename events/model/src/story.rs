//! Events as lines for people: what happened, in a sentence that needs no other one to be understood.
//!
//! Each event has its own arm, so that a new one does not compile without its sentence. What a sentence quotes (reasons, names of files)
//! comes from elsewhere and may hold control characters: whoever shows it on a terminal escapes them.

mod restore;
mod run;
mod vault;

use serde::{Deserialize, Serialize};

use crate::codec::Envelope;
use crate::endpoint::{EndpointAddedV2, EndpointUpdatedV2};
use crate::event::{
    AccessEvent, AuditEvent, EndpointEvent, Event, MaintenanceEvent, ParticipantEvent, RunEvent, SystemEvent,
};
use crate::failure::Warnings;
use crate::figures::{counted, size};
use crate::ids::EndpointName;

/// How much somebody has to care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For whoever looks for details.
    Debug,
    /// As it should be.
    Info,
    /// Somebody may have to look.
    Warning,
    /// Something is not good.
    Error,
}

impl Level {
    /// All of them, the least first.
    pub const ALL: [Level; 4] = [Level::Debug, Level::Info, Level::Warning, Level::Error];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// An event as a line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much somebody has to care.
    pub level: Level,
    /// The participant it is about; empty for none.
    pub participant: String,
    /// The endpoint it is about; empty for none.
    pub endpoint: String,
    /// What happened.
    pub message: String,
}

impl LogLine {
    /// The line of an event.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Self {
        let (level, message) = match &envelope.data {
            Event::RunEvent(event) => run::told(event, asked(envelope)),
            Event::ParticipantEvent(event) => participant(event, &participant_name(envelope)),
            Event::RestoreEvent(event) => restore::told(event, asked(envelope)),
            Event::SystemEvent(event) => system(event),
            Event::EndpointEvent(event) => endpoint(event, &endpoint_name(envelope), asked(envelope)),
            Event::VaultAccessEvent(event) => vault::access(event, asked(envelope)),
            Event::VaultClientEvent(event) => vault::client(event, asked(envelope)),
            Event::AccessEvent(event) => access(event, asked(envelope)),
            Event::AuditEvent(event) => audit(event, asked(envelope)),
            Event::MaintenanceEvent(event) => maintenance(event, asked(envelope)),
        };
        Self { level, participant: participant_name(envelope), endpoint: endpoint_name(envelope), message }
    }
}

type Told = (Level, String);

/// Who asked; the program itself has no name.
fn asked(envelope: &Envelope) -> &str {
    if envelope.principal.is_empty() { "Holdfast" } else { &envelope.principal }
}

fn participant_name(envelope: &Envelope) -> String {
    let named = match &envelope.data {
        Event::RunEvent(event) => participant_of(event).map(ToString::to_string),
        Event::RestoreEvent(event) => restore::participant_of(event).map(ToString::to_string),
        _ => envelope.stream.participant_name().map(|name| name.to_string()),
    };
    named.unwrap_or_default()
}

fn participant_of(event: &RunEvent) -> Option<&crate::ids::ParticipantName> {
    Some(match event {
        RunEvent::ParticipantPlanned(event) => &event.participant,
        RunEvent::DefinitionPart(event) => &event.participant,
        RunEvent::ParticipantReset(event) => &event.participant,
        RunEvent::ParticipantStarted(event) => &event.participant,
        RunEvent::ParticipantProgressed(event) => &event.participant,
        RunEvent::ArtifactStored(event) => &event.participant,
        RunEvent::ParticipantCompleted(event) => &event.participant,
        RunEvent::ParticipantFailed(event) => &event.participant,
        RunEvent::ParticipantTryFailed(event) => &event.participant,
        RunEvent::ParticipantDue(event) => &event.participant,
        RunEvent::ParticipantCancelled(event) => &event.participant,
        RunEvent::ParticipantSkipped(event) => &event.participant,
        RunEvent::ParticipantFrozen(event) => &event.participant,
        RunEvent::ParticipantImported(event) => &event.participant,
        _ => return None,
    })
}

fn endpoint_name(envelope: &Envelope) -> String {
    endpoint_of(envelope).map(|name| name.to_string()).unwrap_or_default()
}

/// The one endpoint that an event is about.
pub(crate) fn endpoint_of(envelope: &Envelope) -> Option<EndpointName> {
    match &envelope.data {
        Event::RunEvent(event) => Some(match event {
            RunEvent::UploadStarted(event) => event.endpoint.clone(),
            RunEvent::UploadTryFailed(event) => event.endpoint.clone(),
            RunEvent::UploadCompleted(event) => event.endpoint.clone(),
            RunEvent::UploadFailed(event) => event.endpoint.clone(),
            RunEvent::UploadInterrupted(event) => event.endpoint.clone(),
            RunEvent::RemoteCopyDeleted(event) => event.endpoint.clone(),
            RunEvent::UploadStreamStarted(event) => event.endpoint.clone(),
            RunEvent::ImportRequested(event) => event.endpoint.clone(),
            _ => return None,
        }),
        _ => envelope.stream.endpoint_name(),
    }
}

fn participant(event: &ParticipantEvent, name: &str) -> Told {
    match event {
        ParticipantEvent::WorkStarted(started) => {
            let attempt = if started.attempt > 1 { format!(", attempt {}", started.attempt) } else { String::new() };
            (Level::Debug, format!("{name} is at work for run {}{attempt}, try {}", started.run_id, started.try_number))
        }
        ParticipantEvent::WorkCompleted(done) => (Level::Info, format!("{name} is good in run {}", done.run_id)),
        ParticipantEvent::WorkFailed(failed) => {
            (Level::Warning, format!("{name} was not good in run {}: {}", failed.run_id, failed.failure))
        }
        ParticipantEvent::AttemptAbandoned(left) => {
            let text = format!(
                "the process in which {name} was at work for run {} is gone: its attempt {} does not count",
                left.run_id, left.attempt
            );
            (Level::Warning, text)
        }
        ParticipantEvent::FreezeRequested(requested) => {
            (Level::Debug, format!("{name} is to stand still for run {}, and to be let go after it", requested.run_id))
        }
        ParticipantEvent::Thawed(thawed) => {
            (Level::Debug, format!("{name} was let go, after it stood still for run {}", thawed.run_id))
        }
        ParticipantEvent::BarrierFailed(failed) => {
            (Level::Warning, format!("{name} failed in the barrier of run {}: {}", failed.run_id, failed.failure))
        }
        ParticipantEvent::ChildStarted(started) => {
            let text = format!("process group {} works for {name} in run {}", started.child.group, started.run_id);
            (Level::Debug, text)
        }
        ParticipantEvent::WorkStuck(stuck) => {
            let text = format!(
                "{name} was told to stop in run {} and does not return, so nothing else is begun with it: {}",
                stuck.run_id, stuck.failure
            );
            (Level::Error, text)
        }
        ParticipantEvent::WorkReturned(returned) => (
            Level::Warning,
            format!("{name}, which was stuck in run {}, has returned: it can be used again", returned.run_id),
        ),
        ParticipantEvent::Quarantined(quarantined) => {
            let failures = counted(u64::from(quarantined.failures), "failure");
            (Level::Error, format!("{name} is in quarantine after {failures} in a row: each run tries it once"))
        }
        ParticipantEvent::QuarantineLifted(lifted) => {
            (Level::Info, format!("{name} is out of quarantine and is tried as others are: {}", lifted.reason))
        }
    }
}

fn system(event: &SystemEvent) -> Told {
    match event {
        SystemEvent::HomeCreated(created) => {
            let text =
                format!("the home of installation {} was made by version {}", created.server_id, created.app_version);
            (Level::Info, text)
        }
        SystemEvent::EngineStarted(started) => {
            let text = format!(
                "process {} took the home over: {}, version {}",
                started.pid, started.purpose, started.app_version
            );
            (Level::Info, text)
        }
        SystemEvent::LogRepaired(repaired) => {
            (Level::Warning, format!("the event log was repaired: {}", repaired.what))
        }
        SystemEvent::EngineStopped(stopped) => {
            (Level::Info, format!("process {} was stopped in good order while runs were open", stopped.pid))
        }
    }
}

fn endpoint(event: &EndpointEvent, name: &str, by: &str) -> Told {
    let text = match event {
        EndpointEvent::Added(EndpointAddedV2 { config }) => {
            let used = if config.enable { "" } else { ", not in use" };
            match config.declared {
                true => format!("endpoint {name} was declared in the configuration file{used}"),
                false => format!("endpoint {name} was added by {by}{used}"),
            }
        }
        EndpointEvent::Updated(EndpointUpdatedV2 { config }) => {
            let used = if config.enable { "" } else { "; it is not in use" };
            match config.declared {
                true => format!("endpoint {name} was changed in the configuration file{used}"),
                false => format!("endpoint {name} was changed by {by}{used}"),
            }
        }
        EndpointEvent::Deleted(_) => format!("endpoint {name} was taken out of the configuration by {by}"),
        EndpointEvent::TryFailed(failed) => {
            let text = format!("a try to upload run {} to {name} failed: {}", failed.run_id, failed.failure);
            return (Level::Warning, text);
        }
        EndpointEvent::Unavailable(unavailable) => {
            let text = format!(
                "endpoint {name} failed {} times in a row, and is left alone for {} s: {}",
                unavailable.failures, unavailable.pause_s, unavailable.failure
            );
            return (Level::Error, text);
        }
        EndpointEvent::Recovered(recovered) => {
            format!("endpoint {name} takes uploads again, after {} failed tries in a row", recovered.failures)
        }
        EndpointEvent::RemoteDeleteRequested(requested) => {
            format!("{by} asked to delete run {} at {name}", requested.run_id)
        }
        EndpointEvent::RemoteRunDeleted(deleted) => format!("run {} is deleted at {name}", deleted.run_id),
        EndpointEvent::RemoteDeleteFailed(failed) => {
            let text = format!("run {} could not be deleted at {name}: {}", failed.run_id, failed.failure);
            return (Level::Error, text);
        }
    };
    (Level::Info, text)
}

fn access(event: &AccessEvent, by: &str) -> Told {
    let text = match event {
        AccessEvent::TokenCreated(token) => {
            let until = if token.expires_at.is_some() { ", for a limited time" } else { "" };
            format!("token {} with the role {} was made by {by}{until}", token.name, token.role)
        }
        AccessEvent::TokenRevoked(revoked) => format!("token {} was revoked by {by}", revoked.token_id),
    };
    (Level::Info, text)
}

fn audit(event: &AuditEvent, by: &str) -> Told {
    use crate::audit::CommandOutcome as Outcome;
    match event {
        AuditEvent::CommandRecorded(command) => {
            let token = command.token_id.map(|id| format!(" ({id})")).unwrap_or_default();
            let way = format!("{} by {by}{token}, by way of {} from {}", command.command, command.door, command.source);
            match command.outcome {
                Outcome::Accepted => (Level::Info, format!("begun: {way}")),
                Outcome::Done => (Level::Info, format!("done: {way}")),
                Outcome::Refused => (Level::Warning, format!("refused with {}: {way}", command.code)),
                Outcome::Failed => (Level::Error, format!("failed with {}: {way}", command.code)),
            }
        }
        AuditEvent::RefusalsSummed(sum) => {
            let times = counted(sum.count, "time");
            let code = if sum.code.is_empty() { String::new() } else { format!(" with {}", sum.code) };
            let text =
                format!("{by} was refused {}{code} {times} more, the last time from {}", sum.command, sum.source);
            (Level::Warning, text)
        }
        AuditEvent::GuessesSummed(sum) => {
            let sources = counted(sum.more_sources.saturating_add(sum.sources.len() as u64), "source");
            (Level::Warning, format!("{} from {sources}", counted(sum.count, "wrong token")))
        }
    }
}

fn maintenance(event: &MaintenanceEvent, by: &str) -> Told {
    match event {
        MaintenanceEvent::Enabled(enabled) => {
            (Level::Warning, format!("maintenance is on, said {by}{}", reason(&enabled.reason)))
        }
        MaintenanceEvent::Disabled(_) => (Level::Info, format!("maintenance is off, said {by}")),
    }
}

/// `: why`, or nothing.
fn reason(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// The first of them, and how many there are beside.
fn listed(warnings: &Warnings) -> String {
    let mut text = warnings.first.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("; ");
    let shown = warnings.first.len().min(3) as u64;
    if warnings.count > shown {
        text.push_str(&format!("; and {} more", crate::figures::count(warnings.count - shown)));
    }
    text
}
