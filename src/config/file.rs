//! The file itself: what it may be and who may write it, for it says what is run.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::error::{ConfigError, Problem};

/// Largest configuration file read, in bytes.
const MAX_FILE: u64 = 1 << 20;

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
