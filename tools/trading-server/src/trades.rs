//! `trades`: a line a step of a trade, in a file that only grows. New lines wait in memory and are written together.
//!
//! What is here is true: the balances follow it, line by line ([`crate::exchange`]). A trade that was placed holds the buyer's money until it is settled. A capture is a length of the file: what is before it never changes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};

/// A trade that was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trade {
    pub(crate) buyer: u32,
    pub(crate) seller: u32,
    /// What it holds, in cents.
    pub(crate) cents: i64,
    pub(crate) symbol: String,
    /// Who of the staff stands for it.
    pub(crate) by: u32,
}

/// What a book of trades comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Book {
    /// Trades that hold money, by number.
    pub(crate) open: BTreeMap<u64, Trade>,
    /// The number of the last one that was placed.
    pub(crate) last: u64,
    /// Lines so far.
    pub(crate) lines: u64,
}

impl Book {
    /// All the money that trades hold.
    pub(crate) fn sum(&self) -> i64 {
        self.open.values().map(|trade| trade.cents).sum()
    }

    fn read(lines: impl BufRead) -> anyhow::Result<(Self, u64)> {
        let (mut book, mut whole) = (Self::default(), 0);
        for line in lines.split(b'\n') {
            let line = line?;
            let Some(_) = book.apply(std::str::from_utf8(&line).unwrap_or_default()) else { break };
            whole += line.len() as u64 + 1;
        }
        Ok((book, whole))
    }

    /// Takes a line, and says what it does to which account.
    fn apply(&mut self, line: &str) -> Option<(u32, i64)> {
        let mut words = line.strip_suffix(" .")?.split(' ');
        let kind = words.next()?;
        let number = words.next()?.parse().ok()?;
        let change = match kind {
            "placed" => {
                let mut word = || words.next();
                let trade = Trade {
                    buyer: word()?.parse().ok()?,
                    seller: word()?.parse().ok()?,
                    cents: word()?.parse().ok()?,
                    by: word()?.parse().ok()?,
                    symbol: word()?.to_owned(),
                };
                let change = (trade.buyer, -trade.cents);
                self.open.insert(number, trade);
                self.last = number;
                change
            }
            "settled" => {
                let trade = self.open.remove(&number)?;
                (trade.seller, trade.cents)
            }
            _ => return None,
        };
        self.lines += 1;
        words.next().is_none().then_some(change)
    }
}

/// The trades.
pub(crate) struct Trades {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Bytes of the file that are on stable storage.
    length: u64,
    book: Book,
    /// Lines that are not in the file yet.
    waiting: Vec<u8>,
}

impl Trades {
    /// Opens the file at `path`. What a crash cut off in the middle of a line is cut away.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { path: path.to_owned(), state: Mutex::new(State::open(path)?) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places a trade: its number.
    pub(crate) fn place(&self, trade: Trade) -> u64 {
        let mut state = self.state();
        let number = state.book.last + 1;
        let Trade { buyer, seller, cents, by, symbol } = trade;
        state.say(&format!("placed {number} {buyer} {seller} {cents} {by} {symbol} ."));
        number
    }

    /// Settles a trade: what it held, and for whom.
    pub(crate) fn settle(&self, number: u64) -> Option<Trade> {
        let mut state = self.state();
        let trade = state.book.open.get(&number).cloned()?;
        state.say(&format!("settled {number} ."));
        Some(trade)
    }

    /// Lines so far.
    pub(crate) fn lines(&self) -> u64 {
        self.state().book.lines
    }

    /// The oldest trades that hold money.
    pub(crate) fn oldest(&self, count: usize) -> Vec<u64> {
        self.state().book.open.keys().take(count).copied().collect()
    }

    /// Brings all lines that wait to the disk.
    pub(crate) fn drain(&self) -> anyhow::Result<()> {
        self.state().drain()
    }

    /// What lines after a number of them do to accounts, and how many lines there are.
    pub(crate) fn changes_after(&self, lines: u64) -> anyhow::Result<(Vec<(u32, i64)>, u64)> {
        let moment = self.capture()?;
        let (mut book, mut changes) = (Book::default(), Vec::new());
        for line in BufReader::new(moment.file.take(moment.length)).lines() {
            let change = book.apply(&line?).context("a line of the trades cannot be read")?;
            if book.lines > lines {
                changes.push(change);
            }
        }
        Ok((changes, book.lines))
    }

    /// All of it as of now, once nothing waits.
    pub(crate) fn capture(&self) -> anyhow::Result<Moment> {
        let mut state = self.state();
        state.drain()?;
        let file = File::open(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(Moment { file, length: state.length })
    }

    /// Makes a file beside the live one of what was written as a snapshot.
    pub(crate) fn stage(&self, mut snapshot: impl Read, staged: &Path) -> anyhow::Result<()> {
        let mut file = File::create(staged).with_context(|| format!("cannot write {}", staged.display()))?;
        let length = std::io::copy(&mut snapshot, &mut file)?;
        let (_, whole) = Book::read(BufReader::new(File::open(staged)?))?;
        ensure!(whole == length, "the snapshot of the trades is not whole");
        Ok(())
    }

    /// Puts a file that was staged in the place of the live one, in one step. Where it is there no more, that was done before.
    pub(crate) fn swap(&self, staged: &Path) -> anyhow::Result<()> {
        let mut state = self.state();
        crate::files::replace(staged, &self.path)?;
        *state = State::open(&self.path)?;
        Ok(())
    }
}

impl State {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot open {}", path.display());
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).with_context(failed)?;
        let (book, length) = Book::read(BufReader::new(&file)).with_context(failed)?;
        file.set_len(length).with_context(failed)?;
        file.seek(SeekFrom::Start(length)).with_context(failed)?;
        Ok(Self { file, length, book, waiting: Vec::new() })
    }

    fn say(&mut self, line: &str) {
        // What is said here can be read: it is written by the same hand.
        let _ = self.book.apply(line);
        self.waiting.extend_from_slice(line.as_bytes());
        self.waiting.push(b'\n');
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.waiting)?;
        self.file.sync_data()?;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

/// The trades at one moment.
pub(crate) struct Moment {
    file: File,
    length: u64,
}

impl Moment {
    /// How many bytes there are.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The lines.
    pub(crate) fn write(&mut self, to: &mut dyn Write) -> anyhow::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        let written = std::io::copy(&mut (&self.file).take(self.length), to)?;
        ensure!(written == self.length, "the file of the trades became shorter");
        Ok(())
    }
}

/// What the lines of a snapshot come to.
pub(crate) fn book(snapshot: impl BufRead) -> anyhow::Result<Book> {
    Ok(Book::read(snapshot)?.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn trade(cents: i64) -> Trade {
        Trade { buyer: 3, seller: 7, cents, symbol: "OAK".into(), by: 1 }
    }

    fn text(trades: &Trades) -> Vec<u8> {
        let mut text = Vec::new();
        trades.capture().unwrap().write(&mut text).unwrap();
        text
    }

    #[test]
    fn a_moment_is_what_was_said_by_then_and_what_a_crash_cut_is_cut_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trades.log");
        let trades = Trades::open(&path).unwrap();
        assert_eq!((trades.place(trade(5)), trades.place(trade(6))), (1, 2));
        let mut moment = trades.capture().unwrap();
        assert_eq!(trades.settle(1).unwrap(), trade(5));
        assert_eq!(trades.settle(1), None);
        let mut before = Vec::new();
        moment.write(&mut before).unwrap();
        assert_eq!(book(&before[..]).unwrap().sum(), 11);
        let after = text(&trades);
        assert_eq!(book(&after[..]).unwrap().sum(), 6);

        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"settled 2").unwrap();
        let trades = Trades::open(&path).unwrap();
        assert_eq!(text(&trades), after);
        assert_eq!(trades.changes_after(1).unwrap(), (vec![(3, -6), (7, 5)], 3));
        let staged = folder.path().join("staged");
        trades.stage(&before[..], &staged).unwrap();
        trades.swap(&staged).unwrap();
        assert_eq!((text(&trades), trades.oldest(9)), (before.clone(), vec![1, 2]));
        assert!(trades.stage(&before[..before.len() - 3], &staged).is_err());
    }
}
