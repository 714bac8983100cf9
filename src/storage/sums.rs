//! `SHA256SUMS`: the SHA-256 of each file of a run, as `sha256sum` writes and checks it.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_model::ids::{ArtifactName, Sha256};

use super::error::StorageError;

/// Longest list read, in bytes.
pub(crate) const MAX_BYTES: u64 = 16 << 20;

/// Hashes by file name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums(pub(crate) BTreeMap<ArtifactName, Sha256>);

impl Sums {
    /// The text of the file, in the order of the names.
    pub(crate) fn to_text(&self) -> String {
        self.0.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect()
    }

    /// Reads a list. Only the form that is written here is taken: one line a file, lower-case, names without folders.
    pub(crate) fn from_text(text: &[u8], path: &Path) -> Result<Self, StorageError> {
        let invalid = |line, reason: String| StorageError::SumsInvalid { path: path.to_owned(), line, reason };
        let text = std::str::from_utf8(text).map_err(|_| invalid(0, "it is not text".to_owned()))?;
        let mut sums = Self::default();
        for (n, line) in text.split_inclusive('\n').enumerate() {
            let refuse = |reason: String| invalid(n + 1, reason);
            let line = line.strip_suffix('\n').ok_or_else(|| refuse("it is cut off".to_owned()))?;
            let (sha256, name) =
                line.split_once("  ").ok_or_else(|| refuse("it is not a hash, two spaces and a name".to_owned()))?;
            let sha256 = sha256.parse().map_err(|error| refuse(format!("{error}")))?;
            let name: ArtifactName = name.parse().map_err(|error| refuse(format!("{error}")))?;
            if sums.0.insert(name, sha256).is_some() {
                return Err(refuse("its file is listed twice".to_owned()));
            }
        }
        Ok(sums)
    }
}

/// Reads a list as [`Sums::from_text`], for whoever only needs what is in it.
pub(crate) fn parse(text: &[u8], path: &Path) -> Result<BTreeMap<ArtifactName, Sha256>, StorageError> {
    Sums::from_text(text, path).map(|sums| sums.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let names = ["b.lz4", "a.lz4", "manifest.json"];
        let sums = Sums(names.iter().map(|name| (name.parse().unwrap(), Sha256([7; 32]))).collect());
        let text = sums.to_text();
        assert!(text.starts_with(&format!("{}  a.lz4\n", "07".repeat(32))));
        assert_eq!(Sums::from_text(text.as_bytes(), Path::new("SHA256SUMS")).unwrap(), sums);
    }

    #[test]
    fn other_forms_are_refused_with_their_line() {
        let hash = "07".repeat(32);
        for text in [
            format!("{hash}  a.lz4"),
            format!("{hash} *a.lz4\n"),
            format!("{hash}  ../a\n"),
            format!("{hash}  /etc/passwd\n"),
            format!("{}  a\n", hash.to_uppercase().replace('7', "A")),
            format!("{hash}   a\n"),
            "\n".to_owned(),
        ] {
            let error = Sums::from_text(text.as_bytes(), Path::new("SHA256SUMS")).unwrap_err();
            assert!(matches!(error, StorageError::SumsInvalid { line: 1, .. }), "{text:?}: {error}");
        }
        let twice = format!("{hash}  a\n{hash}  a\n");
        let error = Sums::from_text(twice.as_bytes(), Path::new("SHA256SUMS")).unwrap_err();
        assert!(matches!(error, StorageError::SumsInvalid { line: 2, .. }));
    }
}
