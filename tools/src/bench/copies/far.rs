//! Far sides on this machine: a vault with TLS, OpenSSH, a folder, and nginx, which takes a plain upload with TLS.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::bench::contenders::Places;
use crate::bench::server::Process;

/// Longest that a server takes to listen.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(20);

/// The servers, which end with this, and where they are.
pub(super) struct FarSides {
    _servers: Vec<Process>,
    /// The vault's address, and the file with its token.
    pub(super) vault: String,
    pub(super) token: PathBuf,
    pub(super) sftp: String,
    pub(super) login: String,
    pub(super) folder: String,
    /// nginx's folder, as a URL that ends with `/`.
    pub(super) nginx: String,
    pub(super) nginx_ca: PathBuf,
    pub(super) nginx_data: PathBuf,
}

impl FarSides {
    /// Starts all of them with their data below `work`.
    ///
    /// # Errors
    /// Where one does not start.
    pub(super) fn start(places: &Places, work: &Path) -> anyhow::Result<Self> {
        let (vault_root, token) = (work.join("vault"), work.join("token"));
        let vault =
            |args: &[&str]| done(Command::new(&places.holdfast).arg("vault").args(args).arg("--root").arg(&vault_root));
        vault(&["init", "--name", "localhost", "--json"])?;
        let added = vault(&["token", "add", "bench", "--permission", "full", "--json"])?;
        let added: Value = serde_json::from_str(&added).context("the vault says no token")?;
        std::fs::write(&token, said(&added, "token").context("the vault says no token")?)?;
        let root = vault_root.to_str().context("a folder is not UTF-8")?;
        let serve = ["vault", "serve", "--listen", "127.0.0.1:0", "--json", "--root", root];
        let serving = Process::start(&places.holdfast, &serve, work.join("vault.errors"))?;
        let told: Value = serving.wait_for(|line| {
            let told: Value = serde_json::from_str(line).ok()?;
            (said(&told, "message_type") == Some("listening")).then_some(told)
        })?;
        let address = said(&told, "address").context("the vault says no address")?;
        let (_, port) = address.rsplit_once(':').context("the vault says no port")?;
        let fingerprint = said(&told, "fingerprint").context("the vault says no fingerprint")?;
        let vault = format!("vault://127.0.0.1:{port}/?fingerprint={fingerprint}");

        let (sshd, sftp, login) = sshd(work)?;
        let (nginx, url) = nginx(work)?;
        let folder = work.join("folder");
        std::fs::create_dir(&folder)?;
        Ok(Self {
            _servers: vec![serving, sshd, nginx],
            vault,
            token,
            sftp,
            login,
            folder: format!("file://{}", folder.display()),
            nginx: url,
            nginx_ca: work.join("cert.pem"),
            nginx_data: work.join("nginx/data"),
        })
    }
}

fn said<'a>(told: &'a Value, name: &str) -> Option<&'a str> {
    told.get(name).and_then(Value::as_str)
}

/// OpenSSH for whoever runs this, by a key.
fn sshd(work: &Path) -> anyhow::Result<(Process, String, String)> {
    let (at, port) = (work.display(), free_port()?);
    for key in ["host", "id"] {
        done(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(work.join(key)))?;
    }
    std::fs::copy(work.join("id.pub"), work.join("authorized"))?;
    let host = std::fs::read_to_string(work.join("host.pub"))?;
    std::fs::write(work.join("known"), format!("[127.0.0.1]:{port} {host}"))?;
    let data = work.join("sftp");
    std::fs::create_dir(&data)?;
    if rustix::process::geteuid().is_root() {
        // What Debian's start script makes before the first start of the service.
        std::fs::create_dir_all("/run/sshd").context("cannot make sshd's folder")?;
    }
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nPidFile none\nStrictModes no\nPermitRootLogin yes\n\
         AuthorizedKeysFile {at}/authorized\nSubsystem sftp internal-sftp\nForceCommand internal-sftp\n"
    );
    let file = work.join("sshd.conf");
    std::fs::write(&file, config)?;
    let file = file.to_str().context("a folder is not UTF-8")?;
    let server = Process::start(Path::new("/usr/sbin/sshd"), &["-D", "-e", "-f", file], work.join("sshd.errors"))?;
    listens(port)?;
    let url = format!("sftp://127.0.0.1:{port}{}?key_file={at}/id&known_hosts={at}/known", data.display());
    Ok((server, url, done(Command::new("id").arg("-un"))?.trim().to_owned()))
}

/// nginx with its DAV module, as one process: a worker would outlive a master that is killed.
fn nginx(work: &Path) -> anyhow::Result<(Process, String)> {
    let (at, port) = (work.display(), free_port()?);
    let home = work.join("nginx");
    for folder in ["data", "temp"] {
        std::fs::create_dir_all(home.join(folder))?;
    }
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let mut openssl = Command::new("openssl");
    openssl.args(made).args(subject).arg("-keyout").arg(work.join("key.pem")).arg("-out").arg(work.join("cert.pem"));
    done(&mut openssl)?;
    let user = done(Command::new("id").arg("-un"))?;
    let config = format!(
        "daemon off;\nuser {};\nmaster_process off;\npid {at}/nginx/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_max_body_size 0;\nclient_body_temp_path {at}/nginx/temp;\nserver {{\nlisten 127.0.0.1:{port} ssl;\n\
         ssl_certificate {at}/cert.pem;\nssl_certificate_key {at}/key.pem;\nroot {at}/nginx/data;\n\
         location / {{ dav_methods PUT DELETE; }}\n}}\n}}\n",
        user.trim()
    );
    let file = home.join("nginx.conf");
    std::fs::write(&file, config)?;
    let file = file.to_str().context("a folder is not UTF-8")?;
    let server = Process::start(Path::new("/usr/sbin/nginx"), &["-c", file], work.join("nginx.errors"))?;
    listens(port)?;
    Ok((server, format!("https://localhost:{port}/")))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn listens(port: u16) -> anyhow::Result<()> {
    let until = Instant::now() + DEADLINE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        ensure!(Instant::now() < until, "nothing listens at port {port}");
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Runs a command that is not measured. Answers what it said.
pub(super) fn done(command: &mut Command) -> anyhow::Result<String> {
    command.env_remove("HOLDFAST_CONFIG").env_remove("HOLDFAST_HOME");
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} failed with {}: {}", output.status, errors.trim());
    String::from_utf8(output.stdout).context("a command says what is not UTF-8")
}
