//! How a participant may write its artifacts, and what becomes of those that break the rules.

use std::io::Write;
use std::sync::Arc;

use holdfast::engine::Backup;
use holdfast::model::run::{MAX_ARTIFACTS, Outcome, ParticipantStatus};
use holdfast::participant::{Artifacts, ParticipantError};
use holdfast::pipeline::Compression;

use crate::support::engine::{Door, back_up, builder, came_to, config, expect_directory, good, module, write};
use crate::support::{Home, Random};

type Code = fn(&mut Artifacts) -> Result<(), ParticipantError>;

/// Participants that break the rules of names, each with the code it fails with.
const RULE_BREAKERS: [(&str, Code, &str); 10] = [
    ("nothing", |_| Ok(()), "SOURCE_EMPTY"),
    (
        "unfinished",
        |artifacts| {
            write(artifacts, "unfinished.whole", b"whole")?;
            artifacts.create("unfinished.half")?.write_all(b"half")?;
            Ok(())
        },
        "ARTIFACT_UNFINISHED",
    ),
    (
        "too-many",
        |artifacts| (0..=MAX_ARTIFACTS).try_for_each(|number| write(artifacts, &format!("too-many.{number}"), b"x")),
        "TOO_MANY_ARTIFACTS",
    ),
    ("climber", |artifacts| write(artifacts, "../climber", b"x"), "ARTIFACT_NAME_INVALID"),
    ("absolute", |artifacts| write(artifacts, "/tmp/absolute", b"x"), "ARTIFACT_NAME_INVALID"),
    ("nameless", |artifacts| write(artifacts, "", b"x"), "ARTIFACT_NAME_INVALID"),
    ("wordy", |artifacts| write(artifacts, &"w".repeat(200), b"x"), "ARTIFACT_NAME_INVALID"),
    ("hidden", |artifacts| write(artifacts, ".hidden", b"x"), "ARTIFACT_NAME_INVALID"),
    (
        "twice",
        |artifacts| {
            write(artifacts, "twice.data", b"one")?;
            write(artifacts, "TWICE.data", b"two")
        },
        "ARTIFACT_NAME_TAKEN",
    ),
    (
        "two-open",
        |artifacts| {
            let one = artifacts.create("two-open.one")?;
            let two = artifacts.create("two-open.two")?;
            one.finish()?;
            two.finish()
        },
        "ARTIFACT_OPEN",
    ),
];

#[test]
fn who_breaks_the_rules_of_artifacts_fails_at_the_first_try_and_leaves_nothing() {
    let home = Home::new();
    let mut builder = builder(&home);
    for (name, broken, _) in RULE_BREAKERS {
        builder = builder.participant_with(module(name).optional(), broken);
    }
    let engine = builder.participant_with(module("good"), good).start_blocking().unwrap();
    let run = back_up(&engine, Backup::full());
    for (name, _, code) in RULE_BREAKERS {
        assert_eq!(came_to(&run, name), (ParticipantStatus::Failed, code, 1), "{name}");
    }
    assert_eq!(run.outcome(), Some(Outcome::Partial));
    assert_eq!(expect_directory(&home, &run).into_keys().collect::<Vec<_>>(), ["good.data"]);
    engine.stop();
}

#[test]
fn as_many_artifacts_as_may_be_are_recorded_while_others_begin() {
    let home = Home::new();
    let many = |artifacts: &mut Artifacts| {
        (0..MAX_ARTIFACTS).try_for_each(|number| write(artifacts, &format!("many.{number}"), b"x"))
    };
    let mut builder = builder(&home).config(config(64, 2)).participant("many", many);
    for number in 0..64 {
        let first = vec!["many".parse().unwrap()];
        builder = builder.participant_with(module(&format!("after-{number}")).depends_on(first), good);
    }
    let engine = builder.start_blocking().unwrap();
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
    assert_eq!(run.good_artifacts().count(), MAX_ARTIFACTS + 64);
    engine.stop();
}

#[test]
fn the_names_of_the_run_itself_are_taken() {
    let home = Home::new();
    let named = |artifact: &'static str| move |artifacts: &mut Artifacts| write(artifacts, artifact, b"mine");
    let engine = builder(&home)
        .participant_with(module("manifest").optional(), named("manifest.json"))
        .participant_with(module("sums").optional(), named("sha256sums"))
        .participant_with(module("good"), good)
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full().compression(Compression::None));
    assert_eq!(came_to(&run, "manifest"), (ParticipantStatus::Failed, "ARTIFACT_NAME_TAKEN", 1));
    assert_eq!(came_to(&run, "sums"), (ParticipantStatus::Failed, "ARTIFACT_NAME_TAKEN", 1));
    assert_eq!(run.outcome(), Some(Outcome::Partial));
    expect_directory(&home, &run);

    // With an extension they are names as others.
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    assert_eq!(expect_directory(&home, &run)["manifest.json"], b"mine");
    engine.stop();
}

#[test]
fn a_name_that_two_participants_take_belongs_to_the_first() {
    let home = Home::new();
    let first = Door::default();
    let (waiting, opening) = (first.clone(), first);
    let engine = builder(&home)
        .participant_with(module("first"), move |artifacts: &mut Artifacts| {
            let mut sink = artifacts.create("accounts.snapshot")?;
            sink.write_all(b"of the first")?;
            waiting.pass();
            sink.finish()
        })
        .participant_with(module("second").optional(), move |artifacts: &mut Artifacts| {
            opening.wait_for(1);
            let taken = write(artifacts, "Accounts.Snapshot", b"of the second");
            opening.open();
            taken
        })
        .start_blocking()
        .unwrap();
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Partial));
    assert_eq!(came_to(&run, "second"), (ParticipantStatus::Failed, "ARTIFACT_NAME_TAKEN", 1));
    assert_eq!(expect_directory(&home, &run)["accounts.snapshot"], b"of the first");
    engine.stop();
}

#[test]
fn huge_writes_and_single_bytes_share_one_worker() {
    let home = Home::new();
    let huge = Arc::new(Random(3).bytes(40_000_000));
    let tiny = Arc::new(Random(4).bytes(3_000_000));
    let engine = {
        let (huge, tiny) = (huge.clone(), tiny.clone());
        builder(&home)
            .config(config(2, 1))
            .participant_with(module("huge"), move |artifacts: &mut Artifacts| write(artifacts, "huge", &huge))
            .participant_with(module("tiny"), move |artifacts: &mut Artifacts| {
                artifacts.expect_bytes(tiny.len() as u64);
                let mut sink = artifacts.create("tiny")?;
                tiny.chunks(1).try_for_each(|byte| sink.write_all(byte))?;
                sink.finish()
            })
            .start_blocking()
            .unwrap()
    };
    let run = back_up(&engine, Backup::full());
    assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
    let contents = expect_directory(&home, &run);
    assert!(contents["huge"] == *huge && contents["tiny"] == *tiny);
    engine.stop();
}
