//! The figures of the copies as text.

use std::fmt::Write as _;

use super::Figures;
use crate::bench::measure::Series;
use crate::bench::table::{spread, title};

/// The figures as text.
pub(in crate::bench) fn text(out: &mut String, figures: &Figures) -> std::fmt::Result {
    title(out, "copies of a run of one artifact that does not compress, over loopback")?;
    let megabytes = figures.bytes as f64 / 1e6;
    let head = |out: &mut String, last: &str| {
        writeln!(
            out,
            "{:34} {:>8} {:>15} {:>8} {:>8} {:>9} {:>8}",
            "", "wall s", "(min … max)", "CPU s", "peak MiB", "then sync", last
        )
    };
    let row = |out: &mut String, name: &str, series: &Series, last: String| {
        let walls: Vec<f64> = series.0.iter().map(|taken| taken.wall).collect();
        writeln!(
            out,
            "{name:34} {:8.2} {:>15} {:8.2} {:8.0} {:9.2} {last:>8}",
            series.wall(),
            spread(&walls),
            series.median(|taken| taken.cpu),
            series.median(|taken| taken.peak),
            series.median(|taken| taken.sync),
        )
    };
    head(out, "MB/s")?;
    for (way, series) in &figures.copies {
        row(out, way.name(), series, format!("{:.0}", megabytes / series.wall()))?;
    }
    writeln!(
        out,
        "{megabytes:.0} MB, hashed again on their way. CPU time is the client's. The vault compares the hash and syncs each piece"
    )?;
    writeln!(out, "and the commit; sftp and folder sync each file; nginx syncs nothing: that is in `then sync`.")?;
    writeln!(out, "With that the vault takes {:.2} of the time of nginx.", figures.by_nginx())?;
    title(out, "encryption of the data set")?;
    head(out, "")?;
    for (pack, series) in &figures.packs {
        row(out, pack.name(), series, String::new())?;
    }
    writeln!(out, "holdfast reads and hashes every artifact again, and syncs; the others do neither")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::copies::{Pack, Way};
    use crate::bench::measure::Taken;

    #[test]
    fn ratios_are_of_medians_and_lines_fit_a_screen() {
        let series = |wall| Series(vec![Taken { wall, cpu: 1.0, peak: 80.0, sync: 0.5 }; 3]);
        let walls = [4.0, 3.0, 2.0, 6.0, 25.0, 26.0, 27.0, 29.7, 3.5];
        let figures = Figures {
            bytes: 512_000_000,
            copies: Way::ALL.into_iter().zip(walls).map(|(way, wall)| (way, series(wall))).collect(),
            packs: Pack::ALL.map(|pack| (pack, series(5.0))).into(),
        };
        assert!((figures.at_once() - 6.0 / 9.0).abs() < 1e-9);
        assert!((figures.limited_at_once() - 1.1).abs() < 1e-9);
        assert!((figures.by_nginx() - 4.5 / 4.0).abs() < 1e-9);
        let mut out = String::new();
        text(&mut out, &figures).unwrap();
        assert!(out.lines().all(|line| line.chars().count() <= 110), "{out}");
    }
}
