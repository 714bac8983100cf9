//! `delete`, `lock` and `unlock` as clap sees them.

use clap::Args;
use holdfast_model::ids::RunId;

use super::{RunArg, run_arg};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  holdfast delete 20261121-031500-000042")]
pub(in crate::cli) struct DeleteArgs {
    /// A run id
    #[arg(value_name = "RUN")]
    pub(in crate::cli) run: RunId,
    /// Also where copies of it were made, and none of these is known to be there
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  holdfast lock 20261121-031500-000042 --reason 'before the migration'\n\nA run that is locked already gets the new reason."
)]
pub(in crate::cli) struct LockArgs {
    /// A run id, or `latest` for the newest good run
    #[arg(value_parser = run_arg)]
    pub(in crate::cli) run: RunArg,
    /// Why, for whoever wants to delete it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(in crate::cli) reason: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  holdfast unlock 20261121-031500-000042")]
pub(in crate::cli) struct UnlockArgs {
    /// A run id, or `latest` for the newest good run
    #[arg(value_parser = run_arg)]
    pub(in crate::cli) run: RunArg,
}
