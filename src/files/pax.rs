//! Records of a pax extended header: what does not fit into the fields of a header block.
//!
//! Format: POSIX.1-2017, `pax`, "Extended Header". A record is `<length> <key>=<value>\n`, the length counting all of
//! it. Beside POSIX's keys those of GNU tar for sparse files (format 1.0) and of star for extended attributes are used,
//! which GNU tar and libarchive read too. Values are raw bytes, also of paths that are not UTF-8: GNU tar reads them
//! so.

use super::entry::Mtime;
use super::xattrs::Xattr;

/// Longest extended header that is written or read.
pub(super) const MAX_LENGTH: u64 = 1024 * 1024;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// Records to be written.
#[derive(Default)]
pub(super) struct Records {
    pub(super) bytes: Vec<u8>,
}

impl Records {
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        // Space, `=`, newline; and the digits of the length, which count themselves.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        for part in [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"] {
            self.bytes.extend_from_slice(part);
        }
    }

    pub(super) fn number(&mut self, key: &[u8], value: u64) {
        self.put(key, value.to_string().as_bytes());
    }

    pub(super) fn mtime(&mut self, mtime: Mtime) {
        self.put(b"mtime", decimal(mtime).as_bytes());
    }

    /// `%` and `=` in a name are escaped, as GNU tar does it: a key ends at the first `=`.
    pub(super) fn xattr(&mut self, xattr: &Xattr) {
        let mut key = XATTR.to_vec();
        for byte in &xattr.name {
            match byte {
                b'%' => key.extend_from_slice(b"%25"),
                b'=' => key.extend_from_slice(b"%3D"),
                byte => key.push(*byte),
            }
        }
        self.put(&key, &xattr.value);
    }
}

/// What an extended header said.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) user: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    pub(super) mtime: Option<Mtime>,
    pub(super) sparse_major: Option<u64>,
    pub(super) sparse_minor: Option<u64>,
    pub(super) sparse_path: Option<Vec<u8>>,
    pub(super) sparse_size: Option<u64>,
    pub(super) xattrs: Vec<Xattr>,
}

impl Extended {
    /// Reads all records. Keys that mean nothing here are passed over, as POSIX asks.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, String> {
        let mut all = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or("a record of an extended header is not well-formed")?;
            all.apply(key, value).ok_or_else(|| format!("`{}` has a wrong value", String::from_utf8_lossy(key)))?;
            bytes = rest;
        }
        Ok(all)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            b"uname" => self.user = Some(value.to_vec()),
            b"gname" => self.group = Some(value.to_vec()),
            b"mtime" => self.mtime = Some(parse_decimal(value)?),
            b"GNU.sparse.major" => self.sparse_major = Some(number(value)?),
            b"GNU.sparse.minor" => self.sparse_minor = Some(number(value)?),
            b"GNU.sparse.name" => self.sparse_path = Some(value.to_vec()),
            b"GNU.sparse.realsize" => self.sparse_size = Some(number(value)?),
            key => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    let name = unescape(name);
                    if name.is_empty() || name.contains(&0) {
                        return None;
                    }
                    self.xattrs.push(Xattr { name, value: value.to_vec() });
                }
            }
        }
        Some(())
    }
}

/// Splits the first record off: key, value, rest.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let digits = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(bytes.get(..digits)?)?).ok()?;
    let body = bytes.get(digits + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((body.get(..equals)?, body.get(equals + 1..)?, bytes.get(length..)?))
}

/// A decimal number of digits only.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `-1.5` is half a second before 1969-12-31 23:59:59.
fn decimal(mtime: Mtime) -> String {
    let Mtime { seconds, nanos } = mtime;
    let text = match (seconds, nanos) {
        (seconds, 0) => return seconds.to_string(),
        (0.., nanos) => format!("{seconds}.{nanos:09}"),
        // The nanoseconds count forward from a second before: as one negative number they count back.
        (seconds, nanos) => format!("-{}.{:09}", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    text.trim_end_matches('0').to_owned()
}

fn parse_decimal(text: &[u8]) -> Option<Mtime> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = i64::try_from(number(parts.next().filter(|whole| !whole.is_empty())?)?).ok()?;
    let mut nanos = 0;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        // Digits beyond the nanosecond are cut.
        for place in 0..9 {
            nanos = nanos * 10 + u32::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
        }
    }
    Some(match (negative, nanos) {
        (false, nanos) => Mtime { seconds: whole, nanos },
        (true, 0) => Mtime { seconds: -whole, nanos: 0 },
        (true, nanos) => Mtime { seconds: -whole - 1, nanos: 1_000_000_000 - nanos },
    })
}

/// Undoes the escapes of [`Records::xattr`]. What is not one of them stays.
fn unescape(mut name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    while let Some((first, rest)) = name.split_first() {
        let (byte, after) = if let Some(after) = name.strip_prefix(b"%25") {
            (b'%', after)
        } else if let Some(after) = name.strip_prefix(b"%3D") {
            (b'=', after)
        } else {
            (*first, rest)
        };
        plain.push(byte);
        name = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_records_length_counts_its_own_digits() {
        for length in 0..1200 {
            let mut records = Records::default();
            records.put(b"path", &vec![b'x'; length]);
            records.put(b"gname", b"a=b\nc");
            let read = Extended::parse(&records.bytes).unwrap();
            assert_eq!(read.path.map(|path| path.len()), Some(length));
            assert_eq!(read.group.as_deref(), Some(&b"a=b\nc"[..]));
        }
    }

    #[test]
    fn times_are_written_as_gnu_tar_writes_them() {
        let text = |seconds, nanos| decimal(Mtime { seconds, nanos });
        assert_eq!(text(12, 0), "12");
        assert_eq!(text(12, 340_000_000), "12.34");
        assert_eq!(text(12, 1), "12.000000001");
        assert_eq!(text(-2, 500_000_000), "-1.5");
        assert_eq!(text(-1, 750_000_000), "-0.25");
        assert_eq!(text(-7, 0), "-7");
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in [
            &b"6 a=\n"[..],
            b"6 a=b",
            b"99999999999999999999 a=b\n",
            b" a=b\n",
            b"7 abcd\n",
            b"+6 a=b\n",
            b"10 size=-1\n",
            b"11 mtime=.5\n",
            b"12 mtime=1.x\n",
        ] {
            assert!(Extended::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn times_survive(seconds in i64::MIN / 2..i64::MAX / 2, nanos in 0_u32..1_000_000_000) {
            let mtime = Mtime { seconds, nanos };
            prop_assert_eq!(parse_decimal(decimal(mtime).as_bytes()), Some(mtime));
        }

        #[test]
        fn attributes_survive(name in proptest::collection::vec(1_u8.., 1..40), value: Vec<u8>) {
            let xattr = Xattr { name, value };
            let mut records = Records::default();
            records.xattr(&xattr);
            prop_assert_eq!(Extended::parse(&records.bytes).unwrap().xattrs, vec![xattr]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Extended::parse(&bytes);
        }
    }
}
