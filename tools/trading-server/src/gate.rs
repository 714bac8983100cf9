//! The gate that money passes through: closed for the moment a backup takes its picture.
//!
//! A movement of money touches several modules, one after the other. Whoever closes the gate waits until no movement is between them, and
//! keeps new ones out until everybody who closed it has opened it again: each module that stands still holds it closed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// See the module. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    inside: usize,
    /// By how many it is held closed.
    closed: usize,
    /// How often it was.
    times_closed: u64,
    /// The longest that anybody waited to get in.
    longest: Duration,
}

impl Gate {
    /// Waits until the gate is open, and goes in.
    pub(crate) fn enter(&self) -> Pass {
        let began = Instant::now();
        let mut state = self.wait(self.state(), |state| state.closed > 0);
        state.longest = state.longest.max(began.elapsed());
        state.inside += 1;
        Pass(self.clone())
    }

    /// Closes it, and waits until nobody is inside.
    pub(crate) fn close(&self) -> Closed {
        let mut state = self.state();
        state.closed += 1;
        state.times_closed += 1;
        let closed = Closed(self.clone());
        self.0.changed.notify_all();
        drop(self.wait(state, |state| state.inside > 0));
        closed
    }

    /// How often it was closed.
    pub(crate) fn times_closed(&self) -> u64 {
        self.state().times_closed
    }

    /// The longest that anybody waited to get in since this was asked last.
    pub(crate) fn longest_wait(&self) -> Duration {
        std::mem::take(&mut self.state().longest)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, while_so: impl Fn(&State) -> bool) -> MutexGuard<'a, State> {
        self.0.changed.wait_while(state, |state| while_so(state)).unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.changed.notify_all();
    }
}

/// The right to move money, until it is dropped.
pub(crate) struct Pass(Gate);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.change(|state| state.inside -= 1);
    }
}

/// Nobody moves money until this is dropped.
pub(crate) struct Closed(Gate);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.change(|state| state.closed -= 1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_closes_it_waits_for_those_inside_and_keeps_others_out() {
        let gate = Gate::default();
        let pass = gate.enter();
        let (told, hear) = channel();
        let closing = {
            let gate = gate.clone();
            std::thread::spawn(move || {
                let closed = gate.close();
                told.send("closed").unwrap();
                closed
            })
        };
        // It is closed to newcomers once it waits for the one inside.
        drop(gate.wait(gate.state(), |state| state.closed == 0));
        assert!(hear.try_recv().is_err());
        drop(pass);
        assert_eq!(hear.recv().unwrap(), "closed");
        let closed = closing.join().unwrap();
        let entering = { std::thread::spawn(move || drop(gate.enter())) };
        drop(closed);
        entering.join().unwrap();
    }
}
