//! The keys of a run's files, without the identity that unwrapped them.
//!
//! Each encrypted file has a key of its own, wrapped in its header for every recipient. Whoever has unwrapped them once can hand them on:
//! to a server over the home's socket, or to the process that ends a restore after a crash. They open those files and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use age_core::format::{FileKey as AgeKey, Stanza};
use holdfast_model::ids::ArtifactName;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most files of a run: two of each of the artifacts it may have.
const MAX_FILES: usize = 2 * holdfast_model::run::MAX_ARTIFACTS * holdfast_model::run::MAX_PARTICIPANTS;

/// The key of one encrypted file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FileKey(Zeroizing<[u8; 16]>);

impl FileKey {
    pub(crate) fn new(bytes: &[u8; 16]) -> Self {
        Self(Zeroizing::new(*bytes))
    }
}

impl age::Identity for FileKey {
    /// The key of the file, whoever it was wrapped for. The header's own check says whether it is.
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<AgeKey, age::DecryptError>> {
        Some(Ok(AgeKey::new(Box::new(*self.0))))
    }
}

/// The keys of a run's files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FileKeys(BTreeMap<ArtifactName, FileKey>);

impl FileKeys {
    pub(crate) fn insert(&mut self, file: ArtifactName, key: FileKey) {
        self.0.insert(file, key);
    }

    pub(crate) fn get(&self, file: &ArtifactName) -> Option<&FileKey> {
        self.0.get(file)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKeys({} files)", self.0.len())
    }
}

impl Serialize for FileKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(file, key)| {
            let hex: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
            (file, hex)
        }))
    }
}

impl<'de> Deserialize<'de> for FileKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = BTreeMap::<ArtifactName, SecretText>::deserialize(deserializer)?;
        if texts.len() > MAX_FILES {
            return Err(de::Error::custom("there are more keys than a run has files"));
        }
        let mut keys = Self::default();
        for (file, SecretText(text)) in texts {
            // Not shown: it may be a key that is cut off.
            let key = parse(&text).ok_or_else(|| de::Error::custom("a key has 32 hexadecimal digits"))?;
            keys.0.insert(file, key);
        }
        Ok(keys)
    }
}

/// Text that is wiped after it was read.
struct SecretText(Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

fn parse(text: &str) -> Option<FileKey> {
    let mut key = Zeroizing::new([0; 16]);
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (n, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(FileKey(key))
}
