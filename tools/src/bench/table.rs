//! The figures as text, at most 110 columns wide.

use std::fmt::Write as _;

use super::Report;
use super::contenders::{Contender, Task};
use super::log::{Beside, Figures};
use super::measure::{Series, median};
use super::runs::Runs;
use super::targets::{Bound, judge};
use super::{copies, server};

/// The whole table.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = head(&mut out, report);
    let _ = report.log.as_ref().map_or(Ok(()), |log| log_part(&mut out, log));
    let _ = report.runs.as_ref().map_or(Ok(()), |runs| runs_part(&mut out, runs));
    let _ = memory_part(&mut out, report);
    let _ = parallel_part(&mut out, report);
    let _ = report.server.as_ref().map_or(Ok(()), |figures| server::text(&mut out, figures));
    let _ = report.copies.as_ref().map_or(Ok(()), |figures| copies::text(&mut out, figures));
    let _ = targets_part(&mut out, report);
    out
}

type Written = std::fmt::Result;

fn head(out: &mut String, report: &Report) -> Written {
    let around = &report.surroundings;
    writeln!(out, "holdfast bench: medians of {} alternating rounds", report.rounds)?;
    writeln!(
        out,
        "{} cores {}, {} MiB, Linux {}, {}",
        around.cores, around.processor, around.memory, around.kernel, around.file_system
    )?;
    writeln!(out, "{}", around.programs.join(", "))?;
    writeln!(
        out,
        "load average {} when it began, {} when it ended: times include what others did",
        around.load, report.load_after
    )?;
    if let Some(data) = report.data {
        writeln!(
            out,
            "data: {} files, {:.0} MB: small source files, SQL dumps, random bytes; all of it in the page cache",
            data.files,
            data.bytes as f64 / 1e6
        )?;
    }
    Ok(())
}

pub(super) fn title(out: &mut String, text: &str) -> Written {
    writeln!(out, "\n{text}\n{}", "-".repeat(text.chars().count()))
}

fn log_part(out: &mut String, log: &Figures) -> Written {
    title(out, "event log")?;
    writeln!(
        out,
        "{:34} {:>12} {:>12} {:>8} {:>14} {:>12}",
        "durable appends, about 300 bytes", "log ev/s", "raw ev/s", "ratio", "(min … max)", "events/sync"
    )?;
    for (name, rounds) in [("1 writer", &log.one), ("64 writers", &log.many)] {
        let of = |figure: fn(&Beside) -> f64| median(rounds.iter().map(figure).collect());
        let ratios: Vec<f64> = rounds.iter().map(Beside::ratio).collect();
        writeln!(
            out,
            "{name:34} {:12.0} {:12.0} {:8.2} {:>14} {:12.1}",
            of(Beside::log_speed),
            of(Beside::raw_speed),
            median(ratios.clone()),
            spread(&ratios),
            of(Beside::batch),
        )?;
    }
    writeln!(out, "raw: one thread writes the bytes of the same commits to a plain file, fdatasync after each\n")?;
    let events = log.events();
    writeln!(out, "{:50} {:10.2} M events/s", "replay, read from the log", log.read_speed() / 1e6)?;
    writeln!(out, "{:50} {:10.2} M events/s", "replay, read, decoded and folded into history", log.fold_speed() / 1e6)?;
    writeln!(out, "{:50} {:10.2} s a million", "open after a clean close", log.open_clean_seconds())?;
    writeln!(out, "{:50} {:10.2} s a million", "open after kill -9 amid appends", log.open_killed_seconds())?;
    writeln!(out, "{:50} {:10.0} MB a million", "disk, both copies", log.disk as f64 / events as f64)?;
    writeln!(out, "{:50} {:10.1} MiB a million", "memory that opening takes", log.open_memory())?;
    writeln!(out, "the log: {events} events of {} runs, appended one by one by 64 writers", log.runs())
}

fn runs_part(out: &mut String, runs: &Runs) -> Written {
    for task in Task::ALL {
        title(out, task.title())?;
        let ours = runs.taken.get(&(task, Contender::Holdfast));
        writeln!(
            out,
            "{:24} {:>8} {:>15} {:>8} {:>8} {:>9} {:>10} {:>18}",
            "", "wall s", "(min … max)", "CPU s", "peak MiB", "then sync", "stored MB", "holdfast / this"
        )?;
        for contender in Contender::ALL {
            let Some(series) = runs.taken.get(&(task, contender)) else { continue };
            let walls: Vec<f64> = series.0.iter().map(|taken| taken.wall).collect();
            let stored = match (task, runs.stored.get(&contender)) {
                (Task::First, Some(bytes)) => format!("{:.0}", *bytes as f64 / 1e6),
                _ => String::new(),
            };
            let beside = ours.filter(|_| contender != Contender::Holdfast).map(|ours| ratio(ours, series));
            writeln!(
                out,
                "{:24} {:8.2} {:>15} {:8.2} {:8.0} {:9.2} {:>10} {:>18}",
                contender.name(),
                series.wall(),
                spread(&walls),
                series.median(|taken| taken.cpu),
                series.median(|taken| taken.peak),
                series.median(|taken| taken.sync),
                stored,
                beside.unwrap_or_default(),
            )?;
        }
    }
    writeln!(
        out,
        "\nholdfast syncs what it stores and what it restores before it ends, restic and borg what they store; the others"
    )?;
    writeln!(
        out,
        "leave it to the `sync` that follows each command and is in no other column. Peak is of the largest process."
    )
}

/// Our median by theirs, and the smallest and largest of the rounds.
fn ratio(ours: &Series, theirs: &Series) -> String {
    let rounds: Vec<f64> = ours.0.iter().zip(&theirs.0).map(|(ours, theirs)| ours.wall / theirs.wall).collect();
    format!("{:.2} ({})", ours.wall() / theirs.wall(), spread(&rounds))
}

pub(super) fn spread(numbers: &[f64]) -> String {
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{least:.2} … {most:.2}")
}

fn memory_part(out: &mut String, report: &Report) -> Written {
    if report.memory.is_empty() {
        return Ok(());
    }
    title(out, "peak memory of holdfast by size of the input, MiB")?;
    writeln!(out, "{:>12} {:>10} {:>10} {:>10} {:>14}", "input MB", "backup", "verify", "restore", "backup wall s")?;
    for one in &report.memory {
        let [backup, verify, restore] = [one.backup, one.verify, one.restore].map(|taken| taken.peak);
        let megabytes = one.bytes as f64 / 1e6;
        writeln!(out, "{megabytes:12.0} {backup:10.1} {verify:10.1} {restore:10.1} {:14.1}", one.backup.wall)?;
    }
    Ok(())
}

fn parallel_part(out: &mut String, report: &Report) -> Written {
    if report.parallel.is_empty() {
        return Ok(());
    }
    title(out, "the data set shared out over participants that run at once")?;
    writeln!(out, "{:>14} {:>14} {:>10} {:>10} {:>10}", "CPU workers", "participants", "wall s", "CPU s", "peak MiB")?;
    for (shape, series) in &report.parallel {
        let workers = if shape.workers == 0 { "one a core".to_owned() } else { shape.workers.to_string() };
        writeln!(
            out,
            "{workers:>14} {:14} {:10.2} {:10.2} {:10.0}",
            shape.participants,
            series.wall(),
            series.median(|taken| taken.cpu),
            series.median(|taken| taken.peak)
        )?;
    }
    Ok(())
}

fn targets_part(out: &mut String, report: &Report) -> Written {
    title(out, "targets")?;
    for target in judge(report) {
        let bound = match target.bound {
            Bound::AtLeast(least) => format!("at least {least}"),
            Bound::AtMost(most) => format!("at most {most}"),
        };
        let verdict = if target.reached { "reached" } else { "NOT reached" };
        writeln!(out, "{:56} {bound:>14} {:10.2}  {verdict}", target.what, target.found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::dataset::Made;
    use crate::bench::measure::Taken;
    use crate::bench::surroundings::Surroundings;

    fn report() -> Report {
        let taken = |wall| Taken { wall, cpu: wall * 1.9, peak: 1495.2, sync: 12.34 };
        let mut runs = Runs::default();
        for task in Task::ALL {
            for (number, contender) in (1_u32..).zip(Contender::ALL) {
                let series = Series(vec![taken(123.4 * f64::from(number)), taken(150.0), taken(1.0)]);
                runs.taken.insert((task, contender), series);
                runs.stored.insert(contender, 835_000_000);
            }
        }
        Report {
            rounds: 3,
            surroundings: Surroundings {
                processor: "Some Processor 9999X".into(),
                cores: 2,
                memory: 24_105,
                kernel: "6.18.44".into(),
                load: "12.34 12.34 12.34".into(),
                file_system: "ext4, a volume of its own in a file".into(),
                programs: vec!["restic 0.14.0".into(), "borg 1.2.4".into()],
            },
            load_after: "12.34 12.34 12.34".into(),
            data: Some(Made { files: 37_004, bytes: 1_764_000_000 }),
            log: None,
            runs: Some(runs),
            memory: Vec::new(),
            parallel: Vec::new(),
            server: None,
            copies: None,
        }
    }

    #[test]
    fn lines_fit_a_screen() {
        let text = text(&report());
        let long: Vec<_> = text.lines().filter(|line| line.chars().count() > 110).collect();
        assert!(long.is_empty(), "{long:#?}");
    }

    #[test]
    fn a_ratio_is_of_medians_and_says_how_far_rounds_lie_apart() {
        let text = text(&report());
        let restic = text.lines().find(|line| line.starts_with("restic ") && line.contains("835")).unwrap();
        // 123.4 by 150: of holdfast's 123.4, 150 and 1 against 617, 150 and 1.
        assert!(restic.ends_with("0.82 (0.20 … 1.00)"), "{restic}");
    }

    #[test]
    fn targets_say_whether_they_are_reached() {
        let text = text(&report());
        let verdict = |what: &str| text.lines().find(|line| line.starts_with(what)).unwrap().to_owned();
        assert!(verdict("first backup: speed / restic").ends_with("1.22  NOT reached"), "{text}");
        assert!(verdict("restore: time / plain parallel copy").ends_with("0.82  reached"), "{text}");
        assert!(verdict("peak memory").ends_with("1495.20  NOT reached"), "{text}");
        assert!(!text.contains("replay"), "there is no figure for it");
    }
}
