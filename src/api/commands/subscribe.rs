//! `Subscribe`.

use holdfast_model::access::Role;
use holdfast_model::ids::Position;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Channel, Command, ErrorCode, Kind, Reach, Reply, Session};

/// Sends what happens on channels, until the connection ends or `Unsubscribe`. A channel that is subscribed to already begins anew.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// Which channels.
    #[serde(alias = "chanels")]
    #[schemars(with = "Vec<Channel>", length(min = 1))]
    pub channels: Vec<String>,
    /// The `seq` of the last event that was received: what has happened since is sent first. It holds over restarts of the server, so the
    /// epoch need not be the same.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_223_372_036_854_775_807_u64))]
    pub since_seq: Option<u64>,
    /// The `epoch` of that event, for the record.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub epoch: Option<String>,
}

/// What is sent from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscribed {
    /// The channels.
    pub channels: Vec<Channel>,
    /// The position the event log has reached.
    pub seq: u64,
    /// Names this stay of the server's process.
    pub epoch: String,
    /// Whether everything after `since_seq` is sent. It is not where the event log does not reach as far as that.
    pub recovered: bool,
}

impl Command for Subscribe {
    const NAME: &'static str = "Subscribe";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    const REACH: Reach = Reach::Connections;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::UnknownChannel, ErrorCode::LimitReached];
    type Answer = Subscribed;

    fn check(&self) -> Result<(), ApiError> {
        if self.since_seq.is_some_and(|seq| i64::try_from(seq).is_err()) {
            return Err(ApiError::field("since_seq", "there is no such position"));
        }
        if self.epoch.as_ref().is_some_and(|epoch| epoch.chars().count() > 128) {
            return Err(ApiError::field("epoch", "it has more than 128 characters"));
        }
        channels(&self.channels).map(drop)
    }

    async fn run(self, call: &Call) -> Result<Reply<Subscribed>, ApiError> {
        let channels = channels(&self.channels)?;
        let since = self.since_seq.map(Position);
        let Some(principal) = &call.caller.principal else {
            return Err(ApiError::new(ErrorCode::Unauthenticated, "Subscribe needs a token"));
        };
        let seq = session(call)?.subscribe(principal, &channels, since).await?;
        let recovered = since.is_none_or(|since| since <= seq);
        let epoch = call.desk.epoch().to_owned();
        Ok(Subscribed { channels, seq: seq.0, epoch, recovered }.into())
    }
}

/// The channels of these names, each once.
pub(super) fn channels(names: &[String]) -> Result<Vec<Channel>, ApiError> {
    if names.is_empty() {
        return Err(ApiError::field("channels", "name at least one"));
    }
    let mut channels = Vec::new();
    for name in names {
        let Ok(channel) = name.parse() else {
            let known = Channel::ALL.map(Channel::as_str).join(", ");
            let name = holdfast_model::failure::cut(name, 64);
            let text = format!("there is no channel {name:?}: there are {known}");
            return Err(
                ApiError::new(ErrorCode::UnknownChannel, text).with_detail(serde_json::json!({ "channel": name }))
            );
        };
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

/// The connection the request came by.
pub(super) fn session(call: &Call) -> Result<&dyn Session, ApiError> {
    call.session.as_deref().ok_or_else(|| {
        ApiError::new(ErrorCode::ConnectionRequired, "it needs a connection that stays: TCP or WebSocket")
    })
}
