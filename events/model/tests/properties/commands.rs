//! Any sequence of commands: what `decide` yields is applied, and the promises of a run hold after each.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_model::aggregate::{Aggregate, Moment};
use holdfast_model::event::{Event, RunEvent};
use holdfast_model::failure::{Failure, Warnings};
use holdfast_model::ids::{EndpointName, ParticipantName, RunId, Sha256, Timestamp};
use holdfast_model::progress::Progress;
use holdfast_model::run::{
    ArtifactStoredV1, Barrier, Consistency, Copies, Encryption, Found, Held, NewParticipant, NewRun, NotFrozen,
    Outcome, ParticipantCompletedV1, ParticipantFrozenV1, ParticipantStatus, RequireEndpoints, Retained, Run,
    RunCommand, RunImportRequestedV1, RunRequestedV4, RunType, Stage, Staging, StoredFileV1, Trigger, Try, UploadCheck,
    Uploaded,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::arbitrary::{failure, progress, text, verified, warnings};

const NAMES: [&str; 4] = ["a", "b", "c", "nobody"];

fn name() -> impl Strategy<Value = ParticipantName> + Clone {
    select(NAMES.to_vec()).prop_map(|text| text.parse().expect("a name"))
}

fn new_run() -> impl Strategy<Value = NewRun> {
    let timeout = select(vec![0_u64, 60_000]);
    (1_usize..=3, any::<[bool; 3]>(), any::<bool>(), 0_u32..4, 0_u32..4, timeout).prop_map(
        |(participants, critical, strict, max_attempts, max_parallel, timeout_ms)| NewRun {
            request: RunRequestedV4 {
                run_id: RunId::new(Timestamp(0), 1),
                run_type: RunType::Full,
                trigger: Trigger::Manual,
                compression: "lz4".into(),
                strict,
                max_attempts,
                resume_within_s: 100,
                max_parallel,
                job: String::new(),
                idempotency_key: String::new(),
                consistency: if strict && critical[0] { Consistency::Barrier } else { Consistency::Concurrent },
                freeze_budget_ms: 10_000,
                timeout_ms,
                encryption: Encryption::default(),
            },
            participants: (0..participants)
                .map(|n| NewParticipant {
                    name: NAMES[n].parse().expect("a name"),
                    kind: "files".into(),
                    critical: critical[n],
                    definition: "{}".into(),
                    definition_sha256: Sha256::default(),
                    // Only on those before it, so that none waits for itself.
                    depends_on: NAMES[..n]
                        .iter()
                        .filter(|_| critical[n])
                        .map(|name| name.parse().expect("a name"))
                        .collect(),
                    max_tries: 1 + n as u32,
                    retry_delay_ms: 1000,
                    format_version: 0,
                })
                .collect(),
            copies: Copies {
                endpoints: ENDPOINTS[..if critical[1] && critical[2] { participants } else { 0 }]
                    .iter()
                    .map(|name| name.parse().expect("a name"))
                    .collect(),
                require: if strict { RequireEndpoints::All } else { RequireEndpoints::Any },
                keep_local: critical[0],
                staging: if critical[1] && critical[2] && strict { Staging::None } else { Staging::Local },
            },
        },
    )
}

const ENDPOINTS: [&str; 4] = ["near", "far", "farther", "nowhere"];

fn endpoint() -> impl Strategy<Value = EndpointName> + Clone {
    select(ENDPOINTS.to_vec()).prop_map(|text| text.parse().expect("a name"))
}

/// Wishes about copies, most of them for uploads that may be open.
fn copying() -> impl Strategy<Value = RunCommand> {
    let good = (any::<u64>(), any::<u64>())
        .prop_map(|(stored_bytes, sent_bytes)| Ok(Uploaded { stored_bytes, sent_bytes, check: UploadCheck::Size }));
    let result = prop_oneof![2 => good, 2 => failure().prop_map(Err)];
    prop_oneof![
        1 => vec(endpoint(), 0..3).prop_map(RunCommand::UploadTo),
        4 => (endpoint(), 0_u32..3).prop_map(|(endpoint, max_tries)| {
            RunCommand::UploadBegins { endpoint, max_tries, retry_delay_ms: 1000 }
        }),
        4 => (endpoint(), 1_u32..3, result).prop_map(|(endpoint, try_number, result)| {
            RunCommand::UploadEnded { endpoint, try_number, result }
        }),
        1 => (endpoint(), failure()).prop_map(|(endpoint, failure)| RunCommand::UploadRefused { endpoint, failure }),
        1 => (any::<bool>(), endpoint()).prop_map(|(all, only)| RunCommand::ResumeUploads { only: (!all).then_some(only) }),
        1 => endpoint().prop_map(RunCommand::CopyDeleted),
    ]
}

fn complete() -> impl Strategy<Value = RunCommand> {
    // File names meet each other, with and without regard to case, and meet the run's own.
    let file = prop_oneof![8 => "[a-z]{4}", 1 => "[AaBb][Cc]", 1 => Just("manifest.json".to_owned())];
    let left_out = prop_oneof![5 => Just(Warnings::default()), 1 => warnings()];
    (name(), prop_oneof![1 => Just(Vec::new()), 9 => vec((file, any::<u64>()), 1..3)], left_out, any::<u64>()).prop_map(
        |(participant, files, warnings, count)| {
            let stored = |(file, size): (String, u64)| ArtifactStoredV1 {
                participant: participant.clone(),
                logical_name: file.parse().expect("a name"),
                stored: StoredFileV1 {
                    file: file.parse().expect("a name"),
                    size_bytes: size,
                    sha256: Sha256::default(),
                },
                content_bytes: size,
                content_sha256: Sha256::default(),
                compression: "lz4".into(),
                index: None,
            };
            let artifacts = files.into_iter().map(stored).collect();
            let notes = warnings.clone();
            let completed = ParticipantCompletedV1 { participant: participant.clone(), files: count, warnings, notes };
            RunCommand::Complete { of: LIVE, artifacts, completed }
        },
    )
}

/// Failures as careless callers make them: longer than they may be.
fn careless() -> impl Strategy<Value = Failure> {
    (failure(), 1_usize..400).prop_map(|(failure, times)| Failure { message: failure.message.repeat(times), ..failure })
}

fn not_frozen() -> impl Strategy<Value = NotFrozen> {
    (name(), careless()).prop_map(|(participant, failure)| {
        let output = failure.message.repeat(9);
        NotFrozen { participant, failure, output }
    })
}

fn command() -> impl Strategy<Value = RunCommand> {
    let found = select(vec![Found::Running, Found::Running, Found::Published, Found::Nowhere]);
    prop_oneof![
        1 => new_run().prop_map(RunCommand::Request),
        6 => Just(RunCommand::Start),
        8 => Just(RunCommand::DirectoryReady),
        1 => careless().prop_map(RunCommand::DirectoryFailed),
        8 => (vec(name(), 0..5), vec(not_frozen(), 0..2)).prop_map(|(names, left_out)| {
            let barrier = Barrier { at: Timestamp(1), longest_us: 1 };
            let frozen = |participant| ParticipantFrozenV1 {
                participant,
                prepare_us: 1,
                freeze_us: 1,
                capture_us: 1,
                thaw_us: 1,
                held_us: 1,
            };
            RunCommand::BarrierHeld(Held { barrier, frozen: names.into_iter().map(frozen).collect(), left_out })
        }),
        2 => (careless(), proptest::option::of(not_frozen()))
            .prop_map(|(failure, by)| RunCommand::BarrierFailed { failure, by }),
        6 => progress(name()).prop_map(|progress| RunCommand::Progress { of: LIVE, progress }),
        24 => complete(),
        9 => (name(), careless(), any::<bool>()).prop_map(|(participant, failure, may_retry)| {
            let output = failure.message.repeat(9);
            RunCommand::Fail { participant, of: LIVE, failure, output, may_retry }
        }),
        6 => name().prop_map(|participant| RunCommand::Retry { participant, of: LIVE }),
        3 => name().prop_map(|participant| RunCommand::Retry { participant, of: Try { attempt: 1, number: 1 } }),
        1 => (text(), 1_usize..400).prop_map(|(reason, times)| RunCommand::Cancel { reason: reason.repeat(times) }),
        1 => select(vec![1, 2, u32::MAX]).prop_map(|attempt| RunCommand::TimedOut { attempt }),
        8 => Just(RunCommand::Sealed { sums_sha256: Sha256::default() }),
        3 => vec((name(), careless()), 0..3).prop_map(RunCommand::SealFoundDamage),
        1 => careless().prop_map(RunCommand::DirectoryLost),
        6 => Just(RunCommand::Published { copies: Vec::new() }),
        3 => copying(),
        4 => (found, vec((name(), text()), 0..3)).prop_map(|(found, broken)| {
            RunCommand::Recover { found, broken, taken_over: Timestamp(0), stopped: false}
        }),
        2 => verified().prop_map(RunCommand::Verified),
        1 => text().prop_map(|reason| RunCommand::Lock { reason }),
        4 => Just(RunCommand::Unlock),
        6 => Just(RunCommand::Delete),
        2 => Just(RunCommand::Deleted),
        1 => careless().prop_map(RunCommand::DeleteFailed),
        4 => any::<bool>().prop_map(|overwrite| RunCommand::Import(RunImportRequestedV1 {
            run_id: RunId::new(Timestamp(0), 1),
            endpoint: "offsite".parse().expect("a name"),
            server_id: uuid::Uuid::nil(),
            overwrite,
        })),
        4 => Just(RunCommand::ImportWhole { sums_sha256: Sha256::default() }),
        4 => Just(RunCommand::ImportPublished),
        1 => careless().prop_map(RunCommand::ImportFailed),
    ]
}

/// Stands for the try that is at work when the command comes.
const LIVE: Try = Try { attempt: u32::MAX, number: u32::MAX };

/// The command, aimed at the try that is at work, and at the present.
fn aimed(mut command: RunCommand, run: &Run, now: Timestamp) -> RunCommand {
    let live = |name: &ParticipantName| Try {
        attempt: run.attempt(),
        number: run.participant(name).map_or(1, |participant| participant.tries),
    };
    match &mut command {
        RunCommand::Progress { of, progress } if *of == LIVE => *of = live(&progress.participant),
        RunCommand::Complete { of, completed, .. } if *of == LIVE => *of = live(&completed.participant),
        RunCommand::Fail { of, participant, .. } | RunCommand::Retry { of, participant } if *of == LIVE => {
            *of = live(participant);
        }
        RunCommand::Recover { taken_over, .. } => *taken_over = now,
        RunCommand::TimedOut { attempt } if *attempt == LIVE.attempt => *attempt = run.attempt(),
        _ => {}
    }
    command
}

/// A command, and the seconds since the one before; clocks step back.
fn steps() -> impl Strategy<Value = Vec<(RunCommand, i64)>> {
    let wait = prop_oneof![20 => 0_i64..20, 1 => -1000_i64..0, 1 => 100_i64..1000];
    vec((command(), wait), 1..100)
}

/// Every state a story of commands passes through, with the events that led to each.
fn tell(new: NewRun, steps: Vec<(RunCommand, i64)>) -> Vec<(Vec<RunEvent>, Moment, Run)> {
    let mut run = Run::default();
    let mut moment = Moment { time: Timestamp(1_000_000_000), principal: "local:uid=0".into() };
    let mut story = Vec::new();
    for (command, seconds) in [(RunCommand::Request(new), 0)].into_iter().chain(steps) {
        moment.time.0 += seconds * 1_000_000;
        let command = aimed(command, &run, moment.time);
        let decision = run.decide(command.clone(), moment.time);
        assert_eq!(decision, run.decide(command, moment.time), "decide is deterministic");
        let Ok(events) = decision else { continue };
        events.iter().for_each(|event| run.apply(event, &moment));
        story.push((events, moment.clone(), run.clone()));
    }
    story
}

fn check_state(run: &Run) {
    let rows = run.participants();
    let running = rows.iter().filter(|row| row.status == ParticipantStatus::Running).count();
    let limit = run.request().expect("requested").max_parallel.max(1) as usize;
    assert!(running <= limit && (running == 0 || run.stage() == Stage::Working), "{running} in {:?}", run.stage());
    assert!(run.attempt() <= run.request().expect("requested").max_attempts.max(1), "attempt {}", run.attempt());
    if matches!(run.stage(), Stage::Sealing | Stage::Publishing | Stage::Ended) {
        assert!(rows.iter().all(|row| !row.status.is_open()), "no participant is left pending or running");
        assert!(run.outcome().is_some());
    }
    for row in rows.iter().filter(|row| row.status == ParticipantStatus::Running) {
        assert!(!run.wants_barrier() || row.frozen.is_some(), "nobody writes what is of another moment: {row:?}");
    }
    if run.outcome() == Some(Outcome::Completed) {
        assert_eq!(run.wants_barrier(), run.barrier().is_some(), "one moment is claimed where it was, and only there");
        assert!(rows.iter().all(|row| row.status == ParticipantStatus::Completed), "completed means all");
    }
    if run.stage() == Stage::Ended && run.cancel_requested() {
        assert_eq!(run.outcome(), Some(Outcome::Cancelled));
    }
    if run.stage() == Stage::Ended && run.timed_out() {
        assert_eq!(run.outcome(), Some(Outcome::Timeout));
    }
    if run.stage() == Stage::Ended && run.outcome() != Some(Outcome::Completed) {
        assert!(!run.error_summary().is_empty(), "an end that is not good has a reason");
    }
    if run.stage() == Stage::Ended && run.target().is_none() {
        assert_eq!(run.good_artifacts().count(), 0, "without a directory there is no artifact");
    }
    for row in rows {
        let good = row.status == ParticipantStatus::Completed;
        assert_eq!(good, !row.artifacts.is_empty(), "who completed has artifacts, and nobody else: {row:?}");
        let told =
            matches!(row.status, ParticipantStatus::Failed | ParticipantStatus::Skipped | ParticipantStatus::Timeout);
        assert!(!told || row.failure.is_some(), "who failed says why");
    }
    let mut files: Vec<_> = run.good_artifacts().map(|artifact| artifact.stored.file.as_str().to_lowercase()).collect();
    let count = files.len();
    files.sort();
    files.dedup();
    assert_eq!(files.len(), count, "a file name is used once in a run");
    let kept = run.stage() == Stage::Ended && run.target().is_some() && run.retained() == Retained::Kept;
    let at_work = run.is_open() && run.stage() != Stage::Queued;
    assert_eq!(!run.view(true).expect("requested").path.is_empty(), kept || at_work);
}

fn check_step(before: &Run, events: &[RunEvent], after: &Run) {
    for event in events {
        let event = Event::from(event.clone());
        let bytes = event.encode().expect("whatever is decided fits an event");
        let (event_type, version) = event.event_type();
        assert_eq!(Event::decode(event_type, version, &bytes), Ok(event));
    }
    if before.stage() == Stage::Ended {
        assert_eq!(after.stage(), Stage::Ended);
        assert_eq!((after.outcome(), after.target()), (before.outcome(), before.target()), "ended is final");
        assert_eq!(after.participants(), before.participants());
    }
    // Whoever waits for an answer has been asked: a run never comes to stand still.
    let effects = after.effects(events);
    if before.stage() != after.stage() && after.stage() != Stage::Queued {
        assert!(!effects.is_empty(), "{:?} -> {:?} by {events:?}", before.stage(), after.stage());
    }
    if after.stage() == Stage::Working {
        let rows = after.participants();
        let moving = rows.iter().any(|row| row.status == ParticipantStatus::Running || row.retry_at.is_some());
        assert!(moving, "somebody is at work, or comes back after a pause: {rows:?}");
    }
    if events.iter().any(|event| matches!(event, RunEvent::Interrupted(_))) {
        assert!(!effects.is_empty(), "recovery asks for what is owed: {events:?}");
    }
}

fn check_progress(before: Option<&(u32, Progress)>, run: &Run) -> (u32, Progress) {
    let shown = Progress::of(run, &BTreeMap::new(), true);
    let percents = |progress: &Progress| {
        let rows = progress.participants.iter().map(|row| row.percent);
        rows.chain([progress.overall_percent]).collect::<Vec<_>>()
    };
    assert!(percents(&shown).iter().all(|percent| (0.0..=100.0).contains(percent)), "{shown:?}");
    if let Some((attempt, earlier)) = before
        && *attempt == run.attempt()
    {
        for (was, is) in percents(earlier).into_iter().zip(percents(&shown)) {
            assert!(is >= was, "progress fell from {was} to {is} in attempt {attempt}");
        }
    }
    (run.attempt(), shown)
}

/// A test of random stories is worth what they get to see.
#[test]
fn the_stories_reach_every_end() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..4000 {
        let (new, steps) = (new_run(), steps()).new_tree(&mut runner).expect("a story").current();
        for (_, _, run) in tell(new, steps) {
            let end = run.outcome().filter(|_| !run.is_open()).map(|outcome| format!("{outcome:?}"));
            seen.insert(format!("{:?} {:?} {:?}", run.stage(), end, run.retained()));
        }
    }
    for outcome in ["Completed", "Partial", "Failed", "Cancelled", "Timeout"] {
        for retained in ["Kept", "Deleting", "Deleted"] {
            assert!(
                seen.contains(&format!("Ended Some(\"{outcome}\") {retained}")),
                "{outcome} {retained} in {seen:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000.max(ProptestConfig::default().cases), ..ProptestConfig::default() })]

    #[test]
    fn the_promises_of_a_run_hold_after_every_command(new in new_run(), steps in steps()) {
        let mut before = Run::default();
        let mut shown = None;
        for (events, _, run) in tell(new, steps) {
            check_step(&before, &events, &run);
            check_state(&run);
            shown = Some(check_progress(shown.as_ref(), &run));
            before = run;
        }
    }

    #[test]
    fn a_run_is_folded_again_to_the_same_state_from_any_snapshot(new in new_run(), steps in steps()) {
        let story = tell(new, steps);
        let all: Vec<_> = story
            .iter()
            .flat_map(|(events, moment, _)| events.iter().map(move |event| (event, moment)))
            .collect();
        let fold = |from: &Run, tail: &[(&RunEvent, &Moment)]| {
            let mut run = from.clone();
            tail.iter().for_each(|(event, moment)| run.apply(event, moment));
            run
        };
        let last = &story.last().expect("a request is granted").2;
        prop_assert_eq!(&fold(&Run::default(), &all), last);
        for cut in 0..=all.len() {
            let snapshot = fold(&Run::default(), &all[..cut]);
            prop_assert_eq!(&fold(&snapshot, &all[cut..]), last, "cut at {}", cut);
        }
    }
}
