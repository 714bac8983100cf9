//! What is run, as the configuration says it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::CommandError;

/// A command and its surroundings. It inherits the environment of Holdfast; `env` and `env_file` add to it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// The program and its arguments; with `shell`, one script.
    pub argv: Vec<String>,
    /// Whether it is a script for `bash`, run with `-e -o pipefail`: a command that fails, in a pipeline too, fails it.
    #[serde(default)]
    pub shell: bool,
    /// Variables of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables whose values are read from files when it is run: secrets. A line break at the end is not part of the value.
    #[serde(default)]
    pub env_file: BTreeMap<String, PathBuf>,
    /// The folder it is run in; `/` where none is given.
    #[serde(default)]
    pub directory: Option<PathBuf>,
}

impl CommandSpec {
    /// The words that are executed.
    pub(super) fn words(&self) -> Result<Vec<&str>, CommandError> {
        let invalid = |reason| Err(CommandError::Invalid { reason });
        match (self.argv.as_slice(), self.shell) {
            ([], _) => invalid("argv is empty: give the program and its arguments"),
            ([first, ..], _) if first.is_empty() => invalid("the first word of argv is empty: give a program"),
            ([script], true) => Ok(vec!["bash", "-e", "-o", "pipefail", "-c", script]),
            (_, true) => invalid("with shell = true, argv is one script: write it as one string"),
            (words, false) => Ok(words.iter().map(String::as_str).collect()),
        }
    }

    /// Where it is run.
    pub(super) fn directory(&self) -> &Path {
        self.directory.as_deref().unwrap_or(Path::new("/"))
    }
}

/// Without the values of variables: people put secrets into them.
impl fmt::Debug for CommandSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSpec")
            .field("argv", &self.argv)
            .field("shell", &self.shell)
            .field("env", &self.env.keys())
            .field("env_file", &self.env_file)
            .field("directory", &self.directory)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

    use super::*;

    fn spec(argv: &[&str], shell: bool) -> CommandSpec {
        CommandSpec { argv: argv.iter().map(|&word| word.to_owned()).collect(), shell, ..CommandSpec::default() }
    }

    #[test]
    fn a_script_is_one_word_and_ends_at_the_first_failure() {
        assert_eq!(spec(&["a | b"], true).words().unwrap(), ["bash", "-e", "-o", "pipefail", "-c", "a | b"]);
        assert_eq!(spec(&["a", "| b"], false).words().unwrap(), ["a", "| b"]);
        for bad in [spec(&[], false), spec(&[], true), spec(&[""], false), spec(&["a", "b"], true)] {
            assert_eq!(bad.words().unwrap_err().code(), "COMMAND_INVALID");
        }
    }

    #[test]
    fn its_debug_text_names_variables_without_values() {
        let mut spec = spec(&["true"], false);
        spec.env.insert("PGPASSWORD".into(), "tops3cret".into());
        let text = format!("{spec:?}");
        assert!(text.contains("PGPASSWORD") && !text.contains("tops3cret"), "{text}");
    }
}
