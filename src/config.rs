//! The configuration file: TOML, every key optional, unknown keys refused with their line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::pipeline::Compression;

/// Largest configuration file read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Most CPU workers.
const MAX_WORKERS: usize = 256;

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How bytes are moved.
    pub pipeline: PipelineConfig,
    /// How runs go.
    pub runs: RunsConfig,
    /// What stays free.
    pub space: SpaceConfig,
}

/// `[pipeline]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineConfig {
    /// `lz4`, `zstd:N`, `gzip:N`, `brotli:N` or `none`.
    pub compression: Compression,
    /// CPU workers; 0 for one a core.
    pub workers: usize,
}

/// `[runs]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunsConfig {
    /// How many processes may work on a run, one after the other.
    pub max_attempts: u32,
    /// How long after an interruption a run is still resumed, as `6h` or `90m`.
    #[serde(deserialize_with = "duration")]
    pub resume_within: Duration,
}

impl Default for RunsConfig {
    fn default() -> Self {
        Self { max_attempts: 3, resume_within: Duration::from_secs(6 * 3600) }
    }
}

/// `[space]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpaceConfig {
    /// Free room of home's file system that no run begins to use, as `"10 GiB"` or a number of bytes.
    #[serde(deserialize_with = "size")]
    pub min_free: u64,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what it should be; the text names line, key and what is allowed.
    #[error("the configuration {} is not valid:\n{reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let io = |source| ConfigError::Io { path: path.to_owned(), source };
        let invalid = |reason: String| ConfigError::Invalid { path: path.to_owned(), reason };
        if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE {
            return Err(invalid(format!("it is larger than {MAX_FILE} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let config: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if config.pipeline.workers > MAX_WORKERS {
            return Err(invalid(format!("[pipeline] workers: {MAX_WORKERS} at most, or 0 for one a core")));
        }
        if config.runs.max_attempts == 0 {
            return Err(invalid("[runs] max_attempts: 1 at least".into()));
        }
        Ok(config)
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| serde::de::Error::custom(format!("`{text}` is no duration: write it as `6h`, `90m` or `30s`")))?;
    Duration::try_from(span).map_err(|_| serde::de::Error::custom(format!("`{text}` is negative")))
}

/// A number of bytes, plain or with a unit: `k`, `M`, `G`, `T` for thousands, `KiB`, `MiB`, `GiB`, `TiB` for 1024s.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Text(text) => parse_size(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no size: write it as `10 GiB`, `500 MB` or a number of bytes"
            ))
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn all_settings_are_read() {
        let config = parse(
            "[pipeline]\ncompression = 'zstd:3'\nworkers = 2\n[runs]\nmax_attempts = 5\nresume_within = '90m'\n[space]\nmin_free = '10 GiB'",
        )
        .unwrap();
        assert_eq!(config.pipeline, PipelineConfig { compression: Compression::Zstd(3), workers: 2 });
        assert_eq!(config.runs, RunsConfig { max_attempts: 5, resume_within: Duration::from_secs(5400) });
        assert_eq!(config.space.min_free, 10 << 30);
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, says) in [
            ("[pipeline]\ncompresion = 'lz4'", "unknown field `compresion`"),
            ("[pipeline]\ncompression = 'rar'", "use lz4, zstd:1"),
            ("[runs]\nresume_within = 6", "expected a string"),
            ("[runs]\nresume_within = 'soon'", "no duration"),
            ("[space]\nmin_free = '10 parsecs'", "no size"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says) && error.contains("line 2"), "{text}: {error}");
        }
    }
}
