//! The data that is backed up: many small source files, a few large SQL dumps, and bytes that cannot be compressed.
//!
//! The same on every machine. The texts are made so that compressors do with them about what they do with real ones.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;

use super::random::Random;

/// Source files of the full set, and what they hold in total, in bytes.
const SOURCES: u64 = 37_000;
const SOURCE_BYTES: u64 = 738_000_000;
/// Files in a folder.
const IN_FOLDER: u64 = 14;
/// SQL dumps and their size together, in bytes.
const DUMPS: u64 = 3;
const DUMP_BYTES: u64 = 769_000_000;
/// Bytes that cannot be compressed.
const RANDOM_BYTES: u64 = 257_000_000;

/// What was made.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(super) struct Made {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Made {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// Makes the data set below `dir`, scaled by `size` (1 is all of it).
///
/// # Errors
/// As the file system says.
pub(super) fn make(dir: &Path, size: f64) -> anyhow::Result<Made> {
    let scaled = |full: u64| (full as f64 * size) as u64;
    let mut made = Made::default();
    let results = std::thread::scope(|scope| {
        let sources = scope.spawn(|| sources(&dir.join("sources"), scaled(SOURCES)));
        let others = scope.spawn(|| {
            let mut made = Made::default();
            for number in 0..DUMPS {
                made.add(dump(&dir.join("sql"), number, scaled(DUMP_BYTES) / DUMPS)?);
            }
            made.add(noise(&dir.join("media"), scaled(RANDOM_BYTES))?);
            anyhow::Ok(made)
        });
        [sources.join(), others.join()]
    });
    for result in results {
        let part = result.map_err(|_| anyhow::anyhow!("a thread that makes the data set panicked"))??;
        made.files += part.files;
        made.bytes += part.bytes;
    }
    Ok(made)
}

/// Makes one file of `bytes` bytes of text in `dir`.
///
/// # Errors
/// As the file system says.
pub(super) fn dump(dir: &Path, number: u64, bytes: u64) -> anyhow::Result<u64> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join(format!("orders-{number}.sql"));
    let context = || format!("cannot write {}", path.display());
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).with_context(context)?);
    let mut random = Random::new(1000 + number);
    let words = words(&mut Random::new(77), 3000);
    let (mut line, mut done, mut id, mut second) = (String::new(), 0, 1_000_000 * number, 0);
    while done < bytes {
        line.clear();
        id += 1;
        second += random.below(40);
        row(&mut line, &mut random, &words, id, second);
        file.write_all(line.as_bytes()).with_context(context)?;
        done += line.len() as u64;
    }
    file.flush().with_context(context)?;
    Ok(done)
}

/// One row of a dump: keys that count up, a time that goes on, names of a few kinds, amounts, a note now and then.
fn row(line: &mut String, random: &mut Random, words: &[String], id: u64, second: u64) {
    const SIDES: [&str; 3] = ["buy", "sell", "limit"];
    const STATES: [&str; 5] = ["settled", "open", "cancelled", "rejected", "pending review"];
    let customer = (random.unit().powi(2) * 90_000.0) as u64;
    let symbol = random.skewed(words).map_or("", String::as_str);
    let side = random.skewed(&SIDES).copied().unwrap_or_default();
    let state = random.skewed(&STATES).copied().unwrap_or_default();
    let (day, hour) = (1 + second / 86_400 % 28, second / 3600 % 24);
    let (minute, second) = (second / 60 % 60, second % 60);
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "INSERT INTO trades VALUES ({id}, {customer}, '{symbol}', \
         {}.{:02}, {}, '2026-11-{day:02} {hour:02}:{minute:02}:{second:02}', '{side}', '{state}', ",
        random.below(300),
        random.below(100),
        1 + random.below(50) * 10,
    );
    if random.below(5) == 0 {
        line.push('\'');
        for _ in 0..3 + random.below(6) {
            line.push_str(random.skewed(words).map_or("", String::as_str));
            line.push(' ');
        }
        line.push_str("');\n");
    } else {
        line.push_str("NULL);\n");
    }
}

fn noise(dir: &Path, bytes: u64) -> anyhow::Result<u64> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join("film.bin");
    let context = || format!("cannot write {}", path.display());
    let mut file = File::create(&path).with_context(context)?;
    let mut random = Random::new(5);
    let mut chunk = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        let part = chunk.get_mut(..count).unwrap_or_default();
        random.fill(part);
        file.write_all(part).with_context(context)?;
        left -= count as u64;
    }
    Ok(bytes)
}

/// A tree of source files: sizes spread as they are in real trees (log-normal), most of them a few kilobytes.
fn sources(dir: &Path, count: u64) -> anyhow::Result<Made> {
    let mut random = Random::new(3);
    let words = words(&mut random, 6000);
    let sizes: Vec<f64> = (0..count).map(|_| (1.4 * random.normal()).exp()).collect();
    let scale = (SOURCE_BYTES as f64 * count as f64 / SOURCES as f64) / sizes.iter().sum::<f64>();
    let mut made = Made::default();
    let mut text = String::new();
    for (number, size) in (0..count).zip(sizes) {
        let folder = number / IN_FOLDER;
        let package = dir.join(format!("package-{:02}", folder % 47));
        let folder =
            package.join(format!("{}_{}", words.get(folder as usize % 900).map_or("", String::as_str), folder));
        if number % IN_FOLDER == 0 {
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        text.clear();
        source(&mut text, &mut random, &words, (size * scale) as usize);
        let path = folder.join(format!("{}_{number}.rs", random.skewed(&words).map_or("", String::as_str)));
        std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        made.add(text.len() as u64);
    }
    Ok(made)
}

/// A source file of `bytes` bytes: few names of its own used often, many lines of a few shapes.
fn source(text: &mut String, random: &mut Random, words: &[String], bytes: usize) {
    let any = |random: &mut Random| words.get(random.below(words.len() as u64) as usize).map_or("", String::as_str);
    let names: Vec<String> = (0..500).map(|_| format!("{}_{}", any(random), any(random))).collect();
    while text.len() < bytes {
        let indent = "                ".get(..4 * (1 + random.below(4)) as usize).unwrap_or_default();
        text.push_str(indent);
        let name = |random: &mut Random| random.skewed(&names).map_or("", String::as_str);
        let (first, second, third) = (name(random), name(random), name(random));
        let number = random.below(4000);
        // Writing to a string cannot fail.
        let _ = match random.below(9) {
            0 => writeln!(text, "let {first} = {second}({third}, {number})?;"),
            1 => writeln!(text, "if {first}.{second}() > {number} {{ return Err(Error::{third}); }}"),
            2 => writeln!(text, "self.{first}.insert({second}.clone(), {third});"),
            3 => writeln!(text, "/// {} {} {} {} {}.", any(random), any(random), any(random), any(random), any(random)),
            4 => writeln!(
                text,
                "pub fn {first}(&mut self, {second}: &{}) -> Result<{}, Error> {{",
                any(random),
                any(random)
            ),
            5 => writeln!(text, "}}\n"),
            6 => writeln!(text, "assert_eq!({first}({second}), {third} + {number:#x});"),
            7 => writeln!(text, "// {} {} {}: {}", any(random), any(random), any(random), any(random)),
            _ => writeln!(text, "{first}: {second}.{third}.unwrap_or({}_{number}),", any(random)),
        };
    }
    text.truncate(bytes);
}

/// Words that can be told apart, 4 to 12 letters each.
fn words(random: &mut Random, count: usize) -> Vec<String> {
    const SYLLABLES: [&str; 24] = [
        "ba", "con", "de", "er", "fil", "ga", "hol", "in", "jo", "ken", "la", "mor", "ne", "or", "pre", "qua", "re",
        "sta", "ti", "un", "ver", "wi", "xa", "zy",
    ];
    let mut syllable = || SYLLABLES.get(random.below(24) as usize).copied().unwrap_or_default();
    (0..count).map(|number| (0..2 + number % 3).map(|_| syllable()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::copy;

    /// All files below a folder, by path.
    fn contents(dir: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
        let mut found = std::collections::BTreeMap::new();
        let mut open = vec![dir.to_owned()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.insert(path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    #[test]
    fn it_is_the_same_each_time_and_as_large_as_it_says() {
        let temp = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| temp.path().join(name));
        let made = make(&first, 0.002).unwrap();
        make(&second, 0.002).unwrap();
        let found = contents(&first);
        assert!(found == contents(&second));
        assert_eq!(made.files, found.len() as u64);
        assert_eq!(made.bytes, found.values().map(|bytes| bytes.len() as u64).sum::<u64>());
        assert!(made.bytes.abs_diff(3_528_000) < 200_000, "{made:?}");
    }

    #[test]
    fn a_copy_has_the_same_files_with_their_times() {
        let temp = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| temp.path().join(name));
        make(&from, 0.002).unwrap();
        copy::run(&from, &to, 2).unwrap();
        assert!(contents(&from) == contents(&to));
        let times = |dir: &Path| -> Vec<_> {
            contents(dir).keys().map(|path| dir.join(path).metadata().unwrap().modified().unwrap()).collect()
        };
        assert_eq!(times(&from), times(&to));
    }
}
