//! `delete`.

use holdfast_model::ids::EndpointName;
use holdfast_model::run::Retained;

use super::args::DeleteArgs;
use super::door::{Door, Purpose};
use super::exit::{CliError, CliResult, Exit};
use super::runs::find;
use super::{Context, args::RunArg};
use crate::api::ErrorCode;
use crate::api::commands::DeleteBackupRun;

pub(super) async fn delete(context: &Context, args: &DeleteArgs) -> CliResult {
    // An id that means nothing is told apart before the home is taken.
    let view = context.view()?;
    let (run, places) = (find(&view, RunArg::Id(args.run), context.output)?, view.places().clone());
    drop(view);
    if let Some(elsewhere) = run.elsewhere_at(&places).filter(|_| run.retained() != Retained::Kept) {
        let deletes = |at: &EndpointName| format!("`holdfast remote delete {at} {}`", args.run);
        let next = match elsewhere.endpoints.iter().map(deletes).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => none,
            commands => format!("To delete it there: {commands}."),
        };
        return Err(CliError::new(Exit::NoSuchRun, "BACKUP_RUN_NOT_FOUND", elsewhere.to_string(), next));
    }
    let deleted_path = run.path();
    let door = Door::open(context, Purpose::Brief("delete"), context.lock_wait).await?;
    let result = door.ask(&DeleteBackupRun { run_id: args.run, force: args.force }).await;
    door.close().await;
    match result {
        // The start has just finished a deletion that was begun before.
        Err(error) if error.code == ErrorCode::BackupRunNotFound.as_str() && run.retained() == Retained::Deleting => {}
        result => drop(result?),
    }
    context.output.value(&serde_json::json!({ "ok": true, "run_id": args.run, "deleted_path": deleted_path }))?;
    context.output.line(format!("run {} deleted; its history stays: `holdfast show {}`", args.run, args.run))?;
    let there = run.copies().iter().find(|copy| places.hold(copy));
    if let Some(copy) = there {
        context
            .output
            .line(format!("its copies stay: `holdfast remote import {} {}` brings it back", copy.endpoint, args.run))?;
    }
    Ok(Exit::Good)
}
