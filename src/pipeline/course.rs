//! Where an artifact's bytes go: onto the disk, onto it with others reading them at once, or somewhere else altogether.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_log::durable;
use holdfast_model::ids::ArtifactName;

use super::control::ArtifactControl;
use super::error::PipelineError;
use super::growing::{Follower, Teller, Whole};
use super::staged::Staged;

/// Where artifacts' bytes go.
#[derive(Debug, Clone, Default)]
pub enum Course {
    /// Into a file in the run directory.
    #[default]
    Disk,
    /// The same, and somebody reads it while it is written.
    Followed(Arc<dyn Follower>),
    /// Not onto this disk. The index goes onto it all the same: it is small, and whoever makes it does not wait for a network.
    Away(Arc<dyn Depot>),
}

/// Somewhere else where artifacts are kept.
pub trait Depot: std::fmt::Debug + Send + Sync {
    /// Begins an artifact. What a try before left of it there is replaced. Blocks.
    ///
    /// # Errors
    /// [`PipelineError::Away`].
    fn begin(&self, file: &ArtifactName, control: &ArtifactControl) -> Result<Box<dyn DepotFile>, PipelineError>;
}

/// An artifact on its way there. Dropped before it is whole, it is nothing.
pub trait DepotFile: std::fmt::Debug + Send {
    /// Takes bytes. Blocks where the way is slower than whoever writes.
    ///
    /// # Errors
    /// [`PipelineError::Away`], and [`PipelineError::Revoked`] where nobody wants it any more.
    fn write(&mut self, bytes: &[u8]) -> Result<(), PipelineError>;

    /// When this returns, it is kept there whole. Blocks.
    ///
    /// # Errors
    /// As [`DepotFile::write`].
    fn finish(&mut self, whole: Whole) -> Result<(), PipelineError>;
}

/// Where one artifact's bytes go.
#[derive(Debug)]
pub(crate) enum Place {
    Disk(Staged, Option<Teller>),
    Away(Box<dyn DepotFile>, PathBuf),
}

impl Place {
    /// Begins the artifact's file.
    pub(super) fn create(
        course: &Course,
        dir: &Path,
        file: &ArtifactName,
        reserve: u64,
        control: &ArtifactControl,
    ) -> Result<Self, PipelineError> {
        match course {
            Course::Disk => Ok(Self::Disk(Staged::create(dir, file, reserve)?, None)),
            Course::Followed(follower) => {
                let staged = Staged::create(dir, file, reserve)?;
                let (teller, growing) = Teller::new(staged.reader()?);
                follower.begun(file, growing);
                Ok(Self::Disk(staged, Some(teller)))
            }
            Course::Away(depot) => Ok(Self::Away(depot.begin(file, control)?, control.path().to_owned())),
        }
    }

    pub(super) fn target(&self) -> &Path {
        match self {
            Self::Disk(staged, _) => staged.target(),
            Self::Away(_, path) => path,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), PipelineError> {
        match self {
            Self::Disk(staged, teller) => {
                staged.write(bytes)?;
                if let Some(teller) = teller {
                    teller.wrote(bytes.len());
                }
                Ok(())
            }
            Self::Away(file, _) => file.write(bytes),
        }
    }

    /// Brings its bytes to where they outlast this machine's end.
    pub(super) fn sync(&mut self, whole: Whole) -> Result<(), PipelineError> {
        match self {
            Self::Disk(staged, _) => staged.sync(),
            Self::Away(file, _) => file.finish(whole),
        }
    }

    pub(super) fn rename(&mut self) -> Result<(), PipelineError> {
        match self {
            Self::Disk(staged, _) => staged.rename(),
            Self::Away(..) => Ok(()),
        }
    }

    /// Makes the names in its folder durable.
    pub(super) fn sync_dir(&self) -> Result<(), PipelineError> {
        let dir = durable::parent(self.target());
        durable::sync_dir(dir).map_err(PipelineError::io("sync", dir))
    }

    /// From now on it stays.
    pub(super) fn keep(self, whole: Whole) {
        if let Self::Disk(staged, teller) = self {
            staged.keep();
            if let Some(teller) = teller {
                teller.whole(whole);
            }
        }
    }
}
