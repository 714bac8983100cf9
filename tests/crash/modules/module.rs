//! A module that stands still, and takes back what it gave.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use holdfast::participant::{
    Artifacts, Capture, Frozen, ParticipantError, Phase, Phased, Quiesced, Restore, RestorePhase, Staging, Thaw,
};

use super::{DIES, HANGS};
use crate::support::DEADLINE;

/// A module whose data is one file, replaced as a whole.
#[derive(Clone)]
pub(super) struct Module {
    pub(super) name: &'static str,
    folder: PathBuf,
    still: Arc<(Mutex<bool>, Condvar)>,
    pub(super) fails: Option<&'static str>,
}

impl Module {
    pub(super) fn new(name: &'static str, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        Self { name, folder: folder.to_owned(), still: Arc::default(), fails: None }
    }

    pub(super) fn live(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    fn staged(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{}.staged-{key}", self.name))
    }

    pub(super) fn put(&self, content: &str) {
        let still = self.still.0.lock().unwrap();
        let thawed = self.still.1.wait_timeout_while(still, Duration::from_secs(30), |still| *still).unwrap();
        assert!(!*thawed.0, "it goes on");
        fs::write(self.live(), self.content(content)).unwrap();
    }

    pub(super) fn content(&self, content: &str) -> String {
        format!("{} {content}\n", self.name).repeat(1000)
    }

    fn hold(&self) {
        let mut still = self.still.0.lock().unwrap();
        assert!(!*still, "it is held once");
        *still = true;
    }

    fn go_on(&self) {
        *self.still.0.lock().unwrap() = false;
        self.still.1.notify_all();
    }

    fn failing(&self, at: &str) -> Result<(), ParticipantError> {
        if self.fails == Some(DIES) && at == "verify" {
            std::process::exit(9);
        }
        if self.fails == Some(at) {
            return Err(ParticipantError::fatal("TEST_FAILS", format!("it fails at {at}")));
        }
        Ok(())
    }
}

struct Still(Module);

impl Frozen for Still {
    fn capture(&mut self, _phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError> {
        Ok(Box::new(Content(fs::read(self.0.live())?, self.0.name)))
    }

    fn thaw(self: Box<Self>, _how: Thaw) -> Result<(), ParticipantError> {
        self.0.go_on();
        Ok(())
    }
}

impl Quiesced for Still {
    fn capture(&mut self, _phase: &RestorePhase) -> Result<Box<dyn Capture>, ParticipantError> {
        self.0.failing("capture")?;
        Ok(Box::new(Content(fs::read(self.0.live())?, self.0.name)))
    }

    fn resume(self: Box<Self>) -> Result<(), ParticipantError> {
        self.0.go_on();
        Ok(())
    }
}

struct Content(Vec<u8>, &'static str);

impl Capture for Content {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let mut sink = artifacts.create(&format!("{}.snapshot", self.1))?;
        std::io::Write::write_all(&mut sink, &self.0)?;
        sink.finish()
    }
}

impl Phased for Module {
    fn freeze(&self, _phase: &Phase) -> Result<Box<dyn Frozen>, ParticipantError> {
        self.hold();
        Ok(Box::new(Still(self.clone())))
    }

    fn restore(&self) -> Option<&dyn Restore> {
        Some(self)
    }
}

impl Restore for Module {
    fn quiesce(&self, _phase: &RestorePhase) -> Result<Box<dyn Quiesced>, ParticipantError> {
        self.failing("quiesce")?;
        self.hold();
        Ok(Box::new(Still(self.clone())))
    }

    fn stage(&self, staging: &mut Staging) -> Result<(), ParticipantError> {
        self.failing("stage")?;
        let key = staging.phase().key();
        let mut content = Vec::new();
        while let Some(mut artifact) = staging.next_artifact() {
            artifact.read_to_end(&mut content)?;
        }
        fs::write(self.staged(&key), content)?;
        Ok(())
    }

    fn commit(&self, phase: &RestorePhase) -> Result<(), ParticipantError> {
        if !phase.key().ends_with("-back") {
            self.failing("commit")?;
            if self.fails == Some("panic") {
                panic!("it panics in the middle");
            }
        }
        assert!(*self.still.0.lock().unwrap(), "it stands still");
        fs::rename(self.staged(&phase.key()), self.live())?;
        Ok(())
    }

    fn verify(&self, phase: &RestorePhase) -> Result<(), ParticipantError> {
        let began = Instant::now();
        while self.fails == Some(HANGS) && !phase.stopped() {
            assert!(began.elapsed() < DEADLINE, "nobody tells it to stop");
            std::thread::yield_now();
        }
        self.failing("verify")
    }

    fn discard(&self, _phase: &RestorePhase) -> Result<(), ParticipantError> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(&format!("{}.staged-", self.name)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}
