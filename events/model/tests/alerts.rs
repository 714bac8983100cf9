//! Which events somebody has to see to: each event type is either told of, or listed here as not.

use std::collections::BTreeSet;

use holdfast_model::alert::Alert;
use holdfast_model::codec::Envelope;
use holdfast_model::event::Event;
use holdfast_model::event::RunEvent;
use holdfast_model::ids::{Position, RunId, StreamId, Timestamp, Version};
use holdfast_model::run::Outcome;
use uuid::Uuid;

#[cfg(test)]
mod samples;

const TOLD: [&str; 21] = [
    "EndpointRecovered",
    "EndpointUnavailable",
    "UploadFailed",
    "GuessesSummed",
    "LogRepaired",
    "ParticipantQuarantined",
    "QuarantineLifted",
    "RestoreFailed",
    "RestoreRollbackFailed",
    "RestoreRolledBack",
    "RunDeleteFailed",
    "RunEnded",
    "RunImportFailed",
    "RunInterrupted",
    "RunPublished",
    "RunResumed",
    "RunVerified",
    "SafetySnapshotSkipped",
    "VaultUploadRemoved",
    "WorkReturned",
    "WorkStuck",
];

const NOT_TOLD: [&str; 94] = [
    "EndpointTryFailed",
    "LocalCopyRemovalRequested",
    "RemoteCopyDeleted",
    "RemoteDeleteFailed",
    "RemoteDeleteRequested",
    "RemoteRunDeleted",
    "RunCopiesPlanned",
    "UploadCompleted",
    "UploadInterrupted",
    "UploadStarted",
    "UploadStreamStarted",
    "UploadTryFailed",
    "UploadsRequested",
    "ArtifactStored",
    "AttemptAbandoned",
    "BarrierAborted",
    "BarrierCompleted",
    "BarrierFailed",
    "BarrierRequested",
    "ChildStarted",
    "CommandRecorded",
    "DefinitionPart",
    "EndpointAdded",
    "EndpointDeleted",
    "EndpointUpdated",
    "EngineStarted",
    "EngineStopped",
    "FreezeRequested",
    "HomeCreated",
    "MaintenanceDisabled",
    "MaintenanceEnabled",
    "ParticipantCancelled",
    "ParticipantCompleted",
    "ParticipantDue",
    "ParticipantFailed",
    "ParticipantFrozen",
    "ParticipantImported",
    "ParticipantPlanned",
    "ParticipantProgressed",
    "ParticipantReset",
    "ParticipantSkipped",
    "ParticipantStarted",
    "ParticipantTryFailed",
    "RefusalsSummed",
    "RestoreCancelRequested",
    "RestoreCommitDecided",
    "RestoreCommitStarted",
    "RestoreCompleted",
    "RestoreInterrupted",
    "RestoreParticipantCommitted",
    "RestoreParticipantPlanned",
    "RestoreParticipantRolledBack",
    "RestoreParticipantStaged",
    "RestoreParticipantVerified",
    "RestoreQuiesced",
    "RestoreRequested",
    "RestoreRetryRequested",
    "RestoreRollbackDecided",
    "RestoreSourceVerified",
    "RestoreTimedOut",
    "SafetyArtifactStored",
    "SafetySnapshotRemoved",
    "SafetySnapshotTaken",
    "RunCancelRequested",
    "RunClassified",
    "RunDeleteRequested",
    "RunDeleted",
    "RunImportCompleted",
    "RunImportPublishRequested",
    "RunImportRequested",
    "RunImported",
    "RunLocked",
    "RunPublishRequested",
    "RunRequested",
    "RunStarted",
    "RunTimedOut",
    "RunUnlocked",
    "Thawed",
    "TokenCreated",
    "TokenRevoked",
    "VaultClientBound",
    "VaultRunCommitRequested",
    "VaultRunCommitted",
    "VaultRunDeleteRequested",
    "VaultRunDeleted",
    "VaultTokenAdded",
    "VaultTokenRevoked",
    "VaultUploadCreated",
    "VaultUploadClosed",
    "VaultUploadFinished",
    "VaultUploadOpened",
    "WorkCompleted",
    "WorkFailed",
    "WorkStarted",
];

/// The sample, as an end that is not good where it is an end.
fn envelope(mut data: Event) -> Envelope {
    if let Event::RunEvent(RunEvent::Published(published)) = &mut data {
        published.outcome = Outcome::Failed;
    }
    Envelope {
        position: Position(1),
        stream: StreamId::run(RunId::new(Timestamp(0), 1)),
        version: Version(1),
        time: Timestamp(0),
        event_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        principal: String::new(),
        event_type: data.name(),
        data,
    }
}

#[test]
fn every_event_type_is_told_of_or_listed_as_not() {
    let (mut told, mut not_told) = (BTreeSet::new(), BTreeSet::new());
    for event in samples::samples() {
        let envelope = envelope(event);
        let set = if Alert::of(&envelope, None).is_some() { &mut told } else { &mut not_told };
        set.insert(envelope.event_type);
    }
    assert_eq!(told, BTreeSet::from(TOLD));
    assert_eq!(not_told, BTreeSet::from(NOT_TOLD));
}
