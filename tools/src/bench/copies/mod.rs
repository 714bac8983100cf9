//! Copies: three endpoints at once beside one after the other, a vault beside a plain upload to nginx, and what encryption costs beside `age`.

mod far;
mod text;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use serde::Serialize;

use self::far::{FarSides, done};
pub(super) use self::text::text;
use super::contenders::{Places, holdfast};
use super::measure::{self, Series, Step};
use super::random::Random;

/// Size of what is copied, in bytes.
const BYTES: f64 = 512e6;
/// What a limited endpoint may take.
const LIMIT: &str = "20MB";

/// A way to copy a run of one artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Way {
    Vault,
    Sftp,
    Folder,
    AtOnce,
    LimitedVault,
    LimitedSftp,
    LimitedFolder,
    LimitedAtOnce,
    Nginx,
}

/// A way to pack the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Pack {
    Holdfast,
    HoldfastAge,
    Tar,
    TarAge,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// Size of what was copied.
    pub(super) bytes: u64,
    pub(super) copies: Vec<(Way, Series)>,
    pub(super) packs: Vec<(Pack, Series)>,
}

impl Way {
    const ALL: [Self; 9] = [
        Self::Vault,
        Self::Sftp,
        Self::Folder,
        Self::AtOnce,
        Self::LimitedVault,
        Self::LimitedSftp,
        Self::LimitedFolder,
        Self::LimitedAtOnce,
        Self::Nginx,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Sftp => "sftp",
            Self::Folder => "folder",
            Self::AtOnce => "all three at once",
            Self::LimitedVault => "vault, 20 MB/s",
            Self::LimitedSftp => "sftp, 20 MB/s",
            Self::LimitedFolder => "folder, 20 MB/s",
            Self::LimitedAtOnce => "all three at once, 20 MB/s each",
            Self::Nginx => "curl -T to nginx, TLS",
        }
    }

    /// The endpoints it goes to.
    fn endpoints(self) -> &'static [&'static str] {
        match self {
            Self::Vault => &["vault"],
            Self::Sftp => &["sftp"],
            Self::Folder => &["folder"],
            Self::AtOnce => &["vault", "sftp", "folder"],
            Self::LimitedVault => &["limited-vault"],
            Self::LimitedSftp => &["limited-sftp"],
            Self::LimitedFolder => &["limited-folder"],
            Self::LimitedAtOnce => &["limited-vault", "limited-sftp", "limited-folder"],
            Self::Nginx => &[],
        }
    }
}

impl Pack {
    const ALL: [Self; 4] = [Self::Holdfast, Self::HoldfastAge, Self::Tar, Self::TarAge];

    fn name(self) -> &'static str {
        match self {
            Self::Holdfast => "holdfast backup",
            Self::HoldfastAge => "holdfast backup --encrypt-to",
            Self::Tar => "tar | lz4",
            Self::TarAge => "tar | lz4 | age",
        }
    }
}

/// Measures all of it. The data set is what is packed.
///
/// # Errors
/// Where a server does not start, or a command fails.
pub(super) fn run(places: &Places, rounds: usize, size: f64, say: &dyn Fn(&str)) -> anyhow::Result<Figures> {
    let work = places.work.join("copies");
    std::fs::create_dir(&work).context("cannot make a folder")?;
    let bench = Bench {
        places,
        home: work.join("home"),
        source: work.join("source.bin"),
        far: FarSides::start(places, &work)?,
        work,
    };
    let bytes = (BYTES * size) as u64;
    bench.make_source(bytes)?;
    bench.add_endpoints()?;
    let mut figures = Figures {
        bytes,
        copies: Way::ALL.map(|way| (way, Series::default())).into(),
        packs: Pack::ALL.map(|pack| (pack, Series::default())).into(),
    };
    for round in 0..rounds {
        for turn in 0..figures.copies.len() {
            let at = (round + turn) % figures.copies.len();
            let Some((way, series)) = figures.copies.get_mut(at) else { continue };
            let taken = bench.copy(*way)?;
            say(&format!("round {} of {rounds}: {} {:.2} s", round + 1, way.name(), taken.wall));
            series.0.push(taken);
        }
        for turn in 0..figures.packs.len() {
            let at = (round + turn) % figures.packs.len();
            let Some((pack, series)) = figures.packs.get_mut(at) else { continue };
            let taken = bench.pack(*pack)?;
            say(&format!("round {} of {rounds}: {} {:.2} s", round + 1, pack.name(), taken.wall));
            series.0.push(taken);
        }
    }
    let work = bench.work.clone();
    drop(bench);
    std::fs::remove_dir_all(&work).context("cannot remove what was copied")?;
    Ok(figures)
}

struct Bench<'a> {
    // The servers end before their folders go.
    far: FarSides,
    places: &'a Places,
    work: PathBuf,
    home: PathBuf,
    source: PathBuf,
}

impl Bench<'_> {
    /// Bytes that do not compress.
    fn make_source(&self, bytes: u64) -> anyhow::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(&self.source)?);
        let mut random = Random::new(7);
        for _ in 0..bytes / 8 {
            file.write_all(&random.next().to_le_bytes())?;
        }
        file.into_inner().context("cannot write what is copied")?.sync_all()?;
        Ok(())
    }

    fn holdfast(&self) -> Command {
        let mut command = Command::new(&self.places.holdfast);
        command.arg("--quiet").arg("--home").arg(&self.home);
        command
    }

    fn add_endpoints(&self) -> anyhow::Result<()> {
        for (prefix, bandwidth) in [("", "0"), ("limited-", LIMIT)] {
            let add = |name: &str, url: &str, more: &[&str]| {
                let name = format!("{prefix}{name}");
                let add = ["endpoints", "add", &name, "--url", url, "--plaintext", "true", "--enable", "false"];
                done(self.holdfast().args(add).args(["--bandwidth", bandwidth]).args(more)).map(drop)
            };
            let token = self.far.token.to_str().context("a folder is not UTF-8")?;
            add("vault", &self.far.vault, &["--password-file", token])?;
            add("sftp", &self.far.sftp, &["--login", &self.far.login])?;
            add("folder", &self.far.folder, &[])?;
        }
        Ok(())
    }

    /// Copies a new run, and takes away what came of it.
    fn copy(&self, way: Way) -> anyhow::Result<measure::Taken> {
        if way == Way::Nginx {
            let curl = Step::new("curl", &self.work).args(["--silent", "--show-error", "--fail", "--cacert"]);
            let curl = curl.arg(&self.far.nginx_ca).arg("-T").arg(&self.source).arg(&self.far.nginx);
            let taken = measure::run(&curl)?;
            let name = self.source.file_name().context("a file without a name")?;
            std::fs::remove_file(self.far.nginx_data.join(name)).context("nothing came to nginx")?;
            return Ok(taken);
        }
        done(self.holdfast().args(["backup", "--compression", "none"]).arg(&self.source))?;
        rustix::fs::sync();
        let to = way.endpoints().iter().flat_map(|name| ["--to", name]);
        let taken = measure::run(&holdfast(self.places, &self.home).args(["upload", "latest"]).args(to))?;
        let run = self.newest()?;
        for name in way.endpoints() {
            done(self.holdfast().args(["remote", "delete", name, &run]))?;
        }
        done(self.holdfast().args(["delete", &run]))?;
        rustix::fs::sync();
        Ok(taken)
    }

    fn newest(&self) -> anyhow::Result<String> {
        let shown = done(self.holdfast().args(["show", "latest", "--json"]))?;
        let shown: serde_json::Value = serde_json::from_str(&shown).context("no run is shown")?;
        Ok(shown.get("run_id").and_then(serde_json::Value::as_str).context("a run without an id")?.to_owned())
    }

    /// Packs the data set, and takes away what came of it.
    fn pack(&self, pack: Pack) -> anyhow::Result<measure::Taken> {
        let (identity, home, packed) =
            (self.work.join("identity"), self.work.join("pack-home"), self.work.join("packed"));
        if !identity.exists() {
            done(Command::new("age-keygen").arg("-o").arg(&identity))?;
        }
        let public = done(Command::new("age-keygen").arg("-y").arg(&identity))?;
        let public = public.trim();
        let data = self.places.data.clone();
        let backup = || holdfast(self.places, &home).arg("backup").arg(&data);
        let shell = |more: &str| {
            let script = format!("tar c -C \"$DATA\" . | lz4 -q -1 {more} > \"$PACKED\"");
            Step::shell(&script, &self.work).env("DATA", &data).env("PACKED", &packed)
        };
        let step = match pack {
            Pack::Holdfast => backup(),
            Pack::HoldfastAge => backup().args(["--encrypt-to", public]),
            Pack::Tar => shell(""),
            Pack::TarAge => shell(&format!("| age -r {public}")),
        };
        let taken = measure::run(&step)?;
        let _ = std::fs::remove_dir_all(&home);
        let _ = std::fs::remove_file(&packed);
        rustix::fs::sync();
        Ok(taken)
    }
}

impl Figures {
    fn wall(&self, way: Way) -> f64 {
        self.copies.iter().find(|(one, _)| *one == way).map_or(f64::NAN, |(_, series)| series.wall())
    }

    /// Three at once, by the three one after the other.
    pub(super) fn at_once(&self) -> f64 {
        self.wall(Way::AtOnce) / (self.wall(Way::Vault) + self.wall(Way::Sftp) + self.wall(Way::Folder))
    }

    /// Three at once that are limited, by the slowest one of them alone.
    pub(super) fn limited_at_once(&self) -> f64 {
        let alone = [Way::LimitedVault, Way::LimitedSftp, Way::LimitedFolder].map(|way| self.wall(way));
        self.wall(Way::LimitedAtOnce) / alone.into_iter().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The vault's time by that of a plain upload, both with the `sync` after it.
    pub(super) fn by_nginx(&self) -> f64 {
        let whole = |way| {
            let of = self.copies.iter().find(|(one, _)| *one == way);
            of.map_or(f64::NAN, |(_, series)| series.median(|taken| taken.wall + taken.sync))
        };
        whole(Way::Vault) / whole(Way::Nginx)
    }
}
