//! Any event of every kind, and the largest of each.

use holdfast_model::access as ac;
use holdfast_model::audit as au;
use holdfast_model::endpoint as en;
use holdfast_model::event::{
    AccessEvent, AuditEvent, EndpointEvent, Event, MaintenanceEvent, ParticipantEvent, RestoreEvent, RunEvent,
    SystemEvent, VaultAccessEvent, VaultClientEvent,
};
use holdfast_model::failure::{Failure, FailureKind, Warnings};
use holdfast_model::ids::{ArtifactName, ParticipantName, RestoreId, RunId, Sha256, Timestamp};
use holdfast_model::maintenance as m;
use holdfast_model::participant as p;
use holdfast_model::restore as re;
use holdfast_model::run as r;
use holdfast_model::system as s;
use holdfast_model::vault as v;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use uuid::Uuid;

/// Wraps what a strategy gives into its event.
macro_rules! event {
    ($set:ident::$variant:ident, $strategy:expr, $make:expr) => {
        $strategy.prop_map(|values| Event::from($set::$variant($make(values)))).boxed()
    };
}

mod copies;
mod imports;
mod largest;

pub(crate) use largest::largest;

pub(crate) fn participant() -> impl Strategy<Value = ParticipantName> + Clone {
    "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}".prop_map(|text| text.parse().expect("a name"))
}

fn artifact_name() -> impl Strategy<Value = ArtifactName> + Clone {
    "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}".prop_map(|text| text.parse().expect("a name"))
}

pub(crate) fn run_id() -> impl Strategy<Value = RunId> + Clone {
    any::<(i64, u32)>().prop_map(|(time, counter)| RunId::new(Timestamp(time), counter))
}

fn uuid() -> impl Strategy<Value = Uuid> + Clone {
    any::<u128>().prop_map(Uuid::from_u128)
}

pub(crate) fn digest() -> impl Strategy<Value = Sha256> + Clone {
    any::<[u8; 32]>().prop_map(Sha256)
}

/// Any text, of any length up to one that has to be cut.
pub(crate) fn text() -> impl Strategy<Value = String> + Clone {
    (".{0,20}", 0_usize..100).prop_map(|(text, times)| text.repeat(times.saturating_sub(70).max(1)))
}

fn short() -> impl Strategy<Value = String> + Clone {
    "[a-z0-9:]{0,16}".boxed()
}

pub(crate) fn failure() -> impl Strategy<Value = Failure> + Clone {
    use FailureKind::{Cancelled, Fatal, Resource, Retryable, Timeout};
    (select(vec![Retryable, Fatal, Timeout, Resource, Cancelled]), "[A-Z_]{0,80}", text())
        .prop_map(|(kind, code, message)| Failure::new(kind, &code, message))
}

pub(crate) fn warnings() -> impl Strategy<Value = Warnings> + Clone {
    (any::<u64>(), vec(text(), 0..12)).prop_map(|(count, texts)| {
        let mut warnings = Warnings::default();
        texts.iter().for_each(|text| warnings.add(text));
        warnings.count = warnings.count.max(count);
        warnings
    })
}

fn stored_file() -> impl Strategy<Value = r::StoredFileV1> + Clone {
    (artifact_name(), any::<u64>(), digest()).prop_map(|(file, size_bytes, sha256)| r::StoredFileV1 {
        file,
        size_bytes,
        sha256,
    })
}

pub(crate) fn outcome() -> impl Strategy<Value = r::Outcome> + Clone {
    use r::Outcome::{Cancelled, Completed, Failed, Partial, Timeout};
    select(vec![Completed, Partial, Failed, Cancelled, Timeout])
}

pub(crate) fn target() -> impl Strategy<Value = r::Target> + Clone {
    select(vec![r::Target::Completed, r::Target::Failed])
}

pub(crate) fn request() -> impl Strategy<Value = r::RunRequestedV4> + Clone {
    use r::Trigger::{Cron, Manual, PreUpdate, Shutdown};
    let kinds = (select(vec![r::RunType::Full, r::RunType::Scoped]), select(vec![Manual, Cron, PreUpdate, Shutdown]));
    (run_id(), kinds, (short(), short(), short()), any::<(bool, u32, u64, u32)>()).prop_map(
        |(run_id, (run_type, trigger), texts, (strict, max_attempts, resume_within_s, max_parallel))| {
            let (compression, job, idempotency_key) = texts;
            r::RunRequestedV4 {
                run_id,
                run_type,
                trigger,
                compression,
                strict,
                max_attempts,
                resume_within_s,
                max_parallel,
                job,
                idempotency_key,
                consistency: r::Consistency::Concurrent,
                freeze_budget_ms: 10_000,
                timeout_ms: 0,
                encryption: r::Encryption::Passphrase,
            }
        },
    )
}

pub(crate) fn progress(
    name: impl Strategy<Value = ParticipantName> + Clone,
) -> impl Strategy<Value = r::ParticipantProgressedV1> + Clone {
    // Small counts meet each other, large ones the ends of their types.
    let count = || prop_oneof![0_u64..100, any::<u64>()];
    (name, count(), option::of(count()), count(), option::of(count())).prop_map(
        |(participant, bytes_done, bytes_total, files_done, files_total)| r::ParticipantProgressedV1 {
            participant,
            bytes_done,
            bytes_total,
            files_done,
            files_total,
        },
    )
}

pub(crate) fn artifact() -> impl Strategy<Value = r::ArtifactStoredV1> + Clone {
    let content = (any::<u64>(), digest(), short());
    (participant(), artifact_name(), stored_file(), content, option::of(stored_file())).prop_map(
        |(participant, logical_name, stored, (content_bytes, content_sha256, compression), index)| {
            r::ArtifactStoredV1 { participant, logical_name, stored, content_bytes, content_sha256, compression, index }
        },
    )
}

pub(crate) fn verified() -> impl Strategy<Value = r::RunVerifiedV1> + Clone {
    (any::<(bool, u64, u64)>(), warnings()).prop_map(|((ok, files, bytes), errors)| r::RunVerifiedV1 {
        ok,
        files,
        bytes,
        errors,
    })
}

/// One strategy for each row of [`Event::TABLE`], in its order.
pub(crate) fn every_kind() -> Vec<BoxedStrategy<Event>> {
    let of_endpoints = [endpoint_kinds(), copies::endpoint_kinds()].concat();
    let of_runs = [run_kinds(), copies::run_kinds(), imports::kinds(), copies::later_run_kinds()].concat();
    [of_runs, other_kinds(), of_endpoints, vault_kinds(), control_kinds()].concat()
}

fn run_kinds() -> Vec<BoxedStrategy<Event>> {
    let tries = (vec(participant(), 0..3), any::<(u32, u64)>());
    let try_failed = ((participant(), failure(), short()), any::<(u32, u64)>());
    let planned = (participant(), short(), any::<bool>(), digest(), any::<u32>(), tries);
    vec![
        event!(RunEvent::Requested, request(), |request| request),
        event!(RunEvent::ParticipantPlanned, planned, |(
            participant,
            kind,
            critical,
            definition_sha256,
            definition_parts,
            (depends_on, (max_tries, retry_delay_ms)),
        )| {
            r::ParticipantPlannedV3 {
                participant,
                kind,
                critical,
                definition_sha256,
                definition_parts,
                depends_on,
                max_tries,
                retry_delay_ms,
                format_version: 0,
            }
        }),
        event!(RunEvent::DefinitionPart, (participant(), text()), |(participant, text)| {
            r::DefinitionPartV1 { participant, text }
        }),
        event!(RunEvent::Started, any::<u32>(), |attempt| r::RunStartedV1 { attempt }),
        event!(RunEvent::Interrupted, text(), |reason| r::RunInterruptedV1 { reason }),
        event!(RunEvent::Resumed, any::<u32>(), |attempt| r::RunResumedV1 { attempt }),
        event!(RunEvent::ParticipantReset, (participant(), text()), |(participant, reason)| {
            r::ParticipantResetV1 { participant, reason }
        }),
        event!(RunEvent::ParticipantStarted, (participant(), any::<u32>()), |(participant, try_number)| {
            r::ParticipantStartedV1 { participant, try_number }
        }),
        event!(RunEvent::ParticipantProgressed, progress(participant()), |progress| progress),
        event!(RunEvent::ArtifactStored, artifact(), |artifact| artifact),
        event!(RunEvent::ParticipantCompleted, (participant(), any::<u64>(), warnings(), warnings()), |(
            participant,
            files,
            warnings,
            notes,
        )| {
            r::ParticipantCompletedV1 { participant, files, warnings, notes }
        }),
        event!(RunEvent::ParticipantFailed, (participant(), failure(), short()), |(participant, failure, output)| {
            r::ParticipantFailedV2 { participant, failure, output }
        }),
        event!(RunEvent::ParticipantCancelled, participant(), |participant| r::ParticipantCancelledV1 { participant }),
        event!(RunEvent::ParticipantSkipped, (participant(), text()), |(participant, reason)| {
            r::ParticipantSkippedV1 { participant, reason }
        }),
        event!(RunEvent::CancelRequested, text(), |reason| r::RunCancelRequestedV1 { reason }),
        event!(RunEvent::Classified, (outcome(), text()), |(outcome, error_summary)| {
            r::RunClassifiedV1 { outcome, error_summary }
        }),
        event!(RunEvent::PublishRequested, (target(), digest()), |(target, sums_sha256)| {
            r::RunPublishRequestedV1 { target, sums_sha256 }
        }),
        event!(RunEvent::Published, (outcome(), target()), |(outcome, target)| r::RunPublishedV1 { outcome, target }),
        event!(RunEvent::Ended, (outcome(), text()), |(outcome, error_summary)| {
            r::RunEndedV1 { outcome, error_summary }
        }),
        event!(RunEvent::Verified, verified(), |verified| verified),
        event!(RunEvent::DeleteRequested, Just(()), |()| r::RunDeleteRequestedV1 {}),
        event!(RunEvent::Deleted, Just(()), |()| r::RunDeletedV1 {}),
        event!(RunEvent::DeleteFailed, failure(), |failure| r::RunDeleteFailedV1 { failure }),
        event!(RunEvent::ParticipantTryFailed, try_failed, |((participant, failure, output), numbers)| {
            let (try_number, retry_after_ms) = numbers;
            r::ParticipantTryFailedV1 { participant, try_number, failure, output, retry_after_ms }
        }),
        event!(RunEvent::ParticipantDue, participant(), |participant| r::ParticipantDueV1 { participant }),
        event!(RunEvent::Locked, text(), |reason| r::RunLockedV1 { reason }),
        event!(RunEvent::Unlocked, Just(()), |()| r::RunUnlockedV1 {}),
        event!(RunEvent::BarrierRequested, any::<u64>(), |budget_ms| r::BarrierRequestedV1 { budget_ms }),
        event!(RunEvent::ParticipantFrozen, (participant(), any::<[u64; 5]>()), |(participant, times)| {
            let [prepare_us, freeze_us, capture_us, thaw_us, held_us] = times;
            r::ParticipantFrozenV1 { participant, prepare_us, freeze_us, capture_us, thaw_us, held_us }
        }),
        event!(RunEvent::BarrierCompleted, any::<(i64, u64)>(), |(at, longest_us)| r::BarrierCompletedV1 {
            at: Timestamp(at),
            longest_us
        }),
        event!(RunEvent::BarrierAborted, failure(), |failure| r::BarrierAbortedV1 { failure }),
        event!(RunEvent::TimedOut, any::<(u32, u64)>(), |(attempt, timeout_ms)| r::RunTimedOutV1 {
            attempt,
            timeout_ms
        }),
    ]
}

fn other_kinds() -> Vec<BoxedStrategy<Event>> {
    let begun = (participant(), run_id(), any::<(u32, u32)>());
    let child = (uuid(), uuid(), any::<(u32, u64)>());
    let gated = (uuid(), uuid(), any::<(u32, u64)>()).prop_map(|(child_id, boot_id, (group, started))| p::ChildV1 {
        child_id,
        group,
        started,
        boot_id,
    });
    let restore = (uuid(), run_id(), text(), vec(any::<u8>(), 0..300), any::<(u32, bool)>());
    vec![
        event!(ParticipantEvent::WorkStarted, begun, |(participant, run_id, (attempt, try_number))| {
            p::WorkStartedV1 { participant, run_id, attempt, try_number }
        }),
        event!(ParticipantEvent::WorkCompleted, run_id(), |run_id| p::WorkCompletedV1 { run_id }),
        event!(ParticipantEvent::WorkFailed, (run_id(), failure()), |(run_id, failure)| {
            p::WorkFailedV1 { run_id, failure }
        }),
        event!(ParticipantEvent::AttemptAbandoned, (run_id(), any::<u32>()), |(run_id, attempt)| {
            p::AttemptAbandonedV1 { run_id, attempt }
        }),
        event!(ParticipantEvent::ChildStarted, (run_id(), child), |(run_id, (child_id, boot_id, (group, started)))| {
            p::ChildStartedV1 { run_id, child: p::ChildV1 { child_id, group, started, boot_id } }
        }),
        event!(ParticipantEvent::WorkStuck, (run_id(), failure()), |(run_id, failure)| {
            p::WorkStuckV1 { run_id, failure }
        }),
        event!(ParticipantEvent::WorkReturned, run_id(), |run_id| p::WorkReturnedV1 { run_id }),
        event!(ParticipantEvent::Quarantined, any::<u32>(), |failures| p::ParticipantQuarantinedV1 { failures }),
        event!(ParticipantEvent::QuarantineLifted, text(), |reason| p::QuarantineLiftedV1 { reason }),
        event!(ParticipantEvent::FreezeRequested, (run_id(), vec(gated, 0..p::MAX_GATED)), |(run_id, children)| {
            p::FreezeRequestedV1 { run_id, children }
        }),
        event!(ParticipantEvent::Thawed, run_id(), |run_id| p::ThawedV1 { run_id }),
        event!(ParticipantEvent::BarrierFailed, (run_id(), failure()), |(run_id, failure)| {
            p::BarrierFailedV1 { run_id, failure }
        }),
        event!(RestoreEvent::Requested, restore, |(id, source_run, target, staging, (selections, overwrite))| {
            re::RestoreRequestedV3 {
                restore_id: RestoreId(id),
                source_run,
                target,
                staging,
                selections,
                overwrite,
                delete: false,
                force: !overwrite,
                safety: if overwrite { re::Safety::BestEffort } else { re::Safety::Required },
                timeout_ms: 0,
                participants: Vec::new(),
            }
        }),
        event!(RestoreEvent::Completed, any::<(u64, u64, u64)>(), |(files, bytes, warnings)| {
            re::RestoreCompletedV1 { files, bytes, warnings }
        }),
        event!(RestoreEvent::Failed, failure(), |failure| re::RestoreFailedV1 { failure }),
        event!(RestoreEvent::ParticipantPlanned, (participant(), any::<(u32, bool, u64)>()), |(
            participant,
            (format_version, atomic, bytes),
        )| {
            re::RestoreParticipantPlannedV1 { participant, format_version, atomic, bytes }
        }),
        event!(RestoreEvent::SourceVerified, any::<(u32, u64)>(), |(participants, bytes)| {
            re::RestoreSourceVerifiedV1 { participants, bytes }
        }),
        event!(RestoreEvent::Quiesced, Just(()), |()| re::RestoreQuiescedV1 {}),
        event!(RestoreEvent::SafetyArtifactStored, artifact(), |artifact| re::SafetyArtifactStoredV1 { artifact }),
        event!(RestoreEvent::SafetySnapshotTaken, (any::<i64>(), any::<[u8; 32]>()), |(at, sums)| {
            re::SafetySnapshotTakenV1 { at: Timestamp(at), sums_sha256: Sha256(sums) }
        }),
        event!(RestoreEvent::SafetySnapshotSkipped, failure(), |failure| re::SafetySnapshotSkippedV1 { failure }),
        event!(RestoreEvent::ParticipantStaged, (participant(), any::<u64>()), |(participant, bytes)| {
            re::RestoreParticipantStagedV1 { participant, bytes }
        }),
        event!(RestoreEvent::CommitDecided, Just(()), |()| re::RestoreCommitDecidedV1 {}),
        event!(RestoreEvent::CommitStarted, participant(), |participant| re::RestorePartV1 { participant }),
        event!(RestoreEvent::ParticipantCommitted, (participant(), text()), |(participant, output)| {
            re::RestoreParticipantCommittedV2 { participant, output }
        }),
        event!(RestoreEvent::ParticipantVerified, participant(), |participant| re::RestorePartV1 { participant }),
        event!(RestoreEvent::RollbackDecided, failure(), |failure| re::RestoreRollbackDecidedV1 { failure }),
        event!(RestoreEvent::ParticipantRolledBack, participant(), |participant| re::RestorePartV1 { participant }),
        event!(RestoreEvent::RolledBack, failure(), |failure| re::RestoreRolledBackV1 { failure }),
        event!(RestoreEvent::RollbackFailed, (option::of(participant()), failure()), |(participant, failure)| {
            re::RestoreRollbackFailedV1 { participant, failure }
        }),
        event!(RestoreEvent::RetryRequested, Just(()), |()| re::RestoreRetryRequestedV1 {}),
        event!(RestoreEvent::CancelRequested, text(), |reason| re::RestoreCancelRequestedV1 { reason }),
        event!(RestoreEvent::Interrupted, text(), |reason| re::RestoreInterruptedV1 { reason }),
        event!(RestoreEvent::TimedOut, any::<u64>(), |timeout_ms| re::RestoreTimedOutV1 { timeout_ms }),
        event!(RestoreEvent::SafetySnapshotRemoved, Just(()), |()| re::SafetySnapshotRemovedV1 {}),
        event!(SystemEvent::HomeCreated, (uuid(), text()), |(server_id, app_version)| {
            s::HomeCreatedV1 { server_id, app_version }
        }),
        event!(SystemEvent::EngineStarted, (any::<u32>(), text(), text()), |(pid, purpose, app_version)| {
            s::EngineStartedV1 { pid, purpose, app_version }
        }),
        event!(SystemEvent::LogRepaired, text(), |what| s::LogRepairedV1 { what }),
        event!(SystemEvent::EngineStopped, any::<u32>(), |pid| s::EngineStoppedV1 { pid }),
    ]
}

fn endpoint() -> impl Strategy<Value = en::EndpointConfigV2> + Clone {
    let name = "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}".prop_map(|text| text.parse().expect("a name"));
    let texts = (short(), short(), short(), short(), short(), short());
    let flags = any::<(bool, bool, bool, bool)>();
    let checks = select(vec![en::UploadCheck::Size, en::UploadCheck::Readback]);
    let more = (vec(short(), 0..4), any::<(u64, i32, u32)>(), flags, checks);
    (name, texts, any::<(u32, u64, u64, u32, u64)>(), option::of(uuid()), more).prop_map(
        |(name, (host, url, login, retention, password_file, password_env), numbers, secret, more)| {
            let (mode, timeinterval_s, timeout_s, retry_attempts, retry_delay_s) = numbers;
            let (password_command, (bandwidth, priority, streams), flags, verify) = more;
            let (enable, plaintext, stream, declared) = flags;
            en::EndpointConfigV2 {
                name,
                host,
                url,
                login,
                enable,
                mode,
                timeinterval_s,
                timeout_s,
                retry_attempts,
                retry_delay_s,
                retention,
                secret,
                password_file,
                password_command,
                password_env,
                verify,
                bandwidth,
                priority,
                streams,
                plaintext,
                stream,
                declared,
            }
        },
    )
}

pub(crate) fn time() -> impl Strategy<Value = Timestamp> + Clone {
    any::<i64>().prop_map(Timestamp)
}

pub(crate) fn role() -> impl Strategy<Value = ac::Role> + Clone {
    select(ac::Role::ALL.to_vec())
}

fn endpoint_kinds() -> Vec<BoxedStrategy<Event>> {
    vec![
        event!(EndpointEvent::Added, endpoint(), |config| en::EndpointAddedV2 { config }),
        event!(EndpointEvent::Updated, endpoint(), |config| en::EndpointUpdatedV2 { config }),
        event!(EndpointEvent::Deleted, Just(()), |()| en::EndpointDeletedV1 {}),
    ]
}

fn vault_kinds() -> Vec<BoxedStrategy<Event>> {
    use v::UploadEnd::{Damaged, Expired, Lost, Terminated};
    let name = "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}".prop_map(|text| text.parse().expect("a name"));
    let permission = select(v::Permission::ALL.to_vec());
    let token = (uuid(), name, permission, digest(), option::of(any::<u64>()), option::of(uuid()));
    let upload = (uuid(), run_id(), artifact_name(), any::<u64>(), digest(), uuid());
    let opened = (uuid(), run_id(), artifact_name(), uuid());
    let end = select(vec![Terminated, Expired, Damaged, Lost]);
    let commit = (run_id(), any::<u32>(), any::<u64>(), digest());
    vec![
        event!(VaultAccessEvent::TokenAdded, token, |(token_id, name, permission, hash, quota_bytes, server_id)| {
            v::VaultTokenAddedV1 { token_id, name, permission, hash, quota_bytes, server_id }
        }),
        event!(VaultAccessEvent::ClientBound, (uuid(), uuid()), |(token_id, server_id)| {
            v::VaultClientBoundV1 { token_id, server_id }
        }),
        event!(VaultAccessEvent::TokenRevoked, uuid(), |token_id| v::VaultTokenRevokedV1 { token_id }),
        event!(VaultClientEvent::UploadCreated, upload, |(upload_id, run_id, file, size_bytes, sha256, token_id)| {
            v::VaultUploadCreatedV1 { upload_id, run_id, file, size_bytes, sha256, token_id }
        }),
        event!(VaultClientEvent::UploadFinished, uuid(), |upload_id| v::VaultUploadFinishedV1 { upload_id }),
        event!(VaultClientEvent::UploadRemoved, (uuid(), end), |(upload_id, end)| {
            v::VaultUploadRemovedV1 { upload_id, end }
        }),
        event!(VaultClientEvent::RunCommitRequested, commit, |(run_id, files, stored_bytes, sums_sha256)| {
            v::VaultRunCommitRequestedV1 { run_id, files, stored_bytes, sums_sha256 }
        }),
        event!(VaultClientEvent::RunCommitted, run_id(), |run_id| v::VaultRunCommittedV1 { run_id }),
        event!(VaultClientEvent::RunDeleteRequested, run_id(), |run_id| v::VaultRunDeleteRequestedV1 { run_id }),
        event!(VaultClientEvent::RunDeleted, run_id(), |run_id| v::VaultRunDeletedV1 { run_id }),
        event!(VaultClientEvent::UploadOpened, opened, |(upload_id, run_id, file, token_id)| {
            v::VaultUploadOpenedV1 { upload_id, run_id, file, token_id }
        }),
        event!(VaultClientEvent::UploadClosed, (uuid(), any::<u64>(), digest()), |(upload_id, size_bytes, sha256)| {
            v::VaultUploadClosedV1 { upload_id, size_bytes, sha256 }
        }),
    ]
}

fn control_kinds() -> Vec<BoxedStrategy<Event>> {
    use au::CommandOutcome::{Accepted, Done, Failed, Refused};
    let name = "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}".prop_map(|text| text.parse().expect("a name"));
    let token = (uuid(), name, role(), digest(), option::of(time()));
    let outcome = select(vec![Accepted, Done, Refused, Failed]);
    let texts = (short(), short(), short(), short());
    let command = ((texts, option::of(uuid())), outcome, short(), vec((short(), short()), 0..au::MAX_FIELDS));
    let refusals = (short(), short(), short(), (time(), time()), any::<u64>());
    let guesses = (time(), time(), any::<(u64, u64)>(), vec((short(), any::<u64>()), 0..au::MAX_SOURCES));
    vec![
        event!(AccessEvent::TokenCreated, token, |(token_id, name, role, hash, expires_at)| {
            ac::TokenCreatedV1 { token_id, name, role, hash, expires_at }
        }),
        event!(AccessEvent::TokenRevoked, uuid(), |token_id| ac::TokenRevokedV1 { token_id }),
        event!(AuditEvent::CommandRecorded, command, |(
            ((command, role, door, source), token_id),
            outcome,
            code,
            fields,
        )| {
            au::CommandRecordedV2 { command, role, token_id, door, source, outcome, code, fields }
        }),
        event!(AuditEvent::RefusalsSummed, refusals, |(command, role, source, (from, to), count)| {
            let (code, token_id) = (String::clone(&role), Some(uuid::Uuid::from_u64_pair(count, count)));
            au::RefusalsSummedV2 { command, code, role, token_id, source, from, to, count }
        }),
        event!(AuditEvent::GuessesSummed, guesses, |(from, to, (count, more_sources), sources)| {
            au::GuessesSummedV1 { from, to, count, sources, more_sources }
        }),
        event!(MaintenanceEvent::Enabled, (text(), option::of(uuid())), |(reason, id): (_, Option<Uuid>)| {
            m::MaintenanceEnabledV2 { reason, restore_id: id.map(RestoreId) }
        }),
        event!(MaintenanceEvent::Disabled, Just(()), |()| m::MaintenanceDisabledV1 {}),
    ]
}

pub(crate) fn any_event() -> impl Strategy<Value = Event> + Clone {
    Union::new(every_kind())
}
