//! The arguments of `key`, and those that say which key opens a run.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{RunArg, run_arg};

/// What opens a run that is encrypted.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct KeyArgs {
    /// The file with the private key of an encrypted run [default: [encryption] identity_file]
    #[arg(long, value_name = "FILE", env = "HOLDFAST_IDENTITY_FILE")]
    pub(in crate::cli) identity: Option<PathBuf>,
    /// The file with the passphrase of an encrypted run [default: [encryption] passphrase_file]
    #[arg(long, value_name = "FILE", env = "HOLDFAST_PASSPHRASE_FILE")]
    pub(in crate::cli) passphrase_file: Option<PathBuf>,
}

impl KeyArgs {
    /// Whether a key was given for this command, and not only configured for all.
    pub(in crate::cli) fn is_given(&self) -> bool {
        self.identity.is_some() || self.passphrase_file.is_some()
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Make a key: the private half goes into a file, the public one is shown
    #[command(after_help = "\
Examples:
  holdfast key generate --output /root/holdfast.key
  holdfast key generate | gpg --symmetric > spare.key.gpg

Backups need the public half only. Keep the private one off the machine that is backed up, and a spare one in a safe: without
any of them nothing that is encrypted comes back.")]
    Generate {
        /// Where the private key goes, 0600; a file that is there is never replaced [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show public keys: of an identity file, and those the configuration encrypts to
    #[command(after_help = "Examples:\n  holdfast key show\n  holdfast key show --identity /media/safe/holdfast.key")]
    Show {
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Prove that a key opens a run: each artifact, its index and the encrypted part of the manifest
    #[command(
        after_help = "Examples:\n  holdfast key check --identity /media/safe/holdfast.key\n  holdfast key check latest"
    )]
    Check {
        #[command(flatten)]
        key: KeyArgs,
        /// A run id, or `latest` for the newest good run
        #[arg(value_parser = run_arg, default_value = "latest")]
        run: RunArg,
    },
}
