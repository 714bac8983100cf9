//! `delete`.

use holdfast_model::run::Retained;

use super::args::DeleteArgs;
use super::door::{Door, Purpose};
use super::exit::{CliResult, Exit};
use super::runs::find;
use super::{Context, args::RunArg};
use crate::api::ErrorCode;
use crate::api::commands::DeleteBackupRun;

pub(super) async fn delete(context: &Context, args: &DeleteArgs) -> CliResult {
    // An id that means nothing is told apart before the home is taken.
    let run = find(&context.view()?, RunArg::Id(args.run), context.output)?;
    let deleted_path = run.path();
    let door = Door::open(context, Purpose::Brief("delete"), context.lock_wait).await?;
    let result = door.ask(&DeleteBackupRun { run_id: args.run }).await;
    door.close().await;
    match result {
        // The start has just finished a deletion that was begun before.
        Err(error) if error.code == ErrorCode::BackupRunNotFound.as_str() && run.retained() == Retained::Deleting => {}
        result => drop(result?),
    }
    context.output.value(&serde_json::json!({ "ok": true, "run_id": args.run, "deleted_path": deleted_path }))?;
    context.output.line(format!("run {} deleted; its history stays: `holdfast show {}`", args.run, args.run))?;
    Ok(Exit::Good)
}
