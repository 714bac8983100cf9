//! Arguments of `vault`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use holdfast_model::ids::RunId;
use holdfast_model::vault::Permission;
use uuid::Uuid;

#[derive(Debug, Args)]
pub(in crate::cli) struct VaultRoot {
    /// The vault's folder
    #[arg(long, env = "HOLDFAST_VAULT", value_name = "DIR")]
    pub(in crate::cli) root: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum VaultCommand {
    /// Make a vault, with a certificate of its own where none is given; its fingerprint is what clients pin
    #[command(after_help = "\
Examples:
  holdfast vault init --root /srv/vault --name vault.example.org
  holdfast vault init --root /srv/vault --no-certificate       one is given to `vault serve`, or none is used")]
    Init {
        #[command(flatten)]
        root: VaultRoot,
        /// A name or address that clients reach it by, for the certificate; may be given several times [default: localhost]
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// Make no certificate
        #[arg(long)]
        no_certificate: bool,
    },
    /// Receive runs until told to stop; SIGHUP reads the certificate again
    Serve(VaultServeArgs),
    /// Make, list and revoke the tokens that clients come with
    #[command(subcommand)]
    Token(VaultTokenCommand),
    /// List what clients have in the vault, the run received last first
    #[command(
        after_help = "Examples:\n  holdfast vault runs --root /srv/vault\n  holdfast vault runs --root /srv/vault --client 0199c0de-0000-7000-8000-000000000001 --json"
    )]
    Runs {
        #[command(flatten)]
        root: VaultRoot,
        /// Only this client: its server id
        #[arg(long, value_name = "SERVER_ID")]
        client: Option<Uuid>,
    },
    /// Delete a run from the vault; it does not come again
    #[command(
        after_help = "Example:\n  holdfast vault delete --root /srv/vault 0199c0de-0000-7000-8000-000000000001 20261121-031500-000042"
    )]
    Delete {
        #[command(flatten)]
        root: VaultRoot,
        /// The client: its server id
        #[arg(value_name = "CLIENT")]
        client: Uuid,
        /// The run
        #[arg(value_name = "RUN")]
        run: RunId,
    },
    /// Take every size and hash of the vault's runs again from disk
    #[command(
        after_help = "Example:\n  holdfast vault verify --root /srv/vault\n\nExit codes: 0 all is well, 4 damage."
    )]
    Verify {
        #[command(flatten)]
        root: VaultRoot,
        /// Only this client: its server id
        #[arg(long, value_name = "SERVER_ID")]
        client: Option<Uuid>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast vault serve --root /srv/vault --listen 0.0.0.0:7420
  holdfast vault serve --root /srv/vault --listen 0.0.0.0:7420 --tls-cert fullchain.pem --tls-key privkey.pem

It is encrypted with the vault's own certificate where none is given. Without any, it listens on this machine alone.")]
pub(in crate::cli) struct VaultServeArgs {
    #[command(flatten)]
    pub(in crate::cli) root: VaultRoot,
    /// Where it listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7420")]
    pub(in crate::cli) listen: SocketAddr,
    /// Its certificate, and those it leads to, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(in crate::cli) tls_cert: Option<PathBuf>,
    /// The certificate's key, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(in crate::cli) tls_key: Option<PathBuf>,
    /// Go without encryption, on whatever address
    #[arg(long, conflicts_with = "tls_cert")]
    pub(in crate::cli) insecure: bool,
    /// How long nothing may come for an unfinished run before it is deleted
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = span)]
    pub(in crate::cli) expire_after: Duration,
    /// What stays free on the disk whatever clients want [default: 256 MiB, a tenth of a smaller disk]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(in crate::cli) min_free: Option<u64>,
    /// Largest file that is taken
    #[arg(long, value_name = "SIZE", default_value = "1 TiB", value_parser = size)]
    pub(in crate::cli) max_upload: u64,
    /// How long a client may be silent in the middle of a request
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span)]
    pub(in crate::cli) idle: Duration,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum VaultTokenCommand {
    /// Make a token; it is shown once, and only its hash is kept
    #[command(after_help = "\
Examples:
  holdfast vault token add --root /srv/vault shop --permission append --quota '500 GiB'
  holdfast vault token add --root /srv/vault drill --permission read --server-id 0199c0de-0000-7000-8000-000000000001

append brings runs and reads them, and deletes nothing; read reads; full deletes as well. All of it with the runs of one installation: the
first that shows the token, or the one that is named.")]
    Add {
        #[command(flatten)]
        root: VaultRoot,
        /// What it is called, in the list and in the log
        #[arg(value_name = "NAME")]
        name: String,
        /// What its holder may do: append, read or full
        #[arg(long, value_parser = permission)]
        permission: Permission,
        /// What its client may have in the vault, runs and uploads together [default: no bound]
        #[arg(long, value_name = "SIZE", value_parser = size)]
        quota: Option<u64>,
        /// The installation it is for
        #[arg(long, value_name = "UUID")]
        server_id: Option<Uuid>,
    },
    /// List the tokens, the oldest first
    List {
        #[command(flatten)]
        root: VaultRoot,
    },
    /// Take a token no more
    Revoke {
        #[command(flatten)]
        root: VaultRoot,
        /// Its name, or its id
        #[arg(value_name = "NAME")]
        token: String,
    },
}

fn permission(text: &str) -> Result<Permission, String> {
    text.parse().map_err(|_| "append, read or full is needed".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    crate::config::parse_size(text)
        .ok_or_else(|| "a size as `10 GiB`, `500 MB` or a number of bytes is needed".to_owned())
}

fn span(text: &str) -> Result<Duration, String> {
    let span = crate::config::deadline_of(text)?;
    span.filter(|span| !span.is_zero()).ok_or_else(|| "a duration as `24h` or `30s` is needed".to_owned())
}
