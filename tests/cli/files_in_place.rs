//! Files restored in place, as the one who does it sees it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::support::mount::Mount;
use crate::support::tree::Tree;
use crate::support::{Home, Random, awkward, root, small_tree, text};

/// A home with the participant `web` of these paths, which are below `data`.
fn configured(paths: &[&str], lines: &str) -> Home {
    let home = Home::new();
    fs::create_dir(home.path()).unwrap();
    configure(&home, paths, lines);
    home
}

fn configure(home: &Home, paths: &[&str], lines: &str) {
    let data = home.beside("data");
    let paths: Vec<_> = paths.iter().map(|path| format!("'{}'", data.join(path).display())).collect();
    let text = format!("[[participant]]\nname = 'web'\nkind = 'files'\npaths = [{}]\n{lines}\n", paths.join(", "));
    fs::write(home.path().join("config.toml"), text).unwrap();
}

const RESTORE: [&str; 3] = ["restore", "latest", "--in-place"];

/// How the restores ended that were begun, the newest first.
fn ended(home: &Home) -> Vec<String> {
    let rows = home.json(["restores"])["rows"].as_array().expect("rows").clone();
    rows.iter().map(|row| text(&row["status"])).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_awkward_tree_comes_back_in_its_own_place() {
    let home = configured(&["site"], "");
    let site = awkward::plant(&home.beside("data/site"));
    let backed_up = Tree::read(&site);
    home.holdfast(["backup"]).run().expect(0);

    fs::write(site.join("cache/more-since"), "cached").unwrap();
    fs::create_dir(site.join("new")).unwrap();
    fs::write(site.join("new/file"), "new").unwrap();
    let one = backed_up.nodes.iter().find(|(_, node)| node.kind == "file" && node.mode & 0o200 != 0);
    let one = site.join(one.expect("a file").0);
    fs::write(&one, "changed").unwrap();
    let changed = Tree::read(&site);

    // Nobody has said that nobody works with it.
    home.holdfast(RESTORE).run().expect(1).says("there is no maintenance");
    let planned = home.holdfast(RESTORE).arg("--dry-run").run();
    planned.expect(0).says("site is replaced as a whole").says("not in the run is kept").says("nothing was touched");
    home.holdfast(RESTORE).args(["--dry-run", "--delete"]).run().expect(0).says("is deleted, but for");
    changed.expect_same(&Tree::read(&site));
    assert_eq!(ended(&home), [""; 0]);

    home.holdfast(["maintenance", "on"]).run().expect(0);
    home.holdfast(RESTORE).run().expect(0).says("into participant web").says("every byte verified");
    let kept = Tree::read(&site);
    assert_eq!(fs::read_to_string(site.join("new/file")).unwrap(), "new");
    backed_up.expect_same(&kept.without(&["new", "cache/more-since"]));
    home.holdfast(RESTORE).arg("--delete").run().expect(0);
    assert!(!site.join("new").exists());
    // What no backup takes is still there.
    assert_eq!(fs::read_to_string(site.join("cache/more-since")).unwrap(), "cached");
    backed_up.expect_same(&Tree::read(&site).without(&["cache/more-since"]));
    assert_eq!(names(&home.beside("data")), ["site"]);
    assert_eq!(ended(&home), ["completed", "completed"]);
}

#[test]
fn onto_a_machine_that_has_lost_all_of_it_everything_comes_back() {
    let home = configured(&["srv/deep/site", "srv/file"], "");
    let data = home.beside("data");
    small_tree(&data.join("srv/deep/site"));
    fs::write(data.join("srv/file"), "a file").unwrap();
    home.holdfast(["backup"]).run().expect(0);
    let expected = Tree::read(&data.join("srv/deep/site"));
    fs::remove_dir_all(&data).unwrap();

    let planned = home.holdfast(RESTORE).arg("--dry-run").run();
    planned.expect(0).says("its 2 paths are replaced one after the other").says("the folders on the way to");
    assert!(!data.exists());
    home.holdfast(RESTORE).arg("--force").run().expect(0);
    expected.expect_same(&Tree::read(&data.join("srv/deep/site")));
    assert_eq!(fs::read_to_string(data.join("srv/file")).unwrap(), "a file");
    assert_eq!(names(&data.join("srv")), ["deep", "file"]);
}

#[test]
fn what_cannot_be_replaced_is_refused_before_anything_is_touched() {
    let home = configured(&["site"], "");
    let site = small_tree(&home.beside("data/site"));
    home.holdfast(["backup"]).run().expect(0);
    let before = Tree::read(&site);
    let refused = |mounts: &str, code: &str| {
        for more in ["--dry-run", "--force"] {
            let restore = home.holdfast(RESTORE).arg(more).with_mounts(mounts).run();
            restore.expect(1).says(code).says("--target");
        }
    };
    let at = |path: &str| site.join(path).display().to_string();
    refused(&format!("mount --bind '{0}' '{0}'", at("")), "FILES_MOUNTED");
    refused(&format!("mount --bind '{}' '{}'", at("etc"), at("empty")), "FILES_MOUNTED_BELOW");
    refused(&format!("mount -t tmpfs none '{}'", at("etc/deep")), "FILES_MOUNTED_BELOW");

    // Its path is called otherwise now; two that are one; a home in it.
    configure(&home, &["elsewhere"], "");
    home.holdfast(RESTORE).arg("--force").run().expect(1).says("FILES_NOT_A_GIVEN_PATH").says("--target");
    configure(&home, &["site", "site/etc"], "");
    home.holdfast(RESTORE).arg("--force").run().expect(1).says("FILES_OVERLAP");
    before.expect_same(&Tree::read(&site));
    assert_eq!(names(&home.beside("data")), ["site"]);
    assert_eq!(ended(&home), [""; 0], "what was not begun is not recorded");
}

#[test]
fn paths_that_changed_their_order_are_not_taken_for_each_other() {
    let home = configured(&["one/site", "two/site"], "");
    let data = home.beside("data");
    small_tree(&data.join("one/site"));
    small_tree(&data.join("two/site"));
    fs::write(data.join("two/site/only"), "of the second").unwrap();
    home.holdfast(["backup"]).run().expect(0);
    let before = (Tree::read(&data.join("one/site")), Tree::read(&data.join("two/site")));
    configure(&home, &["two/site", "one/site"], "");
    home.holdfast(RESTORE).arg("--force").run().expect(1).says("FILES_AMBIGUOUS").says("--target");
    configure(&home, &["one/site", "two/site"], "exclude = ['*.new']");
    home.holdfast(RESTORE).arg("--force").run().expect(1).says("FILES_AMBIGUOUS");
    configure(&home, &["one/site", "two/site"], "");
    fs::remove_file(data.join("two/site/only")).unwrap();
    home.holdfast(RESTORE).args(["--dry-run"]).run().expect(0).says("by `site-2` of the run");
    home.holdfast(RESTORE).args(["--force", "--delete"]).run().expect(0);
    before.0.expect_same(&Tree::read(&data.join("one/site")));
    before.1.expect_same(&Tree::read(&data.join("two/site")));
}

#[test]
fn two_participants_that_replace_the_same_are_restored_one_by_one() {
    let home =
        configured(&["site"], "[[participant]]\nname = 'hosts'\nkind = 'files'\npaths = ['DATA/site/etc/hosts']");
    let config = home.path().join("config.toml");
    let text = fs::read_to_string(&config).unwrap().replace("DATA", &home.beside("data").display().to_string());
    fs::write(&config, text).unwrap();
    let site = small_tree(&home.beside("data/site"));
    home.holdfast(["backup"]).run().expect(0);
    let before = Tree::read(&site);
    home.holdfast(RESTORE).arg("--force").run().expect(1).says("hosts lies in").says("--participant");
    assert_eq!(ended(&home), [""; 0]);
    // The folder around a path has the time of the change: that of the outer one comes back with it.
    for name in ["hosts", "web"] {
        home.holdfast(RESTORE).args(["--force", "--participant", name]).run().expect(0);
    }
    before.expect_same(&Tree::read(&site));
}

#[test]
fn a_path_around_the_home_is_never_replaced() {
    let home = Home::new();
    let around = home.beside("");
    fs::write(home.beside("file"), "x").unwrap();
    fs::create_dir(home.path()).unwrap();
    let text = format!("[[participant]]\nname = 'web'\nkind = 'files'\npaths = ['{}']\n", around.display());
    fs::write(home.path().join("config.toml"), text).unwrap();
    home.holdfast(["backup"]).run().expect(0);
    home.holdfast(RESTORE).arg("--force").run().expect(1).says("FILES_HOLDS_OWN").says("--target");
}

#[test]
fn a_state_that_cannot_be_kept_whole_keeps_the_restore_from_beginning() {
    if !root() {
        return;
    }
    let home = configured(&["site"], "");
    let site = small_tree(&home.beside("data/site"));
    home.holdfast(["backup"]).run().expect(0);
    fs::write(site.join("etc/hosts"), "changed").unwrap();
    fs::write(site.join("secret"), "of somebody else").unwrap();
    fs::set_permissions(site.join("secret"), Permissions::from_mode(0o600)).unwrap();
    chown(site.join("secret"), Some(12345), Some(12345)).unwrap();
    let before = Tree::read(&site);
    let restore = home.holdfast(RESTORE).arg("--force").without_privileges().run();
    restore.expect(1).says("STATE_NOT_WHOLE").says("secret").says("best_effort");
    before.expect_same(&Tree::read(&site));
    assert_eq!((ended(&home), names(&home.beside("data"))), (vec!["failed".to_owned()], vec!["site".to_owned()]));
}

#[test]
fn without_room_beside_the_live_data_nothing_is_begun() {
    if !root() {
        return;
    }
    let home = configured(&["disk/site"], "");
    let _disk = Mount::small_disk(&home.beside("data/disk"), 12);
    let site = small_tree(&home.beside("data/disk/site"));
    fs::write(site.join("large"), Random(3).bytes(8 << 20)).unwrap();
    home.holdfast(["backup"]).run().expect(0);
    let before = Tree::read(&site);
    home.holdfast(RESTORE).arg("--dry-run").run().expect(1).says("bytes free and").says("Nothing was touched");
    home.holdfast(RESTORE).arg("--force").run().expect(1).says("bytes free and");
    before.expect_same(&Tree::read(&site));
    assert_eq!(names(&home.beside("data/disk")), ["site"]);
}

#[test]
fn a_tree_that_its_owner_may_not_write_is_replaced_by_who_is_not_root() {
    let home = configured(&["site"], "");
    let site = small_tree(&home.beside("data/site"));
    let readme = site.join("readme.txt");
    fs::set_permissions(&site, Permissions::from_mode(0o555)).unwrap();
    let backed_up = Tree::read(&site);
    home.holdfast(["backup"]).without_privileges().run().expect(0);
    fs::write(&readme, "changed").unwrap();
    // What is live cannot be moved by him.
    let refused = home.holdfast(RESTORE).arg("--force").without_privileges().run();
    refused.expect(1).says("FILES_NOT_PERMITTED").says("as root");
    fs::set_permissions(&site, Permissions::from_mode(0o755)).unwrap();
    home.holdfast(RESTORE).arg("--force").without_privileges().run().expect(0);
    backed_up.expect_same(&Tree::read(&site));
    assert_eq!(names(&home.beside("data")), ["site"]);
}
