//! The content of one file out of the stream.

use std::io::{self, Read, Write};

use super::entry::{Entry, Kind, Span};
use super::error::FilesError;
use super::raw_path::RawPath;
use super::report::Observer;
use super::select::Selection;
use super::sparse;

/// Bytes that are copied at once.
const CHUNK: usize = 256 * 1024;

/// Finds the file whose content is wanted. A hard link's entry says itself where the content lies.
///
/// # Errors
/// [`FilesError::Index`] with the iterator's first error, [`FilesError::NotFound`], [`FilesError::NotAFile`].
pub fn locate(entries: impl IntoIterator<Item = io::Result<Entry>>, path: &RawPath) -> Result<Entry, FilesError> {
    let wanted = Selection::of(std::slice::from_ref(path))?;
    for entry in entries {
        let entry = entry.map_err(FilesError::Index)?;
        // The first entry of a selection is the path itself: folders come before their contents.
        if wanted.contains(&entry.path) {
            return match entry.kind {
                Kind::File | Kind::HardLink => Ok(entry),
                _ => Err(FilesError::NotAFile { path: entry.path }),
            };
        }
    }
    Err(FilesError::NotFound { path: path.clone() })
}

/// Copies a file's content to `output`, holes as zeros. `reader` gives the stretch [`Entry::data`] of the plain stream.
/// Returns the number of bytes, which is [`Entry::size`].
///
/// # Errors
/// [`FilesError::Damaged`] where the stretch ends early or is not what the entry says, [`FilesError::Input`],
/// [`FilesError::Output`], [`FilesError::Cancelled`].
pub fn dump(
    entry: &Entry,
    reader: &mut dyn Read,
    output: &mut dyn Write,
    observer: &dyn Observer,
) -> Result<u64, FilesError> {
    let damaged = |reason: &str| FilesError::Damaged { at: entry.data_offset, reason: reason.to_owned() };
    let stretches = if entry.sparse {
        sparse::decode(entry.data_length, entry.size, |block| fill(reader, block, entry))?.map_err(damaged)?
    } else if entry.size == entry.data_length {
        vec![Span { offset: 0, length: entry.size }]
    } else {
        return Err(damaged("the index says two sizes of one file"));
    };
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    for stretch in stretches {
        copy(stretch.offset - at, &mut buffer, output, observer, None)?;
        copy(stretch.length, &mut buffer, output, observer, Some((&mut *reader, entry)))?;
        at = stretch.offset + stretch.length;
    }
    copy(entry.size - at, &mut buffer, output, observer, None)?;
    output.flush().map_err(FilesError::Output)?;
    observer.advance(1, 0);
    Ok(entry.size)
}

/// Copies `count` bytes of the source, or zeros without one.
fn copy(
    count: u64,
    buffer: &mut [u8],
    output: &mut dyn Write,
    observer: &dyn Observer,
    mut source: Option<(&mut dyn Read, &Entry)>,
) -> Result<(), FilesError> {
    let mut left = count;
    if source.is_none() {
        buffer.fill(0);
    }
    while left > 0 {
        if observer.cancelled() {
            return Err(FilesError::Cancelled);
        }
        let now = usize::try_from(left).unwrap_or(buffer.len()).min(buffer.len());
        let chunk = buffer.get_mut(..now).unwrap_or_default();
        if let Some((reader, entry)) = &mut source {
            fill(*reader, chunk, entry)?;
        }
        output.write_all(chunk).map_err(FilesError::Output)?;
        observer.advance(0, now as u64);
        left -= now as u64;
    }
    Ok(())
}

fn fill(reader: &mut dyn Read, chunk: &mut [u8], entry: &Entry) -> Result<(), FilesError> {
    reader.read_exact(chunk).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            let reason = format!("the content of `{}` ends early", entry.path);
            FilesError::Damaged { at: entry.data_offset, reason }
        }
        _ => FilesError::Input(error),
    })
}
