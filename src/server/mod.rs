//! The server: the doors through which other programs drive the engine.

#[allow(dead_code, reason = "`config check` uses a part of it, the doors the rest")]
pub(crate) mod tls;
