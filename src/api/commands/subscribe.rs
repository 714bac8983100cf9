//! `Subscribe`.

use holdfast_model::access::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Channel, Command, ErrorCode, Kind, Reach, Reply, Session, Since};

/// Sends what happens on channels, until the connection ends or `Unsubscribe`. A channel that is subscribed to already begins anew.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// Which channels.
    #[serde(alias = "chanels")]
    #[schemars(with = "Vec<Channel>", length(min = 1))]
    pub channels: Vec<String>,
    /// The `seq` of the last event that was received: what has happened since is sent first. It holds over restarts of the server, so the
    /// epoch need not be the same. Channels do not keep pace with each other, so who has several gives that of each, or as one number the
    /// least of them: with a greater one, what the slower channel had not told yet is passed over.
    #[serde(default)]
    pub since_seq: Option<Since>,
    /// The `epoch` of that event, for the record: it says nothing about whose log the position is of. One of another home is taken as if it
    /// were of this one.
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
    /// Whether everything after `since_seq` is sent. It is not where the event log of this home does not reach as far as that: the position is
    /// another home's, or of a log that was put back since. Whether one that it does reach was another home's cannot be known.
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
        if self.epoch.as_ref().is_some_and(|epoch| epoch.chars().count() > 128) {
            return Err(ApiError::field("epoch", "it has more than 128 characters"));
        }
        channels(&self.channels).map(drop)
    }

    async fn run(self, call: &Call) -> Result<Reply<Subscribed>, ApiError> {
        let channels = channels(&self.channels)?;
        let since = |channel| self.since_seq.as_ref().and_then(|since| since.of(channel));
        let from: Vec<_> = channels.iter().map(|channel| (*channel, since(*channel))).collect();
        let Some(principal) = &call.caller.principal else {
            return Err(ApiError::new(ErrorCode::Unauthenticated, "Subscribe needs a token"));
        };
        let seq = session(call)?.subscribe(principal, &from).await?;
        let recovered = from.iter().all(|(_, since)| since.is_none_or(|since| since <= seq));
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
