//! The line of each event, as people read it. An event without its line here fails the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod samples;

use std::collections::BTreeMap;

use holdfast_model::codec::Envelope;
use holdfast_model::event::Event;
use holdfast_model::ids::{Position, StreamId, Timestamp, Version};
use holdfast_model::story::{Level, LogLine};
use samples::samples;
use uuid::Uuid;

fn line(event: Event) -> LogLine {
    let stream: StreamId = match &event {
        Event::ParticipantEvent(_) => "participant/site".parse().unwrap(),
        Event::EndpointEvent(_) => "endpoint/offsite".parse().unwrap(),
        _ => StreamId::system(),
    };
    LogLine::of(&Envelope {
        position: Position(1),
        stream,
        version: Version(1),
        time: Timestamp(0),
        event_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        principal: "token:ops".into(),
        event_type: event.name(),
        data: event,
    })
}

/// The event's name, its level, whom it is about, and its words.
const LINES: &[(&str, Level, &str, &str)] = &[
    (
        "RunRequested",
        Level::Info,
        "",
        "backup of some participants asked for by token:ops (pre_update), compression zstd:3, a warning fails its participant",
    ),
    ("ParticipantPlanned", Level::Info, "site", "site takes part: files, critical"),
    ("DefinitionPart", Level::Debug, "site", "what site takes is recorded: 21 B"),
    ("RunStarted", Level::Info, "", "attempt 1 begins"),
    ("RunInterrupted", Level::Warning, "", "it was interrupted: it was being sealed"),
    ("RunResumed", Level::Info, "", "it goes on with attempt 2"),
    ("ParticipantReset", Level::Warning, "site", "site runs again, what it had made does not count: it broke"),
    ("ParticipantStarted", Level::Info, "site", "site begins"),
    ("ParticipantProgressed", Level::Debug, "site", "site has come to 70.0 kB of 5.00 GB, 251 files"),
    (
        "ArtifactStored",
        Level::Info,
        "site",
        "site.tar of site is whole and on disk: 70.0 kB, stored as 300 B in site.tar.zst",
    ),
    (
        "ParticipantCompleted",
        Level::Warning,
        "site",
        "site gave 252 files and left out 2 things: /srv/a: permission denied; /srv/b: vanished",
    ),
    ("ParticipantFailed", Level::Error, "site", "site failed: the disk is full: free 2 GiB below /srv (NO_SPACE)"),
    ("ParticipantCancelled", Level::Warning, "site", "site was stopped, or not begun: the run is cancelled"),
    ("ParticipantSkipped", Level::Warning, "site", "site was not begun: the run ended before"),
    ("RunCancelRequested", Level::Warning, "", "token:ops asked to cancel it: asked by the user"),
    (
        "RunClassified",
        Level::Warning,
        "",
        "all participants have ended; it will be partial, once its directory was read again: site: bad",
    ),
    (
        "RunPublishRequested",
        Level::Info,
        "",
        "every byte was read again and is as recorded; the directory goes to backups/failed",
    ),
    ("RunPublished", Level::Info, "", "it has ended completed; its directory is in backups/completed"),
    ("RunEnded", Level::Error, "", "it has ended timeout, without a directory: too late"),
    ("RunVerified", Level::Error, "", "DAMAGED: 1 fault in 3 files, 66.0 kB: site.tar.zst: 1 byte short"),
    ("RunDeleteRequested", Level::Info, "", "token:ops asked to delete it"),
    ("RunDeleted", Level::Info, "", "its directory is deleted"),
    (
        "RunDeleteFailed",
        Level::Error,
        "",
        "its directory could not be deleted, and is kept: the folder is a mount point (STORAGE_IO)",
    ),
    (
        "ParticipantTryFailed",
        Level::Warning,
        "site",
        "try 2 of site failed, the next is in 9.7 s: the disk is full: free 2 GiB below /srv (NO_SPACE)",
    ),
    ("ParticipantDue", Level::Debug, "site", "the pause of site is over: it waits for its turn"),
    ("RunLocked", Level::Info, "", "token:ops locked it against deletion: before the move"),
    ("RunUnlocked", Level::Info, "", "token:ops unlocked it: it may be deleted"),
    ("WorkStarted", Level::Debug, "site", "site is at work for run 20261121-220000-000042, attempt 2, try 3"),
    ("WorkCompleted", Level::Info, "site", "site is good in run 20261121-220000-000042"),
    (
        "WorkFailed",
        Level::Warning,
        "site",
        "site was not good in run 20261121-220000-000042: the disk is full: free 2 GiB below /srv (NO_SPACE)",
    ),
    (
        "AttemptAbandoned",
        Level::Warning,
        "site",
        "the process in which site was at work for run 20261121-220000-000042 is gone: its attempt 2 does not count",
    ),
    ("ChildStarted", Level::Debug, "site", "process group 4711 works for site in run 20261121-220000-000042"),
    (
        "WorkStuck",
        Level::Error,
        "site",
        "site was told to stop in run 20261121-220000-000042 and does not return, so nothing else is begun with it: the disk is full: free 2 GiB below /srv (NO_SPACE)",
    ),
    (
        "WorkReturned",
        Level::Warning,
        "site",
        "site, which was stuck in run 20261121-220000-000042, has returned: it can be used again",
    ),
    (
        "ParticipantQuarantined",
        Level::Error,
        "site",
        "site is in quarantine after 5 failures in a row: each run tries it once",
    ),
    (
        "QuarantineLifted",
        Level::Info,
        "site",
        "site is out of quarantine and is tried as others are: asked by the user",
    ),
    (
        "FreezeRequested",
        Level::Debug,
        "site",
        "site is to stand still for run 20261121-220000-000042, and to be let go after it",
    ),
    ("Thawed", Level::Debug, "site", "site was let go, after it stood still for run 20261121-220000-000042"),
    (
        "BarrierFailed",
        Level::Warning,
        "site",
        "site failed in the barrier of run 20261121-220000-000042: the disk is full: free 2 GiB below /srv (NO_SPACE)",
    ),
    (
        "RestoreRequested",
        Level::Info,
        "",
        "restore of 2 paths of run 20261121-220000-000042 to /srv/out, asked for by token:ops, what is in the way is replaced",
    ),
    ("RestoreCompleted", Level::Warning, "", "restored: 252 files, 70.0 kB, every byte verified; 1 warning"),
    ("RestoreFailed", Level::Error, "", "the restore failed: the disk is full: free 2 GiB below /srv (NO_SPACE)"),
    ("RestoreParticipantPlanned", Level::Info, "site", "site takes 70.0 kB back, in one step"),
    ("RestoreSourceVerified", Level::Info, "", "the run to restore from was read again and is as recorded: 70.0 kB"),
    ("RestoreQuiesced", Level::Info, "", "all participants of the restore stand still"),
    ("SafetyArtifactStored", Level::Info, "site", "site.tar of the state before is kept: 70.0 kB"),
    ("SafetySnapshotTaken", Level::Info, "", "the safety snapshot of the state before is whole and was read again"),
    (
        "SafetySnapshotSkipped",
        Level::Warning,
        "",
        "there is no safety snapshot of the state before: the disk is full: free 2 GiB below /srv (NO_SPACE)",
    ),
    ("RestoreParticipantStaged", Level::Info, "site", "site has staged 70.0 kB"),
    ("RestoreCommitDecided", Level::Info, "", "all is staged: the restore is made"),
    ("RestoreCommitStarted", Level::Info, "site", "site commits"),
    ("RestoreParticipantCommitted", Level::Info, "site", "site has committed"),
    ("RestoreParticipantVerified", Level::Info, "site", "site has looked at what it has now"),
    (
        "RestoreRollbackDecided",
        Level::Error,
        "",
        "the restore is not made, and undone: the disk is full: free 2 GiB below /srv (NO_SPACE)",
    ),
    ("RestoreParticipantRolledBack", Level::Info, "site", "site is as before"),
    (
        "RestoreRolledBack",
        Level::Warning,
        "",
        "the restore was rolled back, and all is as before: the disk is full: free 2 GiB below /srv (NO_SPACE)",
    ),
    (
        "RestoreRollbackFailed",
        Level::Error,
        "site",
        "the rollback of site failed, and not all is as before: the disk is full: free 2 GiB below /srv (NO_SPACE)",
    ),
    ("RestoreRetryRequested", Level::Info, "", "the rollback is tried again, asked for by token:ops"),
    (
        "RestoreCancelRequested",
        Level::Warning,
        "",
        "the restore is to be cancelled, asked for by token:ops: the wrong run",
    ),
    ("RestoreInterrupted", Level::Warning, "", "the restore was interrupted: the process is gone"),
    (
        "RestoreTimedOut",
        Level::Error,
        "",
        "the restore took 30 min 0 s, which is the most it may: what it touched is put back",
    ),
    (
        "SafetySnapshotRemoved",
        Level::Info,
        "",
        "the safety snapshot of the state before is removed: it was kept as long as it was to be",
    ),
    (
        "HomeCreated",
        Level::Info,
        "",
        "the home of installation 019aa700-0000-7000-8000-000000000002 was made by version 0.1.0",
    ),
    ("EngineStarted", Level::Info, "", "process 4711 took the home over: backup, version 0.1.0"),
    ("LogRepaired", Level::Warning, "", "the event log was repaired: a torn commit of 40 bytes was dropped"),
    ("BarrierRequested", Level::Info, "", "all participants are to stand still together, for 10.0 s at most"),
    (
        "ParticipantFrozen",
        Level::Info,
        "site",
        "site stood still for 7.7 ms: frozen in 340 µs, captured in 2.3 ms, thawed in 90 µs",
    ),
    ("BarrierCompleted", Level::Info, "", "all that is backed up is of one moment; the standstill took 8.2 ms"),
    (
        "BarrierAborted",
        Level::Error,
        "",
        "the participants did not stand still together: site took longer than 10 s (FREEZE_BUDGET_EXCEEDED)",
    ),
    (
        "RunTimedOut",
        Level::Error,
        "",
        "attempt 2 took 1 h 30 min, which is the most it may: what is at work is stopped",
    ),
    (
        "RunImportRequested",
        Level::Info,
        "offsite",
        "token:ops asked to bring the run of 019aa700-0000-7000-8000-00000000001f back from endpoint offsite, in the place of what is here",
    ),
    (
        "RunImported",
        Level::Info,
        "",
        "it has come whole: it had ended partial, with 2 participants; what it holds only a key tells",
    ),
    (
        "ParticipantImported",
        Level::Warning,
        "site",
        "site had ended failed: the disk is full: free 2 GiB below /srv (NO_SPACE)",
    ),
    (
        "RunImportPublishRequested",
        Level::Info,
        "",
        "what came was read again and is whole; it goes to backups/completed, in the place of what is there",
    ),
    ("RunImportCompleted", Level::Info, "", "it is here again"),
    ("RunImportFailed", Level::Error, "", "it did not come back: the connection broke (REMOTE_UNAVAILABLE)"),
    ("EngineStopped", Level::Info, "", "process 4711 was stopped in good order while runs were open"),
    (
        "RunCopiesPlanned",
        Level::Info,
        "",
        "copies go to offsite, nas: one of these is required; it is not kept here once they are there",
    ),
    ("UploadsRequested", Level::Info, "", "token:ops asked for copies at offsite"),
    ("UploadStarted", Level::Info, "offsite", "the upload to offsite begins its try 2"),
    (
        "UploadTryFailed",
        Level::Warning,
        "offsite",
        "try 2 of the upload to offsite failed, the next is in 20.0 s: cannot reach it (REMOTE_UNAVAILABLE)",
    ),
    (
        "UploadCompleted",
        Level::Info,
        "offsite",
        "offsite has all of it: 5.00 GB, of which 70.0 kB were sent in this try; checked by readback",
    ),
    ("UploadFailed", Level::Error, "offsite", "offsite does not get it: cannot reach it (REMOTE_UNAVAILABLE)"),
    ("UploadInterrupted", Level::Warning, "offsite", "the upload to offsite was interrupted, and is begun again"),
    (
        "LocalCopyRemovalRequested",
        Level::Info,
        "",
        "its copies are where they should be: its directory here is taken away",
    ),
    ("RemoteCopyDeleted", Level::Info, "offsite", "offsite does not have it any more"),
    ("UploadStreamStarted", Level::Info, "offsite", "artifacts go to offsite while they are written"),
    (
        "EndpointTryFailed",
        Level::Warning,
        "offsite",
        "a try to upload run 20261121-220000-000042 to offsite failed: cannot reach it (REMOTE_UNAVAILABLE)",
    ),
    (
        "EndpointUnavailable",
        Level::Error,
        "offsite",
        "endpoint offsite failed 5 times in a row, and is left alone for 60 s: cannot reach it (REMOTE_UNAVAILABLE)",
    ),
    (
        "EndpointRecovered",
        Level::Info,
        "offsite",
        "endpoint offsite takes uploads again, after 5 failed tries in a row",
    ),
    (
        "RemoteDeleteRequested",
        Level::Info,
        "offsite",
        "token:ops asked to delete run 20261121-220000-000042 at offsite",
    ),
    ("RemoteRunDeleted", Level::Info, "offsite", "run 20261121-220000-000042 is deleted at offsite"),
    (
        "RemoteDeleteFailed",
        Level::Error,
        "offsite",
        "run 20261121-220000-000042 could not be deleted at offsite: cannot reach it (REMOTE_UNAVAILABLE)",
    ),
    ("EndpointAdded", Level::Info, "offsite", "endpoint offsite was added by token:ops"),
    ("EndpointUpdated", Level::Info, "offsite", "endpoint offsite was changed by token:ops; it is not in use"),
    ("EndpointDeleted", Level::Info, "offsite", "endpoint offsite was taken out of the configuration by token:ops"),
    (
        "VaultTokenAdded",
        Level::Info,
        "",
        "vault token shop with the permission append was made by token:ops, for at most 10.7 GB",
    ),
    (
        "VaultClientBound",
        Level::Info,
        "",
        "vault token 019aa700-0000-7000-8000-000000000015 belongs to installation 019aa700-0000-7000-8000-000000000017 from now on",
    ),
    ("VaultTokenRevoked", Level::Info, "", "vault token 019aa700-0000-7000-8000-000000000015 was revoked by token:ops"),
    (
        "VaultUploadCreated",
        Level::Debug,
        "",
        "token:ops began to bring shop.dump.lz4 of run 20261121-220000-000042, 5.00 GB (upload 019aa700-0000-7000-8000-000000000018)",
    ),
    ("VaultUploadFinished", Level::Debug, "", "upload 019aa700-0000-7000-8000-000000000018 is whole, and has its hash"),
    (
        "VaultUploadRemoved",
        Level::Warning,
        "",
        "upload 019aa700-0000-7000-8000-000000000018 was deleted: what came has another hash than token:ops said",
    ),
    (
        "VaultRunCommitRequested",
        Level::Info,
        "",
        "run 20261121-220000-000042 came as a whole, and is to be put into its place: 4 files, 5.00 GB",
    ),
    ("VaultRunCommitted", Level::Info, "", "run 20261121-220000-000042 is in the vault"),
    (
        "VaultRunDeleteRequested",
        Level::Info,
        "",
        "run 20261121-220000-000042 is to be deleted from the vault, said token:ops",
    ),
    ("VaultRunDeleted", Level::Info, "", "run 20261121-220000-000042 is not in the vault any more"),
    (
        "VaultUploadOpened",
        Level::Debug,
        "",
        "token:ops began to bring shop.dump.lz4 of run 20261121-220000-000042 while it is written (upload 019aa700-0000-7000-8000-00000000001b)",
    ),
    ("VaultUploadClosed", Level::Debug, "", "upload 019aa700-0000-7000-8000-00000000001b is whole: 5.00 GB"),
    ("TokenCreated", Level::Info, "", "token ci with the role manager was made by token:ops, for a limited time"),
    ("TokenRevoked", Level::Info, "", "token 019aa700-0000-7000-8000-000000000006 was revoked by token:ops"),
    (
        "CommandRecorded",
        Level::Warning,
        "",
        "refused with BACKUP_RUN_LOCKED: DeleteBackupRun by token:ops, by way of http from [::1]:50412",
    ),
    (
        "RefusalsSummed",
        Level::Warning,
        "",
        "token:ops was refused StartFullBackup 300 times more, the last time from 127.0.0.1:50413",
    ),
    ("GuessesSummed", Level::Warning, "", "4,711 wrong tokens from 2 sources"),
    ("MaintenanceEnabled", Level::Warning, "", "maintenance is on, said token:ops: the move"),
    ("MaintenanceDisabled", Level::Info, "", "maintenance is off, said token:ops"),
];

#[test]
fn every_event_has_a_line_that_stands_alone() {
    let mut told = BTreeMap::new();
    for event in samples() {
        let name = event.name();
        let line = line(event);
        assert!(!line.message.is_empty() && !line.message.contains("  "), "{name}: {:?}", line.message);
        let about = format!("{}{}", line.participant, line.endpoint);
        told.insert(name, (line.level, about, line.message));
    }
    for (_, name, _) in Event::TABLE {
        let (level, about, message) = told.get(name).unwrap_or_else(|| panic!("{name} has no sample"));
        let (_, expected, whom, words) = LINES
            .iter()
            .find(|(event, ..)| event == name)
            .unwrap_or_else(|| panic!("{name} has no line here; it reads {level:?} {about:?} {message:?}"));
        assert_eq!((level, about.as_str(), message.as_str()), (expected, *whom, *words), "{name}");
    }
}
