//! `/runs`: commits, lists, files, deletions. And `/standing`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use actix_web::body::{BoxBody, SizedStream};
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use holdfast_model::ids::{ArtifactName, RunId};
use holdfast_model::vault::Permission;
use rustix::fs::OFlags;
use serde::Deserialize;

use super::answer::{empty, json, with};
use super::range::{Wanted, wanted};
use super::{What, admit, header, refuse, wrong_method};
use crate::vault::Vault;
use crate::vault::error::{Problem, VaultError};
use crate::vault::slots::Slot;
use crate::vault::visitor::Visitor;

/// Rows of a page where nothing is said.
const PAGE: usize = 100;
/// Bytes of a file that are read at a time.
const PIECE: u64 = 256 << 10;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    let at = |path: &str| web::resource(path.to_owned()).default_service(web::to(wrong_method));
    app.service(at("/standing").route(web::get().to(standing)))
        .service(at("/runs").route(web::get().to(list)))
        .service(at("/runs/{run}").route(web::get().to(show)).route(web::delete().to(delete)))
        .service(at("/runs/{run}/commit").route(web::post().to(commit)))
        .service(at("/runs/{run}/{file}").route(web::get().to(file)).route(web::head().to(file)));
}

/// Lets somebody in, does what they asked for, and records where it is refused.
async fn answered<Work>(
    request: &HttpRequest,
    vault: web::Data<Vault>,
    what: What,
    work: impl FnOnce(Arc<Vault>, Visitor) -> Work,
) -> HttpResponse
where
    Work: Future<Output = Result<HttpResponse, Problem>>,
{
    let vault = vault.into_inner();
    let visitor = match admit(&vault, request, &what).await {
        Ok(visitor) => visitor,
        Err(response) => return response,
    };
    match work(vault.clone(), visitor.clone()).await {
        Ok(response) => response,
        Err(problem) => refuse(&vault, request, &visitor, &what, &problem).await,
    }
}

fn run_id(text: &str) -> Result<RunId, Problem> {
    text.parse()
        .map_err(|_| Problem::new(404, "RUN_NOT_FOUND", "there is no such run: a run id reads YYYYMMDD-HHMMSS-NNNNNN"))
}

/// What somebody made up is not kept: a run id or nothing.
fn about(text: &str) -> String {
    run_id(text).map(|run_id| run_id.to_string()).unwrap_or_default()
}

async fn standing(request: HttpRequest, vault: web::Data<Vault>) -> HttpResponse {
    let what = ("ShowStanding", String::new());
    answered(&request, vault, what, |vault, visitor| async move { Ok(json(200, &vault.standing(&visitor))) }).await
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(default)]
    summary: bool,
}

async fn list(request: HttpRequest, vault: web::Data<Vault>) -> HttpResponse {
    let what = ("ListRuns", String::new());
    let page = web::Query::<Page>::from_query(request.query_string());
    answered(&request, vault, what, |vault, visitor| async move {
        let page = page.map_err(|error| Problem::new(400, "INVALID_DATA", error.to_string()))?.into_inner();
        let runs = vault.runs(visitor.server_id, page.cursor.as_deref(), page.limit.unwrap_or(PAGE))?;
        let runs = if page.summary { vault.summarize(visitor.server_id, runs).await? } else { runs };
        Ok(json(200, &runs))
    })
    .await
}

async fn show(request: HttpRequest, vault: web::Data<Vault>, path: web::Path<String>) -> HttpResponse {
    let what = ("ShowRun", about(&path));
    answered(&request, vault, what, |vault, visitor| async move {
        Ok(json(200, &vault.run_or_not(visitor.server_id, run_id(&path)?)?))
    })
    .await
}

async fn commit(request: HttpRequest, vault: web::Data<Vault>, path: web::Path<String>) -> HttpResponse {
    let what = ("CommitRun", about(&path));
    answered(&request, vault, what, |vault, visitor| async move {
        Ok(json(200, &vault.commit(&visitor, run_id(&path)?).await?))
    })
    .await
}

async fn delete(request: HttpRequest, vault: web::Data<Vault>, path: web::Path<String>) -> HttpResponse {
    let what = ("DeleteRun", about(&path));
    answered(&request, vault, what, |vault, visitor| async move {
        visitor.may(Permission::Full)?;
        vault.delete_run(visitor.server_id, &visitor.principal(), run_id(&path)?).await?;
        Ok(empty(204))
    })
    .await
}

async fn file(request: HttpRequest, vault: web::Data<Vault>, path: web::Path<(String, String)>) -> HttpResponse {
    let (run, name) = path.into_inner();
    let what = ("ReadFile", about(&run));
    let range = header(&request, "range").map(str::to_owned);
    let only_head = request.method() == Method::HEAD;
    answered(&request, vault, what, |vault, visitor| async move {
        let missing = || Problem::new(404, "FILE_NOT_FOUND", "the run has no such file");
        let run = vault.run_or_not(visitor.server_id, run_id(&run)?)?;
        let name: ArtifactName = name.parse().map_err(|_| missing())?;
        let slot = vault.slots.send(visitor.server_id, &vault.limits)?;
        let path = vault.place(visitor.server_id).run(run.run_id).join(name.as_str());
        let opened = vault.blocking(move || open(&path)).await?;
        let (file, size) =
            opened.map_err(VaultError::io("read", std::path::Path::new("a file of a run")))?.ok_or_else(missing)?;
        let (status, from, length) = match wanted(range.as_deref(), size) {
            Wanted::All => (200, 0, size),
            Wanted::Part { from, length } => (206, from, length),
            Wanted::Nothing => {
                let problem = Problem::new(416, "RANGE", format!("the file has {size} bytes"));
                return Ok(with(super::answer::problem(&problem), "content-range", &format!("bytes */{size}")));
            }
        };
        let mut response = with(empty(status), "accept-ranges", "bytes");
        response = with(response, "content-type", "application/octet-stream");
        if status == 206 {
            let last = from.saturating_add(length).saturating_sub(1);
            response = with(response, "content-range", &format!("bytes {from}-{last}/{size}"));
        }
        // The HTTP library leaves a body out of the answer to HEAD and says its length.
        let length_sent = if only_head { 0 } else { length };
        let sending = Sending { file: Arc::new(file), at: from, left: length_sent, _slot: slot };
        Ok(response.set_body(BoxBody::new(SizedStream::new(length, Box::pin(stream::unfold(sending, Sending::next))))))
    })
    .await
}

/// Opens a file of a run; none where there is no such one.
fn open(path: &std::path::Path) -> std::io::Result<Option<(File, u64)>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            let found = file.metadata()?;
            Ok(found.is_file().then_some((file, found.len())))
        }
    }
}

/// A file on its way to a client.
struct Sending {
    file: Arc<File>,
    at: u64,
    left: u64,
    _slot: Slot,
}

impl Sending {
    /// The next piece; an error where the file is shorter than it was.
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        let length = self.left.min(PIECE);
        if length == 0 {
            return None;
        }
        let (file, at) = (self.file.clone(), self.at);
        let read = actix_web::rt::task::spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
        });
        let read = read.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        self.at += length;
        self.left = if read.is_ok() { self.left - length } else { 0 };
        Some((read, self))
    }
}
