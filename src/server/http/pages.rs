//! Pages for programs that watch the server: how it is, its figures, and the documents of its interface.
//!
//! Whether it lives and is ready is asked by what cannot know a token, and so are the documents. The figures name participants and jobs:
//! they need a token of whoever may look, unless the configuration shows them to all.

use std::sync::OnceLock;

use actix_web::{HttpRequest, HttpResponse, web};
use holdfast_model::access::Role;

use super::{Peer, answer, commands, source};
use crate::api::health::Health;
use crate::api::{ApiError, ErrorCode, documents};
use crate::server::lobby::Lobby;
use crate::server::metrics::{self, Metrics};

/// Adds them.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let page = |path: &str, route: actix_web::Route| {
        web::resource(path.to_owned()).route(route).default_service(web::to(only_get))
    };
    config
        .service(page("/healthz", web::get().to(live)))
        .service(page("/readyz", web::get().to(ready)))
        .service(page("/metrics", web::get().to(figures)))
        .service(page("/openapi.json", web::get().to(openapi)))
        .service(page("/asyncapi.json", web::get().to(asyncapi)));
}

async fn only_get() -> HttpResponse {
    let error = ApiError::new(ErrorCode::MethodNotAllowed, "this page is read by GET");
    answer::with_header(answer::error(&error), "allow", "GET")
}

async fn live(lobby: web::Data<Lobby>) -> HttpResponse {
    told(&Health::live(lobby.dispatcher.engine()))
}

async fn ready(lobby: web::Data<Lobby>) -> HttpResponse {
    told(&Health::ready(lobby.dispatcher.engine()))
}

fn told(health: &Health) -> HttpResponse {
    let body = serde_json::to_string(health).unwrap_or_default();
    answer::json(if health.is_well() { 200 } else { 503 }, body)
}

async fn figures(request: HttpRequest, lobby: web::Data<Lobby>) -> HttpResponse {
    match collect(&request, &lobby).await {
        Ok(text) => HttpResponse::Ok()
            .insert_header(("content-type", metrics::CONTENT_TYPE))
            .insert_header(("cache-control", "no-store"))
            .body(text),
        Err(error) => answer::error(&error),
    }
}

async fn collect(request: &HttpRequest, lobby: &Lobby) -> Result<String, ApiError> {
    let _in_flight = request.conn_data::<Peer>().map(Peer::begin).transpose()?;
    if !lobby.settings().metrics_public {
        let who = commands::authenticate(request, lobby, &source(request)).await?;
        let unknown = || ApiError::new(ErrorCode::Unauthenticated, "figures need a token of role viewer");
        if who.ok_or_else(unknown)?.role < Role::Viewer {
            return Err(ApiError::new(ErrorCode::Forbidden, "figures need a token of role viewer"));
        }
    }
    let engine = lobby.dispatcher.engine();
    let metrics = Metrics {
        figures: engine.figures().await?,
        gauges: lobby.gauges.clone(),
        wrong_tokens: engine.desk().wrong_tokens(),
    };
    metrics.text().map_err(|_| ApiError::new(ErrorCode::Internal, "the figures have no text form"))
}

async fn openapi() -> HttpResponse {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    answer::json(200, DOCUMENT.get_or_init(|| documents::openapi().to_string()).clone())
}

async fn asyncapi() -> HttpResponse {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    answer::json(200, DOCUMENT.get_or_init(|| documents::asyncapi().to_string()).clone())
}
