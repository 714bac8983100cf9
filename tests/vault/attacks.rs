//! What somebody with a token may try, and does not get.

use std::io::Write;

use holdfast::vault::wire::{OFFSET_STREAM, UploadMetadata};
use serde_json::json;

use crate::support::text;
use crate::world::{Client, World, files, leftovers, metadata, sha256};

const RUN: &str = "20260101-000000-000001";

#[test]
fn an_append_token_destroys_overwrites_forges_and_crowds_out_nothing() {
    let world = World::new();
    let (run, folder) = world.run();
    let (files, server_id) = (files(&folder), world.server_id());
    let stored: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let token = world.token("shop", "append", &["--quota", &(stored + 1000).to_string()]);
    let served = world.serve();
    let client = served.client(&token, &server_id);
    let before = client.bring(&run, &files).unwrap().expect(200, "").json();

    // Delete, overwrite, add to.
    client.ask("DELETE", &format!("/runs/{run}"), &[], b"").expect(403, "PERMISSION_DENIED");
    for (name, _) in &files {
        client.ask("DELETE", &format!("/runs/{run}/{name}"), &[], b"").expect(405, "METHOD_NOT_ALLOWED");
        client.ask("PUT", &format!("/runs/{run}/{name}"), &[], b"x").expect(405, "METHOD_NOT_ALLOWED");
        client.create(&run, name, b"forged").unwrap().expect(409, "RUN_EXISTS");
    }
    client.create(&run, "more", b"x").unwrap().expect(409, "RUN_EXISTS");
    // Date ahead: by the id, and by the manifest.
    client.create("20990101-000000-000001", "a", b"x").unwrap().expect(403, "RUN_IN_FUTURE");
    client.create("99999999-999999-999999", "a", b"x").unwrap().expect(403, "RUN_IN_FUTURE");
    // Fill the quota: what is new is refused, what is there stays.
    client.create(RUN, "big", &[0; 2000]).unwrap().expect(507, "QUOTA_EXCEEDED");
    client.create(RUN, "small", &[0; 900]).unwrap().expect(201, "");
    client.create(RUN, "other", &[0; 200]).unwrap().expect(507, "QUOTA_EXCEEDED");
    let huge = [("Upload-Length", "18446744073709551615"), ("Upload-Metadata", &metadata(RUN, "huge", b""))];
    client.ask("POST", "/uploads", &huge, b"").expect(413, "UPLOAD_TOO_LARGE");
    let huge = [("Upload-Length", "1099511627776"), ("Upload-Metadata", &metadata(RUN, "huge", b""))];
    client.ask("POST", "/uploads", &huge, b"").expect(507, "QUOTA_EXCEEDED");

    assert_eq!(client.ask("GET", "/runs", &[], b"").json()["rows"], json!([before]));
    world.vault(&["verify"]).expect(0);
    served.stop();
    let events = world.events();
    let refused: Vec<_> = events.iter().filter(|event| event["type"] == "CommandRecorded").collect();
    let codes: Vec<_> = refused.iter().map(|event| text(&event["data"]["code"])).collect();
    for code in
        ["PERMISSION_DENIED", "METHOD_NOT_ALLOWED", "RUN_EXISTS", "RUN_IN_FUTURE", "QUOTA_EXCEEDED", "UPLOAD_TOO_LARGE"]
    {
        assert!(codes.iter().any(|found| found == code), "{code} is not in {codes:?}");
    }
    assert!(refused.iter().all(|event| event["principal"] == "token:shop"));
    assert!(!serde_json::to_string(&events).unwrap().contains(&token), "the token is in the log");
}

/// An upload whose end is said later takes no more than one whose end is known, and becomes nothing before it is said.
#[test]
fn an_upload_without_an_end_crowds_out_nothing() {
    let world = World::new();
    let server_id = uuid::Uuid::from_u128(7).to_string();
    let token = world.token("shop", "append", &["--quota", "5000"]);
    let served = world.serve();
    let client = served.client(&token, &server_id);
    let of = |file: &str| {
        let (run_id, filename) = (RUN.parse().unwrap(), file.parse().unwrap());
        UploadMetadata { run_id, filename, sha256: None }.to_header()
    };
    let open = |file: &str| {
        let headers = [("Upload-Defer-Length", "1"), ("Upload-Metadata", &*of(file))];
        client.ask("POST", "/uploads", &headers, b"").expect(201, "").header("location").to_owned()
    };
    // Without an end or without a hash, as one likes, is nothing that is known.
    client.ask("POST", "/uploads", &[("Upload-Metadata", &of("x"))], b"").expect(400, "INVALID_DATA");
    client
        .ask("POST", "/uploads", &[("Upload-Length", "5"), ("Upload-Metadata", &of("x"))], b"")
        .expect(400, "INVALID_DATA");
    let both = [("Upload-Length", "5"), ("Upload-Defer-Length", "1"), ("Upload-Metadata", &*of("x"))];
    client.ask("POST", "/uploads", &both, b"").expect(400, "INVALID_DATA");

    let (a, b) = (open("a"), open("b"));
    let told = client.ask("HEAD", &a, &[], b"");
    assert_eq!((told.header("upload-offset"), told.header("upload-defer-length")), ("0", "1"));
    client.patch(&a, 0, &[1; 3000]).unwrap().expect(204, "");
    client.patch(&b, 0, &[1; 2001]).unwrap().expect(507, "QUOTA_EXCEEDED");
    client.patch(&b, 0, &[1; 2000]).unwrap().expect(204, "");
    client.patch(&a, 3000, &[1; 1]).unwrap().expect(507, "QUOTA_EXCEEDED");
    client.create(RUN, "c", &[0; 1]).unwrap().expect(507, "QUOTA_EXCEEDED");
    client.commit(RUN).unwrap().expect(409, "UPLOAD_UNFINISHED");

    // Its end is where its bytes are, and its hash the one that is said.
    let end = |upload: &str, offset: &str, length: &str, sha256: &str| {
        let headers = [
            ("Upload-Offset", offset),
            ("Upload-Length", length),
            ("Content-Type", OFFSET_STREAM),
            ("Holdfast-Sha256", sha256),
        ];
        client.ask("PATCH", upload, &headers, b"")
    };
    let hash = sha256(&[1; 3000]).to_string();
    end(&a, "3000", "4000", &hash).expect(400, "INVALID_DATA");
    end(&a, "2000", "2000", &hash).expect(409, "OFFSET_MISMATCH");
    end(&a, "3000", "3000", "nothing").expect(400, "INVALID_DATA");
    end(&a, "3000", "3000", &hash).expect(204, "");
    end(&a, "3000", "3000", &hash).expect(204, "");
    end(&b, "2000", "2000", &hash).expect(460, "UPLOAD_DAMAGED");
    client.ask("HEAD", &b, &[], b"").expect(410, "");
    let open = client.ask("GET", &format!("/uploads?run_id={RUN}"), &[], b"").json();
    let closed = open["rows"].as_array().unwrap().iter().find(|row| row["filename"] == "a").unwrap();
    assert_eq!(
        (&closed["sha256"], &closed["size_bytes"], &closed["finished"]),
        (&json!(hash), &json!(3000), &json!(true))
    );
    served.stop();
}

#[test]
fn a_run_that_is_not_what_its_manifest_says_is_not_committed() {
    let world = World::new();
    let (run, folder) = world.run();
    let (files, server_id) = (files(&folder), world.server_id());
    let token = world.token("shop", "append", &[]);
    let served = world.serve();
    let client = served.client(&token, &server_id);
    let whole = |files: &[(String, Vec<u8>)], run: &str| client.bring(run, files).unwrap();
    let clear = |run: &str| {
        let open = client.ask("GET", &format!("/uploads?run_id={run}"), &[], b"").json();
        for row in open["rows"].as_array().unwrap() {
            client.ask("DELETE", &format!("/uploads/{}", text(&row["upload_id"])), &[], b"").expect(204, "");
        }
    };
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut files = files.clone();
        files.iter_mut().filter(|(file, _)| file == name).for_each(|(_, bytes)| change(bytes));
        files
    };
    let replaced = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        changed("manifest.json", &move |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.contains(&from));
            *bytes = text.replace(&from, &to).into_bytes();
        })
    };
    let artifact = files.iter().find(|(name, _)| name.ends_with(".lz4")).unwrap().0.clone();

    whole(&changed(&artifact, &|bytes| bytes[10] ^= 1), &run).expect(409, "FILE_NOT_AS_LISTED");
    clear(&run);
    whole(&changed("SHA256SUMS", &|bytes| bytes[0] ^= 1), &run);
    clear(&run);
    whole(&changed("manifest.json", &|bytes| bytes.push(b' ')), &run).expect(409, "SUMS_DISAGREE");
    clear(&run);
    whole(&replaced(&server_id, &uuid::Uuid::now_v7().to_string()), &run).expect(409, "MANIFEST_FOREIGN");
    clear(&run);
    whole(&replaced("\"completed\"", "\"running\""), &run).expect(409, "RUN_NOT_GOOD");
    clear(&run);
    whole(&replaced("\"started_at\": 1", "\"started_at\": 91"), &run).expect(403, "RUN_IN_FUTURE");
    clear(&run);
    whole(&changed("manifest.json", &|bytes| bytes.truncate(20)), &run).expect(409, "RUN_LIST_INVALID");
    clear(&run);
    // Under another run's id, and with a file too many.
    whole(&files, RUN).expect(409, "MANIFEST_FOREIGN");
    clear(RUN);
    let more = [&files[..], &[("stowaway".to_owned(), b"x".to_vec())]].concat();
    whole(&more, &run).expect(409, "FILE_NOT_LISTED");
    clear(&run);
    assert_eq!(client.ask("GET", "/runs", &[], b"").json()["rows"], json!([]));
    whole(&files, &run).expect(200, "");
    assert!(leftovers(&world.root, &server_id).is_empty());
    served.stop();
}

#[test]
fn requests_that_are_forged_replayed_reordered_or_cut_off_change_nothing() {
    let world = World::new();
    let token = world.token("shop", "append", &[]);
    let server_id = uuid::Uuid::now_v7().to_string();
    let served = world.serve_with(&["--insecure", "--idle", "2s"], &[]);
    let client = served.client(&token, &server_id);
    let bytes = vec![7; 100_000];
    let upload = client.create(RUN, "a", &bytes).unwrap().expect(201, "").header("location").to_owned();
    client.create(RUN, "A", &bytes).unwrap().expect(409, "UPLOAD_EXISTS");
    let stream = ("Content-Type", "application/offset+octet-stream");

    // The protocol's own rules.
    client
        .ask("PATCH", &upload, &[("Tus-Resumable", "0.2.2"), ("Upload-Offset", "0"), stream], b"x")
        .expect(412, "TUS_VERSION");
    client
        .ask("PATCH", &upload, &[("Upload-Offset", "0"), ("Content-Type", "text/plain")], b"x")
        .expect(415, "CONTENT_TYPE");
    client.ask("PATCH", &upload, &[stream], b"x").expect(400, "INVALID_DATA");
    client.ask("PATCH", &upload, &[("Upload-Offset", "-1"), stream], b"x").expect(400, "INVALID_DATA");
    client.patch(&upload, 5, b"x").unwrap().expect(409, "OFFSET_MISMATCH");
    client.patch(&upload, u64::MAX, b"x").unwrap().expect(409, "OFFSET_MISMATCH");
    client.patch(&upload, 0, &vec![7; 100_001]).unwrap().expect(413, "UPLOAD_TOO_LONG");
    let wrong = ("Upload-Checksum", "sha256 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    client.ask("PATCH", &upload, &[("Upload-Offset", "0"), stream, wrong], b"x").expect(460, "CHECKSUM_MISMATCH");
    let unknown = ("Upload-Checksum", "md5 AAAA");
    client.ask("PATCH", &upload, &[("Upload-Offset", "0"), stream, unknown], b"x").expect(400, "INVALID_DATA");
    assert_eq!(client.offset(&upload).unwrap(), 0);
    // `echo -n 7777777 | sha1`: seven bytes of value 7 are what is meant.
    let right = "sha1 ".to_owned() + &base64(&<sha1::Sha1 as sha1::Digest>::digest([7; 7]));
    let instead = [("X-HTTP-Method-Override", "PATCH"), ("Upload-Offset", "0"), stream, ("Upload-Checksum", &right)];
    client.ask("POST", &upload, &instead, &[7; 7]).expect(204, "");
    // Said again, it is not taken again.
    client.patch(&upload, 0, &[7; 7]).unwrap().expect(409, "OFFSET_MISMATCH");
    assert_eq!(client.offset(&upload).unwrap(), 7);

    // Cut off and silent: what came is kept; two at once: the second is sent away.
    let rest = (bytes.len() - 7).to_string();
    let head = [("Upload-Offset", "7"), stream, ("Content-Length", rest.as_str())];
    let mut slow = client.begin("PATCH", &upload, &head).unwrap();
    slow.write_all(&[7; 993]).unwrap();
    let mut busy = client.patch(&upload, 7, &[7; 10]).unwrap();
    while busy.code() == "OFFSET_MISMATCH" {
        busy = client.patch(&upload, 7, &[7; 10]).unwrap();
    }
    let second_came_first = busy.status == 204;
    if !second_came_first {
        busy.expect(423, "UPLOAD_BUSY");
        Client::end(slow).unwrap().expect(408, "TOO_SLOW");
        assert_eq!(client.offset(&upload).unwrap(), 1000);
    }
    let there = client.offset(&upload).unwrap();
    let head = [("Upload-Offset", &there.to_string()[..]), stream, ("Content-Length", "5000")];
    let mut cut = client.begin("PATCH", &upload, &head).unwrap();
    cut.write_all(&[7; 500]).unwrap();
    drop(cut);
    // It goes on from where the vault says it is, and is whole in the end.
    loop {
        let there = client.offset(&upload).unwrap();
        let answer = client.patch(&upload, there, &bytes[there as usize..]).unwrap();
        match answer.code().as_str() {
            "" => break,
            "UPLOAD_BUSY" | "OFFSET_MISMATCH" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(client.offset(&upload).unwrap(), 100_000);

    // What comes otherwise than said ends its upload.
    let made = client.create(RUN, "b", b"hello").unwrap().expect(201, "").header("location").to_owned();
    client.patch(&made, 0, b"jello").unwrap().expect(460, "UPLOAD_DAMAGED");
    client.ask("HEAD", &made, &[], b"").expect(410, "");
    // Path tricks, names that are none, ids of others.
    for path in [
        "/uploads/..",
        "/uploads/%2e%2e",
        "/uploads/../../state/home.json",
        "/uploads/x",
        "/runs/..",
        "/runs/%2e%2e%2fstate",
    ] {
        let answer = client.ask("HEAD", path, &[], b"");
        assert!(matches!(answer.status, 404 | 405), "{path}: {answer:?}");
    }
    for path in [
        format!("/runs/{RUN}/..%2f..%2fuploads"),
        format!("/runs/{RUN}/%2e%2e"),
        "/runs/../../../etc/passwd".to_owned(),
    ] {
        assert_eq!(client.ask("GET", &path, &[], b"").status, 404, "{path}");
    }
    let stranger = served.client(&world.token("other", "append", &[]), &uuid::Uuid::now_v7().to_string());
    stranger.ask("HEAD", &upload, &[], b"").expect(404, "");
    stranger.ask("DELETE", &upload, &[], b"").expect(404, "UPLOAD_NOT_FOUND");
    stranger.patch(&upload, 0, b"x").unwrap().expect(404, "UPLOAD_NOT_FOUND");
    served.stop();
}

#[test]
fn a_token_leads_to_one_client_and_guesses_are_counted() {
    let world = World::new();
    let (mine, others) = (uuid::Uuid::now_v7().to_string(), uuid::Uuid::now_v7().to_string());
    let (token, thief) = (world.token("shop", "append", &[]), world.token("thief", "full", &[]));
    let served = world.serve();
    served.client(&token, "").ask("GET", "/runs", &[], b"").expect(400, "SERVER_ID_NEEDED");
    served.client(&token, "x").ask("GET", "/runs", &[], b"").expect(400, "INVALID_DATA");
    served.client(&token, &mine).ask("GET", "/runs", &[], b"").expect(200, "");
    served.client(&token, "").ask("GET", "/runs", &[], b"").expect(200, "");
    served.client(&token, &others).ask("GET", "/runs", &[], b"").expect(403, "FOREIGN_SERVER_ID");
    served.client(&thief, &mine).ask("GET", "/runs", &[], b"").expect(403, "SERVER_ID_TAKEN");
    served.client("", &mine).ask("GET", "/runs", &[], b"").expect(401, "UNAUTHENTICATED");
    let guesses: Vec<_> = (0..12)
        .map(|guess| served.client(&format!("hf_{guess}"), &mine).ask("GET", "/runs", &[], b"").status)
        .collect();
    assert!(guesses.starts_with(&[401; 9]) && guesses.ends_with(&[429]), "{guesses:?}");
    served.stop();
    let events = world.events();
    let sums: Vec<_> = events.iter().filter(|event| event["type"] == "GuessesSummed").collect();
    assert_eq!(sums.iter().map(|sum| sum["data"]["count"].as_u64().unwrap()).sum::<u64>(), 12);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
