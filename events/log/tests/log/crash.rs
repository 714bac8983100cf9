//! Power goes away, syncs fail: what was acknowledged is there, what was not is there as a whole or not at all.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use holdfast_log::faulty::{Fault, FaultyDisk, FaultyLog};
use holdfast_log::{AppendError, DurableLog, MemoryLog, Options, ReadError, ReadLog, Subscription};
use holdfast_model::ids::{Position, Version};

use crate::support::{Random, all, append, assert_consistent, block, copy_dir, event, open, options, stream};

#[test]
fn a_power_cut_at_any_call_keeps_what_was_acknowledged() {
    let mut random = Random::from_env();
    let mut torn = [0; 2];
    for round in 0..80_usize {
        let dir = tempfile::tempdir().unwrap();
        let older = tempfile::tempdir().unwrap();
        let disk = [FaultyDisk::new, FaultyDisk::with_room_ahead][round % 2](random.next());
        let (log, _) = DurableLog::open(dir.path(), Options { disk: disk.clone(), ..options() }).unwrap();
        block(append(&log, "run/first", 0, vec![event("first", 10)])).unwrap();
        if round % 3 == 0 {
            copy_dir(&dir.path().join("store"), older.path());
        }
        disk.cut_power_in(1 + random.below(60));
        let log = Arc::new(log);
        // What each stream was told, and what it asked for last without an answer that says where it is.
        let acknowledged: BTreeMap<String, (u64, u64)> = block(async {
            let mut appenders = tokio::task::JoinSet::new();
            for i in 0..4 {
                let log = log.clone();
                let sizes: Vec<usize> = (0..40).map(|_| random.below(1500) as usize).collect();
                appenders.spawn(async move {
                    let name = format!("run/{i}");
                    let (mut told, mut asked) = (0, 0);
                    for size in sizes {
                        asked = told + 2;
                        match append(&*log, &name, told, vec![event("x", size), event("y", size)]).await {
                            Ok(appended) => told = appended.version.0,
                            Err(AppendError::OutcomeUnknown { .. }) => break,
                            Err(AppendError::Poisoned { .. }) => {
                                asked = told;
                                break;
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                    (name, (told, asked))
                });
            }
            appenders.join_all().await.into_iter().collect()
        });
        log.close();
        disk.lose_unsynced().unwrap();
        // sled's own states after a power cut: as it is, an older one, none.
        match round % 3 {
            0 => {
                std::fs::remove_dir_all(dir.path().join("store")).unwrap();
                copy_dir(older.path(), &dir.path().join("store"));
            }
            1 => std::fs::remove_dir_all(dir.path().join("store")).unwrap(),
            _ => {}
        }
        let (log, report) = open(dir.path());
        torn[round % 2] += u32::from(report.torn_tail.is_some());
        assert!(report.repaired.is_empty(), "{report}");
        let records = all(&log);
        assert_consistent(&log, &records);
        for (name, (told, asked)) in acknowledged {
            let there = log.stream_version(&stream(&name)).unwrap().0;
            assert!(there == told || there == asked, "{name}: told {told}, asked for {asked}, there {there}: {report}");
        }
    }
    println!("torn tails: {} at the end of the file, {} in room taken ahead", torn[0], torn[1]);
    assert!(torn[0] > 0 && torn[1] > 0, "no cut tore a commit: the test tests nothing");
}

/// Where the child of the next test appends until it is killed.
const APPEND_TO: &str = "HOLDFAST_TEST_APPEND_TO";

/// Not a test of its own: the process that is killed. It says each position that it was told.
#[test]
fn appender() {
    let Some(dir) = std::env::var_os(APPEND_TO) else { return };
    let log = Arc::new(open(dir.as_ref()).0);
    block(async {
        let mut appenders = tokio::task::JoinSet::new();
        for i in 0..3 {
            let log = log.clone();
            appenders.spawn(async move {
                let name = format!("run/{i}");
                let mut version = log.stream_version(&stream(&name)).unwrap().0;
                loop {
                    let events = vec![event(&format!("{name} {version}"), 300), event("second", 20)];
                    let appended = append(&*log, &name, version, events).await.unwrap();
                    version = appended.version.0;
                    println!("told {}", appended.last);
                }
            });
        }
        appenders.join_all().await;
    });
}

#[test]
fn a_killed_process_keeps_what_it_was_told() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let mut before = Vec::new();
    for _ in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::appender", "--nocapture"])
            .env(APPEND_TO, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.filter_map(|line| line.unwrap().strip_prefix("told ")?.parse::<u64>().ok());
        let told = told.take(1 + random.below(60) as usize).max().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let (log, report) = open(dir.path());
        assert!(report.repaired.is_empty(), "{report}");
        let records = all(&log);
        assert!(records.len() as u64 >= told, "{report}");
        assert_eq!(records[..before.len()], before);
        assert!(records.len().is_multiple_of(2), "half of an append is there");
        assert_consistent(&log, &records);
        before = records;
    }
}

#[test]
fn a_failed_sync_poisons_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(3);
    let (log, _) = DurableLog::open(dir.path(), Options { disk: disk.clone(), ..options() }).unwrap();
    let told = block(async {
        append(&log, "run/a", 0, vec![event("1", 10)]).await.unwrap();
        disk.fail_next_sync();
        let unknown = append(&log, "run/a", 1, vec![event("2", 10)]).await.unwrap_err();
        assert_eq!((unknown.code(), unknown.retryable()), ("OUTCOME_UNKNOWN", false));
        for _ in 0..3 {
            let refused = append(&log, "run/a", 1, vec![event("3", 10)]).await.unwrap_err();
            assert_eq!((refused.code(), refused.retryable()), ("LOG_POISONED", false));
        }
        all(&log)
    });
    assert_eq!(told.len(), 1, "an event that is not known to be durable was shown");
    assert!(log.poisoned().is_some());
    drop(log);
    let (log, _) = open(dir.path());
    let there = all(&log);
    assert!(there.len() == 1 || there.len() == 2);
    block(append(&log, "run/a", there.len() as u64, vec![event("4", 10)])).unwrap();
}

#[test]
fn a_closed_log_refuses_and_wakes_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(open(dir.path()).0);
    block(async {
        let waiting = {
            let mut subscription = Subscription::new(log.clone(), Position(1));
            tokio::spawn(async move { subscription.next(1).await })
        };
        let closing = log.clone();
        tokio::task::spawn_blocking(move || closing.close()).await.unwrap();
        assert!(matches!(waiting.await.unwrap(), Err(ReadError::Closed)));
        let refused = append(&*log, "run/a", 0, vec![event("1", 10)]).await;
        assert!(matches!(refused, Err(AppendError::Closed)), "{refused:?}");
        assert!(matches!(log.read_all(Position(1), 1), Err(ReadError::Closed)));
    });
    // The old one is still there, but the folder is free.
    let (again, _) = open(dir.path());
    block(append(&again, "run/a", 0, vec![event("1", 10)])).unwrap();
}

#[test]
fn what_was_submitted_before_a_close_is_worked_off() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let results: Vec<_> = block(async {
        let log = Arc::new(log);
        let appends: Vec<_> = (0..50)
            .map(|i| {
                let log = log.clone();
                tokio::spawn(async move { append(&*log, &format!("run/{i}"), 0, vec![event("1", 10)]).await })
            })
            .collect();
        tokio::task::spawn_blocking(move || log.close()).await.unwrap();
        let mut results = Vec::new();
        for append in appends {
            results.push(append.await.unwrap());
        }
        results
    });
    let (log, report) = open(dir.path());
    assert!(report.is_clean(), "{report}");
    let taken = results.iter().filter(|result| result.is_ok()).count();
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(AppendError::Closed))), "{results:?}");
    assert_eq!(all(&log).len(), taken);
}

#[test]
fn two_logs_in_one_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let second = DurableLog::open(dir.path(), options()).map(|(_, report)| report);
    assert!(matches!(&second, Err(error) if error.code() == "LOG_IN_USE" && error.retryable()), "{second:?}");
    block(append(&log, "run/a", 0, vec![event("1", 10)])).unwrap();
}

#[test]
fn a_faulty_log_fails_the_same_way_for_the_same_seed() {
    let outcomes = |seed| {
        let log = FaultyLog::new(Arc::new(MemoryLog::new()), seed, 300);
        block(async {
            let mut codes = Vec::new();
            for _ in 0..100 {
                let version = log.stream_version(&stream("run/a")).unwrap().0;
                let result = append(&log, "run/a", version, vec![event("1", 10)]).await;
                codes.push(result.map_or_else(|error| error.code(), |_| "ok"));
                if codes.last() == Some(&"LOG_POISONED") {
                    log.restart();
                }
            }
            codes
        })
    };
    let first = outcomes(5);
    assert_eq!(first, outcomes(5));
    for code in ["ok", "NO_SPACE", "OUTCOME_UNKNOWN", "LOG_POISONED"] {
        assert!(first.contains(&code), "{code}");
    }

    let log = FaultyLog::new(Arc::new(MemoryLog::new()), 0, 0);
    block(async {
        log.fail_next(Fault::UnknownKept);
        assert!(append(&log, "run/a", 0, vec![event("1", 10)]).await.is_err());
        log.restart();
        log.fail_next(Fault::UnknownLost);
        assert!(append(&log, "run/a", 1, vec![event("2", 10)]).await.is_err());
        log.restart();
    });
    assert_eq!(log.stream_version(&stream("run/a")).unwrap(), Version(1));
}
