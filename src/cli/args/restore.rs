//! The arguments of `restore` and `restores`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_model::ids::RestoreId;
use holdfast_model::restore::Safety;

use super::{RunArg, run_arg};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast restore latest --target ./out
  holdfast restore latest --target ./out --path data/etc/hosts --path data/srv
  holdfast maintenance on --reason 'db is lost' && holdfast restore latest --participant db --in-place

Into a folder that is not there or empty, all is made ready beside it and put in place at the end: it is there whole or not at all.
Into one that holds something, nothing is replaced unless --overwrite is given; then each file is replaced as a whole.

In place, the `restore` command that the configuration has for the participant takes its artifact on standard input, after the whole
artifact was verified. Modules are restored by the application that has them, which must be running: all of the run, or the one
that is named, and all or none of them. Both replace live data, so there has to be maintenance, or --force. Backups of this home
wait meanwhile. What a command has done, it alone can undo; modules are put back where one of them fails, from what is kept of the state
before.")]
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
    /// Back into where it came from: into one participant by its `restore` command, or into modules of a running application
    #[arg(long, conflicts_with_all = ["path", "overwrite"])]
    pub(in crate::cli) in_place: bool,
    /// What is kept of the state before, where it goes into modules: required, best_effort or none
    #[arg(long, requires = "in_place", value_name = "HOW", value_parser = safety_arg)]
    pub(in crate::cli) safety: Option<Safety>,
    /// Say what would be restored into modules, and restore nothing
    #[arg(long, requires = "in_place")]
    pub(in crate::cli) dry_run: bool,
    /// In place also where there is no maintenance
    #[arg(long, requires = "in_place")]
    pub(in crate::cli) force: bool,
    /// Only this path and what is below it, as `ls` shows it
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) path: Vec<PathBuf>,
    /// Only this participant
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) participant: Option<String>,
    /// Replace files that are in the way
    #[arg(long)]
    pub(in crate::cli) overwrite: bool,
    /// Take the good participants of a run that is not completed
    #[arg(long)]
    pub(in crate::cli) accept_incomplete: bool,
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
    /// Ask a restore into modules to stop; what it touched is put back
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
