//! Addresses of far sides: one URL says the kind, the place and how it is spoken to. Login and password are no part of it.
//!
//! | URL | parameters |
//! |---|---|
//! | `file:///srv/backups` | none |
//! | `s3://bucket/prefix` | `endpoint=https://host:port`, `region=NAME`, `path_style=true\|false`, `ca_file=/path` |
//! | `webdavs://host:port/path`, `webdav://…` without TLS | `ca_file=/path` |
//! | `sftp://host:port/path`, `/~/path` below the login's home | `key_file=/path`, `known_hosts=/path` |
//! | `vault://host:port` | `fingerprint=SHA256` or `ca_file=/path`; `tls=false` on a loopback address |
//!
//! Characters that are not allowed in a URL are written as `%XX`.

mod place;
mod vault;

use std::path::PathBuf;

use holdfast_model::endpoint::EndpointConfigV2;
use reqwest::Url;

pub use self::place::place;
pub use self::vault::{VaultAddress, VaultTrust};

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no URL.
    #[error(
        "the address is no URL ({0}): write it as `s3://bucket/prefix`, `sftp://host/path`, `webdavs://host/path` or `file:///path`"
    )]
    NotUrl(String),
    /// There is no such kind.
    #[error(
        "{0}:// is no kind of endpoint that is known: use vault://, file://, s3://, webdav://, webdavs:// or sftp://"
    )]
    Kind(String),
    /// It holds a login or a password.
    #[error("the address holds a login or a password: take it out and give it as `login` and `password`")]
    Login,
    /// A part of it is wrong.
    #[error("the {part} of the address is wrong: {rule}")]
    Part {
        /// Which.
        part: &'static str,
        /// What is allowed.
        rule: &'static str,
    },
    /// There is no such parameter, or not here.
    #[error("`{name}` is no parameter of {kind}://: {}", allowed(allowed_names))]
    Unknown {
        /// The parameter.
        name: String,
        /// The kind of endpoint.
        kind: &'static str,
        /// What is allowed.
        allowed_names: &'static [&'static str],
    },
    /// A parameter's value is wrong.
    #[error("the parameter `{name}` of the address is wrong: {rule}")]
    Parameter {
        /// Which.
        name: &'static str,
        /// What is allowed.
        rule: &'static str,
    },
    /// A parameter is said more than once.
    #[error("the parameter `{0}` of the address is said twice: say it once")]
    Twice(String),
}

fn allowed(names: &[&str]) -> String {
    if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) }
}

/// Where a far side is, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// A folder of this machine, or mounted here.
    File {
        /// The folder.
        root: PathBuf,
    },
    /// An object store that speaks S3.
    S3(S3Address),
    /// A WebDAV server (RFC 4918).
    Webdav(WebdavAddress),
    /// An SSH server with SFTP.
    Sftp(SftpAddress),
    /// A vault: runs of its own accord, and no store of objects.
    Vault(VaultAddress),
}

/// Where objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Address {
    /// The bucket.
    pub bucket: String,
    /// What every key begins with, without `/` at either end.
    pub prefix: String,
    /// Where it is spoken to, as `https://host:port`; Amazon's address of the region where nothing is said.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` where nothing is said.
    pub region: String,
    /// Whether the bucket is in the path (`host/bucket/key`) and not in the host's name. Where nothing is said it is, if there is an
    /// `endpoint`.
    pub path_style: bool,
    /// Authorities that are trusted instead of those of the system, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// Where a WebDAV server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebdavAddress {
    /// Its folder as an HTTP URL that ends with `/`.
    pub base: Url,
    /// Authorities that are trusted instead of those of the system, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// Where an SSH server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpAddress {
    /// The host's name or address.
    pub host: String,
    /// The port; 22 where nothing is said.
    pub port: u16,
    /// The folder there; relative to the login's home where it does not begin with `/`.
    pub root: String,
    /// The private key; the password decrypts it, or is what is logged in with where there is none.
    pub key_file: Option<PathBuf>,
    /// The keys of hosts; `~/.ssh/known_hosts` where nothing is said.
    pub known_hosts: Option<PathBuf>,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`AddressError`], which says what is wrong and what is allowed.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let url = Url::parse(text).map_err(|error| AddressError::NotUrl(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Login);
        }
        if url.fragment().is_some() {
            return Err(AddressError::Part { part: "fragment", rule: "there is none; write `#` as %23" });
        }
        match url.scheme() {
            "file" => file(&url),
            "s3" => s3(&url).map(Self::S3),
            "webdav" | "webdavs" => webdav(&url).map(Self::Webdav),
            "sftp" => sftp(&url).map(Self::Sftp),
            "vault" => vault::read(&url).map(Self::Vault),
            other => Err(AddressError::Kind(other.chars().take(20).collect())),
        }
    }

    /// The address of an endpoint as it is configured: its `url`, or a vault where there is only a `host`.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn of(config: &EndpointConfigV2) -> Result<Self, AddressError> {
        match config.url.as_str() {
            "" => Self::parse(&format!("vault://{}", config.host)),
            url => Self::parse(url),
        }
    }

    /// The kind, as the URL begins.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::S3(_) => "s3",
            Self::Webdav(_) => "webdav",
            Self::Sftp(_) => "sftp",
            Self::Vault(_) => "vault",
        }
    }
}

fn file(url: &Url) -> Result<Address, AddressError> {
    parameters(url, "file", &[])?;
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err(AddressError::Part { part: "host", rule: "file:// has none: write file:///path" });
    }
    let path = path_of(url)?;
    if path == "/" {
        return Err(AddressError::Part { part: "path", rule: "name a folder below /" });
    }
    Ok(Address::File { root: PathBuf::from(path) })
}

fn s3(url: &Url) -> Result<S3Address, AddressError> {
    let given = parameters(url, "s3", &["endpoint", "region", "path_style", "ca_file"])?;
    let bucket = url.host_str().unwrap_or_default().to_owned();
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(legal) || url.port().is_some() {
        let rule =
            "the bucket has 3 to 63 characters of a-z, 0-9, '.' and '-'; a host and a port are said by `endpoint=`";
        return Err(AddressError::Part { part: "bucket", rule });
    }
    let prefix = path_of(url)?.trim_matches('/').to_owned();
    if prefix.len() > 200 || prefix.split('/').any(|segment| !prefix.is_empty() && !super::name::is_segment(segment)) {
        let rule = "the prefix has 200 bytes at most, of A-Z, a-z, 0-9, '.', '_', '-' and single '/'";
        return Err(AddressError::Part { part: "path", rule });
    }
    let endpoint = given.get("endpoint").map(http_address).transpose()?;
    let region = given.get("region").unwrap_or("us-east-1").to_owned();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !(1..=64).contains(&region.len()) || !region.bytes().all(legal) {
        return Err(AddressError::Parameter { name: "region", rule: "a name as us-east-1, as the far side calls it" });
    }
    let path_style = match given.get("path_style") {
        None => endpoint.is_some(),
        Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(AddressError::Parameter { name: "path_style", rule: "true or false" }),
    };
    Ok(S3Address { bucket, prefix, endpoint, region, path_style, ca_file: given.path("ca_file")? })
}

/// An address of an HTTP server: nothing behind host and port.
fn http_address(text: &str) -> Result<String, AddressError> {
    let refuse = || AddressError::Parameter {
        name: "endpoint",
        rule: "https://host:port, or http://host:port; nothing behind it",
    };
    let url = Url::parse(text).map_err(|_| refuse())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(refuse()) }
}

fn webdav(url: &Url) -> Result<WebdavAddress, AddressError> {
    let given = parameters(url, "webdav", &["ca_file"])?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or(AddressError::Part { part: "host", rule: "name one: webdavs://host/path" })?;
    let scheme = if url.scheme() == "webdavs" { "https" } else { "http" };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    path_of(url)?;
    let base = format!("{scheme}://{host}{port}{}/", url.path().trim_end_matches('/'));
    let base = Url::parse(&base).map_err(|_| AddressError::Part { part: "host", rule: "it is no host's name" })?;
    let ca_file = given.path("ca_file")?;
    if scheme == "http" && ca_file.is_some() {
        return Err(AddressError::Parameter { name: "ca_file", rule: "webdav:// is without TLS: use webdavs://" });
    }
    Ok(WebdavAddress { base, ca_file })
}

fn sftp(url: &Url) -> Result<SftpAddress, AddressError> {
    let given = parameters(url, "sftp", &["key_file", "known_hosts"])?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or(AddressError::Part { part: "host", rule: "name one: sftp://host/path" })?;
    let path = path_of(url)?;
    let root = match path.strip_prefix("/~/") {
        Some(below) => below.trim_matches('/').to_owned(),
        None => format!("/{}", path.trim_matches('/')),
    };
    if root.is_empty() || root == "/" || root == "/~" {
        return Err(AddressError::Part {
            part: "path",
            rule: "name a folder: sftp://host/srv/backups, sftp://host/~/backups",
        });
    }
    Ok(SftpAddress {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: url.port().unwrap_or(22),
        root,
        key_file: given.path("key_file")?,
        known_hosts: given.path("known_hosts")?,
    })
}

/// Whether an HTTP URL is of this machine alone.
pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// The parameters of an address.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn path(&self, name: &'static str) -> Result<Option<PathBuf>, AddressError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let path = PathBuf::from(value);
        match path.is_absolute() {
            true => Ok(Some(path)),
            false => Err(AddressError::Parameter { name, rule: "the path of a file, from / on" }),
        }
    }
}

fn parameters(url: &Url, kind: &'static str, names: &'static [&'static str]) -> Result<Parameters, AddressError> {
    let mut found: Vec<(String, String)> = Vec::new();
    for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !names.contains(&name) {
            let name = name.chars().take(40).collect();
            return Err(AddressError::Unknown { name, kind, allowed_names: names });
        }
        if found.iter().any(|(known, _)| known == name) {
            return Err(AddressError::Twice(name.to_owned()));
        }
        found.push((name.to_owned(), decoded(value)?));
    }
    Ok(Parameters(found))
}

fn path_of(url: &Url) -> Result<String, AddressError> {
    let path = decoded(url.path())?;
    if path.split('/').any(|segment| segment == ".." || segment == ".") || path.contains("//") {
        return Err(AddressError::Part { part: "path", rule: "it has no empty part, no `.` and no `..`" });
    }
    Ok(path)
}

/// The text with each `%XX` as the byte it means (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, AddressError> {
    let refuse = || AddressError::Part {
        part: "escape",
        rule: "`%` is followed by two hexadecimal digits; together they are UTF-8",
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or_else(refuse);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| refuse())?);
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse())?;
    match text.chars().any(char::is_control) {
        true => Err(AddressError::Part { part: "escape", rule: "no control characters" }),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn each_kind_is_read() {
        assert_eq!(
            Address::parse("file:///srv/my%20backups/").unwrap(),
            Address::File { root: "/srv/my backups/".into() }
        );
        let Address::S3(s3) = Address::parse("s3://my-bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu").unwrap()
        else {
            panic!()
        };
        assert_eq!((s3.bucket.as_str(), s3.prefix.as_str(), s3.path_style), ("my-bucket", "a/b", true));
        assert_eq!(s3.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        let Address::S3(amazon) = Address::parse("s3://my-bucket").unwrap() else { panic!() };
        assert_eq!((amazon.region.as_str(), amazon.path_style, amazon.prefix.as_str()), ("us-east-1", false, ""));
        let Address::Webdav(dav) = Address::parse("webdavs://nas:8443/dav?ca_file=/etc/ca.pem").unwrap() else {
            panic!()
        };
        assert_eq!((dav.base.as_str(), dav.ca_file), ("https://nas:8443/dav/", Some("/etc/ca.pem".into())));
        let Address::Sftp(sftp) = Address::parse("sftp://[::1]:2222/~/backups?key_file=/k").unwrap() else { panic!() };
        assert_eq!((sftp.host.as_str(), sftp.port, sftp.root.as_str()), ("::1", 2222, "backups"));
        let Address::Sftp(sftp) = Address::parse("sftp://nas/srv").unwrap() else { panic!() };
        assert_eq!((sftp.port, sftp.root.as_str(), sftp.key_file), (22, "/srv", None));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (url, says) in [
            ("nas:22", "no kind of endpoint"),
            ("nonsense", "is no URL"),
            ("ftp://nas/x", "use vault://, file://, s3://"),
            ("s3://key:hunter2@bucket", "give it as `login`"),
            ("s3://b", "the bucket of the address"),
            ("s3://bucket:9000/x", "said by `endpoint=`"),
            ("s3://bucket/a%20b", "the prefix has 200 bytes"),
            ("s3://bucket?zone=x", "it has endpoint, region"),
            ("s3://bucket?region=a&region=b", "is said twice"),
            ("s3://bucket?path_style=1", "true or false"),
            ("s3://bucket?endpoint=nas:9000", "https://host:port"),
            ("s3://bucket?endpoint=http://me:x@nas", "https://host:port"),
            ("file://nas/srv", "write file:///path"),
            ("file:///", "name a folder"),
            ("file:///a?b=c", "it has none"),
            ("sftp://nas", "name a folder"),
            ("sftp://nas/x?key_file=id", "from / on"),
            ("sftp://nas/a/%2e%2e%2fb", "no `..`"),
            ("sftp://nas/a%0ab", "control"),
            ("sftp://nas/a%zz", "hexadecimal"),
            ("webdav://nas/x?ca_file=/y", "use webdavs://"),
            ("webdav:///x", "name one"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
