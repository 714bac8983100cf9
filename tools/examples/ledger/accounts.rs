//! Balances in memory, and the journal they come from: a line a transfer, `number from to amount`.
//!
//! What is in the journal is whole up to its last line that can be read; what a kill cut off is cut away at the next start.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use holdfast::participant::{Artifacts, Participant, ParticipantError, Preflight};

/// One movement between two accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Its number, from 1.
    pub(crate) number: u64,
    from: usize,
    to: usize,
    /// What was moved.
    pub(crate) amount: i64,
}

/// All accounts. Clones share them.
#[derive(Clone)]
pub(crate) struct Accounts {
    path: PathBuf,
    books: Arc<Mutex<Books>>,
}

struct Books {
    balances: Vec<i64>,
    transfers: u64,
    journal: BufWriter<File>,
}

impl Books {
    fn apply(&mut self, transfer: Transfer) {
        for (account, amount) in [(transfer.from, -transfer.amount), (transfer.to, transfer.amount)] {
            if let Some(balance) = self.balances.get_mut(account) {
                *balance += amount;
            }
        }
        self.transfers = transfer.number;
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.journal.flush()?;
        self.journal.get_ref().sync_data()
    }
}

impl Accounts {
    /// Opens the journal at `path`, or begins one, and works out all balances from it. Gives the transfers after `known` too.
    pub(crate) fn open(path: &Path, accounts: u32, known: u64) -> anyhow::Result<(Self, Vec<Transfer>)> {
        let mut after = Vec::new();
        let failed = || format!("cannot read {}", path.display());
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut books = Books {
            balances: vec![0; accounts as usize],
            transfers: 0,
            journal: BufWriter::new(file.try_clone().with_context(failed)?),
        };
        let mut whole = 0;
        let mut lines = BufReader::new(&mut file);
        let mut line = String::new();
        while lines.read_line(&mut line).with_context(failed)? > 0 {
            let Some(transfer) = parse(&line).filter(|transfer| transfer.number == books.transfers + 1) else { break };
            books.apply(transfer);
            if transfer.number > known {
                after.push(transfer);
            }
            whole += line.len() as u64;
            line.clear();
        }
        file.set_len(whole).with_context(failed)?;
        file.seek(SeekFrom::Start(whole)).with_context(failed)?;
        Ok((Self { path: path.to_owned(), books: Arc::new(Mutex::new(books)) }, after))
    }

    /// Transfers on the books.
    pub(crate) fn transfers(&self) -> u64 {
        self.books().transfers
    }

    /// Makes the next transfer. It is in memory then, and in the journal after the next flush.
    pub(crate) fn transfer(&self) -> anyhow::Result<Transfer> {
        let mut books = self.books();
        let number = books.transfers + 1;
        let accounts = books.balances.len();
        let spread = usize::try_from(number % 1_000_003)?;
        let from = spread * 31 % accounts;
        let transfer = Transfer {
            number,
            from,
            to: (from + 1 + spread % (accounts - 1)) % accounts,
            amount: (number % 977) as i64,
        };
        writeln!(books.journal, "{number} {} {} {}", transfer.from, transfer.to, transfer.amount)?;
        books.apply(transfer);
        Ok(transfer)
    }

    /// Brings all that is in memory to the disk.
    pub(crate) fn flush(&self) -> std::io::Result<()> {
        self.books().flush()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(line: &str) -> Option<Transfer> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    let transfer = Transfer {
        number: words.next()?.parse().ok()?,
        from: words.next()?.parse().ok()?,
        to: words.next()?.parse().ok()?,
        amount: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(transfer)
}

impl Participant for Accounts {
    fn preflight(&self, _check: &Preflight) -> Result<(), ParticipantError> {
        self.path.metadata().map(drop).map_err(|error| {
            ParticipantError::retryable("JOURNAL_UNREADABLE", format!("{}: {error}", self.path.display()))
        })
    }

    /// The balances of one moment. They are copied under the lock, which takes a blink, and written without it.
    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let (balances, transfers) = {
            let mut books = self.books();
            books.flush()?;
            (books.balances.clone(), books.transfers)
        };
        let mut sink = artifacts.create("accounts.snapshot")?;
        let mut text = BufWriter::new(&mut sink);
        writeln!(text, "transfers {transfers}")?;
        for (account, balance) in balances.iter().enumerate() {
            writeln!(text, "{account} {balance}")?;
        }
        writeln!(text, "end")?;
        text.flush()?;
        drop(text);
        sink.finish()
    }
}
