//! What a start does about what an earlier process left half-done, before anything else begins.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::Addr;
use holdfast_actors::root::{ForParticipant, ForRun, ResumeRuns, Root, RunHandle};
use holdfast_actors::uploads::ResumeUploads;
use holdfast_log::DurableLog;
use holdfast_log::home::Home;
use holdfast_model::codec::Origin;
use holdfast_model::endpoint::Endpoint;
use holdfast_model::ids::{ParticipantName, RestoreId};
use holdfast_model::participant::{ChildV1, ParticipantCommand};
use holdfast_model::run::{Found, Retained, RunCommand};

use super::registry::Registry;
use super::restoring::{self, Restorer};
use super::secrets::Secrets;
use super::{EngineError, Projections, Start, SystemClock, imports, owed_thaw, restores};
use crate::command::{self, Launcher};

/// Ends what a dead process had started for a participant and left running: nothing is begun beside it. What cannot be ended is that
/// participant's trouble alone: its next try looks again, and fails where it is still there.
pub(super) async fn end_left_over(participant: &ParticipantName, child: ChildV1) -> Result<(), String> {
    let ended = tokio::task::spawn_blocking(move || command::end_left_over(&child)).await;
    let ended = ended.map_err(|panic| panic.to_string())?;
    let ended = ended.map_err(|error| {
        let group = child.group;
        format!("a command that an earlier process started for {participant} (process group {group}) still runs and cannot be ended: {error}")
    })?;
    tracing::info!(%participant, group = child.group, ?ended, "looked for what an earlier process had left running");
    Ok(())
}

pub(super) async fn for_participant(
    root: &Addr<Root>,
    participant: &ParticipantName,
    command: ParticipantCommand,
    origin: &Origin,
) -> Result<(), EngineError> {
    let message = ForParticipant { participant: participant.clone(), command, origin: origin.clone() };
    Ok(root.send(message).await.map_err(|_| EngineError::Stopped)??)
}

/// How long a start waits for a deletion it goes on with.
pub(super) const DELETION: Duration = Duration::from_secs(5);

/// What a start found and did.
pub(super) struct Settled {
    /// Runs that it goes on with.
    pub(super) resumed: Vec<RunHandle>,
    /// What else there was, a line each.
    pub(super) told: Vec<String>,
    /// Participants of which something still runs that could not be ended.
    pub(super) unended: Vec<ParticipantName>,
    /// Restores that are open, because not all of their modules are registered.
    pub(super) left: Vec<(RestoreId, Vec<ParticipantName>)>,
    /// A restore that could not be rolled back.
    pub(super) half: Option<RestoreId>,
    /// The highest counter of the runs whose import was gone on with.
    pub(super) highest_counter: u32,
}

/// Takes away the passwords that no endpoint names, and says which endpoints have lost theirs. A file that cannot be used keeps nobody
/// from backing up.
async fn sweep_secrets(home: &Home, projections: &Projections) -> Vec<String> {
    let configs = projections.endpoints.values().filter_map(Endpoint::config);
    let named: BTreeMap<_, _> = configs.filter_map(|config| Some((config.secret?, config.name.clone()))).collect();
    let (secrets, ids) = (Secrets::of(home.root()), named.keys().copied().collect());
    let missing = match tokio::task::spawn_blocking(move || secrets.sweep(&ids)).await {
        Ok(Ok(missing)) => missing,
        Ok(Err(error)) => return vec![error.to_string()],
        Err(panic) => return vec![panic.to_string()],
    };
    let lost = named.into_iter().filter(|(id, _)| missing.contains(id));
    lost.map(|(_, name)| format!("endpoint {name}: its password is gone from the file of secrets: set it again"))
        .collect()
}

/// Settles what a process before left half-done: who stands still, deletions, restores, and, where asked, runs.
pub(super) async fn settle(
    root: &Addr<Root>,
    home: &Home,
    log: &DurableLog,
    modules: (&Registry, &Restorer),
    projections: &Projections,
    start: &Start,
    launcher: &Launcher,
) -> Result<Settled, EngineError> {
    let history = &projections.history;
    let (mut left, mut unended) = (Vec::new(), Vec::new());
    for (name, participant) in history.participants() {
        for child in participant.children() {
            if let Err(what) = end_left_over(name, *child).await {
                left.push(what);
                unended.push(name.clone());
            }
        }
        if participant.at_work().is_some() {
            for_participant(root, name, ParticipantCommand::Abandon, &start.origin).await?;
        }
    }
    left.iter().for_each(|what| tracing::error!("{what}"));
    let thawed = owed_thaw::settle(root, history, start, launcher).await?;
    for entry in history.deleting() {
        let taken_over = holdfast_actors::ports::Clock::now(&SystemClock);
        let command = RunCommand::Recover {
            found: Found::Published,
            broken: Vec::new(),
            taken_over,
            stopped: history.was_stopped(),
        };
        let message = ForRun { run_id: entry.run_id, command, origin: start.origin.clone() };
        match root.send(message).await.map_err(|_| EngineError::Stopped)? {
            Ok(mut handle) => {
                // A command that ends at once would take the actors away before they could record it.
                let settled = handle.watch.wait_for(|run| run.retained() != Retained::Deleting);
                let _ = tokio::time::timeout(DELETION, settled).await;
            }
            Err(error) => tracing::error!(run_id = %entry.run_id, %error, "a deletion cannot be gone on with"),
        }
    }
    let imports = imports::settle(root, home, log, history, &start.origin).await?;
    let in_place = restoring::settle(root, log, modules, history, &start.origin).await?;
    let mut told = restores::settle(root, home, log, history, &start.origin).await;
    told.splice(0..0, thawed);
    told.extend(left);
    told.extend(imports.told);
    told.extend(in_place.told);
    let (left, half, highest_counter) = (in_place.left, in_place.half, imports.highest_counter);
    told.extend(sweep_secrets(home, projections).await);
    if !start.resume {
        return Ok(Settled { resumed: Vec::new(), told, unended, left, half, highest_counter });
    }
    let open = history.open().map(|entry| entry.run_id).collect();
    let resumed = root
        .send(ResumeRuns { runs: open, stopped: history.was_stopped() })
        .await
        .map_err(|_| EngineError::Stopped)??;
    let uploading = history.uploading().map(|entry| entry.run_id).collect();
    root.send(ResumeUploads { runs: uploading }).await.map_err(|_| EngineError::Stopped)??;
    Ok(Settled { resumed, told, unended, left, half, highest_counter })
}
