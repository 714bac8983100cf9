//! A participant's code in a restore: one call on a thread of its own, with a deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_actors::ports::{Admit, Stop};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RestoreId, RunId};
use holdfast_model::participant::ChildV1;
use holdfast_model::restore::Restore as Recorded;
use tokio::sync::{oneshot, watch};

use super::super::drive::{Drivers, panicked, thread_name};
use super::super::overseer::{Living, cancelled, stopped};
use super::super::registry::Registered;
use super::super::restores::{RestoreClaim, RestoreOutcome};
use super::{Restorer, unknown};
use crate::participant::{Deadlines, ParticipantError, Pulse, Restore, RestorePhase, Step, overdue};

/// The code of one participant in one restore.
pub(super) struct Code {
    drivers: Drivers,
    registered: Registered,
    restore_id: RestoreId,
    run_id: RunId,
    stop: Stop,
    back: bool,
    delete: bool,
    admit: Admit,
}

impl Restorer {
    /// The code of a participant, as it is registered.
    pub(super) fn code(&self, name: &ParticipantName, restore: &Recorded, stop: Stop) -> Result<Code, Failure> {
        let request = restore.request.as_ref().ok_or_else(unknown)?;
        let registered = self.registry.find(name).ok_or_else(|| {
            let text = format!("no module called {name} is registered: register it before the engine starts");
            Failure::new(FailureKind::Fatal, "PARTICIPANT_MISSING", text)
        })?;
        let (drivers, restore_id, run_id) = (self.drivers.clone(), request.restore_id, request.source_run);
        let admit = self.admit(restore_id, name);
        Ok(Code { drivers, registered, restore_id, run_id, stop, back: false, delete: request.delete, admit })
    }
}

impl Restorer {
    /// Records the processes of a participant in the restore's claim: what a process that died left of them is ended by the next.
    fn admit(&self, restore_id: RestoreId, name: &ParticipantName) -> Admit {
        let (claim, name) = (self.held().claims.get(&restore_id).cloned(), name.clone());
        Arc::new(move |child| match &claim {
            Some(claim) => note_process(claim, &name, child),
            None => {
                let text = "nothing says that this restore is alive, so it starts no process";
                Err(Failure::new(FailureKind::Fatal, "RESTORE_NOT_RECORDED", text))
            }
        })
    }
}

/// Notes a process durably, before it becomes the command.
fn note_process(claim: &RestoreClaim, participant: &ParticipantName, child: ChildV1) -> Result<(), Failure> {
    let outcome = RestoreOutcome::InPlace { participant: participant.clone(), child: Some(child) };
    claim.note(&outcome).map_err(|error| {
        let text = format!("the command's process cannot be recorded, so it was not run: {error}");
        Failure::new(FailureKind::Fatal, "RESTORE_NOT_RECORDED", text)
    })
}

impl Code {
    pub(super) fn on_the_way_back(mut self, back: bool) -> Self {
        self.back = back;
        self
    }

    /// What records its processes.
    pub(super) fn admit(&self) -> Admit {
        self.admit.clone()
    }

    pub(super) fn deadlines(&self) -> Deadlines {
        self.registered.descriptor.deadlines
    }

    pub(super) fn format_version(&self) -> u32 {
        self.registered.descriptor.format_version
    }

    pub(super) fn name(&self) -> &ParticipantName {
        &self.registered.descriptor.name
    }

    /// Lets it do one thing. What comes after the deadline counts for nothing, and nothing else is begun with the participant before it has
    /// returned.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        what: &str,
        limit: Option<Duration>,
        code: impl FnOnce(&dyn Restore, &RestorePhase) -> Result<T, ParticipantError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run(what, limit, code).await.map_err(|failure| {
            Failure::new(failure.kind, &failure.code, format!("{}: {what}: {}", self.name(), failure.message))
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &str,
        limit: Option<Duration>,
        code: impl FnOnce(&dyn Restore, &RestorePhase) -> Result<T, ParticipantError> + Send + 'static,
    ) -> Result<T, Failure> {
        let name = self.name().clone();
        self.drivers.wait_for_earlier(&name).await?;
        let until = limit.map(|limit| Instant::now() + limit);
        let key = (self.restore_id, self.back);
        let of = (self.run_id, name.clone());
        let phase = RestorePhase::new(key, of, self.delete, self.stop.clone(), until, self.admit.clone());
        let grace = self.deadlines().grace;
        let (returned, is_returned) = watch::channel(false);
        let (step, steps) = watch::channel(Step::Write(Instant::now()));
        let (run_id, stop) = (self.run_id, self.stop.clone());
        let living = Living { run_id, stop, pulse: Arc::new(Pulse::new()), grace, returned: is_returned, steps };
        self.drivers.lives(&name, &living)?;
        let (answer, mut answered) = oneshot::channel();
        let (module, drivers, lives) = (self.registered.code.clone(), self.drivers.clone(), name.clone());
        let spawned = std::thread::Builder::new().name(thread_name(&name)).spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| match module.restore() {
                Some(restore) => code(restore, &phase),
                None => Err(ParticipantError::fatal("RESTORE_NOT_SUPPORTED", "it takes nothing back")),
            }));
            let result = result.unwrap_or_else(|panic| Err(panicked(&lives, &*panic)));
            drop(step);
            drivers.died(&lives);
            returned.send_replace(true);
            // What nobody waits for any more is dropped here: a lease then lets go.
            let _ = answer.send(result);
        });
        if let Err(error) = spawned {
            self.drivers.died(&name);
            let text = format!("no thread for its code: {error}");
            return Err(Failure::new(FailureKind::Resource, "THREAD_FAILED", text));
        }
        let late = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            biased;
            result = &mut answered => return ended(result),
            () = stopped(&self.stop) => cancelled(),
            () = late => {
                let limit = limit.unwrap_or_default();
                overdue("RESTORE_TIMEOUT", format!("{what} took longer than {limit:?}: see to it, or raise its deadline"))
            }
        };
        living.stop();
        match tokio::time::timeout(grace, answered).await {
            // It may have been quicker than the wish; a deadline is one.
            Ok(Ok(Ok(done))) if why.kind == FailureKind::Cancelled => Ok(done),
            Ok(_) => Err(why),
            Err(_) => {
                tracing::error!(participant = %name, what, "its code does not return: nothing is begun with it before it has");
                Err(why)
            }
        }
    }
}

fn ended<T>(result: Result<Result<T, ParticipantError>, oneshot::error::RecvError>) -> Result<T, Failure> {
    match result {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(with_last_line(&error)),
        Err(_) => Err(Failure::new(FailureKind::Retryable, "PARTICIPANT_PANICKED", "its thread ended early")),
    }
}

/// Why it could not, and what its program said last.
fn with_last_line(error: &ParticipantError) -> Failure {
    let failure = error.failure();
    match error.output().lines().next_back().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => Failure::new(failure.kind, &failure.code, format!("{}, and said last: {line}", failure.message)),
        None => failure.clone(),
    }
}
