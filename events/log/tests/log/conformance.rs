//! What every event log promises: one suite, run on each kind.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_log::event_log::{MAX_APPEND, MAX_READ};
use holdfast_log::faulty::{FaultyDisk, FaultyLog};
use holdfast_log::{AppendError, Appended, DurableLog, EventLog, MemoryLog, Options, Subscription};
use holdfast_model::ids::{Position, Version};
use proptest::prelude::*;

use crate::support::{all, append, assert_consistent, block, event, options, stream};

/// A log, and how to open it again.
enum Subject {
    Memory(MemoryLog),
    Faulty(Arc<FaultyLog>),
    Durable { log: Option<Arc<DurableLog>>, dir: PathBuf, options: Options, _home: tempfile::TempDir },
}

impl Subject {
    fn memory() -> Self {
        Self::Memory(MemoryLog::new())
    }

    fn faulty() -> Self {
        Self::Faulty(Arc::new(FaultyLog::new(Arc::new(MemoryLog::new()), 1, 0)))
    }

    fn durable() -> Self {
        Self::durable_with(Options::default())
    }

    fn durable_small_segments() -> Self {
        Self::durable_with(options())
    }

    fn durable_on_a_faulty_disk() -> Self {
        Self::durable_with(Options { disk: FaultyDisk::new(1), ..options() })
    }

    fn durable_with(options: Options) -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("log");
        let log = Some(Arc::new(DurableLog::open(&dir, options.clone()).unwrap().0));
        Self::Durable { log, dir, options, _home: home }
    }

    fn log(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Memory(log) => Arc::new(log.clone()),
            Self::Faulty(log) => log.clone(),
            Self::Durable { log, .. } => log.clone().expect("open"),
        }
    }

    fn reopen(&mut self) {
        if let Self::Durable { log, dir, options, .. } = self {
            log.take().expect("open").close();
            let (reopened, report) = DurableLog::open(dir, options.clone()).unwrap();
            assert!(report.is_clean(), "{report}");
            *log = Some(Arc::new(reopened));
        }
    }
}

macro_rules! conformance {
    ($($kind:ident),*) => {$(
        mod $kind {
            use super::Subject;

            #[test]
            fn events_are_in_order_without_gaps() { super::order(&Subject::$kind()); }
            #[test]
            fn a_stale_decision_is_refused() { super::expected_version(&Subject::$kind()); }
            #[test]
            fn an_append_is_all_or_nothing() { super::all_or_nothing(&Subject::$kind()); }
            #[test]
            fn concurrent_appenders_each_get_their_place() { super::concurrent_appenders(&Subject::$kind()); }
            #[test]
            fn no_read_passes_the_head() { super::reads_stop_at_the_head(&Subject::$kind()); }
            #[test]
            fn a_subscription_goes_from_old_to_live() { super::subscription(&Subject::$kind()); }
            #[test]
            fn reads_are_bounded() { super::limits(&Subject::$kind()); }
            #[test]
            fn what_was_appended_is_there_after_a_reopen() { super::reopen(Subject::$kind()); }
            #[test]
            fn any_sequence_of_appends_reads_back() { super::any_sequence(Subject::$kind); }
        }
    )*};
}

conformance!(memory, faulty, durable, durable_small_segments, durable_on_a_faulty_disk);

fn order(subject: &Subject) {
    let log = subject.log();
    assert_eq!(log.head(), Position::START);
    assert!(all(&*log).is_empty());
    block(async {
        let appended =
            |first, last, version| Appended { first: Position(first), last: Position(last), version: Version(version) };
        let two = vec![event("1", 10), event("2", 3000)];
        assert_eq!(append(&*log, "run/a", 0, two.clone()).await.unwrap(), appended(1, 2, 2));
        assert_eq!(log.head(), Position(2));
        assert_eq!(append(&*log, "run/b", 0, two.clone()).await.unwrap(), appended(3, 4, 2));
        assert_eq!(append(&*log, "run/a", 2, two).await.unwrap(), appended(5, 6, 4));
    });
    let records = all(&*log);
    assert_consistent(&*log, &records);
    let places: Vec<_> = records.iter().map(|r| (r.stream.as_str(), r.version.0, &r.body.payload[..3])).collect();
    let expected: [(&str, u64, &[u8]); 6] = [
        ("run/a", 1, b"<1>"),
        ("run/a", 2, b"<2>"),
        ("run/b", 1, b"<1>"),
        ("run/b", 2, b"<2>"),
        ("run/a", 3, b"<1>"),
        ("run/a", 4, b"<2>"),
    ];
    assert_eq!(places, expected);
    assert_eq!(records[1].body, event("2", 3000));
}

fn expected_version(subject: &Subject) {
    let log = subject.log();
    block(async {
        append(&*log, "run/a", 0, vec![event("1", 10)]).await.unwrap();
        for expected in [0, 2] {
            match append(&*log, "run/a", expected, vec![event("2", 10)]).await {
                Err(error @ AppendError::WrongVersion { actual: Version(1), .. }) => {
                    assert_eq!((error.code(), error.retryable()), ("WRONG_VERSION", false));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(append(&*log, "run/new", 1, vec![event("2", 10)]).await.is_err());
    });
    assert_eq!(all(&*log).len(), 1);
    assert_eq!(log.stream_version(&stream("run/new")).unwrap(), Version::NONE);
}

fn all_or_nothing(subject: &Subject) {
    let log = subject.log();
    block(async {
        let events = vec![event("1", 10), event("2", 6145), event("3", 10)];
        let refused = append(&*log, "run/a", 0, events).await;
        assert!(matches!(refused, Err(AppendError::Invalid { index: 1, .. })), "{refused:?}");
        for count in [0, MAX_APPEND + 1] {
            let refused = append(&*log, "run/a", 0, vec![event("1", 10); count]).await;
            assert!(matches!(refused, Err(AppendError::Count { .. })), "{refused:?}");
        }
        assert_eq!(log.head(), Position::START);
        let largest = append(&*log, "run/a", 0, vec![event("1", 6144); MAX_APPEND]).await.unwrap();
        assert_eq!(largest.last, Position(MAX_APPEND as u64));
    });
    assert_consistent(&*log, &all(&*log));
}

fn concurrent_appenders(subject: &Subject) {
    let log = subject.log();
    block(async {
        let mut appenders = tokio::task::JoinSet::new();
        for i in 0..24 {
            let log = log.clone();
            appenders.spawn(async move {
                let own = format!("run/{i}");
                for n in 0..10 {
                    append(&*log, &own, n * 2, vec![event("x", 50), event("y", 50)]).await.unwrap();
                    // All of them also want the same stream; who is late reads and tries again.
                    let mut expected = log.stream_version(&stream("system")).unwrap();
                    while let Err(error) = append(&*log, "system", expected.0, vec![event(&own, 20)]).await {
                        let AppendError::WrongVersion { actual, .. } = error else { panic!("{error}") };
                        expected = actual;
                    }
                }
            });
        }
        appenders.join_all().await;
    });
    let records = all(&*log);
    assert_eq!(records.len(), 24 * 10 * 3);
    assert_consistent(&*log, &records);
    for pair in records.windows(2).filter(|pair| pair[0].body.payload.starts_with(b"<x>")) {
        assert!(pair[1].body.payload.starts_with(b"<y>") && pair[1].stream == pair[0].stream, "an append was split");
    }
}

fn reads_stop_at_the_head(subject: &Subject) {
    let log = subject.log();
    block(async {
        let writer = {
            let log = log.clone();
            tokio::spawn(async move {
                for n in 0..60 {
                    let appended = append(&*log, "run/a", n * 3, vec![event("e", 100); 3]).await.unwrap();
                    assert!(log.head() >= appended.last, "an answer came before the head");
                    assert_eq!(log.read_all(appended.first, 3).unwrap().len(), 3);
                }
            })
        };
        let mut seen = Position::START;
        while seen < Position(180) && !(writer.is_finished() && log.head() < Position(180)) {
            let before = log.head();
            let records = log.read_all(seen.next(), 1000).unwrap();
            let by_stream = log.read_stream(&stream("run/a"), Version(seen.0 + 1), 1000).unwrap();
            let after = log.head();
            assert!(records.iter().map(|record| record.position.0).eq(seen.0 + 1..=seen.0 + records.len() as u64));
            for read in [&records, &by_stream] {
                let last = read.last().map_or(seen, |record| record.position);
                assert!(before <= last && last <= after, "{before} {last} {after}");
            }
            seen = records.last().map_or(seen, |record| record.position);
            tokio::task::yield_now().await;
        }
        writer.await.unwrap();
    });
}

fn subscription(subject: &Subject) {
    let log = subject.log();
    block(async {
        append(&*log, "run/a", 0, vec![event("old", 30); 100]).await.unwrap();
        let mut readers = tokio::task::JoinSet::new();
        for (from, limit) in [(0, 7), (1, 1), (50, 1000), (101, 3), (140, 0)] {
            let mut subscription = Subscription::new(log.clone(), Position(from));
            readers.spawn(async move {
                let mut positions = Vec::new();
                while positions.last() != Some(&300) {
                    let records = subscription.next(limit).await.unwrap();
                    assert!(!records.is_empty() && records.len() <= limit.max(1));
                    positions.extend(records.iter().map(|record| record.position.0));
                }
                assert!(positions.into_iter().eq(from.max(1)..=300));
            });
        }
        for n in 0..200 {
            append(&*log, "run/b", n, vec![event("live", 30)]).await.unwrap();
        }
        while let Some(reader) = readers.join_next().await {
            reader.unwrap();
        }
    });
}

fn limits(subject: &Subject) {
    let log = subject.log();
    block(async {
        for n in 0..20 {
            append(&*log, "run/a", n * 250, vec![event("e", 10); 250]).await.unwrap();
        }
    });
    let a = stream("run/a");
    assert_eq!(log.read_all(Position(1), 0).unwrap(), []);
    assert_eq!(log.read_stream(&a, Version(1), 0).unwrap(), []);
    assert_eq!(log.read_all(Position(1), usize::MAX).unwrap().len(), MAX_READ);
    assert_eq!(log.read_stream(&a, Version(1), usize::MAX).unwrap().len(), MAX_READ);
    assert_eq!(log.read_all(Position::START, 2).unwrap(), log.read_all(Position(1), 2).unwrap());
    assert_eq!(log.read_stream(&a, Version::NONE, 2).unwrap(), log.read_stream(&a, Version(1), 2).unwrap());
    assert_eq!(log.read_all(Position(4999), 9).unwrap().len(), 2);
    assert_eq!(log.read_all(Position(5001), 9).unwrap(), []);
    assert_eq!(log.read_all(Position(u64::MAX), usize::MAX).unwrap(), []);
    assert_eq!(log.read_stream(&a, Version(5000), 9).unwrap().len(), 1);
    assert_eq!(log.read_stream(&a, Version(u64::MAX), 9).unwrap(), []);
    assert_eq!(log.read_stream(&stream("run/none"), Version(1), 9).unwrap(), []);
}

fn reopen(mut subject: Subject) {
    let mut version = 0;
    for _ in 0..4 {
        let log = subject.log();
        block(async {
            for size in [10, 900, 6000] {
                append(&*log, "run/a", version, vec![event("e", size), event("f", size)]).await.unwrap();
                version += 2;
            }
        });
        let before = all(&*log);
        drop(log);
        subject.reopen();
        let log = subject.log();
        assert_eq!(all(&*log), before);
        assert_consistent(&*log, &before);
    }
}

fn any_sequence(subject: fn() -> Subject) {
    let step = (0..5_usize, 1..6_usize, 0..2000_usize, prop::bool::weighted(0.1));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(12));
    let steps = proptest::collection::vec(step, 1..40);
    let result = runner.run(&steps, |steps| {
        let mut subject = subject();
        let mut expected = Vec::new();
        for (name, count, size, reopen) in steps {
            let name = format!("run/{name}");
            let log = subject.log();
            let version = log.stream_version(&stream(&name)).unwrap().0;
            let events: Vec<_> = (0..count).map(|n| event(&format!("{}.{n}", expected.len()), size)).collect();
            expected.extend(events.iter().cloned().map(|event| (name.clone(), event)));
            block(append(&*log, &name, version, events)).unwrap();
            drop(log);
            if reopen {
                subject.reopen();
            }
        }
        subject.reopen();
        let log = subject.log();
        let records = all(&*log);
        assert_consistent(&*log, &records);
        let read: Vec<_> = records.into_iter().map(|record| (record.stream.to_string(), record.body)).collect();
        prop_assert_eq!(read, expected);
        Ok(())
    });
    result.unwrap();
}
