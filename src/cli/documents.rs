//! `documents`: what describes the server's interface to programs.

use std::io::Write;

use super::exit::{CliResult, Exit};
use super::output::output_error;
use crate::api::documents::{asyncapi, openapi};

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Document {
    /// HTTP, as OpenAPI 3.1
    Openapi,
    /// TCP and WebSocket, as AsyncAPI 3.0
    Asyncapi,
}

pub(super) fn print(document: Document) -> CliResult {
    let document = match document {
        Document::Openapi => openapi(),
        Document::Asyncapi => asyncapi(),
    };
    writeln!(std::io::stdout().lock(), "{document:#}").map_err(|error| output_error(&error))?;
    Ok(Exit::Good)
}
