//! What happened, until somebody looks at it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Raw;
use super::connection::Connection;
use super::error::ClientError;
use crate::api::Channel;
use crate::api::envelope::EventType;

/// Events that are kept until they are looked at. A run has some hundreds.
const KEPT: usize = 4096;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Where.
    pub channel: Channel,
    /// Whether more of the same follows.
    pub event_type: EventType,
    /// The position in the event log that it is up to.
    pub seq: u64,
    /// What it is.
    pub data: Raw,
}

impl Notice {
    /// Reads what it is.
    ///
    /// # Errors
    /// [`ClientError::Unreadable`].
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, ClientError> {
        super::error::read(&self.data)
    }
}

/// What there is to hear.
#[derive(Debug, Clone)]
pub enum Heard {
    /// Something happened.
    Notice(Notice),
    /// More happened than was kept: subscribe again, from after the last that was heard.
    Missed,
}

/// What happens on the channels of a [`Client`](super::Client).
pub struct Events {
    connection: Arc<Connection>,
}

impl Events {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    /// The next one. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Why there is no more: the connection is over, and all that came is heard.
    pub async fn next(&mut self) -> Result<Heard, ClientError> {
        self.connection.hear().await
    }
}

/// What is kept until it is looked at.
#[derive(Default)]
pub(super) struct Kept {
    notices: VecDeque<Notice>,
    missed: bool,
}

impl Kept {
    /// Keeps one more. Of what only says how far something is, the latest is enough.
    pub(super) fn put(&mut self, notice: Notice) {
        let merges = |channel| matches!(channel, Channel::BackupProgress | Channel::RestoreProgress);
        if merges(notice.channel) && notice.event_type == EventType::Update {
            let later_final = |one: &Notice| one.channel == notice.channel && one.event_type == EventType::Final;
            let from = self.notices.iter().rposition(later_final).map_or(0, |at| at + 1);
            let older = self.notices.iter().skip(from).position(|one| one.channel == notice.channel);
            if let Some(at) = older {
                self.notices.remove(from + at);
            }
        }
        if self.notices.len() < KEPT {
            // After a gap nothing counts until it is asked for again.
            if !self.missed {
                self.notices.push_back(notice);
            }
        } else {
            self.missed = true;
        }
    }

    pub(super) fn take(&mut self) -> Option<Heard> {
        match self.notices.pop_front() {
            Some(notice) => Some(Heard::Notice(notice)),
            None => std::mem::take(&mut self.missed).then_some(Heard::Missed),
        }
    }
}
