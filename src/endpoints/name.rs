//! Names at a far side: such as every kind can keep, and none takes for a way out of its folder.

use std::fmt;

/// Longest name, in bytes: S3 allows 1,024 with the prefix of the endpoint (Amazon S3 user guide, "Naming objects").
const MAX_NAME: usize = 700;
/// Longest segment, in bytes: file systems allow 255.
const MAX_SEGMENT: usize = 200;
const RULE: &str = "segments of 1 to 200 characters of A-Z, a-z, 0-9, '.', '_' and '-' with '/' between them, none of them '.' or '..' and \
    none beginning with '.holdfast-', 700 bytes at most";

/// A text that is no name at a far side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name at a far side: it is made of {RULE}")]
pub struct InvalidObjectName(String);

/// What something is called at a far side: `a/b/c`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// A name of this text.
    ///
    /// # Errors
    /// [`InvalidObjectName`] where it is none.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidObjectName> {
        let text = text.into();
        if !text.is_empty() && text.len() <= MAX_NAME && text.split('/').all(is_segment) {
            Ok(Self(text))
        } else {
            Err(InvalidObjectName(text.chars().take(80).collect()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder it is in; empty for the top.
    pub(super) fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder of names: all that begin with it and a `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prefix(String);

impl Prefix {
    /// The top: all names.
    #[must_use]
    pub fn top() -> Self {
        Self::default()
    }

    /// A folder, without a `/` at its end.
    ///
    /// # Errors
    /// [`InvalidObjectName`] where it is no name.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidObjectName> {
        ObjectName::new(text).map(|name| Self(name.0))
    }

    /// The folder as text; empty for the top.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name is in it.
    #[must_use]
    pub fn holds(&self, name: &ObjectName) -> bool {
        self.0.is_empty() || name.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Whether a text can be one part of a name.
pub(super) fn is_segment(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_SEGMENT).contains(&text.len())
        && text.bytes().all(legal)
        && text != "."
        && text != ".."
        && !text.starts_with(".holdfast-")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        for good in ["a", "a/b.c", "...", "A-Z/0_9", &"x".repeat(200)] {
            assert_eq!(ObjectName::new(good).unwrap().as_str(), good);
        }
        let long = vec!["x".repeat(200); 4].join("/");
        let segment = "x".repeat(201);
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/./b",
            "a\\b",
            "a b",
            "ä",
            "a\0",
            ".holdfast-partial",
            &long,
            &segment,
        ] {
            assert!(ObjectName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_a_folder() {
        let name = ObjectName::new("ab/c").unwrap();
        assert!(Prefix::new("ab").unwrap().holds(&name) && Prefix::top().holds(&name));
        assert!(!Prefix::new("a").unwrap().holds(&name) && !Prefix::new("ab/c").unwrap().holds(&name));
    }
}
