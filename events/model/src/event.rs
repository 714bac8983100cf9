//! Every event there is: its number, its name, its versions.
//!
//! The number and the name are forever. The last version listed is the one written today; an older one is read and
//! brought forward step by step: each form has a `From` of the one before it.

use serde::Serialize;

use crate::codec::{CodecError, decode_payload, encode_payload};
use crate::record::EventType;
use crate::{
    access as ac, audit as au, endpoint as en, maintenance as m, participant as p, restore as re, run as r,
    system as s, vault as v,
};

macro_rules! events {
    ($($(#[$doc:meta])* $set:ident { $($number:literal $name:literal $variant:ident: $($version:literal $form:path),+;)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Serialize)]
            #[serde(untagged)]
            pub enum $set {
                $(
                    #[doc = concat!("`", $name, "`")]
                    $variant(events!(@last $($form),+)),
                )+
            }

            impl $set {
                /// Its name.
                #[must_use]
                pub fn name(&self) -> &'static str {
                    match self { $(Self::$variant(_) => $name,)+ }
                }

                /// Its number and the version it is written in.
                #[must_use]
                pub fn event_type(&self) -> (EventType, u16) {
                    match self { $(Self::$variant(_) => (EventType($number), events!(@last $($version),+)),)+ }
                }

                /// Its wire form.
                ///
                /// # Errors
                /// [`CodecError::TooLarge`] where it does not fit an event.
                pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
                    match self { $(Self::$variant(form) => encode_payload(form),)+ }
                }

                fn decode(event_type: EventType, version: u16, payload: &[u8]) -> Option<Result<Self, CodecError>> {
                    match event_type.0 {
                        $($number => events!(@read version, payload; $($version $form),+)
                            .map(|form| form.map(Self::$variant)),)+
                        _ => None,
                    }
                }
            }
        )+

        /// Any event.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Event {
            $(
                $(#[$doc])*
                $set($set),
            )+
        }

        impl Event {
            /// Every event type this program writes: number, name, the versions it reads.
            pub const TABLE: &'static [(u32, &'static str, &'static [u16])] = &[
                $($(($number, $name, &[$($version),+]),)+)+
            ];

            /// Its name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$set(event) => event.name(),)+ }
            }

            /// Its number and the version it is written in.
            #[must_use]
            pub fn event_type(&self) -> (EventType, u16) {
                match self { $(Self::$set(event) => event.event_type(),)+ }
            }

            /// Its wire form.
            ///
            /// # Errors
            /// [`CodecError::TooLarge`] where it does not fit an event.
            pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
                match self { $(Self::$set(event) => event.encode(),)+ }
            }

            /// Reads a wire form of any version.
            ///
            /// # Errors
            /// [`CodecError::Unknown`] names a type or version this program does not know; others say what is wrong
            /// with the bytes. No input panics.
            pub fn decode(event_type: EventType, version: u16, payload: &[u8]) -> Result<Self, CodecError> {
                $(
                    if let Some(event) = $set::decode(event_type, version, payload) {
                        return event.map(Self::$set);
                    }
                )+
                Err(CodecError::Unknown { event_type, version })
            }
        }

        $(
            impl From<$set> for Event {
                fn from(event: $set) -> Self {
                    Self::$set(event)
                }
            }

            impl TryFrom<Event> for $set {
                type Error = Event;
                fn try_from(event: Event) -> Result<Self, Event> {
                    match event {
                        Event::$set(event) => Ok(event),
                        other => Err(other),
                    }
                }
            }
        )+
    };
    // The form of one version, brought forward step by step through all later ones.
    (@read $asked:ident, $payload:ident; ) => { None };
    (@read $asked:ident, $payload:ident; $version:literal $form:path $(, $next:literal $later:path)*) => {
        if $asked == $version {
            Some(decode_payload::<$form>($payload).map(|form| {
                $(let form = <$later>::from(form);)*
                form
            }))
        } else {
            events!(@read $asked, $payload; $($next $later),*)
        }
    };
    (@last $one:literal) => { $one };
    (@last $first:literal, $($rest:literal),+) => { events!(@last $($rest),+) };
    (@last $one:path) => { $one };
    (@last $first:path, $($rest:path),+) => { events!(@last $($rest),+) };
}

events! {
    /// A fact of a run.
    RunEvent {
        1 "RunRequested" Requested: 1 r::RunRequestedV1, 2 r::RunRequestedV2, 3 r::RunRequestedV3, 4 r::RunRequestedV4;
        2 "ParticipantPlanned" ParticipantPlanned: 1 r::ParticipantPlannedV1, 2 r::ParticipantPlannedV2, 3 r::ParticipantPlannedV3;
        3 "DefinitionPart" DefinitionPart: 1 r::DefinitionPartV1;
        4 "RunStarted" Started: 1 r::RunStartedV1;
        5 "RunInterrupted" Interrupted: 1 r::RunInterruptedV1;
        6 "RunResumed" Resumed: 1 r::RunResumedV1;
        7 "ParticipantReset" ParticipantReset: 1 r::ParticipantResetV1;
        8 "ParticipantStarted" ParticipantStarted: 1 r::ParticipantStartedV1;
        9 "ParticipantProgressed" ParticipantProgressed: 1 r::ParticipantProgressedV1;
        10 "ArtifactStored" ArtifactStored: 1 r::ArtifactStoredV1;
        11 "ParticipantCompleted" ParticipantCompleted: 1 r::ParticipantCompletedV1;
        12 "ParticipantFailed" ParticipantFailed: 1 r::ParticipantFailedV1, 2 r::ParticipantFailedV2;
        13 "ParticipantCancelled" ParticipantCancelled: 1 r::ParticipantCancelledV1;
        14 "ParticipantSkipped" ParticipantSkipped: 1 r::ParticipantSkippedV1;
        15 "RunCancelRequested" CancelRequested: 1 r::RunCancelRequestedV1;
        16 "RunClassified" Classified: 1 r::RunClassifiedV1;
        17 "RunPublishRequested" PublishRequested: 1 r::RunPublishRequestedV1;
        18 "RunPublished" Published: 1 r::RunPublishedV1;
        19 "RunEnded" Ended: 1 r::RunEndedV1;
        20 "RunVerified" Verified: 1 r::RunVerifiedV1;
        21 "RunDeleteRequested" DeleteRequested: 1 r::RunDeleteRequestedV1;
        22 "RunDeleted" Deleted: 1 r::RunDeletedV1;
        23 "RunDeleteFailed" DeleteFailed: 1 r::RunDeleteFailedV1;
        24 "ParticipantTryFailed" ParticipantTryFailed: 1 r::ParticipantTryFailedV1;
        25 "ParticipantDue" ParticipantDue: 1 r::ParticipantDueV1;
        26 "RunLocked" Locked: 1 r::RunLockedV1;
        27 "RunUnlocked" Unlocked: 1 r::RunUnlockedV1;
        28 "BarrierRequested" BarrierRequested: 1 r::BarrierRequestedV1;
        29 "ParticipantFrozen" ParticipantFrozen: 1 r::ParticipantFrozenV1;
        30 "BarrierCompleted" BarrierCompleted: 1 r::BarrierCompletedV1;
        31 "BarrierAborted" BarrierAborted: 1 r::BarrierAbortedV1;
        32 "RunTimedOut" TimedOut: 1 r::RunTimedOutV1;
        33 "RunCopiesPlanned" CopiesPlanned: 1 r::CopiesPlannedV1, 2 r::CopiesPlannedV2;
        34 "UploadsRequested" UploadsRequested: 1 r::UploadsRequestedV1;
        35 "UploadStarted" UploadStarted: 1 r::UploadStartedV1;
        36 "UploadTryFailed" UploadTryFailed: 1 r::UploadTryFailedV1;
        37 "UploadCompleted" UploadCompleted: 1 r::UploadCompletedV1;
        38 "UploadFailed" UploadFailed: 1 r::UploadFailedV1;
        39 "UploadInterrupted" UploadInterrupted: 1 r::UploadInterruptedV1;
        40 "RunImportRequested" ImportRequested: 1 r::RunImportRequestedV1;
        41 "RunImported" Imported: 1 r::RunImportedV1;
        42 "ParticipantImported" ParticipantImported: 1 r::ParticipantImportedV1;
        43 "RunImportPublishRequested" ImportPublishRequested: 1 r::RunImportPublishRequestedV1;
        44 "RunImportCompleted" ImportCompleted: 1 r::RunImportCompletedV1;
        45 "RunImportFailed" ImportFailed: 1 r::RunImportFailedV1;
        51 "LocalCopyRemovalRequested" LocalCopyRemovalRequested: 1 r::LocalCopyRemovalRequestedV1;
        52 "RemoteCopyDeleted" RemoteCopyDeleted: 1 r::RemoteCopyDeletedV1;
        56 "UploadStreamStarted" UploadStreamStarted: 1 r::UploadStreamStartedV1;
    }
    /// A fact of a participant's supervision.
    ParticipantEvent {
        101 "WorkStarted" WorkStarted: 1 p::WorkStartedV1;
        102 "WorkCompleted" WorkCompleted: 1 p::WorkCompletedV1;
        103 "WorkFailed" WorkFailed: 1 p::WorkFailedV1;
        104 "AttemptAbandoned" AttemptAbandoned: 1 p::AttemptAbandonedV1;
        105 "ChildStarted" ChildStarted: 1 p::ChildStartedV1;
        106 "WorkStuck" WorkStuck: 1 p::WorkStuckV1;
        107 "WorkReturned" WorkReturned: 1 p::WorkReturnedV1;
        108 "ParticipantQuarantined" Quarantined: 1 p::ParticipantQuarantinedV1;
        109 "QuarantineLifted" QuarantineLifted: 1 p::QuarantineLiftedV1;
        110 "FreezeRequested" FreezeRequested: 1 p::FreezeRequestedV1;
        111 "Thawed" Thawed: 1 p::ThawedV1;
        112 "BarrierFailed" BarrierFailed: 1 p::BarrierFailedV1;
    }
    /// A fact of a restore.
    RestoreEvent {
        201 "RestoreRequested" Requested: 1 re::RestoreRequestedV1, 2 re::RestoreRequestedV2, 3 re::RestoreRequestedV3;
        202 "RestoreCompleted" Completed: 1 re::RestoreCompletedV1;
        203 "RestoreFailed" Failed: 1 re::RestoreFailedV1;
        204 "RestoreParticipantPlanned" ParticipantPlanned: 1 re::RestoreParticipantPlannedV1;
        205 "RestoreSourceVerified" SourceVerified: 1 re::RestoreSourceVerifiedV1;
        206 "RestoreQuiesced" Quiesced: 1 re::RestoreQuiescedV1;
        207 "SafetyArtifactStored" SafetyArtifactStored: 1 re::SafetyArtifactStoredV1;
        208 "SafetySnapshotTaken" SafetySnapshotTaken: 1 re::SafetySnapshotTakenV1;
        209 "SafetySnapshotSkipped" SafetySnapshotSkipped: 1 re::SafetySnapshotSkippedV1;
        210 "RestoreParticipantStaged" ParticipantStaged: 1 re::RestoreParticipantStagedV1;
        211 "RestoreCommitDecided" CommitDecided: 1 re::RestoreCommitDecidedV1;
        212 "RestoreCommitStarted" CommitStarted: 1 re::RestorePartV1;
        213 "RestoreParticipantCommitted" ParticipantCommitted: 1 re::RestorePartV1, 2 re::RestoreParticipantCommittedV2;
        214 "RestoreParticipantVerified" ParticipantVerified: 1 re::RestorePartV1;
        215 "RestoreRollbackDecided" RollbackDecided: 1 re::RestoreRollbackDecidedV1;
        216 "RestoreParticipantRolledBack" ParticipantRolledBack: 1 re::RestorePartV1;
        217 "RestoreRolledBack" RolledBack: 1 re::RestoreRolledBackV1;
        218 "RestoreRollbackFailed" RollbackFailed: 1 re::RestoreRollbackFailedV1;
        219 "RestoreRetryRequested" RetryRequested: 1 re::RestoreRetryRequestedV1;
        220 "RestoreCancelRequested" CancelRequested: 1 re::RestoreCancelRequestedV1;
        221 "RestoreInterrupted" Interrupted: 1 re::RestoreInterruptedV1;
        222 "RestoreTimedOut" TimedOut: 1 re::RestoreTimedOutV1;
        223 "SafetySnapshotRemoved" SafetySnapshotRemoved: 1 re::SafetySnapshotRemovedV1;
    }
    /// A fact of the installation.
    SystemEvent {
        301 "HomeCreated" HomeCreated: 1 s::HomeCreatedV1;
        302 "EngineStarted" EngineStarted: 1 s::EngineStartedV1;
        303 "LogRepaired" LogRepaired: 1 s::LogRepairedV1;
        304 "EngineStopped" EngineStopped: 1 s::EngineStoppedV1;
    }
    /// A fact of an endpoint.
    EndpointEvent {
        401 "EndpointAdded" Added: 1 en::EndpointAddedV1, 2 en::EndpointAddedV2;
        402 "EndpointUpdated" Updated: 1 en::EndpointUpdatedV1, 2 en::EndpointUpdatedV2;
        403 "EndpointDeleted" Deleted: 1 en::EndpointDeletedV1;
        404 "EndpointTryFailed" TryFailed: 1 en::EndpointTryFailedV1;
        405 "EndpointUnavailable" Unavailable: 1 en::EndpointUnavailableV1;
        406 "EndpointRecovered" Recovered: 1 en::EndpointRecoveredV1;
        407 "RemoteDeleteRequested" RemoteDeleteRequested: 1 en::RemoteDeleteRequestedV1;
        408 "RemoteRunDeleted" RemoteRunDeleted: 1 en::RemoteRunDeletedV1;
        409 "RemoteDeleteFailed" RemoteDeleteFailed: 1 en::RemoteDeleteFailedV1;
    }
    /// A fact about who may come to a vault.
    VaultAccessEvent {
        411 "VaultTokenAdded" TokenAdded: 1 v::VaultTokenAddedV1;
        412 "VaultClientBound" ClientBound: 1 v::VaultClientBoundV1;
        413 "VaultTokenRevoked" TokenRevoked: 1 v::VaultTokenRevokedV1;
    }
    /// A fact of what a vault holds of a client.
    VaultClientEvent {
        421 "VaultUploadCreated" UploadCreated: 1 v::VaultUploadCreatedV1;
        422 "VaultUploadFinished" UploadFinished: 1 v::VaultUploadFinishedV1;
        423 "VaultUploadRemoved" UploadRemoved: 1 v::VaultUploadRemovedV1;
        424 "VaultRunCommitRequested" RunCommitRequested: 1 v::VaultRunCommitRequestedV1;
        425 "VaultRunCommitted" RunCommitted: 1 v::VaultRunCommittedV1;
        426 "VaultRunDeleteRequested" RunDeleteRequested: 1 v::VaultRunDeleteRequestedV1;
        427 "VaultRunDeleted" RunDeleted: 1 v::VaultRunDeletedV1;
        428 "VaultUploadOpened" UploadOpened: 1 v::VaultUploadOpenedV1;
        429 "VaultUploadClosed" UploadClosed: 1 v::VaultUploadClosedV1;
    }
    /// A fact about who may do what.
    AccessEvent {
        501 "TokenCreated" TokenCreated: 1 ac::TokenCreatedV1;
        502 "TokenRevoked" TokenRevoked: 1 ac::TokenRevokedV1;
    }
    /// A fact about who did what.
    AuditEvent {
        511 "CommandRecorded" CommandRecorded: 1 au::CommandRecordedV1, 2 au::CommandRecordedV2;
        512 "RefusalsSummed" RefusalsSummed: 1 au::RefusalsSummedV1, 2 au::RefusalsSummedV2;
        513 "GuessesSummed" GuessesSummed: 1 au::GuessesSummedV1;
    }
    /// A fact about maintenance.
    MaintenanceEvent {
        521 "MaintenanceEnabled" Enabled: 1 m::MaintenanceEnabledV1, 2 m::MaintenanceEnabledV2;
        522 "MaintenanceDisabled" Disabled: 1 m::MaintenanceDisabledV1;
    }
}

impl Event {
    /// Whether it is for those who manage access alone: hashes of tokens, where people came from and what they were refused. Each kind has
    /// its own arm, so that a new one does not compile before somebody has said what it is.
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        match self {
            Event::AccessEvent(_) | Event::AuditEvent(_) | Event::VaultAccessEvent(_) => true,
            Event::RunEvent(_)
            | Event::ParticipantEvent(_)
            | Event::RestoreEvent(_)
            | Event::SystemEvent(_)
            | Event::EndpointEvent(_)
            | Event::VaultClientEvent(_)
            | Event::MaintenanceEvent(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
