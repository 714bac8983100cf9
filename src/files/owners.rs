//! Names of users and groups, from `/etc/passwd` and `/etc/group`.
//!
//! Users of a directory service are not in these files: they are kept by number, which is the same on all machines of
//! such a service.

use std::collections::HashMap;
use std::io::Read;

/// Longest file that is read.
const MAX_LENGTH: u64 = 16 * 1024 * 1024;

/// Both ways between numbers and names of this machine.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: Table,
    groups: Table,
}

#[derive(Debug, Default)]
struct Table {
    names: HashMap<u32, String>,
    numbers: HashMap<String, u32>,
}

impl Owners {
    /// As they are now. Without the files, numbers are all there is.
    pub(super) fn read() -> Self {
        Self { users: Table::read("/etc/passwd"), groups: Table::read("/etc/group") }
    }

    /// Name of a user; empty if there is none.
    pub(super) fn user(&self, uid: u32) -> &str {
        self.users.names.get(&uid).map_or("", String::as_str)
    }

    /// Name of a group; empty if there is none.
    pub(super) fn group(&self, gid: u32) -> &str {
        self.groups.names.get(&gid).map_or("", String::as_str)
    }

    /// Number of a user here.
    pub(super) fn uid(&self, user: &str) -> Option<u32> {
        self.users.numbers.get(user).copied()
    }

    /// Number of a group here.
    pub(super) fn gid(&self, group: &str) -> Option<u32> {
        self.groups.numbers.get(group).copied()
    }
}

impl Table {
    fn read(path: &str) -> Self {
        let mut text = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_LENGTH).read_to_end(&mut text));
        match read {
            Ok(_) => Self::parse(&String::from_utf8_lossy(&text)),
            Err(_) => Self::default(),
        }
    }

    /// Lines of `name:password:number:…`; the first of a name or number counts, as for the system.
    fn parse(text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(number)) = (fields.next(), fields.nth(1).and_then(|id| id.parse().ok())) else {
                continue;
            };
            if name.is_empty() {
                continue;
            }
            table.names.entry(number).or_insert_with(|| name.to_owned());
            table.numbers.entry(name.to_owned()).or_insert(number);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_name_or_number_counts() {
        let table = Table::parse("root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:\n# no\nann:x:7:7\nann:x:8:8\n:x:9:9\n");
        assert_eq!(table.names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(table.numbers.get("toor"), Some(&0));
        assert_eq!(table.numbers.get("ann"), Some(&7));
        assert_eq!(table.names.len(), 3);
        assert!(!table.names.contains_key(&9));
    }
}
