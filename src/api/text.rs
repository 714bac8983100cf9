//! Text fields of requests: each a type that only holds what is allowed, with a schema that says exactly that.
//!
//! What a secret was is never part of an error: its own type refuses without quoting it.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A port, 1 to 65535, without leading zeros.
const PORT: &str = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
/// An IPv6 address without an IPv4 one in it (RFC 4291, section 2.2, forms 1 and 2).
const IPV6: &str = "(([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|([0-9A-Fa-f]{1,4}:){1,7}:\
    |([0-9A-Fa-f]{1,4}:){1,6}:[0-9A-Fa-f]{1,4}|([0-9A-Fa-f]{1,4}:){1,5}(:[0-9A-Fa-f]{1,4}){1,2}\
    |([0-9A-Fa-f]{1,4}:){1,4}(:[0-9A-Fa-f]{1,4}){1,3}|([0-9A-Fa-f]{1,4}:){1,3}(:[0-9A-Fa-f]{1,4}){1,4}\
    |([0-9A-Fa-f]{1,4}:){1,2}(:[0-9A-Fa-f]{1,4}){1,5}|[0-9A-Fa-f]{1,4}:(:[0-9A-Fa-f]{1,4}){1,6}\
    |:((:[0-9A-Fa-f]{1,4}){1,7}|:))";

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident, $most:literal, $rule:literal, $pattern:expr, $allowed:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(try_from = "String", into = "String")]
            pub struct $name(String);

            impl $name {
                /// The text.
                #[must_use]
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl TryFrom<String> for $name {
                type Error = &'static str;

                fn try_from(text: String) -> Result<Self, &'static str> {
                    let allowed: fn(&str) -> bool = $allowed;
                    let short = text.chars().nth($most).is_none();
                    if short && allowed(&text) { Ok(Self(text)) } else { Err($rule) }
                }
            }

            impl From<$name> for String {
                fn from(text: $name) -> String {
                    text.0
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "type": "string", "maxLength": $most, "pattern": $pattern, "description": $rule })
                }
            }
        )+
    };
}

text! {
    /// An address as `host:port`; empty for none.
    Host, 300, "must be host:port, an IPv6 address in brackets, or nothing",
        format!(r"^(|({LABEL}(\.{LABEL})*|\[{IPV6}\]):{PORT})$"),
        |text| text.is_empty() || is_host(text);
    /// An address with what kind it is; empty for none.
    Url, 1000,
        "must begin with vault://, webdav://, webdavs://, sftp:// and a host, with s3:// and a bucket of 3 to 63 characters of a-z 0-9 . -, \
         or with file:///; login and password are fields \
         of their own; parameters of the kind follow a ?; other characters than A-Z a-z 0-9 . _ ~ : / ? & % + , = [ ] - are written as %XX",
        r"^(|s3://[a-z0-9.-]{3,63}([/?][A-Za-z0-9._~:/?&%+,=\[\]-]*)?|(vault|webdav|webdavs|sftp)://[A-Za-z0-9\[][A-Za-z0-9._~:/?&%+,=\[\]-]*|file:///[A-Za-z0-9._~:/?&%+,=\[\]-]*)$",
        |text| text.is_empty() || is_url(text);
    /// A name or a rule: one line.
    Line, 64, "must be at most 64 characters, none of them a control character",
        r"^[^\u0000-\u001f\u007f-\u009f]*$", is_line;
    /// What is kept at an endpoint. It is all: nothing is deleted there by rule yet.
    Retention, 0,
        "must be left out: nothing is deleted at an endpoint by rule yet, only by `holdfast remote delete`, and in a vault by its administration",
        r"^$", str::is_empty;
    /// The file a password is read from when it is used; empty for none.
    PasswordFile, 1000, "must be the path of a file from / on, without control characters, or nothing",
        r"^(|/[^\u0000-\u001f\u007f-\u009f]*)$", |text| text.is_empty() || (text.starts_with('/') && is_line(text));
    /// Why something is done, for the record: one line.
    Reason, 250, "must be at most 250 characters, none of them a control character",
        r"^[^\u0000-\u001f\u007f-\u009f]*$", is_line;
}

/// A part of a host's name.
const LABEL: &str = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";

fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn is_host(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    if !digits || port.parse::<u16>().is_err() {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return !address.contains('.') && address.parse::<Ipv6Addr>().is_ok();
    }
    host.split('.').all(|label| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(legal)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let legal = |c: char| c.is_ascii_alphanumeric() || "._~:/?&%+,=[]-".contains(c);
    let begins = match scheme {
        "file" => rest.starts_with('/'),
        "s3" => {
            let bucket = rest.split(['/', '?']).next().unwrap_or(rest);
            let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
            (3..=63).contains(&bucket.len()) && bucket.bytes().all(legal)
        }
        "vault" | "webdav" | "webdavs" | "sftp" => rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['),
        _ => false,
    };
    begins && rest.chars().all(legal)
}

/// A password or a token. It is never shown, and an error about it does not quote it.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Longest secret, in characters.
    pub const MAX: usize = 1000;
    const RULE: &'static str = "must be a string of at most 1000 characters";

    /// One of this text.
    ///
    /// # Errors
    /// What is wrong with it, where it is too long.
    pub fn new(text: String) -> Result<Self, &'static str> {
        if text.chars().nth(Self::MAX).is_none() { Ok(Self(text.into())) } else { Err(Self::RULE) }
    }

    /// Whether it is no secret at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.expose_secret().is_empty()
    }

    /// What it holds, for what has to use it.
    #[must_use]
    pub fn into_inner(self) -> SecretString {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By way of a value: the errors of a text's own reader quote what they were given.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::new(text).map_err(serde::de::Error::custom),
            _ => Err(serde::de::Error::custom(Self::RULE)),
        }
    }
}

/// On its way to the server, where it is asked for.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": Self::MAX, "writeOnly": true })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn taken<T: TryFrom<String>>(texts: &[&str]) -> Vec<bool> {
        texts.iter().map(|text| T::try_from((*text).to_owned()).is_ok()).collect()
    }

    #[test]
    fn a_host_has_a_port() {
        let good = ["", "nas:22", "nas.example.org:65535", "10.0.0.7:873", "[::1]:22", "[2001:db8::7]:443", "_a-b_:1"];
        assert!(taken::<Host>(&good).iter().all(|taken| *taken));
        let bad = [
            "nas",
            "nas:",
            ":22",
            "nas:0",
            "nas:022",
            "nas:65536",
            "nas:+22",
            "::1:22",
            "[::1]",
            "[::1%eth0]:22",
            "[::ffff:1.2.3.4]:1",
            "[1::2::3]:1",
            "a b:1",
            "-a:1",
            "a-:1",
            "a..b:1",
            "me:secret@nas:22",
            "ä:1",
            "nas:22\n",
        ];
        assert!(taken::<Host>(&bad).iter().all(|taken| !taken));
    }

    #[test]
    fn a_url_is_of_a_known_kind_and_holds_no_login() {
        let good = [
            "",
            "vault://nas:7430",
            "s3://bucket/a/b",
            "webdav://host/x%20y",
            "webdavs://[::1]:8443/",
            "sftp://host:22/srv",
            "file:///srv/backups",
            "file:///",
        ];
        assert!(taken::<Url>(&good).iter().all(|taken| *taken));
        let bad = [
            "nas",
            "ftp://host",
            "http://host",
            "s3:/bucket",
            "s3://",
            "s3:///x",
            "file://srv",
            "sftp://me@host",
            "S3://bucket",
            "sftp://me:secret@host",
            "s3://bucket#x",
            "s3://a b",
            "s3://ä",
            "s3://bucket\n",
        ];
        assert!(taken::<Url>(&bad).iter().all(|taken| !taken));
    }

    #[test]
    fn a_line_is_one_and_not_long() {
        assert_eq!(taken::<Line>(&["", "bäckup", &"ä".repeat(64)]), [true; 3]);
        assert_eq!(taken::<Line>(&["a\nb", "\u{85}", "\0", &"a".repeat(65)]), [false; 4]);
    }

    #[test]
    fn a_secret_is_quoted_nowhere() {
        let secret: Secret = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
        for wrong in ["12345", "[\"hunter2\"]", &format!("{:?}", "hunter2".repeat(200))] {
            let error = serde_json::from_str::<Secret>(wrong).unwrap_err().to_string();
            assert!(!error.contains("12345") && !error.contains("hunter2"), "{error}");
        }
    }
}
