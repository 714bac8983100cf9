//! Who asks, and by which door.

use std::fmt;

use holdfast_model::access::Role;
use uuid::Uuid;

/// The way a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// Lines over TCP.
    Tcp,
    /// Messages over a WebSocket.
    WebSocket,
    /// One request over HTTP.
    Http,
    /// Lines over the Unix socket under the home, from a process of the same user or of root.
    Socket,
    /// A call of the application that embeds the engine.
    Handle,
}

impl Door {
    /// Whether whoever comes through it is on this machine and known by user id.
    #[must_use]
    pub fn is_local(self) -> bool {
        matches!(self, Door::Socket | Door::Handle)
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Door::Tcp => "tcp",
            Door::WebSocket => "websocket",
            Door::Http => "http",
            Door::Socket => "socket",
            Door::Handle => "handle",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Somebody the server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Who, as the log has it: `token:NAME` or `local:uid=N`.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The token they came with; none for local ones.
    pub token_id: Option<Uuid>,
}

impl Principal {
    /// A process of this machine, known by its user id. It could read and write the home anyway: it may do all.
    #[must_use]
    pub fn local(uid: u32) -> Self {
        Self { name: format!("local:uid={uid}"), role: Role::Admin, token_id: None }
    }
}

/// Who asks for one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is; none where no token was shown.
    pub principal: Option<Principal>,
    /// How they came in.
    pub door: Door,
    /// Where from: an address, or a process.
    pub source: String,
}
