//! Programs that others wrote, put against the server: Python and Node with what `tools/test` installs, curl.

use std::path::PathBuf;

use super::process::Invocation;
use super::server::Server;
use super::{Home, need};

/// The folder of what `tools/test` installs; a failure where it is not told.
pub(crate) fn installed(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("{variable} is not set: `tools/test --tools` installs what is missing and says how to set it"),
    }
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/server/scripts").join(name)
}

/// One of the scripts of `tests/server/scripts`, by Python.
pub(crate) fn python(home: &Home, name: &str) -> Invocation {
    home.command(installed("HOLDFAST_TEST_PYTHON"), [script(name)]).env("PYTHONDONTWRITEBYTECODE", "1")
}

/// One of the scripts of `tests/server/scripts`, by Node.
#[allow(dead_code, reason = "not every test program uses it")]
pub(crate) fn node(home: &Home, name: &str) -> Invocation {
    need("node", "nodejs");
    home.command("node", [script(name)]).env("NODE_PATH", installed("HOLDFAST_TEST_NODE_MODULES"))
}

/// schemathesis, with the configuration of `tests/server/scripts`.
#[allow(dead_code, reason = "not every test program uses it")]
pub(crate) fn schemathesis(home: &Home) -> Invocation {
    let program = installed("HOLDFAST_TEST_PYTHON").with_file_name("schemathesis");
    home.command(program, ["--config-file".into(), script("schemathesis.toml")]).env("PYTHONDONTWRITEBYTECODE", "1")
}

/// What curl got.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Got {
    #[allow(dead_code, reason = "not every test program uses it")]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// Asks the server over HTTP by curl.
pub(crate) fn curl(home: &Home, server: &Server, path: &str, args: &[&str]) -> Got {
    need("curl", "curl");
    let url = format!("http://{}{path}", server.http);
    let said = home
        .command("curl", ["--silent", "--show-error", "--include", "--max-time", "60"])
        .args(args)
        .arg(url)
        .run()
        .expect(0)
        .out();
    let (head, body) = said.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Got { status: status.expect("a status"), headers, body: body.to_owned() }
}
