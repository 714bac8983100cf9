//! `staff`: who works here, and how many trades each stands for. An SQLite database; a read transaction sees one moment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags, params};

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS staff (id INTEGER PRIMARY KEY, name TEXT NOT NULL, trades INTEGER NOT NULL)";

/// The staff.
pub(crate) struct Staff {
    path: PathBuf,
    store: Mutex<Option<Connection>>,
}

impl Staff {
    /// Opens the database at `path`; where there is none, with these people.
    pub(crate) fn open(path: &Path, names: &[&str]) -> anyhow::Result<Self> {
        let mut store = connect(path)?;
        let some: i64 = store.query_row("SELECT count(*) FROM staff", [], |row| row.get(0))?;
        if some == 0 {
            let all = store.transaction()?;
            for (id, name) in (1_u32..).zip(names) {
                all.execute("INSERT INTO staff VALUES (?1, ?2, 0)", params![id, name])?;
            }
            all.commit()?;
        }
        Ok(Self { path: path.to_owned(), store: Mutex::new(Some(store)) })
    }

    fn store(&self) -> MutexGuard<'_, Option<Connection>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Some of them stand for so many more trades each.
    pub(crate) fn stand_for(&self, more: &BTreeMap<u32, i64>) -> anyhow::Result<()> {
        let mut store = self.store();
        let all = store.as_mut().context("the staff's database is closed")?.transaction()?;
        for (id, trades) in more {
            let changed = all.execute("UPDATE staff SET trades = trades + ?2 WHERE id = ?1", params![id, trades])?;
            ensure!(changed == 1, "nobody has the number {id}");
        }
        all.commit()?;
        Ok(())
    }

    /// All of it as of now: another connection, whose transaction has begun to read.
    pub(crate) fn capture(&self) -> anyhow::Result<Moment> {
        let _nobody_swaps_it = self.store();
        let reader = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        reader.execute_batch("BEGIN")?;
        // It begins with the first look.
        reader.query_row("SELECT count(*) FROM staff", [], |row| row.get::<_, i64>(0))?;
        Ok(Moment(reader))
    }

    /// Makes a database beside the live one of what was written as a snapshot.
    pub(crate) fn stage(&self, snapshot: impl BufRead, staged: &Path) -> anyhow::Result<()> {
        let _ = fs::remove_file(staged);
        let mut store = Connection::open(staged)?;
        store.execute_batch(TABLE)?;
        let all = store.transaction()?;
        let (mut number, mut said) = (0_u64, None);
        for line in snapshot.lines() {
            let line = line?;
            if let Some(count) = line.strip_prefix("end ") {
                said = Some(count.parse::<u64>()? == number);
                continue;
            }
            let row: (u32, String, i64) = serde_json::from_str(&line).context("not a line of staff")?;
            all.execute("INSERT INTO staff VALUES (?1, ?2, ?3)", params![row.0, row.1, row.2])?;
            number += 1;
        }
        ensure!(said == Some(true), "the snapshot of the staff is not whole");
        all.commit()?;
        store.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    /// Puts a database that was staged in the place of the live one, in one step. Where it is there no more, that was done before.
    pub(crate) fn swap(&self, staged: &Path) -> anyhow::Result<()> {
        let mut store = self.store();
        if let Some(open) = store.take() {
            open.close().map_err(|(_, error)| error)?;
        }
        // The last one who closes it takes its write-ahead log away; one that is left would be read into the new database.
        for left in ["-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(left);
            let _ = fs::remove_file(path);
        }
        crate::files::replace(staged, &self.path)?;
        *store = Some(connect(&self.path)?);
        Ok(())
    }
}

/// The staff at one moment.
pub(crate) struct Moment(Connection);

impl Moment {
    /// A line a person, and one that says how many there were.
    pub(crate) fn write(&self, to: &mut dyn Write) -> anyhow::Result<()> {
        let mut people = self.0.prepare("SELECT id, name, trades FROM staff ORDER BY id")?;
        let mut rows = people.query([])?;
        let mut number = 0_u64;
        while let Some(row) = rows.next()? {
            let row: (u32, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            writeln!(to, "{}", serde_json::to_string(&row)?)?;
            number += 1;
        }
        writeln!(to, "end {number}")?;
        Ok(())
    }
}

fn connect(path: &Path) -> anyhow::Result<Connection> {
    let store = Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    store.execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {TABLE}"))?;
    Ok(store)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn text(moment: &Moment) -> String {
        let mut text = Vec::new();
        moment.write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_moment_stays_as_it_was_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let staff = Staff::open(&folder.path().join("staff.sqlite"), &["Ada", "Grace \"G\""]).unwrap();
        let moment = staff.capture().unwrap();
        staff.stand_for(&[(2, 1)].into()).unwrap();
        assert!(staff.stand_for(&[(1, 1), (3, 1)].into()).is_err());
        let before = text(&moment);
        assert_eq!(before, "[1,\"Ada\",0]\n[2,\"Grace \\\"G\\\"\",0]\nend 2\n");
        drop(moment);
        let after = text(&staff.capture().unwrap());
        assert!(after.contains("\",1]"), "{after}");
        let staged = folder.path().join("staged");
        staff.stage(before.as_bytes(), &staged).unwrap();
        staff.swap(&staged).unwrap();
        assert_eq!(text(&staff.capture().unwrap()), before);
        staff.stand_for(&[(1, 1)].into()).unwrap();
        assert!(staff.stage(&before.as_bytes()[..before.len() - 2], &staged).is_err());
    }
}
