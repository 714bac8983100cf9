//! What is wrong with a configuration, told so that it can be mended: the place, the line, the key, what is allowed.
//!
//! A line is shown as it stands in the file, with two exceptions: values of `env` may be secret, and private keys are; neither
//! is ever part of an error.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// Most problems told of one file.
const MAX_TOLD: usize = 50;
/// Most characters of a line that are shown.
const MAX_SHOWN: usize = 200;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is none.
    #[error("there is no configuration {}: correct the path, or write one with `holdfast init`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is a folder, a pipe, a device.
    #[error("the configuration {} is not a file: name one", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Nobody writes so much by hand.
    #[error("the configuration {} is larger than {limit} bytes: name the right file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Largest size in bytes.
        limit: u64,
    },
    /// Everybody may write it, and it says what is run.
    #[error("everybody may write the configuration {0}, which says what is run: `chmod o-w {0}`", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else owns it, and it says what is run.
    #[error(
        "the configuration {} belongs to user {owner}: it says what is run, so it must belong to you or root (`chown`)",
        path.display()
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// The uid of its owner.
        owner: u32,
    },
    /// It is not what it should be.
    #[error("{}", told(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, in the order of the lines. Never empty.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// Stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "CONFIG_MISSING",
            Self::Io { .. } | Self::NotAFile { .. } => "CONFIG_UNREADABLE",
            Self::Writable { .. } | Self::Owner { .. } => "CONFIG_UNSAFE",
            Self::TooLarge { .. } | Self::Invalid { .. } => "CONFIG_INVALID",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong and what is allowed.
    pub message: String,
    /// The line and a mark below it, without secrets; empty where it cannot be shown.
    pub excerpt: String,
}

fn told(path: &Path, problems: &[Problem]) -> String {
    let mut lines = Vec::new();
    for problem in problems.iter().take(MAX_TOLD) {
        lines.push(format!("{}:{}:{}: {}", path.display(), problem.line, problem.column, problem.message));
        lines.extend(problem.excerpt.lines().map(|line| format!("  {line}")));
    }
    match problems.len().saturating_sub(MAX_TOLD) {
        0 => {}
        more => lines.push(format!("and {more} more")),
    }
    lines.join("\n")
}

/// What was found, by its place in the text.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Found>,
    /// Where values are that are never shown.
    secrets: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Found {
    span: Range<usize>,
    message: String,
    shown: Shown,
}

/// How much of its line may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// All of it but what is known to be secret.
    Line,
    /// Up to the end of the place: what follows is not known to be harmless.
    Start,
    /// Nothing.
    Nothing,
}

impl Problems {
    /// Something is wrong here.
    pub(super) fn add(&mut self, span: Range<usize>, message: String) {
        self.found.push(Found { span, message, shown: Shown::Line });
    }

    /// This key should not be here; what its value is for is not known.
    pub(super) fn add_key(&mut self, span: Range<usize>, message: String) {
        self.found.push(Found { span, message, shown: Shown::Start });
    }

    /// The text is no TOML here, so what it was to mean is not known.
    pub(super) fn add_syntax(&mut self, text: &str, span: Range<usize>, message: String) {
        let shown = if may_be_env(text, span.start) { Shown::Nothing } else { Shown::Line };
        self.found.push(Found { span, message, shown });
    }

    /// The value here is never shown.
    pub(super) fn hide(&mut self, span: Range<usize>) {
        self.secrets.push(span);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// As they are told, in the order of the text.
    pub(super) fn told(mut self, text: &str) -> Vec<Problem> {
        self.found.sort_by_key(|found| found.span.start);
        self.found.iter().map(|found| self.problem(found, text)).collect()
    }

    fn problem(&self, found: &Found, text: &str) -> Problem {
        let line = line_at(text, found.span.start);
        let before = text.get(line.start..found.span.start).unwrap_or_default();
        Problem {
            line: text.get(..line.start).unwrap_or_default().matches('\n').count() + 1,
            column: before.chars().count() + 1,
            message: if holds_key(&found.message) {
                "a private key stands here, where none belongs: name the file that it lies in".to_owned()
            } else {
                found.message.clone()
            },
            excerpt: self.excerpt(found, text, line),
        }
    }

    fn excerpt(&self, found: &Found, text: &str, line: Range<usize>) -> String {
        let end = match found.shown {
            Shown::Nothing => return String::new(),
            Shown::Start => found.span.end.clamp(line.start, line.end),
            Shown::Line => line.end,
        };
        if self.secrets.iter().any(|secret| secret.start < end && secret.end > line.start) {
            return String::new();
        }
        if holds_key(text.get(line.clone()).unwrap_or_default()) {
            return String::new();
        }
        let shown = text.get(line.start..end).unwrap_or_default();
        let before = text.get(line.start..found.span.start).unwrap_or_default().chars().count();
        if shown.trim().is_empty() || before > MAX_SHOWN {
            return String::new();
        }
        let visible = |c: char| if c.is_control() { ' ' } else { c };
        let place = text.get(found.span.start..found.span.end.clamp(found.span.start, line.end));
        let marks = place.unwrap_or_default().chars().count().clamp(1, MAX_SHOWN);
        let shown: String = shown.chars().take(MAX_SHOWN).map(visible).collect();
        format!("| {}\n| {}{}", shown.trim_end(), " ".repeat(before), "^".repeat(marks))
    }
}

/// Whether there is a private key in it, or the beginning of one, wherever it was pasted.
fn holds_key(text: &str) -> bool {
    text.to_ascii_uppercase().contains("AGE-SECRET-KEY-1")
}

/// The line a place lies in, without its end.
fn line_at(text: &str, at: usize) -> Range<usize> {
    let at = at.min(text.len());
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    let rest = text.get(start..).unwrap_or_default();
    start..start + rest.find('\n').unwrap_or(rest.len())
}

/// Whether the line may be part of an `env`: the word stands in it, or before it in the same part of the file.
fn may_be_env(text: &str, at: usize) -> bool {
    let end = line_at(text, at).end;
    let before = text.get(..end).unwrap_or_default();
    let header = before.rmatch_indices('\n').map(|(at, _)| at + 1).chain([0]);
    let part = header.filter_map(|start| before.get(start..)).find(|rest| rest.trim_start().starts_with('['));
    part.unwrap_or(before).contains("env")
}
