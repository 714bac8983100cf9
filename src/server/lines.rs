//! A connection of lines: one JSON object each, over whatever carries bytes both ways.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until, timeout};

use super::outbox::{Queue, Reason};
use super::places::Trial;
use super::session::Connection;
use crate::api::{ApiError, ErrorCode, envelope};

/// Bytes that are read at a time.
const READ: usize = 16 << 10;
/// Messages that are shorter than this are written together.
const TOGETHER: usize = 16 << 10;
const END: &[u8] = b"\r\n";
/// How long answers are worked for after the client has said that it sends no more.
const AFTER_END: Duration = Duration::from_secs(30);
/// How long the client is given to read an error before its connection is gone, and what it sends meanwhile at most.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 4 << 20;

/// Splits a stream of bytes into lines that end with `\n` or `\r\n`. It holds at most one line of the length that is allowed, and what one
/// read brought beyond.
///
/// ```
/// use holdfast::server::Lines;
///
/// let mut lines = Lines::default();
/// lines.buffer().extend_from_slice(b"one\r\ntwo\nthr");
/// assert_eq!(lines.take(100).unwrap().as_deref(), Some(&b"one"[..]));
/// assert_eq!(lines.take(100).unwrap().as_deref(), Some(&b"two"[..]));
/// assert_eq!(lines.take(100).unwrap(), None);
/// assert!(lines.has_rest());
/// assert!(lines.take(1).is_err());
/// ```
#[derive(Debug, Default)]
pub struct Lines {
    buffer: BytesMut,
    /// Bytes at the beginning that hold no end of a line.
    seen: usize,
}

/// A line is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than it may be")]
pub struct LineTooLong;

impl Lines {
    /// Where bytes are added at the end.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next line without its end; `None` where it is not whole yet.
    ///
    /// # Errors
    /// [`LineTooLong`] where it has, or will have, more bytes than `limit`. Nothing can be taken after it.
    pub fn take(&mut self, limit: usize) -> Result<Option<BytesMut>, LineTooLong> {
        let end = self.buffer.iter().skip(self.seen).position(|byte| *byte == b'\n');
        let Some(end) = end else {
            self.seen = self.buffer.len();
            // One byte more may be the `\r` of the end.
            return if self.seen > limit.saturating_add(1) { Err(LineTooLong) } else { Ok(None) };
        };
        let mut line = self.buffer.split_to(self.seen + end);
        self.buffer.advance(1);
        self.seen = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if line.len() > limit { Err(LineTooLong) } else { Ok(Some(line)) }
    }

    /// Whether there is a beginning of a line.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        !self.buffer.is_empty()
    }
}

/// Speaks with a client until one of both has enough; with one on trial who shows no token, until that is over.
pub(super) async fn speak<Io>(io: Io, connection: Arc<Connection>, queue: Queue, trial: Option<Trial>)
where
    Io: AsyncRead + AsyncWrite + Send,
{
    let (mut from, to) = tokio::io::split(io);
    let patience = connection.limits().slow_consumer;
    let mut writing = std::pin::pin!(write(to, queue));
    let reason = tokio::select! {
        () = &mut writing => return,
        reason = read(&mut from, &connection) => reason,
        reason = not_known_after(trial, &connection) => reason,
    };
    connection.outbox().close(reason);
    // What is queued is written, as far as the client takes it.
    let _ = timeout(patience, &mut writing).await;
    match reason {
        Reason::TooLarge | Reason::TokenEnded => linger(&mut from).await,
        Reason::Unknown => {
            if let Some(_telling) = connection.tell() {
                linger(&mut from).await;
            }
        }
        _ => {}
    }
}

/// Waits for the end of a trial in which no token was shown; for ever where there is none.
async fn not_known_after(trial: Option<Trial>, connection: &Connection) -> Reason {
    if let Some(trial) = trial {
        let error = trial.over().await;
        if !connection.is_known() {
            connection.free_place();
            connection.refuse(None, &error).await;
            return Reason::Unknown;
        }
    }
    std::future::pending().await
}

/// Reads messages and has them answered.
async fn read<Io: AsyncRead>(from: &mut ReadHalf<Io>, connection: &Arc<Connection>) -> Reason {
    let mut lines = Lines::default();
    let mut heard = Instant::now();
    let outbox = connection.outbox().clone();
    let mut closed = std::pin::pin!(outbox.closed());
    loop {
        loop {
            match lines.take(connection.message_limit()) {
                Ok(Some(line)) => {
                    if connection.outbox().is_closed() {
                        return closed.await;
                    }
                    connection.message(&line).await;
                    heard = Instant::now();
                }
                Ok(None) => break,
                Err(LineTooLong) => {
                    connection.refuse_large().await;
                    return Reason::TooLarge;
                }
            }
        }
        lines.buffer().reserve(READ);
        let mut room = lines.buffer().limit(READ);
        tokio::select! {
            reason = &mut closed => return reason,
            read = from.read_buf(&mut room) => match read {
                Ok(0) => {
                    if lines.has_rest() {
                        let text = "the connection ended within a line: end it with \\n";
                        connection.refuse(None, &ApiError::new(ErrorCode::InvalidMessage, text)).await;
                    }
                    connection.end_subscriptions();
                    let _ = timeout(AFTER_END, connection.all_answered()).await;
                    return Reason::Left;
                }
                Ok(_) => {}
                Err(_) => return Reason::Gone,
            },
            () = sleep_until(heard + connection.limits().tcp_idle) => {
                if connection.is_forgotten() {
                    return Reason::Silent;
                }
                heard = Instant::now();
            }
        }
    }
}

/// Writes what is queued until the connection ends.
async fn write<Io: AsyncWrite>(mut to: WriteHalf<Io>, mut queue: Queue) {
    let outbox = queue.outbox().clone();
    let writing = async {
        let mut together = BytesMut::with_capacity(TOGETHER);
        while let Some(first) = queue.next().await {
            let mut taking = vec![first];
            let mut bytes = 0;
            while let Some(last) = taking.last() {
                bytes += last.message.len();
                match (bytes < TOGETHER).then(|| queue.next_now()).flatten() {
                    Some(next) => taking.push(next),
                    None => break,
                }
            }
            for queued in taking.iter().filter(|queued| queued.message.len() < TOGETHER) {
                together.put_slice(&queued.message);
                together.put_slice(END);
            }
            write_all(&mut to, &mut together, &queue).await?;
            // At most the last one is long.
            for queued in taking.iter().filter(|queued| queued.message.len() >= TOGETHER) {
                write_all(&mut to, &mut queued.message.clone().chain(END), &queue).await?;
            }
            to.flush().await?;
        }
        to.shutdown().await
    };
    tokio::select! {
        _ = writing => {}
        _ = outbox.abandoned() => {}
    }
}

/// Writes all of it, and says each time that the client took something.
async fn write_all<Io: AsyncWrite>(to: &mut WriteHalf<Io>, bytes: &mut impl Buf, queue: &Queue) -> std::io::Result<()> {
    while bytes.has_remaining() {
        if to.write_buf(bytes).await? == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        queue.taken();
    }
    Ok(())
}

/// Tells a client why it is not let in.
pub(super) async fn turn_away<Io>(io: &mut Io, why: &ApiError) -> std::io::Result<()>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let mut line = envelope::error(None, why);
    line.extend_from_slice(END);
    io.write_all(&line).await?;
    io.shutdown().await?;
    linger(io).await;
    Ok(())
}

/// Reads on for a moment: a connection that is closed with something unread is reset, and the client may never see why.
async fn linger(from: &mut (impl AsyncRead + Unpin)) {
    let reading = async {
        let (mut buffer, mut all) = (vec![0; READ], 0);
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            all += read;
            if all > LINGER_BYTES {
                break;
            }
        }
    };
    let _ = timeout(LINGER, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[&[u8]], limit: usize) -> (Vec<String>, bool) {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for part in input {
            lines.buffer().extend_from_slice(part);
            loop {
                match lines.take(limit) {
                    Ok(Some(line)) => seen.push(String::from_utf8_lossy(&line).into_owned()),
                    Ok(None) => break,
                    Err(LineTooLong) => return (seen, true),
                }
            }
        }
        (seen, false)
    }

    #[test]
    fn lines_end_with_either_end_wherever_they_are_cut() {
        let text = b"ab\r\n\ncd\ne\rf\r\n";
        let whole = ["ab", "", "cd", "e\rf"].map(str::to_owned).to_vec();
        for cut in 0..=text.len() {
            let (one, other) = text.split_at(cut);
            assert_eq!(all(&[one, other], 100), (whole.clone(), false), "cut at {cut}");
        }
    }

    #[test]
    fn a_line_of_the_greatest_length_is_taken_and_one_of_a_byte_more_is_not() {
        assert_eq!(all(&[b"1234\r\n"], 4), (vec!["1234".into()], false));
        assert_eq!(all(&[b"1234\r", b"\n"], 4), (vec!["1234".into()], false));
        assert_eq!(all(&[b"12345\n"], 4), (vec![], true));
        assert_eq!(all(&[b"12345\r\n"], 4), (vec![], true));
        // And it is known before it ends.
        assert_eq!(all(&[b"123456"], 4), (vec![], true));
        assert_eq!(all(&[b"1\n", b"123456"], 4), (vec!["1".into()], true));
    }
}
