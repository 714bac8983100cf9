//! Parts of a backup: which members of the stream are needed for some paths.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use super::entry::{Entry, Kind, Span};
use super::error::FilesError;
use super::raw_path::RawPath;
use super::target::Inside;

/// Some paths of the stream with all that is below them.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `None` for everything.
    chosen: Option<HashSet<Vec<u8>>>,
    /// All folders around the chosen paths.
    around: HashSet<Vec<u8>>,
}

impl Selection {
    /// Everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// These paths, as [`Entry::path`] has them; a `/` or `./` in front and a `/` at the end do not matter. None means
    /// nothing.
    ///
    /// # Errors
    /// [`FilesError::NotFound`] for a path that no entry can have.
    pub fn of(paths: &[RawPath]) -> Result<Self, FilesError> {
        let (mut chosen, mut around) = (HashSet::new(), HashSet::new());
        for path in paths {
            let bytes = path.as_bytes();
            let start = bytes.iter().position(|byte| *byte != b'/').unwrap_or(bytes.len());
            let relative = RawPath::new(bytes.get(start..).unwrap_or_default());
            if relative.as_bytes().is_empty() && !bytes.is_empty() {
                return Ok(Self::everything());
            }
            let inside = Inside::check(&relative).map_err(|_| FilesError::NotFound { path: path.clone() })?;
            if inside.as_bytes().is_empty() {
                return Ok(Self::everything());
            }
            around.extend(ancestors(inside.as_bytes()).map(<[u8]>::to_vec));
            chosen.insert(inside.as_bytes().to_vec());
        }
        Ok(Self { chosen: Some(chosen), around })
    }

    /// Whether this path is selected.
    #[must_use]
    pub fn contains(&self, path: &RawPath) -> bool {
        self.chosen_above(path.as_bytes()).is_some()
    }

    /// The chosen path that selects this one. Empty where everything is selected.
    fn chosen_above<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let Some(chosen) = &self.chosen else { return Some(&[]) };
        std::iter::once(path).chain(ancestors(path)).find(|prefix| chosen.contains(*prefix))
    }
}

/// All folders around a path, the innermost first.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(slash, _)| path.get(..slash))
}

/// One step of a restore of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A folder around something selected, made from what its entry says, without reading the stream: without extended
    /// attributes. One that is there already stays as it is.
    Folder(Entry),
    /// Restore all members in this stretch of the stream.
    Members(Span),
    /// Restore this one member, at this path: a selected hard link to something that is not selected.
    Copy {
        /// The member with the content.
        member: Span,
        /// Where it goes.
        path: RawPath,
    },
    /// Make another name of what an earlier [`Copy`](Self::Copy) restored.
    Link {
        /// The new name.
        path: RawPath,
        /// The name that is there.
        to: RawPath,
    },
}

/// What to read and do for a selection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// Regular files that will be restored.
    pub files: u64,
    /// Bytes of content that will be restored, holes not counted.
    pub bytes: u64,
    /// Bytes of the plain stream that will be read.
    pub read: u64,
}

impl Plan {
    /// Makes the plan for a selection from all entries of a stream in their order. Neighbours are read in one stretch,
    /// so that the plan is small for large parts.
    ///
    /// # Errors
    /// [`FilesError::Index`] with the iterator's first error, [`FilesError::NotFound`] for a selected path that has no
    /// entry.
    pub fn new(
        entries: impl IntoIterator<Item = io::Result<Entry>>,
        selection: &Selection,
    ) -> Result<Self, FilesError> {
        let (plan, missing) = Self::of_some(entries, selection)?;
        match missing.into_iter().next() {
            Some(path) => Err(FilesError::NotFound { path }),
            None => Ok(plan),
        }
    }

    /// The same for a stream that is one of several: the selected paths that have no entry in it come with the plan, in order.
    ///
    /// # Errors
    /// [`FilesError::Index`] with the iterator's first error.
    pub fn of_some(
        entries: impl IntoIterator<Item = io::Result<Entry>>,
        selection: &Selection,
    ) -> Result<(Self, BTreeSet<RawPath>), FilesError> {
        let mut plan = Self::default();
        let mut found = HashSet::new();
        // Members that are restored under another name, and that name.
        let mut copies: HashMap<u64, RawPath> = HashMap::new();
        for entry in entries {
            let entry = entry.map_err(FilesError::Index)?;
            let Some(chosen) = selection.chosen_above(entry.path.as_bytes()) else {
                if entry.kind == Kind::Folder && selection.around.contains(entry.path.as_bytes()) {
                    plan.steps.push(Step::Folder(entry));
                }
                continue;
            };
            if !found.contains(chosen) {
                found.insert(chosen.to_vec());
            }
            let is_file = matches!(entry.kind, Kind::File | Kind::HardLink);
            plan.files += u64::from(is_file);
            match (entry.target, &entry.link) {
                (Some(member), Some(to)) if entry.kind == Kind::HardLink && !selection.contains(to) => {
                    if let Some(to) = copies.get(&member.offset) {
                        plan.steps.push(Step::Link { path: entry.path, to: to.clone() });
                    } else {
                        plan.bytes += entry.data_length;
                        plan.read += member.length;
                        copies.insert(member.offset, entry.path.clone());
                        plan.steps.push(Step::Copy { member, path: entry.path });
                    }
                }
                _ => {
                    plan.bytes += if entry.kind == Kind::File { entry.data_length } else { 0 };
                    plan.read += entry.length;
                    plan.member(Span { offset: entry.offset, length: entry.length });
                }
            }
        }
        let missing = selection.chosen.iter().flatten().filter(|path| !found.contains(*path));
        Ok((plan, missing.map(|path| RawPath::new(path.clone())).collect()))
    }

    /// The stretches of the stream that are read, in the order of reading.
    pub fn spans(&self) -> impl Iterator<Item = Span> {
        self.steps.iter().filter_map(|step| match step {
            Step::Members(span) | Step::Copy { member: span, .. } => Some(*span),
            Step::Folder(_) | Step::Link { .. } => None,
        })
    }

    fn member(&mut self, span: Span) {
        match self.steps.last_mut() {
            Some(Step::Members(last)) if last.offset.checked_add(last.length) == Some(span.offset) => {
                last.length = last.length.saturating_add(span.length);
            }
            _ => self.steps.push(Step::Members(span)),
        }
    }
}
