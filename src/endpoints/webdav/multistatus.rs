//! What a server answers to `PROPFIND` (RFC 4918, section 14.16).
//!
//! Its `href`s are not trusted: only what is directly in the folder that was asked for is taken, by its last segment.

use std::time::SystemTime;

use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};

use crate::endpoints::name::is_segment;
use crate::endpoints::tree::{Child, MOST_CHILDREN};
use crate::endpoints::{ErrorKind, StoreError};

const DAV: Namespace<'static> = Namespace("DAV:");

#[derive(Default)]
struct Response {
    href: String,
    is_folder: bool,
    size: String,
    modified: String,
}

/// What is in the folder whose path this is (`/dav/a/`).
pub(super) fn children(doing: &str, folder: &str, xml: &[u8]) -> Result<Vec<Child>, StoreError> {
    let refuse = || StoreError::new(ErrorKind::Fatal, doing, "the answer is not what a WebDAV server answers");
    let mut reader = NsReader::from_reader(xml);
    let (mut children, mut response, mut path) = (Vec::new(), Response::default(), Vec::new());
    let mut buffer = Vec::new();
    // Nothing at all, or something else, is no empty folder.
    let mut is_answer = false;
    loop {
        let (namespace, event) = reader.read_resolved_event_into(&mut buffer).map_err(|_| refuse())?;
        let is_dav = matches!(namespace, ResolveResult::Bound(namespace) if namespace == DAV);
        match event {
            Event::Start(start) => {
                path.push(if is_dav { start.local_name().as_ref().to_owned() } else { String::new() });
                is_answer |= matches!(&*path, [root] if root == "multistatus");
                response.is_folder |= ends(&path, "resourcetype", "collection");
            }
            Event::Empty(empty) if is_dav => {
                is_answer |= path.is_empty() && empty.local_name().as_ref() == "multistatus";
                let local = empty.local_name().as_ref() == "collection";
                response.is_folder |= local && path.last().is_some_and(|last| last == "resourcetype");
            }
            Event::End(_) => {
                let ended = path.pop();
                if ended.as_deref() == Some("response") {
                    children.extend(child(folder, &std::mem::take(&mut response)));
                    if children.len() > MOST_CHILDREN {
                        return Err(StoreError::new(ErrorKind::Fatal, doing, "there are too many files in one folder"));
                    }
                }
            }
            Event::Text(text) => {
                let field = match path.last().map(String::as_str) {
                    Some("href") if ends(&path, "response", "href") => &mut response.href,
                    Some("getcontentlength") => &mut response.size,
                    Some("getlastmodified") => &mut response.modified,
                    _ => continue,
                };
                field.push_str(&text);
            }
            Event::Eof => break,
            _ => {}
        }
        buffer.clear();
    }
    if path.is_empty() && is_answer { Ok(children) } else { Err(refuse()) }
}

fn ends(path: &[String], above: &str, last: &str) -> bool {
    matches!(path, [.., one, two] if one == above && two == last)
}

fn child(folder: &str, response: &Response) -> Option<Child> {
    let href = response.href.trim();
    // An absolute URL, or an absolute path.
    let path = match href.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..))?,
        None => href,
    };
    // Names need no escapes; what has one is none of ours. The folder's own path may have some, written by the server in its own way.
    let path = path.trim_end_matches('/');
    let (above, name) = path.rsplit_once('/')?;
    if !is_segment(name) || above.matches('/').count() + 1 != folder.trim_end_matches('/').matches('/').count() + 1 {
        return None;
    }
    let name = name.to_owned();
    Some(match response.is_folder {
        true => Child::Folder(name),
        false => {
            Child::File { name, size: response.size.trim().parse().ok()?, modified: time(response.modified.trim()) }
        }
    })
}

/// A time as HTTP writes it (RFC 9110, section 5.6.7).
pub(super) fn time(text: &str) -> Option<SystemTime> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(SystemTime::from(time.timestamp()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn only_what_is_in_the_folder_is_taken() {
        let one = |href: &str, kind: &str| {
            format!(
                "<D:response><D:href>{href}</D:href><D:propstat><D:prop><lp1:resourcetype>{kind}</lp1:resourcetype>\
                 <lp1:getcontentlength>7</lp1:getcontentlength><lp1:getlastmodified>Sat, 21 Nov 2026 03:15:00 GMT</lp1:getlastmodified>\
                 </D:prop></D:propstat></D:response>"
            )
        };
        let all = [
            one("/dav/a/", "<D:collection/>"),
            one("/dav/a/b/", "<D:collection></D:collection>"),
            one("http://host/dav/a/c", ""),
            one("/dav/a/../../etc/passwd", ""),
            one("/dav/a/..", ""),
            one("/dav/a/%2e%2e", ""),
            one("/dav/a/d/e", ""),
            one("/x", ""),
        ];
        let xml = format!("<D:multistatus xmlns:D=\"DAV:\" xmlns:lp1=\"DAV:\">{}</D:multistatus>", all.concat());
        let found = children("list", "/dav/a/", xml.as_bytes()).unwrap();
        let modified = time("Sat, 21 Nov 2026 03:15:00 GMT");
        assert!(modified.is_some());
        assert_eq!(found, [Child::Folder("b".into()), Child::File { name: "c".into(), size: 7, modified }]);
        for other in ["", "<html>", "<html/>", "nothing", "<D:propfind xmlns:D=\"DAV:\"><D:prop/></D:propfind>"] {
            assert!(children("list", "/", other.as_bytes()).is_err(), "{other}");
        }
        assert_eq!(children("list", "/", b"<multistatus xmlns=\"DAV:\"/>").unwrap(), []);
    }
}
