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
    assert_eq!((&summary["participant"], &summary["artifact"]), (&"db".into(), &"shop.dump".into()), "{summary}");
    assert_eq!(text(&summary["output"]), format!("db {run}\n"));
    let last = last_of_restore(&home);
    assert_eq!(last["type"], "RestoreCompleted", "{last}");
    restore(&home).expect(0).says("into participant db").says("every byte verified").says(&format!("  db {run}"));
    assert_eq!(fs::read_dir(home.path().join("backups/.restoring")).unwrap().count(), 0, "no claim is left");
}

#[test]
fn a_command_that_fails_is_told_and_recorded() {
    let home = backed_up("restore = 'cat > /dev/null; echo \"no such table\" >&2; exit 7'");
    restore(&home).expect(1).says("status 7").says("\n    no such table").says("not complete");
    let last = last_of_restore(&home);
    assert_eq!(last["type"], "RestoreFailed", "{last}");
    assert!(last.to_string().contains("COMMAND_FAILED"), "{last}");

    configure(&home, "restore = 'head -c 100 > taken'");
    restore(&home).expect(1).says("without reading all");
    assert!(last_of_restore(&home).to_string().contains("COMMAND_STOPPED_READING"));
}

#[test]
fn a_damaged_artifact_is_never_fed() {
    let home = backed_up("restore = 'touch begun; cat > /dev/null'");
    let artifact = home.run_dir("latest").join("shop.dump.lz4");
    let mut bytes = fs::read(&artifact).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    fs::write(&artifact, bytes).unwrap();
    restore(&home).expect(4).says("Nothing was restored");
    assert!(!home.beside("begun").exists(), "the command was run");
    assert_eq!(last_of_restore(&home)["type"], "RestoreFailed");
}

#[test]
fn what_cannot_be_restored_in_place_is_told_with_what_can_be_done() {
    let home = backed_up("");
    let refused = restore(&home);
    refused.expect(2).says("no `restore` command").says("restore = [").says("holdfast dump");
    let files = home.holdfast(["restore", "latest", "--participant", "web", "--in-place"]).run();
    files.expect(2).says("tree of files").says("--target");
    home.holdfast(["restore", "latest", "--in-place"]).run().expect(2).says("--participant");
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
    let restore = home.holdfast(RESTORE).spawn();
    let pid = pid(&mut pipe);
    home.holdfast(["backup", "--lock-wait", "0"]).run().expect(11).says("restore");
    home.holdfast(["dump", "latest", "--participant", "db"]).run().expect(0);
    restore.signal(Signal::INT);
    restore.wait().expect(130).says("not complete");
    assert!(!runs(pid), "the command still runs");
    let last = last_of_restore(&home);
    assert!(last["type"] == "RestoreFailed" && last.to_string().contains("RESTORE_CUT_SHORT"), "{last}");
}

#[test]
fn a_command_that_is_ended_never_takes_half_of_its_input_for_all() {
    let at_term = "cat > /dev/null && touch whole; exit";
    let home = backed_up(&format!("restore = 'trap \"{at_term}\" TERM; echo $$ > pids; sleep 1000 & wait'"));
    let mut pipe = pids(&home);
    let restore = home.holdfast(RESTORE).spawn();
    let pid = pid(&mut pipe);
    restore.signal(Signal::INT);
    restore.wait().expect(130);
    assert!(!runs(pid) && !home.beside("whole").exists(), "it saw the end of its input");
}

#[test]
fn a_killed_restore_is_settled_by_the_next_start() {
    let home =
        backed_up("restore = 'head -c 10 > part; setsid bash -c \"echo \\$\\$ > pids; exec sleep 1000\" & wait'");
    let mut pipe = pids(&home);
    let restore = home.holdfast(RESTORE).spawn();
    let pid = pid(&mut pipe);
    restore.kill();
    home.holdfast(["backup", "--participant", "web"]).run().expect(0).says("what it restored is not complete");
    assert!(!runs(pid), "what the command had started still runs");
    let last = last_of_restore(&home);
    assert!(last["type"] == "RestoreFailed" && last.to_string().contains("RESTORE_INTERRUPTED"), "{last}");
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
