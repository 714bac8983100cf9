//! The configuration file: TOML, every key optional but those without which a participant is none.
//!
//! Unknown keys and wrong values are refused, all of a file at once, each with its line, its key and what is allowed. A
//! configuration says what programs are run, so one that others may write is refused too. Nothing is looked up on the
//! machine while it is read: a folder that is not there is told by the run, not by every command.

mod encryption;
mod endpoint;
mod error;
mod file;
mod limits;
mod machine;
mod origin;
mod participant;
mod reload;
mod section;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod together;
mod values;

use std::path::Path;
use std::sync::Arc;

use holdfast_model::endpoint::EndpointConfigV2;
use holdfast_model::run::{Consistency, MAX_PARTICIPANTS};
use toml::de::{DeTable, DeValue};

pub use self::encryption::EncryptionConfig;
#[cfg(test)]
pub(crate) use self::endpoint::ENDPOINT_KEYS;
use self::error::Problems;
pub use self::error::{ConfigError, Problem};
pub use self::file::ConfigFile;
pub use self::limits::ServerLimits;
pub use self::machine::{Finding, Severity};
pub use self::origin::{InvalidOrigin, Origin};
#[cfg(test)]
pub(crate) use self::participant::{COMMAND_KEYS, FILES_KEYS, SHARED_KEYS};
pub use self::participant::{ParticipantConfig, Source};
use self::section::Section;
pub use self::server::{LogFormat, ServerConfig, TlsFiles};
pub use self::settings::{OnCrash, PipelineConfig, RestoresConfig, RunsConfig, SpaceConfig};
pub(crate) use self::values::{deadline_of, parse_size};

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// How bytes are moved.
    pub pipeline: PipelineConfig,
    /// How runs go.
    pub runs: RunsConfig,
    /// How restores go.
    pub restores: RestoresConfig,
    /// What stays free.
    pub space: SpaceConfig,
    /// To whom runs are encrypted.
    pub encryption: EncryptionConfig,
    /// How the server works.
    pub server: ServerConfig,
    /// Where copies go, in the order of the file; each [declared](EndpointConfigV2::declared), no two of one name.
    pub endpoints: Vec<EndpointConfigV2>,
    /// Who takes part in a full run, in the order of the file, which is the order they work in. At most
    /// [`MAX_PARTICIPANTS`]; their names and the names of their files are unique without regard to case.
    pub participants: Vec<ParticipantConfig>,
    /// The file it was read from; `None` where it was made otherwise.
    pub file: Option<Arc<ConfigFile>>,
    /// What is allowed, and keeps something from working.
    pub(crate) doubts: Vec<Problem>,
}

/// The parts of the file.
const PARTS: [&str; 8] = ["pipeline", "runs", "restores", "space", "encryption", "server", "endpoint", "participant"];

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = file::read(path)?;
        let config = Self::parse(&text, path)?;
        Ok(Self { file: Some(Arc::new(ConfigFile::new(path, text))), ..config })
    }

    /// Reads a configuration from its text. `path` is what errors call it.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all that is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut last = None;
        for error in &errors {
            // The rest of a line that is no TOML is mostly told for no reason of its own.
            let line = text.get(..error.span().unwrap_or_default().start).map(|before| before.matches('\n').count());
            if last.replace(line) == Some(line) {
                continue;
            }
            problems.add_syntax(text, error.span().unwrap_or_default(), error.message().replace('\n', ", "));
        }
        // What a text that is no TOML means is a guess; only what is surely wrong is told.
        let mut doubts = Problems::default();
        let config = match errors.is_empty() {
            true => Self::of(document.get_ref(), &mut problems, &mut doubts),
            false => Self::default(),
        };
        if problems.is_empty() {
            return Ok(Self { doubts: doubts.told(text), ..config });
        }
        Err(ConfigError::Invalid { path: path.to_owned(), problems: problems.told(text) })
    }

    fn of(document: &DeTable<'_>, problems: &mut Problems, doubts: &mut Problems) -> Self {
        for (key, _) in document {
            if !PARTS.contains(&key.get_ref().as_ref()) {
                problems.add_key(key.span(), unknown_part(key.get_ref()));
            }
        }
        let mut config = Self::default();
        if let Some(mut section) = part(document, "pipeline", problems) {
            config.pipeline = PipelineConfig::read(&mut section);
        }
        if let Some(mut section) = part(document, "runs", problems) {
            config.runs = RunsConfig::read(&mut section);
        }
        if let Some(mut section) = part(document, "restores", problems) {
            config.restores = RestoresConfig::read(&mut section);
        }
        if let Some(mut section) = part(document, "space", problems) {
            config.space = SpaceConfig::read(&mut section);
        }
        if let Some(mut section) = part(document, "encryption", problems) {
            config.encryption = EncryptionConfig::read(&mut section);
        }
        if let Some(mut section) = part(document, "server", problems) {
            config.server = ServerConfig::read(&mut section);
        }
        // With keys that cannot be read it is not known how runs are encrypted.
        let known = problems.is_empty() || !document.contains_key("encryption");
        let encryption = config.encryption.encryption();
        config.endpoints = endpoint::read_all(document, known.then_some(&encryption), problems);
        config.participants = participants(document, &config, problems, doubts);
        config
    }
}

fn part<'a, 'p>(document: &'a DeTable<'a>, key: &str, problems: &'p mut Problems) -> Option<Section<'a, 'p>> {
    Section::of(document.get(key)?, &format!("a part [{key}]"), problems)
}

fn participants(
    document: &DeTable<'_>,
    config: &Config,
    problems: &mut Problems,
    doubts: &mut Problems,
) -> Vec<ParticipantConfig> {
    let Some(value) = document.get("participant") else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        let message = match value.get_ref() {
            DeValue::Table(_) => "each participant is written [[participant]], with two brackets".to_owned(),
            other => values::needed("[[participant]], with two brackets,", other),
        };
        problems.add(value.span(), message);
        return Vec::new();
    };
    if let Some(above) = list.get(MAX_PARTICIPANTS) {
        problems.add(above.span(), format!("there are {}: {MAX_PARTICIPANTS} participants at most", list.len()));
        return Vec::new();
    }
    let mut drafted = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        if let Some(mut section) = Section::of(value, "[[participant]]", problems) {
            drafted.push(participant::read(&mut section, index + 1, &config.runs));
        }
    }
    together::check(&drafted, config.pipeline.compression, problems);
    if config.runs.consistency == Consistency::Barrier {
        together::all_stand_still(&drafted, doubts);
    }
    drafted.into_iter().filter_map(|one| one.config).collect()
}

fn unknown_part(key: &str) -> String {
    let meant = match section::closest(key, &PARTS) {
        Some("endpoint") => ": did you mean [[endpoint]]?",
        Some("participant") => ": did you mean [[participant]]?",
        Some("pipeline") => ": did you mean [pipeline]?",
        Some("runs") => ": did you mean [runs]?",
        Some("restores") => ": did you mean [restores]?",
        Some("space") => ": did you mean [space]?",
        Some("encryption") => ": did you mean [encryption]?",
        Some("server") => ": did you mean [server]?",
        _ => ";",
    };
    let key = key.escape_debug();
    format!(
        "there is no part `{key}`{meant} the parts are [pipeline], [runs], [restores], [space], [encryption], [server], \
         [[endpoint]] and [[participant]]"
    )
}
