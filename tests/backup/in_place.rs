//! A restore in place: a verified artifact into the participant's own command, recorded, and ended whole when it ends early.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use crate::support::{DEADLINE, Finished, Home, Random, small_tree, text};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};
use serde_json::Value;

/// A home whose configuration has the participants `db`, a command with the given lines beside, and `web`, files. `db` is backed up once.
fn backed_up(lines: &str) -> Home {
    let home = Home::new();
    fs::write(home.beside("rows"), Random(5).bytes(6_000_000)).unwrap();
    small_tree(&home.beside("site"));
    fs::create_dir(home.path()).unwrap();
    configure(&home, lines);
    home.holdfast(["backup"]).run().expect(0);
    home
}

fn configure(home: &Home, lines: &str) {
    let folder = home.beside("");
    let folder = folder.display();
    let text = format!(
        "[runs]\nmax_tries = 2\nretry_delay = '1ms'\n\
         [[participant]]\nname = 'db'\nkind = 'command'\nartifact = 'shop.dump'\nshell = true\n\
         directory = '{folder}'\ncommand = 'cat rows'\n{lines}\n\
         [[participant]]\nname = 'web'\nkind = 'files'\npaths = ['{folder}/site']\n"
    );
    fs::write(home.path().join("config.toml"), text).unwrap();
}

fn restore(home: &Home) -> Finished {
    home.holdfast(RESTORE).run()
}

const RESTORE: [&str; 6] = ["restore", "latest", "--participant", "db", "--in-place", "--force"];

/// The last event of the last restore that is in the log.
fn last_of_restore(home: &Home) -> Value {
    let events = home.events_from(1);
    let mut restores = events.into_iter().filter(|event| text(&event["stream"]).starts_with("restore/"));
    let mut last = restores.next_back().expect("a restore is recorded");
    // Its own first event stands before it.
    assert!(restores.any(|event| event["stream"] == last["stream"] && event["type"] == "RestoreRequested"), "{last}");
    last.take()
}

#[test]
fn the_command_takes_all_of_the_artifact() {
    let home = backed_up("restore = 'cat > taken; echo \"$HOLDFAST_PARTICIPANT $HOLDFAST_RUN_ID\" >&2'");
    let run = home.newest_run();
    let finished = home.holdfast(["--json"]).args(RESTORE).run();
    let summary = finished.expect(0).summary();
    assert_eq!(finished.err(), "", "with --json all is on standard output");
    assert_eq!(fs::read(home.beside("taken")).unwrap(), fs::read(home.beside("rows")).unwrap());
    let (db, status) = (&summary["participants"][0], &summary["status"]);
    assert_eq!((&db["name"], status), (&"db".into(), &"completed".into()), "{summary}");
    assert_eq!(text(&db["output"]), format!("db {run}\n"));
    let last = last_of_restore(&home);
    assert_eq!(last["type"], "RestoreCompleted", "{last}");
    let again = restore(&home);
    again.expect(0).says("into participant db").says("every byte verified").says(&format!("  db {run}"));
    again.says("the state before is kept in");
    assert_eq!(fs::read_dir(home.path().join("backups/.restoring")).unwrap().count(), 0, "no claim is left");
}

#[test]
fn a_command_that_fails_is_told_and_recorded() {
    let home = backed_up("restore = 'cat > /dev/null; echo \"no such table\" >&2; exit 7'");
    restore(&home).expect(1).says("status 7").says("and said last: no such table").says("restore retry");
    let last = last_of_restore(&home);
    assert_eq!(last["type"], "RestoreRollbackFailed", "{last}");
    assert!(last.to_string().contains("COMMAND_FAILED"), "{last}");
    home.holdfast(["maintenance", "status"]).run().expect(0).says("maintenance is on").says("restore retry");

    configure(&home, "restore = 'head -c 100 > taken'");
    home.holdfast(RESTORE).args(["--safety", "none"]).run().expect(1).says("without reading all").says("Restore again");
    assert!(last_of_restore(&home).to_string().contains("NO_SAFETY_SNAPSHOT"));
}

#[test]
fn what_a_command_did_is_undone_by_the_state_before() {
    // Of the backup it takes a part only; of the state before, which is short, all.
    let home = backed_up("restore = 'head -c 20 > rows; cat | (! grep -q .)'");
    fs::write(home.beside("rows"), "newer rows").unwrap();
    restore(&home).expect(1).says("as before");
    assert_eq!(fs::read(home.beside("rows")).unwrap(), b"newer rows");
    assert_eq!(last_of_restore(&home)["type"], "RestoreRolledBack");

    let rejects =
        "restore = 'cat > rows'\nverify = 'test $(stat -c %s rows) -lt 100 || { echo too long >&2; exit 3; }'";
    configure(&home, rejects);
    restore(&home).expect(1).says("its verify").says("too long").says("as before");
    assert_eq!(fs::read(home.beside("rows")).unwrap(), b"newer rows");

    configure(&home, "restore = 'cat > rows'\nverify = 'test $(stat -c %s rows) -gt 100'");
    restore(&home).expect(0);
    assert_eq!(fs::read(home.beside("rows")).unwrap(), Random(5).bytes(6_000_000));
}

#[test]
fn the_state_before_is_kept_or_nothing_is_begun() {
    let home = backed_up("restore = 'touch begun; cat > /dev/null'");
    fs::remove_file(home.beside("rows")).unwrap();
    let refused = restore(&home);
    refused.expect(1).says("the state before cannot be kept").says("No such file").says("safety `none`");
    assert!(!home.beside("begun").exists(), "it was run");
    assert_eq!(last_of_restore(&home)["type"], "RestoreFailed");
    let without = home.holdfast(RESTORE).args(["--safety", "best_effort"]).run();
    without.expect(0).says("nothing is kept of the state before");
    assert!(home.beside("begun").exists());
}

#[test]
fn a_damaged_artifact_is_never_fed() {
    let home = backed_up("restore = 'touch begun; cat > /dev/null'");
    let artifact = home.run_dir("latest").join("shop.dump.lz4");
    let mut bytes = fs::read(&artifact).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    fs::write(&artifact, bytes).unwrap();
    restore(&home).expect(4).says("Nothing was touched");
    home.holdfast(RESTORE).args(["--dry-run"]).run().expect(4).says("Nothing was touched");
    assert!(!home.beside("begun").exists(), "the command was run");
    assert_eq!(last_of_restore(&home)["type"], "RestoreFailed");
}

#[test]
fn what_cannot_be_restored_in_place_is_told_with_what_can_be_done() {
    let home = backed_up("");
    let refused = restore(&home);
    refused.expect(2).says("take nothing back").says(": db;").says("restore = [").says("holdfast dump");
    home.holdfast(["restore", "latest", "--in-place"]).run().expect(2).says(" db").says("--participant");
    home.holdfast(["restore", "latest", "--in-place", "--participant", "none"]).run().expect(2).says("participant");
    home.holdfast(["restore", "latest"]).run().expect(2).says("--in-place").says("--target");
    home.holdfast(RESTORE).args(["--target", "out"]).run().expect(2);
    home.holdfast(RESTORE).args(["--path", "shop.dump"]).run().expect(2);
    let none = home.events_from(1).iter().all(|event| !text(&event["stream"]).starts_with("restore/"));
    assert!(none, "what was not begun is not recorded");
}

/// A restore command that says its process id through a pipe, and then takes nothing more.
const STANDS: &str = "restore = 'head -c 10 > part; echo $$ > pids; exec sleep 1000'";

/// Makes the pipe; open in both directions, so that neither side waits for the other.
fn pids(home: &Home) -> File {
    let path = home.beside("pids");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    OpenOptions::new().read(true).write(true).custom_flags(0x800).open(path).unwrap()
}

/// Whether a process is there and has not ended; what nobody has waited for yet is still listed after its end.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The process id that comes through the pipe.
fn pid(pipe: &mut File) -> Pid {
    let limit = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&*pipe, PollFlags::IN)], Some(&limit)), Ok(1), "the command does not begin");
    let mut heard = [0; 32];
    let length = pipe.read(&mut heard).unwrap();
    Pid::from_raw(String::from_utf8_lossy(&heard[..length]).trim().parse().unwrap()).unwrap()
}

#[test]
fn ctrl_c_ends_the_command_and_backups_wait_until_then() {
    let home = backed_up(STANDS);
    let mut pipe = pids(&home);
    let restore = home.holdfast(RESTORE).args(["--safety", "none"]).spawn();
    let pid = pid(&mut pipe);
    home.holdfast(["backup", "--lock-wait", "0"]).run().expect(11).says("restore");
    home.holdfast(["dump", "latest", "--participant", "db"]).run().expect(0);
    restore.signal(Signal::INT);
    restore.wait().expect(1).says("cancelled").says("Restore again");
    assert!(!runs(pid), "the command still runs");
    let last = last_of_restore(&home);
    assert!(last["type"] == "RestoreRollbackFailed" && last.to_string().contains("NO_SAFETY_SNAPSHOT"), "{last}");
}

#[test]
fn a_command_that_is_ended_never_takes_half_of_its_input_for_all() {
    let at_term = "cat > /dev/null && touch whole; exit";
    let home = backed_up(&format!("restore = 'trap \"{at_term}\" TERM; echo $$ > pids; sleep 1000 & wait'"));
    let mut pipe = pids(&home);
    let restore = home.holdfast(RESTORE).args(["--safety", "none"]).spawn();
    let pid = pid(&mut pipe);
    restore.signal(Signal::INT);
    restore.wait().expect(1);
    assert!(!runs(pid) && !home.beside("whole").exists(), "it saw the end of its input");
}

#[test]
fn a_killed_restore_is_settled_by_the_next_start() {
    let home = backed_up(
        "restore = 'if test -e part; then exec cat > taken; fi;
         head -c 10 > part; setsid bash -c \"echo \\$\\$ > pids; exec sleep 1000\" & wait'"
            .replace('\n', " ")
            .as_str(),
    );
    let mut pipe = pids(&home);
    let restore = home.holdfast(RESTORE).spawn();
    let pid = pid(&mut pipe);
    restore.kill();
    home.holdfast(["backup", "--participant", "web"]).run().expect(0).says("restore").says("completed");
    assert!(!runs(pid), "what the command had started still runs");
    assert_eq!(last_of_restore(&home)["type"], "RestoreCompleted");
    assert_eq!(fs::read(home.beside("taken")).unwrap(), Random(5).bytes(6_000_000));
}

#[test]
fn what_is_for_a_restore_in_place_is_refused_for_one_into_a_folder() {
    let home = backed_up("restore = 'cat > taken'");
    for words in [&["--dry-run"][..], &["--safety", "none"], &["--delete"], &["--force"], &["--timeout", "1h"]] {
        let restore =
            home.holdfast(["restore", "latest", "--overwrite", "--target"]).arg(home.beside("out")).args(words);
        restore.run().expect(2).says("cannot be used with");
        assert!(!home.beside("out").exists(), "it was restored");
    }
}

#[test]
fn what_could_not_be_rolled_back_is_not_backed_up_before_somebody_has_seen_to_it() {
    let home = backed_up("restore = 'cat > taken; test -e good'");
    home.holdfast(["maintenance", "on", "--reason", "the move"]).run().expect(0);
    restore(&home).expect(1).says("restore retry");
    let shown = home.holdfast(["status"]).run();
    shown.expect(0).says("half restored").says("restore retry");
    home.holdfast(["backup"]).run().expect(1).says("no state to back up").says("restore retry");
    home.holdfast(["backup", "--participant", "web"]).run().expect(0);

    let restore_id = text(&home.newest_restore()["restore_id"]);
    home.holdfast(["restore", "retry", &restore_id]).run().expect(1).says("status 1");
    fs::write(home.beside("good"), "").unwrap();
    home.holdfast(["restore", "retry", &restore_id]).run().expect(0).says("all is as before it");
    let now = home.holdfast(["maintenance", "status"]).run();
    now.expect(0).says("the move");
    home.holdfast(["maintenance", "off"]).run().expect(0);
    home.holdfast(["backup"]).run().expect(0);

    // Or somebody has put it right himself.
    fs::remove_file(home.beside("good")).unwrap();
    home.holdfast(RESTORE).args(["--safety", "none"]).run().expect(1).says("Restore again").says("maintenance off");
    home.holdfast(["backup"]).run().expect(1).says("no state to back up");
    let shown = home.holdfast(["restore", "show", &text(&home.newest_restore()["restore_id"])]).run();
    shown.expect(0).says("may hold neither");
    home.holdfast(["maintenance", "off"]).run().expect(0);
    home.holdfast(["backup"]).run().expect(0);
    assert!(!home.holdfast(["status"]).run().expect(0).out().contains("half restored"));
}

#[test]
fn the_state_before_of_what_cannot_stand_still_claims_no_moment() {
    let home = backed_up("restore = 'cat > taken'");
    restore(&home).expect(0);
    let kept = home.path().join(text(&home.newest_restore()["pre_restore_path"]));
    let manifest: Value = serde_json::from_slice(&fs::read(kept.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(
        (&manifest["consistency"]["mode"], &manifest["consistency"]["barrier_at"]),
        (&"concurrent".into(), &0.into())
    );
}

#[test]
fn an_interrupted_restore_whose_participant_is_gone_is_waited_for_by_nobody() {
    let restore_of = "restore = 'echo $$ > pids; exec sleep 1000'";
    let home = backed_up(restore_of);
    let mut pipe = pids(&home);
    let restoring = home.holdfast(RESTORE).args(["--safety", "none"]).spawn();
    pid(&mut pipe);
    restoring.kill();
    home.holdfast(["status"]).run().expect(0).says("has no end").says("resume");
    configure(&home, "");
    let refused = home.holdfast(["backup"]).run();
    refused.expect(11).says("was interrupted").says("give back");
    home.holdfast(["backup", "--participant", "web"]).run().expect(0);
    configure(&home, "restore = 'cat > taken'");
    home.holdfast(["resume"]).run().expect(0).says("completed");
    assert_eq!(fs::read(home.beside("taken")).unwrap(), Random(5).bytes(6_000_000));
    home.holdfast(["backup"]).run().expect(0);
}

#[test]
fn a_restore_that_was_cancelled_and_put_back_exits_as_cancelled() {
    let home = backed_up(
        "restore = 'if test -e begun; then exec cat > taken; fi; echo $$ > begun; echo $$ > pids; exec sleep 1000'",
    );
    let mut pipe = pids(&home);
    let restoring = home.holdfast(RESTORE).spawn();
    pid(&mut pipe);
    restoring.signal(Signal::INT);
    restoring.wait().expect(130).says("All is as before");
    assert_eq!(last_of_restore(&home)["type"], "RestoreRolledBack");
}

#[test]
fn show_says_what_a_failed_command_said() {
    let home = backed_up("");
    let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
    let config = config.replace("cat rows", "printf \"first\\\\tline\\\\n\\\\033[31mred\\\\n\" >&2; exit 3");
    fs::write(home.path().join("config.toml"), config).unwrap();
    home.holdfast(["backup"]).run().expect(1);
    let shown = home.holdfast(["show", &home.newest_run()]).run();
    shown.expect(0).says("participant db (command, critical): failed").says("  tries    2").says("status 3");
    shown.says("  output\n    first\\tline\n    \\u{1b}[31mred");
}
