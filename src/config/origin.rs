//! Origins of browsers: who served the page that opens a WebSocket.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Longest origin, in bytes: a host name has 253 at most.
const MAX_ORIGIN: usize = 300;

/// An origin as a browser sends it in `Origin` (RFC 6454, section 6.2): scheme, host and port, in lower case, without
/// the port that is usual for the scheme. So two spellings of one origin are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOrigin {
    /// It would let everybody in.
    #[error("`*` would let every site in: write each origin as `https://backup.example.org`")]
    Wildcard,
    /// It says more than an origin does.
    #[error("{0:?} is more than an origin: write scheme, host and port alone, as `https://backup.example.org`")]
    More(String),
    /// It is none.
    #[error("{0:?} is no origin: write it as `https://backup.example.org` or `http://localhost:3000`")]
    Form(String),
}

impl Origin {
    /// As a browser sends it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let form = || InvalidOrigin::Form(text.chars().take(MAX_ORIGIN).collect());
        if text.contains('*') {
            return Err(InvalidOrigin::Wildcard);
        }
        if text.len() > MAX_ORIGIN {
            return Err(form());
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://").ok_or_else(form)?;
        if rest.contains(['/', '?', '#', '@']) {
            return Err(InvalidOrigin::More(text.to_owned()));
        }
        let (host, port) = host_and_port(rest).ok_or_else(form)?;
        if !is_scheme(scheme) || !is_host(host) {
            return Err(form());
        }
        let port = match (scheme, port) {
            ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        Ok(Self(format!("{scheme}://{host}{port}")))
    }
}

/// A host, and the port after it where there is one. `None` where what stands for the port is none.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end = text.find(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = text.get(end..)?.find(':') else { return Some((text, None)) };
    let (host, port) = text.split_at_checked(end + colon)?;
    let digits = port.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()))?;
    Some((host, Some(digits.parse().ok().filter(|port| *port > 0)?)))
}

fn is_scheme(scheme: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(legal)
}

/// A name or number in ASCII, as browsers send it; an address of IPv6 stands in brackets.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn spellings_of_one_origin_are_equal() {
        for (text, sent) in [
            ("https://Backup.Example.org", "https://backup.example.org"),
            ("HTTPS://backup.example.org:443", "https://backup.example.org"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("tauri://localhost", "tauri://localhost"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), sent, "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "null",
            "example.org",
            "://x",
            "http://",
            "http://:80",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://a b",
            "http://ü",
            "http://[::1",
            "http://[x]",
            "http://[::1]x",
            "1://a",
            "http://a:1:2",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin::Form(text.to_owned())));
        }
        for text in ["http://a/", "http://a/b", "http://a?b", "http://u@a", "http://a#b"] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin::More(text.to_owned())));
        }
        for text in ["*", "https://*.example.org"] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin::Wildcard));
        }
        assert!(format!("http://{}", "a".repeat(MAX_ORIGIN)).parse::<Origin>().is_err());
    }
}
