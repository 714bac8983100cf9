//! Multipart uploads that nobody will complete: found and taken away.
//!
//! OpenDAL cannot list them (`ListMultipartUploads`); so these two requests are made here, signed by the same library that signs OpenDAL's.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, Request};
use quick_xml::events::Event;
use reqsign_aws_v4::RequestSigner;
use reqsign_core::{Context, Signer};
use reqwest::StatusCode;

use super::keys::Keys;
use crate::endpoints::address::S3Address;
use crate::endpoints::{ErrorKind, StoreError, http as client};

/// Most pages of a listing that are read in one sweep.
const MOST_PAGES: usize = 1_000;

/// The uploads under the endpoint's prefix.
pub(super) struct Uploads {
    client: reqwest::Client,
    signer: Signer<reqsign_aws_v4::Credential>,
    bucket: String,
    prefix: String,
}

/// One of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Upload {
    key: String,
    id: String,
    begun: String,
}

/// A page of the listing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    uploads: Vec<Upload>,
    truncated: bool,
    next_key: String,
    next_id: String,
}

impl Uploads {
    pub(super) fn new(address: &S3Address, endpoint: &str, keys: Keys, client: reqwest::Client) -> Self {
        let signer = Signer::new(Context::new(), keys, RequestSigner::new("s3", &address.region));
        let bucket = match endpoint.split_once("://") {
            Some((scheme, host)) if !address.path_style => format!("{scheme}://{}.{host}", address.bucket),
            _ => format!("{endpoint}/{}", address.bucket),
        };
        let prefix = if address.prefix.is_empty() { String::new() } else { format!("{}/", address.prefix) };
        Self { client, signer, bucket, prefix }
    }

    /// Takes away what began so long ago.
    pub(super) async fn sweep(&self, older_than: Duration) -> Result<u64, StoreError> {
        let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        let (mut swept, mut key, mut id) = (0, String::new(), String::new());
        for _ in 0..MOST_PAGES {
            let prefix = encoded(&self.prefix);
            let mut query = format!("max-uploads=1000&prefix={prefix}&uploads=");
            if !key.is_empty() {
                query = format!("key-marker={}&{query}&upload-id-marker={}", encoded(&key), encoded(&id));
            }
            let (status, body) = self.ask(Method::GET, "", &query).await?;
            if status != StatusCode::OK {
                return Err(client::refused("list dead uploads".into(), status, &reqwest::header::HeaderMap::new()));
            }
            let found = read(&body)?;
            for upload in &found.uploads {
                let begun: Option<jiff::Timestamp> = upload.begun.parse().ok();
                if upload.key.starts_with(&self.prefix) && begun.is_some_and(|begun| SystemTime::from(begun) <= limit) {
                    self.abort(upload).await?;
                    swept += 1;
                }
            }
            if !found.truncated || found.next_key.is_empty() || (&found.next_key, &found.next_id) == (&key, &id) {
                break;
            }
            (key, id) = (found.next_key, found.next_id);
        }
        Ok(swept)
    }

    async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        let path: Vec<_> = upload.key.split('/').map(encoded).collect();
        let query = format!("uploadId={}", encoded(&upload.id));
        let (status, _) = self.ask(Method::DELETE, &path.join("/"), &query).await?;
        match status {
            // One that is gone was completed or taken away meanwhile.
            StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::NOT_FOUND => Ok(()),
            status => {
                Err(client::refused("take a dead upload away".into(), status, &reqwest::header::HeaderMap::new()))
            }
        }
    }

    async fn ask(&self, method: Method, path: &str, query: &str) -> Result<(StatusCode, Vec<u8>), StoreError> {
        let fatal = |why: &str| StoreError::new(ErrorKind::Fatal, "sweep S3", why);
        let request = Request::builder().method(method).uri(format!("{}/{path}?{query}", self.bucket));
        let request = request.body(()).map_err(|_| fatal("the address makes no request"))?;
        let (mut parts, ()) = request.into_parts();
        parts.headers.insert("x-amz-content-sha256", HeaderValue::from_static(reqsign_aws_v4::EMPTY_STRING_SHA256));
        self.signer.sign(&mut parts, None).await.map_err(|_| fatal("the request cannot be signed"))?;
        let request = self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers);
        let response = request.send().await.map_err(|error| client::unanswered("sweep S3".into(), &error))?;
        let status = response.status();
        Ok((status, client::body("sweep S3", response).await?))
    }
}

/// Each byte that is not unreserved as `%XX` (RFC 3986, section 2.3), as signatures want it.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Reads an answer (Amazon S3 API reference, "ListMultipartUploads").
fn read(xml: &[u8]) -> Result<Found, StoreError> {
    let refuse = || StoreError::new(ErrorKind::Fatal, "list dead uploads", "the answer is not what S3 answers");
    let mut reader = quick_xml::Reader::from_reader(xml);
    let (mut found, mut upload, mut path) = (Found::default(), Upload::default(), Vec::new());
    loop {
        match reader.read_event().map_err(|_| refuse())? {
            Event::Start(start) => path.push(start.local_name().as_ref().to_owned()),
            Event::End(_) => {
                let ended = path.pop();
                if ended.as_deref() == Some("Upload") {
                    found.uploads.push(std::mem::take(&mut upload));
                }
            }
            Event::Text(text) => {
                let path: Vec<_> = path.iter().skip(1).map(String::as_str).collect();
                let field = match path.as_slice() {
                    ["Upload", "Key"] => &mut upload.key,
                    ["Upload", "UploadId"] => &mut upload.id,
                    ["Upload", "Initiated"] => &mut upload.begun,
                    ["NextKeyMarker"] => &mut found.next_key,
                    ["NextUploadIdMarker"] => &mut found.next_id,
                    ["IsTruncated"] => {
                        found.truncated = text.as_ref() == "true";
                        continue;
                    }
                    _ => continue,
                };
                field.push_str(&text);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if path.is_empty() { Ok(found) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn an_answer_is_read() {
        let xml = "<?xml version=\"1.0\"?><ListMultipartUploadsResult xmlns=\"x\"><Bucket>b</Bucket><NextKeyMarker>k</NextKeyMarker>\
            <IsTruncated>true</IsTruncated><Upload><Key>a/b</Key><UploadId>1</UploadId><Owner><ID>x</ID></Owner>\
            <Initiated>2026-11-21T00:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>";
        let found = read(xml.as_bytes()).unwrap();
        let upload = Upload { key: "a/b".into(), id: "1".into(), begun: "2026-11-21T00:00:00.000Z".into() };
        assert_eq!(
            found,
            Found { uploads: vec![upload], truncated: true, next_key: "k".into(), next_id: String::new() }
        );
        assert!(read(b"<html><body>").is_err());
        assert_eq!(encoded("a/b +~"), "a%2Fb%20%2B~");
    }
}
