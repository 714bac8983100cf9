//! What keeps work from being begun, and its end. It is listened for: to ask again and again would put each refusal on record.

use std::fmt;
use std::time::Duration;

use holdfast_model::ids::{RestoreId, RunId};
use holdfast_model::progress::Progress;
use holdfast_model::restore::{RestoreStatus, RestoreView};
use tokio::time::timeout;

use super::door::Door;
use crate::api::commands::{GetBackupRun, GetRestoreRun};
use crate::api::envelope::EventType;
use crate::api::{Channel, ErrorCode};
use crate::client::{ClientError, Events, Heard, Notice};

/// Where ends are told.
const CHANNELS: [Channel; 2] = [Channel::BackupProgress, Channel::RestoreProgress];
/// How often it is looked whether it has ended, where nothing is heard of it: its end may have come before it was listened for.
const LOOK: Duration = Duration::from_secs(2);

/// A run, or a restore in place, that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InTheWay {
    Run(RunId),
    Restore(RestoreId),
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run_id) => write!(f, "run {run_id}"),
            Self::Restore(restore_id) => write!(f, "restore {restore_id}"),
        }
    }
}

impl InTheWay {
    /// What is in the way, where that is why something was refused.
    pub(super) fn of(error: &ClientError) -> Option<Self> {
        let ClientError::Refused(error) = error else { return None };
        let detail = error.detail.as_ref()?;
        match error.code {
            ErrorCode::BackupAlreadyRunning => detail["active_run_id"].as_str()?.parse().ok().map(Self::Run),
            ErrorCode::RestoreAlreadyRunning => detail["active_restore_id"].as_str()?.parse().ok().map(Self::Restore),
            _ => None,
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(self, door: &Door) -> Result<(), ClientError> {
        self.followed(door, &mut |_| {}).await
    }

    /// The same, and tells of a restore how far it is.
    pub(super) async fn followed(self, door: &Door, tell: &mut dyn FnMut(&RestoreView)) -> Result<(), ClientError> {
        let mut events = door.client().events();
        door.client().subscribe(&CHANNELS, None).await?;
        while !self.has_ended(door).await? {
            self.heard(door, &mut events, tell).await?;
        }
        Ok(())
    }

    async fn has_ended(self, door: &Door) -> Result<bool, ClientError> {
        Ok(match self {
            Self::Run(run_id) => door.client().ask(&GetBackupRun { run_id }).await?.finished_at != 0,
            Self::Restore(restore_id) => {
                door.client().ask(&GetRestoreRun { restore_id }).await?.status != RestoreStatus::Running
            }
        })
    }

    /// Listens until its end is told, or nothing for a while.
    async fn heard(
        self,
        door: &Door,
        events: &mut Events,
        tell: &mut dyn FnMut(&RestoreView),
    ) -> Result<(), ClientError> {
        loop {
            match timeout(LOOK, events.next()).await {
                Ok(Ok(Heard::Notice(notice))) if self.is_end(&notice)? => return Ok(()),
                Ok(Ok(Heard::Notice(notice))) => self.update(&notice)?.iter().for_each(&mut *tell),
                Ok(Ok(Heard::Missed)) => return door.client().subscribe(&CHANNELS, None).await,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(()),
            }
        }
    }

    /// How far a restore is, where that is what was heard.
    fn update(self, notice: &Notice) -> Result<Option<RestoreView>, ClientError> {
        let (Self::Restore(restore_id), Channel::RestoreProgress) = (self, notice.channel) else { return Ok(None) };
        let view = notice.read::<RestoreView>()?;
        Ok(Some(view).filter(|view| view.restore_id == restore_id.to_string()))
    }

    fn is_end(self, notice: &Notice) -> Result<bool, ClientError> {
        Ok(match (self, notice.channel, notice.event_type) {
            (Self::Run(run_id), Channel::BackupProgress, EventType::Final) => {
                notice.read::<Progress>()?.run_id == run_id.to_string()
            }
            (Self::Restore(restore_id), Channel::RestoreProgress, EventType::Final) => {
                notice.read::<RestoreView>()?.restore_id == restore_id.to_string()
            }
            _ => false,
        })
    }
}
