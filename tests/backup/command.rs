//! Commands of other programs: what is good is told from what is not, and nothing of them is left behind.
//!
//! Real processes, started through the real program.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast::command::{Call, CommandDefinition, CommandParticipant, CommandSpec, Finished, Launcher, end_left_over};
use holdfast::participant::{Participant, ParticipantError, Preflight};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::participant::ChildV1;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

type Taken = Result<Finished, ParticipantError>;

fn launcher() -> Launcher {
    Launcher::of(env!("CARGO_BIN_EXE_holdfast"))
}

fn argv(words: &[&str]) -> CommandSpec {
    CommandSpec { argv: words.iter().map(|&word| word.to_owned()).collect(), ..CommandSpec::default() }
}

/// A script for `bash` with pipefail.
fn script(text: &str) -> CommandSpec {
    CommandSpec { shell: true, ..argv(&[text]) }
}

fn take(spec: &CommandSpec) -> (Taken, Vec<u8>) {
    let mut out = Vec::new();
    let taken = Call::new(spec, &launcher()).take(&mut out);
    (taken, out)
}

/// Takes what must be good.
fn output(spec: &CommandSpec) -> String {
    let (taken, out) = take(spec);
    let finished = taken.unwrap_or_else(|error| panic!("{error}: {}", error.output()));
    assert_eq!(finished.bytes, out.len() as u64);
    String::from_utf8(out).unwrap()
}

fn failure(spec: &CommandSpec) -> ParticipantError {
    take(spec).0.expect_err("it must fail")
}

fn assert_failed(error: &ParticipantError, kind: FailureKind, code: &str, text: &str) {
    let Failure { kind: is_kind, code: is_code, message } = error.failure();
    assert_eq!((*is_kind, is_code.as_str()), (kind, code), "{error}");
    assert!(message.contains(text), "{text:?} is not in {message:?}");
}

/// Whether the process has ended, or ends before the deadline.
fn ends(pid: Pid) -> bool {
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let within = Timespec { tv_sec: 20, tv_nsec: 0 };
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&within)) == Ok(1)
}

fn ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.is_empty() || stat.rsplit(')').next().unwrap().trim_start().starts_with('Z')
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

#[test]
fn a_good_command_gives_its_output_whole() {
    let (taken, out) = take(&script("head -c 10000000 /dev/zero | tr '\\0' x; echo note >&2"));
    let finished = taken.unwrap();
    assert_eq!((finished.bytes, finished.said.as_slice()), (10_000_000, b"note\n".as_slice()));
    assert!(out.iter().all(|&byte| byte == b'x'));
    assert_eq!(output(&argv(&["echo", "a b", "$HOME"])), "a b $HOME\n");
    // Nothing at all is for the participant to judge.
    assert_eq!(output(&argv(&["true"])), "");
}

#[test]
fn an_exit_status_fails_it_also_after_full_output() {
    let error = failure(&script("seq 1000; echo 'lost connection' >&2; exit 3"));
    assert_failed(&error, FailureKind::Retryable, "COMMAND_FAILED", "status 3");
    assert_eq!(error.output(), "lost connection\n");
}

#[test]
fn half_the_output_and_a_closed_pipe_is_waited_for_and_its_exit_counts() {
    // Output ends long before the exit: good and bad ends are still told apart.
    assert_eq!(output(&script("echo half; exec >&-; read -t 0.3 < <(tail -f /dev/null) || true; exit 0")), "half\n");
    let error = failure(&script("echo half; exec >&-; read -t 0.3 < <(tail -f /dev/null) || true; exit 1"));
    assert_failed(&error, FailureKind::Retryable, "COMMAND_FAILED", "status 1");
}

#[test]
fn a_signal_fails_it_by_name() {
    assert_failed(&failure(&script("echo x; kill -SEGV $$")), FailureKind::Retryable, "COMMAND_KILLED", "SIGSEGV");
    assert_failed(&failure(&script("kill -KILL $$")), FailureKind::Retryable, "COMMAND_KILLED", "SIGKILL");
}

#[test]
fn a_failing_first_stage_of_a_pipeline_fails_it() {
    let error = failure(&script("false | cat"));
    assert_failed(&error, FailureKind::Retryable, "COMMAND_FAILED", "status 1");
    assert_eq!(output(&script("echo a | cat")), "a\n");
}

#[test]
fn what_cannot_be_executed_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plain");
    std::fs::write(&file, "#!/bin/sh\necho ran\n").unwrap();
    let at = |path: &Path| argv(&[path.to_str().unwrap()]);
    let fatal = FailureKind::Fatal;
    assert_failed(&failure(&argv(&["holdfast-no-such"])), fatal, "COMMAND_NOT_FOUND", "holdfast-no-such");
    assert_failed(&failure(&at(&file)), fatal, "COMMAND_NOT_EXECUTABLE", "plain");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(output(&at(&file)), "ran\n");
    let nowhere = CommandSpec { directory: Some("/nowhere/at/all".into()), ..argv(&["true"]) };
    assert_failed(&failure(&nowhere), fatal, "COMMAND_DIRECTORY_UNUSABLE", "/nowhere/at/all");
    assert_failed(&failure(&argv(&[])), fatal, "COMMAND_INVALID", "argv");
    let secret = CommandSpec { env_file: [("PW".into(), "/no/such".into())].into(), ..argv(&["true"]) };
    assert_failed(&failure(&secret), fatal, "COMMAND_SECRET_UNREADABLE", "PW");
    // Statuses that launchers and shells use for such things are the command's own.
    for status in [125, 126, 127] {
        let error = failure(&script(&format!("exit {status}")));
        assert_failed(&error, FailureKind::Retryable, "COMMAND_FAILED", &status.to_string());
    }
}

#[test]
fn a_program_that_is_no_launcher_is_named() {
    for path in ["/bin/true", "/bin/echo", "/no/such/launcher"] {
        let error = Call::new(&argv(&["true"]), &Launcher::of(path)).take(&mut io::sink()).unwrap_err();
        assert_failed(&error, FailureKind::Fatal, "COMMAND_LAUNCHER_UNUSABLE", path);
    }
}

#[test]
fn output_that_a_grandchild_holds_open_is_not_taken_for_whole() {
    let child = Cell::new(None);
    let admit = |record| {
        child.set(Some(record));
        Ok(())
    };
    let spec = script("echo $BASHPID; setsid sleep 300 & sleep 300 & exit 0");
    let began = Instant::now();
    let mut out = Vec::new();
    let error = Call::new(&spec, &launcher()).admitted_by(&admit).take(&mut out).unwrap_err();
    assert_failed(&error, FailureKind::Fatal, "COMMAND_OUTPUT_HELD", "5 s");
    assert!(began.elapsed() >= Duration::from_secs(5));
    // Both are gone, the one in a session of its own too.
    assert_eq!(end_left_over(&child.get().unwrap()).unwrap().processes, 0);
}

#[test]
fn a_grandchild_that_ends_in_time_still_belongs_to_it() {
    assert_eq!(
        output(&script("(read -t 0.5 < <(tail -f /dev/null) || true; echo late) & echo early")),
        "early\nlate\n"
    );
}

#[test]
fn what_it_leaves_in_its_group_is_ended_with_it() {
    for end in ["exit 0", "exit 1"] {
        let (_, out) = take(&script(&format!("sleep 300 >&- 2>&- & echo $!; {end}")));
        assert!(ended(pid(&String::from_utf8(out).unwrap())));
    }
}

#[test]
fn a_flood_of_messages_neither_blocks_it_nor_is_kept() {
    let spec = script("head -c 100000000 /dev/zero | tr '\\0' e >&2; echo end >&2; echo data");
    let (taken, out) = take(&spec);
    let said = taken.unwrap().said;
    assert_eq!((out.as_slice(), said.len()), (b"data\n".as_slice(), 4096));
    assert!(said.ends_with(b"eee\nend\n") || said.ends_with(b"eeeend\n"));
}

/// Takes few bytes at a time.
struct Narrow(u64);

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(1000);
        self.0 += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_narrow_sink_gets_all_of_a_large_output() {
    let mut sink = Narrow(0);
    let spec = argv(&["dd", "if=/dev/zero", "bs=1M", "count=300", "status=none"]);
    let finished = Call::new(&spec, &launcher()).take(&mut sink).unwrap();
    assert_eq!((finished.bytes, sink.0), (300 << 20, 300 << 20));
}

/// Fails after so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_ends_the_command() {
    let began = Instant::now();
    let error = Call::new(&script("yes"), &launcher()).take(&mut Full(1 << 22)).unwrap_err();
    assert_failed(&error, FailureKind::Retryable, "PARTICIPANT_IO", "");
    assert!(began.elapsed() < Duration::from_secs(20));
}

/// Takes a script, and stops it as soon as it wrote something.
fn stopped_after_its_first_byte(text: &str) -> (ParticipantError, Vec<u8>) {
    struct Seen<'a>(&'a Cell<bool>, Vec<u8>);
    impl Write for Seen<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.set(true);
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let seen = Cell::new(false);
    let mut sink = Seen(&seen, Vec::new());
    let error = Call::new(&script(text), &launcher()).stopped_by(&|| seen.get()).take(&mut sink).unwrap_err();
    (error, sink.1)
}

#[test]
fn one_that_hangs_is_asked_to_end_first() {
    let (error, _) = stopped_after_its_first_byte("trap 'echo bye >&2; exit 0' TERM; echo up; sleep 300 & wait");
    assert_failed(&error, FailureKind::Cancelled, "COMMAND_STOPPED", "");
    assert_eq!(error.output(), "bye\n");
}

#[test]
fn one_that_does_not_listen_is_killed_with_all_it_started() {
    let text = "trap '' TERM; setsid sleep 300 & a=$!; sleep 300 & echo $a $! $$; while :; do wait; done";
    let (error, out) = stopped_after_its_first_byte(text);
    assert_failed(&error, FailureKind::Cancelled, "COMMAND_STOPPED", "");
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.split_whitespace().filter(|text| ended(pid(text))).count(), 3);
}

#[test]
fn it_is_recorded_before_it_runs_and_not_run_unless_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("ran");
    let spec = argv(&["touch", marker.to_str().unwrap()]);
    let refuse = |child: ChildV1| {
        assert!(!ended(Pid::from_raw(child.group as i32).unwrap()), "it waits");
        Err(Failure::new(FailureKind::Resource, "LOG_FULL", "no room"))
    };
    let error = Call::new(&spec, &launcher()).admitted_by(&refuse).take(&mut io::sink()).unwrap_err();
    assert_failed(&error, FailureKind::Resource, "LOG_FULL", "no room");
    assert!(!marker.exists());
    let record = RefCell::new(None);
    let admit = |child: ChildV1| {
        assert!(!marker.exists());
        *record.borrow_mut() = Some(child);
        Ok(())
    };
    let spec = script(&format!("touch {}; echo $HOLDFAST_CHILD $$ $PARTY", marker.display()));
    let mut out = Vec::new();
    Call::new(&spec, &launcher()).admitted_by(&admit).variable("PARTY", "db").take(&mut out).unwrap();
    let child = record.borrow().unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), format!("{} {} db\n", child.child_id, child.group));
    assert!(marker.exists() && child.started > 0);
}

#[test]
fn secrets_come_by_environment_and_are_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "tops3cret-42\n").unwrap();
    let spec = |text: &str| CommandSpec {
        env: [("WORD".into(), "plain".into())].into(),
        env_file: [("PW".into(), file.clone())].into(),
        ..script(text)
    };
    let at_admission = |child: ChildV1| {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", child.group)).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains("s3cret"));
        Ok(())
    };
    let show = spec("echo ${#PW} $WORD; cat /proc/$$/cmdline");
    let mut out = Vec::new();
    let finished = Call::new(&show, &launcher()).admitted_by(&at_admission).take(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("12 plain\n") && !out.contains("s3cret"), "{out}");
    assert_eq!(finished.said, b"");
    let error = failure(&spec("echo \"denied for $PW, $PW\" >&2; exit 2"));
    assert_eq!(error.output(), "denied for ***, ***\n");
    assert!(!format!("{error:?} {error} {show:?}").contains("s3cret"));
}

/// What the descriptors of this process lead to.
fn descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    entries.filter_map(|path| Some(std::fs::read_link(path).ok()?.to_str()?.to_owned())).collect()
}

#[test]
fn a_command_begins_as_programs_expect() {
    // Whoever runs the tests may have left descriptors open for all.
    let before = descriptors();
    let spec = script("ls -l /proc/self/fd; grep SigIgn /proc/self/status; grep SigBlk /proc/self/status; pwd");
    let out = output(&spec);
    let held = out.lines().filter_map(|line| line.split_once(" -> "));
    let held = held.filter(|(fd, _)| !fd.ends_with(" 0") && !fd.ends_with(" 1") && !fd.ends_with(" 2"));
    for (_, target) in held {
        assert!(target.starts_with("/proc/") || before.iter().any(|known| known == target), "{target} in {out}");
    }
    let mask = |name: &str| {
        let line = out.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
    };
    // SIGPIPE is signal 13.
    assert_eq!((mask("SigIgn") & (1 << 12), mask("SigBlk")), (0, 0));
    assert!(out.ends_with("\n/\n"), "{out}");
    assert_eq!(output(&CommandSpec { directory: Some("/usr".into()), ..argv(&["pwd"]) }), "/usr\n");
    // Its input is at its end.
    assert_eq!(output(&argv(&["cat"])), "");
}

#[test]
fn a_preflight_says_what_would_fail() {
    let preflight = |command: CommandSpec, preflight: Option<CommandSpec>| {
        let artifact = "site.sql".parse().unwrap();
        let definition = CommandDefinition {
            command,
            artifact,
            allow_empty: false,
            preflight,
            restore: None,
            verify: None,
            prepare: None,
            freeze: None,
            thaw: None,
        };
        CommandParticipant::new(definition, launcher()).preflight(&Preflight::default())
    };
    assert_eq!(preflight(argv(&["true"]), None), Ok(()));
    assert_eq!(preflight(argv(&["true"]), Some(script("seq 100000; true"))), Ok(()));
    let error = preflight(argv(&["true"]), Some(script("echo 'no route to host' >&2; exit 2"))).unwrap_err();
    assert_failed(&error, FailureKind::Retryable, "COMMAND_FAILED", "status 2");
    assert_eq!(error.output(), "no route to host\n");
    let error = preflight(argv(&["holdfast-no-such"]), None).unwrap_err();
    assert_failed(&error, FailureKind::Fatal, "COMMAND_NOT_FOUND", "holdfast-no-such");
}

fn feed(spec: &CommandSpec, source: &mut dyn Read) -> Taken {
    Call::new(spec, &launcher()).feed(source)
}

#[test]
fn a_command_is_fed_all_of_a_large_input() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let bytes: Vec<u8> = (0..50_000_000_u32).map(|n| (n % 251) as u8).collect();
    let spec = script(&format!("cat > {}; echo done; echo noted >&2", copy.display()));
    let finished = feed(&spec, &mut bytes.as_slice()).unwrap();
    assert_eq!((finished.bytes, finished.said.as_slice()), (bytes.len() as u64, b"done\nnoted\n".as_slice()));
    assert!(std::fs::read(&copy).unwrap() == bytes);
    assert_eq!(feed(&script("test -z \"$(cat)\""), &mut io::empty()).unwrap().bytes, 0);
}

#[test]
fn one_that_talks_while_it_is_fed_is_no_deadlock() {
    let finished = feed(&argv(&["tee", "/dev/stderr"]), &mut io::repeat(b'z').take(20_000_000)).unwrap();
    assert_eq!(finished.bytes, 20_000_000);
}

#[test]
fn one_that_stops_reading_is_not_good() {
    let code = "COMMAND_STOPPED_READING";
    let mut large = io::repeat(b'x').take(100_000_000);
    assert_failed(
        &feed(&script("head -c 10; exec <&-; exit 0"), &mut large).unwrap_err(),
        FailureKind::Fatal,
        code,
        "",
    );
    // Also where all of it went into the pipe, and nobody took it out.
    assert_failed(&feed(&argv(&["true"]), &mut b"small".as_slice()).unwrap_err(), FailureKind::Fatal, code, "");
    let error = feed(&script("echo why >&2; exit 4"), &mut io::repeat(b'x').take(100_000_000)).unwrap_err();
    assert_failed(&error, FailureKind::Retryable, "COMMAND_FAILED", "status 4");
    assert_eq!(error.output(), "why\n");
}

#[test]
fn a_source_that_fails_ends_the_command_it_feeds() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the artifact is damaged"))
        }
    }
    let error = feed(&argv(&["cat"]), &mut Broken).unwrap_err();
    assert_failed(&error, FailureKind::Retryable, "PARTICIPANT_IO", "damaged");
}

const PART: &str = "HOLDFAST_TEST_PARENT";

/// The part of a process that runs a command and is killed; a test of its own only by its form.
#[test]
fn the_part_of_the_parent() {
    let Ok(part) = std::env::var(PART) else { return };
    let admit = |child: ChildV1| {
        println!("\n{} {} {} {}", child.child_id, child.group, child.started, child.boot_id);
        if part == "admitting" {
            let _ = io::stdin().read(&mut [0]);
        }
        Ok(())
    };
    let spec = script("touch \"$MARKER\"; sleep 300 & echo $!; wait");
    let _ = Call::new(&spec, &launcher()).admitted_by(&admit).take(&mut io::stdout());
}

/// A parent that runs a command, and what it recorded of it.
fn parent(part: &str, marker: &Path) -> (Child, ChildV1, impl Iterator<Item = String> + use<>) {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "command::the_part_of_the_parent", "--nocapture"])
        .env(PART, part)
        .env("MARKER", marker)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map(Result::unwrap);
    let child = lines
        .find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            Some(ChildV1 {
                child_id: words.first()?.parse().ok()?,
                group: words.get(1)?.parse().ok()?,
                started: words.get(2)?.parse().ok()?,
                boot_id: words.get(3)?.parse().ok()?,
            })
        })
        .expect("a record");
    (parent, child, lines)
}

#[test]
fn killed_with_its_parent_and_the_rest_ended_by_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let (mut parent, child, mut lines) = parent("running", &folder.path().join("ran"));
    let grandchild = pid(&lines.next().unwrap());
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(ends(Pid::from_raw(child.group as i32).unwrap()), "the command ends with its parent");
    assert!(!ended(grandchild), "nothing ends what it had started");
    assert_eq!(end_left_over(&child).unwrap().processes, 1);
    assert!(ended(grandchild));
}

#[test]
fn a_parent_that_dies_before_the_record_is_durable_has_run_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("ran");
    let (mut parent, child, _lines) = parent("admitting", &marker);
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(ends(Pid::from_raw(child.group as i32).unwrap()));
    assert!(!marker.exists());
}
