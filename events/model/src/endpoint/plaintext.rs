//! The rule that what leaves this machine is encrypted, or somebody has said in writing that it is not.

use super::EndpointConfigV2;
use crate::ids::EndpointName;
use crate::run::Encryption;

/// An endpoint would be given unencrypted runs, and nobody has said that it may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "endpoint {endpoint} would be given unencrypted runs: name public keys as `encrypt_to` in [encryption] (`holdfast key generate` \
     makes one), or set plaintext to true for an endpoint that may read what is backed up"
)]
pub struct PlaintextRefused {
    /// Which.
    pub endpoint: EndpointName,
}

/// Why runs that are encrypted so are not copied to this endpoint; `None` where they may be. A folder of this machine (`file://`) may
/// always have them, and what has no address yet has nothing to read.
#[must_use]
pub fn plaintext_refused(config: &EndpointConfigV2, encryption: &Encryption) -> Option<PlaintextRefused> {
    let scheme = config.url.split_once("://").map(|(scheme, _)| scheme);
    let remote = match scheme {
        Some(scheme) => !scheme.eq_ignore_ascii_case("file"),
        None => !(config.url.is_empty() && config.host.is_empty()),
    };
    let readable = matches!(encryption, Encryption::None);
    (remote && readable && !config.plaintext).then(|| PlaintextRefused { endpoint: config.name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_far_side_that_nobody_allowed_it_is_refused_unencrypted_runs() {
        let of = |url: &str, host: &str, plaintext| EndpointConfigV2 {
            url: url.into(),
            host: host.into(),
            plaintext,
            ..EndpointConfigV2::new("offsite".parse().expect("a name"))
        };
        let encrypted = Encryption::Recipients(vec!["age1".into()]);
        for (url, host) in [("s3://bucket", ""), ("sftp://nas/x", ""), ("", "nas:7420"), ("vault://nas:1", "nas:1")] {
            assert!(plaintext_refused(&of(url, host, false), &Encryption::None).is_some(), "{url} {host}");
            assert_eq!(plaintext_refused(&of(url, host, true), &Encryption::None), None);
            for encryption in [&encrypted, &Encryption::Passphrase] {
                assert_eq!(plaintext_refused(&of(url, host, false), encryption), None);
            }
        }
        for url in ["file:///srv/backups", ""] {
            assert_eq!(plaintext_refused(&of(url, "", false), &Encryption::None), None, "{url}");
        }
        let said = plaintext_refused(&of("s3://bucket", "", false), &Encryption::None).expect("refused").to_string();
        assert!(said.contains("encrypt_to") && said.contains("plaintext"), "both ways out: {said}");
    }
}
