//! The arrows between the rooms of the house, held by a check.
//!
//! `model ← log ← actors ← holdfast ← tools`: a crate depends only on crates left of it. Inside that, a few names are
//! kept in one place, so that what they stand for can be replaced there and nowhere else: sled in the log, actix in the
//! actors and the engine, bincode in the model's codec. The model is pure. The top folder holds what it is meant to.
//!
//! Dependencies are read from `cargo metadata`, sources as tokens, so that a comment or a text never counts. The check is
//! against slips, not against intent: a macro of another crate could still hide a name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

mod dependencies;
mod sources;
mod tokens;

/// What [`check`] found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Each place where an arrow is broken, in the order of the paths.
    pub(crate) violations: Vec<Violation>,
    /// Crates of the workspace that were looked at.
    pub(crate) crates: usize,
    /// Source files that were looked at.
    pub(crate) files: usize,
}

/// One place where an arrow is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Where: a path relative to the top folder, with the line where there is one.
    place: String,
    /// What is there, and what the rule is.
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// What may lie in the top folder, beside dotfiles and licences. `target` is cargo's and never committed.
const TOP: &[&str] = &["Cargo.toml", "Cargo.lock", "README.md", "actors", "events", "src", "target", "tests", "tools"];

/// Checks the repository whose top folder is `root`.
///
/// # Errors
/// Where a file cannot be read, is no Rust, or `cargo metadata` fails: then nothing is known about the arrows.
pub(crate) fn check(root: &Path) -> anyhow::Result<Report> {
    let mut report = Report::default();

    let workspace = dependencies::Workspace::parse(&cargo_metadata(root)?)?;
    report.crates = workspace.packages.len();
    report.violations.extend(workspace.violations());

    for folder in sources::FOLDERS {
        let files = rust_files(&root.join(folder))?;
        if files.is_empty() {
            bail!("no source file below {folder}: give the top folder of the repository with --root");
        }
        for file in files {
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
            report.violations.extend(sources::violations(&name, &text)?);
            report.files += 1;
        }
    }

    let mut names = Vec::new();
    for entry in std::fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    report.violations.extend(names.iter().filter_map(|name| top_violation(name)));
    Ok(report)
}

fn top_violation(name: &str) -> Option<Violation> {
    let allowed = name.starts_with('.') || name.starts_with("LICENSE-") || TOP.contains(&name);
    (!allowed).then(|| Violation {
        place: name.to_owned(),
        text: "does not belong in the top folder: long texts lie beside what they are about, examples under tools/ or \
               tests/"
            .to_owned(),
    })
}

fn cargo_metadata(root: &Path) -> anyhow::Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .output()
        .context("cannot start cargo: install the Rust toolchain")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// Every `.rs` file below `folder`, sorted. A folder that is not there has none.
fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("cannot list {}", folder.display()))?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_folder_holds_what_it_is_meant_to() {
        for name in ["Cargo.toml", "README.md", "events", "tests", ".ci", ".gitignore", "LICENSE-MIT"] {
            assert_eq!(top_violation(name), None, "{name}");
        }
        for name in ["docs", "examples", "NOTES.md", "LICENSE", "proptest-regressions", "benches"] {
            assert!(top_violation(name).is_some(), "{name}");
        }
    }
}
