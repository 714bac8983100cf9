//! What a configuration names, looked for on this machine, without running anything.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_model::ids::ParticipantName;
use rustix::fs::Access;

use super::{Config, Source};
use crate::command::CommandSpec;
use crate::engine::FilesDefinition;
use crate::files::{Env, FileId, FilesSpec};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The participant would fail.
    Error,
    /// It would work, and something should be seen to.
    Warning,
    /// Good to know.
    Note,
}

/// What was found on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The participant it is about; `None` for the file itself.
    pub participant: Option<ParticipantName>,
    /// What is the matter and what to do.
    pub message: String,
}

impl Config {
    /// Looks for what this configuration, read from `file`, names: folders, programs, files with secrets. Runs nothing.
    /// What lies in `home` is never backed up.
    #[must_use]
    pub fn look(&self, file: &Path, home: &Path) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.has_values() && std::fs::metadata(file).is_ok_and(|facts| open_to_others(&facts)) {
            let message =
                format!("everybody may read {0}, and `env` may hold secrets: `chmod o-r {0}`", file.display());
            findings.push(Finding { severity: Severity::Warning, participant: None, message });
        }
        let env = Env { skip: FileId::of(home).into_iter().collect() };
        for participant in &self.participants {
            let mut found = |severity, message| {
                let participant = Some(participant.descriptor.name.clone());
                findings.push(Finding { severity, participant, message });
            };
            match &participant.source {
                Source::Files(definition) => files(definition, &env, &mut found),
                Source::Command(definition) => {
                    let specs = [
                        ("command", Some(&definition.command)),
                        ("preflight", definition.preflight.as_ref()),
                        ("restore", definition.restore.as_ref()),
                    ];
                    for (key, spec) in specs {
                        spec.into_iter().for_each(|spec| program(key, spec, &mut found));
                    }
                    surroundings(&definition.command, &mut found);
                    if definition.restore.is_none() {
                        let message = "there is no `restore`: its artifact is brought back by hand";
                        found(Severity::Note, message.to_owned());
                    }
                }
            }
        }
        findings
    }

    fn has_values(&self) -> bool {
        self.participants.iter().any(|participant| match &participant.source {
            Source::Files(_) => false,
            Source::Command(definition) => !definition.command.env.is_empty(),
        })
    }
}

fn files(definition: &FilesDefinition, env: &Env, found: &mut impl FnMut(Severity, String)) {
    for path in &definition.spec.paths {
        let alone = FilesSpec { paths: vec![path.clone()], exclude: Vec::new(), one_file_system: false };
        if let Err(error) = alone.sources(env) {
            found(Severity::Error, format!("`paths`: {error}"));
        }
    }
}

fn program(key: &str, spec: &CommandSpec, found: &mut impl FnMut(Severity, String)) {
    let name = if spec.shell { "bash" } else { spec.argv.first().map_or("", String::as_str) };
    if name.starts_with('/') {
        if !runs(Path::new(name)) {
            found(
                Severity::Error,
                format!("`{key}`: {name} is no program this user may run: install it, or correct the path"),
            );
        }
        return;
    }
    let path = spec.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    if in_path(name, &path).is_none() {
        found(
            Severity::Error,
            format!("`{key}`: there is no program {name} in PATH: install it, or write where it is"),
        );
    }
}

fn in_path(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|program| runs(program))
}

fn runs(program: &Path) -> bool {
    program.is_file() && rustix::fs::access(program, Access::EXEC_OK).is_ok()
}

/// What all commands of a participant share.
fn surroundings(spec: &CommandSpec, found: &mut impl FnMut(Severity, String)) {
    if let Some(directory) = spec.directory.as_deref().filter(|directory| !directory.is_dir()) {
        found(
            Severity::Error,
            format!("`directory`: {} is not a folder: make it, or name another", directory.display()),
        );
    }
    for (name, path) in &spec.env_file {
        let shown = path.display();
        match std::fs::metadata(path).and_then(|facts| open(path, &facts).map(|()| facts)) {
            Ok(facts) if open_to_others(&facts) => {
                found(
                    Severity::Warning,
                    format!("`env_file`, {name}: everybody may read {shown}: `chmod o-r {shown}`"),
                );
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                found(Severity::Error, format!("`env_file`, {name}: {shown} does not exist: write the value into it"));
            }
            Err(error) => {
                found(
                    Severity::Error,
                    format!("`env_file`, {name}: {shown} cannot be read ({error}): give this user access"),
                );
            }
        }
    }
}

/// Whether it can be opened. Only a file is: a pipe would wait.
fn open(path: &Path, facts: &Metadata) -> std::io::Result<()> {
    if !facts.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    File::open(path).map(drop)
}

fn open_to_others(facts: &Metadata) -> bool {
    facts.mode() & 0o004 != 0
}
