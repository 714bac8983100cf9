//! `remote` as clap sees it.

use clap::{Args, Subcommand};
use holdfast_model::ids::RunId;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RemoteCommand {
    /// List the runs on an endpoint, the newest first
    #[command(after_help = "\
Examples:
  holdfast remote list offsite
  holdfast remote list offsite --limit 500 --json
  holdfast remote list offsite --server-id 019aa700-0000-7000-8000-000000000001")]
    List {
        #[command(flatten)]
        of: RemoteArgs,
        /// At most so many
        #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
    },
    /// Bring a run back from an endpoint
    #[command(after_help = "\
Examples:
  holdfast remote import offsite 20261121-031500-000042
  holdfast remote import offsite 20261121-031500-000042 --overwrite

It is read whole before it is here; until then, and where anything fails, what is here is as it
was. A run that is known here comes back only as what it was published as. No key is needed.")]
    Import {
        #[command(flatten)]
        of: RemoteArgs,
        /// A run id
        #[arg(value_name = "RUN")]
        run: RunId,
        /// Put it in the place of the same run here
        #[arg(long)]
        overwrite: bool,
    },
    /// Delete a run from an endpoint; the run here stays
    #[command(after_help = "\
Example:
  holdfast remote delete offsite 20261121-031500-000042

Only runs of this installation. A vault lets nobody do it but holders of a token with the permission full.")]
    Delete {
        /// Which endpoint, of those that are configured
        #[arg(value_name = "ENDPOINT")]
        endpoint: String,
        /// A run id
        #[arg(value_name = "RUN")]
        run: RunId,
        /// Also where it is the last copy that is known to be there
        #[arg(long)]
        force: bool,
    },
    /// Read a run on an endpoint whole, and compare every size and hash
    #[command(after_help = "\
Example:
  holdfast remote verify offsite 20261121-031500-000042

Nothing of it is kept. Exit code 4 if it is not as it was published.")]
    Verify {
        #[command(flatten)]
        of: RemoteArgs,
        /// A run id
        #[arg(value_name = "RUN")]
        run: RunId,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoteArgs {
    /// Which endpoint, of those that are configured
    #[arg(value_name = "ENDPOINT")]
    pub(in crate::cli) endpoint: String,
    /// The installation whose runs are meant [default: this one]
    #[arg(long, value_name = "UUID")]
    pub(in crate::cli) server_id: Option<Uuid>,
}
