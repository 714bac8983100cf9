//! `accounts`: what each trader has, in cents. A redb file; a reader of it sees one moment however long it reads.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use anyhow::{Context, ensure};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};

const BALANCES: TableDefinition<'_, u32, i64> = TableDefinition::new("balances");
/// One entry: how many lines of the trades are in the balances.
const APPLIED: TableDefinition<'_, (), u64> = TableDefinition::new("applied");

/// The accounts.
pub(crate) struct Accounts {
    path: PathBuf,
    store: RwLock<Option<Database>>,
}

impl Accounts {
    /// Opens the file at `path`; where there is none, with so many accounts that have so much each.
    pub(crate) fn open(path: &Path, accounts: u32, cents: i64) -> anyhow::Result<Self> {
        let new = !path.exists();
        let store = database(path)?;
        if new {
            let write = store.begin_write()?;
            {
                let mut balances = write.open_table(BALANCES)?;
                for account in 0..accounts {
                    balances.insert(account, cents)?;
                }
                write.open_table(APPLIED)?.insert((), 0)?;
            }
            write.commit()?;
        }
        Ok(Self { path: path.to_owned(), store: RwLock::new(Some(store)) })
    }

    /// Adds to accounts and takes from them, all or nothing, and remembers that the trades are in the balances up to a line.
    pub(crate) fn apply(&self, changes: &[(u32, i64)], upto: u64) -> anyhow::Result<()> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let write = store.as_ref().context("the accounts are closed")?.begin_write()?;
        {
            let mut balances = write.open_table(BALANCES)?;
            for (account, cents) in changes {
                let before = balances.get(account)?.with_context(|| format!("there is no account {account}"))?.value();
                balances.insert(account, before.checked_add(*cents).context("more money than there can be")?)?;
            }
            write.open_table(APPLIED)?.insert((), upto)?;
        }
        write.commit()?;
        Ok(())
    }

    /// All of it as of now.
    pub(crate) fn capture(&self) -> anyhow::Result<Moment> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Moment(store.as_ref().context("the accounts are closed")?.begin_read()?))
    }

    /// Makes a file beside the live one of what was written as a snapshot. What is there of the same name is replaced.
    pub(crate) fn stage(&self, snapshot: impl BufRead, staged: &Path) -> anyhow::Result<()> {
        let _ = std::fs::remove_file(staged);
        let store = database(staged)?;
        let write = store.begin_write()?;
        let mut said = None;
        {
            let mut balances = write.open_table(BALANCES)?;
            let mut number = 0_u64;
            for line in snapshot.lines() {
                let line = line?;
                if let Some(applied) = line.strip_prefix("applied ") {
                    write.open_table(APPLIED)?.insert((), applied.parse::<u64>()?)?;
                    continue;
                }
                if let Some(count) = line.strip_prefix("end ") {
                    said = Some(count.parse::<u64>()? == number);
                    continue;
                }
                let (account, cents) = line.split_once(' ').context("not a line of accounts")?;
                balances.insert(account.parse::<u32>()?, cents.parse::<i64>()?)?;
                number += 1;
            }
        }
        ensure!(said == Some(true), "the snapshot of the accounts is not whole");
        write.commit()?;
        Ok(())
    }

    /// Puts a file that was staged in the place of the live one, in one step. Where it is there no more, that was done before.
    pub(crate) fn swap(&self, staged: &Path) -> anyhow::Result<()> {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        *store = None;
        crate::files::replace(staged, &self.path)?;
        *store = Some(database(&self.path)?);
        Ok(())
    }
}

/// The accounts at one moment.
pub(crate) struct Moment(ReadTransaction);

impl Moment {
    /// How many lines of the trades are in the balances.
    pub(crate) fn applied(&self) -> anyhow::Result<u64> {
        Ok(self.0.open_table(APPLIED)?.get(())?.map_or(0, |applied| applied.value()))
    }

    /// Each account's balance.
    pub(crate) fn balances(&self) -> anyhow::Result<BTreeMap<u32, i64>> {
        let balances = self.0.open_table(BALANCES)?;
        balances
            .iter()?
            .map(|entry| entry.map(|(account, cents)| (account.value(), cents.value())))
            .collect::<Result<_, _>>()
            .map_err(Into::into)
    }

    /// How far the trades are in it, a line an account, and one that says how many there were.
    pub(crate) fn write(&self, to: &mut dyn Write) -> anyhow::Result<()> {
        writeln!(to, "applied {}", self.applied()?)?;
        let balances = self.0.open_table(BALANCES)?;
        let mut number = 0_u64;
        for entry in balances.iter()? {
            let (account, cents) = entry?;
            writeln!(to, "{} {}", account.value(), cents.value())?;
            number += 1;
        }
        writeln!(to, "end {number}")?;
        Ok(())
    }
}

fn database(path: &Path) -> anyhow::Result<Database> {
    Database::create(path).with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn text(accounts: &Accounts) -> String {
        let mut text = Vec::new();
        accounts.capture().unwrap().write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_moment_stays_as_it_was_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(&folder.path().join("accounts.redb"), 3, 100).unwrap();
        let moment = accounts.capture().unwrap();
        accounts.apply(&[(1, -40)], 7).unwrap();
        assert!(accounts.apply(&[(0, 1), (3, -1)], 8).is_err());
        assert_eq!((moment.applied().unwrap(), moment.balances().unwrap().values().sum::<i64>()), (0, 300));
        let mut before = Vec::new();
        moment.write(&mut before).unwrap();
        drop(moment);
        assert_eq!(text(&accounts), "applied 7\n0 100\n1 60\n2 100\nend 3\n");

        let staged = folder.path().join("staged");
        accounts.stage(&before[..], &staged).unwrap();
        assert_eq!(text(&accounts), "applied 7\n0 100\n1 60\n2 100\nend 3\n");
        accounts.swap(&staged).unwrap();
        assert_eq!(text(&accounts).as_bytes(), before);
        accounts.swap(&staged).unwrap();
        assert!(accounts.stage(&before[..before.len() - 7], &staged).is_err());
    }
}
