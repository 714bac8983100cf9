//! At which endpoints copies of runs are, a bit for each endpoint, so that an entry stays small.

use crate::event::RunEvent;
use crate::ids::EndpointName;

/// The last bit stands for all that have none of their own: endpoints beyond these, and where a run came back from, which need not be an
/// endpoint it was ever sent to. What is there once is taken to stay.
const SHARED: usize = 63;

/// The endpoints that runs were ever brought to, in the order in which they were heard of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct EndpointBits(Vec<EndpointName>);

/// What of a run's copies is there, and whether one was found altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopiesThere {
    at: u64,
    altered: bool,
}

impl CopiesThere {
    /// Whether no endpoint is known to have it.
    #[must_use]
    pub fn is_nowhere(self) -> bool {
        self.at == 0
    }

    /// Whether a copy was found altered, and none that is good came after.
    #[must_use]
    pub fn is_altered(self) -> bool {
        self.altered
    }
}

impl EndpointBits {
    pub(super) fn apply(&mut self, there: &mut CopiesThere, event: &RunEvent) {
        match event {
            RunEvent::UploadCompleted(completed) => {
                there.at |= 1 << self.number(&completed.endpoint);
                there.altered = false;
            }
            RunEvent::UploadFailed(failed) => {
                there.at &= !self.own_bit(&failed.endpoint);
                there.altered |= failed.failure.code == crate::run::COPY_ALTERED;
            }
            RunEvent::ImportCompleted(_) => there.at |= 1 << SHARED,
            RunEvent::RemoteCopyDeleted(deleted) => there.at &= !self.own_bit(&deleted.endpoint),
            RunEvent::UploadsRequested(requested) => {
                requested.endpoints.iter().for_each(|endpoint| there.at &= !self.own_bit(endpoint));
            }
            _ => {}
        }
    }

    fn number(&mut self, endpoint: &EndpointName) -> usize {
        let known = self.0.iter().position(|name| name == endpoint);
        known.unwrap_or_else(|| {
            if self.0.len() < SHARED {
                self.0.push(endpoint.clone());
                return self.0.len() - 1;
            }
            SHARED
        })
    }

    /// The bit that is this endpoint's alone; none where it has none.
    fn own_bit(&self, endpoint: &EndpointName) -> u64 {
        self.0.iter().position(|name| name == endpoint).map_or(0, |number| 1 << number)
    }
}
