//! The file itself: what it may be and who may write it, for it says what is run.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem};
use crate::command::is_telling;

/// Largest configuration file read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A configuration file as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
}

/// The text may hold secrets.
impl std::fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ConfigFile {
    pub(super) fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says, with `***` for the values of variables whose names say that they are secret; `None` where these cannot be found.
    #[must_use]
    pub fn without_secrets(&self) -> Option<String> {
        let (document, errors) = DeTable::parse_recoverable(&self.text);
        if !errors.is_empty() {
            return None;
        }
        let mut spans: Vec<Range<usize>> = Vec::new();
        let participants = document.get_ref().get("participant").and_then(|list| list.get_ref().as_array());
        for participant in participants.into_iter().flat_map(|list| list.iter()) {
            let DeValue::Table(participant) = participant.get_ref() else { continue };
            let Some(variables) = participant.get("env").and_then(|env| env.get_ref().as_table()) else { continue };
            let telling = variables.iter().filter(|(name, _)| is_telling(name.get_ref()));
            spans.extend(telling.map(|(_, value)| value.span()));
        }
        spans.sort_unstable_by_key(|span| std::cmp::Reverse(span.start));
        let mut text = self.text.clone();
        for span in spans {
            text.get(span.clone())?;
            text.replace_range(span, "\"***\"");
        }
        Some(text)
    }
}

/// Reads a configuration's text, from the very file whose owner and mode were looked at.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
        _ => ConfigError::Io { path: path.to_owned(), source },
    };
    // A pipe nobody writes to must not hold the program up.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
    check(path, &file.metadata().map_err(failed)?)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ConfigError::TooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count() + 1;
        let message = "the file is not UTF-8 here: save it as UTF-8".to_owned();
        let problem = Problem { line, column: 1, message, excerpt: String::new() };
        ConfigError::Invalid { path: path.to_owned(), problems: vec![problem] }
    })
}

fn check(path: &Path, facts: &Metadata) -> Result<(), ConfigError> {
    if !facts.is_file() {
        return Err(ConfigError::NotAFile { path: path.to_owned() });
    }
    if facts.uid() != 0 && facts.uid() != rustix::process::geteuid().as_raw() {
        return Err(ConfigError::Owner { path: path.to_owned(), owner: facts.uid() });
    }
    if facts.mode() & 0o002 != 0 {
        return Err(ConfigError::Writable { path: path.to_owned() });
    }
    Ok(())
}
