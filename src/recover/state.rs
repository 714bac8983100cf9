//! The state of an installation, read out of the files of a run, and a home made of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use holdfast_log::durable;
use holdfast_log::export;
use holdfast_log::home::{Access, Home};
use holdfast_model::ids::RunId;
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use super::{Made, RecoverError};
use crate::encryption::{FileKeys, Keyring};
use crate::engine::{APP_VERSION, SECRETS_KEY_VARIABLE};
use crate::own_state::{CONFIG, FORMAT, LOG, SECRETS, SECRETS_KEY, STATE, State};
use crate::pipeline::{ArtifactReader, Pipeline, header};
use crate::storage::{Encryption, ManifestArtifact, StorageError, key_refused};

/// Longest of the small artifacts, in bytes.
const MAX_SMALL: u64 = 16 << 20;
/// Names in the home.
const HOME_CONFIG: &str = "config.toml";
const HOME_SECRETS: &str = "secrets.age";
const HOME_SECRETS_KEY: &str = "secrets.key";
/// The other way to give the key of the passwords.
const SECRETS_KEY_FILE_VARIABLE: &str = "HOLDFAST_SECRETS_KEY_FILE";

/// The artifacts, with what opens them.
pub(super) struct Opened {
    folder: PathBuf,
    artifacts: Vec<ManifestArtifact>,
    keys: FileKeys,
    pipeline: Pipeline,
}

impl Opened {
    /// Unwraps the keys of the files in a folder.
    pub(super) fn new(
        folder: PathBuf,
        artifacts: Vec<ManifestArtifact>,
        keyring: &Keyring,
        run_id: RunId,
    ) -> Result<Self, RecoverError> {
        let mut keys = FileKeys::default();
        for artifact in artifacts.iter().filter(|artifact| artifact.encryption == Encryption::Age) {
            let path = folder.join(artifact.path.as_str());
            let file = File::open(&path).map_err(RecoverError::io("open", &path))?;
            let key = keyring.unlock(&header(&file, &path)?, &path).map_err(StorageError::Encryption)?;
            let refused = || StorageError::Encryption(key_refused(run_id, artifact.opened_by.clone(), keyring));
            keys.insert(artifact.path.clone(), key.ok_or_else(refused)?);
        }
        Ok(Self { folder, artifacts, keys, pipeline: Pipeline::new(1, 4)? })
    }

    /// Makes a home of them: a log that was read whole, the configuration, the passwords.
    pub(super) fn make_home(&self, root: &Path, server_id: Uuid) -> Result<Made, RecoverError> {
        let state = self.state()?;
        if state.server_id != server_id || state.home.server_id != server_id {
            return Err(RecoverError::Invalid(format!("it is the state of installation {}", state.server_id)));
        }
        let log = self.reader(LOG)?.ok_or_else(|| RecoverError::Invalid("it has no event log".to_owned()))?;
        export::make(&root.join("log"), &mut log.stream(), state.log.into())?;
        if state.config.is_some() {
            self.place(CONFIG, &root.join(HOME_CONFIG))?;
        }
        let given = [SECRETS_KEY_VARIABLE, SECRETS_KEY_FILE_VARIABLE];
        let given = given.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        let passwords = match state.secrets {
            false => "none",
            // What nothing opens would keep new passwords from being kept.
            true if !state.secrets_key && !given => "missing",
            true => {
                self.place(SECRETS, &root.join(HOME_SECRETS))?;
                if state.secrets_key && !given {
                    self.place(SECRETS_KEY, &root.join(HOME_SECRETS_KEY))?;
                }
                "recovered"
            }
        };
        let path = root.join("home.json");
        let text = serde_json::to_vec_pretty(&state.home);
        let text = text.map_err(|error| RecoverError::io("write", &path)(error.into()))?;
        durable::write_atomic(&path, &text, 0o600).map_err(RecoverError::io("write", &path))?;
        Home::open(root, Access::Write, APP_VERSION).map_err(RecoverError::Home)?;
        Ok(Made {
            position: state.log.position,
            redacted: state.config.as_ref().is_some_and(|config| config.redacted),
            config: state.config.map(|config| config.path),
            passwords,
            encrypt_to: state.encrypt_to,
        })
    }

    fn state(&self) -> Result<State, RecoverError> {
        let text = self.small(STATE)?.ok_or_else(|| RecoverError::Invalid(format!("{STATE} is missing")))?;
        let state: State = serde_json::from_slice(&text).map_err(|error| RecoverError::Invalid(error.to_string()))?;
        if state.format > FORMAT {
            return Err(RecoverError::Newer(state.app_version));
        }
        Ok(state)
    }

    /// An artifact; its hashes are compared while it is read.
    fn reader(&self, name: &str) -> Result<Option<ArtifactReader>, RecoverError> {
        let found = self.artifacts.iter().find(|artifact| artifact.logical_name.as_str() == name);
        let Some(artifact) = found else { return Ok(None) };
        let path = self.folder.join(artifact.path.as_str());
        let expected = artifact.expected();
        let expected = expected.ok_or_else(|| RecoverError::Invalid(format!("{name} has no hash of its content")))?;
        let file = File::open(&path).map_err(RecoverError::io("open", &path))?;
        let cipher = artifact.cipher(&artifact.path, Some(&self.keys));
        let reader = ArtifactReader::open(&self.pipeline, file, &path, artifact.compression, expected, cipher)?;
        Ok(Some(reader))
    }

    /// All of a small artifact. It may be a secret.
    fn small(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, RecoverError> {
        let Some(reader) = self.reader(name)? else { return Ok(None) };
        let mut bytes = Zeroizing::new(Vec::new());
        let read = reader.stream().take(MAX_SMALL + 1).read_to_end(&mut bytes);
        read.map_err(|error| RecoverError::Invalid(format!("{name}: {error}")))?;
        if bytes.len() as u64 > MAX_SMALL {
            return Err(RecoverError::Invalid(format!("{name} is too long")));
        }
        Ok(Some(bytes))
    }

    /// Writes a small artifact as a file of the home, for its owner alone.
    fn place(&self, name: &str, path: &Path) -> Result<(), RecoverError> {
        let bytes = self.small(name)?.ok_or_else(|| RecoverError::Invalid(format!("{name} is missing")))?;
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            io::copy(&mut bytes.as_slice(), &mut file)?;
            durable::sync_file(&file)?;
            durable::sync_dir(durable::parent(path))
        });
        written.map_err(RecoverError::io("write", path))
    }
}
