//! `[[participant]]`: who takes part in a run, and what it takes.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_model::ids::{ArtifactName, InvalidName, ParticipantName};
use holdfast_model::run::MAX_DEFINITION;
use serde::Serialize;
use toml::Spanned;

use super::section::{Section, listed};
use super::settings::{RunsConfig, max_tries, retry_delay};
use super::values;
use crate::command::{CommandDefinition, CommandSpec};
use crate::engine::FilesDefinition;
use crate::files::FilesSpec;
use crate::participant::{Deadlines, Descriptor, digest};

/// A participant of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantConfig {
    /// What the engine knows of it.
    pub descriptor: Descriptor,
    /// What it takes.
    pub source: Source,
}

/// What a participant of the configuration takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "there are few, and boxes would be in everybody's way")]
pub enum Source {
    /// A tree of files.
    Files(FilesDefinition),
    /// The output of a program.
    Command(CommandDefinition),
}

impl Source {
    /// The name of the kind [`Source::Command`].
    pub const COMMAND: &'static str = "command";

    /// The name of its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Files(_) => FilesDefinition::KIND,
            Self::Command(_) => Self::COMMAND,
        }
    }

    /// Its JSON without the values of variables: they may be secret. Their names stay.
    fn without_secrets(&self) -> Result<String, serde_json::Error> {
        let mut source = self.clone();
        if let Self::Command(definition) = &mut source {
            definition.commands_mut().flat_map(|spec| spec.env.values_mut()).for_each(String::clear);
        }
        serde_json::to_string(&source)
    }
}

/// A participant as far as it could be read, with the places of what is compared with the others.
pub(super) struct Drafted {
    /// As it was written, valid or not.
    pub(super) name: Option<Spanned<String>>,
    pub(super) depends_on: Vec<Spanned<String>>,
    pub(super) artifact: Option<Spanned<ArtifactName>>,
    /// `None` where something is wrong with it.
    pub(super) config: Option<ParticipantConfig>,
}

/// The keys of both kinds.
pub(crate) const SHARED_KEYS: [&str; 10] = [
    "name",
    "kind",
    "critical",
    "depends_on",
    "max_tries",
    "retry_delay",
    "timeout",
    "stall_timeout",
    "preflight_timeout",
    "allow_empty",
];
/// The keys of `kind = "files"`.
pub(crate) const FILES_KEYS: [&str; 3] = ["paths", "exclude", "one_file_system"];
/// The keys of `kind = "command"`.
pub(crate) const COMMAND_KEYS: [&str; 13] = [
    "command",
    "shell",
    "artifact",
    "env",
    "env_file",
    "directory",
    "preflight",
    "restore",
    "verify",
    "prepare",
    "freeze",
    "thaw",
    "prepare_timeout",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Files,
    Command,
}

/// Reads one participant. `position` is its place in the file, from 1, by which one without a name is told.
pub(super) fn read(section: &mut Section<'_, '_>, position: usize, runs: &RunsConfig) -> Drafted {
    let name = section.read("name", |value| values::text(value, "a name in quotes").map(str::to_owned));
    if section.value("name").is_none() {
        section.refuse(format!("participant {position} has no `name`: it is what its backups are found by"));
    }
    let parsed = name.as_ref().and_then(|name| match name.get_ref().parse::<ParticipantName>() {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            section.refuse_value("name", format!("`name`: {error}"));
            None
        }
    });
    let kind = kind(section);
    allow(section, kind);

    let critical = section.read_or("critical", true, values::flag);
    let depends_on = section.list("depends_on", "a list of names", |name| Ok(name.to_owned())).unwrap_or_default();
    let deadlines = deadlines(section, kind.unwrap_or(Kind::Files), runs);
    let (tries, delay) = (max_tries(section, runs.max_tries), retry_delay(section, runs.retry_delay));
    let allow_empty = section.read_or("allow_empty", false, values::flag);
    let source = kind.and_then(|kind| match kind {
        Kind::Files => files(section, allow_empty).map(Source::Files),
        Kind::Command => command(section, parsed.as_ref(), allow_empty).map(Source::Command),
    });
    let artifact = match (&source, &parsed) {
        (Some(Source::Command(definition)), _) => Some(definition.artifact.clone()),
        (Some(Source::Files(_)), Some(name)) => format!("{name}.tar").parse().ok(),
        _ => None,
    };
    let place = section.value("artifact").map(Spanned::span).or_else(|| name.as_ref().map(Spanned::span));
    let config = parsed.zip(source).and_then(|(name, source)| {
        let descriptor = Descriptor {
            name,
            kind: source.kind().to_owned(),
            critical,
            depends_on: depends_on.iter().filter_map(|name| name.get_ref().parse().ok()).collect(),
            max_tries: tries,
            retry_delay: delay,
            deadlines,
            reads: 1..=1,
            format_version: 1,
            digest: digest_of(section, &source)?,
        };
        Some(ParticipantConfig { descriptor, source })
    });
    Drafted { name, depends_on, artifact: artifact.zip(place).map(|(name, at)| Spanned::new(at, name)), config }
}

fn kind(section: &mut Section<'_, '_>) -> Option<Kind> {
    if section.value("kind").is_none() {
        section.refuse("the participant has no `kind`: write kind = \"files\" or kind = \"command\"".into());
    }
    let kind = section.read("kind", |value| match values::text(value, "\"files\" or \"command\"")? {
        FilesDefinition::KIND => Ok(Kind::Files),
        Source::COMMAND => Ok(Kind::Command),
        other => Err(format!("{other:?} is not known: \"files\" or \"command\"")),
    });
    kind.map(Spanned::into_inner)
}

fn allow(section: &mut Section<'_, '_>, kind: Option<Kind>) {
    let (own, other, theirs): (&[&str], &[&str], _) = match kind {
        Some(Kind::Files) => (&FILES_KEYS, &COMMAND_KEYS, Source::COMMAND),
        Some(Kind::Command) => (&COMMAND_KEYS, &FILES_KEYS, FilesDefinition::KIND),
        None => {
            let all = [&SHARED_KEYS[..], &FILES_KEYS, &COMMAND_KEYS].concat();
            return section.allow("[[participant]]", &all, |_| None);
        }
    };
    section.allow("[[participant]]", &[&SHARED_KEYS[..], own].concat(), |key| {
        let explained = || format!("`{key}` is for kind = \"{theirs}\"; this kind has {}", listed(own));
        other.contains(&key).then(explained)
    });
}

/// Reading a tree may take days and stands still only where a disk does; a program is expected to say something, and to
/// be done.
fn deadlines(section: &mut Section<'_, '_>, kind: Kind, runs: &RunsConfig) -> Deadlines {
    let usual = Deadlines::default();
    let (write, stall) = match kind {
        Kind::Files => (None, Some(Duration::from_secs(5 * 60))),
        Kind::Command => (usual.write, usual.stall),
    };
    let prepare = match kind {
        Kind::Files => usual.prepare,
        Kind::Command => section.read_or("prepare_timeout", usual.prepare, values::deadline),
    };
    Deadlines {
        preflight: section.read_or("preflight_timeout", usual.preflight, values::deadline),
        prepare,
        freeze: runs.freeze_budget,
        write: section.read_or("timeout", write, values::deadline),
        stall: section.read_or("stall_timeout", stall, values::deadline),
        grace: usual.grace,
    }
}

fn files(section: &mut Section<'_, '_>, allow_empty: bool) -> Option<FilesDefinition> {
    let paths = section.list("paths", "a list of paths as [\"/srv/site\"]", values::absolute);
    if section.value("paths").is_none() {
        section
            .refuse("the participant has no `paths`: write which folders it takes, as paths = [\"/srv/site\"]".into());
    } else if paths.as_ref().is_some_and(Vec::is_empty) && is_empty_list(section, "paths") {
        section.refuse_value("paths", "`paths`: name at least one folder or file".into());
    }
    let exclude = section.list("exclude", "a list of patterns as [\"*.tmp\"]", |pattern| {
        let spec = FilesSpec { paths: Vec::new(), exclude: vec![pattern.to_owned()], one_file_system: false };
        spec.check_patterns().map(|()| pattern.to_owned()).map_err(|error| error.to_string())
    });
    let one_file_system = section.read_or("one_file_system", false, values::flag);
    let plain = |list: Vec<Spanned<PathBuf>>| list.into_iter().map(Spanned::into_inner).collect();
    let exclude = exclude.unwrap_or_default().into_iter().map(Spanned::into_inner).collect();
    Some(FilesDefinition { spec: FilesSpec { paths: plain(paths?), exclude, one_file_system }, allow_empty })
}

fn is_empty_list(section: &Section<'_, '_>, key: &str) -> bool {
    section.value(key).and_then(|value| value.get_ref().as_array()).is_some_and(|list| list.is_empty())
}

fn command(
    section: &mut Section<'_, '_>,
    name: Option<&ParticipantName>,
    allow_empty: bool,
) -> Option<CommandDefinition> {
    let shell = section.read_or("shell", false, values::flag);
    let surroundings = CommandSpec {
        argv: Vec::new(),
        shell,
        env: section.variables("env", |value| match value.contains('\0') {
            true => Err("a variable cannot hold a zero byte".into()),
            false => Ok(value.to_owned()),
        }),
        env_file: section.variables("env_file", |value| {
            values::absolute(value)
                .map_err(|_| "write the file that holds its value, from `/` on; a value itself goes into `env`".into())
        }),
        directory: section
            .read("directory", |value| values::absolute(values::text(value, "a path in quotes")?))
            .map(Spanned::into_inner),
    };
    let twice = surroundings.env.keys().find(|name| surroundings.env_file.contains_key(*name));
    if let Some(twice) = twice {
        section.refuse_value("env_file", format!("`env_file`: {twice} stands in `env` too; leave one of them out"));
    }
    if section.value("command").is_none() {
        let example = if shell { "\"pg_dump shop | grep -v '^--'\"" } else { "[\"pg_dump\", \"-Fc\", \"shop\"]" };
        section.refuse(format!("the participant has no `command`: write what is run, as command = {example}"));
    }
    let mut spec = |key: &str| argv(section, key, shell).map(|argv| CommandSpec { argv, ..surroundings.clone() });
    let (command, preflight) = (spec("command"), spec("preflight"));
    let (restore, verify) = (spec("restore"), spec("verify"));
    let (prepare, freeze, thaw) = (spec("prepare"), spec("freeze"), spec("thaw"));
    phases_belong_together(section);
    let artifact = artifact(section, name);
    Some(CommandDefinition {
        command: command?,
        artifact: artifact?,
        allow_empty,
        preflight,
        restore,
        verify,
        prepare,
        freeze,
        thaw,
    })
}

/// What is frozen must be thawed, and nothing is thawed or prepared that is not frozen.
fn phases_belong_together(section: &mut Section<'_, '_>) {
    let [prepare, freeze, thaw] = ["prepare", "freeze", "thaw"].map(|key| section.value(key).is_some());
    if freeze && !thaw {
        let text = "`freeze` without `thaw`: write what lets its data change again, which is run once for each freeze";
        section.refuse_value("freeze", text.into());
    }
    if section.value("verify").is_some() && section.value("restore").is_none() {
        section.refuse_value("verify", "`verify` without `restore` is never run: write what it looks after".into());
    }
    if thaw && !freeze {
        section.refuse_value("thaw", "`thaw` without `freeze` is never run: write what it lets go of".into());
    }
    if prepare && !freeze {
        section
            .refuse_value("prepare", "`prepare` is the work before `freeze`: without one, do it in `command`".into());
    }
}

/// What is run: a list, or with `shell` a script.
fn argv(section: &mut Section<'_, '_>, key: &str, shell: bool) -> Option<Vec<String>> {
    let read = section.read(key, |value| {
        let zero = |word: &str| word.contains('\0').then(|| "a zero byte cannot be passed to a program".to_owned());
        if shell {
            let what = "a script in quotes (shell = true)";
            let script = values::text(value, what)?;
            return match zero(script) {
                Some(reason) => Err(reason),
                None if script.trim().is_empty() => Err("the script is empty: write what is run".into()),
                None => Ok(vec![script.to_owned()]),
            };
        }
        if let Some(script) = value.as_str() {
            return Err(format!("without shell = true it is a list: {}", as_list(script)));
        }
        let list = value.as_array().ok_or_else(|| values::needed("a list as [\"program\", \"argument\"]", value))?;
        let mut argv = Vec::with_capacity(list.len());
        for word in list {
            let word = values::text(word.get_ref(), "a string in the list")?;
            if let Some(reason) = zero(word) {
                return Err(reason);
            }
            argv.push(word.to_owned());
        }
        match argv.first().map(String::as_str) {
            None | Some("") => Err("the list is empty: its first word is the program".into()),
            Some(program) if program.contains('/') && !program.starts_with('/') => Err(format!(
                "{program:?} is relative: write the program from `/` on, or its bare name to find it in PATH"
            )),
            Some(_) => Ok(argv),
        }
    });
    read.map(Spanned::into_inner)
}

/// How a command line would be said as a list; where only a shell can tell, how it is given to one.
fn as_list(script: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " _-./:=,@%+".contains(c);
    if script.trim().is_empty() || !script.chars().all(plain) {
        return "write [\"program\", \"argument\"], or set shell = true to have a shell read it".into();
    }
    let words: Vec<String> = script.split_whitespace().map(|word| format!("\"{word}\"")).collect();
    format!("write [{}]", words.join(", "))
}

fn artifact(section: &mut Section<'_, '_>, name: Option<&ParticipantName>) -> Option<ArtifactName> {
    if section.value("artifact").is_none() {
        return format!("{}.out", name?).parse().ok();
    }
    let read = section.read("artifact", |value| {
        let text = values::text(value, "a file name in quotes")?;
        text.parse().map_err(|error: InvalidName| error.to_string())
    });
    read.map(Spanned::into_inner)
}

fn digest_of(section: &mut Section<'_, '_>, source: &Source) -> Option<holdfast_model::ids::Sha256> {
    match source.without_secrets() {
        Ok(text) if text.len() <= MAX_DEFINITION => Some(digest(&text)),
        Ok(_) => {
            section.refuse(format!("the participant is larger than {MAX_DEFINITION} bytes: make several of it"));
            None
        }
        Err(error) => {
            section.refuse(format!("the participant cannot be recorded: {error}"));
            None
        }
    }
}
