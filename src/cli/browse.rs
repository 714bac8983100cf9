//! `ls` and `dump`.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use holdfast_model::ids::ParticipantName;
use holdfast_model::run::ArtifactStoredV1;
use serde::Serialize;

use super::args::{DumpArgs, KeyArgs, LsArgs, RunArg};
use super::exit::{CliError, CliResult, Exit};
use super::output::{output_error, printable, size, time};
use super::{Context, errors, key, runs};
use crate::files::{self, Entry, FilesError, Kind, Observer, RawPath, Selection};
use crate::restore::{self, Form, RestoreError, RunSource};

/// An entry, and whose it is.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    participant: &'a ParticipantName,
}

pub(super) fn ls(context: &Context, args: &LsArgs) -> CliResult {
    let out = context.output;
    let source = open(context, args.run, args.participant.as_deref(), true, &args.key)?;
    let selection = match &args.path {
        Some(path) => Selection::of(&[RawPath::from(path.as_path())]).map_err(files_error)?,
        None => Selection::everything(),
    };
    let mut stdout = BufWriter::new(io::stdout().lock());
    let mut found = args.path.is_none();
    // Whose an entry is needs no telling where all are of the same one.
    let longest = source.artifacts().iter().map(|artifact| artifact.participant.as_str().len()).max().unwrap_or(0);
    let width = if source.has_several_participants() { longest + 2 } else { 0 };
    for artifact in source.artifacts() {
        let participant = &artifact.participant;
        let column = if width == 0 { "" } else { participant.as_str() };
        let form = source.form(artifact);
        for entry in source.entries(artifact).map_err(errors::restore)? {
            let entry = entry.map_err(|error| files_error(FilesError::Index(error)))?;
            if !selection.contains(&entry.path) {
                continue;
            }
            found = true;
            let written = if out.json {
                let row = Row { entry: &entry, participant };
                serde_json::to_writer(&mut stdout, &row).map_err(io::Error::from).and_then(|()| writeln!(stdout))
            } else {
                writeln!(stdout, "{column:<width$}{}", line(&entry, form))
            };
            written.map_err(|error| output_error(&error))?;
        }
    }
    stdout.flush().map_err(|error| output_error(&error))?;
    match &args.path {
        Some(path) if !found => Err(files_error(FilesError::NotFound { path: RawPath::from(path.as_path()) })),
        _ => Ok(Exit::Good),
    }
}

/// As `ls -l` would show it. A stream has no owner.
fn line(entry: &Entry, form: Form) -> String {
    let kind = match entry.kind {
        Kind::File | Kind::HardLink => '-',
        Kind::Folder => 'd',
        Kind::Symlink => 'l',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Fifo => 'p',
    };
    let owner = |name: &str, id: u32| match (form, name) {
        (Form::Stream, _) => "-".to_owned(),
        (Form::Tree, "") => id.to_string(),
        (Form::Tree, name) => printable(name.as_bytes()),
    };
    let link = match (&entry.link, entry.kind) {
        (Some(link), Kind::HardLink) => format!(" = {}", printable(link.as_bytes())),
        (Some(link), _) => format!(" -> {}", printable(link.as_bytes())),
        (None, _) => String::new(),
    };
    format!(
        "{kind}{} {:<8} {:<8} {:>9} {} {}{link}",
        permissions(entry.mode),
        owner(&entry.user, entry.uid),
        owner(&entry.group, entry.gid),
        size(entry.size),
        time(entry.mtime.seconds),
        printable(entry.path.as_bytes()),
    )
}

fn permissions(mode: u32) -> String {
    let triple = |shift: u32, special: u32, letter: char| {
        let bits = mode >> shift;
        let letter = match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        };
        [if bits & 4 != 0 { 'r' } else { '-' }, if bits & 2 != 0 { 'w' } else { '-' }, letter]
    };
    [triple(6, 0o4000, 's'), triple(3, 0o2000, 's'), triple(0, 0o1000, 't')].iter().flatten().collect()
}

pub(super) fn dump(context: &Context, args: &DumpArgs) -> CliResult {
    let source = open(context, args.run, args.participant.as_deref(), true, &args.key)?;
    let Some(path) = &args.path else {
        let participant = participant(args.participant.as_deref())?;
        let participant =
            participant.ok_or_else(|| CliError::new(Exit::Usage, "USAGE", "nothing to dump is named", ""))?;
        return dump_stream(&source, source.only_stream(&participant).map_err(errors::dump)?);
    };
    let path = RawPath::from(path.as_path());
    let mut missing = FilesError::NotFound { path: path.clone() };
    for artifact in source.artifacts() {
        let entry = match files::locate(source.entries(artifact).map_err(errors::restore)?, &path) {
            Ok(entry) => entry,
            Err(error @ FilesError::NotFound { .. }) => {
                missing = error;
                continue;
            }
            Err(error) => return Err(files_error(error)),
        };
        return match source.form(artifact) {
            Form::Stream => dump_stream(&source, artifact),
            Form::Tree => dump_file(&source, artifact, &entry),
        };
    }
    Err(files_error(missing))
}

fn dump_file(source: &RunSource, artifact: &ArtifactStoredV1, entry: &Entry) -> CliResult {
    let reader = source.reader(artifact).map_err(errors::restore)?;
    let frames = source.frames(artifact).map_err(errors::restore)?;
    let data = entry.data();
    let range = reader.read_range(&frames, data.offset, data.length);
    let mut range = range.map_err(|error| errors::dump(error.into()))?;
    let mut stdout = BufWriter::new(io::stdout().lock());
    let written = files::dump(entry, &mut range, &mut stdout, &Unheard).map_err(|error| written(error.into()))?;
    stdout.flush().map_err(|error| output_error(&error))?;
    tracing::info!(written, stored_bytes_read = reader.stored_bytes_read(), "dumped");
    Ok(Exit::Good)
}

fn dump_stream(source: &RunSource, artifact: &ArtifactStoredV1) -> CliResult {
    let reader = source.reader(artifact).map_err(errors::restore)?;
    let mut bytes = 0;
    restore::copy(&reader, &mut io::stdout().lock(), &Unheard, &mut bytes).map_err(written)?;
    tracing::info!(written = bytes, stored_bytes_read = reader.stored_bytes_read(), "dumped");
    Ok(Exit::Good)
}

/// Why not all was written.
fn written(error: RestoreError) -> CliError {
    match error {
        RestoreError::Files(FilesError::Output(error)) => output_error(&error),
        error => errors::dump(error),
    }
}

/// Opens a run for reading, as the arguments name it.
pub(super) fn open(
    context: &Context,
    run: RunArg,
    participant: Option<&str>,
    accept_incomplete: bool,
    key: &KeyArgs,
) -> Result<RunSource, CliError> {
    let view = context.view()?;
    let participant = self::participant(participant)?;
    let run = runs::find_with(&view, run, participant.as_ref(), context.output)?;
    let key = key::of(context, key, &run)?;
    RunSource::open(view.home(), &run, participant.as_ref(), accept_incomplete, &key).map_err(errors::restore)
}

/// A participant as an argument names it.
pub(super) fn participant(name: Option<&str>) -> Result<Option<ParticipantName>, CliError> {
    name.map(self::name).transpose()
}

/// The same.
pub(super) fn name(name: &str) -> Result<ParticipantName, CliError> {
    name.parse().map_err(|error| CliError::new(Exit::Usage, "INVALID_DATA", error, ""))
}

fn files_error(error: FilesError) -> CliError {
    errors::restore(RestoreError::Files(error))
}

/// Nobody looks.
pub(super) struct Unheard;

impl Observer for Unheard {
    fn advance(&self, _files: u64, _bytes: u64) {}
    fn warn(&self, _path: &Path, _reason: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}
