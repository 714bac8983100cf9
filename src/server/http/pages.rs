//! Pages for programs that watch the server: how it is, its figures, and the documents of its interface.
//!
//! Whether it lives and is ready is asked by what cannot know a token, and so are the documents. The figures name participants and jobs:
//! they need a token of whoever may look, unless the configuration shows them to all.

use std::sync::OnceLock;

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, Route, guard, web};
use bytes::Bytes;
use holdfast_model::access::Role;

use super::{answer, commands, source};
use crate::api::health::Health;
use crate::api::{ApiError, ErrorCode, documents};
use crate::server::lobby::Lobby;
use crate::server::metrics::{Form, Metrics};

/// Adds them.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    // Who asks by HEAD is answered as by GET, without the body.
    let read = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    let page =
        |path: &str, route: Route| web::resource(path.to_owned()).route(route).default_service(web::to(only_read));
    config
        .service(page("/healthz", read().to(live)))
        .service(page("/readyz", read().to(ready)))
        .service(page("/metrics", read().to(figures)))
        .service(page("/openapi.json", read().to(openapi)))
        .service(page("/asyncapi.json", read().to(asyncapi)));
}

async fn only_read() -> HttpResponse {
    let error = ApiError::new(ErrorCode::MethodNotAllowed, "this page is read by GET or HEAD");
    answer::with_header(answer::error(&error), "allow", "GET, HEAD")
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
    let accept = request.headers().get_all(ACCEPT).filter_map(|accept| accept.to_str().ok()).collect::<Vec<_>>();
    let form = Form::wanted(&accept.join(","));
    match collect(&request, &lobby, form).await {
        Ok(text) => HttpResponse::Ok()
            .insert_header(("content-type", form.content_type()))
            .insert_header(("vary", "accept"))
            .insert_header(("cache-control", "no-store"))
            .body(text),
        Err(error) => answer::error(&error),
    }
}

async fn collect(request: &HttpRequest, lobby: &Lobby, form: Form) -> Result<String, ApiError> {
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
    metrics.text(form).map_err(|_| ApiError::new(ErrorCode::Internal, "the figures have no text form"))
}

async fn openapi() -> HttpResponse {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    answer::json(200, DOCUMENT.get_or_init(|| documents::openapi().to_string().into()).clone())
}

async fn asyncapi() -> HttpResponse {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    answer::json(200, DOCUMENT.get_or_init(|| documents::asyncapi().to_string().into()).clone())
}
