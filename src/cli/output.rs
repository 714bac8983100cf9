//! What the commands write: text for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use holdfast_model::run::RunStatus;
use serde::Serialize;

use super::exit::{CliError, Exit};

/// Where output goes and in which form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
}

impl Output {
    /// Writes a line for people; nothing with `--quiet` or `--json`.
    pub(super) fn line(self, text: impl AsRef<str>) -> Result<(), CliError> {
        if self.quiet || self.json { Ok(()) } else { write_line(text.as_ref()) }
    }

    /// Writes what was asked for; `--quiet` does not take it away.
    pub(super) fn result(self, text: impl AsRef<str>) -> Result<(), CliError> {
        if self.json { Ok(()) } else { write_line(text.as_ref()) }
    }

    /// Writes a value on one line with `--json`.
    pub(super) fn value(self, value: &impl Serialize) -> Result<(), CliError> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string(value).map_err(|error| CliError::failed("JSON", error))?;
        write_line(&text)
    }

    /// Writes to standard error what is good to know; nothing with `--quiet`.
    pub(super) fn note(self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// Writes to standard error what somebody has to see to; `--quiet` does not take it away. With `--json` it is in the values.
    pub(super) fn alert(self, text: impl AsRef<str>) {
        if !self.json {
            let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// Whether a progress bar has somewhere to be drawn.
    pub(super) fn has_terminal(self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }
}

fn write_line(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| output_error(&error))
}

/// A reader that went away (`| head`) is no error worth a message.
pub(super) fn output_error(error: &io::Error) -> CliError {
    let exit = Exit::Failed;
    let code = if error.kind() == io::ErrorKind::BrokenPipe { "OUTPUT_CLOSED" } else { "OUTPUT" };
    CliError::new(exit, code, format!("cannot write the output: {error}"), "")
}

/// A size for people, in units of 1000, with three digits: `1.76 GB`.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    match (unit, value) {
        ("B", _) => format!("{bytes} B"),
        (_, value) if value < 9.995 => format!("{value:.2} {unit}"),
        (_, value) if value < 99.95 => format!("{value:.1} {unit}"),
        (_, value) => format!("{value:.0} {unit}"),
    }
}

/// A count with separators: `37,104`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`.
pub(super) fn counted(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {one}{ending}", count(number))
}

/// A duration for people: `4.9 s`, `3 min 20 s`.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 60.0 => format!("{short:.1} s"),
        long => {
            let whole = long as u64;
            let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
            if hours > 0 { format!("{hours} h {minutes} min") } else { format!("{minutes} min {rest} s") }
        }
    }
}

/// A time for people, in the local time zone; `-` for none.
pub(super) fn time(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(at) if seconds != 0 => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => "-".into(),
    }
}

/// Columns under a header, each as wide as its widest cell.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(header.get(column).map(|title| title.len())).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    [line(&header)].into_iter().chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

/// A path as one printable line: control characters and bytes that are no UTF-8 escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// The exit code a run's end means.
pub(super) fn exit_of(status: RunStatus, warnings: u64) -> Exit {
    match status {
        RunStatus::Completed if warnings == 0 => Exit::Good,
        RunStatus::Completed | RunStatus::Partial => Exit::Warnings,
        RunStatus::Cancelled => Exit::Cancelled,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([size(0), size(999), size(1000), size(667_000_000)], ["0 B", "999 B", "1.00 kB", "667 MB"]);
        assert_eq!([size(1_760_000_000), size(12_345_678)], ["1.76 GB", "12.3 MB"]);
        assert_eq!([count(0), count(999), count(37_104), count(1_000_000)], ["0", "999", "37,104", "1,000,000"]);
        assert_eq!([seconds(4.94), seconds(200.0), seconds(7300.0)], ["4.9 s", "3 min 20 s", "2 h 1 min"]);
    }

    #[test]
    fn hostile_names_stay_on_their_line() {
        assert_eq!(printable(b"a\nb\x1b[31m\xff\\"), "a\\nb\\u{1b}[31m\\xff\\\\");
    }

    #[test]
    fn a_table_lines_up() {
        let rows = vec![vec!["1".to_owned(), "long cell".to_owned()], vec!["22".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["ID", "B"], &rows), "ID  B\n1   long cell\n22  x");
    }
}
