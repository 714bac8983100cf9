//! The arguments of `restore` and `restores`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_model::ids::RestoreId;
use holdfast_model::restore::Safety;

use super::{KeyArgs, Limit, RunArg, limit, run_arg};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast restore latest --target ./out
  holdfast restore latest --target ./out --path data/etc/hosts --path data/srv
  holdfast restore latest --in-place --dry-run
  holdfast maintenance on --reason 'db is lost' && holdfast restore latest --participant db --in-place
  holdfast restore latest --in-place --safety none --force

Into a folder that is not there or empty, all is made ready beside it and put in place at the end: it is there whole or not at all.
Into one that holds something, nothing is replaced unless --overwrite is given; then each file is replaced as a whole.

In place, all of the run, or the participants that are named, are restored together, all or none: the run is read again, the state before
is kept, all is made ready beside the live data, and only then put in place. Where one fails all are put back, and where the process dies
the next start does. Files take the place of what is there path by path, each in one step; commands take their artifact on the standard
input of their `restore`; modules are restored by the application that has them, which must be running. It replaces live data, so
there has to be maintenance, or --force. Backups of the same participants wait meanwhile. Without a state before (--safety none)
there is no way back.")]
#[command(group = clap::ArgGroup::new("where").required(true).args(["target", "in_place"]))]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(in crate::cli) struct RestoreArgs {
    /// Something else than a restore to be made
    #[command(subcommand)]
    pub(in crate::cli) about: Option<AboutRestore>,
    /// A run id, or `latest` for the newest good run
    #[arg(value_parser = run_arg, required = true)]
    pub(in crate::cli) run: Option<RunArg>,
    /// Into this folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) target: Option<PathBuf>,
    /// Back into where it came from: files, commands by their `restore`, modules of a running application
    #[arg(long, conflicts_with_all = ["path", "overwrite"])]
    pub(in crate::cli) in_place: bool,
    /// What is kept of the state before: required (the default), best_effort or none
    #[arg(long, conflicts_with = "target", value_name = "HOW", value_parser = safety_arg)]
    pub(in crate::cli) safety: Option<Safety>,
    /// Read the run again and say what would be restored, what it needs and what is one step; touch nothing
    #[arg(long, conflicts_with = "target")]
    pub(in crate::cli) dry_run: bool,
    /// Delete files that the backup does not have, but for those that it left out by a pattern
    #[arg(long, conflicts_with = "target")]
    pub(in crate::cli) delete: bool,
    /// How long it may take, as 6h, 90m or 30s, or none; then what it touched is put back [default: as configured]
    #[arg(long, conflicts_with = "target", value_name = "DURATION", value_parser = limit)]
    pub(in crate::cli) timeout: Option<Limit>,
    /// In place also where there is no maintenance
    #[arg(long, conflicts_with = "target")]
    pub(in crate::cli) force: bool,
    /// Only this path and what is below it, as `ls` shows it
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) path: Vec<PathBuf>,
    /// Only this participant; in place several may be named
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) participant: Vec<String>,
    /// Replace files that are in the way
    #[arg(long)]
    pub(in crate::cli) overwrite: bool,
    /// Take the good participants of a run that is not completed
    #[arg(long)]
    pub(in crate::cli) accept_incomplete: bool,
    #[command(flatten)]
    pub(in crate::cli) key: KeyArgs,
}

/// What there is to do about restores that were made.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AboutRestore {
    /// Show one restore
    Show {
        /// A restore's id, as `restores` shows it
        #[arg(value_name = "ID")]
        restore_id: RestoreId,
    },
    /// Roll back once more what ended rollback_failed
    Retry {
        /// A restore's id, as `restores` shows it
        #[arg(value_name = "ID")]
        restore_id: RestoreId,
    },
    /// Ask a restore in place to stop; what it touched is put back
    Cancel {
        /// A restore's id, as `restores` shows it
        #[arg(value_name = "ID")]
        restore_id: RestoreId,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast restores\n  holdfast restore show 0199c0de-0000-7000-8000-000000000001")]
pub(in crate::cli) struct RestoresArgs {
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(in crate::cli) limit: u32,
}

fn safety_arg(text: &str) -> Result<Safety, String> {
    match text {
        "required" => Ok(Safety::Required),
        "best_effort" => Ok(Safety::BestEffort),
        "none" => Ok(Safety::None),
        _ => Err("required, best_effort or none is needed".to_owned()),
    }
}
