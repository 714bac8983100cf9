//! `webdav://` and `webdavs://`: a WebDAV server (RFC 4918), over our own HTTP client: OpenDAL's writer takes a body as one buffer.
//!
//! A stream goes by one `PUT` to a name of its own and gets its real one by `MOVE`. That replaces what is there in one step where the server
//! does so; Apache takes the old one away first. A server that takes no body of unknown length says so when one is sent.

mod multistatus;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Method, StatusCode};
use reqwest::header::{CONTENT_LENGTH, LAST_MODIFIED, RANGE};
use reqwest::{RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use self::multistatus::time;
use super::address::{WebdavAddress, is_this_machine};
use super::tree::{self, Child, Folders};
use super::{
    Answer, ByteStream, ErrorKind, Existing, ObjectName, PARTIAL, Page, Prefix, Put, Range, Source, Stat, Store,
    StoreError, http as client,
};

/// What is asked for in a listing.
const PROPERTIES: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\"><prop><resourcetype/>\
    <getcontentlength/><getlastmodified/></prop></propfind>";

/// A folder of a WebDAV server.
pub struct WebdavStore {
    client: reqwest::Client,
    base: Url,
    login: String,
    password: SecretString,
    /// Whether the folder for what is not whole yet was made.
    prepared: AtomicBool,
}

impl WebdavStore {
    /// A store at this address.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be set up, or would send a password that everybody on the way can read.
    pub fn new(
        address: &WebdavAddress,
        login: &str,
        password: SecretString,
        limit: Duration,
    ) -> Result<Self, StoreError> {
        if address.base.scheme() == "http" && !login.is_empty() && !is_this_machine(&address.base) {
            let why = "the password would go through the network in the clear; use webdavs://";
            return Err(StoreError::new(ErrorKind::Credentials, "log in by webdav://", why));
        }
        let client = client::client(address.ca_file.as_deref(), limit)?;
        let prepared = AtomicBool::new(false);
        Ok(Self { client, base: address.base.clone(), login: login.to_owned(), password, prepared })
    }

    /// The URL of a name. Names need no escapes.
    fn url(&self, name: &str) -> Result<Url, StoreError> {
        self.base
            .join(name)
            .map_err(|_| StoreError::new(ErrorKind::Fatal, format!("ask for {name}"), "it makes no URL"))
    }

    fn request(&self, method: &'static [u8], name: &str) -> Result<RequestBuilder, StoreError> {
        let method =
            Method::from_bytes(method).map_err(|_| StoreError::new(ErrorKind::Fatal, "ask", "no such method"))?;
        let request = self.client.request(method, self.url(name)?);
        Ok(match self.login.is_empty() {
            true => request,
            false => request.basic_auth(&self.login, Some(self.password.expose_secret())),
        })
    }

    async fn ask(&self, doing: &str, request: RequestBuilder) -> Result<Response, StoreError> {
        request.send().await.map_err(|error| client::unanswered(doing.to_owned(), &error))
    }

    /// Makes a folder and those above it. One that is there is as good.
    async fn make_folder(&self, path: &str) -> Result<(), StoreError> {
        let doing = format!("make the folder {path}");
        let mut made = String::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            made.push_str(segment);
            made.push('/');
            let mut answer = self.ask(&doing, self.request(b"MKCOL", &made)?).await?;
            if answer.status() == StatusCode::FORBIDDEN {
                // Apache says so, too, where somebody else has just made it.
                answer = self.ask(&doing, self.request(b"MKCOL", &made)?).await?;
            }
            match answer.status() {
                // There already (RFC 4918, section 9.3.1).
                StatusCode::METHOD_NOT_ALLOWED => {}
                status if status.is_success() => {}
                StatusCode::CONFLICT | StatusCode::NOT_FOUND => {
                    let why = format!("the folder {} is not there: make it", self.base.path());
                    return Err(StoreError::new(ErrorKind::Fatal, doing, why));
                }
                status => return Err(client::refused(doing, status, answer.headers())),
            }
        }
        Ok(())
    }

    /// What a listing would say of one file.
    async fn properties(&self, name: &ObjectName) -> Result<Option<Child>, StoreError> {
        let doing = format!("look at {name}");
        let request =
            self.request(b"PROPFIND", name.as_str())?.header("Depth", "0").header("Content-Type", "application/xml");
        let answer = self.ask(&doing, request.body(PROPERTIES)).await?;
        if answer.status() != StatusCode::MULTI_STATUS {
            return Err(client::refused(doing, answer.status(), answer.headers()));
        }
        let body = client::body(&doing, answer).await?;
        let folder = if name.folder().is_empty() { String::new() } else { format!("{}/", name.folder()) };
        Ok(multistatus::children(&doing, self.url(&folder)?.path(), &body)?.pop())
    }

    async fn send(&self, name: &ObjectName, source: &dyn Source, put: &Put) -> Result<u64, StoreError> {
        let doing = format!("write {name}");
        if !self.prepared.load(Ordering::Relaxed) {
            self.make_folder(PARTIAL).await?;
            self.prepared.store(true, Ordering::Relaxed);
        }
        let partial = format!("{PARTIAL}/{}", Uuid::now_v7());
        let sent = async {
            let stream = source.open().await?;
            let (meter, mut bytes) = (put.meter.clone(), 0);
            let counted = stream.inspect_ok(move |piece| {
                bytes += piece.len() as u64;
                meter.reached(bytes);
            });
            let mut request = self.request(b"PUT", &partial)?;
            if let Some(length) = source.length() {
                request = request.header(CONTENT_LENGTH, length);
            }
            let answer = self.ask(&doing, request.body(reqwest::Body::wrap_stream(counted))).await?;
            put.meter.beat();
            if !answer.status().is_success() {
                // Somebody may have taken the folder away.
                self.prepared.store(false, Ordering::Relaxed);
                return Err(not_there_is_fatal(
                    client::refused(doing.clone(), answer.status(), answer.headers()),
                    &doing,
                ));
            }
            let bytes = put.meter.done();
            self.check_size(&doing, &partial, bytes).await?;
            self.give_name(&doing, &partial, name, put.existing).await?;
            put.meter.beat();
            Ok(bytes)
        };
        let sent = sent.await;
        // A connection that broke most likely is broken for this, too: then it is swept.
        if sent.as_ref().is_err_and(|error| !error.kind().retryable())
            && let Ok(request) = self.request(b"DELETE", &partial)
        {
            let _ = request.send().await;
        }
        sent
    }

    /// A server may keep less than it was sent, and call that a success.
    async fn check_size(&self, doing: &str, partial: &str, expected: u64) -> Result<(), StoreError> {
        let answer = self.ask(doing, self.request(b"HEAD", partial)?).await?;
        let kept = length(&answer);
        match kept {
            Some(kept) if answer.status().is_success() && kept != expected => {
                let why = format!("the far side kept {kept} of {expected} bytes");
                Err(StoreError::new(ErrorKind::Retryable, doing, why))
            }
            _ => Ok(()),
        }
    }

    async fn give_name(
        &self,
        doing: &str,
        partial: &str,
        name: &ObjectName,
        existing: Existing,
    ) -> Result<(), StoreError> {
        let overwrite = if existing == Existing::Replace { "T" } else { "F" };
        let mut forms = destinations(&self.url(name.as_str())?).into_iter();
        let mut destination = forms.next().unwrap_or_default();
        let mut has_folder = name.folder().is_empty();
        // What the first form was answered with, where others are tried after it.
        let mut first = None;
        loop {
            let request =
                self.request(b"MOVE", partial)?.header("Destination", &destination).header("Overwrite", overwrite);
            let answer = self.ask(doing, request).await?;
            let status = answer.status();
            let refused = client::refused(doing.to_owned(), status, answer.headers());
            match status {
                status if status.is_success() => return Ok(()),
                // A folder that is missing is a conflict (RFC 4918, section 9.9.4), and with Apache an error of its own.
                StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR if !has_folder => {
                    self.make_folder(name.folder()).await?;
                    has_folder = true;
                }
                // It is said to be on another server (the same section), or what said so was a proxy, and what it was asked is done all the
                // same.
                StatusCode::BAD_GATEWAY | StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND
                    if status == StatusCode::BAD_GATEWAY || first.is_some() =>
                {
                    let told = first.get_or_insert(refused);
                    match forms.next() {
                        Some(form) if status != StatusCode::NOT_FOUND => destination = form,
                        _ => return Err(told.clone()),
                    }
                }
                _ => return Err(not_there_is_fatal(refused, doing)),
            }
        }
    }
}

/// How a name can be said to be where it is to go: whole; as a server has it that does not know that its proxy is spoken to with TLS; and
/// by its path alone.
fn destinations(url: &Url) -> Vec<String> {
    let whole = url.to_string();
    let without_tls = whole.strip_prefix("https:").map(|rest| format!("http:{rest}"));
    [Some(whole), without_tls, Some(url.path().to_owned())].into_iter().flatten().collect()
}

/// Where something is written, a name that is not there is that of a folder of the endpoint.
fn not_there_is_fatal(error: StoreError, doing: &str) -> StoreError {
    match error.kind() {
        ErrorKind::NotFound => StoreError::new(ErrorKind::Fatal, doing, "the endpoint's folder is not there: make it"),
        _ => error,
    }
}

fn length(answer: &Response) -> Option<u64> {
    answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

impl Folders for WebdavStore {
    fn children<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Child>> {
        Box::pin(async move {
            let doing = crate::endpoints::tree::listing(folder);
            let path = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let request =
                self.request(b"PROPFIND", &path)?.header("Depth", "1").header("Content-Type", "application/xml");
            let answer = self.ask(&doing, request.body(PROPERTIES)).await?;
            match answer.status() {
                StatusCode::MULTI_STATUS => {}
                StatusCode::NOT_FOUND if !folder.is_empty() => return Ok(Vec::new()),
                status => {
                    return Err(not_there_is_fatal(client::refused(doing.clone(), status, answer.headers()), &doing));
                }
            }
            let body = client::body(&doing, answer).await?;
            multistatus::children(&doing, self.url(&path)?.path(), &body)
        })
    }
}

impl Store for WebdavStore {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(self.send(name, source, put))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let doing = format!("read {name}");
            let mut request = self.request(b"GET", name.as_str())?;
            if let Some(range) = range.header() {
                request = request.header(RANGE, range);
            }
            let answer = self.ask(&doing, request).await?;
            // A server may not know ranges, and send all.
            let skip = match answer.status() {
                StatusCode::PARTIAL_CONTENT => 0,
                StatusCode::OK => range.from,
                StatusCode::RANGE_NOT_SATISFIABLE if self.stat(name).await?.size == range.from => {
                    return Ok(stream::empty().boxed());
                }
                status => return Err(client::refused(doing, status, answer.headers())),
            };
            let bytes = answer.bytes_stream().map_err(move |error| client::unanswered(doing.clone(), &error));
            let cut =
                stream::try_unfold((Box::pin(bytes), skip, range.length), |(mut bytes, mut skip, left)| async move {
                    if left == Some(0) {
                        return Ok(None);
                    }
                    while let Some(mut piece) = bytes.try_next().await? {
                        let skipped = skip.min(piece.len() as u64);
                        skip -= skipped;
                        let mut piece = piece.split_off(usize::try_from(skipped).unwrap_or(usize::MAX));
                        piece.truncate(left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX)));
                        if !piece.is_empty() {
                            let left = left.map(|left| left - piece.len() as u64);
                            return Ok(Some((piece, (bytes, skip, left))));
                        }
                    }
                    Ok(None)
                });
            Ok(cut.boxed())
        })
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, Stat> {
        Box::pin(async move {
            let doing = format!("look at {name}");
            let answer = self.ask(&doing, self.request(b"HEAD", name.as_str())?).await?;
            if !answer.status().is_success() {
                return Err(client::refused(doing, answer.status(), answer.headers()));
            }
            let modified = answer.headers().get(LAST_MODIFIED).and_then(|text| time(text.to_str().ok()?));
            // Of an empty file Apache does not say that here.
            if length(&answer).is_none()
                && let Some(Child::File { size, modified, .. }) = self.properties(name).await?
            {
                return Ok(Stat { size, modified, sha256: None });
            }
            let unsaid = || StoreError::new(ErrorKind::Fatal, doing, "the far side does not say how long it is");
            Ok(Stat { size: length(&answer).ok_or_else(unsaid)?, modified, sha256: None })
        })
    }

    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, most: usize) -> Answer<'a, Page> {
        Box::pin(tree::list(self, prefix, after, most))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, ()> {
        Box::pin(async move {
            let doing = format!("delete {name}");
            let answer = self.ask(&doing, self.request(b"DELETE", name.as_str())?).await?;
            match answer.status() {
                StatusCode::NOT_FOUND => Ok(()),
                status if status.is_success() => Ok(()),
                status => Err(client::refused(doing, status, answer.headers())),
            }
        })
    }

    fn sweep(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(async move {
            let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
            let mut swept = 0;
            for child in self.children(PARTIAL).await? {
                if let Child::File { name, modified: Some(modified), .. } = child
                    && modified <= limit
                    && name.parse::<Uuid>().is_ok()
                {
                    let request = self.request(b"DELETE", &format!("{PARTIAL}/{name}"))?;
                    let answer = self.ask("sweep", request).await?;
                    if !answer.status().is_success() && answer.status() != StatusCode::NOT_FOUND {
                        return Err(client::refused("sweep".into(), answer.status(), answer.headers()));
                    }
                    swept += 1;
                }
            }
            Ok(swept)
        })
    }
}
