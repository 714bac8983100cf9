//! The two forms in which requests go out and answers come in: lines over TCP, and HTTP/1.1 with requests one after the other on a
//! connection that stays, without waiting for the answers (pipelining, RFC 9112 section 9.3.2).

use std::io::Write as _;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::question::Question;

/// Longest answer that is read.
const LONGEST: usize = 64 << 20;

/// How a connection speaks.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    /// JSON lines. Who asks is said once, by `Auth`.
    Lines,
    /// HTTP, with this token.
    Http { token: String },
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// An answer. Its number is that of the request; over HTTP it is counted, as answers come in the order of the requests.
    Answer { number: u64, status: u16, body: &'a [u8] },
    /// Something else: what happened, or an error that belongs to no request.
    Unasked(&'a [u8]),
}

impl Wire {
    /// Appends a request.
    pub(super) fn write(&self, number: u64, question: &Question, to: &mut Vec<u8>) {
        let Question { command, data, .. } = question;
        // Writing to memory cannot fail.
        let _ = match self {
            Self::Lines => write!(to, "{{\"command\":\"{command}\",\"extID\":\"{number}\",\"data\":{data}}}\r\n"),
            Self::Http { token } => write!(
                to,
                "POST /api/v1/{command} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{data}",
                data.len()
            ),
        };
    }

    /// Reads the next message into `text`; `None` where the other side has ended. `heard` counts what came before.
    ///
    /// # Errors
    /// Where what comes is of neither form.
    pub(super) async fn read<'a>(
        &self,
        from: &mut (impl AsyncBufRead + Unpin),
        heard: u64,
        text: &'a mut Vec<u8>,
    ) -> anyhow::Result<Option<Heard<'a>>> {
        text.clear();
        match self {
            Self::Lines => read_line(from, text).await,
            Self::Http { .. } => read_response(from, heard, text).await,
        }
    }
}

async fn read_line<'a>(
    from: &mut (impl AsyncBufRead + Unpin),
    text: &'a mut Vec<u8>,
) -> anyhow::Result<Option<Heard<'a>>> {
    if from.read_until(b'\n', text).await? == 0 {
        return Ok(None);
    }
    ensure!(text.last() == Some(&b'\n'), "the server ended within a line");
    Ok(Some(answer(text).unwrap_or(Heard::Unasked(text))))
}

/// An answer, by the order in which its fields are written: to parse each as JSON would cost the clients more than the server.
fn answer(line: &[u8]) -> Option<Heard<'_>> {
    let rest = line.strip_prefix(b"{\"extID\":\"")?;
    let (number, rest) = digits(rest);
    let (status, body) = digits(rest.strip_prefix(b"\",\"status\":")?);
    Some(Heard::Answer { number: number?, status: u16::try_from(status?).ok()?, body })
}

/// A number at the beginning of a text, and the rest.
fn digits(text: &[u8]) -> (Option<u64>, &[u8]) {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    (std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()), rest)
}

async fn read_response<'a>(
    from: &mut (impl AsyncBufRead + Unpin),
    heard: u64,
    text: &'a mut Vec<u8>,
) -> anyhow::Result<Option<Heard<'a>>> {
    if from.read_until(b'\n', text).await? == 0 {
        return Ok(None);
    }
    let (status, _) = digits(text.strip_prefix(b"HTTP/1.1 ").context("what came is no answer of HTTP/1.1")?);
    let status = u16::try_from(status.context("an answer has no status")?)?;
    let mut length = None;
    loop {
        text.clear();
        from.read_until(b'\n', text).await?;
        let line = text.trim_ascii();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').context("a line of an answer's head has no colon")?;
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") {
            length = digits(value.strip_prefix(b":").unwrap_or(value).trim_ascii()).0;
        }
    }
    let length = usize::try_from(length.context("an answer does not say how long it is")?)?;
    if length > LONGEST {
        bail!("an answer of {length} bytes");
    }
    text.resize(length, 0);
    from.read_exact(text).await.context("the server ended within an answer")?;
    Ok(Some(Heard::Answer { number: heard, status, body: text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_told_apart() {
        let mut from: &[u8] = b"{\"extID\":\"17\",\"status\":200,\"data\":{}}\r\n{\"event\":\"alerts\"}\n{\"extID\":null,\"status\":400}\n";
        let mut text = Vec::new();
        let answer = Wire::Lines.read(&mut from, 0, &mut text).await.unwrap().unwrap();
        assert_eq!(answer, Heard::Answer { number: 17, status: 200, body: b",\"data\":{}}\r\n" });
        for _ in 0..2 {
            let other = Wire::Lines.read(&mut from, 0, &mut text).await.unwrap().unwrap();
            assert!(matches!(other, Heard::Unasked(_)), "{other:?}");
        }
        assert_eq!(Wire::Lines.read(&mut from, 0, &mut text).await.unwrap(), None);
    }

    #[tokio::test]
    async fn answers_over_http_are_counted() {
        let wire = Wire::Http { token: "t".into() };
        let mut from: &[u8] =
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx: y\r\n\r\n{}HTTP/1.1 429 Too Many\r\ncontent-length: 0\r\n\r\n";
        let mut text = Vec::new();
        let first = wire.read(&mut from, 0, &mut text).await.unwrap().unwrap();
        assert_eq!(first, Heard::Answer { number: 0, status: 200, body: b"{}" });
        let second = wire.read(&mut from, 1, &mut text).await.unwrap().unwrap();
        assert_eq!(second, Heard::Answer { number: 1, status: 429, body: b"" });
        assert_eq!(wire.read(&mut from, 2, &mut text).await.unwrap(), None);
        let mut cut: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}";
        assert!(wire.read(&mut cut, 0, &mut text).await.is_err());
    }

    #[test]
    fn a_request_says_who_asks_for_what() {
        let question = Question::new("GetBackupRun", r#"{"run_id":"x"}"#, "x");
        let mut written = Vec::new();
        Wire::Lines.write(3, &question, &mut written);
        let line: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(line, serde_json::json!({"command": "GetBackupRun", "extID": "3", "data": {"run_id": "x"}}));
        written.clear();
        Wire::Http { token: "hf_1".into() }.write(3, &question, &mut written);
        let text = String::from_utf8(written).unwrap();
        assert!(
            text.starts_with("POST /api/v1/GetBackupRun HTTP/1.1\r\n") && text.contains("Bearer hf_1\r\n"),
            "{text}"
        );
        assert!(text.ends_with("content-length: 14\r\n\r\n{\"run_id\":\"x\"}"), "{text}");
    }
}
