//! Few workers, few credits, many artifacts: all of them finish, and memory stays within what was given.

use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// Far beyond what any of this takes; reached only by a deadlock.
const FOREVER: Duration = Duration::from_secs(120);

fn all_finish(workers: usize, credits: usize, writers: usize, compression: fn(usize) -> Compression) {
    let pipeline = Pipeline::new(workers, credits).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (done, results) = mpsc::channel();
    for n in 0..writers {
        let (pipeline, dir, done) = (pipeline.clone(), dir.path().to_owned(), done.clone());
        std::thread::spawn(move || {
            let content = content(2 * CHUNK + 1000 * n, n as u64);
            let mut writer = writer(&pipeline, &dir, &format!("a-{n}"), compression(n));
            for piece in content.chunks(100_000) {
                writer.write_all(piece).unwrap();
            }
            let stored = writer.finish().unwrap();
            let back = read_all(&mut open(&pipeline, &dir, &stored).unwrap().stream()).unwrap();
            done.send(back == content).unwrap();
        });
    }
    for _ in 0..writers {
        assert!(results.recv_timeout(FOREVER).expect("no deadlock"));
    }
    assert!(pipeline.credits().peak() <= credits);
    assert_eq!(pipeline.credits().in_use(), 0);
}

#[test]
fn eight_writers_on_one_worker() {
    all_finish(1, 2, 8, |_| Compression::Lz4);
}

#[test]
fn eight_writers_of_every_form_on_one_worker() {
    all_finish(1, 3, 8, |n| ALL[n % ALL.len()]);
}

#[test]
fn one_writer_on_eight_workers() {
    all_finish(8, 12, 1, |_| Compression::Zstd(1));
}

#[test]
fn readers_that_stand_still_keep_no_writer_from_going_on() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let stored = write(&pipeline, dir.path(), Compression::Lz4, &content(6 * CHUNK, 5));
    let reader = open(&pipeline, dir.path(), &stored).unwrap();
    let mut standing: Vec<_> = (0..3).map(|_| reader.stream()).collect();
    for stream in &mut standing {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
    }
    assert!(pipeline.credits().in_use() <= 6);
    let (done, result) = mpsc::channel();
    let path = dir.path().to_owned();
    std::thread::spawn(move || {
        let mut writer = writer(&pipeline, &path, "other", Compression::Lz4);
        writer.write_all(&content(3 * CHUNK, 6)).unwrap();
        done.send(writer.finish().is_ok()).unwrap();
    });
    assert!(result.recv_timeout(FOREVER).expect("no deadlock"));
}

#[test]
fn a_participant_that_stands_still_keeps_one_credit_and_no_more() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let mut standing = writer(&pipeline, dir.path(), "standing", Compression::Lz4);
    standing.write_all(&content(2 * CHUNK + 1, 1)).unwrap();
    write(&pipeline, dir.path(), Compression::Lz4, &content(5 * CHUNK, 2));
    // What it had submitted is written while it stands still; only its half chunk is left.
    let control = standing.control();
    while control.stored_bytes() == 0 || pipeline.credits().in_use() > 1 {
        std::thread::yield_now();
    }
    standing.finish().unwrap();
}
