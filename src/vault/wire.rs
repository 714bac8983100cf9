//! What a vault and its clients say to one another: bodies, headers, and the forms of their values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_model::ids::{ArtifactName, RunId, Sha256};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version of the upload protocol (tus) that is spoken.
pub const TUS_VERSION: &str = "1.0.0";
/// What of the upload protocol is spoken beside its core.
pub const TUS_EXTENSIONS: &str = "creation,creation-defer-length,creation-with-upload,checksum,expiration,termination";
/// The hashes that parts of an upload may be checked by.
pub const TUS_CHECKSUMS: &str = "sha1,sha256";
/// The header in which a client says which installation it is, as a UUID.
pub const SERVER_ID: &str = "holdfast-server-id";
/// The header in which a client may say the SHA-256 of a file whose size it says at its end.
pub const FILE_SHA256: &str = "holdfast-sha256";
/// The content type of the bytes of an upload.
pub const OFFSET_STREAM: &str = "application/offset+octet-stream";
/// Longest `Upload-Metadata`, in bytes.
pub const MAX_METADATA: usize = 4096;

/// What an upload brings: the header `Upload-Metadata`, as `run_id`, `filename` and `sha256`, each followed by its value in Base64.
/// A file that is begun before its end is known (`Upload-Defer-Length: 1`) has no hash yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadMetadata {
    /// The run the file is of.
    pub run_id: RunId,
    /// The file's name in the run.
    pub filename: ArtifactName,
    /// The SHA-256 of all of it, where it is known.
    pub sha256: Option<Sha256>,
}

/// Why a header is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{header} cannot be used: {reason}")]
pub struct InvalidHeader {
    /// Which.
    pub header: &'static str,
    /// What is wrong, and what is needed.
    pub reason: String,
}

fn invalid(header: &'static str, reason: impl Into<String>) -> InvalidHeader {
    InvalidHeader { header, reason: reason.into() }
}

impl UploadMetadata {
    /// The text of the header.
    #[must_use]
    pub fn to_header(&self) -> String {
        let encode = |text: String| STANDARD.encode(text);
        let mut text =
            format!("run_id {},filename {}", encode(self.run_id.to_string()), encode(self.filename.to_string()));
        if let Some(sha256) = self.sha256 {
            text.push_str(&format!(",sha256 {}", encode(sha256.to_string())));
        }
        text
    }

    /// Reads the header. Keys that are not known are passed over; one that is there twice is refused.
    ///
    /// # Errors
    /// [`InvalidHeader`].
    pub fn from_header(text: &str) -> Result<Self, InvalidHeader> {
        const HEADER: &str = "Upload-Metadata";
        if text.len() > MAX_METADATA {
            return Err(invalid(HEADER, format!("it is longer than {MAX_METADATA} bytes")));
        }
        let mut found: [Option<String>; 3] = Default::default();
        for pair in text.split(',') {
            let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
            let Some(at) = ["run_id", "filename", "sha256"].iter().position(|known| *known == key) else { continue };
            let decoded = STANDARD.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.ok_or_else(|| invalid(HEADER, format!("the value of {key} is no text in Base64")))?;
            match found.get_mut(at) {
                Some(place @ None) => *place = Some(decoded),
                _ => return Err(invalid(HEADER, format!("{key} is there twice"))),
            }
        }
        let [Some(run_id), Some(filename), sha256] = found else {
            return Err(invalid(HEADER, "run_id, filename and sha256 are needed"));
        };
        let of = |error: holdfast_model::ids::InvalidName| invalid(HEADER, error.to_string());
        Ok(Self {
            run_id: run_id.parse().map_err(of)?,
            filename: filename.parse().map_err(of)?,
            sha256: sha256.map(|text| text.parse()).transpose().map_err(of)?,
        })
    }
}

/// The hash of the bytes of one request: the header `Upload-Checksum`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartChecksum {
    /// A SHA-1. Good against accidents only.
    Sha1([u8; 20]),
    /// A SHA-256.
    Sha256([u8; 32]),
}

impl PartChecksum {
    /// The text of the header.
    #[must_use]
    pub fn to_header(&self) -> String {
        match self {
            PartChecksum::Sha1(digest) => format!("sha1 {}", STANDARD.encode(digest)),
            PartChecksum::Sha256(digest) => format!("sha256 {}", STANDARD.encode(digest)),
        }
    }

    /// Reads the header.
    ///
    /// # Errors
    /// [`InvalidHeader`], also for a hash that is not spoken here.
    pub fn from_header(text: &str) -> Result<Self, InvalidHeader> {
        const HEADER: &str = "Upload-Checksum";
        let (algorithm, digest) = text.trim().split_once(' ').unwrap_or((text, ""));
        let digest = STANDARD.decode(digest.trim()).unwrap_or_default();
        let wrong = |_| invalid(HEADER, format!("after {algorithm} the hash is needed in Base64"));
        match algorithm {
            "sha1" => digest.try_into().map(PartChecksum::Sha1).map_err(wrong),
            "sha256" => digest.try_into().map(PartChecksum::Sha256).map_err(wrong),
            _ => Err(invalid(HEADER, format!("{TUS_CHECKSUMS} are known here"))),
        }
    }
}

/// A run in a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRun {
    /// The run.
    pub run_id: RunId,
    /// When the vault received it, by the vault's clock, in Unix seconds.
    pub received_at: i64,
    /// Its files, the manifest and the list of hashes included.
    pub files: u32,
    /// Bytes of all of them.
    pub stored_bytes: u64,
    /// SHA-256 of `SHA256SUMS`, and with it of everything.
    pub sums_sha256: Sha256,
    /// What its manifest says of it, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<VaultRunSummary>,
}

/// What the manifest of a run says of it, under the manifest's own names. The vault passes it on as the client brought it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRunSummary {
    /// `full` or `scoped`.
    #[serde(rename = "type")]
    pub run_type: String,
    /// How it ended.
    pub status: String,
    /// When it started, in Unix seconds.
    pub started_at: i64,
    /// When it ended, in Unix seconds.
    pub finished_at: i64,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

/// Runs, the one received last first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRuns {
    /// They.
    pub rows: Vec<VaultRun>,
    /// Where the next page begins; none for the last one.
    pub next_cursor: Option<String>,
}

/// An upload that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultUpload {
    /// The upload, at `/uploads/<upload_id>`.
    pub upload_id: Uuid,
    /// The run the file is of.
    pub run_id: RunId,
    /// The file's name in the run.
    pub filename: ArtifactName,
    /// The SHA-256 of all of it; none of one whose end is not known.
    pub sha256: Option<Sha256>,
    /// Its size; none of one whose end is not known.
    pub size_bytes: Option<u64>,
    /// How much of it is there.
    pub offset: u64,
    /// Whether all of it is there and has its hash.
    pub finished: bool,
}

/// Uploads that are open, in no order of meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultUploads {
    /// They.
    pub rows: Vec<VaultUpload>,
    /// The run that was asked about, where it is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<VaultRun>,
}

/// Who a client is to the vault, and what it may do and has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultStanding {
    /// The vault.
    pub vault_id: Uuid,
    /// The client's installation.
    pub server_id: Uuid,
    /// The name of its token.
    pub token: String,
    /// What it may do: `read`, `append`, `full`.
    pub permission: String,
    /// How many runs the client has there.
    pub runs: u64,
    /// Bytes of them.
    pub stored_bytes: u64,
    /// Bytes of its open uploads once they are whole.
    pub promised_bytes: u64,
    /// Bytes it may have in all; none for no bound.
    pub quota_bytes: Option<u64>,
    /// The vault's time, in Unix seconds.
    pub now: i64,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultFault {
    /// A stable code.
    pub error: String,
    /// The same for people.
    pub message: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> UploadMetadata {
        UploadMetadata {
            run_id: "20261121-220000-000042".parse().unwrap(),
            filename: "shop.dump.lz4".parse().unwrap(),
            sha256: Some(Sha256([7; 32])),
        }
    }

    #[test]
    fn headers_read_back() {
        assert_eq!(UploadMetadata::from_header(&metadata().to_header()), Ok(metadata()));
        let more = format!("is_confidential, {} ,mime dGV4dA==", metadata().to_header());
        assert_eq!(UploadMetadata::from_header(&more), Ok(metadata()));
        for checksum in [PartChecksum::Sha1([1; 20]), PartChecksum::Sha256([2; 32])] {
            assert_eq!(PartChecksum::from_header(&checksum.to_header()), Ok(checksum));
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        let encode = |text: &str| STANDARD.encode(text);
        let (run, hash) = (encode("20261121-220000-000042"), encode(&"07".repeat(32)));
        for name in ["", "..", "../x", "/etc/passwd", ".hidden", "a/b", "a\0b", "a\nb", &"x".repeat(129)] {
            let text = format!("run_id {run},filename {},sha256 {hash}", encode(name));
            assert!(UploadMetadata::from_header(&text).is_err(), "{name:?}");
        }
        let twice = format!("{0},{0}", metadata().to_header());
        let long = format!("{},x {}", metadata().to_header(), "A".repeat(MAX_METADATA));
        for text in ["", "run_id", "run_id !!!,filename !!!,sha256 !!!", &twice, &long] {
            assert!(UploadMetadata::from_header(text).is_err(), "{text:?}");
        }
        for text in ["", "md5 AAAA", "sha256 AAAA", "sha1", "sha256 ????"] {
            assert!(PartChecksum::from_header(text).is_err(), "{text:?}");
        }
    }
}
