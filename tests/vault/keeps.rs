//! What comes into a vault, and out of it again.

use std::process::Command;

use serde_json::json;

use crate::support::{need, text};
use crate::world::{World, files, leftovers};

#[test]
fn a_run_is_there_once_it_is_committed_and_comes_back_byte_by_byte() {
    let world = World::new();
    let (run, folder) = world.run();
    let (files, server_id) = (files(&folder), world.server_id());
    let token = world.token("shop", "append", &[]);
    let served = world.serve();
    let client = served.client(&token, &server_id);

    // Nothing of it is seen before the commit, which needs all of it.
    client.commit(&run).unwrap().expect(404, "RUN_NOT_FOUND");
    let first = files.first().unwrap();
    let made = client.create(&run, &first.0, &first.1).unwrap().expect(201, "");
    client.commit(&run).unwrap().expect(409, "UPLOAD_UNFINISHED");
    client.patch(made.header("location"), 0, &first.1).unwrap().expect(204, "");
    client.commit(&run).unwrap().expect(409, "RUN_INCOMPLETE");
    assert_eq!(client.ask("GET", "/runs", &[], b"").json()["rows"], json!([]));
    client.ask("GET", &format!("/runs/{run}/{}", first.0), &[], b"").expect(404, "RUN_NOT_FOUND");

    let committed = client.bring(&run, &files).unwrap().expect(200, "").json();
    assert_eq!(
        (committed["run_id"].as_str(), committed["files"].as_u64()),
        (Some(run.as_str()), Some(files.len() as u64))
    );
    // Asked again, the answer is the same.
    assert_eq!(client.commit(&run).unwrap().expect(200, "").json(), committed);
    assert_eq!(client.ask("GET", "/runs", &[], b"").json()["rows"], json!([committed]));
    for (name, bytes) in &files {
        let path = format!("/runs/{run}/{name}");
        assert_eq!(client.ask("GET", &path, &[], b"").body, *bytes, "{name}");
        let part = client.ask("GET", &path, &[("Range", "bytes=3-9")], b"");
        assert_eq!((part.status, &part.body[..]), (206, &bytes[3..10]));
        assert_eq!(part.header("content-range"), format!("bytes 3-9/{}", bytes.len()));
        client.ask("GET", &path, &[("Range", "bytes=999999999-")], b"").expect(416, "RANGE");
    }
    // The administration sees it beside the process that serves, and after it.
    world.vault(&["verify"]).expect(0);
    assert!(leftovers(&world.root, &server_id).is_empty());
    served.stop();
    world.vault(&["verify"]).expect(0);

    // It deletes, and what was deleted does not come again.
    world.vault(&["delete", &server_id, &run]).expect(0);
    world.vault(&["delete", &server_id, &run]).expect(10);
    let served = world.serve();
    let client = served.client(&token, &server_id);
    client.create(&run, "a", b"x").unwrap().expect(410, "RUN_DELETED");
    client.ask("GET", &format!("/runs/{run}"), &[], b"").expect(410, "RUN_DELETED");
    assert!(leftovers(&world.root, &server_id).is_empty());
    served.stop();
}

#[test]
fn two_clients_have_each_their_own_and_pages_have_an_end() {
    let world = World::new();
    let (run, folder) = world.run();
    let (first, server_id) = (files(&folder), world.server_id());
    let other = World::new();
    // Counters go by the installation: this one is further than the other will be.
    let _ = (other.run(), other.run());
    let (theirs, their_folder) = other.run();
    let (second, their_id) = (files(&their_folder), other.server_id());
    let tokens = [world.token("one", "append", &[]), world.token("two", "append", &[])];
    let served = world.serve();
    let (one, two) = (served.client(&tokens[0], &server_id), served.client(&tokens[1], &their_id));
    one.bring(&run, &first).unwrap().expect(200, "");
    two.bring(&theirs, &second).unwrap().expect(200, "");
    let (more, folder) = world.run();
    one.bring(&more, &files(&folder)).unwrap().expect(200, "");

    let page = one.ask("GET", "/runs?limit=1", &[], b"").json();
    assert_eq!(page["rows"][0]["run_id"], json!(more));
    let next = one.ask("GET", &format!("/runs?limit=1&cursor={}", text(&page["next_cursor"])), &[], b"").json();
    assert_eq!((&next["rows"][0]["run_id"], &next["next_cursor"]), (&json!(run), &json!(null)));
    one.ask("GET", "/runs?cursor=x", &[], b"").expect(400, "INVALID_DATA");
    // What the manifests say is said where it is asked for; a run that is committed is told with its uploads.
    assert_eq!(next["rows"][0]["summary"], json!(null));
    let told = one.ask("GET", "/runs?limit=1&summary=true", &[], b"").json();
    let summary = &told["rows"][0]["summary"];
    assert_eq!((&summary["type"], &summary["status"]), (&json!("full"), &json!("completed")), "{told}");
    assert_eq!(summary["encrypted"], json!(false));
    let uploads = one.ask("GET", &format!("/uploads?run_id={run}"), &[], b"").json();
    assert_eq!((&uploads["rows"], &uploads["run"]["run_id"]), (&json!([]), &json!(run)));
    assert_eq!(two.ask("GET", &format!("/uploads?run_id={more}"), &[], b"").json()["run"], json!(null));
    assert_eq!(two.ask("GET", "/standing", &[], b"").json()["runs"], json!(1));
    // A token that only reads brings nothing.
    let read = served.client(&world.token("drill", "read", &["--server-id", &server_id]), "");
    assert_eq!(read.ask("GET", &format!("/runs/{run}/manifest.json"), &[], b"").status, 200);
    read.create(&run, "a", b"x").unwrap().expect(403, "PERMISSION_DENIED");
    // One that is full deletes its own.
    let full = served.client(&world.token("owner", "full", &["--server-id", &server_id]), "");
    full.ask("DELETE", &format!("/runs/{theirs}"), &[], b"").expect(404, "RUN_NOT_FOUND");
    full.ask("DELETE", &format!("/runs/{more}"), &[], b"").expect(204, "");
    // A token that was revoked is taken no more.
    world.vault(&["token", "revoke", "drill"]).expect(0);
    read.ask("GET", "/runs", &[], b"").expect(401, "INVALID_TOKEN");
    served.stop();
}

#[test]
fn what_is_sent_is_encrypted_with_a_certificate_that_a_client_can_pin() {
    need("curl", "curl");
    need("python3", "python3");
    let world = World::new();
    let token = world.token("shop", "append", &[]);
    let pinned = world.vault(&["init"]).expect(0).json();
    let served = world.serve_with(&[], &[]);
    let url = format!("https://localhost:{}/standing", served.address.rsplit_once(':').unwrap().1);
    let ask = |more: &[&str]| {
        let server_id = format!("Holdfast-Server-Id: {}", uuid::Uuid::nil());
        let bearer = format!("Authorization: Bearer {token}");
        let args = ["-sS", "--resolve", "localhost:0:127.0.0.1", "-H", &bearer, "-H", &server_id];
        Command::new("curl").args(args).args(more).arg(&url).output().unwrap()
    };
    assert!(!ask(&[]).status.success(), "a stranger's certificate is not taken");
    let cert = world.root.join("tls/cert.pem");
    let answer = ask(&["--cacert", cert.to_str().unwrap()]);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    assert!(String::from_utf8_lossy(&answer.stdout).contains("\"permission\":\"append\""));
    // What it shows on the wire has the fingerprint that was printed.
    let script = "import ssl,sys,hashlib\nh,p=sys.argv[1].rsplit(':',1)\n\
        print(hashlib.sha256(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((h,int(p))))).hexdigest())";
    let shown = world.home.command("python3", ["-c", script, &served.address]).run().expect(0).out();
    assert_eq!(shown.trim(), text(&pinned["fingerprint"]));
    served.stop();

    // On an address that others reach there is no door without encryption, but where it is asked for.
    std::fs::remove_dir_all(world.root.join("tls")).unwrap();
    let refused = world.vault(&["serve", "--listen", "0.0.0.0:0"]);
    refused.expect(2).says("TLS_NEEDED");
}

#[test]
fn an_unfinished_run_is_swept_after_its_time_and_is_recorded_as_such() {
    let world = World::new();
    let token = world.token("shop", "append", &[]);
    let server_id = uuid::Uuid::now_v7().to_string();
    let served = world.serve();
    let client = served.client(&token, &server_id);
    let upload = client.create("20260101-000000-000001", "a", b"hello").unwrap().expect(201, "");
    let upload = upload.header("location").to_owned();
    client.patch(&upload, 0, b"he").unwrap().expect(204, "");
    let taken_back = client.create("20260101-000000-000001", "b", b"hello").unwrap().header("location").to_owned();
    client.ask("DELETE", &taken_back, &[], b"").expect(204, "");
    client.ask("HEAD", &taken_back, &[], b"").expect(410, "");
    client.ask("DELETE", &taken_back, &[], b"").expect(410, "UPLOAD_GONE");
    served.stop();
    // The next start finds it as it was, and another one, later by the clock, does not find it any more.
    let served = world.serve();
    let client = served.client(&token, &server_id);
    assert_eq!(client.offset(&upload).unwrap(), 2);
    served.stop();
    let later = ["vault", "serve", "--insecure", "--listen", "127.0.0.1:0", "--json", "--root"];
    let mut running = world.home.holdfast(later).arg(&world.root).clock("+2d").spawn();
    running.wait_for_json("where it listens", |line| line["message_type"] == "listening");
    running.kill();
    let ends: Vec<_> = world.events().into_iter().filter(|event| event["type"] == "VaultUploadRemoved").collect();
    assert_eq!(ends.iter().map(|end| text(&end["data"]["end"])).collect::<Vec<_>>(), ["terminated", "expired"]);
    assert!(leftovers(&world.root, &server_id).is_empty());
}
