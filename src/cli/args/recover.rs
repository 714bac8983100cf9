//! The arguments of `recover`.

use std::path::PathBuf;

use clap::Args;
use holdfast_model::ids::RunId;
use uuid::Uuid;

use super::KeyArgs;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast recover sftp://nas/srv/backups --login backup --password-file nas.password --identity holdfast.key
  holdfast recover 'vault://vault.example.org:7430/?fingerprint=SHA256' --password-file token --identity holdfast.key
  holdfast recover file:///mnt/disk --home /var/lib/holdfast --server-id 019aa700-0000-7000-8000-000000000001

The home must not be there yet, or be empty. It becomes the installation that made the runs, under its id: with its history, its
configuration, its endpoints and their passwords, and with the data of its newest full run. Everything is verified before it is
in its place; stopped or killed, the same command is given again. Two machines must not go on as one installation: see that the
old one is off.")]
pub(in crate::cli) struct RecoverArgs {
    /// Where the runs lie (s3://…, sftp://…, webdavs://…, vault://…, file:///…)
    #[arg(value_name = "URL")]
    pub(in crate::cli) url: String,
    #[command(flatten)]
    pub(in crate::cli) key: KeyArgs,
    /// Who Holdfast is there
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(in crate::cli) login: String,
    /// Read the password from the first line of this file; of a vault, the token
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) password_file: Option<PathBuf>,
    /// Read it from the first line of standard input
    #[arg(long, conflicts_with = "password_file")]
    pub(in crate::cli) password_stdin: bool,
    /// The installation to recover, where there are several
    #[arg(long, value_name = "UUID")]
    pub(in crate::cli) server_id: Option<Uuid>,
    /// The run to recover from [default: the newest good one that holds the state of the installation]
    #[arg(long, value_name = "RUN")]
    pub(in crate::cli) run: Option<RunId>,
    /// Leave the data of the run where it is, for a machine without room for it: only history, configuration and passwords
    #[arg(long)]
    pub(in crate::cli) state_only: bool,
}
