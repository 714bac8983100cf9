//! Holdfast's actors: runs and participants as event-sourced mailboxes, the queue, and the root that starts them.
//!
//! One thread runs all of them. A message is small and its handler never blocks: the work is done behind [ports], on
//! other threads, and its answer comes back as a message. An actor waits for one thing only, the log: what it decided is
//! durable before it is folded, answered or acted on.
//!
//! ```text
//! Root ──► Queue ──► RunActor ──► ParticipantActor
//!             ▲          │  ▲            │
//!             └──ended───┘  └──report────┘
//!   │                    └──offer──► EndpointActor ──► Uploads (port)
//!   └────► RestoreActor ──► Restores (port), a step at a time
//! ```

pub mod endpoint;
pub mod event_sourced;
pub mod participant;
pub mod ports;
pub mod queue;
pub mod record;
pub mod report;
pub mod restore;
pub mod restores;
pub mod root;
pub mod run;
mod told;
pub mod uploads;
