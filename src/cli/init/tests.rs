#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::io::{self, Cursor};
use std::path::Path;

use super::questions::ask;
use super::text::{Chosen, Participant, Takes, configuration, for_shell};
use crate::config::{COMMAND_KEYS, ENDPOINT_KEYS, FILES_KEYS, SHARED_KEYS};
use crate::config::{
    Config, EncryptionConfig, PipelineConfig, RestoresConfig, RunsConfig, ServerConfig, ServerLimits, Source,
    SpaceConfig,
};
use crate::pipeline::Compression;

/// The template with all its settings in force.
fn in_force() -> String {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => format!("{setting}\n"),
        _ => format!("{line}\n"),
    };
    configuration(&Chosen::default()).lines().map(uncommented).collect()
}

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("new.toml")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn participant(name: &str, takes: Takes) -> Participant {
    Participant { name: name.parse().unwrap(), takes }
}

#[test]
fn every_key_is_in_the_template() {
    let table: toml::Table = in_force().parse().unwrap();
    let keys = |value: &toml::Value| value.as_table().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    let known = |lists: &[&[&str]]| lists.concat().iter().map(ToString::to_string).collect::<BTreeSet<String>>();
    assert_eq!(keys(&table["pipeline"]), known(&[&PipelineConfig::KEYS]));
    assert_eq!(keys(&table["runs"]), known(&[&RunsConfig::KEYS]));
    assert_eq!(keys(&table["restores"]), known(&[&RestoresConfig::KEYS]));
    assert_eq!(keys(&table["space"]), known(&[&SpaceConfig::KEYS]));
    assert_eq!(keys(&table["encryption"]), known(&[&EncryptionConfig::KEYS]));
    assert_eq!(keys(&table["server"]), known(&[&ServerConfig::KEYS]));
    assert_eq!(keys(&table["server"]["limits"]), known(&[&ServerLimits::KEYS]));
    // Of an address and a password there is one form each; the others stand in the lines that explain.
    let endpoint: BTreeSet<String> = keys(&table["endpoint"].as_array().unwrap()[0]);
    let others = ["host", "password_command", "password_env"].map(str::to_owned);
    assert_eq!(endpoint.union(&others.clone().into()).cloned().collect::<BTreeSet<_>>(), known(&[&ENDPOINT_KEYS]));
    let text = configuration(&Chosen::default());
    assert!(others.iter().all(|key| text.lines().any(|line| line.starts_with("# ") && line.contains(key))));
    let participants = table["participant"].as_array().unwrap();
    assert_eq!(keys(&participants[0]), known(&[&SHARED_KEYS, &FILES_KEYS]));
    assert_eq!(keys(&participants[1]), known(&[&SHARED_KEYS, &COMMAND_KEYS]));
}

#[test]
fn the_template_shows_the_defaults() {
    let mut config = parse(&in_force());
    assert!(config.server.tls.take().is_some(), "a certificate has no default");
    assert_eq!((config.pipeline, config.runs, config.restores, config.space, config.server), Default::default());
    let least = "[[endpoint]]\nname = 'nas'\nurl = 'file:///mnt/nas/backups'\nlogin = 'backup'\n\
                 password_file = '/etc/holdfast/nas.password'\n";
    assert_eq!(config.endpoints, parse(least).endpoints);
    // Without what a participant needs no default for, it stays as it is.
    let least = "[[participant]]\nname = 'site'\nkind = 'files'\npaths = ['/srv/site']\nexclude = ['*.tmp', 'cache/']\n\
                 [[participant]]\nname = 'shop'\nkind = 'command'\ncommand = ['pg_dump', '-Fc', 'shop']\n\
                 artifact = 'shop.dump'\nenv = { PGHOST = '/run/postgresql' }\n\
                 env_file = { PGPASSWORD = '/etc/holdfast/shop.password' }\ndirectory = '/var/lib/postgresql'\n\
                 preflight = ['pg_isready']\nrestore = ['pg_restore', '--clean', '-d', 'shop']\n\
                 verify = ['psql', '-d', 'shop', '-c', 'SELECT 1']\nprepare = ['sync']\nfreeze = ['/usr/local/bin/shop-snapshot', 'create']\n\
                 thaw = ['/usr/local/bin/shop-snapshot', 'release']\n";
    assert_eq!(config.participants, parse(least).participants);
    assert_eq!(parse(&configuration(&Chosen::default())), Config::default(), "and none of it is in force");
}

#[test]
fn what_is_written_reads_back_whatever_it_holds() {
    let awkward =
        ["/srv/a b", "/srv/\"quoted\"", "/srv/back\\slash", "/srv/new\nline", "/srv/'single' \"\"\"", "/srv/ü"];
    let script = "pg_dump shop |\n grep -v '^--' > \"$X\" # '''";
    let restore = Some("psql \\ shop".to_owned());
    let chosen = Chosen {
        compression: Compression::Zstd(3),
        participants: vec![
            participant("site", Takes::Files(awkward.map(str::to_owned).to_vec())),
            participant("db", Takes::Command { command: script.into(), restore: restore.clone() }),
        ],
    };
    let config = parse(&configuration(&chosen));
    assert_eq!(config.pipeline.compression, Compression::Zstd(3));
    let [Source::Files(files), Source::Command(command)] =
        [&config.participants[0].source, &config.participants[1].source]
    else {
        panic!("files and a command")
    };
    assert_eq!(files.spec.paths, awkward.map(std::path::PathBuf::from));
    assert_eq!((&command.command.argv[..], command.command.shell), (&[script.to_owned()][..], true));
    assert_eq!(command.restore.as_ref().map(|spec| spec.argv[0].clone()), restore);
}

/// Answers, and what was asked.
fn talk(answers: &str) -> (io::Result<Chosen>, String) {
    let mut out = Vec::new();
    let chosen = ask(&mut Cursor::new(answers), &mut out);
    (chosen, String::from_utf8(out).unwrap())
}

#[test]
fn the_answers_are_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my site").to_str().unwrap().to_owned();
    std::fs::create_dir(&path).unwrap();
    let (chosen, asked) = talk(&format!(
        "/no/such/folder\n{path}\n\n{path}\nMY_SITE\nother\n\npg_dump shop\n\npsql shop\n\nrar\nzstd:5\n"
    ));
    let expected = Chosen {
        compression: Compression::Zstd(5),
        participants: vec![
            participant("my_site", Takes::Files(vec![path.clone()])),
            participant("other", Takes::Files(vec![path])),
            participant(
                "pg_dump",
                Takes::Command { command: "pg_dump shop".into(), restore: Some("psql shop".into()) },
            ),
        ],
    };
    assert_eq!(chosen.unwrap(), expected, "{asked}");
    for said in ["/no/such/folder does not exist", "a participant MY_SITE already", "[my_site-2]", "zstd:1 to zstd:19"]
    {
        assert!(asked.contains(said), "{said}:\n{asked}");
    }
}

#[test]
fn empty_answers_take_the_defaults_and_an_end_of_them_writes_nothing() {
    assert_eq!(talk("\n\n\n").0.unwrap(), Chosen::default());
    for cut in ["", "\n", "\n\n", "\n\nlz4"] {
        assert_eq!(talk(cut).0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut:?}");
    }
}

#[test]
fn a_path_is_quoted_where_a_shell_would_read_it_otherwise() {
    for (path, shown) in [("/srv/a-b.toml", "/srv/a-b.toml"), ("/a b", "'/a b'"), ("/it's", r"'/it'\''s'")] {
        assert_eq!(for_shell(Path::new(path)), shown);
    }
}
