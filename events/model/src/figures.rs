//! Numbers as people read them.

/// A size, in units of 1000, with three digits: `1.76 GB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    match (unit, value) {
        ("B", _) => format!("{bytes} B"),
        (_, value) if value < 9.995 => format!("{value:.2} {unit}"),
        (_, value) if value < 99.95 => format!("{value:.1} {unit}"),
        (_, value) => format!("{value:.0} {unit}"),
    }
}

/// A count with separators: `37,104`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`.
#[must_use]
pub fn counted(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {one}{ending}", count(number))
}

/// A duration: `350 µs`, `4.2 ms`, `120 ms`, `4.9 s`, `3 min 20 s`. One of nothing at all is known in whole seconds only.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    match seconds {
        none if none <= 0.0 => "under 1 s".to_owned(),
        tiny if tiny < 0.001 => format!("{:.0} µs", tiny * 1e6),
        small if small < 0.00995 => format!("{:.1} ms", small * 1e3),
        small if small < 0.9995 => format!("{:.0} ms", small * 1e3),
        short if short < 60.0 => format!("{short:.1} s"),
        long => {
            let whole = long as u64;
            let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
            if hours > 0 { format!("{hours} h {minutes} min") } else { format!("{minutes} min {rest} s") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([size(0), size(999), size(1000), size(667_000_000)], ["0 B", "999 B", "1.00 kB", "667 MB"]);
        assert_eq!([size(1_760_000_000), size(12_345_678)], ["1.76 GB", "12.3 MB"]);
        assert_eq!([count(0), count(999), count(37_104), count(1_000_000)], ["0", "999", "37,104", "1,000,000"]);
        assert_eq!([seconds(4.94), seconds(200.0), seconds(7300.0)], ["4.9 s", "3 min 20 s", "2 h 1 min"]);
        assert_eq!([seconds(0.0), seconds(0.000_35), seconds(0.0042)], ["under 1 s", "350 µs", "4.2 ms"]);
        assert_eq!([seconds(0.12), seconds(0.9996), seconds(1.0)], ["120 ms", "1.0 s", "1.0 s"]);
        assert_eq!(
            [counted(0, "file"), counted(1, "file"), counted(1200, "file")],
            ["0 files", "1 file", "1,200 files"]
        );
    }
}
