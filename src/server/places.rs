//! Who takes up how many places.
//!
//! A connection that nobody knows counts twice: as one of its address, of which there are few, and as one of all strangers, who together
//! take at most half of the places. So however many they are, whoever shows a token finds one. A door that cannot see a token as it opens
//! takes some more of an address on trial: they have a moment to show one, and the oldest of them makes room for the next. Processes of
//! this machine that come by the Unix socket have places of their own.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::gauges::Gauges;
use crate::api::{ApiError, Door, ErrorCode};
use crate::config::ServerLimits;

/// When it is worth another try for whom there was no place.
const COME_BACK: Duration = Duration::from_secs(1);
/// How long who is on trial has to show a token.
const TRIAL: Duration = Duration::from_secs(1);
/// Strangers of an address who are on trial, for each who may stay.
const ON_TRIAL: usize = 3;

/// The places of a server.
pub(super) struct Places {
    taken: Mutex<Taken>,
    gauges: Arc<Gauges>,
}

#[derive(Default)]
struct Taken {
    /// Connections over TCP and WebSocket.
    network: usize,
    /// Connections over the Unix socket.
    local: usize,
    /// Connections over TCP, HTTP and WebSocket that have shown no token, by address; none is empty.
    strangers: BTreeMap<IpAddr, FromThere>,
    all_strangers: usize,
}

/// Strangers of one address.
#[derive(Default)]
struct FromThere {
    /// Who may stay.
    stay: usize,
    /// Who is on trial and was not told to go yet, the oldest first.
    on_trial: VecDeque<Arc<Notify>>,
    /// Who was told to go and has not gone yet.
    going: usize,
}

impl FromThere {
    fn is_empty(&self) -> bool {
        self.stay == 0 && self.on_trial.is_empty() && self.going == 0
    }
}

impl Taken {
    fn of(&mut self, door: Door) -> &mut usize {
        if door.is_local() { &mut self.local } else { &mut self.network }
    }
}

impl Places {
    pub(super) fn new(gauges: Arc<Gauges>) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), gauges })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody nobody knows yet stand before the doors.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyConnections`].
    pub(super) fn stranger(self: &Arc<Self>, address: IpAddr, limits: &ServerLimits) -> Result<Stranger, ApiError> {
        self.take_in(address, limits, false)
    }

    /// Lets somebody nobody knows yet in, on trial where the places of their address are taken.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyConnections`] where those of all strangers are.
    pub(super) fn newcomer(self: &Arc<Self>, address: IpAddr, limits: &ServerLimits) -> Result<Stranger, ApiError> {
        self.take_in(address, limits, true)
    }

    fn take_in(
        self: &Arc<Self>,
        address: IpAddr,
        limits: &ServerLimits,
        may_be_on_trial: bool,
    ) -> Result<Stranger, ApiError> {
        let address = address.to_canonical();
        let (most, most_of_all) = (limits.unauthenticated_per_address, (limits.connections / 2).max(1));
        let mut taken = self.taken();
        if taken.all_strangers >= most_of_all {
            return Err(self.full(format!("{most_of_all} connections have not shown a token yet: show one")));
        }
        let from_there = taken.strangers.entry(address).or_default();
        let is_full = from_there.stay >= most;
        if is_full && !may_be_on_trial {
            return Err(self.full(shown_none(most, address)));
        }
        let trial = is_full.then(|| {
            if from_there.on_trial.len() >= most.saturating_mul(ON_TRIAL)
                && let Some(oldest) = from_there.on_trial.pop_front()
            {
                from_there.going += 1;
                oldest.notify_one();
            }
            let trial = Arc::new(Notify::new());
            from_there.on_trial.push_back(trial.clone());
            trial
        });
        if trial.is_none() {
            from_there.stay += 1;
        }
        taken.all_strangers += 1;
        drop(taken);
        Ok(Stranger { places: self.clone(), address, most, trial })
    }

    /// A place for a connection that stays.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyConnections`].
    pub(super) fn admit(
        self: &Arc<Self>,
        door: Door,
        stranger: Option<Stranger>,
        limits: &ServerLimits,
    ) -> Result<Place, ApiError> {
        let mut taken = self.taken();
        let of_door = taken.of(door);
        if *of_door >= limits.connections {
            drop(taken);
            return Err(self.full(format!("there are {} connections, and no more may be", limits.connections)));
        }
        *of_door += 1;
        drop(taken);
        self.gauges.came(door);
        Ok(Place { places: self.clone(), door, stranger: Mutex::new(stranger), is_free: AtomicBool::new(false) })
    }

    fn full(&self, text: String) -> ApiError {
        self.gauges.turned_away();
        no_place(text)
    }
}

fn no_place(text: String) -> ApiError {
    ApiError::new(ErrorCode::TooManyConnections, text).retry_after(COME_BACK)
}

fn shown_none(most: usize, address: IpAddr) -> String {
    format!("{most} connections from {address} have not shown a token yet: show one")
}

/// Somebody nobody knows; not counted any more when it is dropped.
pub(super) struct Stranger {
    places: Arc<Places>,
    address: IpAddr,
    most: usize,
    trial: Option<Arc<Notify>>,
}

/// The moment that somebody on trial has.
pub(super) struct Trial {
    ends: Arc<Notify>,
    why: String,
}

impl Stranger {
    /// Their trial, where they are on trial.
    pub(super) fn trial(&self) -> Option<Trial> {
        self.trial.clone().map(|ends| Trial { ends, why: shown_none(self.most, self.address) })
    }
}

impl Trial {
    /// Waits until it is over. What is said then to who has not shown a token.
    pub(super) async fn over(self) -> ApiError {
        let _ = timeout(TRIAL, self.ends.notified()).await;
        no_place(self.why)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all_strangers -= 1;
        let Some(from_there) = taken.strangers.get_mut(&self.address) else { return };
        match &self.trial {
            None => from_there.stay -= 1,
            Some(trial) => match from_there.on_trial.iter().position(|other| Arc::ptr_eq(other, trial)) {
                Some(at) => drop(from_there.on_trial.remove(at)),
                None => from_there.going -= 1,
            },
        }
        if from_there.is_empty() {
            taken.strangers.remove(&self.address);
        }
    }
}

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    door: Door,
    stranger: Mutex<Option<Stranger>>,
    is_free: AtomicBool,
}

impl Place {
    /// Says that it is known who has it.
    pub(super) fn known(&self) {
        let stranger = self.stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(stranger);
    }

    /// Frees it for another: what is left to do is to tell a stranger why they have to go, who is counted as one meanwhile.
    pub(super) fn free(&self) {
        if !self.is_free.swap(true, Ordering::Relaxed) {
            *self.places.taken().of(self.door) -= 1;
            self.places.gauges.left(self.door);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use holdfast_model::ids::Timestamp;

    use super::*;

    fn of_four() -> (Arc<Places>, ServerLimits) {
        let gauges = Arc::new(Gauges::new(Timestamp::default()));
        let limits = ServerLimits { connections: 4, unauthenticated_per_address: 2, ..ServerLimits::default() };
        (Places::new(gauges), limits)
    }

    #[test]
    fn strangers_take_few_places_of_an_address_and_half_of_all() {
        let (places, limits) = of_four();
        let from = |last: u8| places.stranger(IpAddr::from([10, 0, 0, last]), &limits);
        let first = from(1).expect("a place");
        assert!(from(2).is_ok_and(|stranger| {
            // Both places of strangers are taken now, whoever comes.
            assert!(from(3).is_err());
            drop(stranger);
            true
        }));
        let second = from(1).expect("a place");
        drop(first);
        let mapped = "::ffff:10.0.0.1".parse().expect("an address");
        let third = places.stranger(mapped, &limits).expect("a place");
        assert!(from(1).is_err(), "however the address is written");
        drop((second, third));
        assert!(places.taken().strangers.is_empty());
        assert_eq!(places.taken().all_strangers, 0);
    }

    #[tokio::test]
    async fn who_is_on_trial_has_a_moment_and_the_oldest_makes_room() {
        let gauges = Arc::new(Gauges::new(Timestamp::default()));
        let limits = ServerLimits { connections: 100, unauthenticated_per_address: 1, ..ServerLimits::default() };
        let places = Places::new(gauges);
        let address = IpAddr::from([10, 0, 0, 1]);
        let stays = places.newcomer(address, &limits).expect("a place");
        assert!(stays.trial().is_none() && places.stranger(address, &limits).is_err());
        let mut on_trial: VecDeque<_> =
            (0..ON_TRIAL).map(|_| places.newcomer(address, &limits).expect("a moment")).collect();
        let first = on_trial.front().and_then(Stranger::trial).expect("a trial");
        let next = places.newcomer(address, &limits).expect("a moment");
        let began = tokio::time::Instant::now();
        assert_eq!(first.over().await.code, ErrorCode::TooManyConnections);
        assert!(began.elapsed() < TRIAL, "it makes room at once");
        on_trial.push_back(next);
        // Whoever goes is not counted, whichever way it went.
        drop((on_trial, stays));
        assert!(places.taken().strangers.is_empty());
        assert_eq!(places.taken().all_strangers, 0);
    }

    #[test]
    fn who_is_known_has_the_other_half() {
        let (places, limits) = of_four();
        let held: Vec<_> = (1..=2)
            .map(|last| {
                let stranger = places.stranger(IpAddr::from([10, 0, 0, last]), &limits).expect("a place");
                places.admit(Door::Tcp, Some(stranger), &limits).expect("a place")
            })
            .collect();
        let known = places.admit(Door::WebSocket, None, &limits).expect("a place");
        held.iter().for_each(Place::known);
        assert_eq!(places.taken().all_strangers, 0, "they have shown who they are");
        let last = places.admit(Door::Tcp, None, &limits).expect("a place");
        assert!(places.admit(Door::Tcp, None, &limits).is_err());
        assert!(places.admit(Door::Socket, None, &limits).is_ok(), "this machine's have their own");
        drop((held, known, last));
        assert_eq!(places.taken().network, 0);
    }
}
