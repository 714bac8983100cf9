//! One range of a file (RFC 9110, section 14).

/// What of a file was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// So many bytes from here on, at least one.
    Part { from: u64, length: u64 },
    /// Bytes that it does not have.
    Nothing,
}

/// Reads the header `Range` for a file of `size` bytes. More than one range, and what is no range, is answered with all of the file.
pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(range) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Wanted::All };
    let Some((first, last)) = range.trim().split_once('-') else { return Wanted::All };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (first, last) = (first.trim(), last.trim());
    if !digits(first) || !digits(last) {
        return Wanted::All;
    }
    // A number that is too large is beyond any file.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (from, end) = match (first, last) {
        ("", "") => return Wanted::All,
        ("", last) => (size.saturating_sub(number(last)), size),
        (first, "") => (number(first), size),
        (first, last) if number(last) < number(first) => return Wanted::All,
        (first, last) => (number(first), number(last).saturating_add(1).min(size)),
    };
    if from >= end { Wanted::Nothing } else { Wanted::Part { from, length: end - from } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |from, length| Wanted::Part { from, length };
        for (text, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-", part(2, 8)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-99", part(0, 10)),
            ("bytes=5-99999999999999999999999", part(5, 5)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=5-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=1-2", Wanted::All),
        ] {
            assert_eq!(wanted(Some(text), 10), expected, "{text}");
        }
        assert_eq!((wanted(None, 10), wanted(Some("bytes=0-"), 0)), (Wanted::All, Wanted::Nothing));
    }
}
