//! Real processes, and records of them that are right and wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::*;

/// A group of processes, killed at the end of the test.
struct Group {
    first: Child,
    child: ChildV1,
    /// Lines its first process said, which are the pids of others.
    others: Vec<Pid>,
}

/// A first process of a group that runs `script`; it says `others` pids before it waits.
fn group(script: &str, others: usize) -> Group {
    let child_id = Uuid::now_v7();
    let mut first = Command::new("bash")
        .args(["-c", script])
        .env(CHILD_VARIABLE, child_id.to_string())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let others = lines.take(others).map(|line| Pid::from_raw(line.unwrap().parse().unwrap()).unwrap()).collect();
    let process = Process::find(Pid::from_child(&first)).unwrap().unwrap();
    let child = ChildV1 { child_id, group: first.id(), started: process.started, boot_id: boot_id().unwrap() };
    Group { first, child, others }
}

impl Group {
    /// Kills the first process only, as the system does when the one that started it dies.
    fn behead(&mut self) {
        self.first.kill().unwrap();
        self.first.wait().unwrap();
    }

    fn first_lives(&mut self) -> bool {
        self.first.try_wait().unwrap().is_none()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.first.kill();
        let _ = self.first.wait();
        for &pid in &self.others {
            if let Ok(Some(process)) = Process::find(pid) {
                let _ = process.kill();
            }
        }
    }
}

fn lives(pid: Pid) -> bool {
    Process::find(pid).unwrap().is_some_and(|process| !process.zombie)
}

#[test]
fn a_whole_group_is_ended() {
    let mut left = group("sleep 300 & echo $!; wait", 1);
    assert_eq!(end_left_over(&left.child).unwrap(), Ended { processes: 2 });
    assert!(!left.first_lives() && !lives(left.others[0]));
    assert_eq!(end_left_over(&left.child).unwrap(), Ended { processes: 0 });
}

#[test]
fn what_is_left_of_a_group_is_ended_after_its_first_process() {
    let mut left = group("sleep 300 & echo $!; wait", 1);
    left.behead();
    assert_eq!(end_left_over(&left.child).unwrap(), Ended { processes: 1 });
    assert!(!lives(left.others[0]));
}

#[test]
fn what_lost_the_environment_is_still_known_by_its_group() {
    let mut left = group("env -i /bin/sleep 300 & echo $!; wait", 1);
    left.behead();
    assert_eq!(end_left_over(&left.child).unwrap(), Ended { processes: 1 });
    assert!(!lives(left.others[0]));
}

#[test]
fn what_went_into_a_session_of_its_own_is_ended() {
    let mut left = group("setsid bash -c 'echo $$; sleep 300 & echo $!; wait' & wait", 2);
    left.behead();
    assert!(end_left_over(&left.child).unwrap().processes >= 2);
    assert!(left.others.iter().all(|&pid| !lives(pid)));
}

#[test]
fn a_group_whose_number_is_another_ones_now_is_left_alone() {
    let mut stranger = group("sleep 300 & echo $!; wait", 1);
    // The same number, and every sign that it was given to another process since.
    let before = ChildV1 { child_id: Uuid::now_v7(), started: stranger.child.started - 1, ..stranger.child };
    assert_eq!(end_left_over(&before).unwrap(), Ended::default());
    let after = ChildV1 { started: stranger.child.started + 1, ..before };
    assert_eq!(end_left_over(&after).unwrap(), Ended::default());
    assert!(stranger.first_lives() && lives(stranger.others[0]));
    // Nor after the stranger's first process ended: what is left carries another child's id.
    stranger.behead();
    assert_eq!(end_left_over(&before).unwrap(), Ended::default());
    assert!(lives(stranger.others[0]));
}

#[test]
fn another_boot_leaves_nothing() {
    let mut left = group("exec sleep 300", 0);
    let before = ChildV1 { boot_id: Uuid::nil(), ..left.child };
    assert_eq!(end_left_over(&before).unwrap(), Ended::default());
    assert!(left.first_lives());
}
