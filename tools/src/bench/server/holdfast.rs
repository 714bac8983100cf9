//! The release `holdfast serve`, on ports of its own.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::process::{Process, Usage};
use crate::bench::contenders::Places;

/// What the configuration says of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limits {
    /// Nothing.
    Default,
    /// Those are raised that a client would meet which only wants to know how fast the server is.
    Raised,
}

/// A server.
pub(super) struct Holdfast {
    process: Process,
    pub(super) tcp: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) token: String,
}

impl Holdfast {
    /// Starts one whose participants are the data set, as `tree`, and a few bytes, as `note`.
    ///
    /// # Errors
    /// Where it does not come to listen.
    pub(super) fn start(places: &Places, home: &Path, note: &Path, limits: Limits) -> anyhow::Result<Self> {
        let path = places.work.join("server.toml");
        std::fs::write(&path, configuration(&places.data, note, limits)?).context("cannot write a configuration")?;
        let [home_text, config] = [home, &path].map(|path| path.to_str().context("a path is not UTF-8"));
        let arguments = ["--json", "--home", home_text?, "serve", "--config", config?];
        let process = Process::start(&places.holdfast, &arguments, places.work.join("server.log"))?;
        let tcp = address(&process, "tcp")?;
        let http = address(&process, "http")?;
        let path = process.wait_for(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some(line.get("path")?.as_str()?.to_owned())
        })?;
        let token = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?.trim().to_owned();
        Ok(Self { process, tcp, http, token })
    }

    /// What it has taken so far.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    /// Stops it.
    pub(super) fn end(self) -> anyhow::Result<()> {
        let status = self.process.end()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

fn address(process: &Process, door: &str) -> anyhow::Result<SocketAddr> {
    process.wait_for(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let address = line.get("address")?.as_str()?.trim_start_matches("http://");
        (line.get("door")? == door).then(|| address.parse().ok()).flatten()
    })
}

fn configuration(data: &Path, note: &Path, limits: Limits) -> anyhow::Result<String> {
    let mut text = String::from("[server]\ntcp = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n");
    if limits == Limits::Raised {
        // Over HTTP a connection is a stranger's until its first request.
        text.push_str("[server.limits]\nconnections = 1000\nunauthenticated_per_address = 1000\n");
        text.push_str("requests_per_second = 100000\nburst = 100000\n");
    }
    for (name, path) in [("tree", data), ("note", note)] {
        // JSON's strings are TOML's, too.
        let path = serde_json::to_string(path.to_str().context("a path is not UTF-8")?)?;
        text.push_str(&format!("[[participant]]\nname = \"{name}\"\nkind = \"files\"\npaths = [{path}]\n"));
    }
    Ok(text)
}
