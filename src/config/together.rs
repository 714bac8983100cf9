//! What participants must be together: told apart by name and by file, and in an order that has a beginning.

use std::collections::BTreeMap;

use holdfast_model::ids::{ArtifactName, InvalidName};
use holdfast_model::run::RESERVED_FILES;
use toml::Spanned;

use super::error::Problems;
use super::participant::{Drafted, Source};
use super::section::closest;
use crate::own_state;
use crate::pipeline::{Compression, index};

/// Finds what is wrong between participants.
pub(super) fn check(drafted: &[Drafted], compression: Compression, problems: &mut Problems) {
    names(drafted, problems);
    dependencies(drafted, problems);
    cycle(drafted, problems);
    artifacts(drafted, compression, problems);
}

/// Finds who cannot stand still, where all are to: no full run would be begun. Runs of some of them may be, so it is no reason to refuse the
/// file.
pub(super) fn all_stand_still(drafted: &[Drafted], doubts: &mut Problems) {
    for (name, config) in drafted.iter().filter_map(|one| Some((one.name.as_ref()?, one.config.as_ref()?))) {
        let why = match &config.source {
            Source::Files(_) => "is of kind \"files\", which cannot stand still".to_owned(),
            Source::Command(command) if command.freeze.is_none() || command.thaw.is_none() => {
                "cannot stand still without `freeze` and `thaw`".to_owned()
            }
            Source::Command(_) => continue,
        };
        let message = format!(
            "{} {why}: with consistency = \"barrier\" in [runs] each full run is refused (BARRIER_NOT_SUPPORTED); write consistency = \
             \"concurrent\" there, and back those up that can by `backup --consistency barrier --participant NAME`",
            name.get_ref(),
        );
        doubts.add(name.span(), message);
    }
}

fn names(drafted: &[Drafted], problems: &mut Problems) {
    let mut taken = BTreeMap::new();
    for name in drafted.iter().filter_map(|one| one.name.as_ref()) {
        if own_state::is_reserved(name.get_ref()) {
            problems.add(name.span(), format!("`name`: {:?} {}", name.get_ref(), own_state::RESERVED));
        }
        if let Some(other) = taken.insert(name.get_ref().to_ascii_lowercase(), name.get_ref()) {
            let same = if other == name.get_ref() { "" } else { " (names are told apart without case)" };
            problems.add(name.span(), format!("`name`: there is a participant {other:?} above already{same}"));
        }
    }
}

fn dependencies(drafted: &[Drafted], problems: &mut Problems) {
    let names: Vec<&str> = drafted.iter().filter_map(|one| one.name.as_ref()).map(|n| n.get_ref().as_str()).collect();
    for one in drafted {
        let own = one.name.as_ref().map(Spanned::get_ref);
        for (place, needed) in one.depends_on.iter().enumerate() {
            let name = needed.get_ref();
            let message = if Some(name) == own {
                "a participant cannot wait for itself: leave it out".to_owned()
            } else if !names.contains(&name.as_str()) {
                match closest(name, &names) {
                    Some(meant) => format!("there is no participant {name:?}: did you mean {meant:?}?"),
                    None => format!("there is no participant {name:?}; there are {}", names.join(", ")),
                }
            } else if one.depends_on.iter().take(place).any(|earlier| earlier.get_ref() == name) {
                format!("{name:?} is named twice: leave one out")
            } else {
                continue;
            };
            problems.add(needed.span(), format!("`depends_on`: {message}"));
        }
    }
}

/// Tells one ring of participants that wait for each other, if there is one: who is left when those that wait for
/// nobody left are taken away again and again.
fn cycle(drafted: &[Drafted], problems: &mut Problems) {
    let mut left: BTreeMap<&str, Vec<&Spanned<String>>> = BTreeMap::new();
    for one in drafted {
        if let Some(name) = &one.name {
            let others = one.depends_on.iter().filter(|needed| needed.get_ref() != name.get_ref());
            left.entry(name.get_ref().as_str()).or_default().extend(others);
        }
    }
    loop {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, needs)| needs.iter().all(|needed| !left.contains_key(needed.get_ref().as_str())))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|name| drop(left.remove(name)));
    }
    // Each one left waits for another one left: following them comes back to one that was there before.
    let Some((first, _)) = left.first_key_value() else { return };
    let (mut way, mut at) = (vec![*first], *first);
    while let Some(next) =
        left.get(at).and_then(|needs| needs.iter().find(|needed| left.contains_key(needed.get_ref().as_str())))
    {
        at = next.get_ref();
        if let Some(start) = way.iter().position(|name| *name == at) {
            let ring: Vec<&str> = way.iter().skip(start).copied().chain([at]).collect();
            let message = format!("`depends_on`: none of these can begin: {}; leave one out", ring.join(" waits for "));
            return problems.add(next.span(), message);
        }
        way.push(at);
    }
}

/// The files of a run lie in one folder.
fn artifacts(drafted: &[Drafted], compression: Compression, problems: &mut Problems) {
    let mut taken: BTreeMap<String, &ArtifactName> = BTreeMap::new();
    for artifact in drafted.iter().filter_map(|one| one.artifact.as_ref()) {
        let name = artifact.get_ref();
        let mut refuse = |message: String| problems.add(artifact.span(), format!("`artifact`: {message}"));
        let reserved = RESERVED_FILES.iter().any(|reserved| reserved.eq_ignore_ascii_case(name.as_str()));
        if reserved || own_state::is_own_artifact(name.as_str()) {
            refuse(format!("{name} is the name of a file of Holdfast's own: choose another"));
            continue;
        }
        // No extension is longer than this one, so that the compression of a single run may be another.
        let (Ok(_), Ok(files)) = (files(name, Compression::Lz4), files(name, compression)) else {
            refuse(format!("{name} is too long for the extensions its files get: shorten it by 10 characters"));
            continue;
        };
        let clash = files.iter().find_map(|file| taken.get(&file.as_str().to_ascii_lowercase()).copied());
        if let Some(other) = clash {
            refuse(format!("its files would have the names of those of {other}: choose another name"));
        }
        taken.extend(files.iter().map(|file| (file.as_str().to_ascii_lowercase(), name)));
    }
}

fn files(name: &ArtifactName, compression: Compression) -> Result<[ArtifactName; 2], InvalidName> {
    let file = compression.file_name(name)?;
    let index = index::file_name(&file)?;
    Ok([file, index])
}
