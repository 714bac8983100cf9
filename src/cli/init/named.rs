//! What was named to `init`, by flags or answers, and whether it can be written down.

use std::path::Path;

use holdfast_model::ids::{InvalidName, ParticipantName};

use super::text::Participant;
use crate::files::{Env, FilesSpec};

/// A folder or file, made absolute; it must be there.
pub(super) fn path(given: &Path) -> Result<String, String> {
    let path = std::path::absolute(given).map_err(|error| format!("{}: {error}", given.display()))?;
    let spec = FilesSpec { paths: vec![path.clone()], exclude: Vec::new(), one_file_system: false };
    spec.sources(&Env::default()).map_err(|error| error.to_string())?;
    let text = path.into_os_string().into_string();
    text.map_err(|path| format!("{path:?} is not UTF-8, which a configuration cannot hold: name the folder above it"))
}

/// A script for a shell.
pub(super) fn script(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err("write what is run, as `pg_dump -Fc shop`".into());
    }
    Ok(text.to_owned())
}

/// A name no other participant has.
pub(super) fn new_name(participants: &[Participant], text: &str) -> Result<ParticipantName, String> {
    let name: ParticipantName = text.parse().map_err(|error: InvalidName| error.to_string())?;
    if taken(participants, &name) {
        return Err(format!("there is a participant {name} already: names are told apart without case"));
    }
    Ok(name)
}

fn taken(participants: &[Participant], name: &ParticipantName) -> bool {
    participants.iter().any(|other| other.name.as_str().eq_ignore_ascii_case(name.as_str()))
}

/// The name to wish for where this path is taken: its last part.
pub(super) fn for_path(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The name to wish for where this script is run: its program.
pub(super) fn for_script(script: &str) -> String {
    for_path(script.split_whitespace().next().unwrap_or_default())
}

/// A name like the one wished for that is valid and not taken.
pub(super) fn free(participants: &[Participant], wished: &str) -> ParticipantName {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let start: String = wished.trim_start_matches(['.', '-']).chars().map(legal).take(56).collect();
    let start = if start.is_empty() { "data" } else { start.as_str() };
    let names = std::iter::once(start.to_owned()).chain((2_u64..).map(|number| format!("{start}-{number}")));
    let mut names = names.filter_map(|name| name.parse().ok()).filter(|name| !taken(participants, name));
    #[expect(clippy::expect_used, reason = "`start` is legal and short, and there are fewer participants than numbers")]
    names.next().expect("a free name")
}
