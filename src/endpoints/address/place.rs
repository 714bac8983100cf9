//! The same place always as the same text: by it a copy is known to lie where its endpoint is.

use holdfast_model::endpoint::EndpointConfigV2;

use super::{Address, AddressError, S3Address, SftpAddress};

/// Where an endpoint is, without what only says how it is spoken to: keys, authorities, regions. Whoever reads it finds the place.
///
/// # Errors
/// As [`Address::of`].
pub fn place(config: &EndpointConfigV2) -> Result<String, AddressError> {
    Ok(match Address::of(config)? {
        Address::File { root } => format!("file://{}", without_end(&root.to_string_lossy())),
        Address::S3(S3Address { bucket, prefix, endpoint, .. }) => {
            let endpoint = endpoint.map(|endpoint| format!("?endpoint={endpoint}")).unwrap_or_default();
            format!("{}{endpoint}", without_end(&format!("s3://{bucket}/{prefix}")))
        }
        Address::Webdav(webdav) => {
            let base = webdav.base.as_str();
            let rest = base.strip_prefix("http").unwrap_or(base);
            format!("webdav{}", without_end(rest))
        }
        Address::Sftp(SftpAddress { host, port, root, .. }) => {
            let host = host.to_ascii_lowercase();
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            match root.strip_prefix('/') {
                Some(_) => format!("sftp://{host}:{port}{root}"),
                // Each login has a home of its own.
                None => format!("sftp://{host}:{port}/~/{root} (login {})", config.login),
            }
        }
        Address::Vault(vault) => {
            let base = vault.base.as_str();
            let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
            format!("vault://{}", without_end(rest))
        }
    })
}

fn without_end(text: &str) -> &str {
    text.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn of(url: &str) -> String {
        let config = EndpointConfigV2::new("far".parse().unwrap());
        place(&EndpointConfigV2 { url: url.into(), login: "me".into(), ..config }).unwrap()
    }

    #[test]
    fn the_same_place_is_the_same_text_however_it_is_spoken_to() {
        for (one, other) in [
            ("file:///srv/a", "file:///srv/a/"),
            ("sftp://nas/srv/a", "sftp://NAS:22/srv/a/?known_hosts=/k"),
            ("s3://bucket/a", "s3://bucket/a/?region=eu"),
            ("webdavs://nas/a", "webdavs://nas:443/a/?ca_file=/c"),
            ("vault://nas:7430", "vault://nas:7430/?ca_file=/c"),
        ] {
            assert_eq!(of(one), of(other));
        }
        for (one, other) in [
            ("file:///srv/a", "file:///srv/b"),
            ("sftp://nas/srv/a", "sftp://nas:23/srv/a"),
            ("sftp://nas/srv/a", "sftp://nas/~/srv/a"),
            ("s3://bucket/a", "s3://bucket/b"),
            ("s3://bucket/a", "s3://bucket/a?endpoint=https://nas"),
            ("webdavs://nas/a", "webdavs://nas/b"),
            ("vault://nas:7430", "vault://nas:7431"),
        ] {
            assert_ne!(of(one), of(other));
        }
    }

    #[test]
    fn it_reads_as_the_address_it_is() {
        assert_eq!(of("sftp://nas/srv/a?key_file=/k"), "sftp://nas:22/srv/a");
        assert_eq!(of("sftp://nas/~/a"), "sftp://nas:22/~/a (login me)");
        assert_eq!(of("s3://bucket/a?endpoint=https://nas"), "s3://bucket/a?endpoint=https://nas");
        assert_eq!(of("webdavs://nas/a"), "webdavs://nas/a");
        assert_eq!(of("webdav://nas/a"), "webdav://nas/a");
        assert_eq!(
            of("vault://nas:7430/?fingerprint=0000000000000000000000000000000000000000000000000000000000000000"),
            "vault://nas:7430"
        );
        let host = EndpointConfigV2 { host: "nas:7430".into(), ..EndpointConfigV2::new("far".parse().unwrap()) };
        assert_eq!(place(&host).unwrap(), "vault://nas:7430");
    }
}
