//! Secrets stay secret where uploads fail: credentials that are wrong, hosts that are not there, far sides that say back all they were told. All
//! that Holdfast wrote and said at the fullest log is searched for them.

use std::fs;
use std::path::Path;

use tokio::task::block_in_place;

use crate::far_side::{FarSide, LOGIN, PASSWORD};
use crate::planted_secrets::Planted;
use crate::proxy::{Fault, Proxy};
use crate::support::{Finished, Home, small_tree, text};

const WRONG: &str = "planted-Lm5-that-is-wrong";
/// Requests of one command at most: each of them meets the fault.
const REQUESTS: usize = 200;

struct World {
    home: Home,
    planted: Planted,
    said: Vec<Finished>,
    run: String,
}

impl World {
    fn new() -> Self {
        let (home, mut planted) = (Home::new(), Planted::new());
        small_tree(&home.beside("source"));
        for (what, secret) in [("the password", PASSWORD), ("the wrong password", WRONG)] {
            planted.plant(what, secret);
        }
        let run = home.back_up(["source"]);
        Self { home, planted, said: Vec::new(), run }
    }

    /// Adds an endpoint with a secret.
    fn add(&mut self, name: &str, url: &str, login: &str, secret: &str) {
        let file = self.home.beside("secret");
        fs::write(&file, secret).unwrap();
        let add = ["endpoints", "add", name, "--url", url, "--plaintext", "true", "--enable", "false"];
        // A login that is refused is answered late, against guessing.
        let timeout = if name.ends_with("hangs") { "2" } else { "30" };
        let mut add = self.home.holdfast(add).args(["--timeout", timeout]);
        add = add.args(["--retry-attempts", "2", "--retry-delay", "0"]);
        if !login.is_empty() {
            add = add.args(["--login", login]);
        }
        let added = add.arg("--password-file").arg(&file).env("HOLDFAST_LOG", "trace").run();
        fs::remove_file(&file).unwrap();
        added.expect(0);
        self.said.push(added);
    }

    /// Uploads to an endpoint, looks there and tries it: all of it fails. Answers the code that the upload failed with.
    fn fails(&mut self, name: &str) -> String {
        let run = self.run.clone();
        for args in [
            &["upload", &run, "--to", name, "--json"][..],
            &["remote", "list", name],
            &["remote", "verify", name, &run],
            &["endpoints", "test", name],
        ] {
            // A server that answers wrong passwords late is asked once.
            if name == "sftp-wrong" && args[0] == "remote" {
                continue;
            }
            let failed = self.home.holdfast(args).env("HOLDFAST_LOG", "trace").run();
            assert!(failed.code().is_some_and(|code| code != 0), "{failed}");
            self.said.push(failed);
        }
        let shown = self.home.show(&run);
        let row = shown["endpoints"].as_array().unwrap().iter().find(|row| row["name"] == *name).unwrap().clone();
        assert_eq!(row["status"], "failed", "{row}");
        assert_eq!((&shown["status"], &shown["good"]), (&"completed".into(), &true.into()), "{shown}");
        text(&row["error_code"])
    }

    /// Searches everything.
    fn ends(mut self) {
        for args in [
            &["endpoints", "list", "--json"][..],
            &["show", &self.run, "--json"],
            &["status", "--json"],
            &["log", "events", "--json", "--limit", "100000"],
            &["remote", "list", "nobody"],
        ] {
            let told = self.home.holdfast(args).env("HOLDFAST_LOG", "trace").run();
            self.said.push(told);
        }
        self.home.holdfast(["verify", "--all"]).run().expect(0);
        let mut found = self.planted.in_folder(&self.home.path(), &[]);
        for finished in &self.said {
            let place = finished.to_string().lines().next().unwrap_or_default().to_owned();
            found.extend(self.planted.in_bytes(&format!("the output of {place}"), &finished.stdout));
            found.extend(self.planted.in_bytes(&format!("the errors of {place}"), finished.err().as_bytes()));
        }
        assert!(found.is_empty(), "{found:#?}");
        assert!(
            self.said.iter().any(|finished| finished.err().contains("TRACE")),
            "the fullest log is what was searched"
        );
    }
}

/// A vault of the program's own, without TLS; its process ends with it.
fn vault(home: &Home, root: &Path) -> (crate::support::Running, u16, String) {
    let at = |args: &[&str]| home.holdfast(["vault"]).args(args).arg("--json").arg("--root").arg(root);
    at(&["init", "--no-certificate"]).run().expect(0);
    let token = text(&at(&["token", "add", "first", "--permission", "full"]).run().expect(0).json()["token"]);
    let mut running = at(&["serve", "--listen", "127.0.0.1:0"]).spawn();
    let told = running.wait_for_json("where it listens", |line| line["message_type"] == "listening");
    let port = text(&told["address"]).rsplit_once(':').unwrap().1.parse().unwrap();
    (running, port, token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_fail_tell_no_secret() {
    let mut world = World::new();
    let (webdav, s3, sftp) = (FarSide::webdav(), FarSide::s3(), FarSide::sftp());
    let (running, vault_port, token) = block_in_place(|| vault(&world.home, &world.home.beside("vault")));
    world.planted.plant("the token", &token);
    let sftp_url = sftp.url.replace(&format!("key_file={}&", sftp.beside("id").display()), "");
    let (host, known) = ("127.0.0.1:1", sftp.beside("known").display().to_string());
    let vault_url = |port| format!("vault://127.0.0.1:{port}/?tls=false");

    // The wrong credentials; and nobody there.
    let sides = [
        ("webdav", webdav.url.clone(), format!("webdav://{host}/data"), LOGIN, PASSWORD),
        ("s3", s3.url.clone(), format!("s3://bucket/x?endpoint=http://{host}"), LOGIN, PASSWORD),
        ("sftp", sftp_url, format!("sftp://{host}/srv?known_hosts={known}"), sftp.login(), PASSWORD),
        ("vault", vault_url(vault_port), format!("vault://{host}/?tls=false"), "", &token),
    ];
    for (name, right, nowhere, login, secret) in sides {
        block_in_place(|| {
            let (wrong, gone) = (format!("{name}-wrong"), format!("{name}-gone"));
            world.add(&wrong, &right, login, WRONG);
            assert_eq!(world.fails(&wrong), "REMOTE_CREDENTIALS", "{name}");
            world.add(&gone, &nowhere, login, secret);
            assert_eq!(world.fails(&gone), "REMOTE_UNAVAILABLE", "{name}");
        });
    }

    // Who answers says back all that it was told, in various ways.
    for (name, side, port, login, secret) in [
        ("webdav", webdav.url.clone(), webdav.port, LOGIN, PASSWORD),
        ("s3", s3.url.clone(), s3.port, LOGIN, PASSWORD),
        ("vault", vault_url(vault_port), vault_port, "", &*token),
    ] {
        let proxy = Proxy::to(port).await;
        let by_proxy = side.replace(&format!(":{port}"), &format!(":{}", proxy.port));
        for status in [500, 403, 207] {
            let name = format!("{name}-{status}");
            (0..REQUESTS).for_each(|_| proxy.arm("", Fault::Echo(status)));
            block_in_place(|| {
                world.add(&name, &by_proxy, login, secret);
                world.fails(&name);
            });
            assert!(!proxy.is_spent(), "every request met it");
            proxy.disarm();
        }

        // While an upload waits for an answer, no process shows it.
        let name = format!("{name}-hangs");
        proxy.arm("", Fault::Hang);
        block_in_place(|| world.add(&name, &by_proxy, login, secret));
        let upload = ["upload", &world.run, "--to", &name];
        let mut waiting = block_in_place(|| world.home.holdfast(upload).env("HOLDFAST_LOG", "trace").spawn());
        proxy.spent().await;
        assert!(block_in_place(|| world.planted.in_processes(&world.home, &[])) >= 1, "the upload");
        block_in_place(|| {
            waiting.wait_for_note("a failed try", |line| line.contains("a try failed"));
            world.said.push(waiting.wait());
        });
    }
    block_in_place(|| {
        drop(running);
        world.ends();
        drop((webdav, s3, sftp));
    });
}
