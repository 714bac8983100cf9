//! The questions of `init`: one line each, with what an empty answer means, asked again until the answer is right.

use std::io::{self, BufRead, Write};

use holdfast_model::ids::ParticipantName;
use holdfast_model::run::MAX_PARTICIPANTS;

use super::named;
use super::text::{Chosen, Participant, Takes};
use crate::pipeline::{Compression, InvalidCompression};

/// Longest answer in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// Asks until all is known. An end of the input is an [`io::ErrorKind::UnexpectedEof`].
pub(super) fn ask(input: &mut impl BufRead, out: &mut impl Write) -> io::Result<Chosen> {
    let mut talk = Talk { input, out };
    let mut participants: Vec<Participant> = Vec::new();
    while participants.len() < MAX_PARTICIPANTS {
        let question = if participants.is_empty() { "A folder to back up" } else { "Another folder" };
        let Some(path) = talk.asked(question, "none", |answer| named::path(answer.as_ref()).map(Some), || None)? else {
            break;
        };
        let name = talk.name(&participants, &named::for_path(&path))?;
        participants.push(Participant { name, takes: Takes::Files(vec![path]) });
    }
    while participants.len() < MAX_PARTICIPANTS {
        let question = "A command whose output is to be backed up, as `pg_dump -Fc shop`";
        let script = |answer: &str| named::script(answer).map(Some);
        let Some(command) = talk.asked(question, "none", script, || None)? else { break };
        let name = talk.name(&participants, &named::for_script(&command))?;
        let restore = talk.asked("What takes it back on its standard input", "none", script, || None)?;
        participants.push(Participant { name, takes: Takes::Command { command, restore } });
    }
    let default = Compression::default();
    let parse = |answer: &str| answer.parse().map_err(|error: InvalidCompression| error.to_string());
    let compression = talk.asked("Compression", &default.to_string(), parse, || default)?;
    Ok(Chosen { compression, participants })
}

struct Talk<'t, I, O> {
    input: &'t mut I,
    out: &'t mut O,
}

impl<I: BufRead, O: Write> Talk<'_, I, O> {
    fn asked<T>(
        &mut self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
        without: impl Fn() -> T,
    ) -> io::Result<T> {
        loop {
            write!(self.out, "{question} [{default}]: ")?;
            self.out.flush()?;
            let mut answer = String::new();
            io::Read::take(&mut *self.input, MAX_ANSWER).read_line(&mut answer)?;
            if !answer.ends_with('\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if answer.trim().is_empty() {
                return Ok(without());
            }
            match read(answer.trim()) {
                Ok(read) => return Ok(read),
                Err(reason) => writeln!(self.out, "  {reason}")?,
            }
        }
    }

    fn name(&mut self, participants: &[Participant], wished: &str) -> io::Result<ParticipantName> {
        let default = named::free(participants, wished);
        let read = |answer: &str| named::new_name(participants, answer);
        self.asked("  Its name", default.as_str(), read, || default.clone())
    }
}
