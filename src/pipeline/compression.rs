//! The compression of an artifact, as the command line, the configuration and the manifest spell it.

use std::fmt;
use std::str::FromStr;

use holdfast_model::ids::{ArtifactName, InvalidName};
use serde::{Deserialize, Serialize};

/// How an artifact's bytes are compressed.
///
/// Its text form is `lz4`, `zstd:N`, `gzip:N`, `brotli:N` or `none`. Without `:N` the usual level is meant: 3, 6, 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Compression {
    /// LZ4 frames (LZ4 Frame Format 1.6.4): fast.
    #[default]
    Lz4,
    /// Zstandard frames (RFC 8878), level 1 to 19.
    Zstd(u8),
    /// Gzip members (RFC 1952), level 1 to 9.
    Gzip(u8),
    /// One Brotli stream (RFC 7932), quality 0 to 11. One worker at a time, and it has no checksum of its own.
    Brotli(u8),
    /// The bytes as they are.
    None,
}

/// A compression that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compression {0:?} is not known: use lz4, zstd:1 to zstd:19, gzip:1 to gzip:9, brotli:0 to brotli:11, or none")]
pub struct InvalidCompression(pub String);

impl Compression {
    /// The extension of an artifact's file, without a dot; empty for [`Compression::None`].
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd(_) => "zst",
            Self::Gzip(_) => "gz",
            Self::Brotli(_) => "br",
            Self::None => "",
        }
    }

    /// The name of the file that holds artifact `logical` in this compression.
    ///
    /// # Errors
    /// [`InvalidName`] where it would be too long.
    pub fn file_name(self, logical: &ArtifactName) -> Result<ArtifactName, InvalidName> {
        match self.extension() {
            "" => Ok(logical.clone()),
            extension => format!("{logical}.{extension}").parse(),
        }
    }
}

impl FromStr for Compression {
    type Err = InvalidCompression;

    fn from_str(text: &str) -> Result<Self, InvalidCompression> {
        let refuse = || InvalidCompression(text.chars().take(40).collect());
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => {
                // One number has one spelling: no sign, no leading zero.
                let number: u8 = level.parse().map_err(|_| refuse())?;
                if number.to_string() != level {
                    return Err(refuse());
                }
                (name, Some(number))
            }
            None => (text, None),
        };
        match (name, level) {
            ("lz4", None) => Ok(Self::Lz4),
            ("none", None) => Ok(Self::None),
            ("zstd", None) => Ok(Self::Zstd(3)),
            ("zstd", Some(level @ 1..=19)) => Ok(Self::Zstd(level)),
            ("gzip", None) => Ok(Self::Gzip(6)),
            ("gzip", Some(level @ 1..=9)) => Ok(Self::Gzip(level)),
            ("brotli", None) => Ok(Self::Brotli(5)),
            ("brotli", Some(level @ 0..=11)) => Ok(Self::Brotli(level)),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
            Self::Gzip(level) => write!(f, "gzip:{level}"),
            Self::Brotli(level) => write!(f, "brotli:{level}"),
            Self::None => f.write_str("none"),
        }
    }
}

impl TryFrom<String> for Compression {
    type Error = InvalidCompression;
    fn try_from(text: String) -> Result<Self, InvalidCompression> {
        text.parse()
    }
}

impl From<Compression> for String {
    fn from(compression: Compression) -> String {
        compression.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["lz4", "none", "zstd:1", "zstd:19", "gzip:1", "gzip:9", "brotli:0", "brotli:11"] {
            let compression: Compression = text.parse().unwrap();
            assert_eq!(compression.to_string(), text);
            assert_eq!(serde_json::to_string(&compression).unwrap(), format!("{text:?}"));
        }
        assert_eq!("zstd".parse(), Ok(Compression::Zstd(3)));
    }

    #[test]
    fn others_are_refused_with_the_choice() {
        for text in
            ["", "lz4:1", "zstd:0", "zstd:20", "zstd:03", "zstd:+3", "gzip:0", "gzip:10", "brotli:12", "xz", "LZ4"]
        {
            let error = text.parse::<Compression>().unwrap_err();
            assert!(error.to_string().contains("use lz4"), "{text}");
        }
    }

    #[test]
    fn the_file_name_says_what_to_undo() {
        let name: ArtifactName = "accounts.snapshot".parse().unwrap();
        let file = |text: &str| text.parse::<Compression>().unwrap().file_name(&name).unwrap().to_string();
        assert_eq!(file("lz4"), "accounts.snapshot.lz4");
        assert_eq!(file("zstd:3"), "accounts.snapshot.zst");
        assert_eq!(file("none"), "accounts.snapshot");
        let long: ArtifactName = "x".repeat(126).parse().unwrap();
        assert!(Compression::Lz4.file_name(&long).is_err());
    }
}
