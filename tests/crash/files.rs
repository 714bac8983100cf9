//! Files restored in place, killed at each point on the way there and on the way back: at the next start they are all as in the backup or all
//! as before, bytes and metadata, and nothing is left beside them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::kill::{copy, for_each, kill_at, points, twin};
use crate::support::tree::Tree;
use crate::support::{Home, small_tree};

const RESTORE: [&str; 5] = ["restore", "latest", "--in-place", "--force", "--json"];

/// A home whose files are of two paths, one of which has another one's hard link and one that will be gone; beside them a command whose
/// check of what it restored fails, where one is asked for.
fn configure(home: &Home, fails: bool) {
    let data = home.beside("data");
    let data = data.display();
    let mut text = format!(
        "[[participant]]\nname = 'web'\nkind = 'files'\nexclude = ['*.log']\npaths = ['{data}/one', '{data}/in/two', '{data}/three']\n"
    );
    if fails {
        text.push_str(&format!(
            "[[participant]]\nname = 'db'\nkind = 'command'\ncommand = ['cat', '{data}/../rows']\nrestore = ['sh', '-c', 'cat > /dev/null']\n\
             verify = ['false']\ndepends_on = ['web']\n"
        ));
    }
    fs::write(home.path().join("config.toml"), text).unwrap();
}

/// A home with a backup, and data that has changed since.
fn prepared(fails: bool) -> Home {
    let home = Home::new();
    let data = home.beside("data");
    small_tree(&data.join("one"));
    small_tree(&data.join("in/two"));
    fs::write(data.join("three"), "a file").unwrap();
    fs::hard_link(data.join("three"), data.join("in/two/same")).unwrap();
    fs::write(home.beside("rows"), "1\n2\n").unwrap();
    fs::create_dir(home.path()).unwrap();
    configure(&home, fails);
    home.holdfast(["backup"]).run().expect(0);

    fs::write(data.join("one/readme.txt"), "changed").unwrap();
    fs::remove_file(data.join("one/etc/hosts")).unwrap();
    fs::set_permissions(data.join("one/etc"), Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(data.join("one/new")).unwrap();
    fs::write(data.join("one/new/later.log"), "later").unwrap();
    symlink("nowhere", data.join("one/new/link")).unwrap();
    fs::remove_dir_all(data.join("in")).unwrap();
    fs::write(data.join("three"), "another file").unwrap();
    home
}

/// The data, and whatever lies beside it.
fn state(home: &Home) -> Tree {
    let mut tree = Tree::read(&home.beside("data"));
    // Names came and went in these: they are no part of what is restored.
    for folder in ["", "in"] {
        tree.nodes.remove(Path::new(folder));
    }
    tree
}

fn trial(model: &Home, fails: bool) -> Home {
    let home = twin(model);
    copy(&model.beside("data"), &home.beside("data"));
    copy(&model.beside("rows"), &home.beside("rows"));
    configure(&home, fails);
    home
}

/// Kills the restore at each point, and says how often all was as in the backup after the next start, and how often as before.
fn kill_at_each_point(args: &[&str], fails: bool) -> [usize; 2] {
    let model = prepared(fails);
    let before = state(&model);
    let whole = trial(&model, fails);
    let passed = if fails { points_of_a_failure(&whole, args) } else { points(&whole, args) };
    let after = state(&whole);
    assert!(passed.iter().filter(|point| *point == "exchange.after").count() >= 3, "{passed:?}");
    if fails {
        before.expect_same(&after);
    } else {
        assert!(!before.differences(&after).is_empty());
    }
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    for_each("point", passed.len(), |number| {
        let home = trial(&model, fails);
        kill_at(&home, args, number);
        home.holdfast(["resume"]).run().expect(0);
        let found = state(&home);
        let is_before = before.differences(&found).is_empty();
        if !is_before {
            after.expect_same(&found);
        }
        counts[usize::from(is_before)].fetch_add(1, Ordering::SeqCst);
    });
    let counts = counts.map(AtomicUsize::into_inner);
    println!("{} points, {} as in the backup, {} as before", passed.len(), counts[0], counts[1]);
    counts
}

/// The points of a restore that does not come to a good end.
fn points_of_a_failure(home: &Home, args: &[&str]) -> Vec<String> {
    let trace = home.beside("points");
    home.holdfast(args).env("HOLDFAST_FAULT_TRACE", &trace).run().expect(1);
    fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn killed_at_each_point_of_a_restore_of_files_all_are_of_the_backup_or_all_as_before() {
    let [backed_up, before] = kill_at_each_point(&RESTORE, false);
    assert!(backed_up > 0 && before > 0);
}

#[test]
fn killed_at_each_point_of_a_restore_with_deletion_nothing_is_between() {
    let args = [&RESTORE[..], &["--delete"]].concat();
    let [backed_up, before] = kill_at_each_point(&args, false);
    assert!(backed_up > 0 && before > 0);
}

#[test]
fn killed_at_each_point_of_the_way_back_all_files_are_as_before() {
    let [_, before] = kill_at_each_point(&RESTORE, true);
    assert!(before > 0);
}
