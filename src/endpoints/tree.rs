//! A listing of names out of a tree of folders, in the order an object store has: by the bytes of the whole names.
//!
//! Only one branch is in memory. What comes before the first name that is wanted is not looked into.

use std::time::SystemTime;

use super::name::is_segment;
use super::{Answer, Entry, ErrorKind, MAX_PAGE, ObjectName, Page, Prefix, StoreError};

/// Deepest folder that is looked into: no name has more segments.
const DEEPEST: usize = 350;
/// Most entries of one folder.
pub(super) const MOST_CHILDREN: usize = 1_000_000;

/// What is being done, for messages: the first of all folders has no name.
pub(super) fn listing(folder: &str) -> String {
    if folder.is_empty() { "list what is there".to_owned() } else { format!("list {folder}") }
}

/// Something in a folder. Links and devices are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Child {
    Folder(String),
    File { name: String, size: u64, modified: Option<SystemTime> },
}

impl Child {
    fn name(&self) -> &str {
        match self {
            Self::Folder(name) | Self::File { name, .. } => name,
        }
    }

    /// A folder stands where the names in it stand.
    fn order(&self) -> (Vec<u8>, bool) {
        let folder = matches!(self, Self::Folder(_));
        let mut bytes = self.name().as_bytes().to_vec();
        if folder {
            bytes.push(b'/');
        }
        (bytes, folder)
    }
}

/// Folders that can be looked into.
pub(super) trait Folders: Sync {
    /// What is in a folder, given as a name without a `/` at its end, empty for the top. Nothing where it is not there.
    fn children<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Child>>;
}

/// A page of the files under a prefix.
pub(super) async fn list(
    folders: &dyn Folders,
    prefix: &Prefix,
    after: Option<&ObjectName>,
    most: usize,
) -> Result<Page, StoreError> {
    let most = most.clamp(1, MAX_PAGE);
    let mut page = Page::default();
    let mut branch = vec![(prefix.as_str().to_owned(), sorted(folders.children(prefix.as_str()).await?))];
    while let Some((folder, children)) = branch.last_mut() {
        let Some(child) = children.pop() else {
            branch.pop();
            continue;
        };
        let path = if folder.is_empty() { child.name().to_owned() } else { format!("{folder}/{}", child.name()) };
        match child {
            Child::Folder(_) => {
                let begins = format!("{path}/");
                if after.is_some_and(|after| !after.as_str().starts_with(&begins) && begins.as_str() < after.as_str()) {
                    continue;
                }
                if branch.len() == DEEPEST {
                    let doing = listing(prefix.as_str());
                    return Err(StoreError::new(ErrorKind::Fatal, doing, "there are folders in folders without end"));
                }
                let children = sorted(folders.children(&path).await?);
                branch.push((path, children));
            }
            Child::File { size, modified, .. } => {
                let Ok(name) = ObjectName::new(path) else { continue };
                if after.is_some_and(|after| name <= *after) {
                    continue;
                }
                if page.entries.len() == most {
                    page.next = page.entries.last().map(|entry| entry.name.clone());
                    return Ok(page);
                }
                page.entries.push(Entry { name, size, modified });
            }
        }
    }
    Ok(page)
}

/// Those that can be part of a name, the first one last.
fn sorted(mut children: Vec<Child>) -> Vec<Child> {
    children.retain(|child| is_segment(child.name()));
    children.sort_by_cached_key(|child| std::cmp::Reverse(child.order()));
    children
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeSet;

    use super::*;

    struct Made(Vec<&'static str>);

    impl Folders for Made {
        fn children<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Child>> {
            let begins = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let below: BTreeSet<_> = self.0.iter().filter_map(|name| name.strip_prefix(&begins)).collect();
            let child = |rest: &&str| match rest.split_once('/') {
                Some((name, _)) => Child::Folder(name.to_owned()),
                None => Child::File { name: (*rest).to_owned(), size: 1, modified: None },
            };
            let mut children: Vec<_> = below.iter().map(child).collect();
            children.dedup();
            Box::pin(std::future::ready(Ok(children)))
        }
    }

    #[tokio::test]
    async fn pages_are_in_the_order_of_the_bytes_and_leave_nothing_out() {
        let names = ["a", "a-b", "a/1", "a/2/x", "a/2.y", "a.c", "b/..evil", "c d", "z"];
        let mut expected: Vec<_> = names.iter().filter(|name| **name != "c d").copied().collect();
        expected.sort_unstable();
        for most in 1..=9 {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = list(&Made(names.to_vec()), &Prefix::top(), after.as_ref(), most).await.unwrap();
                assert!(page.entries.len() <= most);
                found.extend(page.entries.into_iter().map(|entry| entry.name.as_str().to_owned()));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{most}");
        }
    }
}
