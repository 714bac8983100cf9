//! `[server.limits]`: what a client may ask of the server at most. Each limit has bounds, so that none can be set to
//! where the server no longer serves, or no longer protects itself.

use std::num::NonZeroU32;
use std::time::Duration;

use super::section::Section;
use super::values;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// `[server.limits]`: what a client may ask of the server at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Largest message of a client that is not known yet, in bytes. No larger than `message`.
    pub message_before_auth: usize,
    /// Largest message of a client, in bytes.
    pub message: usize,
    /// Largest answer, in bytes.
    pub answer: usize,
    /// Rows of a page where the client does not say how many. No more than `page_max`.
    pub page: usize,
    /// Most rows of a page.
    pub page_max: usize,
    /// How long a WebSocket may stay without authenticating or asking.
    pub ws_idle: Duration,
    /// Time between two pings of a WebSocket.
    pub ws_ping: Duration,
    /// How long a WebSocket has to answer a ping.
    pub ws_pong: Duration,
    /// How long a TCP client that is not known may stay silent.
    pub tcp_idle: Duration,
    /// Connections of clients that are not known, per source address, by all doors together.
    pub unauthenticated_per_address: usize,
    /// Bytes that wait for a client to read them.
    pub outbox_bytes: usize,
    /// Messages that wait for a client to read them.
    pub outbox_messages: usize,
    /// How long a client may stay behind before it is closed.
    pub slow_consumer: Duration,
    /// Connections at a time. Clients that are not known have half of them at most.
    pub connections: usize,
    /// Requests of a connection that wait for their answers.
    pub in_flight: usize,
    /// Channels a connection is subscribed to.
    pub channels: usize,
    /// Requests of a connection in a second, over time.
    pub requests_per_second: NonZeroU32,
    /// Requests of a connection at once.
    pub burst: NonZeroU32,
    /// Wrong tokens of a source address in a minute.
    pub guesses_per_minute: NonZeroU32,
    /// Progress events of a run in a second.
    pub progress_per_second: NonZeroU32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            message_before_auth: 64 * KIB,
            message: MIB,
            answer: 10 * MIB,
            page: 100,
            page_max: 1000,
            ws_idle: 10 * SECOND,
            ws_ping: 25 * SECOND,
            ws_pong: 10 * SECOND,
            tcp_idle: 10 * MINUTE,
            unauthenticated_per_address: 8,
            outbox_bytes: MIB,
            outbox_messages: 1024,
            slow_consumer: 10 * SECOND,
            connections: 100,
            in_flight: 32,
            channels: 64,
            requests_per_second: at_least_one(50),
            burst: at_least_one(100),
            guesses_per_minute: at_least_one(10),
            progress_per_second: at_least_one(4),
        }
    }
}

/// A rate; none is zero, which would be a limit that nothing passes.
const fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(number.saturating_sub(1))
}

impl ServerLimits {
    pub(crate) const KEYS: [&str; 20] = [
        "message_before_auth",
        "message",
        "answer",
        "page",
        "page_max",
        "ws_idle",
        "ws_ping",
        "ws_pong",
        "tcp_idle",
        "unauthenticated_per_address",
        "outbox_bytes",
        "outbox_messages",
        "slow_consumer",
        "connections",
        "in_flight",
        "channels",
        "requests_per_second",
        "burst",
        "guesses_per_minute",
        "progress_per_second",
    ];

    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        section.allow("[server.limits]", &Self::KEYS, |_| None);
        let default = Self::default();
        let size = |section: &mut Section<'_, '_>, key, default, least: usize, most: usize| {
            section.read_or(key, default, |value| values::size_within(value, least..=most))
        };
        let number = |section: &mut Section<'_, '_>, key, default, least: usize, most: usize| {
            section.read_or(key, default, |value| values::whole(value, least..=most))
        };
        let time = |section: &mut Section<'_, '_>, key, default, most| {
            section.read_or(key, default, |value| values::duration_within(value, SECOND..=most))
        };
        let rate = |section: &mut Section<'_, '_>, key, default: NonZeroU32, most: u32| {
            at_least_one(section.read_or(key, default.get(), |value| values::whole(value, 1..=most)))
        };
        let limits = Self {
            message_before_auth: size(section, "message_before_auth", default.message_before_auth, KIB, MIB),
            message: size(section, "message", default.message, 4 * KIB, 64 * MIB),
            answer: size(section, "answer", default.answer, 64 * KIB, 256 * MIB),
            page: number(section, "page", default.page, 1, 10_000),
            page_max: number(section, "page_max", default.page_max, 1, 10_000),
            ws_idle: time(section, "ws_idle", default.ws_idle, HOUR),
            ws_ping: time(section, "ws_ping", default.ws_ping, HOUR),
            ws_pong: time(section, "ws_pong", default.ws_pong, 10 * MINUTE),
            tcp_idle: time(section, "tcp_idle", default.tcp_idle, 24 * HOUR),
            unauthenticated_per_address: number(
                section,
                "unauthenticated_per_address",
                default.unauthenticated_per_address,
                1,
                10_000,
            ),
            outbox_bytes: size(section, "outbox_bytes", default.outbox_bytes, 64 * KIB, 64 * MIB),
            outbox_messages: number(section, "outbox_messages", default.outbox_messages, 16, 65_536),
            slow_consumer: time(section, "slow_consumer", default.slow_consumer, 10 * MINUTE),
            connections: number(section, "connections", default.connections, 1, 10_000),
            in_flight: number(section, "in_flight", default.in_flight, 1, 1024),
            channels: number(section, "channels", default.channels, 1, 1024),
            requests_per_second: rate(section, "requests_per_second", default.requests_per_second, 100_000),
            burst: rate(section, "burst", default.burst, 100_000),
            guesses_per_minute: rate(section, "guesses_per_minute", default.guesses_per_minute, 1000),
            progress_per_second: rate(section, "progress_per_second", default.progress_per_second, 20),
        };
        limits.together(section);
        limits
    }

    /// A limit that another one makes meaningless. Told of the one that was written.
    fn together(&self, section: &mut Section<'_, '_>) {
        let pairs = [
            ("message_before_auth", self.message_before_auth, "message", self.message),
            ("page", self.page, "page_max", self.page_max),
        ];
        for (lesser, least, greater, most) in pairs {
            if least > most {
                let key = if section.value(lesser).is_some() { lesser } else { greater };
                let message = format!("`{key}`: `{lesser}` ({least}) must not be above `{greater}` ({most})");
                section.refuse_value(key, message);
            }
        }
    }
}
