//! The barrier: all participants of a run stand still together, while what each of them has is captured.
//!
//! Each participant has a thread of its own for it, which owns what stands still: whatever happens to the others, to the time or to this
//! code, it is thawed exactly once, and none of that waits for the log. The order is fixed here: all prepare; each is frozen after those
//! it depends on; all are captured; they are thawed the other way round. From the first freeze to the last thaw the run's budget counts.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver as Orders, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_actors::ports::{BarrierFailure, BarrierJob, Note, Stop};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RunId};
use holdfast_model::run::{Barrier, Held, NotFrozen, ParticipantFrozenV1, RunParticipant};
use tokio::sync::{mpsc, watch};

use super::drive::{Drivers, panicked, thread_name};
use super::overseer::{Living, cancelled, stopped};
use crate::participant::{
    Capture, Deadlines, Participant, ParticipantError, Phase, Preflight, Prepared, Pulse, Step, overdue,
};

/// By run and participant.
type Kept = BTreeMap<(RunId, ParticipantName), Box<dyn Capture>>;

/// What was captured and not written yet. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Captures(Arc<Mutex<Kept>>);

impl Captures {
    fn held(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, run_id: RunId, name: &ParticipantName) -> Option<Box<dyn Capture>> {
        self.held().remove(&(run_id, name.clone()))
    }

    pub(super) fn keep(&self, run_id: RunId, name: &ParticipantName, capture: Box<dyn Capture>) {
        self.held().insert((run_id, name.clone()), capture);
    }

    /// Lets go of all that a run has not written.
    pub(super) fn release(&self, run_id: RunId) {
        let mut held = self.held();
        let (released, kept) = std::mem::take(&mut *held).into_iter().partition(|((run, _), _)| *run == run_id);
        *held = kept;
        drop(held);
        let _: Kept = released;
    }
}

/// What a participant's thread is to do next. Where nothing comes any more, it lets go.
enum Order {
    Freeze { until: Instant },
    Capture { until: Instant },
    Thaw,
}

/// What a participant's thread has done.
enum Done {
    Prepared(Duration),
    Frozen(Duration),
    Captured(Duration, Box<dyn Capture>),
    Thawed(Duration, Duration),
    Failed(ParticipantError),
}

/// A participant in the barrier.
struct Standing {
    name: ParticipantName,
    critical: bool,
    deadlines: Deadlines,
    orders: Option<SyncSender<Order>>,
    living: Living,
    /// Phases that it was told to go through, and those that it has.
    told: u32,
    done: u32,
    times: ParticipantFrozenV1,
    capture: Option<Box<dyn Capture>>,
}

/// A barrier under way.
struct Hold {
    drivers: Drivers,
    job: BarrierJob,
    all: Vec<Standing>,
    left_out: Vec<NotFrozen>,
    done: mpsc::UnboundedReceiver<(usize, Done)>,
    tell: mpsc::UnboundedSender<(usize, Done)>,
}

/// Has all participants stand still together. Whatever it answers, none of them does any more, but for code that does not return.
pub(super) async fn hold(drivers: Drivers, job: BarrierJob) -> Result<Held, BarrierFailure> {
    let (tell, done) = mpsc::unbounded_channel();
    let mut hold = Hold { drivers, job, all: Vec::new(), left_out: Vec::new(), done, tell };
    let result = hold.through_all_phases().await;
    // What still freezes does so for nobody.
    if result.is_err() {
        hold.job.stop.request();
    }
    hold.let_go().await;
    match result {
        Ok(barrier) => Ok(hold.held(barrier)),
        Err(failure) => Err(BarrierFailure { left_out: hold.left_out, ..failure }),
    }
}

impl Hold {
    async fn through_all_phases(&mut self) -> Result<Barrier, BarrierFailure> {
        for participant in self.job.participants.clone() {
            if let Err(failure) = self.begin(&participant).await {
                self.failed(participant.name, participant.critical, &failure.into())?;
            }
        }
        for at in 0..self.all.len() {
            let limit = self.all.get(at).and_then(|one| one.deadlines.prepare).map(|limit| Instant::now() + limit);
            self.wait_for(at, limit, |limit| {
                overdue("PREPARE_TIMEOUT", format!("it did not prepare itself in {limit:?}"))
            })
            .await?;
        }
        let began = Instant::now();
        let until = began + self.job.budget;
        for at in 0..self.all.len() {
            self.order(at, Order::Freeze { until });
            self.wait_until(at, until).await?;
        }
        let at = self.job.clock.now();
        for at in 0..self.all.len() {
            self.order(at, Order::Capture { until });
        }
        for at in 0..self.all.len() {
            self.wait_until(at, until).await?;
        }
        for at in (0..self.all.len()).rev() {
            self.order(at, Order::Thaw);
            self.wait_until(at, until).await?;
        }
        let took = began.elapsed();
        if took > self.job.budget {
            return Err(self.too_long().into());
        }
        if self.all.iter().all(|one| one.orders.is_none()) {
            let text = "no participant stood still: see why each of them did not";
            return Err(Failure::new(FailureKind::Fatal, "BARRIER_EMPTY", text).into());
        }
        Ok(Barrier { at, longest_us: micros(took) })
    }

    fn too_long(&self) -> Failure {
        let budget = self.job.budget;
        overdue("FREEZE_BUDGET_EXCEEDED", format!("all participants together stood still for longer than {budget:?}"))
    }

    /// Starts a participant's thread, which prepares at once.
    async fn begin(&mut self, participant: &RunParticipant) -> Result<(), Failure> {
        let name = participant.name.clone();
        let found = self.drivers.find(participant).await?;
        if found.code.phases().is_none() {
            let text = "it cannot stand still: leave it out, or ask for a concurrent backup";
            return Err(Failure::new(FailureKind::Fatal, "BARRIER_NOT_SUPPORTED", text));
        }
        self.drivers.wait_for_earlier(&name).await?;
        let deadlines = found.descriptor.deadlines;
        let (returned, is_returned) = watch::channel(false);
        let (step, steps) = watch::channel(Step::Prepare(Instant::now()));
        let pulse = Arc::new(Pulse::new());
        let living = Living {
            run_id: self.job.run_id,
            stop: self.job.stop.clone(),
            pulse: pulse.clone(),
            grace: deadlines.grace,
            returned: is_returned,
            steps,
        };
        self.drivers.lives(&name, &living)?;
        // There is one order at a time, so whoever gives one never waits.
        let (orders, ordered) = sync_channel(1);
        let (index, tell) = (self.all.len(), self.tell.clone());
        let thread = Stander {
            code: found.code,
            name: name.clone(),
            run_id: self.job.run_id,
            stop: self.job.stop.clone(),
            prepare: deadlines.prepare,
            note: self.job.notes.get(&name).map(|note| self.drivers.noting(&name, self.job.run_id, note)),
            pulse,
            orders: ordered,
            tell: Box::new(move |done| drop(tell.send((index, done)))),
        };
        let (drivers, lives) = (self.drivers.clone(), name.clone());
        let spawned = std::thread::Builder::new().name(thread_name(&name)).spawn(move || {
            thread.stand();
            drop(step);
            drivers.died(&lives);
            returned.send_replace(true);
        });
        if let Err(error) = spawned {
            self.drivers.died(&name);
            let text = format!("no thread for its code: {error}");
            return Err(Failure::new(FailureKind::Resource, "THREAD_FAILED", text));
        }
        let times = ParticipantFrozenV1 {
            participant: name.clone(),
            prepare_us: 0,
            freeze_us: 0,
            capture_us: 0,
            thaw_us: 0,
            held_us: 0,
        };
        self.all.push(Standing {
            name,
            critical: participant.critical,
            deadlines,
            orders: Some(orders),
            living,
            told: 1,
            done: 0,
            times,
            capture: None,
        });
        Ok(())
    }

    /// A participant failed: all do, or it is left out.
    fn failed(
        &mut self,
        participant: ParticipantName,
        critical: bool,
        error: &ParticipantError,
    ) -> Result<(), BarrierFailure> {
        let (failure, output) = (error.failure().clone(), error.output().to_owned());
        let failed = NotFrozen { participant, failure: failure.clone(), output };
        if critical {
            return Err(BarrierFailure { failure, by: Some(Box::new(failed)), left_out: Vec::new() });
        }
        self.left_out.push(failed);
        Ok(())
    }

    fn order(&mut self, at: usize, order: Order) {
        if let Some(one) = self.all.get_mut(at)
            && let Some(orders) = &one.orders
        {
            one.told += 1;
            // A thread that has ended has said why.
            let _ = orders.send(order);
        }
    }

    async fn wait_until(&mut self, at: usize, until: Instant) -> Result<(), BarrierFailure> {
        let budget = self.job.budget;
        let late = move |_| {
            let text = format!("all stood still for {budget:?}, which is the most they may, and it was not ready");
            overdue("FREEZE_BUDGET_EXCEEDED", text)
        };
        self.wait_for(at, Some(until), late).await
    }

    /// Waits until a participant has done what it was told to last.
    async fn wait_for(
        &mut self,
        at: usize,
        until: Option<Instant>,
        late: impl Fn(Duration) -> Failure,
    ) -> Result<(), BarrierFailure> {
        let began = Instant::now();
        loop {
            if self.all.get(at).is_none_or(|one| one.orders.is_none() || one.done >= one.told) {
                return Ok(());
            }
            let deadline = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            let (from, done) = tokio::select! {
                biased;
                () = stopped(&self.job.stop) => return Err(cancelled().into()),
                done = self.done.recv() => match done {
                    Some(done) => done,
                    None => return Err(cancelled().into()),
                },
                () = deadline => (at, Done::Failed(late(began.elapsed()).into())),
            };
            self.note(from, done)?;
        }
    }

    /// Takes down what a participant has done.
    fn note(&mut self, from: usize, done: Done) -> Result<(), BarrierFailure> {
        // Who was too late has failed, whatever it says afterwards.
        let Some(one) = self.all.get_mut(from).filter(|one| one.orders.is_some()) else { return Ok(()) };
        let times = &mut one.times;
        match done {
            Done::Prepared(took) => times.prepare_us = micros(took),
            Done::Frozen(took) => times.freeze_us = micros(took),
            Done::Captured(took, capture) => {
                times.capture_us = micros(took);
                one.capture = Some(capture);
            }
            Done::Thawed(took, held) => {
                times.thaw_us = micros(took);
                times.held_us = micros(held);
            }
            Done::Failed(error) => {
                one.orders = None;
                let (name, critical) = (one.name.clone(), one.critical);
                return self.failed(name, critical, &error);
            }
        }
        one.done += 1;
        Ok(())
    }
}

impl Hold {
    /// Lets everybody go who still stands, and waits for it.
    async fn let_go(&mut self) {
        for one in &mut self.all {
            one.orders = None;
        }
        let living: Vec<_> = self.all.iter().map(|one| (one.name.clone(), one.living.clone())).collect();
        for (name, living) in living {
            let grace = living.grace;
            if !living.gone_and_thawed(grace).await {
                tracing::error!(participant = %name, "its code does not return from the barrier: nothing is begun with it before it has");
            }
        }
    }

    /// What came of it: captures are kept for those who write them.
    fn held(self, barrier: Barrier) -> Held {
        let (run_id, captures) = (self.job.run_id, self.drivers.captures());
        let mut frozen = Vec::new();
        for one in self.all {
            let is_left_out = self.left_out.iter().any(|left| left.participant == one.name);
            if let Some(capture) = one.capture.filter(|_| !is_left_out) {
                captures.keep(run_id, &one.name, capture);
                frozen.push(one.times);
            }
        }
        Held { barrier, frozen, left_out: self.left_out }
    }
}

/// A participant's own thread.
struct Stander {
    code: Arc<dyn Participant>,
    name: ParticipantName,
    run_id: RunId,
    stop: Stop,
    prepare: Option<Duration>,
    note: Option<Note>,
    pulse: Arc<Pulse>,
    orders: Orders<Order>,
    tell: Box<dyn Fn(Done) + Send>,
}

impl Stander {
    fn stand(&self) {
        let stood = catch_unwind(AssertUnwindSafe(|| self.go_through()));
        let stood = stood.unwrap_or_else(|panic| Err(panicked(&self.name, &*panic)));
        if let Err(error) = stood {
            (self.tell)(Done::Failed(error));
        }
    }

    fn phase(&self, until: Option<Instant>) -> Phase {
        Phase::new(self.run_id, self.name.clone(), self.stop.clone(), until, self.note.clone(), self.pulse.clone())
    }

    /// Through all phases, as it is told. Whichever way it ends, what stands still is let go here.
    fn go_through(&self) -> Result<(), ParticipantError> {
        let Some(phased) = self.code.phases() else { return Ok(()) };
        let began = Instant::now();
        phased.preflight(&Preflight::asked(self.stop.clone()))?;
        let prepared = Prepared::of(phased, self.phase(self.prepare.map(|limit| began + limit)))?;
        (self.tell)(Done::Prepared(began.elapsed()));

        let Ok(Order::Freeze { until }) = self.orders.recv() else { return Ok(()) };
        let began = Instant::now();
        let mut still = prepared.freeze(&self.phase(Some(until)))?;
        (self.tell)(Done::Frozen(began.elapsed()));

        let Ok(Order::Capture { until }) = self.orders.recv() else { return Ok(()) };
        let capturing = Instant::now();
        let capture = still.capture(&self.phase(Some(until)))?;
        (self.tell)(Done::Captured(capturing.elapsed(), capture));

        let Ok(Order::Thaw) = self.orders.recv() else { return Ok(()) };
        let thawing = Instant::now();
        still.thaw()?;
        (self.tell)(Done::Thawed(thawing.elapsed(), began.elapsed()));
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
