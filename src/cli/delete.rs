//! `delete`.

use holdfast_model::run::{Refusal, Retained};

use super::args::DeleteArgs;
use super::exit::{CliResult, Exit};
use super::runs::find;
use super::{Context, args::RunArg, errors};

pub(super) async fn delete(context: &Context, args: &DeleteArgs) -> CliResult {
    // An id that means nothing is told apart before the home is taken.
    let run = find(&context.view()?, RunArg::Id(args.run), context.output)?;
    let deleted_path = run.path();
    let engine = context.engine("delete", context.lock_wait).await.map_err(errors::engine)?;
    let result = engine.delete(args.run).await;
    engine.stop().await;
    match result {
        // The start has just finished a deletion that was begun before.
        Err(error) if error.code() == Refusal::Deleted.code() && run.retained() == Retained::Deleting => {}
        result => drop(result.map_err(errors::engine)?),
    }
    context.output.value(&serde_json::json!({ "ok": true, "run_id": args.run, "deleted_path": deleted_path }))?;
    context.output.line(format!("run {} deleted; its history stays: `holdfast show {}`", args.run, args.run))?;
    Ok(Exit::Good)
}
