//! Values as people write them: durations, sizes, paths, names of variables. Each refusal says what would be right.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

/// Longest duration: 366 days. Longer ones are mistakes, and none overflows a clock.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);
/// Longest pause before a try, to which it doubles.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What is needed, where something else stands.
pub(super) fn needed(what: &str, value: &DeValue<'_>) -> String {
    let is = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("{what} is needed, not {is}")
}

/// A string.
pub(super) fn text<'a>(value: &'a DeValue<'_>, what: &str) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| needed(what, value))
}

/// `true` or `false`.
pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| needed("true or false", value))
}

/// A whole number in these bounds.
pub(super) fn whole<N>(value: &DeValue<'_>, bounds: RangeInclusive<N>) -> Result<N, String>
where
    N: TryFrom<u64> + PartialOrd + std::fmt::Display,
{
    let what = format!("a whole number from {} to {}", bounds.start(), bounds.end());
    let Some(number) = value.as_integer() else { return Err(needed(&what, value)) };
    let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok().and_then(|number| N::try_from(number).ok());
    parsed.filter(|number| bounds.contains(number)).ok_or_else(|| format!("{what} is needed, not {number}"))
}

/// A duration, as `6h`, `90m` or `30s`.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    parse_duration(text(value, "a duration as \"6h\", \"90m\" or \"30s\"")?)
}

/// A duration in these bounds.
pub(super) fn duration_within(value: &DeValue<'_>, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = duration(value)?;
    if bounds.contains(&duration) {
        return Ok(duration);
    }
    let given = value.as_str().unwrap_or_default();
    Err(format!("{given:?} is out of bounds: {} to {}", shown(*bounds.start()), shown(*bounds.end())))
}

/// A duration as it may be written: `1h 30m`.
fn shown(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |span| format!("{span:#}"))
}

/// The longest that something may be kept for a time.
const MAX_KEPT_DAYS: u64 = 36_500;

/// A pause between two tries.
pub(super) fn pause(value: &DeValue<'_>) -> Result<Duration, String> {
    let pause = duration(value)?;
    if pause > MAX_PAUSE {
        let given = value.as_str().unwrap_or_default();
        return Err(format!("{given:?} is too long: at most {} s", MAX_PAUSE.as_secs()));
    }
    Ok(pause)
}

/// A duration above zero, or `none`.
pub(super) fn deadline(value: &DeValue<'_>) -> Result<Option<Duration>, String> {
    deadline_of(text(value, "a duration as \"6h\", \"90m\" or \"30s\", or \"none\",")?)
}

/// [`deadline`], as a command line has it.
pub(crate) fn deadline_of(text: &str) -> Result<Option<Duration>, String> {
    if text == "none" {
        return Ok(None);
    }
    match parse_duration(text).map_err(|reason| format!("{reason}, or `none`"))? {
        Duration::ZERO => Err("it must be longer than nothing; for no limit write \"none\"".into()),
        duration => Ok(Some(duration)),
    }
}

/// How long something is kept: days too, or `none` for good.
pub(super) fn keeping(value: &DeValue<'_>) -> Result<Option<Duration>, String> {
    let text = text(value, "a duration as \"30d\" or \"12h\", or \"none\",")?;
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    match (text, days) {
        ("none", _) => Ok(None),
        (_, Some(days)) if days > MAX_KEPT_DAYS => {
            Err(format!("{text:?} is too long: at most {MAX_KEPT_DAYS} days, or \"none\""))
        }
        (_, Some(days)) => Ok(Some(Duration::from_secs(days * 24 * 3600))),
        (text, None) => parse_duration(text).map(Some).map_err(|reason| format!("{reason}, days as `30d`, or `none`")),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| {
        format!("{text:?} is no duration: write hours, minutes and seconds as `6h`, `90m`, `1h 30m` or `30s`")
    })?;
    let duration = Duration::try_from(span).map_err(|_| format!("{text:?} is negative"))?;
    if duration > MAX_DURATION {
        return Err(format!("{text:?} is too long: at most {} hours", MAX_DURATION.as_secs() / 3600));
    }
    Ok(duration)
}

/// A number of bytes, plain or with a unit: `k`, `M`, `G`, `T` for thousands, `KiB`, `MiB`, `GiB`, `TiB` for 1024s.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, String> {
    const WHAT: &str = "a size as \"10 GiB\", \"500 MB\" or a number of bytes";
    if value.is_integer() {
        return whole(value, 0..=u64::MAX).map_err(|_| format!("{WHAT} is needed, at most {} bytes", u64::MAX));
    }
    let text = text(value, WHAT)?;
    parse_size(text).ok_or_else(|| format!("{text:?} is no size: write it as `10 GiB`, `500 MB` or a number of bytes"))
}

/// A number of bytes in these bounds.
pub(super) fn size_within(value: &DeValue<'_>, bounds: RangeInclusive<usize>) -> Result<usize, String> {
    let bytes = size(value)?;
    let inside = usize::try_from(bytes).ok().filter(|bytes| bounds.contains(bytes));
    inside
        .ok_or_else(|| format!("{bytes} bytes are out of bounds: {} to {}", unit(*bounds.start()), unit(*bounds.end())))
}

/// A whole number of KiB or MiB as it may be written.
fn unit(bytes: usize) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "k" | "kB" => 1000,
        "M" | "MB" => 1000 * 1000,
        "G" | "GB" => 1000 * 1000 * 1000,
        "T" | "TB" => 1000 * 1000 * 1000 * 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// An absolute path. Nothing is looked up: the place may not be mounted yet.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("a path cannot hold a zero byte".into());
    }
    if !text.starts_with('/') {
        return Err(format!("{text:?} is not an absolute path: write it from `/` on"));
    }
    Ok(PathBuf::from(text))
}

/// The name of a variable of the environment.
pub(super) fn variable(name: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let starts_well = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if starts_well && name.bytes().all(legal) {
        return Ok(());
    }
    Err("the name of a variable is made of letters, digits and `_`, the first no digit".into())
}
