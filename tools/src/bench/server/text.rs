//! The figures as text, at most 110 columns wide.

use std::fmt::{Result, Write};

use super::Figures;
use super::capacity::{CONNECTIONS, Door, Round, Taken, UNDER_WAY};
use super::interference::{ASKING, Alone, RATE, SUBSCRIBERS};
use super::overload::{BY_HTTP, BY_TCP, Overload};
use super::tally::Answers;
use crate::bench::measure::median;
use crate::bench::table::{spread, title};

/// Writes the part of the server.
///
/// # Errors
/// As `out` says.
pub(in crate::bench) fn text(out: &mut String, figures: &Figures) -> Result {
    capacity(out, figures)?;
    interference(out, figures)?;
    overload(out, &figures.overload)
}

fn capacity(out: &mut String, figures: &Figures) -> Result {
    title(out, &format!("server: capacity, {CONNECTIONS} connections with {UNDER_WAY} requests under way each"))?;
    writeln!(
        out,
        "{:30} {:>10} {:>16} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}",
        "", "answers/s", "(min … max)", "p50 ms", "p99 ms", "CPU", "clients", "peak MiB", "errors"
    )?;
    let mut command = "";
    for taken in &figures.capacity.taken {
        if taken.command != command {
            command = taken.command;
            writeln!(out, "{command}, {} bytes an answer", taken.bytes)?;
        }
        row(out, taken)?;
    }
    writeln!(
        out,
        "CPU: processors that the server took; clients: those that the clients did, of the same machine. HTTP/1.1,"
    )?;
    writeln!(
        out,
        "pipelined. A bare actix-web handler reads the body and answers with the same bytes, without looking up who asks."
    )
}

fn row(out: &mut String, taken: &Taken) -> Result {
    let name = match taken.door {
        Door::Tcp => "  TCP",
        Door::Http => "  HTTP",
        Door::Bare => "  bare actix-web",
    };
    let of = |figure: fn(&Round) -> f64| taken.rounds.iter().map(figure).collect::<Vec<_>>();
    let speeds = of(|round| round.speed);
    let range = speeds.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), one| (least.min(*one), most.max(*one)));
    writeln!(
        out,
        "{name:30} {:10.0} {:>16} {:8.1} {:8.1} {:8.2} {:8.2} {:8.0} {:6}",
        median(speeds),
        format!("{:.0} … {:.0}", range.0, range.1),
        median(of(|round| round.answers.p50)),
        median(of(|round| round.answers.p99)),
        median(of(|round| round.server_cpu)),
        median(of(|round| round.client_cpu)),
        of(|round| round.peak).into_iter().fold(0.0, f64::max),
        taken.rounds.iter().map(|round| round.answers.errors()).sum::<u64>(),
    )?;
    wrong(out, taken.rounds.iter().map(|round| &round.answers))
}

fn interference(out: &mut String, figures: &Figures) -> Result {
    let interference = &figures.interference;
    title(out, &format!("server: a run beside {RATE} requests a second and {SUBSCRIBERS} subscribers"))?;
    writeln!(
        out,
        "{:30} {:>10} {:>16} {:>12} {:>12} {:>10}",
        "", "wall s", "(min … max)", "server CPU s", "client CPU s", "peak MiB"
    )?;
    let watched: Vec<Alone> = interference.watched.iter().map(|watched| watched.run).collect();
    for (name, runs) in [("run alone", &interference.alone), ("run with clients", &watched)] {
        let of = |figure: fn(&Alone) -> f64| runs.iter().map(figure).collect::<Vec<_>>();
        writeln!(
            out,
            "{name:30} {:10.2} {:>16} {:12.2} {:12.2} {:10.0}",
            median(of(|run| run.wall)),
            spread(&of(|run| run.wall)),
            median(of(|run| run.server_cpu)),
            median(of(|run| run.client_cpu)),
            of(|run| run.peak).into_iter().fold(0.0, f64::max),
        )?;
    }
    writeln!(out, "{:30} {:10.2}", "with clients / alone", interference.ratio())?;
    let of =
        |figure: fn(&Answers) -> f64| median(interference.watched.iter().map(|one| figure(&one.answers)).collect());
    let sum = |figure: fn(&super::interference::Watched) -> u64| interference.watched.iter().map(figure).sum::<u64>();
    writeln!(
        out,
        "{} answers right, {} errors, p50 {:.1} ms, p99 {:.1} ms from when each was due; {} updates, {} events, {} finals",
        sum(|one| one.answers.right),
        interference.errors(),
        of(|answers| answers.p50),
        of(|answers| answers.p99),
        sum(|one| one.events.updates),
        sum(|one| one.events.recorded),
        sum(|one| one.events.finals),
    )?;
    writeln!(
        out,
        "asked in turns by {ASKING} connections: GetBackupProgress, GetBackupRuns (100 rows), GetBackupRun of the run."
    )?;
    writeln!(out, "The clients' CPU time is taken from the run's, on the same processors.")?;
    wrong(out, interference.watched.iter().map(|watched| &watched.answers))
}

fn overload(out: &mut String, overload: &Overload) -> Result {
    title(
        out,
        &format!(
            "server: overload, {BY_TCP} connections over TCP and {BY_HTTP} over HTTP that never wait, default limits"
        ),
    )?;
    writeln!(out, "{:30} {:>12} {:>12} {:>12} {:>10} {:>10}", "", "right", "429", "wrong", "p50 ms", "p99 ms")?;
    let rows =
        [("TCP", &overload.tcp), ("HTTP", &overload.http), ("one that asks 10 times a second", &overload.modest)];
    for (name, answers) in rows {
        let Answers { right, too_many, wrong, p50, p99, .. } = answers;
        write!(out, "{name:31} {right:11} {too_many:12} {wrong:12}")?;
        // Latency of who never waits is that of its own queue.
        if *p99 > 0.0 { writeln!(out, " {p50:10.1} {p99:10.1}")? } else { writeln!(out)? }
    }
    wrong(out, rows.into_iter().map(|(_, answers)| answers))?;
    let passing = overload.passing;
    writeln!(
        out,
        "{} connected in passing, {} of them were told why they had to go, {} failed; the flood took {:.1} s",
        passing.connected, passing.told, passing.failed, overload.seconds
    )?;
    writeln!(
        out,
        "the run completed: {:.2} s, alone {:.2} s; peak of the server {:.0} MiB; CPU s: server {:.1}, clients {:.1}",
        overload.run.wall, overload.alone.wall, overload.run.peak, overload.run.server_cpu, overload.run.client_cpu
    )
}

/// The first answer that was wrong, where one was.
fn wrong<'a>(out: &mut String, mut answers: impl Iterator<Item = &'a Answers>) -> Result {
    match answers.find_map(|answers| answers.first_wrong.as_deref()) {
        Some(first) => writeln!(out, "  for example: {}", first.chars().take(90).collect::<String>().escape_debug()),
        None => Ok(()),
    }
}
