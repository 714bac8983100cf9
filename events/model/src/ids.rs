//! The names of things: runs, participants, artifacts, streams, places in the log.
//!
//! Each is a type of its own that can only hold a valid value, so that a path or a stream can be made from one
//! without another check.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct InvalidName {
    /// Which kind of name.
    pub what: &'static str,
    /// The refused text, cut to 80 characters.
    pub value: String,
    /// What a valid one looks like.
    pub rule: &'static str,
}

impl InvalidName {
    pub(crate) fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self { what, value: value.chars().take(80).collect(), rule }
    }
}

/// An event's place in the whole log. The first is 1; there are no gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event.
    pub const START: Position = Position(0);

    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Position {
        Position(self.0.saturating_add(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event's place in its stream. The first is 1; there are no gaps; 0 is a stream without events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Version(pub u64);

impl Version {
    /// A stream without events.
    pub const NONE: Version = Version(0);

    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Version {
        Version(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Microseconds since 1970-01-01T00:00:00Z, as the clock of the machine said. Order comes from [`Position`], never
/// from this: clocks step back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds since 1970, the unit of every time on the wire.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Seconds from `earlier` to this; 0 where the clock stepped back between them.
    #[must_use]
    pub fn seconds_since(self, earlier: Timestamp) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0) / 1_000_000
    }
}

/// The events of one actor: `kind/name`, or `system`. At most [`StreamId::MAX_LEN`] bytes of `[A-Za-z0-9._/-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(String);

impl StreamId {
    /// Longest stream name in bytes.
    pub const MAX_LEN: usize = 128;
    const RULE: &'static str = "1 to 128 characters of A-Z, a-z, 0-9, '.', '_', '-' and '/'";

    /// The stream of the installation itself.
    #[must_use]
    pub fn system() -> Self {
        Self("system".into())
    }

    /// The stream of one run.
    #[must_use]
    pub fn run(id: RunId) -> Self {
        Self(format!("run/{id}"))
    }

    /// The stream of one restore.
    #[must_use]
    pub fn restore(id: RestoreId) -> Self {
        Self(format!("restore/{id}"))
    }

    /// The stream of one participant's supervision.
    #[must_use]
    pub fn participant(name: &ParticipantName) -> Self {
        Self(format!("participant/{name}"))
    }

    /// The stream of one endpoint.
    #[must_use]
    pub fn endpoint(name: &EndpointName) -> Self {
        Self(format!("endpoint/{name}"))
    }

    /// The stream of a vault's tokens.
    #[must_use]
    pub fn vault_access() -> Self {
        Self("vault-access".into())
    }

    /// The stream of what a vault holds of one client.
    #[must_use]
    pub fn vault_client(server_id: uuid::Uuid) -> Self {
        Self(format!("vault/{server_id}"))
    }

    /// The stream of tokens.
    #[must_use]
    pub fn access() -> Self {
        Self("access".into())
    }

    /// The stream of who did what.
    #[must_use]
    pub fn audit() -> Self {
        Self("audit".into())
    }

    /// The stream of maintenance.
    #[must_use]
    pub fn maintenance() -> Self {
        Self("maintenance".into())
    }

    /// The run this stream belongs to, if it is a run's.
    #[must_use]
    pub fn run_id(&self) -> Option<RunId> {
        self.0.strip_prefix("run/")?.parse().ok()
    }

    /// The participant whose supervision this stream holds, if it is one's.
    #[must_use]
    pub fn participant_name(&self) -> Option<ParticipantName> {
        self.0.strip_prefix("participant/")?.parse().ok()
    }

    /// The restore this stream belongs to, if it is a restore's.
    #[must_use]
    pub fn restore_id(&self) -> Option<RestoreId> {
        self.0.strip_prefix("restore/")?.parse().ok()
    }

    /// The endpoint this stream belongs to, if it is one's.
    #[must_use]
    pub fn endpoint_name(&self) -> Option<EndpointName> {
        self.0.strip_prefix("endpoint/")?.parse().ok()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(legal) {
            return Err(InvalidName::new("stream", text, Self::RULE));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for StreamId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> String {
        id.0
    }
}

/// Who a run is: `YYYYMMDD-HHMMSS-NNNNNN`, the clock in UTC at its request and a counter that only goes up and is never
/// used twice in an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    /// `YYYYMMDD` as a number.
    date: u32,
    /// `HHMMSS` as a number.
    time: u32,
    /// The counter, from 1.
    counter: u32,
}

impl RunId {
    const RULE: &'static str = "it reads YYYYMMDD-HHMMSS-NNNNNN, for example 20261121-031500-000042";

    /// The id of a run requested at `at` with `counter`.
    #[must_use]
    pub fn new(at: Timestamp, counter: u32) -> Self {
        let (year, month, day) = civil_from_days(at.seconds().div_euclid(86_400));
        let second = u32::try_from(at.seconds().rem_euclid(86_400)).unwrap_or(0);
        Self {
            date: year.clamp(0, 9999) * 10_000 + month * 100 + day,
            time: second / 3600 * 10_000 + second / 60 % 60 * 100 + second % 60,
            counter,
        }
    }

    /// The counter in it.
    #[must_use]
    pub fn counter(self) -> u32 {
        self.counter
    }
}

/// Year, month and day of a count of days since 1970-01-01 (the `civil_from_days` algorithm by Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
fn civil_from_days(days: i64) -> (u32, u32, u32) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let small = |n: i64| u32::try_from(n).unwrap_or(0);
    (small(year), small(month), small(day))
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}-{:06}-{:06}", self.date, self.time, self.counter)
    }
}

impl FromStr for RunId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let refuse = || InvalidName::new("run id", text, Self::RULE);
        let part = |digits: &str, least: usize, most: usize| -> Result<u32, InvalidName> {
            if digits.len() < least || digits.len() > most || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(refuse());
            }
            digits.parse().map_err(|_| refuse())
        };
        let mut parts = text.split('-');
        let (Some(date), Some(time), Some(counter), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse());
        };
        let id = Self { date: part(date, 8, 8)?, time: part(time, 6, 6)?, counter: part(counter, 6, 10)? };
        // One run has one spelling: a counter of more than six digits has no leading zero.
        if id.to_string() == text { Ok(id) } else { Err(refuse()) }
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.to_string()
    }
}

/// Who a restore is: a UUIDv7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RestoreId(pub uuid::Uuid);

impl fmt::Display for RestoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RestoreId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        uuid::Uuid::parse_str(text).map(Self).map_err(|_| InvalidName::new("restore id", text, "it is a UUID"))
    }
}

fn plain_name(what: &'static str, text: &str, most: usize, rule: &'static str) -> Result<String, InvalidName> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !starts_well || text.len() > most || !text.bytes().all(legal) {
        return Err(InvalidName::new(what, text, rule));
    }
    Ok(text.to_owned())
}

macro_rules! plain_name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                plain_name($what, text, $most, $rule).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

plain_name_type!(
    /// A participant's name: 1 to 64 characters of `[A-Za-z0-9._-]`, the first a letter, a digit or `_`.
    ParticipantName, "participant name", 64,
    "1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter, a digit or '_'"
);

plain_name_type!(
    /// An endpoint's name: 1 to 64 characters of `[A-Za-z0-9._-]`, the first a letter, a digit or `_`.
    EndpointName, "endpoint name", 64,
    "1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter, a digit or '_'"
);

plain_name_type!(
    /// A token's name: 1 to 64 characters of `[A-Za-z0-9._-]`, the first a letter, a digit or `_`.
    TokenName, "token name", 64,
    "1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter, a digit or '_'"
);

plain_name_type!(
    /// An artifact's logical name or file name: 1 to 128 characters of `[A-Za-z0-9._-]`, the first a letter, a digit
    /// or `_`. Unique in a run without regard to case.
    ArtifactName, "artifact name", 128,
    "1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter, a digit or '_'"
);

/// A SHA-256 digest, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl FromStr for Sha256 {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let refuse = || InvalidName::new("sha256", text, "it is 64 lower-case hexadecimal digits");
        let legal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 64 || !text.bytes().all(legal) {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

/// Text for people and JSON, bytes for the log.
impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_reads_as_the_utc_clock_and_the_counter() {
        let id = RunId::new(Timestamp(1_795_298_400_000_000), 7);
        assert_eq!(id.to_string(), "20261121-220000-000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(RunId::new(Timestamp(951_782_400_000_000), 1).to_string(), "20000229-000000-000001");
    }

    #[test]
    fn a_run_id_has_one_spelling() {
        for text in ["", "latest", "20261121-220000-7", "20261121-220000-0000007", "2026112-220000-000007", "../etc"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
        assert!("20261121-220000-1000007".parse::<RunId>().is_ok());
    }

    #[test]
    fn hostile_names_are_refused() {
        for text in ["", ".", "..", ".hidden", "-rf", "a/b", "a\\b", "a b", "a\0", "ä", &"x".repeat(129)] {
            assert!(text.parse::<ArtifactName>().is_err(), "{text:?}");
            assert!(text.parse::<ParticipantName>().is_err(), "{text:?}");
        }
        for text in ["", "a b", "run/ä", &"x".repeat(129)] {
            assert!(text.parse::<StreamId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_digest_reads_back_in_lower_case_only() {
        let digest = Sha256(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().to_uppercase().parse::<Sha256>().is_err());
    }
}
