//! The command line as clap sees it.

mod key;
mod owner;
mod remote;
mod restore;
mod uploads;
mod vault;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use holdfast_model::ids::{ParticipantName, Position, RunId};
use holdfast_model::run::{Consistency, RunStatus, Staging, Trigger};

pub(super) use self::key::{KeyArgs, KeyCommand};
pub(super) use self::owner::{
    CancelArgs, EndpointFields, EndpointTestArgs, EndpointsCommand, MaintenanceCommand, ProgressArgs, StopArgs,
    TokenCommand,
};
pub(super) use self::remote::RemoteCommand;
pub(super) use self::restore::{AboutRestore, RestoreArgs, RestoresArgs};
pub(super) use self::uploads::{ToArgs, UploadArgs};
pub(super) use self::vault::{VaultCommand, VaultServeArgs, VaultTokenCommand};
use crate::pipeline::Compression;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default());

/// Backs up the data of running systems and can prove what it did.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, styles = STYLES, max_term_width = 100, subcommand_required = true,
    arg_required_else_help = true, after_help = AFTER_HELP)]
pub(super) struct Cli {
    /// Where runs and the event log are kept [default: $XDG_DATA_HOME/holdfast or ~/.local/share/holdfast]
    #[arg(long, global = true, env = "HOLDFAST_HOME", value_name = "DIR")]
    pub(super) home: Option<PathBuf>,
    /// Configuration file [default: config.toml in the home, where that is there; every setting has a default]
    #[arg(long, global = true, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    /// Write JSON instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// How long to wait for another process that has the home in use, in seconds
    #[arg(long, global = true, default_value = "60", value_name = "SECONDS", value_parser = seconds)]
    pub(super) lock_wait: Duration,
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  holdfast backup /srv/data                     back a folder up
  holdfast runs                                 what was backed up, the newest first
  holdfast restore latest --target ./out        bring it back

Exit codes:
  0    all good
  1    failed
  2    wrong usage or configuration
  3    partial, or completed with warnings
  4    verification failed
  10   no such run
  11   busy, or the home is in use
  12   wrong or missing key
  130  cancelled";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Back up the participants of the configuration, or files and folders
    Backup(BackupArgs),
    /// List runs, the newest first
    Runs(RunsArgs),
    /// Show one run
    Show(ShowArgs),
    /// Take every size and stored hash of runs again from disk; with the key of an encrypted one, its content too
    Verify(VerifyArgs),
    /// List what is in a run
    Ls(LsArgs),
    /// Write one file or stream of a run to standard output
    Dump(DumpArgs),
    /// Copy a run to endpoints
    Upload(UploadArgs),
    /// Bring a run back into a folder, or into a participant
    Restore(RestoreArgs),
    /// List restores, the newest first
    Restores(RestoresArgs),
    /// Delete a run's directory; its history stays
    Delete(DeleteArgs),
    /// Keep a run from deletion
    Lock(LockArgs),
    /// Let a locked run be deleted again
    Unlock(UnlockArgs),
    /// Go on with runs that were interrupted
    Resume,
    /// Ask the run at work to stop
    Cancel(CancelArgs),
    /// Show who has the home, what is at work, and what somebody has to see to
    #[command(after_help = "Examples:\n  holdfast status\n  holdfast status --json")]
    Status,
    /// Show how far the run at work has come
    Progress(ProgressArgs),
    /// Show who takes part and how they stand; test or reset one
    Participants(ParticipantsArgs),
    /// Read the event log
    #[command(subcommand)]
    Log(LogCommand),
    /// Answer other programs over TCP, WebSocket and HTTP until told to stop
    #[command(after_help = SERVE_HELP)]
    Serve,
    /// Tell the server to stop, and wait until it has
    Stop(StopArgs),
    /// Make, list and revoke the tokens that other programs come with
    #[command(subcommand)]
    Token(TokenCommand),
    /// Say whether the system whose data is kept is down for maintenance
    #[command(subcommand)]
    Maintenance(MaintenanceCommand),
    /// List, add, change, remove and test endpoints: where copies of runs go
    #[command(subcommand)]
    Endpoints(EndpointsCommand),
    /// List, bring back and verify the runs that lie on endpoints
    #[command(subcommand)]
    Remote(RemoteCommand),
    /// Make keys, show them, prove that one opens a run
    #[command(subcommand)]
    Key(KeyCommand),
    /// Keep the runs of other installations
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Write a commented configuration, by questions or by flags
    Init(InitArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the documents of the server's interface: OpenAPI 3.1 or AsyncAPI 3.0
    #[command(after_help = "Example:\n  holdfast documents openapi > openapi.json")]
    Documents {
        /// Which one
        document: super::documents::Document,
    },
    /// Write a completion script for a shell
    #[command(after_help = "Example:\n  holdfast completions bash > /etc/bash_completion.d/holdfast")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

const SERVE_HELP: &str = "\
Examples:
  holdfast serve
  holdfast serve --config /etc/holdfast.toml --home /var/lib/holdfast

It says on one line each where it listens and where the first admin token lies. [server] in the
configuration sets addresses, TLS, limits and what a stop does.

Signals: TERM and INT stop it (what is open is resumed by the next start), HUP reads the
configuration again.";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast backup                               all participants of the configuration
  holdfast backup --participant db --trigger pre_update
  holdfast backup /etc /srv/data
  holdfast backup ~/projects --exclude target/ --exclude '*.o'
  holdfast backup / --one-file-system --name system --compression zstd:3
  holdfast backup /srv/data --to offsite --to s3://bucket/backups?endpoint=https://s3.example
  holdfast backup /srv/data --json | jq 'select(.message_type == \"summary\")'

A folder that holds CACHEDIR.TAG is stored without its contents. A .holdfastignore in a folder
leaves out what its lines match, as a .gitignore does.")]
pub(super) struct BackupArgs {
    /// What to back up; without a path, the participants of the configuration
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Only this participant of the configuration; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with_all = ["paths", "name", "exclude", "exclude_from", "one_file_system", "allow_empty"])]
    pub(super) participant: Vec<String>,
    /// What makes it start, for the record
    #[arg(long, default_value = "manual", value_name = "TRIGGER", value_parser = trigger())]
    pub(super) trigger: Trigger,
    /// Name of the participant [default: the last part of the first path]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Leave out what matches, as a line of a .gitignore in PATH would
    #[arg(long, value_name = "GLOB")]
    pub(super) exclude: Vec<String>,
    /// Leave out what matches a line of this file
    #[arg(long, value_name = "FILE")]
    pub(super) exclude_from: Vec<PathBuf>,
    /// Stay on the file systems the paths lie on
    #[arg(long, short = 'x')]
    pub(super) one_file_system: bool,
    /// Whether all participants stand still together, so that their artifacts are of one moment [default: as configured]
    #[arg(long, value_name = "HOW", value_parser = consistency())]
    pub(super) consistency: Option<Consistency>,
    /// Let a warning fail the run
    #[arg(long)]
    pub(super) strict: bool,
    /// Let a folder without anything in it pass; otherwise it fails, as an empty mount point would
    #[arg(long)]
    pub(super) allow_empty: bool,
    /// lz4, zstd:N, gzip:N, brotli:N or none [default: lz4]
    #[arg(long, value_name = "METHOD")]
    pub(super) compression: Option<Compression>,
    /// Encrypt to this public key (age1…); may be given several times [default: as configured]
    #[arg(long, value_name = "RECIPIENT")]
    pub(super) encrypt_to: Vec<String>,
    /// How long it may take, as 6h, 90m or 30s, or none; then it is stopped and has failed [default: as configured]
    #[arg(long, value_name = "DURATION", value_parser = limit)]
    pub(super) timeout: Option<Limit>,
    /// Where artifacts are written: here first, or straight to the endpoints, for a machine without the room [default: as configured]
    #[arg(long, value_name = "WHERE", value_parser = staging())]
    pub(super) staging: Option<Staging>,
    #[command(flatten)]
    pub(super) to: ToArgs,
}

/// How long something may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit(Option<Duration>);

impl Limit {
    /// In whole seconds, the begun one included; 0 for as long as it likes.
    pub(super) fn seconds(self) -> u64 {
        self.0.map_or(0, |limit| limit.as_secs() + u64::from(limit.subsec_nanos() > 0))
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    crate::config::deadline_of(text).map(Limit)
}

/// Parses a trigger by its word; the help lists all of them.
fn trigger() -> impl TypedValueParser<Value = Trigger> {
    let words = PossibleValuesParser::new(Trigger::ALL.map(Trigger::as_str));
    words.try_map(|word| Trigger::ALL.into_iter().find(|trigger| trigger.as_str() == word).ok_or("no such trigger"))
}

/// Parses a consistency by its word; the help lists both.
fn consistency() -> impl TypedValueParser<Value = Consistency> {
    let all = [Consistency::Barrier, Consistency::Concurrent];
    let words = PossibleValuesParser::new(all.map(Consistency::as_str));
    words.try_map(move |word| all.into_iter().find(|one| one.as_str() == word).ok_or("no such consistency"))
}

/// Parses where artifacts are written by its word; the help lists both.
fn staging() -> impl TypedValueParser<Value = Staging> {
    let all = [Staging::Local, Staging::None];
    let words = PossibleValuesParser::new(all.map(Staging::as_str));
    words.try_map(move |word| all.into_iter().find(|one| one.as_str() == word).ok_or("no such staging"))
}

/// Parses a status by its word; the help lists all of them.
fn status() -> impl TypedValueParser<Value = RunStatus> {
    let words = PossibleValuesParser::new(RunStatus::ALL.map(RunStatus::as_str));
    words.try_map(|word| RunStatus::ALL.into_iter().find(|status| status.as_str() == word).ok_or("no such status"))
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast runs --limit 10\n  holdfast runs --status failed --json")]
pub(super) struct RunsArgs {
    /// Only runs that stand so
    #[arg(long, value_parser = status())]
    pub(super) status: Option<RunStatus>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) limit: u32,
    /// Deleted runs too
    #[arg(long)]
    pub(super) deleted: bool,
}

/// A run by its id, or the newest completed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunArg {
    Latest,
    Id(RunId),
}

fn run_arg(text: &str) -> Result<RunArg, String> {
    if text == "latest" {
        return Ok(RunArg::Latest);
    }
    text.parse().map(RunArg::Id).map_err(|error: holdfast_model::ids::InvalidName| format!("{error}; or `latest`"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast show latest\n  holdfast show latest --log\n  holdfast show 20261121-031500-000042 --json"
)]
pub(super) struct ShowArgs {
    /// A run id, or `latest` for the newest good run
    #[arg(value_parser = run_arg)]
    pub(super) run: RunArg,
    /// Tell its story: each recorded event as a line
    #[arg(long)]
    pub(super) log: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast verify latest\n  holdfast verify --all")]
pub(super) struct VerifyArgs {
    /// A run id, or `latest` for the newest good run
    #[arg(value_parser = run_arg, required_unless_present = "all", conflicts_with = "all")]
    pub(super) run: Option<RunArg>,
    /// Every run that has a directory
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) key: KeyArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast ls latest\n  holdfast ls latest data/etc")]
pub(super) struct LsArgs {
    /// A run id, or `latest` for the newest good run
    #[arg(value_parser = run_arg)]
    pub(super) run: RunArg,
    /// Only this path and what is below it
    #[arg(value_name = "PATH")]
    pub(super) path: Option<PathBuf>,
    /// Only this participant
    #[arg(long, value_name = "NAME")]
    pub(super) participant: Option<String>,
    #[command(flatten)]
    pub(super) key: KeyArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast dump latest data/etc/hosts > hosts
  holdfast dump latest shop.dump | pg_restore --clean --dbname shop
  holdfast dump latest --participant db > shop.dump

The hashes of a stream are compared at its end: with exit code 4, what was written must not be used.")]
pub(super) struct DumpArgs {
    /// A run id, or `latest` for the newest good run
    #[arg(value_parser = run_arg)]
    pub(super) run: RunArg,
    /// The file or stream, as `ls` shows it; may be left out where the participant has one stream
    #[arg(value_name = "PATH", required_unless_present = "participant")]
    pub(super) path: Option<PathBuf>,
    /// Only this participant
    #[arg(long, value_name = "NAME")]
    pub(super) participant: Option<String>,
    #[command(flatten)]
    pub(super) key: KeyArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  holdfast delete 20261121-031500-000042")]
pub(super) struct DeleteArgs {
    /// A run id
    #[arg(value_name = "RUN")]
    pub(super) run: RunId,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  holdfast lock 20261121-031500-000042 --reason 'before the migration'\n\nA run that is locked already gets the new reason."
)]
pub(super) struct LockArgs {
    /// A run id, or `latest` for the newest good run
    #[arg(value_parser = run_arg)]
    pub(super) run: RunArg,
    /// Why, for whoever wants to delete it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) reason: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  holdfast unlock 20261121-031500-000042")]
pub(super) struct UnlockArgs {
    /// A run id, or `latest` for the newest good run
    #[arg(value_parser = run_arg)]
    pub(super) run: RunArg,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast participants\n  holdfast participants test db\n  holdfast participants reset db"
)]
pub(super) struct ParticipantsArgs {
    #[command(subcommand)]
    pub(super) command: Option<ParticipantsCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ParticipantsCommand {
    /// Ask participants whether they could write now: paths are readable, a command's own `preflight` is good
    Test {
        /// Which; all without a name
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// End a participant's quarantine: a run tries it as often as others again
    Reset {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast init
  holdfast init --files site=/srv/site --files site=/etc/nginx --command 'db=pg_dump -Fc shop'
  holdfast init --output ./holdfast.toml < /dev/null

On a terminal and without flags it asks. Elsewhere it writes a configuration with examples that are not in force.")]
pub(super) struct InitArgs {
    /// Back up this folder or file as participant NAME; several of one NAME go together
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    pub(super) files: Vec<(ParticipantName, PathBuf)>,
    /// Back up the output of this shell command as participant NAME
    #[arg(long, value_name = "NAME=COMMAND", value_parser = named)]
    pub(super) command: Vec<(ParticipantName, String)>,
    /// Where to write it [default: what --config says, else config.toml in the home]
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    pub(super) force: bool,
}

fn named(text: &str) -> Result<(ParticipantName, String), String> {
    let (name, value) = text.split_once('=').ok_or("a name, `=`, and what it is are needed, as in site=/srv/site")?;
    let name = name.parse().map_err(|error: holdfast_model::ids::InvalidName| error.to_string())?;
    Ok((name, value.to_owned()))
}

fn named_path(text: &str) -> Result<(ParticipantName, PathBuf), String> {
    named(text).map(|(name, path)| (name, PathBuf::from(path)))
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Tell what is wrong with it, and what it names that is not there; runs nothing
    #[command(after_help = "\
Examples:
  holdfast config check
  holdfast config check ./holdfast.toml --json

Exit codes: 0 all is well, 2 errors, 3 warnings.")]
    Check {
        /// The configuration [default: what --config says, else config.toml in the home]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// List events in order
    #[command(
        after_help = "Examples:\n  holdfast log events --limit 20\n  holdfast log events --stream run/20261121-031500-000042\n  \
                            holdfast log events --follow --json"
    )]
    Events(EventsArgs),
    /// Fold the log again and show what it says
    #[command(after_help = "Examples:\n  holdfast log replay\n  holdfast log replay --at 1200\n  \
                            holdfast log replay --at 1200 run/20261121-031500-000042")]
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Only this stream, for example `system` or `run/<id>`
    #[arg(long, value_name = "S")]
    pub(super) stream: Option<holdfast_model::ids::StreamId>,
    /// From this position on
    #[arg(long, value_name = "POS", default_value = "1", value_parser = position)]
    pub(super) from: Position,
    /// At most so many [default: 1000; none with --follow]
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Go on with new events as they are recorded, until Ctrl-C
    #[arg(long)]
    pub(super) follow: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// As of this position [default: the newest]
    #[arg(long, value_name = "POSITION", value_parser = position)]
    pub(super) at: Option<Position>,
    /// Only this run, as `run/<id>`
    #[arg(value_name = "run/ID")]
    pub(super) stream: Option<holdfast_model::ids::StreamId>,
}

fn position(text: &str) -> Result<Position, String> {
    text.parse().map(Position).map_err(|_| "a position is a whole number".to_owned())
}
