//! Why something cannot be encrypted or opened. No error holds a private key, a passphrase, or a line that may be one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_model::ids::RunId;

/// Why something cannot be encrypted or opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EncryptionError {
    /// A recipient is no public key.
    #[error(
        "{shown:?} is no age recipient: a public key as `holdfast key generate` prints it is needed, age1 and 58 more characters"
    )]
    Recipient {
        /// The beginning of what was given.
        shown: String,
    },
    /// A private key stands where a public one belongs.
    #[error(
        "this is a private key, and a recipient is a public one: put its public key here (`holdfast key show` \
         prints it), and make a new key if anybody may have seen this one"
    )]
    IdentityAsRecipient,
    /// More than a run may have, or none.
    #[error("a run is encrypted to 1 to {most} recipients, and {given} are given")]
    Count {
        /// How many were given.
        given: usize,
        /// How many there may be.
        most: usize,
    },
    /// Recipients and a passphrase at once.
    #[error("a run is encrypted to recipients or with a passphrase: give `encrypt_to` or `passphrase_file`, not both")]
    Mixed,
    /// A file with a key cannot be read.
    #[error("cannot read the key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Others may read a file with a key.
    #[error("others may read the key file {0}, mode {mode:04o}: `chmod 600 {0}`", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file with a key belongs to somebody else.
    #[error("the key file {} belongs to user {owner}: it must belong to you or root (`chown`)", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The uid of its owner.
        owner: u32,
    },
    /// A file with a key holds none.
    #[error("{}:{line}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, without the line itself.
        reason: &'static str,
    },
    /// A run needs the passphrase to be written.
    #[error("the run is encrypted with a passphrase and none is configured: give [encryption] passphrase_file")]
    PassphraseMissing,
    /// No key was given.
    #[error("run {run_id} is encrypted, and no key is given; it is opened by {}", opened_by.join(", "))]
    KeyMissing {
        /// The run.
        run_id: RunId,
        /// What opens it.
        opened_by: Vec<String>,
    },
    /// The given key opens something else.
    #[error("the key in {given} does not open run {run_id}; it is opened by {}", opened_by.join(", "))]
    KeyWrong {
        /// The run.
        run_id: RunId,
        /// Where the key came from.
        given: String,
        /// What opens it.
        opened_by: Vec<String>,
    },
    /// A file that should be encrypted is not one that age wrote.
    #[error("{} is altered: {reason}; use another copy of the run", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// In what.
        reason: String,
    },
    /// The library refused. A bug in this program or a library under it.
    #[error("cannot encrypt: {0}")]
    Refused(String),
}

impl EncryptionError {
    /// A stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Recipient { .. } | Self::IdentityAsRecipient | Self::Count { .. } => "RECIPIENT_INVALID",
            Self::Mixed => "ENCRYPTION_MIXED",
            Self::Io { .. } => "KEY_FILE_UNREADABLE",
            Self::Readable { .. } | Self::Owner { .. } => "KEY_FILE_UNSAFE",
            Self::File { .. } => "KEY_FILE_INVALID",
            Self::PassphraseMissing => "PASSPHRASE_MISSING",
            Self::KeyMissing { .. } => "KEY_MISSING",
            Self::KeyWrong { .. } => "KEY_WRONG",
            Self::Altered { .. } => "ARTIFACT_ALTERED",
            Self::Refused(_) => "ENCRYPTION_FAILED",
        }
    }

    /// Whether another key is what is needed.
    #[must_use]
    pub fn is_about_keys(&self) -> bool {
        !matches!(self, Self::Altered { .. } | Self::Refused(_))
    }
}
