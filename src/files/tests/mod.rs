//! Stories over the public interface, on trees as awkward as file systems allow.

mod hostile;
mod parts;
mod replace;
mod round_trip;
mod source;
mod tree;

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

/// Keeps a stream and its index.
#[derive(Default)]
struct Artifact {
    stream: Vec<u8>,
    entries: Vec<Entry>,
}

impl Write for Artifact {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Artifact {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        // Through its stored form, as the index has it.
        let line = serde_json::to_string(entry).unwrap();
        self.entries.push(serde_json::from_str(&line).unwrap());
        Ok(())
    }
}

impl Artifact {
    fn of(paths: &[&Path]) -> (Self, Summary) {
        Self::write(&spec(paths), &Env::default(), &Watch::default())
    }

    fn write(spec: &FilesSpec, env: &Env, watch: &Watch<'_>) -> (Self, Summary) {
        let mut artifact = Self::default();
        let summary = write(spec, env, &mut artifact, watch).unwrap();
        assert_eq!(summary.length, artifact.stream.len() as u64);
        assert_eq!(summary.bytes, watch.bytes.load(Ordering::Relaxed) + watch.missing.load(Ordering::Relaxed));
        assert_eq!(summary.files, watch.files.load(Ordering::Relaxed));
        (artifact, summary)
    }

    fn index(&self) -> impl Iterator<Item = io::Result<Entry>> + '_ {
        self.entries.iter().cloned().map(Ok)
    }

    fn paths(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.path.to_string()).collect()
    }

    fn entry(&self, path: &str) -> &Entry {
        self.entries.iter().find(|entry| entry.path.to_string() == path).unwrap()
    }

    fn extract(&self, target: &Path) -> Summary {
        self.extract_with(target, &ExtractOptions::default()).unwrap()
    }

    fn extract_with(&self, target: &Path, options: &ExtractOptions) -> Result<Summary, FilesError> {
        let watch = Watch::default();
        let summary = extract(&mut Cursor::new(&self.stream), target, options, &watch)?;
        assert_eq!(summary.files, watch.files.load(Ordering::Relaxed));
        Ok(summary)
    }

    /// What a span of the stream has.
    fn open(&self, span: Span) -> io::Result<Box<dyn io::Read + '_>> {
        // More than asked for, as a reader of whole frames would give.
        Ok(Box::new(Cursor::new(&self.stream[usize::try_from(span.offset).unwrap()..])))
    }
}

fn spec(paths: &[&Path]) -> FilesSpec {
    let paths = paths.iter().map(|path| path.to_path_buf()).collect();
    FilesSpec { paths, exclude: Vec::new(), one_file_system: false }
}

type Hook<'a> = Box<dyn Fn(&Watch<'a>) + Sync + 'a>;

/// Hears everything; a hook may act whenever the operation asks whether to stop.
#[derive(Default)]
struct Watch<'a> {
    files: AtomicU64,
    bytes: AtomicU64,
    /// Bytes of content that the test knows never to be read.
    missing: AtomicU64,
    cancelled: AtomicBool,
    warnings: Mutex<Vec<(PathBuf, String)>>,
    notes: Mutex<Vec<(PathBuf, String)>>,
    hook: Option<Hook<'a>>,
}

impl<'a> Watch<'a> {
    fn with(hook: impl Fn(&Watch<'a>) + Sync + 'a) -> Self {
        Self { hook: Some(Box::new(hook)), ..Self::default() }
    }
}

impl Observer for Watch<'_> {
    fn advance(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn warn(&self, path: &Path, reason: &str) {
        self.warnings.lock().unwrap().push((path.to_path_buf(), reason.to_owned()));
    }

    fn note(&self, path: &Path, reason: &str) {
        self.notes.lock().unwrap().push((path.to_path_buf(), reason.to_owned()));
    }

    fn cancelled(&self) -> bool {
        if let Some(hook) = &self.hook {
            hook(self);
        }
        self.cancelled.load(Ordering::Relaxed)
    }
}
