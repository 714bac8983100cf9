use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::event::RunEvent;
use crate::failure::{Failure, FailureKind};
use crate::ids::Sha256;
use crate::progress::tests::{Film, name};
use crate::run::{
    Outcome, ParticipantFailedV2, ParticipantResetV1, ParticipantStartedV1, ParticipantTryFailedV1,
    RunPublishRequestedV1, RunResumedV1, Target,
};

const MIB: u64 = 1 << 20;

fn counts(bytes_done: u64, bytes_total: Option<u64>) -> Counts {
    Counts { bytes_done, bytes_total, files_done: 0, files_total: None }
}

fn live(rows: &[(&str, u64, Option<u64>)], checked: u64) -> Live {
    Live { counts: rows.iter().map(|(of, done, total)| (name(of), counts(*done, *total))).collect(), checked }
}

/// A run with both participants at work.
fn at_work() -> Film {
    let mut film = Film::new();
    film.started();
    film.begun("a");
    film.begun("b");
    film
}

/// Looks, as many milliseconds after the beginning.
fn look(course: &mut Course, film: &Film, live: &Live, ms: u64) -> Progress {
    course.look(&film.run, live, Timestamp(film.now.0 + ms as i64 * 1000), Duration::from_millis(ms))
}

fn try_failed(film: &mut Film, of: &str) {
    film.show(&RunEvent::ParticipantTryFailed(ParticipantTryFailedV1 {
        participant: name(of),
        try_number: 1,
        failure: Failure::new(FailureKind::Retryable, "CODE", "it did not work"),
        output: String::new(),
        retry_after_ms: 10,
    }));
    let again = ParticipantStartedV1 { participant: name(of), try_number: 2 };
    film.show(&RunEvent::ParticipantStarted(again));
}

#[test]
fn what_was_shown_live_is_not_taken_back_by_another_try_or_a_growing_source() {
    let (mut film, mut course) = (at_work(), Course::new(None));
    let high = look(&mut course, &film, &live(&[("a", 90, Some(100)), ("b", 0, None)], 0), 0);
    assert_eq!((high.participants[0].percent, high.overall_percent), (90.0, 40.5));
    let grown = look(&mut course, &film, &live(&[("a", 95, Some(1000)), ("b", 0, None)], 0), 1000);
    assert_eq!((grown.participants[0].percent, grown.participants[0].bytes_total), (90.0, 1000));
    try_failed(&mut film, "a");
    let again = look(&mut course, &film, &live(&[("a", 1, Some(100)), ("b", 0, None)], 0), 2000);
    assert_eq!((again.participants[0].percent, again.participants[0].bytes_done), (90.0, 1));
    // The record alone knows of less than was shown.
    assert_eq!(look(&mut course, &film, &Live::default(), 3000).overall_percent, 40.5);
}

#[test]
fn a_new_attempt_begins_with_what_is_recorded() {
    let (mut film, mut course) = (at_work(), Course::new(None));
    look(&mut course, &film, &live(&[("a", 90, Some(100)), ("b", 50, Some(100))], 0), 0);
    film.show(&RunEvent::Resumed(RunResumedV1 { attempt: 2 }));
    for of in ["a", "b"] {
        film.show(&RunEvent::ParticipantReset(ParticipantResetV1 { participant: name(of), reason: String::new() }));
    }
    let anew = look(&mut course, &film, &Live::default(), 1000);
    assert_eq!((anew.attempt, anew.overall_percent), (2, 0.0));
}

#[test]
fn the_check_moves_from_90_to_99_and_damage_does_not_take_it_back() {
    let (mut film, mut course) = (at_work(), Course::new(None));
    film.completed("a");
    film.completed("b");
    film.classified(Outcome::Completed);
    assert_eq!(film.run.check_bytes(), 80);
    assert_eq!(look(&mut course, &film, &live(&[], 0), 0).overall_percent, 90.0);
    assert_eq!(look(&mut course, &film, &live(&[], 40), 1000).overall_percent, 94.5);
    let failure = Failure::new(FailureKind::Fatal, "CODE", "it is damaged");
    let damaged = ParticipantFailedV2 { participant: name("a"), failure, output: String::new() };
    film.show(&RunEvent::ParticipantFailed(damaged));
    film.classified(Outcome::Partial);
    let again = look(&mut course, &film, &live(&[], 0), 2000);
    assert_eq!((again.phase, again.overall_percent), (Phase::Validate, 94.5));
    assert_eq!(look(&mut course, &film, &live(&[], 40), 3000).overall_percent, 99.0);
    let (target, sums_sha256) = (Target::Completed, Sha256::default());
    film.show(&RunEvent::PublishRequested(RunPublishRequestedV1 { target, sums_sha256 }));
    assert_eq!(look(&mut course, &film, &live(&[], 40), 4000).overall_percent, 99.0);
}

#[test]
fn it_is_new_when_something_moved() {
    let (film, mut course) = (at_work(), Course::new(None));
    let begun = film.now.seconds();
    let moved = live(&[("a", 5, Some(100))], 0);
    assert_eq!(look(&mut course, &film, &moved, 10_000).updated_at, begun + 10);
    assert_eq!(look(&mut course, &film, &moved, 20_000).updated_at, begun + 10);
    assert_eq!(look(&mut course, &film, &live(&[("a", 6, Some(100))], 0), 30_000).updated_at, begun + 30);
}

#[test]
fn there_is_no_estimate_without_totals_or_while_nothing_moves() {
    let (film, mut course) = (at_work(), Course::new(Some(1e9)));
    let mut shown = Vec::new();
    for second in 0..=20 {
        let done = second * 10 * MIB;
        shown.push(look(
            &mut course,
            &film,
            &live(&[("a", done, Some(400 * MIB)), ("b", done, None)], 0),
            second * 1000,
        ));
    }
    assert!(shown.iter().all(|progress| progress.eta_seconds.is_none() && progress.bytes_total == 0));
    assert_eq!(shown[20].bytes_per_second, 20 * MIB);
    let both = |done, ms, course: &mut Course| {
        look(course, &film, &live(&[("a", done, Some(400 * MIB)), ("b", done, Some(400 * MIB))], 0), ms)
    };
    // 400 MiB to go at 20 MiB/s, and the check of 800 MiB in a second.
    assert_eq!(both(200 * MIB, 20_000, &mut course).eta_seconds, Some(21));
    assert_eq!(both(200 * MIB, 120_000, &mut course).eta_seconds, None);
    assert_eq!(both(200 * MIB, 120_000, &mut course).bytes_per_second, 0);
}

#[test]
fn what_nobody_measured_is_guessed_only_while_little_depends_on_it() {
    let estimate = |rate: Option<f64>, mib_a_second: u64| {
        let (film, mut course) = (at_work(), Course::new(rate));
        let total = Some(10_000 * MIB);
        let mut eta = None;
        for second in 0..=10 {
            let done = second * mib_a_second / 2 * MIB;
            let of_both = live(&[("a", done, total), ("b", done, total)], 0);
            eta = look(&mut course, &film, &of_both, second * 1000).eta_seconds;
        }
        eta.unwrap_or(0)
    };
    // 20 GiB at 20 MiB/s: the check is a tenth of it. At 400 MiB/s it may be more than all the rest.
    assert!((1050..=1150).contains(&estimate(None, 20)), "{}", estimate(None, 20));
    assert_eq!(estimate(None, 400), 0);
    assert!((40 + 20..=40 + 22).contains(&estimate(Some(1e9), 400)), "{}", estimate(Some(1e9), 400));
}

#[test]
fn the_check_is_measured_while_it_runs_and_by_the_run_before_until_then() {
    let checking = || {
        let mut film = at_work();
        film.completed("a");
        film.completed("b");
        film.classified(Outcome::Completed);
        film
    };
    let film = checking();
    let mut course = Course::new(None);
    assert_eq!(look(&mut course, &film, &live(&[], 0), 0).eta_seconds, None);
    let half = look(&mut course, &film, &live(&[], 40), 4000);
    assert_eq!((half.eta_seconds, half.bytes_per_second), (Some(4), 10));
    // 200 bytes of content at 20 a second.
    assert_eq!(look(&mut Course::new(Some(20.0)), &film, &live(&[], 0), 0).eta_seconds, Some(10));
}

/// A simulated run: two sources of known size, each second at a pace of its own around a mean, then the check.
struct Simulated {
    /// Bytes that were written by each second.
    written: Vec<u64>,
    /// Bytes that were checked by each second after that.
    checked: Vec<u64>,
}

/// The total that each source has, in bytes.
const EACH: u64 = 2000 * MIB;

impl Simulated {
    fn new(mean: f64, check: f64, noise: &[f64]) -> Self {
        let course = |mean: f64| {
            let mut noise = noise.iter().cycle();
            let steps = std::iter::successors(Some(0.0), |done| Some(done + mean * noise.next().expect("noise")));
            let mut all: Vec<_> = steps.take_while(|done| *done < 2.0 * EACH as f64).map(|done| done as u64).collect();
            all.push(2 * EACH);
            all
        };
        Self { written: course(mean), checked: course(check) }
    }

    /// What is shown each second of writing, with the seconds that were to go.
    fn play(&self, check: f64) -> Vec<(Progress, u64)> {
        let (film, mut course) = (at_work(), Course::new(Some(check)));
        let whole = (self.written.len() + self.checked.len()) as u64 - 2;
        let at = |second: usize, done: u64| {
            let rows = live(&[("a", done / 2, Some(EACH)), ("b", done / 2, Some(EACH))], 0);
            (look(&mut course, &film, &rows, second as u64 * 1000), whole - second as u64)
        };
        let mut at = at;
        self.written.iter().enumerate().map(|(second, done)| at(second, *done)).collect()
    }
}

proptest! {
    // The same 200 each time: of all paces there could be, some are as far off as one likes.
    #![proptest_config(ProptestConfig {
        cases: 200,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Sources whose pace changes from second to second by half of it, or stands still for a moment.
    #[test]
    fn nine_estimates_of_ten_are_near_the_truth_after_the_first_tenth(
        mean in 2e6_f64..60e6,
        check in 100e6_f64..2e9,
        noise in proptest::collection::vec(prop_oneof![9 => 0.5_f64..1.5, 1 => Just(0.0)], 7..40),
    ) {
        let scale = noise.iter().sum::<f64>() / noise.len() as f64;
        prop_assume!(scale > 0.5);
        let noise: Vec<_> = noise.iter().map(|one| one / scale).collect();
        let told = Simulated::new(mean, check, &noise).play(check);
        let whole = told.len();
        let looks: Vec<_> =
            told.iter().skip((whole / 10).max(10)).filter(|(progress, _)| progress.bytes_done < 2 * EACH).collect();
        let near = |(progress, truth): &&(Progress, u64)| {
            progress.eta_seconds.unwrap_or(0).abs_diff(*truth) as f64 <= 3.0 + 0.35 * *truth as f64
        };
        let far: Vec<_> = looks.iter().filter(|look| !near(look)).map(|(told, truth)| (told.eta_seconds, *truth)).collect();
        prop_assert!(far.len() * 10 <= looks.len(), "told and true, where far: {:?} of {} looks", far, looks.len());
    }

    #[test]
    fn no_percent_falls_whatever_is_read(
        steps in proptest::collection::vec((0_u8..12, any::<(bool, u64, Option<u64>, u64)>(), 0_u64..100_000), 1..80)
    ) {
        let (mut film, mut course) = (at_work(), Course::new(None));
        let mut ms = 0;
        let mut before: Option<Progress> = None;
        for (step, (second, done, total, checked), pause) in steps {
            let of = if second { "b" } else { "a" };
            let open = film.run.participant(&name(of)).is_some_and(|one| one.status.is_open());
            match step {
                0..=2 => drop(film.progressed(of, done, total)),
                3 if open => try_failed(&mut film, of),
                4 if open => drop(film.completed(of)),
                5 if !film.run.participants().iter().any(|one| one.status.is_open()) => {
                    film.classified(Outcome::Completed);
                }
                6 if !open => {
                    let failure = Failure::new(FailureKind::Fatal, "CODE", "it is damaged");
                    let failed = ParticipantFailedV2 { participant: name(of), failure, output: String::new() };
                    film.show(&RunEvent::ParticipantFailed(failed));
                }
                _ => {}
            }
            ms += pause;
            let shown = look(&mut course, &film, &live(&[(of, done, total)], checked), ms);
            prop_assert!((0.0..=100.0).contains(&shown.overall_percent));
            prop_assert!(shown.eta_seconds.is_none_or(|eta| eta < LONGEST as u64 + 1));
            if let Some(before) = before {
                prop_assert!(shown.overall_percent >= before.overall_percent);
                for (was, is) in before.participants.iter().zip(&shown.participants) {
                    prop_assert!(is.percent >= was.percent, "{} fell from {} to {}", is.name, was.percent, is.percent);
                }
            }
            before = Some(shown);
        }
    }
}
