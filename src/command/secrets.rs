//! Values that are read from files, given by environment only, and hidden in what a command says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::error::CommandError;

/// Variables with secret values.
pub(super) struct Secrets {
    values: Vec<(String, Vec<u8>)>,
    /// Values that were not read from a file and are hidden for their variables' names.
    named: Vec<Vec<u8>>,
}

/// A variable whose name has one of these holds a secret, wherever its value stands.
const TELLING: [&str; 6] = ["PASS", "PWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL"];

/// Whether a variable holds a secret, by its name.
pub(crate) fn is_telling(name: &str) -> bool {
    TELLING.iter().any(|part| name.to_ascii_uppercase().contains(part))
}

impl Secrets {
    /// Longest value in bytes.
    const MOST: u64 = 64 * 1024;
    /// Shorter values are not hidden: they would be found in innocent text.
    const LEAST_HIDDEN: usize = 4;
    const HIDDEN: &[u8] = b"***";

    /// Reads the values.
    pub(super) fn read(files: &BTreeMap<String, PathBuf>) -> Result<Self, CommandError> {
        let value = |(variable, path): (&String, &PathBuf)| match read_value(path) {
            Ok(value) => Ok((variable.clone(), value)),
            Err(reason) => Err(CommandError::Secret { variable: variable.clone(), path: path.clone(), reason }),
        };
        Ok(Self { values: files.iter().map(value).collect::<Result<_, _>>()?, named: Vec::new() })
    }

    /// Also those of `variables` whose names say that they are secret.
    pub(super) fn and_named(mut self, variables: &BTreeMap<String, String>) -> Self {
        let named = variables.iter().filter(|(name, _)| is_telling(name));
        self.named.extend(named.map(|(_, value)| value.clone().into_bytes()));
        self
    }

    /// The variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, OsString)> {
        self.values.iter().map(|(variable, value)| (variable.as_str(), OsString::from_vec(value.clone())))
    }

    /// The length of the longest value that is hidden.
    pub(super) fn longest(&self) -> usize {
        self.hidden().map(<[u8]>::len).max().unwrap_or(0)
    }

    /// Each value, and each line of one: a program may say them one by one.
    fn hidden(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.values.iter().map(|(_, value)| value).chain(&self.named);
        let lines = all.flat_map(|value| std::iter::once(value.as_slice()).chain(value.split(|&byte| byte == b'\n')));
        lines.filter(|value| value.len() >= Self::LEAST_HIDDEN)
    }

    /// `text` without its first `doubtful` bytes, and with every value in it replaced; values that overlap as one.
    pub(super) fn redacted(&self, text: &[u8], doubtful: usize) -> Vec<u8> {
        let mut spans = Vec::new();
        for value in self.hidden() {
            let found = text.windows(value.len()).enumerate().filter(|(_, window)| *window == value);
            spans.extend(found.map(|(from, _)| (from, from + value.len())));
        }
        spans.sort_unstable();
        let mut out = Vec::with_capacity(text.len());
        let mut at = doubtful.min(text.len());
        let mut hidden_to = 0;
        for (from, to) in spans {
            if to <= at {
                continue;
            }
            out.extend_from_slice(text.get(at..from).unwrap_or_default());
            if from >= hidden_to || hidden_to == 0 {
                out.extend_from_slice(Self::HIDDEN);
            }
            (at, hidden_to) = (to, to);
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        out
    }

    #[cfg(test)]
    pub(super) fn of(values: &[&str]) -> Self {
        Self {
            values: values.iter().map(|value| (String::new(), value.as_bytes().to_vec())).collect(),
            named: Vec::new(),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.iter().map(|(variable, _)| variable)).finish()
    }
}

fn read_value(path: &Path) -> io::Result<Vec<u8>> {
    // Without waiting: a named pipe has nobody at its other end, perhaps for ever.
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?;
    let file = std::fs::File::from(file);
    let metadata = file.metadata()?;
    let refuse = |text| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    if !metadata.is_file() {
        return refuse("it is not a regular file");
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "a file with a secret can be read by others: chmod 600 it");
    }
    let mut value = Vec::new();
    file.take(Secrets::MOST + 1).read_to_end(&mut value)?;
    if value.len() as u64 > Secrets::MOST {
        return refuse("it is longer than 64 KiB");
    }
    if value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
    if value.contains(&0) {
        return refuse("it contains a NUL byte, which no variable can hold");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

    use super::*;

    fn redacted(secrets: &[&str], text: &str) -> String {
        String::from_utf8(Secrets::of(secrets).redacted(text.as_bytes(), 0)).unwrap()
    }

    #[test]
    fn every_value_is_hidden_and_short_ones_are_not() {
        assert_eq!(redacted(&["secret", "abc"], "secret abc secretsecret"), "*** abc ******");
        assert_eq!(redacted(&["abcd", "cdef"], "-abcdef-"), "-***-");
        assert_eq!(redacted(&["aaaa"], "aaaaaa."), "***.");
        assert_eq!(redacted(&["pass", "password"], "password pass"), "*** ***");
        assert_eq!(redacted(&[], "text"), "text");
        assert_eq!(redacted(&["first line\nsecond line"], "> second line"), "> ***");
        let named = [("DB_PASSWORD".to_owned(), "hunter22".to_owned()), ("PGHOST".to_owned(), "/run/db".to_owned())];
        let secrets = Secrets::of(&[]).and_named(&named.into_iter().collect());
        assert_eq!(secrets.redacted(b"hunter22 at /run/db", 0), b"*** at /run/db");
    }

    #[test]
    fn a_value_ends_before_its_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (content, value) in [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\nb\n\n", "a\nb\n"), ("", "")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read_value(&path).unwrap(), value.as_bytes());
        }
    }

    #[test]
    fn files_that_hold_no_value_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("long"), vec![b'x'; 64 * 1024 + 1]).unwrap();
        std::fs::write(path("nul"), b"a\0b").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), Mode::RUSR).unwrap();
        for name in ["missing", "long", "nul", "fifo", "."] {
            let error = Secrets::read(&BTreeMap::from([("PW".into(), path(name))])).unwrap_err();
            assert_eq!(error.code(), "COMMAND_SECRET_UNREADABLE", "{name}");
            assert!(error.to_string().contains("PW"), "{error}");
        }
    }
}
