//! A record of every transfer in a binary file, behind an async interface as a database server would have one.
//!
//! A record is 24 bytes, little-endian: number, amount, and a check over both and the record before it. The file belongs to one thread;
//! everybody else asks it over a channel.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;
use holdfast::participant::{Artifacts, Participant, ParticipantError};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::accounts::Transfer;

/// Bytes of a record.
const RECORD: u64 = 24;
/// Records whose bytes one request gives at most.
const PIECE: u64 = 4096;

/// The auditors' file. Clones share it.
#[derive(Clone)]
pub(crate) struct Audit {
    requests: mpsc::Sender<Request>,
}

enum Request {
    Append(Transfer),
    Flush(oneshot::Sender<std::io::Result<u64>>),
    Read { at: u64, bytes: u64, answer: oneshot::Sender<std::io::Result<Vec<u8>>> },
}

/// The side of the thread that owns the file.
struct Store {
    file: File,
    length: u64,
    /// The number in the last record, and its check.
    last: u64,
    check: u64,
}

impl Audit {
    /// Opens the file, or begins one; a record that a kill cut off is cut away. Gives the number of the last transfer in it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<(Self, u64)> {
        let mut store = Store::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let last = store.last;
        let (requests, mut asked) = mpsc::channel(64);
        std::thread::Builder::new().name("audit".into()).spawn(move || {
            while let Some(request) = asked.blocking_recv() {
                store.serve(request);
            }
        })?;
        Ok((Self { requests }, last))
    }

    /// Notes transfers.
    pub(crate) async fn append(&self, transfers: &[Transfer]) -> anyhow::Result<()> {
        for transfer in transfers {
            self.requests.send(Request::Append(*transfer)).await.context("the thread of the audit file is gone")?;
        }
        Ok(())
    }

    /// Brings all records to the disk, and says how many bytes they are.
    async fn flush(&self) -> Result<u64, ParticipantError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Flush(answer)).await.map_err(|_| gone())?;
        Ok(answered.await.map_err(|_| gone())??)
    }

    async fn read(&self, at: u64, bytes: u64) -> Result<Vec<u8>, ParticipantError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Read { at, bytes, answer }).await.map_err(|_| gone())?;
        Ok(answered.await.map_err(|_| gone())??)
    }

    /// What the engine backs up. `runtime` is the one its async code runs on.
    pub(crate) fn participant(&self, runtime: Handle) -> AuditParticipant {
        AuditParticipant { audit: self.clone(), runtime }
    }
}

fn gone() -> ParticipantError {
    ParticipantError::fatal("AUDIT_GONE", "the thread of the audit file is gone: restart the ledger")
}

/// The check of a record: FNV-1a (Fowler, Noll, Vo) over the one before it and both numbers.
fn check(before: u64, number: u64, amount: i64) -> u64 {
    let words = [before, number, amount.cast_unsigned()];
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Store {
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut length, mut last, mut before) = (0, 0, 0);
        for record in bytes.chunks_exact(RECORD as usize) {
            let mut words = record.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
            let (Some(number), Some(amount), Some(found)) = (words.next(), words.next(), words.next()) else { break };
            if check(before, number, amount.cast_signed()) != found {
                break;
            }
            (last, before) = (number, found);
            length += RECORD;
        }
        file.set_len(length)?;
        Ok(Self { file, length, last, check: before })
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Append(transfer) => {
                if let Err(error) = self.append(transfer) {
                    eprintln!("audit: transfer {} is not noted: {error}", transfer.number);
                }
            }
            Request::Flush(answer) => drop(answer.send(self.file.sync_data().map(|()| self.length))),
            Request::Read { at, bytes, answer } => {
                let mut piece = vec![0; usize::try_from(bytes).unwrap_or(0)];
                let read = self.file.read_exact_at(&mut piece, at).map(|()| piece);
                drop(answer.send(read));
            }
        }
    }

    fn append(&mut self, transfer: Transfer) -> std::io::Result<()> {
        let next = check(self.check, transfer.number, transfer.amount);
        let words = [transfer.number, transfer.amount.cast_unsigned(), next];
        let record: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        if let Err(error) = self.file.write_all(&record) {
            // Half a record would make the ones after it unreadable.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        (self.last, self.check, self.length) = (transfer.number, next, self.length + RECORD);
        Ok(())
    }
}

/// The audit file as the engine sees it.
pub(crate) struct AuditParticipant {
    audit: Audit,
    runtime: Handle,
}

impl Participant for AuditParticipant {
    /// The engine calls from a thread that may block, so the async side is waited for where it is needed.
    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let length = self.runtime.block_on(self.audit.flush())?;
        artifacts.expect_bytes(length);
        let mut sink = artifacts.create("audit.bin")?;
        let mut at = 0;
        while at < length {
            let bytes = (length - at).min(PIECE * RECORD);
            let piece = self.runtime.block_on(self.audit.read(at, bytes))?;
            sink.write_all(&piece)?;
            at += bytes;
        }
        sink.finish()
    }
}
