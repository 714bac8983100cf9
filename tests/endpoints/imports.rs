//! Runs that come back from real far sides: a vault of this program, OpenSSH, Apache, SeaweedFS; by the command line, with what is configured.

use std::fs;

use holdfast::endpoints::Credentials;
use serde_json::json;

use crate::far_side::FarSide;
use crate::support::far::{far, send, server_id};
use crate::support::tree::Tree;
use crate::support::{Home, small_tree, text};

/// A home with a run in it.
fn backed_up() -> (Home, String) {
    let home = Home::new();
    small_tree(&home.beside("data"));
    let run = home.back_up(["data"]);
    (home, run)
}

/// Sends the run away, and has it back in an empty home of the same installation.
fn away_and_back(home: &Home, run: &str, url: &str, credentials: Credentials) {
    use secrecy::ExposeSecret;
    let password = credentials.password.expose_secret().to_owned();
    let login = credentials.login.clone();
    send(home, run, &*far(url, credentials, server_id(home)));
    let empty = Home::new();
    fs::create_dir(empty.path()).unwrap();
    fs::copy(home.path().join("home.json"), empty.path().join("home.json")).unwrap();
    fs::write(empty.beside("password"), format!("{password}\n")).unwrap();
    let mut add = empty.holdfast(["endpoints", "add", "far", "--plaintext", "true", "--url", url]);
    if !login.is_empty() {
        add = add.args(["--login", &login]);
    }
    if !password.is_empty() {
        add = add.args(["--password-file", "password"]);
    }
    add.run().expect(0);
    let listed = empty.json(["remote", "list", "far"]);
    assert_eq!((&listed["rows"][0]["run_id"], &listed["rows"][0]["here"]), (&json!(run), &json!(false)), "{listed}");
    empty.holdfast(["remote", "verify", "far", run]).run().expect(0).says("all as published");
    empty.holdfast(["remote", "import", "far", run]).run().expect(0).says("is here");
    empty.holdfast(["verify", run]).run().expect(0);
    empty.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    Tree::read(&home.beside("data")).expect_same(&Tree::read(&empty.beside("out/data")));
    empty.holdfast(["remote", "import", "far", "20200101-000000-000009"]).run().expect(10);
}

#[test]
fn a_run_comes_back_by_sftp() {
    let (home, run) = backed_up();
    let side = FarSide::sftp();
    away_and_back(&home, &run, &side.url, side.credentials());
}

#[test]
fn a_run_comes_back_by_webdav() {
    let (home, run) = backed_up();
    let side = FarSide::webdav();
    away_and_back(&home, &run, &side.url, side.credentials());
}

#[test]
fn a_run_comes_back_from_s3() {
    let (home, run) = backed_up();
    let side = FarSide::s3();
    away_and_back(&home, &run, &side.url, side.credentials());
}

#[test]
fn a_run_comes_back_from_a_vault() {
    let (home, run) = backed_up();
    let root = home.beside("vault");
    home.holdfast(["vault", "init", "--json", "--root"]).arg(&root).run().expect(0);
    let token =
        home.holdfast(["vault", "token", "add", "shop", "--permission", "append", "--json", "--root"]).arg(&root);
    let token = text(&token.run().expect(0).json()["token"]);
    let serve = ["vault", "serve", "--listen", "127.0.0.1:0", "--insecure", "--json", "--root"];
    let mut served = home.holdfast(serve).arg(&root).spawn();
    let told = served.wait_for_json("where it listens", |line| line["message_type"] == "listening");
    let address = text(&told["address"]);
    let url = format!("vault://{}?tls=false", address.split_once("://").expect("a scheme").1);
    let credentials = Credentials { login: String::new(), password: token.into() };
    away_and_back(&home, &run, &url, credentials);
    served.signal(rustix::process::Signal::TERM);
    served.wait().expect(0);
}
