//! Pages for programs that watch the server.

use actix_web::web;

/// Adds them.
pub(super) fn configure(_config: &mut web::ServiceConfig) {}
