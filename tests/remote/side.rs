//! The far sides of all kinds, behind one face.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast::endpoints::layer::retry::Attempts;
use holdfast::endpoints::{
    Address, Bytewise, Credentials, ErrorKind, Existing, Limits, ObjectName, Put, StoreError, open as open_store,
};
use holdfast::model::ids::RunId;
use holdfast::remote::{Remote, open};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::support::far_side::FarSide;
use crate::support::{Home, Running, text};

pub(crate) fn limits(attempts: u32) -> Limits {
    let attempts = Attempts { total: attempts, delay: Duration::from_millis(20) };
    Limits { timeout: Duration::from_secs(20), attempts, streams: 3, ..Limits::default() }
}

/// A far side.
pub(crate) enum Side {
    Far(FarSide),
    Vault(VaultSide),
}

/// A vault that the program serves.
pub(crate) struct VaultSide {
    // Ends before its folder goes.
    running: Option<Running>,
    pub(crate) home: Home,
    pub(crate) root: PathBuf,
    pub(crate) port: u16,
    pub(crate) fingerprint: Option<String>,
    pub(crate) token: String,
}

impl VaultSide {
    /// A vault, with its own certificate or on the loopback address without.
    pub(crate) fn new(tls: bool) -> Self {
        let home = Home::new();
        let root = home.beside("vault");
        std::fs::create_dir(&root).unwrap();
        Self::at(home, root, tls)
    }

    pub(crate) fn at(home: Home, root: PathBuf, tls: bool) -> Self {
        let mut side = Self { running: None, home, root, port: 0, fingerprint: None, token: String::new() };
        side.administrate(if tls { &["init", "--name", "localhost"] } else { &["init", "--no-certificate"] });
        side.token = side.new_token("first", "full");
        side.serve();
        side
    }

    fn administrate(&self, args: &[&str]) -> crate::support::Finished {
        let done = self.home.holdfast(["vault"]).args(args).arg("--root").arg(&self.root).arg("--json").run();
        done.expect(0);
        done
    }

    pub(crate) fn new_token(&self, name: &str, permission: &str) -> String {
        text(&self.administrate(&["token", "add", name, "--permission", permission]).json()["token"])
    }

    pub(crate) fn revoke(&self, name: &str) {
        self.administrate(&["token", "revoke", name]);
    }

    /// Another token of a client that has one.
    pub(crate) fn new_token_of(&self, server_id: Uuid, name: &str, permission: &str) -> String {
        let of = server_id.to_string();
        let add = ["token", "add", name, "--permission", permission, "--server-id", &of];
        text(&self.administrate(&add).json()["token"])
    }

    /// Serves it on a new port.
    pub(crate) fn serve(&mut self) {
        self.serve_at(0);
    }

    /// Serves it there.
    pub(crate) fn serve_at(&mut self, port: u16) {
        self.serve_with(port, &[]);
    }

    /// Serves it there, with further flags.
    pub(crate) fn serve_with(&mut self, port: u16, flags: &[&str]) {
        let listen = format!("127.0.0.1:{port}");
        let serve = ["vault", "serve", "--listen", &listen, "--min-free", "1 MiB", "--json", "--root"];
        let mut running = self.home.holdfast(serve).arg(&self.root).args(flags).spawn();
        let told = running.wait_for_json("where it listens", |line| line["message_type"] == "listening");
        self.port = text(&told["address"]).rsplit_once(':').unwrap().1.parse().unwrap();
        self.fingerprint = told["fingerprint"].as_str().map(str::to_owned);
        self.running = Some(running);
    }

    /// The most that it has had in memory, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        let pid = self.running.as_ref().unwrap().pid().as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    fn url_by(&self, port: u16) -> String {
        match &self.fingerprint {
            Some(fingerprint) => format!("vault://127.0.0.1:{port}/?fingerprint={fingerprint}"),
            None => format!("vault://127.0.0.1:{port}/?tls=false"),
        }
    }
}

impl Side {
    pub(crate) fn vault(tls: bool) -> Self {
        Self::Vault(VaultSide::new(tls))
    }

    pub(crate) fn is_vault(&self) -> bool {
        matches!(self, Self::Vault(_))
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Far(far) => far.port,
            Self::Vault(vault) => vault.port,
        }
    }

    pub(crate) fn credentials(&self) -> Credentials {
        match self {
            Self::Far(far) => far.credentials(),
            Self::Vault(vault) => Credentials { login: String::new(), password: vault.token.clone().into() },
        }
    }

    pub(crate) fn address(&self) -> Address {
        match self {
            Self::Far(far) => far.address(),
            Self::Vault(vault) => Address::parse(&vault.url_by(vault.port)).unwrap(),
        }
    }

    pub(crate) fn remote(&self, server_id: Uuid) -> Arc<dyn Remote> {
        open(&self.address(), self.credentials(), &limits(3), server_id).unwrap()
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Far(far) => far.url.clone(),
            Self::Vault(vault) => vault.url_by(vault.port),
        }
    }

    /// The folder that it has the data of one installation in.
    pub(crate) fn data(&self, server_id: Uuid) -> PathBuf {
        match self {
            Self::Far(far) => far.data.join(server_id.to_string()),
            Self::Vault(vault) => vault.root.join(server_id.to_string()),
        }
    }

    /// The same by another port, one file after the other, with so many attempts.
    pub(crate) fn by(&self, port: u16, server_id: Uuid, attempts: u32) -> Arc<dyn Remote> {
        let address = Address::parse(&self.url_by(port)).unwrap();
        let limits = Limits { streams: 1, ..limits(attempts) };
        open(&address, self.credentials(), &limits, server_id).unwrap()
    }

    /// Where it is by another port.
    pub(crate) fn url_by(&self, port: u16) -> String {
        match self {
            Self::Far(far) => far.url_by(port),
            Self::Vault(vault) => vault.url_by(port),
        }
    }

    /// Adds it to a home's endpoints, by a port. `more` are further flags.
    pub(crate) fn add_to(&self, home: &Home, name: &str, port: u16, more: &[&str]) {
        let Credentials { login, password } = self.credentials();
        let url = self.url_by(port);
        let mut add = home.holdfast(["endpoints", "add", name, "--url", &url, "--plaintext", "true"]).args(more);
        if !login.is_empty() {
            add = add.args(["--login", &login]);
        }
        if !password.expose_secret().is_empty() {
            let file = home.beside(format!("{name}-password"));
            std::fs::write(&file, password.expose_secret()).unwrap();
            add = add.arg("--password-file").arg(file);
        }
        add.run().expect(0);
    }

    /// Changes a byte of a file of a run there.
    pub(crate) async fn damage(&self, server_id: Uuid, run_id: RunId, file: &str, mut bytes: Vec<u8>) {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        match self {
            Self::Vault(vault) => {
                let path = vault.root.join(format!("{server_id}/runs/{run_id}/{file}"));
                assert!(path.is_file(), "{}", path.display());
                std::fs::write(path, bytes).unwrap();
            }
            Self::Far(far) => {
                let store = open_store(&far.address(), far.credentials(), &limits(3)).unwrap();
                let name = ObjectName::new(format!("{server_id}/runs/{run_id}/{file}")).unwrap();
                let put = Put { existing: Existing::Replace, ..Put::default() };
                store.put(&name, &Bytewise(bytes.into()), &put).await.unwrap();
            }
        }
    }
}

pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> ErrorKind {
    result.unwrap_err().kind()
}
