//! What the commands write: text for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

pub(super) use holdfast_model::figures::{count, counted, seconds, size};
use holdfast_model::run::RunStatus;
use serde::Serialize;

use super::exit::{CliError, Exit};

/// Spaces between two columns.
const BETWEEN: usize = 2;

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

/// A time for people, in the local time zone; `-` for none.
pub(super) fn time(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(at) if seconds != 0 => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => "-".into(),
    }
}

/// Columns under a header, each as wide as its widest cell. On a terminal the last columns that it has no room for go to lines of their own,
/// below their row: nothing is broken in the middle, so that ids can be copied. Elsewhere a row is one line, for what reads lines.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    table_within(terminal_width(), header, rows)
}

fn table_within(room: Option<usize>, header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|title| title.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let ends = widths.iter().scan(0, |end, width| {
        *end += width + BETWEEN;
        Some(*end - BETWEEN)
    });
    let beside = ends.take_while(|end| room.is_none_or(|room| *end <= room)).count().max(1);
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.take(beside).zip(&widths).map(|(cell, width)| format!("{cell:<0$}", width + BETWEEN));
        padded.collect::<String>().trim_end().to_owned()
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    for row in rows {
        lines.push(line(&mut row.iter().map(String::as_str)));
        let below = header.iter().zip(row).skip(beside).filter(|(_, cell)| !cell.is_empty());
        lines.extend(below.map(|(title, cell)| match *title {
            "" => format!("    {cell}"),
            title => format!("    {}: {cell}", title.to_lowercase()),
        }));
    }
    lines.join("\n")
}

/// How many columns the terminal has that standard output is.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
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
    fn hostile_names_stay_on_their_line() {
        assert_eq!(printable(b"a\nb\x1b[31m\xff\\"), "a\\nb\\u{1b}[31m\\xff\\\\");
    }

    #[test]
    fn a_table_lines_up() {
        let rows = vec![vec!["1".to_owned(), "long cell".to_owned()], vec!["22".to_owned(), "x".to_owned()]];
        assert_eq!(table_within(None, &["ID", "B"], &rows), "ID  B\n1   long cell\n22  x");
        assert_eq!(table_within(Some(13), &["ID", "B"], &rows), "ID  B\n1   long cell\n22  x");
        assert_eq!(table_within(Some(12), &["ID", "B"], &rows), "ID\n1\n    b: long cell\n22\n    b: x");
    }
}
