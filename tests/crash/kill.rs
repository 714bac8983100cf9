//! Killed at any instant, nothing that was recorded is lost, and the next start brings work to a good end or says why not.
//!
//! `HOLDFAST_TEST_SEED` repeats random instants, `HOLDFAST_TEST_LONG=1` tries more of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::kill::{
    Came, copy, events, expect_all_still_there, expect_good, expect_no_leftovers, expect_nothing_to_resume,
    expect_recovery, for_each, kill_at, killed_after, points, twin, types_of,
};
use crate::support::tree::Tree;
use crate::support::{Home, Random, large_tree, long, seed, small_tree};

const BACKUP: [&str; 3] = ["--json", "backup", "source"];

#[test]
fn a_first_backup_killed_at_each_fault_point_is_resumed_to_a_verified_run() {
    let model = Home::new();
    let source = small_tree(&model.beside("source"));
    let passed = points(&model, &BACKUP);
    println!("{} points: {}", passed.len(), passed.join(" "));
    let came = Mutex::new(Vec::new());

    for_each("fault point", passed.len(), |number| {
        let home = Home::new();
        let source = copy(&source, &home.beside("source"));
        let killed = kill_at(&home, &BACKUP, number);
        let end = expect_recovery(&home, Some(&killed), &[], &source);
        came.lock().unwrap().push((killed.in_time(), end));
    });

    let came = came.into_inner().unwrap();
    let resumed = came.iter().filter(|(_, end)| *end == Came::BackByResume).count();
    let late = came.iter().filter(|(in_time, _)| !in_time).count();
    println!("{} runs: {resumed} resumed, {late} ended before they were killed", came.len());
    assert!(resumed * 2 > came.len(), "most points lie within the run: only {resumed} of {} were resumed", came.len());
    assert!(late * 10 <= came.len(), "{late} of {} were never killed", came.len());
}

#[test]
fn a_later_backup_killed_at_each_fault_point_leaves_the_earlier_ones_alone() {
    let model = Home::new();
    let source = small_tree(&model.beside("source"));
    let first = model.back_up(["source"]);
    let earlier = events(&model);
    let passed = points(&twin_with(&model, &source), &BACKUP);

    for_each("fault point", passed.len(), |number| {
        // The first run's points are those of every run but for the first ones, so a third of them says enough each time.
        if !long() && number % 3 != 0 {
            return;
        }
        let home = twin_with(&model, &source);
        let killed = kill_at(&home, &BACKUP, number);
        expect_recovery(&home, Some(&killed), &earlier, &home.beside("source"));
        expect_good(&home, &first, &source);
    });
}

#[test]
fn a_backup_killed_at_random_instants_is_resumed_to_a_verified_run() {
    let instants = if long() { 500 } else { 50 };
    let mut random = Random(seed());
    let model = Home::new();
    let source = broad_tree(&model.beside("source"));
    let args = ["--json", "backup", "source", "--compression", "zstd:9"];
    let began = Instant::now();
    model.holdfast(args).run().expect(0);
    let whole = began.elapsed();
    println!("a whole run takes {whole:?}");
    let after: Vec<_> =
        (0..instants).map(|_| Duration::from_micros(random.below(whole.as_micros() as u64 * 11 / 10))).collect();
    let came = Mutex::new(Vec::new());

    for_each("random instant", after.len(), |number| {
        let home = Home::new();
        std::os::unix::fs::symlink(&source, home.beside("source")).unwrap();
        let mut run = home.holdfast(args).spawn();
        run.ends_within(after[number - 1]);
        // What a reader is shown now must never be gone after the kill that follows.
        let seen = events(&home);
        let finished = run.kill();
        assert!(matches!((finished.signal(), finished.code()), (Some(9), _) | (_, Some(0))), "{finished}");
        came.lock().unwrap().push(expect_recovery(&home, None, &seen, &home.beside("source")));
    });

    let came = came.into_inner().unwrap();
    let resumed = came.iter().filter(|end| **end == Came::BackByResume).count();
    println!("{resumed} of {} were resumed", came.len());
    assert!(resumed * 4 > came.len(), "too few kills came while a run was open: {resumed} of {}", came.len());
}

#[test]
fn a_resume_killed_at_each_fault_point_is_resumed_again() {
    let model = Home::new();
    let source = small_tree(&model.beside("source"));
    let stages = ["ParticipantStarted", "RunPublishRequested", "RunClassified", "RunStarted", "DefinitionPart"];
    for stage in &stages[..if long() { stages.len() } else { 2 }] {
        let open = killed_after(stage, &source, None);
        let seen = events(&open);
        let passed = points(&twin_with(&open, &source), &["--json", "resume"]);
        println!("{} points of a resume after {stage}", passed.len());
        for_each(stage, passed.len(), |number| {
            let home = twin_with(&open, &source);
            let killed = kill_at(&home, &["--json", "resume"], number);
            let end = expect_recovery(&home, Some(&killed), &seen, &home.beside("source"));
            assert_ne!(end, Came::ToNothing, "the run was there before");
        });
    }
}

#[test]
fn a_run_interrupted_three_times_fails_and_says_so() {
    let home = Home::new();
    large_tree(&home.beside("source"), 40);
    let slow = ["--json", "backup", "source", "--compression", "zstd:19"];
    for attempt in 1..=3 {
        let mut run = home.holdfast(if attempt == 1 { &slow[..] } else { &["--json", "resume"][..] }).spawn();
        if attempt > 1 {
            // What was recorded of the attempts before is told, too.
            run.wait_for_json("the attempt", |line| {
                line["event"]["type"] == "RunResumed" && line["event"]["data"]["attempt"] == attempt
            });
        }
        run.wait_for_json("a participant at work", |line| {
            line["message_type"] == "event" && line["event"]["type"] == "ParticipantProgressed"
        });
        assert_eq!(run.kill().signal(), Some(9), "killed while it works");
        let shown = home.show(&home.newest_run());
        assert_eq!((&shown["status"], &shown["attempt"]), (&"interrupted".into(), &attempt.into()), "{shown}");
    }

    home.holdfast(["resume"]).run().expect(1).says("ATTEMPTS_EXHAUSTED");

    let shown = home.show(&home.newest_run());
    assert_eq!(shown["status"], "failed");
    assert!(shown["error_summary"].as_str().unwrap().contains("ATTEMPTS_EXHAUSTED"), "{shown}");
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(10);
    expect_nothing_to_resume(&home);
    expect_no_leftovers(&home);
}

#[test]
fn a_backup_that_finds_an_interrupted_run_brings_it_to_its_end_first() {
    let scratch = Home::new();
    let source = small_tree(&scratch.beside("source"));
    let open = killed_after("ParticipantStarted", &source, None);
    let interrupted = open.newest_run();

    let second = open.back_up(["source"]);

    assert_ne!(second, interrupted);
    let rows = open.runs();
    assert_eq!((&rows[0]["run_id"], &rows[1]["run_id"]), (&second.clone().into(), &interrupted.clone().into()));
    expect_good(&open, &interrupted, &source);
    expect_good(&open, &second, &source);
    expect_nothing_to_resume(&open);
}

#[test]
fn a_run_whose_directory_was_taken_away_while_it_was_open_fails_and_says_so() {
    let scratch = Home::new();
    let source = small_tree(&scratch.beside("source"));
    let open = killed_after("RunPublishRequested", &source, None);
    let run = open.newest_run();
    for place in [".running", "completed"] {
        let _ = fs::remove_dir_all(open.path().join("backups").join(place).join(&run));
    }

    open.holdfast(["resume"]).run().expect(1).says("RUN_DIRECTORY_MISSING");

    assert_eq!(open.show(&run)["status"], "failed");
    expect_nothing_to_resume(&open);
    expect_no_leftovers(&open);
}

#[test]
fn a_delete_killed_at_each_fault_point_is_finished_by_the_next_start_or_was_never_begun() {
    let model = Home::new();
    let source = small_tree(&model.beside("source"));
    let doomed = model.back_up(["source"]);
    let kept = model.back_up(["source"]);
    let seen = events(&model);
    let delete = ["delete", doomed.as_str()];
    let passed = points(&twin_with(&model, &source), &delete);
    println!("{} points: {}", passed.len(), passed.join(" "));

    for_each("fault point", passed.len(), |number| {
        let home = twin_with(&model, &source);
        kill_at(&home, &delete, number);
        expect_all_still_there(&home, &seen);
        let before = events(&home);
        let asked = types_of(&before, &format!("run/{doomed}")).contains(&"RunDeleteRequested".to_owned());
        home.holdfast(["runs"]).run().expect(0);
        assert_eq!(events(&home), before, "listing runs recorded something");

        home.holdfast(["resume"]).run().expect(0);

        if asked {
            assert_eq!(home.show(&doomed)["deleted"], true);
            assert!(types_of(&events(&home), &format!("run/{doomed}")).contains(&"RunDeleted".to_owned()));
            home.holdfast(["restore", &doomed, "--target", "out"]).run().expect(10);
            home.holdfast(delete).run().expect(10);
        } else {
            expect_good(&home, &doomed, &home.beside("source"));
            home.holdfast(delete).run().expect(0);
        }
        expect_good(&home, &kept, &home.beside("source"));
        expect_nothing_to_resume(&home);
        expect_no_leftovers(&home);
    });
}

#[test]
fn a_restore_killed_at_each_fault_point_is_there_whole_or_not_at_all() {
    let model = Home::new();
    let source = small_tree(&model.beside("source"));
    model.back_up(["source"]);
    let passed = points(&twin_with(&model, &source), &RESTORE);
    println!("{} points: {}", passed.len(), passed.join(" "));

    for_each("fault point", passed.len(), |number| {
        let home = twin_with(&model, &source);
        let seen = events(&home);
        kill_at(&home, &RESTORE, number);
        expect_restore_settled(&home, &seen);
    });
}

#[test]
fn a_restore_killed_at_random_instants_is_there_whole_or_not_at_all() {
    let instants = if long() { 200 } else { 20 };
    let mut random = Random(seed());
    let model = Home::new();
    let source = broad_tree(&model.beside("source"));
    model.back_up(["source"]);
    let began = Instant::now();
    model.holdfast(RESTORE).run().expect(0);
    let whole = began.elapsed();
    println!("a whole restore takes {whole:?}");
    let after: Vec<_> =
        (0..instants).map(|_| Duration::from_micros(random.below(whole.as_micros() as u64 * 11 / 10))).collect();

    for_each("random instant", after.len(), |number| {
        let home = twin(&model);
        std::os::unix::fs::symlink(&source, home.beside("source")).unwrap();
        let seen = events(&home);
        let mut restore = home.holdfast(RESTORE).spawn();
        restore.ends_within(after[number - 1]);
        restore.kill();
        expect_restore_settled(&home, &seen);
    });
}

const RESTORE: [&str; 5] = ["--json", "restore", "latest", "--target", "place/out"];

/// After a restore into a folder that was not there was killed: it is there whole or not at all, also after the next start, which
/// takes away what was made ready and records the end.
fn expect_restore_settled(home: &Home, seen: &[Value]) {
    expect_all_still_there(home, seen);
    let source = Tree::read(&fs::canonicalize(home.beside("source")).unwrap());
    let out = home.beside("place/out");
    let whole = || {
        let there = out.exists();
        if there {
            source.expect_same(&Tree::read(&out.join("source")));
        }
        there
    };
    let there_before = whole();

    home.holdfast(["resume"]).run().expect(0);

    // What was ready is put in place by the next start, what was not is taken away.
    let there = whole();
    assert!(there || !there_before, "the next start took a whole restore away");
    let beside = fs::read_dir(home.beside("place")).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(beside, usize::from(there), "what was made ready was left beside the target");
    expect_restore_recorded(home, seen, there);
    expect_nothing_to_resume(home);
    // Whatever owns the home next takes away the claim of a restore that was killed before it was recorded.
    home.holdfast(["verify", "latest"]).run().expect(0);
    expect_no_leftovers(home);
    if !there {
        home.holdfast(RESTORE).run().expect(0);
        assert!(whole(), "a restore after a killed one works");
    }
}

/// The end of a restore that was recorded is what is there: `RestoreCompleted` of one that is in place, else `RestoreFailed`.
fn expect_restore_recorded(home: &Home, seen: &[Value], in_place: bool) {
    for restore in events(home).iter().skip(seen.len()).filter(|event| event["type"] == "RestoreRequested") {
        let types = types_of(&events(home), restore["stream"].as_str().unwrap());
        let end = if in_place { "RestoreCompleted" } else { "RestoreFailed" };
        assert!(matches!(types[..], [_, ref found] if found == end), "{types:?}, and in place: {in_place}");
    }
}

#[test]
fn a_restore_into_an_empty_folder_killed_at_each_fault_point_is_there_whole_or_not_at_all() {
    let model = Home::new();
    small_tree(&model.beside("source"));
    small_tree(&model.beside("second"));
    fs::create_dir_all(model.beside("place/out")).unwrap();
    model.back_up(["source", "second"]);
    let ready = || {
        let home = twin_with(&model, &model.beside("source"));
        fs::create_dir_all(home.beside("place/out")).unwrap();
        home
    };
    let passed = points(&ready(), &RESTORE);

    for_each("fault point", passed.len(), |number| {
        let home = ready();
        let seen = events(&home);
        kill_at(&home, &RESTORE, number);
        home.holdfast(["resume"]).run().expect(0);
        let out = home.beside("place/out");
        let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert!(names.is_empty() || names == ["second", "source"], "in part, or with what was made ready: {names:?}");
        if !names.is_empty() {
            Tree::read(&home.beside("source")).expect_same(&Tree::read(&out.join("source")));
        }
        expect_restore_recorded(&home, &seen, !names.is_empty());
        home.holdfast(["verify", "latest"]).run().expect(0);
        expect_no_leftovers(&home);
    });
}

/// A twin of a home with the source beside it.
fn twin_with(home: &Home, source: &Path) -> Home {
    let twin = twin(home);
    copy(source, &twin.beside("source"));
    twin
}

/// A tree of many small files and a few larger ones, for runs that take long enough to be killed anywhere in them.
fn broad_tree(at: &Path) -> PathBuf {
    let mut random = Random(11);
    for folder in 0..20 {
        let folder = at.join(format!("folder-{folder:02}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..20 {
            let length = random.below(9000) as usize;
            fs::write(folder.join(format!("file-{file:03}")), random.bytes(length)).unwrap();
        }
    }
    large_tree(&at.join("large"), 6);
    at.to_owned()
}
