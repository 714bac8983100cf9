//! The lines of a run.

use super::{Level, Told, listed, reason};
use crate::event::RunEvent;
use crate::figures::{counted, seconds, size};
use crate::ids::EndpointName;
use crate::run::{
    ArtifactStoredV1, Consistency, CopiesPlannedV2, Encryption, Outcome, ParticipantPlannedV3, ParticipantProgressedV1,
    RequireEndpoints, RunRequestedV4, RunStatus, RunType, Staging, Target,
};

pub(super) fn told(event: &RunEvent, by: &str) -> Told {
    match event {
        RunEvent::Requested(request) => (Level::Info, requested(request, by)),
        RunEvent::ParticipantPlanned(planned) => (Level::Info, takes_part(planned)),
        RunEvent::DefinitionPart(part) => {
            (Level::Debug, format!("what {} takes is recorded: {}", part.participant, size(part.text.len() as u64)))
        }
        RunEvent::Started(started) => (Level::Info, format!("attempt {} begins", started.attempt)),
        RunEvent::Interrupted(interrupted) => (Level::Warning, format!("it was interrupted: {}", interrupted.reason)),
        RunEvent::Resumed(resumed) => (Level::Info, format!("it goes on with attempt {}", resumed.attempt)),
        RunEvent::ParticipantReset(reset) => {
            let text = format!("{} runs again, what it had made does not count: {}", reset.participant, reset.reason);
            (Level::Warning, text)
        }
        RunEvent::ParticipantStarted(started) => match started.try_number {
            0 | 1 => (Level::Info, format!("{} begins", started.participant)),
            number => (Level::Info, format!("{} begins its try {number}", started.participant)),
        },
        RunEvent::ParticipantProgressed(progressed) => (Level::Debug, progress(progressed)),
        RunEvent::ArtifactStored(artifact) => (Level::Info, stored(artifact)),
        RunEvent::ParticipantCompleted(done) => {
            let gave = match done.files {
                0 => "all it has".to_owned(),
                files => counted(files, "file"),
            };
            match done.warnings.count {
                0 => (Level::Info, format!("{} gave {gave}", done.participant)),
                left => {
                    let (left, first) = (counted(left, "thing"), listed(&done.warnings));
                    (Level::Warning, format!("{} gave {gave} and left out {left}: {first}", done.participant))
                }
            }
        }
        RunEvent::ParticipantFailed(failed) => {
            (Level::Error, format!("{} failed: {}", failed.participant, failed.failure))
        }
        RunEvent::ParticipantTryFailed(failed) => {
            let pause = seconds(failed.retry_after_ms as f64 / 1000.0);
            let (participant, number) = (&failed.participant, failed.try_number);
            (
                Level::Warning,
                format!("try {number} of {participant} failed, the next is in {pause}: {}", failed.failure),
            )
        }
        RunEvent::ParticipantDue(due) => {
            (Level::Debug, format!("the pause of {} is over: it waits for its turn", due.participant))
        }
        RunEvent::ParticipantCancelled(cancelled) => {
            (Level::Warning, format!("{} was stopped, or not begun: the run is cancelled", cancelled.participant))
        }
        RunEvent::ParticipantSkipped(skipped) => {
            (Level::Warning, format!("{} was not begun: {}", skipped.participant, skipped.reason))
        }
        RunEvent::CancelRequested(cancel) => {
            (Level::Warning, format!("{by} asked to cancel it{}", reason(&cancel.reason)))
        }
        RunEvent::TimedOut(timed_out) => {
            let (attempt, limit) = (timed_out.attempt, seconds(timed_out.timeout_ms as f64 / 1000.0));
            (
                Level::Error,
                format!("attempt {attempt} took {limit}, which is the most it may: what is at work is stopped"),
            )
        }
        RunEvent::Classified(classified) => {
            let (outcome, why) = (word(classified.outcome), reason(&classified.error_summary));
            let text =
                format!("all participants have ended; it will be {outcome}, once its directory was read again{why}");
            (level(classified.outcome), text)
        }
        RunEvent::PublishRequested(publish) => (
            Level::Info,
            format!("every byte was read again and is as recorded; the directory goes to {}", place(publish.target)),
        ),
        RunEvent::Published(published) => {
            let (outcome, place) = (word(published.outcome), place(published.target));
            (level(published.outcome), format!("it has ended {outcome}; its directory is in {place}"))
        }
        RunEvent::Ended(ended) => {
            let (outcome, why) = (word(ended.outcome), reason(&ended.error_summary));
            (level(ended.outcome), format!("it has ended {outcome}, without a directory{why}"))
        }
        RunEvent::Verified(verified) => {
            let read = format!("{}, {}", counted(verified.files, "file"), size(verified.bytes));
            match verified.ok {
                true => (Level::Info, format!("verified: {read}, all as recorded")),
                false => {
                    let faults = counted(verified.errors.count, "fault");
                    (Level::Error, format!("DAMAGED: {faults} in {read}: {}", listed(&verified.errors)))
                }
            }
        }
        RunEvent::DeleteRequested(_) => (Level::Info, format!("{by} asked to delete it")),
        RunEvent::Deleted(_) => (Level::Info, "its directory is deleted".to_owned()),
        RunEvent::DeleteFailed(failed) => {
            (Level::Error, format!("its directory could not be deleted, and is kept: {}", failed.failure))
        }
        RunEvent::Locked(locked) => (Level::Info, format!("{by} locked it against deletion{}", reason(&locked.reason))),
        RunEvent::Unlocked(_) => (Level::Info, format!("{by} unlocked it: it may be deleted")),
        RunEvent::BarrierRequested(barrier) => {
            let budget = micros(barrier.budget_ms.saturating_mul(1000));
            (Level::Info, format!("all participants are to stand still together, for {budget} at most"))
        }
        RunEvent::ParticipantFrozen(frozen) => (
            Level::Info,
            format!(
                "{} stood still for {}: frozen in {}, captured in {}, thawed in {}",
                frozen.participant,
                micros(frozen.held_us),
                micros(frozen.freeze_us),
                micros(frozen.capture_us),
                micros(frozen.thaw_us)
            ),
        ),
        RunEvent::BarrierCompleted(barrier) => {
            let longest = micros(barrier.longest_us);
            (Level::Info, format!("all that is backed up is of one moment; the standstill took {longest}"))
        }
        RunEvent::BarrierAborted(aborted) => {
            (Level::Error, format!("the participants did not stand still together: {}", aborted.failure))
        }
        RunEvent::CopiesPlanned(planned) => (Level::Info, copies(planned)),
        RunEvent::UploadsRequested(requested) => {
            (Level::Info, format!("{by} asked for copies at {}", names(&requested.endpoints)))
        }
        RunEvent::UploadStarted(started) => match started.try_number {
            0 | 1 => (Level::Info, format!("the upload to {} begins", started.endpoint)),
            number => (Level::Info, format!("the upload to {} begins its try {number}", started.endpoint)),
        },
        RunEvent::UploadTryFailed(failed) => {
            let (endpoint, number) = (&failed.endpoint, failed.try_number);
            let pause = seconds(failed.retry_after_ms as f64 / 1000.0);
            let text =
                format!("try {number} of the upload to {endpoint} failed, the next is in {pause}: {}", failed.failure);
            (Level::Warning, text)
        }
        RunEvent::UploadCompleted(done) => (
            Level::Info,
            format!(
                "{} has all of it: {}, of which {} were sent in this try; checked by {}",
                done.endpoint,
                size(done.stored_bytes),
                size(done.sent_bytes),
                done.check.as_str()
            ),
        ),
        RunEvent::UploadFailed(failed) => {
            (Level::Error, format!("{} does not get it: {}", failed.endpoint, failed.failure))
        }
        RunEvent::UploadInterrupted(interrupted) => {
            let text = format!("the upload to {} was interrupted, and is begun again", interrupted.endpoint);
            (Level::Warning, text)
        }
        RunEvent::LocalCopyRemovalRequested(_) => {
            (Level::Info, "its copies are where they should be: its directory here is taken away".to_owned())
        }
        RunEvent::RemoteCopyDeleted(deleted) => {
            (Level::Info, format!("{} does not have it any more", deleted.endpoint))
        }
        RunEvent::UploadStreamStarted(stream) => {
            (Level::Info, format!("artifacts go to {} while they are written", stream.endpoint))
        }
        RunEvent::ImportRequested(wish) => {
            let instead = if wish.overwrite { ", in the place of what is here" } else { "" };
            let (endpoint, server_id) = (&wish.endpoint, wish.server_id);
            (Level::Info, format!("{by} asked to bring the run of {server_id} back from endpoint {endpoint}{instead}"))
        }
        RunEvent::Imported(facts) => {
            let (outcome, participants) = (word(facts.outcome), counted(facts.participants.into(), "participant"));
            let masked = if facts.masked { "; what it holds only a key tells" } else { "" };
            (Level::Info, format!("it has come whole: it had ended {outcome}, with {participants}{masked}"))
        }
        RunEvent::ParticipantImported(one) => {
            let (level, how) = match &one.failure {
                Some(failure) => (Level::Warning, format!("{}: {failure}", one.status.as_str())),
                None => (Level::Info, one.status.as_str().to_owned()),
            };
            (level, format!("{} had ended {how}", one.participant))
        }
        RunEvent::ImportPublishRequested(publish) => {
            let instead = if publish.replaces { ", in the place of what is there" } else { "" };
            (
                Level::Info,
                format!("what came was read again and is whole; it goes to {}{instead}", place(publish.target)),
            )
        }
        RunEvent::ImportCompleted(_) => (Level::Info, "it is here again".to_owned()),
        RunEvent::ImportFailed(failed) => (Level::Error, format!("it did not come back: {}", failed.failure)),
    }
}

/// A time in microseconds as people read it. What took less than one took next to nothing.
fn micros(micros: u64) -> String {
    seconds(micros.max(1) as f64 / 1e6)
}

fn requested(request: &RunRequestedV4, by: &str) -> String {
    let what = match request.run_type {
        RunType::Full => "of everything",
        RunType::Scoped => "of some participants",
    };
    let job = if request.job.is_empty() { String::new() } else { format!(", job {}", request.job) };
    let strict = if request.strict { ", a warning fails its participant" } else { "" };
    let encrypted = match &request.encryption {
        Encryption::None => String::new(),
        Encryption::Recipients(recipients) => format!(", encrypted to {}", recipients.join(", ")),
        Encryption::Passphrase => ", encrypted with a passphrase".to_owned(),
    };
    let moment = if request.consistency == Consistency::Barrier { ", all of one moment" } else { "" };
    format!(
        "backup {what}{moment} asked for by {by} ({}{job}), compression {}{encrypted}{strict}",
        request.trigger.as_str(),
        request.compression
    )
}

fn copies(planned: &CopiesPlannedV2) -> String {
    let require = match planned.require {
        RequireEndpoints::None => "none of these is required",
        RequireEndpoints::Any => "one of these is required",
        RequireEndpoints::All => "all of these are required",
    };
    let here = match (planned.staging, planned.keep_local) {
        (Staging::None, _) => "; artifacts go straight there and are not written here",
        (Staging::Local, true) => "",
        (Staging::Local, false) => "; it is not kept here once they are there",
    };
    format!("copies go to {}: {require}{here}", names(&planned.endpoints))
}

fn names(endpoints: &[EndpointName]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn takes_part(planned: &ParticipantPlannedV3) -> String {
    let weight = if planned.critical { "critical" } else { "optional" };
    let after: Vec<_> = planned.depends_on.iter().map(ToString::to_string).collect();
    let after = if after.is_empty() { String::new() } else { format!(", after {}", after.join(", ")) };
    format!("{} takes part: {}, {weight}{after}", planned.participant, planned.kind)
}

fn progress(progressed: &ParticipantProgressedV1) -> String {
    let of = |total: Option<String>| total.map(|total| format!(" of {total}")).unwrap_or_default();
    let bytes = format!("{}{}", size(progressed.bytes_done), of(progressed.bytes_total.map(size)));
    match (progressed.files_done, progressed.files_total) {
        (0, None) => format!("{} has come to {bytes}", progressed.participant),
        (files, total) => {
            let files = format!("{}{}", counted(files, "file"), of(total.map(crate::figures::count)));
            format!("{} has come to {bytes}, {files}", progressed.participant)
        }
    }
}

fn stored(artifact: &ArtifactStoredV1) -> String {
    let (content, stored) = (size(artifact.content_bytes), size(artifact.stored.size_bytes));
    format!(
        "{} of {} is whole and on disk: {content}, stored as {stored} in {}",
        artifact.logical_name, artifact.participant, artifact.stored.file
    )
}

fn word(outcome: Outcome) -> &'static str {
    RunStatus::from(outcome).as_str()
}

fn level(outcome: Outcome) -> Level {
    match outcome {
        Outcome::Completed => Level::Info,
        Outcome::Partial | Outcome::Cancelled => Level::Warning,
        Outcome::Failed | Outcome::Timeout => Level::Error,
    }
}

fn place(target: Target) -> &'static str {
    match target {
        Target::Completed => "backups/completed",
        Target::Failed => "backups/failed",
    }
}
