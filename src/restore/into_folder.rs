//! A restore into a folder.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_log::durable;
use holdfast_model::ids::RestoreId;
use holdfast_model::run::ArtifactStoredV1;

use super::apart::{self, Tops};
use super::error::RestoreError;
use super::source::{Form, RunSource};
use super::streams;
use super::write_behind::WriteBehind;
use crate::files::{self, ExtractOptions, FilesError, Observer, Plan, RawPath, Selection, Step, Summary};

/// Conflicts looked for before a restore is refused.
const CONFLICTS: usize = 100;

/// What to restore.
#[derive(Debug, Clone)]
pub struct Request {
    /// The restore.
    pub restore_id: RestoreId,
    /// Where to, absolute.
    pub target: PathBuf,
    /// Only these paths and what is below them; all where empty.
    pub paths: Vec<RawPath>,
    /// Whether files in the way are replaced.
    pub overwrite: bool,
}

/// A restore whose source was checked; nothing is written yet.
pub struct Prepared<'a> {
    source: &'a RunSource,
    request: Request,
    staging: Option<PathBuf>,
    parts: Vec<Part>,
}

/// What is restored of one artifact.
struct Part {
    artifact: ArtifactStoredV1,
    plan: Plan,
}

/// What a restore did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Content bytes.
    pub bytes: u64,
    /// Metadata that the target could not hold, the first by name.
    pub warnings: u64,
    /// The first of them.
    pub first_warnings: Vec<String>,
    /// Bytes read of stored artifacts while restoring.
    pub stored_bytes_read: u64,
}

/// A restore into a folder, step by step.
pub struct IntoFolder;

impl IntoFolder {
    /// Plans a restore and reads its source again. Writes nothing.
    ///
    /// # Errors
    /// [`RestoreError`] where the source is not as recorded, a path is not in it, or something is in the way.
    pub fn prepare<'a>(
        source: &'a RunSource,
        request: Request,
        observer: &dyn Observer,
    ) -> Result<Prepared<'a>, RestoreError> {
        refuse_home(source, &request)?;
        let fresh = is_fresh(&request.target)?;
        let selection = if request.paths.is_empty() { Selection::everything() } else { Selection::of(&request.paths)? };
        let mut parts = Vec::new();
        let mut nowhere: Option<BTreeSet<RawPath>> = None;
        let mut tops = Tops::default();
        for artifact in source.artifacts() {
            let mut own = BTreeSet::new();
            let entries = source.entries(artifact)?.inspect(|entry| apart::note(entry, &mut own));
            let (plan, missing) = Plan::of_some(entries, &selection)?;
            let found = request.paths.is_empty() || plan.steps.iter().any(|step| !matches!(step, Step::Folder(_)));
            // With several participants a path is in one of them.
            nowhere = Some(match nowhere {
                Some(nowhere) => nowhere.intersection(&missing).cloned().collect(),
                None => missing,
            });
            if !found {
                continue;
            }
            tops.add(&artifact.participant, own)?;
            if !fresh {
                refuse_conflicts(source, artifact, &selection, &request)?;
            }
            let part = Part { artifact: artifact.clone(), plan };
            // Into a folder that holds something nothing may be written that is then found damaged.
            if !fresh && !request.paths.is_empty() {
                read_again(source, &part, observer)?;
            }
            parts.push(part);
        }
        if let Some(path) = nowhere.and_then(|nowhere| nowhere.into_iter().next()) {
            return Err(FilesError::NotFound { path }.into());
        }
        if request.paths.is_empty() {
            for part in &parts {
                // Into a new folder all of it is checked while it is made ready, before anything is put in place.
                let reader = source.reader(&part.artifact)?;
                if !fresh {
                    reader.check_stored(&mut |_| {})?;
                }
                if observer.cancelled() {
                    return Err(FilesError::Cancelled.into());
                }
            }
        }
        let staging = fresh.then(|| staging(&request));
        Ok(Prepared { source, request, staging, parts })
    }
}

impl Prepared<'_> {
    /// Files that will be restored.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.parts.iter().map(|part| part.plan.files).sum()
    }

    /// Content bytes that will be restored.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.plan.bytes).sum()
    }

    /// Where it is made ready; `None` where it goes straight into a target that holds something.
    #[must_use]
    pub fn staging(&self) -> Option<&Path> {
        self.staging.as_deref()
    }

    /// Restores. `ready` is called when all is made ready, verified and on stable storage, before it is put in place: from then
    /// on [`put_in_place`] may be repeated. Where it fails before, what was made ready is taken away again.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn run(self, observer: &dyn Observer, ready: &mut dyn FnMut(&Restored)) -> Result<Restored, RestoreError> {
        let Some(staging) = &self.staging else {
            return self.extract_durably(&self.request.target, observer);
        };
        let target = &self.request.target;
        let parent = durable::parent(target);
        let made = missing(parent);
        std::fs::create_dir_all(parent).map_err(failed("make", parent))?;
        std::fs::create_dir(staging).map_err(failed("make", staging))?;
        let restored = self
            .extract_durably(staging, observer)
            .map_err(|error| self.cause(error))
            .inspect(|restored| ready(restored))
            .and_then(|restored| put_in_place(staging, target).map(|()| restored));
        if restored.is_err() {
            let _ = std::fs::remove_dir_all(staging);
            // Those that somebody else uses meanwhile stay.
            made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
        }
        restored
    }

    /// Why making ready failed. Damage shows in many ways, as a second file of a name or a folder that cannot be made: where
    /// the artifact is not as recorded, that is the reason.
    fn cause(&self, error: RestoreError) -> RestoreError {
        if error.is_damage() || error.is_cancelled() || !self.request.paths.is_empty() {
            return error;
        }
        let check =
            |part: &Part| self.source.reader(&part.artifact)?.check_stored(&mut |_| {}).map_err(RestoreError::from);
        self.parts.iter().find_map(|part| check(part).err().filter(RestoreError::is_damage)).unwrap_or(error)
    }

    fn extract_durably(&self, folder: &Path, observer: &dyn Observer) -> Result<Restored, RestoreError> {
        WriteBehind::run(folder, observer, failed("sync", folder), |observer| self.extract(folder, observer))
    }

    fn extract(&self, folder: &Path, observer: &dyn Observer) -> Result<Restored, RestoreError> {
        let options = ExtractOptions { overwrite: self.request.overwrite, ..ExtractOptions::default() };
        let mut restored = Restored::default();
        for part in &self.parts {
            if self.source.form(&part.artifact) == Form::Stream {
                let how = (self.request.restore_id, self.request.overwrite);
                let (summary, read) = streams::place(self.source, &part.artifact, folder, how, observer)?;
                restored.add(&summary, read);
                continue;
            }
            let reader = self.source.reader(&part.artifact)?;
            let summary = if self.request.paths.is_empty() {
                files::extract(&mut reader.stream(), folder, &options, observer)?
            } else {
                let frames = self.source.frames(&part.artifact)?;
                let open = |span: files::Span| -> io::Result<Box<dyn io::Read>> {
                    Ok(Box::new(reader.read_range(&frames, span.offset, span.length)?))
                };
                files::extract_selected(&part.plan, open, folder, &options, observer)?
            };
            restored.add(&summary, reader.stored_bytes_read());
        }
        Ok(restored)
    }
}

impl Restored {
    fn add(&mut self, summary: &Summary, stored_bytes_read: u64) {
        self.files += summary.files;
        self.folders += summary.folders;
        self.bytes += summary.bytes;
        self.warnings += summary.warnings.count;
        let found = summary.warnings.first.iter().chain(&summary.notes.first);
        self.first_warnings.extend(found.map(|finding| format!("{}: {}", finding.path.display(), finding.reason)));
        self.stored_bytes_read += stored_bytes_read;
    }
}

/// Where it is made ready: beside a target that is not there, and inside one that is an empty folder, which may be a mount
/// point and has an owner and a mode of its own.
fn staging(request: &Request) -> PathBuf {
    let id = request.restore_id;
    if request.target.exists() {
        return request.target.join(format!(".holdfast-{id}"));
    }
    let name = request.target.file_name().unwrap_or_default().as_bytes();
    // A name has at most 255 bytes.
    let kept = String::from_utf8_lossy(name.get(..180).unwrap_or(name)).into_owned();
    durable::parent(&request.target).join(format!(".{kept}.holdfast-{id}"))
}

/// Refuses a target that is the home or lies in it, and one around it where what is restored would lead into it: the log
/// and the runs are there.
fn refuse_home(source: &RunSource, request: &Request) -> Result<(), RestoreError> {
    let identity = |path: &Path| path.metadata().ok().map(|facts| (facts.dev(), facts.ino()));
    let refuse = || Err(RestoreError::IntoHome { target: request.target.clone(), home: source.home().to_owned() });
    let home = std::fs::canonicalize(source.home()).map_err(failed("find", source.home()))?;
    let there = request.target.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let there = std::fs::canonicalize(there).map_err(failed("find", there))?;
    if there.ancestors().any(|path| identity(path) == identity(&home)) {
        return refuse();
    }
    let Some(around) = home.ancestors().find(|path| request.target.exists() && identity(path) == identity(&there))
    else {
        return Ok(());
    };
    let below = home.strip_prefix(around).unwrap_or(&home);
    for artifact in source.artifacts() {
        for entry in source.entries(artifact)? {
            if entry.map_err(FilesError::Index)?.path.as_path().starts_with(below) {
                return refuse();
            }
        }
    }
    Ok(())
}

/// Reads what a part is made of, and throws it away: each frame is checked on the way.
fn read_again(source: &RunSource, part: &Part, observer: &dyn Observer) -> Result<(), RestoreError> {
    let reader = source.reader(&part.artifact)?;
    let frames = source.frames(&part.artifact)?;
    for span in part.plan.spans() {
        if observer.cancelled() {
            return Err(FilesError::Cancelled.into());
        }
        let mut stretch = reader.read_range(&frames, span.offset, span.length)?;
        io::copy(&mut stretch, &mut io::sink()).map_err(FilesError::Input)?;
    }
    Ok(())
}

/// Whether the target is not there or an empty folder.
fn is_fresh(target: &Path) -> Result<bool, RestoreError> {
    match std::fs::read_dir(target) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed("open", target)(error)),
    }
}

fn refuse_conflicts(
    source: &RunSource,
    artifact: &ArtifactStoredV1,
    selection: &Selection,
    request: &Request,
) -> Result<(), RestoreError> {
    let target = &request.target;
    let conflicts = files::conflicts(source.entries(artifact)?, selection, target, request.overwrite, CONFLICTS)?;
    let Some(first) = conflicts.first() else { return Ok(()) };
    let count = match conflicts.len() {
        CONFLICTS => format!("{CONFLICTS} files or more"),
        1 => "1 file".to_owned(),
        some => format!("{some} files"),
    };
    Err(RestoreError::Conflicts { target: target.clone(), count, first: first.clone() })
}

/// The folders down to `folder` that are not there, the lowest first.
fn missing(folder: &Path) -> Vec<PathBuf> {
    folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_owned)
        .collect()
}

/// Renames what was made ready to the target. Into a folder that was there each of its top names is a step of its own. Repeated
/// after a crash at any step it goes on to the same end.
///
/// # Errors
/// [`RestoreError::Target`] where something has come in the way, or as the system says.
pub fn put_in_place(staging: &Path, target: &Path) -> Result<(), RestoreError> {
    if !staging.exists() && target.exists() {
        return Ok(());
    }
    if staging.parent() != Some(target) {
        rename(staging, target)?;
        let parent = durable::parent(target);
        return durable::sync_dir(parent).map_err(failed("sync", parent));
    }
    for entry in std::fs::read_dir(staging).map_err(failed("list", staging))? {
        let entry = entry.map_err(failed("list", staging))?;
        rename(&entry.path(), &target.join(entry.file_name()))?;
    }
    std::fs::remove_dir(staging).map_err(failed("remove", staging))?;
    durable::sync_dir(target).map_err(failed("sync", target))
}

fn rename(from: &Path, to: &Path) -> Result<(), RestoreError> {
    holdfast_log::fault::point("restore-rename.before");
    durable::rename_no_replace(from, to).map_err(failed("put in place", to))?;
    holdfast_log::fault::point("restore-rename.after");
    Ok(())
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> RestoreError + use<'a> {
    move |source| RestoreError::Target { doing, path: path.to_owned(), source }
}
