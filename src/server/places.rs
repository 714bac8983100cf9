//! Who takes up how many places.
//!
//! A connection that nobody knows counts twice: as one of its address, of which there are few, and as one of all strangers, who together
//! take at most half of the places. So however many they are, whoever shows a token finds one. Processes of this machine that come by the
//! Unix socket have places of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::gauges::Gauges;
use crate::api::{ApiError, Door, ErrorCode};
use crate::config::ServerLimits;

/// When it is worth another try for whom there was no place.
const COME_BACK: Duration = Duration::from_secs(1);

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
    /// Connections over TCP, HTTP and WebSocket that have shown no token, by address; none is zero.
    strangers: BTreeMap<IpAddr, usize>,
    all_strangers: usize,
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
        let address = address.to_canonical();
        let (most, most_of_all) = (limits.unauthenticated_per_address, (limits.connections / 2).max(1));
        let mut taken = self.taken();
        let from_there = taken.strangers.get(&address).copied().unwrap_or(0);
        if from_there >= most {
            return Err(self.full(format!("{most} connections from {address} have not shown a token yet: show one")));
        }
        if taken.all_strangers >= most_of_all {
            return Err(self.full(format!("{most_of_all} connections have not shown a token yet: show one")));
        }
        taken.all_strangers += 1;
        taken.strangers.insert(address, from_there + 1);
        drop(taken);
        Ok(Stranger { places: self.clone(), address })
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
        Ok(Place { places: self.clone(), door, stranger: Mutex::new(stranger) })
    }

    fn full(&self, text: String) -> ApiError {
        self.gauges.turned_away();
        ApiError::new(ErrorCode::TooManyConnections, text).retry_after(COME_BACK)
    }
}

/// Somebody nobody knows; not counted any more when it is dropped.
pub(super) struct Stranger {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all_strangers -= 1;
        if let Some(from_there) = taken.strangers.get_mut(&self.address) {
            *from_there -= 1;
            if *from_there == 0 {
                taken.strangers.remove(&self.address);
            }
        }
    }
}

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    door: Door,
    stranger: Mutex<Option<Stranger>>,
}

impl Place {
    /// Says that it is known who has it.
    pub(super) fn known(&self) {
        let stranger = self.stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(stranger);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.places.taken().of(self.door) -= 1;
        self.places.gauges.left(self.door);
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
