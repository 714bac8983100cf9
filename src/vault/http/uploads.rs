//! `/uploads`: tus 1.0 with what the vault needs to know of a file.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use holdfast_model::ids::Sha256;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::answer::{self, date, empty, json, with};
use super::{What, admit, header, refuse};
use crate::vault::Vault;
use crate::vault::error::{Problem, VaultError};
use crate::vault::receive::Piece;
use crate::vault::uploads::{End, Part};
use crate::vault::visitor::Visitor;
use crate::vault::wire::{
    FILE_SHA256, OFFSET_STREAM, PartChecksum, TUS_CHECKSUMS, TUS_EXTENSIONS, TUS_VERSION, UploadMetadata, VaultUploads,
};

/// Bytes that must come within the time a MiB may take.
const PACE_STEP: usize = 1 << 20;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(web::resource("/uploads").route(web::to(all)))
        .service(web::resource("/uploads/{id}").route(web::to(one)));
}

/// The method that is meant.
fn method(request: &HttpRequest) -> Method {
    let instead = header(request, "x-http-method-override").filter(|_| request.method() == Method::POST);
    instead.and_then(|name| Method::from_bytes(name.trim().as_bytes()).ok()).unwrap_or_else(|| request.method().clone())
}

fn tus(response: HttpResponse) -> HttpResponse {
    with(response, "tus-resumable", TUS_VERSION)
}

fn options(vault: &Vault) -> HttpResponse {
    let response = with(empty(204), "tus-version", TUS_VERSION);
    let response = with(response, "tus-extension", TUS_EXTENSIONS);
    let response = with(response, "tus-max-size", &vault.limits.upload_bytes.to_string());
    with(response, "tus-checksum-algorithm", TUS_CHECKSUMS)
}

fn version(request: &HttpRequest) -> Result<(), Problem> {
    match header(request, "tus-resumable") {
        Some(TUS_VERSION) => Ok(()),
        _ => Err(Problem::new(412, "TUS_VERSION", "the header Tus-Resumable: 1.0.0 is needed")),
    }
}

fn wrong_method(allowed: &str) -> HttpResponse {
    let problem = Problem::new(405, "METHOD_NOT_ALLOWED", format!("{allowed} are known here"));
    with(answer::problem(&problem), "allow", allowed)
}

#[derive(Deserialize)]
struct Listing {
    run_id: Option<String>,
}

async fn all(request: HttpRequest, vault: web::Data<Vault>, body: web::Payload) -> HttpResponse {
    let vault = vault.into_inner();
    tus(match method(&request) {
        Method::OPTIONS => options(&vault),
        Method::POST => create(&request, &vault, body).await,
        Method::GET => list(&request, &vault).await,
        _ => wrong_method("OPTIONS, POST, GET"),
    })
}

async fn list(request: &HttpRequest, vault: &Arc<Vault>) -> HttpResponse {
    let what = ("ListUploads", String::new());
    let visitor = match admit(vault, request, &what).await {
        Ok(visitor) => visitor,
        Err(response) => return response,
    };
    let listed = async {
        let invalid = |text: String| Problem::new(400, "INVALID_DATA", text);
        let listing =
            web::Query::<Listing>::from_query(request.query_string()).map_err(|error| invalid(error.to_string()))?;
        let run_id = listing.into_inner().run_id.map(|text| text.parse()).transpose();
        let run_id = run_id.map_err(|error: holdfast_model::ids::InvalidName| invalid(error.to_string()))?;
        let rows = vault.uploads(&visitor, run_id).await?;
        // After them: what was an upload a moment ago may be a run now.
        let run = run_id.and_then(|run_id| vault.run(visitor.server_id, run_id));
        Ok(VaultUploads { rows, run })
    };
    match listed.await {
        Ok(uploads) => json(200, &uploads),
        Err(problem) => refuse(vault, request, &visitor, &what, &problem).await,
    }
}

async fn create(request: &HttpRequest, vault: &Arc<Vault>, body: web::Payload) -> HttpResponse {
    if let Err(problem) = version(request) {
        return answer::problem(&problem);
    }
    let metadata = UploadMetadata::from_header(header(request, "upload-metadata").unwrap_or_default());
    let about =
        metadata.as_ref().map(|known| format!("{} of run {}", known.filename, known.run_id)).unwrap_or_default();
    let what = ("CreateUpload", about);
    let visitor = match admit(vault, request, &what).await {
        Ok(visitor) => visitor,
        Err(response) => return response,
    };
    let created = async {
        let metadata = metadata.map_err(|error| Problem::new(400, "INVALID_DATA", error.to_string()))?;
        let (size, later) = (number(request, "upload-length")?, header(request, "upload-defer-length"));
        let size = match (size, later) {
            (Some(size), None) => Some(size),
            (None, Some("1")) => None,
            _ => {
                let text = "either the header Upload-Length is needed or Upload-Defer-Length: 1";
                return Err(Problem::new(400, "INVALID_DATA", text));
            }
        };
        let brings = match header(request, "content-type") {
            Some(OFFSET_STREAM) => true,
            Some(_) if length(request).unwrap_or(0) > 0 => return Err(content_type()),
            _ => false,
        };
        let checksum = checksum(request)?;
        let upload_id = match size {
            Some(size) => vault.create_upload(&visitor, metadata, size).await?,
            None => vault.open_upload(&visitor, metadata).await?,
        };
        Ok((upload_id, brings, checksum))
    };
    let (upload_id, brings, checksum) = match created.await {
        Ok(created) => created,
        Err(problem) => return refuse(vault, request, &visitor, &what, &problem).await,
    };
    let response = with(empty(201), "location", &format!("/uploads/{upload_id}"));
    let response = with(response, "upload-expires", &date(vault.expires()));
    if !brings {
        return response;
    }
    match receive(vault, &visitor, upload_id, &Part::of(request, 0, checksum, None), body).await {
        Ok(offset) => with(response, "upload-offset", &offset.to_string()),
        Err(problem) => {
            let mut refused = refuse(vault, request, &visitor, &what, &problem).await;
            // It is there all the same, unless what came was the whole of it and wrong.
            if problem.code != "UPLOAD_DAMAGED" {
                refused = with(refused, "location", &format!("/uploads/{upload_id}"));
            }
            refused
        }
    }
}

async fn one(
    request: HttpRequest,
    vault: web::Data<Vault>,
    path: web::Path<String>,
    body: web::Payload,
) -> HttpResponse {
    let vault = vault.into_inner();
    let method = method(&request);
    let name = match method {
        Method::OPTIONS => return tus(options(&vault)),
        Method::HEAD => "AskOffset",
        Method::PATCH => "AppendUpload",
        Method::DELETE => "EndUpload",
        _ => return tus(wrong_method("OPTIONS, HEAD, PATCH, DELETE")),
    };
    if let Err(problem) = version(&request) {
        return tus(answer::problem(&problem));
    }
    let upload_id = Uuid::parse_str(&path);
    let what: What = (name, upload_id.as_ref().map(Uuid::to_string).unwrap_or_default());
    let visitor = match admit(&vault, &request, &what).await {
        Ok(visitor) => visitor,
        Err(response) => return tus(response),
    };
    let done = async {
        let upload_id = upload_id.map_err(|_| Problem::new(404, "UPLOAD_NOT_FOUND", "there is no such upload"))?;
        match method {
            Method::HEAD => offset(&vault, &visitor, upload_id).await,
            Method::PATCH => append(&request, &vault, &visitor, upload_id, body).await,
            _ => vault.terminate(&visitor, upload_id).await.map(|()| empty(204)),
        }
    };
    tus(match done.await {
        Ok(response) => response,
        Err(problem) => refuse(&vault, &request, &visitor, &what, &problem).await,
    })
}

async fn offset(vault: &Arc<Vault>, visitor: &Visitor, upload_id: Uuid) -> Result<HttpResponse, Problem> {
    let (offset, upload) = vault.offset(visitor, upload_id).await?;
    let (size_bytes, sha256) = (upload.size_bytes(), upload.sha256());
    let metadata = UploadMetadata { run_id: upload.run_id, filename: upload.file, sha256 };
    let response = with(empty(200), "upload-offset", &offset.to_string());
    let response = match size_bytes {
        Some(size) => with(response, "upload-length", &size.to_string()),
        None => with(response, "upload-defer-length", "1"),
    };
    Ok(with(response, "upload-metadata", &metadata.to_header()))
}

async fn append(
    request: &HttpRequest,
    vault: &Arc<Vault>,
    visitor: &Visitor,
    upload_id: Uuid,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    if header(request, "content-type") != Some(OFFSET_STREAM) {
        return Err(content_type());
    }
    let at = number(request, "upload-offset")?
        .ok_or_else(|| Problem::new(400, "INVALID_DATA", "the header Upload-Offset is needed"))?;
    let end = match number(request, "upload-length")? {
        Some(size_bytes) => Some(End { size_bytes, sha256: file_hash(request)? }),
        None => None,
    };
    let part = Part::of(request, at, checksum(request)?, end);
    let offset = receive(vault, visitor, upload_id, &part, body).await?;
    let response = with(empty(204), "upload-offset", &offset.to_string());
    Ok(with(response, "upload-expires", &date(vault.expires())))
}

fn content_type() -> Problem {
    Problem::new(415, "CONTENT_TYPE", format!("the bytes of an upload come as {OFFSET_STREAM}"))
}

/// The hash that a client says at the end of a file.
fn file_hash(request: &HttpRequest) -> Result<Option<Sha256>, Problem> {
    let invalid = |error: holdfast_model::ids::InvalidName| Problem::new(400, "INVALID_DATA", error.to_string());
    header(request, FILE_SHA256).map(str::parse).transpose().map_err(invalid)
}

impl Part {
    fn of(request: &HttpRequest, offset: u64, checksum: Option<PartChecksum>, end: Option<End>) -> Self {
        Self { offset, length: length(request), checksum, end }
    }
}

fn checksum(request: &HttpRequest) -> Result<Option<PartChecksum>, Problem> {
    let text = header(request, "upload-checksum");
    text.map(PartChecksum::from_header)
        .transpose()
        .map_err(|error| Problem::new(400, "INVALID_DATA", error.to_string()))
}

/// A header that is a count of bytes.
fn number(request: &HttpRequest, name: &'static str) -> Result<Option<u64>, Problem> {
    let Some(value) = request.headers().get(name) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let legal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = if legal { text.parse().ok() } else { None };
    parsed.map(Some).ok_or_else(|| Problem::new(400, "INVALID_DATA", format!("{name} is a whole number of bytes")))
}

fn length(request: &HttpRequest) -> Option<u64> {
    header(request, "content-length").and_then(|text| text.parse().ok())
}

/// Takes the body of a request to its end, or to that of patience.
async fn receive(
    vault: &Arc<Vault>,
    visitor: &Visitor,
    upload_id: Uuid,
    part: &Part,
    mut body: web::Payload,
) -> Result<u64, Problem> {
    let appending = vault.append(visitor, upload_id, part).await?;
    let (idle, pace) = (vault.limits.idle, vault.limits.pace);
    let mut step = (Instant::now() + pace, 0);
    let mut slow = false;
    loop {
        let until = step.0.min(Instant::now() + idle);
        let piece = match timeout_at(until, body.next()).await {
            Ok(Some(Ok(bytes))) => {
                step.1 += bytes.len();
                if step.1 >= PACE_STEP {
                    step = (Instant::now() + pace, 0);
                }
                Piece::Bytes(bytes)
            }
            Ok(None) => Piece::End,
            // The connection has ended: so does what is taken of it.
            Ok(Some(Err(_))) => break,
            Err(_) => {
                slow = true;
                break;
            }
        };
        let ends = matches!(piece, Piece::End);
        // It ends by itself where it takes no more.
        if appending.pieces.send(piece).await.is_err() || ends {
            break;
        }
    }
    drop(appending.pieces);
    let done = appending.done.await.unwrap_or_else(|error| Err(VaultError::Thread(error.to_string()).into()));
    match done {
        Err(problem) if slow && problem.code == "REQUEST_CUT_OFF" => {
            Err(Problem::new(408, "TOO_SLOW", "the bytes came too slowly: what came is kept, go on from there"))
        }
        done => done,
    }
}
