//! A real database: PostgreSQL is dumped as README's configuration says, lost, and brought back by its `restore` command and without
//! Holdfast; while the server is away the backup fails and says why.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Home, root, text};

/// The user the server runs as where the tests run as root: PostgreSQL refuses to.
const NOBODY: u32 = 65534;

/// Where Debian keeps the programs of the newest version.
fn programs() -> PathBuf {
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .expect("this test needs PostgreSQL: install Debian's package postgresql")
        .map(|entry| entry.unwrap().path().join("bin"))
        .collect();
    versions.sort();
    versions.pop().expect("a version of PostgreSQL")
}

/// A server of the test's own, on a socket in a temp folder and on no port.
struct Server {
    home: Home,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        // A socket's path has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        if root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let server = Self { home: Home::new(), folder };
        let data = server.path("data");
        server.admin("initdb", &["-D", &data, "-A", "trust", "-U", "shop", "--no-sync"]);
        server.up();
        server.sql("postgres", "CREATE DATABASE shop");
        server
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn up(&self) {
        let socket = self.folder.path().display();
        let options = format!("-k {socket} -c listen_addresses='' -c fsync=off");
        let (data, log) = (self.path("data"), self.path("log"));
        self.admin("pg_ctl", &["-D", &data, "-l", &log, "-w", "-t", "60", "-o", &options, "start"]);
    }

    fn down(&self) {
        self.admin("pg_ctl", &["-D", &self.path("data"), "-w", "-m", "immediate", "stop"]);
    }

    fn admin(&self, program: &str, args: &[&str]) {
        let program = programs().join(program);
        let mut command = match root() {
            true => {
                let mut command = Command::new("setpriv");
                let user = NOBODY.to_string();
                command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        let output = command.args(args).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn sql(&self, database: &str, statement: &str) -> String {
        let socket = self.folder.path();
        let psql = Command::new(programs().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "shop", "-d", database, "-c", statement])
            .env("PGHOST", socket)
            .output()
            .unwrap();
        assert!(psql.status.success(), "{statement}: {}", String::from_utf8_lossy(&psql.stderr));
        String::from_utf8(psql.stdout).unwrap()
    }

    /// As README has it, but for where this server is.
    fn config(&self) -> PathBuf {
        let bin = programs();
        let program = |name: &str| bin.join(name).display().to_string();
        let config = format!(
            "[[participant]]\nname = 'shop'\nkind = 'command'\ncommand = [{:?}, '-Fc', 'shop']\nartifact = 'shop.dump'\n\
             preflight = [{:?}]\nrestore = [{:?}, '--clean', '--if-exists', '--exit-on-error', '-d', 'shop']\n\
             env = {{ PGHOST = {:?}, PGUSER = 'shop' }}\nmax_tries = 1\n",
            program("pg_dump"),
            program("pg_isready"),
            program("pg_restore"),
            self.folder.path().display().to_string(),
        );
        let file = self.home.beside("holdfast.toml");
        fs::write(&file, config).unwrap();
        file
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if Path::new(&self.path("data/postmaster.pid")).exists() {
            self.down();
        }
    }
}

#[test]
fn a_database_is_dumped_lost_and_brought_back() {
    let server = Server::start();
    let (home, config) = (&server.home, server.config());
    let holdfast = |args: &[&str]| home.holdfast(args).arg("--config").arg(&config).run();
    server.sql("shop", "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS note FROM generate_series(1, 50000) n");
    let sum = || server.sql("shop", "SELECT count(*), sum(id), md5(string_agg(note, ',' ORDER BY id)) FROM orders");
    let before = sum();

    holdfast(&["participants", "test", "shop"]).expect(0);
    holdfast(&["backup"]).expect(0);
    let run = home.newest_run();
    let artifact = home.run_dir(&run).join("shop.dump.lz4");

    server.sql("shop", "DROP TABLE orders");
    holdfast(&["restore", "latest", "--participant", "shop", "--in-place", "--force"]).expect(0);
    assert_eq!(sum(), before, "brought back by its restore command");

    server.sql("shop", "UPDATE orders SET note = 'lost'");
    let restore = "set -o pipefail; lz4 -dc \"$1\" | \"$2\" --clean --if-exists --exit-on-error -U shop -d shop";
    let by_hand = Command::new("bash")
        .args(["-c", restore, "-"])
        .arg(&artifact)
        .arg(programs().join("pg_restore"))
        .env("PGHOST", server.folder.path())
        .status()
        .unwrap();
    assert!(by_hand.success());
    assert_eq!(sum(), before, "brought back without Holdfast");
}

#[test]
fn a_database_that_is_away_fails_the_backup_with_what_its_program_said() {
    let server = Server::start();
    let (home, config) = (&server.home, server.config());
    let holdfast = |args: &[&str]| home.holdfast(args).arg("--config").arg(&config).run();
    server.down();
    let test = holdfast(&["participants", "test"]);
    test.expect(1);
    assert!(test.out().contains("NOT ready"), "{test}");
    holdfast(&["backup"]).expect(1);
    assert_eq!(home.show(&home.newest_run())["status"], "failed");

    // There, and without the database that is to be dumped.
    server.up();
    server.sql("postgres", "DROP DATABASE shop");
    holdfast(&["backup"]).expect(1);
    let shown = home.show(&home.newest_run());
    let participant = &shown["participants"][0];
    assert!(text(&participant["output"]).contains("database \"shop\" does not exist"), "{shown}");
    assert!(text(&participant["error"]).contains("COMMAND_FAILED"), "{shown}");

    server.sql("postgres", "CREATE DATABASE shop");
    holdfast(&["backup"]).expect(0);
}
