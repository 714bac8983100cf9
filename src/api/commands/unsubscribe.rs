//! `Unsubscribe`.

use holdfast_model::access::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::subscribe::{Subscribed, channels, session};
use crate::api::{ApiError, Call, Channel, Command, ErrorCode, Kind, Reach, Reply};

/// Sends no more of what happens on channels: of all of them where none is named. Answers with those that are left.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Unsubscribe {
    /// Which channels.
    #[serde(default, alias = "chanels")]
    #[schemars(with = "Option<Vec<Channel>>", length(min = 1))]
    pub channels: Option<Vec<String>>,
}

impl Command for Unsubscribe {
    const NAME: &'static str = "Unsubscribe";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    const REACH: Reach = Reach::Connections;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::UnknownChannel];
    type Answer = Subscribed;

    fn check(&self) -> Result<(), ApiError> {
        self.channels.as_deref().map_or(Ok(()), |names| channels(names).map(drop))
    }

    async fn run(self, call: &Call) -> Result<Reply<Subscribed>, ApiError> {
        let ended = self.channels.as_deref().map_or_else(|| Ok(Vec::new()), channels)?;
        let channels = session(call)?.unsubscribe(&ended);
        let (seq, epoch) = (call.engine.head().0, call.desk.epoch().to_owned());
        Ok(Subscribed { channels, seq, epoch, recovered: true }.into())
    }
}
