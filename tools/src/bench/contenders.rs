//! Who is compared, and the commands each is called with, as a user would call it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::measure::Step;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Task {
    /// The first backup of the data.
    First,
    /// Another one, nothing changed.
    Again,
    /// All of it into a new folder.
    Restore,
    /// Every stored byte read and checked.
    Check,
}

impl Task {
    pub(super) const ALL: [Self; 4] = [Self::First, Self::Again, Self::Restore, Self::Check];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::First => "first backup",
            Self::Again => "second backup, nothing changed",
            Self::Restore => "restore into a new folder",
            Self::Check => "verify: every stored byte read and checked",
        }
    }
}

/// A way to back up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Contender {
    Holdfast,
    HoldfastZstd,
    TarZstd,
    TarLz4,
    Restic,
    Borg,
    Copy,
}

impl Contender {
    pub(super) const ALL: [Self; 7] =
        [Self::Holdfast, Self::HoldfastZstd, Self::TarZstd, Self::TarLz4, Self::Restic, Self::Borg, Self::Copy];

    /// Whether it is the program that is measured here.
    pub(super) fn is_holdfast(self) -> bool {
        matches!(self, Self::Holdfast | Self::HoldfastZstd)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Holdfast => "holdfast (lz4)",
            Self::HoldfastZstd => "holdfast (zstd:1)",
            Self::TarZstd => "tar | zstd -1 -T2",
            Self::TarLz4 => "tar | lz4",
            Self::Restic => "restic",
            Self::Borg => "borg (lz4)",
            Self::Copy => "plain copy, 2 threads",
        }
    }
}

/// Where things lie and which programs are called.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The data set.
    pub(super) data: PathBuf,
    /// What contenders write, each in a folder of its own.
    pub(super) work: PathBuf,
    /// The release program.
    pub(super) holdfast: PathBuf,
}

impl Contender {
    /// Where it keeps backups.
    pub(super) fn store(self, places: &Places) -> PathBuf {
        places.work.join(format!("store-{self:?}"))
    }

    /// What of that is backups.
    pub(super) fn stored(self, places: &Places) -> PathBuf {
        let store = self.store(places);
        if self.is_holdfast() { store.join("backups") } else { store }
    }

    /// Where it restores to.
    pub(super) fn target(self, places: &Places) -> PathBuf {
        places.work.join(format!("restored-{self:?}"))
    }

    /// Makes ready what is not measured: a folder or a new repository.
    pub(super) fn prepare(self, places: &Places) -> Vec<Step> {
        let store = self.store(places);
        match self {
            Self::Restic => vec![self.restic(places).arg("init")],
            Self::Borg => vec![self.borg(places).args(["init", "--encryption=repokey"]).arg(store)],
            Self::TarZstd | Self::TarLz4 => vec![Step::new("mkdir", &places.work).arg(store)],
            Self::Holdfast | Self::HoldfastZstd | Self::Copy => Vec::new(),
        }
    }

    /// The command for a task; `None` where it has none.
    pub(super) fn step(self, task: Task, places: &Places) -> anyhow::Result<Option<Step>> {
        let target = self.target(places);
        Ok(match self {
            Self::Holdfast => Some(self.holdfast(task, places, "lz4")),
            Self::HoldfastZstd => Some(self.holdfast(task, places, "zstd:1")),
            Self::TarZstd => Some(self.tar(task, places, "zstd -q -1 -T2", "zstd -dc")),
            Self::TarLz4 => Some(self.tar(task, places, "lz4 -q -1", "lz4 -dc")),
            Self::Restic => Some(match task {
                Task::First | Task::Again => self.restic(places).arg("backup").arg(&places.data),
                Task::Restore => self.restic(places).args(["restore", "latest", "--target"]).arg(target),
                Task::Check => self.restic(places).args(["check", "--read-data"]),
            }),
            Self::Borg => {
                let archive = |name: &str| {
                    let mut text = self.store(places).into_os_string();
                    text.push(format!("::{name}"));
                    text
                };
                Some(match task {
                    Task::First => {
                        self.borg(places).args(["create", "-C", "lz4"]).arg(archive("first")).arg(&places.data)
                    }
                    Task::Again => {
                        self.borg(places).args(["create", "-C", "lz4"]).arg(archive("again")).arg(&places.data)
                    }
                    Task::Restore => {
                        std::fs::create_dir(&target).context("cannot make a folder for borg")?;
                        Step { folder: target, ..self.borg(places).arg("extract").arg(archive("first")) }
                    }
                    Task::Check => self.borg(places).args(["check", "--verify-data"]).arg(self.store(places)),
                })
            }
            Self::Copy => match task {
                Task::Restore => {
                    let own = std::env::current_exe().context("cannot find this program")?;
                    Some(Step::new(own, &places.work).arg("bench-copy").arg(&places.data).arg(target))
                }
                Task::First | Task::Again | Task::Check => None,
            },
        })
    }

    fn holdfast(self, task: Task, places: &Places, compression: &str) -> Step {
        let step = holdfast(places, &self.store(places));
        match task {
            Task::First | Task::Again => step.arg("backup").arg(&places.data).args(["--compression", compression]),
            Task::Restore => step.args(["restore", "latest", "--target"]).arg(self.target(places)),
            Task::Check => step.args(["verify", "latest"]),
        }
    }

    fn tar(self, task: Task, places: &Places, pack: &str, unpack: &str) -> Step {
        let script = match task {
            Task::First | Task::Again => {
                format!(
                    "tar c -C \"$DATA\" . | {pack} | tee \"$STORE/data\" | sha256sum | sed s/-/data/ > \"$STORE/SUMS\""
                )
            }
            Task::Restore => format!("mkdir \"$TARGET\" && {unpack} \"$STORE/data\" | tar x -C \"$TARGET\""),
            Task::Check => "cd \"$STORE\" && sha256sum -c SUMS".to_owned(),
        };
        Step::shell(&script, &places.work)
            .env("DATA", &places.data)
            .env("STORE", self.store(places))
            .env("TARGET", self.target(places))
    }

    fn restic(self, places: &Places) -> Step {
        Step::new("restic", &places.work)
            .arg("-q")
            .env("RESTIC_REPOSITORY", self.store(places))
            .env("RESTIC_PASSWORD", "for this comparison only")
            .env("RESTIC_CACHE_DIR", places.work.join("cache-restic"))
    }

    fn borg(self, places: &Places) -> Step {
        Step::new("borg", &places.work)
            .env("BORG_PASSPHRASE", "for this comparison only")
            .env("BORG_BASE_DIR", places.work.join("cache-borg"))
    }
}

/// The program, with a home of its own and no settings of the user's.
pub(super) fn holdfast(places: &Places, home: &Path) -> Step {
    Step::new(OsString::from(&places.holdfast), &places.work).arg("--quiet").arg("--home").arg(home)
}
