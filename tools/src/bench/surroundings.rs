//! Where the figures were taken: without that they say little.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// What there is to say of machine and programs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Surroundings {
    pub(super) processor: String,
    pub(super) cores: usize,
    /// Of memory, in MiB.
    pub(super) memory: u64,
    pub(super) kernel: String,
    /// Load averages over 1, 5 and 15 minutes when it began.
    pub(super) load: String,
    /// File system that holds the data set and what is written, or what is known of it.
    pub(super) file_system: String,
    /// First lines of what the programs say of their version.
    pub(super) programs: Vec<String>,
}

impl Surroundings {
    /// Looks around.
    pub(super) fn look(work: &Path, own_volume: bool) -> Self {
        let field = |file: &str, name: &str| -> Option<String> {
            let text = std::fs::read_to_string(file).ok()?;
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
            Some(value.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let kind = first_line(Command::new("findmnt").args(["-n", "-o", "FSTYPE", "--target"]).arg(work));
        let mut file_system = kind.unwrap_or_else(|| "unknown".into());
        if own_volume {
            file_system.push_str(", a volume of its own in a file");
        }
        let versions = [
            ("restic", "version"),
            ("borg", "--version"),
            ("tar", "--version"),
            ("zstd", "--version"),
            ("lz4", "--version"),
        ];
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory: memory.unwrap_or(0) / 1024,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load: load(),
            file_system,
            programs: versions.iter().filter_map(|(name, option)| version(name, option)).collect(),
        }
    }
}

/// The load averages now.
pub(super) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// `name 1.2.3`, from the first word of what it says that begins with a digit.
fn version(name: &str, option: &str) -> Option<String> {
    let line = first_line(Command::new(name).arg(option))?;
    let digits =
        |word: &&str| word.contains('.') && word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    let number = line.split([' ', ',']).find(digits)?.trim_start_matches('v').trim_end_matches(',').to_owned();
    Some(format!("{name} {number}"))
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
