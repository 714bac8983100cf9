//! Who takes up how many places.
//!
//! A connection that nobody knows counts twice: as one of its address, of which there are few, and as one of all strangers, who together
//! take at most half of the places. So however many they are, whoever shows a token finds one. A door that cannot see a token as it opens
//! takes some more of an address on trial: they have a moment to show one, and the oldest of them makes room for the next, also for one
//! from another address. Who is told to go is not counted any more. Processes of this machine that come by the Unix socket have places of
//! their own.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
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
/// Clients without a place that are told so at a time; the others are just closed.
const TOLD: usize = 16;

/// The places of a server.
pub(super) struct Places {
    taken: Mutex<Taken>,
    telling: Arc<Semaphore>,
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
    /// Who is on trial, the oldest first.
    on_trial: VecDeque<Arc<Notify>>,
}

impl FromThere {
    fn is_empty(&self) -> bool {
        self.stay == 0 && self.on_trial.is_empty()
    }
}

impl Taken {
    fn of(&mut self, door: Door) -> &mut usize {
        if door.is_local() { &mut self.local } else { &mut self.network }
    }

    /// Tells the oldest on trial of an address to go. Whether there was one.
    fn send_away(&mut self, address: IpAddr) -> bool {
        let Some(from_there) = self.strangers.get_mut(&address) else { return false };
        let Some(oldest) = from_there.on_trial.pop_front() else { return false };
        oldest.notify_one();
        self.all_strangers -= 1;
        if from_there.is_empty() {
            self.strangers.remove(&address);
        }
        true
    }

    /// The address that has the most on trial.
    fn most_on_trial(&self) -> Option<IpAddr> {
        let most = self.strangers.iter().max_by_key(|(_, from_there)| from_there.on_trial.len());
        most.map(|(address, _)| *address)
    }
}

impl Places {
    pub(super) fn new(gauges: Arc<Gauges>) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), telling: Arc::new(Semaphore::new(TOLD)), gauges })
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
        let stay = taken.strangers.get(&address).map_or(0, |from_there| from_there.stay);
        let is_on_trial = stay >= most;
        if is_on_trial && !may_be_on_trial {
            return Err(self.full(shown_none(most, address)));
        }
        let on_trial = taken.strangers.get(&address).map_or(0, |from_there| from_there.on_trial.len());
        if is_on_trial && on_trial >= most.saturating_mul(ON_TRIAL) {
            taken.send_away(address);
        }
        if taken.all_strangers >= most_of_all && !taken.most_on_trial().is_some_and(|other| taken.send_away(other)) {
            return Err(self.full(format!("{most_of_all} connections have not shown a token yet: show one")));
        }
        taken.all_strangers += 1;
        let from_there = taken.strangers.entry(address).or_default();
        let trial = is_on_trial.then(|| {
            let trial = Arc::new(Notify::new());
            from_there.on_trial.push_back(trial.clone());
            trial
        });
        from_there.stay += usize::from(!is_on_trial);
        drop(taken);
        Ok(Stranger { places: self.clone(), address, most, trial })
    }

    /// A place for a connection that stays. Who is on trial has none before they have shown who they are.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyConnections`].
    pub(super) fn admit(
        self: &Arc<Self>,
        door: Door,
        stranger: Option<Stranger>,
        limits: &ServerLimits,
    ) -> Result<Place, ApiError> {
        let most = limits.connections;
        let is_on_trial = stranger.as_ref().is_some_and(|stranger| stranger.trial.is_some());
        let stranger = Mutex::new(stranger);
        let place = Place { places: self.clone(), door, most, stranger, is_taken: AtomicBool::new(false) };
        if !is_on_trial {
            place.take()?;
        }
        Ok(place)
    }

    /// The right to tell somebody at length why they have to go; none where many are being told.
    pub(super) fn tell(&self) -> Option<OwnedSemaphorePermit> {
        self.telling.clone().try_acquire_owned().ok()
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
        let Some(from_there) = taken.strangers.get_mut(&self.address) else { return };
        match &self.trial {
            None => from_there.stay -= 1,
            Some(trial) => match from_there.on_trial.iter().position(|other| Arc::ptr_eq(other, trial)) {
                Some(at) => drop(from_there.on_trial.remove(at)),
                // They were told to go, and are not counted.
                None => return,
            },
        }
        if from_there.is_empty() {
            taken.strangers.remove(&self.address);
        }
        taken.all_strangers -= 1;
    }
}

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    door: Door,
    most: usize,
    stranger: Mutex<Option<Stranger>>,
    is_taken: AtomicBool,
}

impl Place {
    fn take(&self) -> Result<(), ApiError> {
        let mut taken = self.places.taken();
        let of_door = taken.of(self.door);
        if *of_door >= self.most {
            drop(taken);
            return Err(self.places.full(format!("there are {} connections, and no more may be", self.most)));
        }
        *of_door += 1;
        self.is_taken.store(true, Ordering::Release);
        drop(taken);
        self.places.gauges.came(self.door);
        Ok(())
    }

    /// Says that it is known who has it.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyConnections`] for somebody who was on trial.
    pub(super) fn known(&self) -> Result<(), ApiError> {
        let mut stranger = self.stranger.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_taken.load(Ordering::Acquire) {
            self.take()?;
        }
        drop(stranger.take());
        Ok(())
    }

    /// Frees it for another: what is left to do is to tell why they have to go.
    pub(super) fn free(&self) {
        drop(self.stranger.lock().unwrap_or_else(PoisonError::into_inner).take());
        if self.is_taken.swap(false, Ordering::AcqRel) {
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
    fn strangers_of_one_address_make_room_for_one_of_another() {
        let gauges = Arc::new(Gauges::new(Timestamp::default()));
        let limits = ServerLimits { connections: 12, unauthenticated_per_address: 2, ..ServerLimits::default() };
        let places = Places::new(gauges);
        let from = |last: u8| places.newcomer(IpAddr::from([10, 0, 0, last]), &limits);
        let crowd: Vec<_> = (0..50).map(|_| from(1).expect("a moment")).collect();
        assert_eq!(places.taken().all_strangers, 6);
        let others: Vec<_> = (2..6).map(|last| from(last).expect("a place")).collect();
        assert!(others.iter().all(|other| other.trial().is_none()), "they may stay");
        assert_eq!(places.taken().all_strangers, 6);
        assert!(from(6).is_err(), "those who may stay are not sent away");
        // Whoever is on trial has no place before they are known, and then one of those for connections.
        let on_trial = from(1);
        assert!(on_trial.is_err());
        drop(others);
        let on_trial = places.admit(Door::Tcp, from(1).ok(), &limits).expect("a moment");
        assert_eq!(places.taken().network, 0);
        assert!(on_trial.known().is_ok());
        assert_eq!(places.taken().network, 1);
        drop((crowd, on_trial));
        assert_eq!(places.taken().network, 0);
        assert_eq!(places.taken().all_strangers, 0);
        assert!(places.taken().strangers.is_empty());
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
        assert!(held.iter().all(|place| place.known().is_ok()));
        assert_eq!(places.taken().all_strangers, 0, "they have shown who they are");
        let last = places.admit(Door::Tcp, None, &limits).expect("a place");
        assert!(places.admit(Door::Tcp, None, &limits).is_err());
        assert!(places.admit(Door::Socket, None, &limits).is_ok(), "this machine's have their own");
        drop((held, known, last));
        assert_eq!(places.taken().network, 0);
    }
}
