//! Arguments about copies on endpoints.

use std::path::PathBuf;

use clap::Args;

use super::{RunArg, run_arg};

/// Where copies go.
#[derive(Debug, Args)]
pub(in crate::cli) struct ToArgs {
    /// Copy it to this endpoint, or to this address (s3://…, sftp://…, webdavs://…, vault://…, file:///…); may be given several times [default: as configured]
    #[arg(long, value_name = "ENDPOINT|URL")]
    pub(in crate::cli) to: Vec<String>,
    /// Who Holdfast is at the address
    #[arg(long, value_name = "NAME", requires = "to")]
    pub(in crate::cli) login: Option<String>,
    /// Read the password for the address from the first line of this file
    #[arg(long, value_name = "FILE", requires = "to")]
    pub(in crate::cli) password_file: Option<PathBuf>,
    /// Let runs lie at the address unencrypted
    #[arg(long, requires = "to")]
    pub(in crate::cli) plaintext: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast upload latest                        to every endpoint in use that does not have it
  holdfast upload 20261121-031500-000042 --to offsite
  holdfast upload latest --to sftp://nas/srv/holdfast --login backup

What is there already is not sent again, and an upload that was interrupted goes on: to a vault from the
byte where it was, to other endpoints from the file.")]
pub(in crate::cli) struct UploadArgs {
    /// A run id, or latest
    #[arg(value_name = "RUN", value_parser = run_arg)]
    pub(in crate::cli) run: RunArg,
    #[command(flatten)]
    pub(in crate::cli) to: ToArgs,
}
