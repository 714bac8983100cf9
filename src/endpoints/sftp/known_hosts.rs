//! Which host is trusted: one whose key is in the file of known hosts. There is no way to trust any.

use std::path::{Path, PathBuf};

use russh::keys::known_hosts::known_host_keys_path;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::endpoints::{ErrorKind, StoreError};

/// The keys that are known of a host.
#[derive(Debug, Clone)]
pub(super) struct KnownHosts {
    file: PathBuf,
    host: String,
    port: u16,
    keys: Vec<PublicKey>,
    revoked: Vec<String>,
}

impl KnownHosts {
    /// What a file knows of a host. Blocks.
    pub(super) fn read(file: Option<&Path>, host: &str, port: u16) -> Result<Self, StoreError> {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ssh/known_hosts"));
        let file = file.map(Path::to_owned).or_else(home).ok_or_else(|| {
            let why = "HOME does not say where .ssh/known_hosts is; name the file by `known_hosts=`";
            StoreError::new(ErrorKind::Credentials, format!("trust {host}"), why)
        })?;
        let unreadable = |why: String| {
            let why = format!("{} cannot be read: {why}", file.display());
            StoreError::new(ErrorKind::Credentials, format!("trust {host}"), why)
        };
        let text = match std::fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| unreadable(error.to_string()))?,
        };
        let revoked = text.lines().filter(|line| line.starts_with("@revoked")).map(str::to_owned).collect();
        let keys = known_host_keys_path(host, port, &file).map_err(|error| unreadable(error.to_string()))?;
        let keys = keys.into_iter().map(|(_, key)| key).collect();
        Ok(Self { file, host: host.to_owned(), port, keys, revoked })
    }

    /// The kinds of key that the host is known by, and then all others: a host with several keys shows one that is known.
    pub(super) fn preferred(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let (known, other): (Vec<_>, Vec<_>) =
            all.iter().cloned().partition(|one| self.keys.iter().any(|key| key.algorithm() == *one));
        known.into_iter().chain(other).collect()
    }

    /// Whether this is the host's key.
    pub(super) fn check(&self, key: &PublicKey) -> Result<(), StoreError> {
        let refuse = |why: String| StoreError::new(ErrorKind::Credentials, format!("trust {}", self.host), why);
        let print = key.fingerprint(HashAlg::Sha256);
        let line = key.to_openssh().map_err(|error| refuse(error.to_string()))?;
        let mut words = line.split_whitespace();
        let (kind, text) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if self.revoked.iter().any(|line| line.split_whitespace().any(|word| word == text)) {
            return Err(refuse(format!("its key {print} is revoked in {}", self.file.display())));
        }
        if self.keys.contains(key) {
            return Ok(());
        }
        let host = if self.port == 22 { self.host.clone() } else { format!("[{}]:{}", self.host, self.port) };
        let (file, add) = (self.file.display(), format!("{host} {kind} {text}"));
        Err(refuse(match self.keys.is_empty() {
            true => format!(
                "its key {print} is not known; compare it with the host's own, then add this line to {file}:\n{add}\n"
            ),
            false => format!(
                "its key {print} is none of those in {file}: it was changed, or somebody stands in between; compare it with the host's own, \
                 then put this line in the place of the old one:\n{add}\n"
            ),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn check(text: &str, port: u16) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known");
        std::fs::write(&file, text).unwrap();
        let known = KnownHosts::read(Some(&file), "nas", port).unwrap();
        known.check(&KEY.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_known_key_is_trusted() {
        check(&format!("nas {KEY}\n"), 22).unwrap();
        check(&format!("# x\nother,[nas]:2222 {KEY}\n"), 2222).unwrap();
        let unknown = check("", 2222).unwrap_err();
        assert!(unknown.contains(&format!("\n[nas]:2222 {KEY}\n")) && unknown.contains("SHA256:"), "{unknown}");
        assert!(check(&format!("other {KEY}\n"), 22).unwrap_err().contains("is not known"));
        assert!(check(&format!("nas {KEY}\n"), 2222).unwrap_err().contains("is not known"));
        assert!(check(&format!("nas {OTHER}\n"), 22).unwrap_err().contains("none of those"));
        assert!(check(&format!("nas {KEY}\n@revoked * {KEY}\n"), 22).unwrap_err().contains("is revoked"));
    }
}
