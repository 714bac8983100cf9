//! A path as the file system has it: bytes, which are mostly but not always UTF-8.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A path or a link's target, byte for byte.
///
/// Serialized without loss: as a string where the bytes are UTF-8, else as `{"hex": "…"}`. Shown with `�` in place of
/// what is not UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RawPath(Vec<u8>);

impl RawPath {
    /// A path of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path of the operating system.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl From<&Path> for RawPath {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<&str> for RawPath {
    fn from(path: &str) -> Self {
        Self(path.as_bytes().to_vec())
    }
}

impl fmt::Display for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_path())
    }
}

impl Serialize for RawPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("hex", &hex)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for RawPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Form)
    }
}

/// Accepts both forms.
struct Form;

impl<'de> Visitor<'de> for Form {
    type Value = RawPath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path as a string, or as {\"hex\": …} where it is not UTF-8")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawPath, E> {
        Ok(RawPath(text.as_bytes().to_vec()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawPath, A::Error> {
        let Some((key, hex)) = map.next_entry::<String, String>()? else {
            return Err(de::Error::missing_field("hex"));
        };
        if key != "hex" {
            return Err(de::Error::unknown_field(&key, &["hex"]));
        }
        if map.next_entry::<String, String>()?.is_some() {
            return Err(de::Error::invalid_length(2, &self));
        }
        decode_hex(&hex).map(RawPath).ok_or_else(|| de::Error::custom("not an even number of hex digits"))
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|value| u8::try_from(value).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

/// Serde form of a list of operating system paths, each as a [`RawPath`].
pub(super) mod list {
    use super::{Deserialize, Deserializer, PathBuf, RawPath, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| RawPath::from(path.as_path())))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        let paths = Vec::<RawPath>::deserialize(deserializer)?;
        Ok(paths.iter().map(|path| path.as_path().to_path_buf()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_json() {
        for bytes in [&b"plain/path"[..], b"new\nline", b"caf\xc3\xa9", b"lat\xe9in", b"", b"\xff"] {
            let path = RawPath::new(bytes);
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<RawPath>(&json).unwrap(), path, "{json}");
        }
        assert_eq!(serde_json::to_string(&RawPath::new(&b"a\xff"[..])).unwrap(), r#"{"hex":"61ff"}"#);
    }

    #[test]
    fn wrong_forms_are_refused() {
        for json in [r#"{"hex":"6"}"#, r#"{"hex":"zz"}"#, r#"{"other":"61"}"#, "{}", "1", r#"{"hex":"61","b":"1"}"#] {
            assert!(serde_json::from_str::<RawPath>(json).is_err(), "{json}");
        }
    }
}
