//! The text of a new configuration: all there is to set, explained, and below it the participants that were named.

use std::path::Path;

use holdfast_model::ids::ParticipantName;
use toml::Value;

use crate::pipeline::Compression;

/// All there is to set, explained and not in force.
const TEMPLATE: &str = include_str!("template.toml");

/// What is written besides the explanations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) compression: Compression,
    pub(super) participants: Vec<Participant>,
}

/// A participant that was named.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Participant {
    pub(super) name: ParticipantName,
    pub(super) takes: Takes,
}

/// What it takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Absolute paths.
    Files(Vec<String>),
    /// Scripts for a shell.
    Command { command: String, restore: Option<String> },
}

/// The whole file.
pub(super) fn configuration(chosen: &Chosen) -> String {
    let mut text = TEMPLATE.to_owned();
    if chosen.compression != Compression::default() {
        let setting = |value: Compression| format!("compression = {}\n", quoted(&value.to_string()));
        text = text.replacen(&format!("#{}", setting(Compression::default())), &setting(chosen.compression), 1);
    }
    if !chosen.participants.is_empty() {
        text.push_str("\n# These are in force.\n");
    }
    for participant in &chosen.participants {
        text.push_str(&format!("\n[[participant]]\nname = {}\n", quoted(participant.name.as_str())));
        match &participant.takes {
            Takes::Files(paths) => {
                let paths = Value::Array(paths.iter().cloned().map(Value::String).collect());
                text.push_str(&format!("kind = \"files\"\npaths = {paths}\n"));
            }
            Takes::Command { command, restore } => {
                text.push_str(&format!("kind = \"command\"\nshell = true\ncommand = {}\n", quoted(command)));
                if let Some(restore) = restore {
                    text.push_str(&format!("restore = {}\n", quoted(restore)));
                }
            }
        }
    }
    text
}

/// A string as TOML writes it.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// A path for a shell to read.
pub(super) fn for_shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,@%:=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
