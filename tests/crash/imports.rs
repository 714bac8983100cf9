//! An import killed at each point: the run is here whole, or not at all with the reason recorded.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast::endpoints::Credentials;

use crate::support::far::{far, send, server_id};
use crate::support::kill::{copy, expect_nothing_to_resume, for_each, kill_at, points, twin};
use crate::support::tree::Tree;
use crate::support::{Home, long, small_tree, text};

/// A home with one run that lies at a far side too.
fn away() -> (Home, String) {
    let home = Home::new();
    small_tree(&home.beside("data"));
    let run = home.back_up(["data"]);
    fs::create_dir(home.beside("far")).unwrap();
    let url = format!("file://{}", home.beside("far").display());
    send(&home, &run, &*far(&url, Credentials::default(), server_id(&home)));
    (home, run)
}

/// Adds an endpoint that nothing goes to by itself: homes of one id share it.
fn add(home: &Home, far: &Path) {
    let url = format!("file://{}", far.display());
    home.holdfast(["endpoints", "add", "far", "--enable", "false", "--url", &url]).run().expect(0);
}

fn trial(model: &Home) -> Home {
    let home = twin(model);
    copy(&model.beside("data"), &home.beside("data"));
    home
}

fn expect_whole(home: &Home, run: &str) {
    home.holdfast(["verify", run]).run().expect(0);
    home.holdfast(["restore", run, "--target", "out", "--overwrite"]).run().expect(0);
    Tree::read(&home.beside("data")).expect_same(&Tree::read(&home.beside("out/data")));
}

/// What was replaced may wait for the next owner of the home to be unlinked; what came and is not here may not.
fn expect_nothing_arriving(home: &Home) {
    assert_eq!(left(home, ".importing"), 0);
}

fn left(home: &Home, folder: &str) -> usize {
    fs::read_dir(home.path().join("backups").join(folder)).unwrap().count()
}

/// Kills an import of `model`'s run at each point, and hands each home over as the next process has left it.
fn killed_everywhere(model: &Home, import: &[&str], then: impl Fn(&Home) -> bool + Sync) {
    let whole = trial(model);
    let passed = points(&whole, import);
    let here = AtomicUsize::new(0);
    for_each("point", passed.len(), |number| {
        if !long() && number % 2 != 0 && !passed[number - 1].starts_with("import.") {
            return;
        }
        let home = trial(model);
        kill_at(&home, import, number);
        home.holdfast(["resume"]).run().expect(0);
        expect_nothing_to_resume(&home);
        expect_nothing_arriving(&home);
        here.fetch_add(usize::from(then(&home)), Ordering::SeqCst);
        let again = home.holdfast(import.iter().copied().filter(|arg| *arg != "--overwrite"));
        again.arg("--overwrite").run().expect(0);
        assert_eq!(left(&home, ".importing") + left(&home, ".deleting"), 0);
    });
    let here = here.into_inner();
    println!("{} points, {here} times it was here", passed.len());
    assert!(passed.iter().any(|point| point == "import.after") && here > 0);
}

#[test]
fn an_unknown_run_is_here_whole_or_there_is_no_such_run() {
    let (source, run) = away();
    let model = Home::new();
    copy(&source.beside("data"), &model.beside("data"));
    fs::create_dir(model.path()).unwrap();
    fs::copy(source.path().join("home.json"), model.path().join("home.json")).unwrap();
    add(&model, &source.beside("far"));
    killed_everywhere(&model, &["--json", "remote", "import", "far", &run], |home| {
        let runs = home.runs();
        let events = home.events_from(1);
        let of = |name: &str| events.iter().filter(|event| event["type"] == name).count();
        let (begun, done, failed) = (of("RunImportRequested"), of("RunImportCompleted"), of("RunImportFailed"));
        assert_eq!(begun, done + failed, "what was begun has an end");
        assert_eq!(runs.len(), done);
        if let [only] = &*runs {
            assert_eq!(text(&only["run_id"]), run);
            expect_whole(home, &run);
            let next = home.back_up(["data"]);
            assert!(next[16..] > run[16..], "{next} comes after {run}");
        }
        done > 0
    });
}

#[test]
fn a_run_that_is_replaced_is_whole_at_every_instant_of_that() {
    let (model, run) = away();
    add(&model, &model.beside("far"));
    killed_everywhere(&model, &["--json", "remote", "import", "far", &run, "--overwrite"], |home| {
        assert_eq!(home.runs().len(), 1);
        expect_whole(home, &run);
        home.show(&run)["imported_from"].is_object()
    });
}
