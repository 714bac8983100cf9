//! The home: one folder that holds an installation's log and backups, and says which programs may use it.
//!
//! ```text
//! home.json     format, server id, least program versions         this module
//! lock          the one owner                                      [`crate::owner`]
//! log/          journal/, store/, ballast                          the event log
//! backups/      run directories                                    the storage of the program above
//! ```
//!
//! `home.json` is written first and as a whole, and is never changed by an older program: a home without it is empty or
//! was never one. Folders are 0700, files 0600.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use holdfast_model::ids::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{durable, owner};

/// The layout this program makes.
pub const FORMAT: u32 = 1;
/// The least program version that can read, and that can write, what this program writes.
const NEEDS: ProgramVersion = ProgramVersion(0, 1, 0);
/// The folder in which a home is made ready that is being recovered. Where it is and `home.json` is not, there is no home.
pub const RECOVERING: &str = ".recovering";
/// Longest `home.json` read, in bytes.
const MAX_IDENTITY: u64 = 64 << 10;
/// How long to wait for another process that is making the same home.
const CREATION: Duration = Duration::from_secs(10);
/// What may lie in a folder that is about to become a home: its configuration, and what a first start that was cut short
/// leaves.
const OWN_NAMES: [&str; 7] = ["home.json", "home.json.tmp", "config.toml", "config.toml.tmp", "lock", "log", "backups"];

/// A version of this program: `major.minor.patch`; what follows a `-` or `+` is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramVersion(pub u32, pub u32, pub u32);

impl FromStr for ProgramVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is not a version: it reads major.minor.patch, for example 0.1.0");
        let plain = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = plain.split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Self(major, minor, patch)),
            _ => Err(refuse()),
        }
    }
}

impl TryFrom<String> for ProgramVersion {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ProgramVersion> for String {
    fn from(version: ProgramVersion) -> String {
        version.to_string()
    }
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What `home.json` says. Fields that a newer program adds are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Layout of the home.
    pub format: u32,
    /// Who this installation is (UUIDv7): with a run's id it names a run across installations.
    pub server_id: Uuid,
    /// The least program version that may read the home.
    pub min_reader: ProgramVersion,
    /// The least program version that may write in it.
    pub min_writer: ProgramVersion,
    /// When it was made, in Unix seconds.
    pub created_at: i64,
    /// The program version that made it.
    pub created_by: ProgramVersion,
}

/// What a program is about to do in a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Append, back up, delete.
    Write,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is none.
    #[error("{} is not a home yet: the first backup makes it", .0.display())]
    Missing(PathBuf),
    /// The folder holds something else.
    #[error("{} is not empty and has no home.json: name an empty folder, or one that does not exist yet", .0.display())]
    NotAHome(PathBuf),
    /// What is to become of it was begun and has not come to its end.
    #[error("{} is half recovered: run the same `holdfast recover` again, which goes on, or name another home", .0.display())]
    HalfRecovered(PathBuf),
    /// A newer program made it or upgraded it.
    #[error(
        "{} needs holdfast {needed} or newer to be {}, and this is {program}: upgrade holdfast",
        path.display(),
        match access { Access::Read => "read", Access::Write => "written to" }
    )]
    TooNew {
        /// The home.
        path: PathBuf,
        /// What was wanted.
        access: Access,
        /// The least version that may.
        needed: ProgramVersion,
        /// The version of this program.
        program: ProgramVersion,
    },
    /// `home.json` cannot be understood.
    #[error("{} cannot be understood ({reason}): restore it from a copy; the backups beside it are not affected", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {action} {}: check the path and its permissions", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl HomeError {
    /// A stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "HOME_MISSING",
            Self::NotAHome(_) => "NOT_A_HOME",
            Self::HalfRecovered(_) => "HOME_HALF_RECOVERED",
            Self::TooNew { .. } => "HOME_TOO_NEW",
            Self::Damaged { .. } => "HOME_DAMAGED",
            Self::Io { .. } => "HOME_IO",
        }
    }

    /// Whether the same may succeed later without anybody's help: none of these does.
    #[must_use]
    pub fn retryable(&self) -> bool {
        false
    }
}

/// A home that exists and that this program may use.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    identity: Identity,
}

impl Home {
    /// Opens the home at `root` for `access` by a program of version `program`. Changes nothing.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn open(root: &Path, access: Access, program: ProgramVersion) -> Result<Self, HomeError> {
        let identity = read_identity(root)?;
        let needed = match access {
            Access::Read => identity.min_reader,
            // What cannot be read cannot be written to either, whatever the file says.
            Access::Write => identity.min_writer.max(identity.min_reader),
        };
        if program < needed {
            return Err(HomeError::TooNew { path: root.to_owned(), access, needed, program });
        }
        Ok(Self { root: root.to_owned(), identity })
    }

    /// Opens the home at `root` to write in it, making it first if there is none. `server_id` and `now` are used only
    /// then.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn create(root: &Path, program: ProgramVersion, server_id: Uuid, now: Timestamp) -> Result<Self, HomeError> {
        match Self::open(root, Access::Write, program) {
            Err(HomeError::Missing(_)) => {}
            opened => {
                let home = opened?;
                home.make_folders()?;
                return Ok(home);
            }
        }
        make_parents(root).map_err(failed("make", root))?;
        // Two first starts at the same time must agree on one server id.
        let folder = File::open(root).map_err(failed("open", root))?;
        if !owner::lock_within(&folder, CREATION).map_err(failed("lock", root))? {
            let held = io::ErrorKind::TimedOut.into();
            return Err(HomeError::Io { action: "lock", path: root.to_owned(), source: held });
        }
        if !root.join("home.json").exists() {
            refuse_foreign(root)?;
            let identity = Identity {
                format: FORMAT,
                server_id,
                min_reader: NEEDS,
                min_writer: NEEDS,
                created_at: now.seconds(),
                created_by: program,
            };
            let path = root.join("home.json");
            let mut text = serde_json::to_vec_pretty(&identity)
                .map_err(|error| HomeError::Damaged { path: path.clone(), reason: error.to_string() })?;
            text.push(b'\n');
            durable::write_atomic(&path, &text, 0o600).map_err(failed("write", &path))?;
        }
        let home = Self::open(root, Access::Write, program)?;
        home.make_folders()?;
        Ok(home)
    }

    /// The home's own folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What `home.json` says.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The lock file of the one owner.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The event log's folder.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The journal's folder.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("log/journal")
    }

    /// The queryable store's folder.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("log/store")
    }

    /// The ballast file.
    #[must_use]
    pub fn ballast(&self) -> PathBuf {
        self.root.join("log/ballast")
    }

    /// The folder of the run directories.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    fn make_folders(&self) -> Result<(), HomeError> {
        for folder in [self.log(), self.backups()] {
            if !folder.is_dir() {
                durable::make_dir(&folder, 0o700).map_err(failed("make", &folder))?;
            }
        }
        Ok(())
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_owned();
    move |source| HomeError::Io { action, path, source }
}

fn read_identity(root: &Path) -> Result<Identity, HomeError> {
    let path = root.join("home.json");
    let mut text = Vec::new();
    match File::open(&path) {
        Ok(file) => file.take(MAX_IDENTITY).read_to_end(&mut text).map_err(failed("read", &path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let half = root.join(RECOVERING).is_dir();
            return Err(if half {
                HomeError::HalfRecovered(root.to_owned())
            } else {
                HomeError::Missing(root.to_owned())
            });
        }
        Err(error) => return Err(failed("open", &path)(error)),
    };
    serde_json::from_slice(&text).map_err(|error| HomeError::Damaged { path, reason: error.to_string() })
}

/// Makes `root` and what lies above it; only what is new gets 0700.
fn make_parents(root: &Path) -> io::Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    if let Some(above) = root.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_parents(above)?;
    }
    durable::make_dir(root, 0o700)
}

/// A mistyped home must not turn somebody's folder into one.
fn refuse_foreign(root: &Path) -> Result<(), HomeError> {
    for entry in std::fs::read_dir(root).map_err(failed("list", root))? {
        let entry = entry.map_err(failed("list", root))?;
        if !OWN_NAMES.iter().any(|name| entry.file_name() == *name) {
            return Err(HomeError::NotAHome(root.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const PROGRAM: ProgramVersion = ProgramVersion(0, 1, 0);
    const NOW: Timestamp = Timestamp(1_795_298_400_000_000);

    fn create(root: &Path) -> Result<Home, HomeError> {
        Home::create(root, PROGRAM, Uuid::from_u128(7), NOW)
    }

    #[test]
    fn a_home_is_made_once_and_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b/home");
        assert_eq!(Home::open(&root, Access::Read, PROGRAM).unwrap_err().code(), "HOME_MISSING");
        let home = create(&root).unwrap();
        assert_eq!(home.identity().server_id, Uuid::from_u128(7));
        assert_eq!(home.identity().created_at, 1_795_298_400);
        let again = Home::create(&root, PROGRAM, Uuid::from_u128(8), NOW).unwrap();
        assert_eq!(again.identity(), home.identity());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&root), mode(&home.log()), mode(&home.backups())], [0o700; 3]);
        assert_eq!(mode(&root.join("home.json")), 0o600);
    }

    #[test]
    fn first_starts_at_the_same_time_agree() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("home");
        let starts: Vec<_> = (0..8)
            .map(|n| {
                let root = root.clone();
                std::thread::spawn(move || Home::create(&root, PROGRAM, Uuid::from_u128(n), NOW).unwrap())
            })
            .collect();
        let ids: std::collections::BTreeSet<_> =
            starts.into_iter().map(|start| start.join().unwrap().identity().server_id).collect();
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn an_older_program_refuses_with_the_version_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("home");
        let mut identity = create(&root).unwrap().identity().clone();
        identity.min_writer = "1.4.0".parse().unwrap();
        std::fs::write(root.join("home.json"), serde_json::to_vec(&identity).unwrap()).unwrap();
        Home::open(&root, Access::Read, PROGRAM).unwrap();
        let error = create(&root).unwrap_err();
        assert_eq!(error.code(), "HOME_TOO_NEW");
        assert!(error.to_string().contains("needs holdfast 1.4.0 or newer to be written to, and this is 0.1.0"));
        identity.min_reader = "2.0.0-rc.1".parse().unwrap();
        std::fs::write(root.join("home.json"), serde_json::to_vec(&identity).unwrap()).unwrap();
        let error = Home::open(&root, Access::Read, PROGRAM).unwrap_err();
        assert!(error.to_string().contains("2.0.0 or newer to be read"), "{error}");
    }

    #[test]
    fn somebody_elses_folder_never_becomes_a_home() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "…").unwrap();
        assert_eq!(create(dir.path()).unwrap_err().code(), "NOT_A_HOME");
        assert!(!dir.path().join("home.json").exists());
    }

    #[test]
    fn a_first_start_that_was_cut_short_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("home.json.tmp"), "{").unwrap();
        std::fs::write(dir.path().join("lock"), "").unwrap();
        create(dir.path()).unwrap();
    }

    #[test]
    fn a_damaged_identity_is_named_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("home");
        create(&root).unwrap();
        for text in ["", "{", "[]", r#"{"format":1}"#, r#"{"format":"x"}"#] {
            std::fs::write(root.join("home.json"), text).unwrap();
            assert_eq!(create(&root).unwrap_err().code(), "HOME_DAMAGED", "{text}");
            assert_eq!(std::fs::read_to_string(root.join("home.json")).unwrap(), text);
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        let version = |text: &str| text.parse::<ProgramVersion>().unwrap();
        assert!(version("0.10.0") > version("0.9.9"));
        assert_eq!(version("1.2.3-rc.1+build").to_string(), "1.2.3");
        for text in ["", "1", "1.2", "1.2.3.4", "a.b.c", "1.2.-3"] {
            assert!(text.parse::<ProgramVersion>().is_err(), "{text}");
        }
    }
}
