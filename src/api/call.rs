//! One request on its way: who asks, for what, and what it may use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use holdfast_model::audit::CommandOutcome;
use uuid::Uuid;

use super::caller::Caller;
use super::command::Entry;
use super::desk::Desk;
use super::error::ApiError;
use super::record;
use super::session::Session;
use crate::engine::Holdfast;

/// What a command is given to do its work.
pub struct Call {
    /// The engine, acting for the caller.
    pub engine: Holdfast,
    /// Who asks.
    pub caller: Caller,
    /// The command as the log knows it: all that follows from it carries this id.
    pub correlation_id: Uuid,
    /// What the commands of one engine share.
    pub desk: Arc<Desk>,
    /// The connection it came by, where that stays.
    pub session: Option<Arc<dyn Session>>,
    pub(super) entry: &'static Entry,
    pub(super) recorded: AtomicBool,
    pub(super) fields: Vec<(&'static str, String)>,
    /// What has come to be known by the time the command was granted.
    pub(super) begun: OnceLock<Vec<(&'static str, String)>>,
}

impl Call {
    /// Records that the command was granted, before what it began has ended: for commands that wait for long. `fields` is what has
    /// come to be known, for example the run's id.
    ///
    /// # Errors
    /// Where nothing can be recorded.
    pub async fn accepted(&self, fields: &[(&'static str, String)]) -> Result<(), ApiError> {
        if self.recorded.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let _ = self.begun.set(fields.to_vec());
        let fields: Vec<_> = self.fields.iter().chain(fields).cloned().collect();
        record::command(self, CommandOutcome::Accepted, "", &fields).await
    }
}
