//! An actix-web server that does nothing but answer with given bytes: the floor of what HTTP costs here.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use clap::Args;

use super::process::{Process, Usage};

/// Threads that read and write: as many as Holdfast's door has.
const WORKERS: usize = 2;

/// Serves the bytes of a file to whoever posts anything, until it is told to end.
#[derive(Debug, Args)]
pub(crate) struct BareArgs {
    body: PathBuf,
}

impl BareArgs {
    /// Serves, and writes the address.
    ///
    /// # Errors
    /// Where the file cannot be read, or the system gives no port.
    pub(crate) fn serve(&self) -> anyhow::Result<()> {
        let body = web::Bytes::from(std::fs::read(&self.body).context("cannot read the body")?);
        let server = HttpServer::new(move || {
            let body = body.clone();
            App::new().route(
                "/api/v1/{command}",
                // The request's body is read, as whoever looks at it must.
                web::post().to(move |_: web::Bytes| {
                    let answer = HttpResponse::Ok().content_type("application/json").body(body.clone());
                    async { answer }
                }),
            )
        });
        let server = server.workers(WORKERS).bind(("127.0.0.1", 0)).context("cannot listen")?;
        let address = server.addrs().first().copied().context("there is no address")?;
        writeln!(std::io::stdout(), "{address}")?;
        actix_web::rt::System::new().block_on(server.run()).context("cannot serve")
    }
}

/// The same in a process of its own.
pub(super) struct Bare {
    process: Process,
    pub(super) address: SocketAddr,
}

impl Bare {
    /// Starts one that answers with `body`.
    ///
    /// # Errors
    /// Where it does not come to listen.
    pub(super) fn start(work: &Path, body: &[u8]) -> anyhow::Result<Self> {
        let path = work.join("bare-body");
        std::fs::write(&path, body).context("cannot write a body")?;
        let own = std::env::current_exe().context("cannot find this program")?;
        let body = path.to_str().context("a path is not UTF-8")?;
        let process = Process::start(&own, &["bench-bare", body], work.join("bare.log"))?;
        let address = process.wait_for(|line| line.trim().parse().ok())?;
        Ok(Self { process, address })
    }

    /// What it has taken so far.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    /// Stops it.
    pub(super) fn end(self) -> anyhow::Result<()> {
        self.process.end().map(|_| ())
    }
}
