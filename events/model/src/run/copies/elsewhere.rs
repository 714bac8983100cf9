//! A run whose directory is not here because endpoints have it.

use std::fmt;

use super::{CopyStatus, RunCopy};
use crate::ids::{EndpointName, RunId};
use crate::run::{Places, Run};

/// Where a run is that is not here, as people are told it: with the command that brings it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The run.
    pub run_id: RunId,
    /// The endpoints known to have it: none where all its copies were found altered, or were deleted.
    pub endpoints: Vec<EndpointName>,
}

impl Elsewhere {
    /// One that it can be brought back from.
    #[must_use]
    pub fn first(&self) -> Option<&EndpointName> {
        self.endpoints.first()
    }

    /// The endpoints as a text.
    #[must_use]
    pub fn names(&self) -> String {
        self.endpoints.iter().map(EndpointName::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run_id = self.run_id;
        let at = self.names();
        match self.first() {
            Some(first) => write!(
                text,
                "run {run_id} is not here but at {at}: `holdfast remote import {first} {run_id}` brings it back"
            ),
            None => write!(
                text,
                "run {run_id} is not here, and no endpoint is known to have it any more: `holdfast show {run_id}` says what became of its \
                 copies"
            ),
        }
    }
}

impl Run {
    /// Where it is, where its directory was taken away because endpoints have it.
    #[must_use]
    pub fn elsewhere(&self) -> Option<Elsewhere> {
        self.at(|copy| copy.status == CopyStatus::Uploaded)
    }

    /// The same, of the copies that are where they were brought.
    #[must_use]
    pub fn elsewhere_at(&self, places: &Places) -> Option<Elsewhere> {
        self.at(|copy| places.hold(copy))
    }

    fn at(&self, there: impl Fn(&RunCopy) -> bool) -> Option<Elsewhere> {
        let run_id = self.id().filter(|_| self.kept_remotely)?;
        let mut endpoints: Vec<_> =
            self.copies.iter().filter(|copy| there(copy)).map(|copy| copy.endpoint.clone()).collect();
        // One that came from an endpoint is there.
        let came_from = self.imported.as_ref().map(|from| from.endpoint.clone());
        endpoints.extend(came_from.filter(|from| self.copy_at(from).is_none()));
        Some(Elsewhere { run_id, endpoints })
    }
}
