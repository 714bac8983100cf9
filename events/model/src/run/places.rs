//! Where endpoints are, and which copies of runs are where they were brought.
//!
//! An endpoint is known by its name, and its address may change: a copy is counted only where the endpoint of its name is still the place
//! that it was brought to. Addresses are compared as whoever speaks to far sides writes them, the same place always in the same way.

use std::collections::BTreeMap;

use super::{CopyStatus, RunCopy};
use crate::ids::{EndpointName, Timestamp};

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its address, without what only says how it is spoken to.
    pub address: String,
    /// Since when it has been there.
    pub since: Timestamp,
}

/// Where every endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places(BTreeMap<EndpointName, Place>);

impl Places {
    /// Notes that an endpoint has this address from an instant on; one that stays is there as long as before.
    pub fn note(&mut self, endpoint: EndpointName, address: String, since: Timestamp) {
        let stays = self.0.get(&endpoint).is_some_and(|place| place.address == address);
        if !stays {
            self.0.insert(endpoint, Place { address, since });
        }
    }

    /// The endpoint is nowhere.
    pub fn forget(&mut self, endpoint: &EndpointName) {
        self.0.remove(endpoint);
    }

    /// Where an endpoint is.
    #[must_use]
    pub fn of(&self, endpoint: &EndpointName) -> Option<&Place> {
        self.0.get(endpoint)
    }

    /// The endpoints that are the same place as this one, and itself: a copy there is one copy, by whatever name.
    #[must_use]
    pub fn beside(&self, endpoint: &EndpointName) -> Vec<EndpointName> {
        let here = self.of(endpoint).map(|place| &place.address);
        let same = self.0.iter().filter(|(_, place)| Some(&place.address) == here).map(|(name, _)| name);
        let others = same.filter(|name| *name != endpoint);
        std::iter::once(endpoint).chain(others).cloned().collect()
    }

    /// Whether a copy is there, as far as is known: it came there whole, nobody had it deleted, and its endpoint is the place it was brought
    /// to. Of copies that do not say where that was it is enough that the endpoint has been where it is since before they came.
    #[must_use]
    pub fn hold(&self, copy: &RunCopy) -> bool {
        let Some(now) = self.of(&copy.endpoint).filter(|_| copy.status == CopyStatus::Uploaded) else { return false };
        match &copy.address {
            Some(address) => *address == now.address,
            None => copy.finished_at.is_some_and(|came| now.since <= came),
        }
    }

    /// Why a copy that came to its place does not count any more; `None` for all others.
    #[must_use]
    pub fn doubt(&self, copy: &RunCopy) -> Option<String> {
        if copy.status != CopyStatus::Uploaded || self.hold(copy) {
            return None;
        }
        let (name, lies) = (&copy.endpoint, copy.address.as_deref().unwrap_or("where the endpoint was then"));
        Some(match self.of(name) {
            Some(now) => format!(
                "endpoint {name} is {} now, and this copy lies at {lies}: add an endpoint of that address to reach it, or copy the run again",
                now.address
            ),
            None => format!(
                "there is no endpoint {name} any more, and this copy lies at {lies}: add an endpoint of that address to reach it"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> EndpointName {
        "nas".parse().expect("a name")
    }

    fn came(address: Option<&str>) -> RunCopy {
        let mut copy = RunCopy::wanted(name());
        copy.status = CopyStatus::Uploaded;
        copy.finished_at = Some(Timestamp(50));
        copy.address = address.map(str::to_owned);
        copy
    }

    fn at(address: &str, since: i64) -> Places {
        let mut places = Places::default();
        places.note(name(), address.into(), Timestamp(since));
        places
    }

    #[test]
    fn a_copy_counts_where_its_endpoint_is_the_place_it_came_to() {
        let copy = came(Some("file:///a"));
        assert!(at("file:///a", 10).hold(&copy) && at("file:///a", 90).hold(&copy));
        assert!(!at("file:///b", 10).hold(&copy) && !Places::default().hold(&copy));
        let failed = RunCopy { status: CopyStatus::Failed, ..copy.clone() };
        assert!(!at("file:///a", 10).hold(&failed) && at("file:///b", 10).doubt(&failed).is_none());
        assert!(at("file:///b", 10).doubt(&copy).expect("a doubt").contains("file:///a"));
        assert!(Places::default().doubt(&copy).expect("a doubt").contains("no endpoint nas"));
    }

    #[test]
    fn one_that_does_not_say_where_it_came_to_counts_while_its_endpoint_stays_as_it_was() {
        assert!(at("file:///a", 10).hold(&came(None)) && !at("file:///a", 90).hold(&came(None)));
        let mut moved = at("file:///a", 10);
        moved.note(name(), "file:///a".into(), Timestamp(70));
        assert!(moved.hold(&came(None)), "it was changed otherwise");
        moved.forget(&name());
        moved.note(name(), "file:///a".into(), Timestamp(80));
        assert!(!moved.hold(&came(None)), "it may have been another place meanwhile");
    }
}
