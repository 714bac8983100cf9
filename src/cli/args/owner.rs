//! Arguments of the commands that are for whoever owns the home.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_model::access::Role;
use holdfast_model::ids::RunId;

use crate::api::commands::Expiry;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  holdfast cancel 20261121-031500-000042")]
pub(in crate::cli) struct CancelArgs {
    /// A run id
    #[arg(value_name = "RUN")]
    pub(in crate::cli) run: RunId,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(in crate::cli) reason: String,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenCommand {
    /// Make a token; it is shown once, and only its hash is kept
    #[command(after_help = "\
Examples:
  holdfast token create dashboard --role viewer
  holdfast token create ci --role operator --expires 30d
  holdfast token create audit --role viewer --expires 2027-01-31T12:00:00Z

Roles: viewer reads; operator starts, cancels and validates as well; manager restores, deletes and configures as well; admin may do all.")]
    Create {
        /// What it is called, in the list and in the log
        #[arg(value_name = "NAME")]
        name: String,
        /// What its holder may do
        #[arg(long, value_parser = role)]
        role: Role,
        /// When it ends: 90s, 30m, 12h, 30d, or a time as 2027-01-31T12:00:00Z [default: never]
        #[arg(long, value_name = "WHEN", value_parser = expiry)]
        expires: Option<Expiry>,
    },
    /// List the tokens, the oldest first
    #[command(after_help = "Example:\n  holdfast token list --json")]
    List,
    /// Take a token no more
    #[command(after_help = "Example:\n  holdfast token revoke ci")]
    Revoke {
        /// Its name, or its id
        #[arg(value_name = "NAME")]
        token: String,
    },
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|_| "viewer, operator, manager or admin is needed".to_owned())
}

fn expiry(text: &str) -> Result<Expiry, String> {
    let span = |unit: char| match unit {
        's' => Some(1_u64),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let mut digits = text.chars();
    if let Some(each) = digits.next_back().and_then(span)
        && let Ok(count) = digits.as_str().parse::<u64>()
    {
        return count.checked_mul(each).map(Expiry::In).ok_or_else(|| "that is too long".to_owned());
    }
    text.parse().map(Expiry::At).map_err(|_| "a span as 30d, or a time as 2027-01-31T12:00:00Z is needed".to_owned())
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum MaintenanceCommand {
    /// Say that the system whose data is kept is down: restores in place may be made
    #[command(after_help = "Example:\n  holdfast maintenance on --reason 'new database'")]
    On {
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Say that it is up again
    #[command(after_help = "Example:\n  holdfast maintenance off")]
    Off {
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Show whether it is on, since when and why
    #[command(after_help = "Example:\n  holdfast maintenance status --json")]
    Status,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast stop
  holdfast stop --grace 300

It takes no new work from then on. What is open after the grace goes on at the next start.")]
pub(in crate::cli) struct StopArgs {
    /// How long what is at work has to end by itself, in seconds; as configured where nothing is said
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(in crate::cli) grace: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast progress\n  holdfast progress --follow --json")]
pub(in crate::cli) struct ProgressArgs {
    /// Show it until the run at work has ended; waits for one where none is
    #[arg(long)]
    pub(in crate::cli) follow: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum EndpointsCommand {
    /// List the endpoints
    #[command(after_help = "Example:\n  holdfast endpoints list --json")]
    List,
    /// Add an endpoint
    #[command(after_help = ENDPOINTS_HELP)]
    Add {
        /// What it is called from now on
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        fields: EndpointFields,
    },
    /// Change an endpoint; what is not said stays
    #[command(after_help = ENDPOINTS_HELP)]
    Set {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        fields: EndpointFields,
        /// Take its password away
        #[arg(long, conflicts_with = "password")]
        no_password: bool,
    },
    /// Try an endpoint out: write a small file there, list it, read it back, compare it, delete it
    #[command(after_help = TEST_HELP)]
    Test(EndpointTestArgs),
    /// Use an endpoint no more; what was copied there stays
    #[command(after_help = "Example:\n  holdfast endpoints remove offsite")]
    Remove {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
    },
}

const TEST_HELP: &str = "\
Examples:
  holdfast endpoints test offsite
  holdfast endpoints test --url 's3://bucket/prefix?endpoint=https://s3.example.org&region=eu' --login KEY --password-file /run/secrets/s3
  holdfast endpoints test --url 'sftp://nas/srv/backups?key_file=/etc/holdfast/id_ed25519' --login backup
  holdfast endpoints test --url webdavs://cloud.example.org/dav/backups --login me --password-stdin

It is spoken to from this command, as this user, also where a server has the home. Exit code 0 if all steps were good, 1 if not.";

#[derive(Debug, Args)]
pub(in crate::cli) struct EndpointTestArgs {
    /// Which, of those that are configured
    #[arg(value_name = "NAME", required_unless_present = "url", conflicts_with = "url")]
    pub(in crate::cli) name: Option<String>,
    /// An address that is not configured
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) url: Option<String>,
    /// Who Holdfast is there; at S3 the access key
    #[arg(long, value_name = "NAME", requires = "url")]
    pub(in crate::cli) login: Option<String>,
    /// Read the password (at S3 the secret key) from the first line of this file
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "password_stdin")]
    pub(in crate::cli) password_file: Option<PathBuf>,
    /// Read the password from the first line of standard input
    #[arg(long, requires = "url")]
    pub(in crate::cli) password_stdin: bool,
    /// How long an answer is waited for, in seconds [default: as configured, or 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(in crate::cli) timeout: Option<u64>,
}

const ENDPOINTS_HELP: &str = "\
Examples:
  holdfast endpoints add vault1 --host backup.example.org:7420 --login srv1 --password-file /run/secrets/vault
  holdfast endpoints add offsite --url s3://bucket/prefix --mode 1 --timeinterval 3600
  holdfast endpoints add nas --url sftp://nas/srv/backups --login backup --password-path /etc/holdfast/nas.password --streams 8
  holdfast endpoints add cloud --url webdavs://cloud.example.org/dav --login me --verify readback --password-command pass show cloud
  holdfast endpoints set offsite --bandwidth 20MB --priority 10
  pass show vault | holdfast endpoints set vault1 --password-stdin

A password is never taken from the command line: everybody on the machine could read it there. One that is read now is kept encrypted in
the home; --password-path and --password-command keep none, and fetch it at each use. Where nothing is encrypted (`encrypt_to`), only
file:// and endpoints with --plaintext true are taken. What [[endpoint]] in the configuration file declares is changed there.";

#[derive(Debug, Default, PartialEq, Args)]
pub(in crate::cli) struct EndpointFields {
    /// Its address as host:port
    #[arg(long, value_name = "HOST:PORT")]
    pub(in crate::cli) host: Option<String>,
    /// Its address with what kind it is, for example s3://bucket/prefix
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) url: Option<String>,
    /// Who Holdfast is there
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) login: Option<String>,
    /// Read the password from the first line of this file now, and keep it
    #[arg(long, value_name = "FILE", group = "password")]
    pub(in crate::cli) password_file: Option<PathBuf>,
    /// Read the password from the first line of standard input now, and keep it
    #[arg(long, group = "password")]
    pub(in crate::cli) password_stdin: bool,
    /// Read the password from the first line of this file at each use
    #[arg(long, value_name = "FILE", group = "password")]
    pub(in crate::cli) password_path: Option<String>,
    /// Run this at each use: its first line of output is the password; all words after it belong to it
    #[arg(long, value_name = "PROGRAM ARGUMENT", group = "password", num_args = 1..=32, allow_hyphen_values = true)]
    pub(in crate::cli) password_command: Option<Vec<String>>,
    /// Whether copies are to go there
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) enable: Option<bool>,
    /// Of which runs: 0 every run, 1 full runs only
    #[arg(long, value_name = "0|1")]
    pub(in crate::cli) mode: Option<u8>,
    /// Least seconds between two uploads; 0 for each run
    #[arg(long, value_name = "SECONDS")]
    pub(in crate::cli) timeinterval: Option<u64>,
    /// How long an answer is waited for in each attempt, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(in crate::cli) timeout: Option<u64>,
    /// Attempts of an upload, the first included
    #[arg(long, value_name = "N")]
    pub(in crate::cli) retry_attempts: Option<u32>,
    /// The pause before the second attempt, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(in crate::cli) retry_delay: Option<u64>,
    /// What is kept there
    #[arg(long, value_name = "POLICY")]
    pub(in crate::cli) retention: Option<String>,
    /// How an upload is checked where the far side cannot say its SHA-256
    #[arg(long, value_name = "size|readback")]
    pub(in crate::cli) verify: Option<String>,
    /// Bytes a second at most, as 20MB or 4MiB; 0 for no limit
    #[arg(long, value_name = "BYTES", value_parser = bandwidth)]
    pub(in crate::cli) bandwidth: Option<u64>,
    /// Who begins first and is asked first: the lower number
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(in crate::cli) priority: Option<i32>,
    /// Streams at once, 1 to 16
    #[arg(long, value_name = "N")]
    pub(in crate::cli) streams: Option<u32>,
    /// Whether artifacts go there while they are written, and not only once the run is published
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) stream: Option<bool>,
    /// Whether runs may lie there unencrypted
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) plaintext: Option<bool>,
}

fn bandwidth(text: &str) -> Result<u64, String> {
    crate::config::parse_size(text).ok_or_else(|| "a number of bytes as 500000, 20MB or 4MiB is needed".to_owned())
}
