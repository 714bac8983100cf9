//! The address of a vault: `vault://host:port/`, and by what its certificate is known.

use std::path::PathBuf;

use holdfast_model::ids::Sha256;
use reqwest::Url;

use super::{AddressError, is_this_machine, parameters, path_of};

/// Where a vault listens, and by what it is known to be the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultAddress {
    /// It as an HTTP URL that ends with `/`.
    pub base: Url,
    /// By what its certificate is known.
    pub trust: VaultTrust,
}

/// By what a vault's certificate is known. There is no way to trust anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultTrust {
    /// An authority of the system has issued it.
    System,
    /// An authority in this file, as PEM, has issued it.
    CaFile(PathBuf),
    /// It is the one with this SHA-256.
    Pinned(Sha256),
    /// There is none: what is sent stays on this machine.
    Loopback,
}

pub(super) fn read(url: &Url) -> Result<VaultAddress, AddressError> {
    let given = parameters(url, "vault", &["fingerprint", "ca_file", "tls"])?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or(AddressError::Part { part: "host", rule: "name one: vault://host:port" })?;
    let port = url.port().ok_or(AddressError::Part { part: "port", rule: "say it: vault://host:port" })?;
    if !matches!(path_of(url)?.as_str(), "" | "/") {
        return Err(AddressError::Part { part: "path", rule: "a vault has none: vault://host:port" });
    }
    let tls = match given.get("tls") {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(AddressError::Parameter { name: "tls", rule: "true or false" }),
    };
    let scheme = if tls { "https" } else { "http" };
    let wrong_host = |_| AddressError::Part { part: "host", rule: "it is no host's name" };
    let base = Url::parse(&format!("{scheme}://{host}:{port}/")).map_err(wrong_host)?;
    let trust = match (given.get("fingerprint"), given.path("ca_file")?) {
        (Some(_), Some(_)) => {
            let rule = "a vault is known by it or by `ca_file`: say one of them";
            return Err(AddressError::Parameter { name: "fingerprint", rule });
        }
        (Some(text), None) => VaultTrust::Pinned(fingerprint(text)?),
        (None, Some(file)) => VaultTrust::CaFile(file),
        (None, None) if tls => VaultTrust::System,
        (None, None) => VaultTrust::Loopback,
    };
    if !tls && trust != VaultTrust::Loopback {
        let rule = "without TLS there is no certificate: leave `fingerprint` and `ca_file` out";
        return Err(AddressError::Parameter { name: "tls", rule });
    }
    if !tls && !is_this_machine(&base) {
        let rule = "only a vault on this machine's loopback address goes without TLS";
        return Err(AddressError::Parameter { name: "tls", rule });
    }
    Ok(VaultAddress { base, trust })
}

/// As it is printed: in either case, with `sha256:` in front or not, with `:` between the bytes or not.
fn fingerprint(text: &str) -> Result<Sha256, AddressError> {
    let text = text.to_ascii_lowercase();
    let digits = text.strip_prefix("sha256:").unwrap_or(&text).replace(':', "");
    let rule = "the certificate's SHA-256 as 64 hexadecimal digits, as `holdfast vault` prints it";
    digits.parse().map_err(|_| AddressError::Parameter { name: "fingerprint", rule })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

    use holdfast_model::endpoint::EndpointConfigV2;

    use super::*;
    use crate::endpoints::Address;

    fn vault(url: &str) -> VaultAddress {
        match Address::parse(url) {
            Ok(Address::Vault(vault)) => vault,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn a_vault_is_known_by_something() {
        assert_eq!(vault("vault://nas:4711").trust, VaultTrust::System);
        assert_eq!(vault("vault://nas:4711/").base.as_str(), "https://nas:4711/");
        assert_eq!(vault("vault://nas:443").base.as_str(), "https://nas/", "the port that https has anyway");
        assert_eq!(vault("vault://nas:1/?ca_file=/ca.pem").trust, VaultTrust::CaFile("/ca.pem".into()));
        let digits = "0A".repeat(32);
        for text in [digits.clone(), format!("sha256:{}", digits.to_lowercase()), vec!["0a"; 32].join(":")] {
            let url = format!("vault://[::1]:1?fingerprint={text}");
            assert_eq!(vault(&url).trust, VaultTrust::Pinned(Sha256([10; 32])));
        }
        let plain = vault("vault://127.0.0.1:4711/?tls=false");
        assert_eq!((plain.base.as_str(), plain.trust), ("http://127.0.0.1:4711/", VaultTrust::Loopback));
    }

    #[test]
    fn what_would_trust_anybody_is_refused() {
        for (url, says) in [
            ("vault://nas", "the port of the address"),
            ("vault://nas:1/runs", "the path of the address"),
            ("vault://me:x@nas:1", "give it as `login`"),
            ("vault://nas:1?tls=false", "loopback"),
            ("vault://127.0.0.1:1?tls=false&ca_file=/x", "leave `fingerprint`"),
            ("vault://nas:1?tls=no", "true or false"),
            ("vault://nas:1?fingerprint=abc", "64 hexadecimal digits"),
            ("vault://nas:1?insecure=true", "it has fingerprint, ca_file, tls"),
            ("vault://nas:1?ca_file=/x&fingerprint=abc", "say one of them"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn a_host_and_a_port_alone_mean_a_vault() {
        let mut config = EndpointConfigV2::new("far".parse().unwrap());
        assert!(Address::of(&config).is_err());
        config.host = "nas:4711".into();
        assert_eq!(Address::of(&config).unwrap(), Address::parse("vault://nas:4711").unwrap());
        config.url = "file:///srv".into();
        assert_eq!(Address::of(&config).unwrap(), Address::parse("file:///srv").unwrap());
    }
}
