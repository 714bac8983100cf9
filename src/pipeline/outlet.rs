//! Into a staged file, through age where it is encrypted, with the hash of what is stored taken on the way.

use std::io::{self, Write};

use age::stream::StreamWriter;
use holdfast_model::ids;
use sha2::{Digest, Sha256};

use super::course::Place;
use super::error::PipelineError;
use crate::encryption::EncryptTo;

/// A staged file that is hashed while it is written, by whoever writes.
pub(crate) enum Outlet {
    Plain(Hashed),
    Age(Box<StreamWriter<Hashed>>),
}

/// What was written.
pub(crate) struct Stored {
    pub(crate) place: Place,
    pub(crate) sha256: ids::Sha256,
    pub(crate) bytes: u64,
}

impl Outlet {
    /// Begins the file; where it is encrypted its header is written.
    pub(crate) fn new(place: Place, encrypt_to: Option<&EncryptTo>) -> Result<Self, PipelineError> {
        let path = place.target().to_owned();
        let hashed = Hashed { place, hash: Sha256::new(), bytes: 0 };
        let Some(encrypt_to) = encrypt_to else { return Ok(Self::Plain(hashed)) };
        let encryptor = encrypt_to
            .encryptor()
            .map_err(|error| PipelineError::Encrypt { path: path.clone(), reason: error.to_string() })?;
        let writer = encryptor.wrap_output(hashed).map_err(|error| inner(error, &path))?;
        Ok(Self::Age(Box::new(writer)))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PipelineError> {
        match self {
            Self::Plain(hashed) => hashed.append(bytes),
            Self::Age(writer) => {
                writer.write_all(bytes).map_err(|error| inner(error, std::path::Path::new("artifact")))
            }
        }
    }

    /// Ends the file: age's last chunk says that it is the last.
    pub(crate) fn finish(self) -> Result<Stored, PipelineError> {
        let Hashed { place, hash, bytes } = match self {
            Self::Plain(hashed) => hashed,
            Self::Age(writer) => writer.finish().map_err(|error| inner(error, std::path::Path::new("artifact")))?,
        };
        Ok(Stored { place, sha256: ids::Sha256(hash.finalize().into()), bytes })
    }
}

/// A file and the hash of what is in it.
pub(crate) struct Hashed {
    place: Place,
    hash: Sha256,
    bytes: u64,
}

impl Hashed {
    fn append(&mut self, bytes: &[u8]) -> Result<(), PipelineError> {
        self.place.write(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error below the encryption.
fn inner(error: io::Error, path: &std::path::Path) -> PipelineError {
    match PipelineError::inside(&error) {
        Some(inside) => inside.clone(),
        None => PipelineError::io("encrypt", path)(error),
    }
}
