//! What the doors count, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_model::ids::Timestamp;

use crate::api::{Door, TABLE};

/// Classes of statuses that are told apart: 2xx, 4xx, 5xx.
const CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// The name under which requests for unknown commands are counted: what a client makes up is no label.
const UNKNOWN: &str = "unknown";

/// What the doors count. All of it is since the server started.
#[derive(Debug)]
pub(crate) struct Gauges {
    tcp: AtomicU64,
    websocket: AtomicU64,
    http: AtomicU64,
    socket: AtomicU64,
    refused: AtomicU64,
    slow_consumers: AtomicU64,
    rate_limited: AtomicU64,
    /// By the dispatcher's list, with one more at its end for unknown commands.
    requests: Vec<[AtomicU64; CLASSES.len()]>,
    /// When the server began, in Unix seconds.
    began: u64,
}

impl Gauges {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            tcp: AtomicU64::new(0),
            websocket: AtomicU64::new(0),
            http: AtomicU64::new(0),
            socket: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            slow_consumers: AtomicU64::new(0),
            rate_limited: AtomicU64::new(0),
            requests: (0..=TABLE.len()).map(|_| Default::default()).collect(),
            began: u64::try_from(now.seconds()).unwrap_or(0),
        }
    }

    /// Connections that are open, by door. A WebSocket counts as one of HTTP too, which it came in by.
    pub(crate) fn connections(&self) -> [(Door, u64); 4] {
        [Door::Tcp, Door::WebSocket, Door::Http, Door::Socket]
            .map(|door| (door, self.open(door).load(Ordering::Relaxed)))
    }

    /// When the server began, in Unix seconds.
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// Connections that were turned away because there were as many as there may be.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that were closed because the client did not take what was sent to it.
    pub(crate) fn slow_consumers(&self) -> u64 {
        self.slow_consumers.load(Ordering::Relaxed)
    }

    /// Requests that were one too many, at a time or a second.
    pub(crate) fn rate_limited(&self) -> u64 {
        self.rate_limited.load(Ordering::Relaxed)
    }

    /// Requests that were answered: command, class of status, how many. Those that were never asked are left out.
    pub(crate) fn requests(&self) -> Vec<(&'static str, &'static str, u64)> {
        let names = TABLE.iter().map(|entry| entry.name).chain([UNKNOWN]);
        let of = |(name, counts)| {
            let counts: &[AtomicU64; CLASSES.len()] = counts;
            CLASSES.iter().zip(counts).map(move |(class, count)| (name, *class, count.load(Ordering::Relaxed)))
        };
        names.zip(&self.requests).flat_map(of).filter(|(.., count)| *count > 0).collect()
    }

    /// A request that was answered.
    pub(super) fn answered(&self, command: &str, status: u16) {
        let known = |entry: &crate::api::Entry| entry.name == command || entry.aliases.contains(&command);
        let at = TABLE.iter().position(known).unwrap_or(TABLE.len());
        let class = match status {
            ..400 => 0,
            400..500 => 1,
            500.. => 2,
        };
        if let Some(count) = self.requests.get(at).and_then(|counts| counts.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn turned_away(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn was_slow(&self) {
        self.slow_consumers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn limited(&self) {
        self.rate_limited.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn came(&self, door: Door) {
        self.open(door).fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn left(&self, door: Door) {
        self.open(door).fetch_sub(1, Ordering::AcqRel);
    }

    fn open(&self, door: Door) -> &AtomicU64 {
        match door {
            Door::Tcp => &self.tcp,
            Door::WebSocket => &self.websocket,
            Door::Http => &self.http,
            Door::Socket | Door::Handle => &self.socket,
        }
    }
}
