//! How much of the vault a client has at work at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::error::Problem;
use super::limits::VaultLimits;

/// What is at work, by client.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(Arc<Mutex<AtWork>>);

#[derive(Debug, Default)]
struct AtWork {
    receiving: BTreeMap<Uuid, usize>,
    sending: BTreeMap<Uuid, usize>,
    /// When each client will have used up nothing of what it may begin.
    begun: BTreeMap<Uuid, Instant>,
}

/// A place at work, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    client: Uuid,
    sends: bool,
}

impl Slots {
    fn at_work(&self) -> MutexGuard<'_, AtWork> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for bytes that come.
    pub(super) fn receive(&self, client: Uuid, limits: &VaultLimits) -> Result<Slot, Problem> {
        let mut at_work = self.at_work();
        let in_all: usize = at_work.receiving.values().sum();
        let own = at_work.receiving.entry(client).or_default();
        if *own >= limits.at_once || in_all >= limits.at_once_in_all {
            return Err(Problem::new(429, "TOO_MANY_AT_ONCE", "too many uploads come at the same time: wait for one"));
        }
        *own += 1;
        Ok(Slot { slots: self.clone(), client, sends: false })
    }

    /// Counts an upload that is begun. Each is recorded, so how many there may be bounds how fast a client makes the log grow.
    pub(super) fn begin(&self, client: Uuid, limits: &VaultLimits) -> Result<(), Problem> {
        let now = Instant::now();
        let each = Duration::from_secs(1) / limits.begun_per_second.max(1);
        let mut at_work = self.at_work();
        at_work.begun.retain(|_, until| *until > now);
        let until = at_work.begun.get(&client).copied().unwrap_or(now) + each;
        if until.saturating_duration_since(now) > each.saturating_mul(limits.begun_at_once.max(1)) {
            let text = "uploads are begun faster than the vault takes them: wait a moment";
            return Err(Problem::new(429, "RATE_LIMITED", text));
        }
        at_work.begun.insert(client, until);
        Ok(())
    }

    /// A place for an answer that goes.
    pub(super) fn send(&self, client: Uuid, limits: &VaultLimits) -> Result<Slot, Problem> {
        let mut at_work = self.at_work();
        let own = at_work.sending.entry(client).or_default();
        if *own >= limits.reads_at_once {
            return Err(Problem::new(429, "TOO_MANY_AT_ONCE", "too many files go at the same time: wait for one"));
        }
        *own += 1;
        Ok(Slot { slots: self.clone(), client, sends: true })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut at_work = self.slots.at_work();
        let side = if self.sends { &mut at_work.sending } else { &mut at_work.receiving };
        if let Some(count) = side.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                side.remove(&self.client);
            }
        }
    }
}
