//! The doors of the server: what a client is told, in the form each door has.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use holdfast::config::{ServerConfig, TlsFiles};
use holdfast::engine::{Builder, Holdfast};
use holdfast::participant::Artifacts;
use holdfast::server::Server;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use crate::support::Home;
use crate::support::clients::{Answer, Frame, House, Lines, WebSocket, http, post, within};
use crate::support::engine::{Door, builder, good, module};

/// An engine whose one participant stands before a door.
fn held(home: &Home, door: &Door) -> Builder {
    let door = door.clone();
    builder(home).participant_with(module("held"), move |artifacts: &mut Artifacts| {
        door.pass();
        good(artifacts)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_answered_in_their_form_whichever_end_they_have() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    let mut client = house.lines().await;
    client.send("{\"command\":\"Ping\",\"extID\":\"a\"}\r\n\r\n\n").await;
    assert_eq!(client.line().await.unwrap(), "{\"extID\":\"a\",\"status\":200,\"data\":{}}\r\n");
    client.send("ping\n").await;
    assert_eq!(client.line().await.unwrap(), "pong\r\n");

    let answer = client.ask(json!({ "command": "GetBackupRuns", "extID": "1" })).await;
    assert_eq!((&answer["status"], &answer["error"]), (&json!(401), &json!("UNAUTHENTICATED")));
    for field in ["message", "detail", "retryable", "retry_after_ms"] {
        assert!(!answer[field].is_null(), "{field}: {answer}");
    }
    // A token speaks for its own message only.
    let answer = client.ask(json!({ "command": "GetBackupRuns", "extID": "2", "__token": house.token })).await;
    assert_eq!(answer["status"], 200, "{answer}");
    let answer = client.ask(json!({ "command": "GetBackupRuns", "extID": "3" })).await;
    assert_eq!(answer["status"], 401, "{answer}");
    let answer = client.ask(json!({ "command": "GetBackupRuns", "extID": "4", "__token": "hf_wrong" })).await;
    assert_eq!((&answer["status"], &answer["error"]), (&json!(401), &json!("INVALID_TOKEN")));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_it_sends_no_more_is_still_answered() {
    let (home, door) = (Home::new(), Door::default());
    let house = House::open(held(&home, &door), |_| {}).await;
    let mut client = house.lines().await;
    client.request(json!({ "command": "StartFullBackup", "extID": "1", "__token": house.token })).await;
    client.0.get_mut().shutdown().await.unwrap();
    tokio::task::spawn_blocking(move || {
        door.wait_for(1);
        door.open();
    })
    .await
    .unwrap();
    let answer = client.message().await;
    assert_eq!((&answer["extID"], &answer["data"]["status"]), (&json!("1"), &json!("completed")), "{answer}");
    assert_eq!(client.line().await, None);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_command_holds_up_nothing_and_its_ext_id_is_taken_until_it_ends() {
    let (home, door) = (Home::new(), Door::default());
    let house = House::open(held(&home, &door), |_| {}).await;
    let mut client = house.lines().await;
    client.request(json!({ "command": "StartFullBackup", "extID": "run", "__token": house.token })).await;
    client.ping().await;
    let answer = client.ask(json!({ "command": "Ping", "extID": "run" })).await;
    assert_eq!((&answer["status"], &answer["error"]), (&json!(409), &json!("DUPLICATE_EXT_ID")), "{answer}");
    door.open();
    let answer = client.message().await;
    assert_eq!((&answer["extID"], &answer["status"]), (&json!("run"), &json!(200)), "{answer}");
    let answer = client.ask(json!({ "command": "Ping", "extID": "run" })).await;
    assert_eq!(answer["status"], 200, "{answer}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_answers_with_the_data_or_the_error_and_its_status() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    let token = Some(house.token.as_str());
    let (address, post_empty) = (house.http(), |command, token| post(command, token, ""));

    let answer = http(address, &post_empty("Ping", None)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let answer = http(address, &post("GetBackupRuns", token, r#"{"limit": 3}"#)).await;
    assert_eq!((answer.status, &answer.json()["rows"]), (200, &json!([])));

    let cases = [
        (post_empty("GetBackupRuns", None), 401, "UNAUTHENTICATED"),
        (post_empty("GetBackupRuns", Some("hf_no")), 401, "INVALID_TOKEN"),
        (post_empty("GetBackupRuns", token).replace("Bearer", "Basic"), 401, "INVALID_TOKEN"),
        (post_empty("NoSuchCommand", token), 404, "UNKNOWN_COMMAND"),
        (post("GetBackupRun", token, r#"{"run_id": 5}"#), 400, "INVALID_DATA"),
        (post("GetBackupRuns", token, "{"), 400, "INVALID_DATA"),
        (post("GetBackupRuns", token, "[]"), 400, "INVALID_DATA"),
        (post("GetBackupRuns", token, "{}").replace("application/json", "text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (post_empty("Ping", None).replace("POST", "GET"), 405, "METHOD_NOT_ALLOWED"),
        (post_empty("Ping", None).replace("POST", "BREW"), 405, "METHOD_NOT_ALLOWED"),
        ("GET /elsewhere HTTP/1.1\r\nHost: h\r\n\r\n".into(), 404, "UNKNOWN_PATH"),
        ("GET /api/v1/a/b HTTP/1.1\r\nHost: h\r\n\r\n".into(), 404, "UNKNOWN_PATH"),
        ("GET /ws HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400, "INVALID_MESSAGE"),
        (post("Ping", None, &format!("\"{}\"", "x".repeat(65 << 10))), 413, "MESSAGE_TOO_LARGE"),
    ];
    for (request, status, code) in cases {
        let answer = http(address, &request).await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(code)), "{request:.200}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{answer:?}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{answer:?}");
    }
    // What stays after a token was shown is more.
    let large = format!("{{\"none\": \"{}\"}}", "x".repeat(65 << 10));
    assert_eq!(http(address, &post("GetBackupRuns", token, &large)).await.status, 200);

    // One connection, many requests.
    let mut connection = BufReader::new(TcpStream::connect(address).await.unwrap());
    for _ in 0..3 {
        connection.write_all(post("Ping", None, "{}").as_bytes()).await.unwrap();
        assert_eq!(Answer::read(&mut connection).await.unwrap().status, 200);
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_a_second_are_refused_and_the_connection_stays() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.limits.requests_per_second = 1.try_into().unwrap();
        config.limits.burst = 3.try_into().unwrap();
    })
    .await;
    let limited = |answer: &serde_json::Value| {
        assert_eq!(answer["error"], "RATE_LIMITED", "{answer}");
        assert_eq!(answer["retryable"], true, "{answer}");
        let wait = answer["retry_after_ms"].as_u64().unwrap();
        assert!((1..=1000).contains(&wait), "{answer}");
    };
    let mut client = house.lines().await;
    for _ in 0..3 {
        client.ping().await;
    }
    let answer = client.ask(json!({ "command": "Ping", "extID": "4" })).await;
    limited(&answer);
    // Once it is time, it is answered again.
    loop {
        let answer = client.ask(json!({ "command": "Ping", "extID": "5" })).await;
        if answer["status"] == 200 {
            break;
        }
        limited(&answer);
    }

    let mut connection = BufReader::new(TcpStream::connect(house.http()).await.unwrap());
    for status in [200, 200, 200, 429] {
        connection.write_all(post("Ping", None, "").as_bytes()).await.unwrap();
        let answer = Answer::read(&mut connection).await.unwrap();
        assert_eq!(answer.status, status);
        if status == 429 {
            limited(&answer.json());
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_at_a_time_than_may_be_are_refused() {
    let (home, door) = (Home::new(), Door::default());
    let house = House::open(held(&home, &door), |config| config.limits.in_flight = 2).await;
    let mut client = house.lines().await;
    let start = |id: &str| json!({ "command": "StartFullBackup", "extID": id, "__token": house.token, "data": { "idempotency_key": "k" } });
    client.request(start("1")).await;
    client.request(start("2")).await;
    let answer = client.ask(json!({ "command": "Ping", "extID": "3" })).await;
    assert_eq!((&answer["status"], &answer["error"]), (&json!(429), &json!("RATE_LIMITED")), "{answer}");
    door.open();
    let mut runs = Vec::new();
    for _ in 0..2 {
        let answer = client.message().await;
        assert_eq!(answer["status"], 200, "{answer}");
        runs.push(answer["data"]["run_id"].clone());
    }
    assert_eq!(runs[0], runs[1]);
    client.ping().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_speaks_for_whom_its_header_or_its_first_message_says() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    let runs = || json!({ "command": "GetBackupRuns", "extID": "1" });

    let header = format!("Authorization: Bearer {}\r\n", house.token);
    let mut client = WebSocket::open(house.http(), &header).await.unwrap();
    assert_eq!(client.ask(runs()).await["status"], 200);
    let answer = WebSocket::open(house.http(), "Authorization: Bearer hf_wrong\r\n").await.err().unwrap();
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("INVALID_TOKEN")));

    let mut client = house.websocket().await;
    let said = client.ask(json!({ "authorization": "hf_wrong" })).await;
    assert_eq!(said, json!({ "event": "authorization", "success": false, "error": "INVALID_TOKEN" }));
    let said = client.ask(json!({ "authorization": house.token })).await;
    assert_eq!(said, json!({ "event": "authorization", "success": true }));
    assert_eq!(client.ask(runs()).await["status"], 200);
    client.text("ping").await;
    assert_eq!(client.next().await, Frame::Text("pong".into()));
    client.frame(0x89, b"are you there").await;
    assert_eq!(client.next().await, Frame::Pong(b"are you there".to_vec()));
    // A message in three frames, with a ping between them.
    client.frame(0x01, b"{\"command\":").await;
    client.frame(0x00, b"\"Ping\",\"ext").await;
    client.frame(0x89, b"").await;
    client.frame(0x80, b"ID\":\"2\"}").await;
    assert_eq!(client.next().await, Frame::Pong(Vec::new()));
    assert_eq!(client.message().await, json!({ "extID": "2", "status": 200, "data": {} }));
    client.frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(client.closed().await, Frame::Close(1000));
    assert_eq!(client.next().await, Frame::End);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_allowed_to_opens_no_websocket() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.allowed_origins = vec!["https://backup.example.org".parse().unwrap()];
    })
    .await;
    let own = format!("http://{}", house.http());
    for origin in ["https://backup.example.org", "https://Backup.example.org:443", &own] {
        assert!(WebSocket::open(house.http(), &format!("Origin: {origin}\r\n")).await.is_ok(), "{origin}");
    }
    // A name that somebody else may have is no proof, though it leads here.
    let upgrade = |host: &str, origin: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    for (host, status) in [
        ("localhost", 101),
        ("localhost:7421", 101),
        ("[::1]:7421", 101),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
    ] {
        assert_eq!(http(house.http(), &upgrade(host, &format!("http://{host}"))).await.status, status, "{host}");
    }
    for origin in ["https://evil.example.org", "null", "", "http://backup.example.org", "http://127.0.0.1:1"] {
        let answer = WebSocket::open(house.http(), &format!("Origin: {origin}\r\n")).await.err().unwrap();
        assert_eq!((answer.status, &answer.json()["error"]), (403, &json!("FORBIDDEN")), "{origin}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_pinged_and_one_that_never_answers_is_closed() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.limits.ws_ping = Duration::from_millis(300);
        config.limits.ws_pong = Duration::from_millis(300);
    })
    .await;
    let mut client = house.websocket().await;
    let answer = client.ask(json!({ "command": "Ping", "extID": "1" })).await;
    assert_eq!(answer["status"], 200);
    for _ in 0..3 {
        assert_eq!(client.next().await, Frame::Ping);
        client.frame(0x8A, b"").await;
    }
    assert_eq!(client.next().await, Frame::Ping);
    assert_eq!(client.closed().await, Frame::Close(1002));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_neither_says_who_they_are_nor_asks_is_not_kept() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.limits.ws_idle = Duration::from_millis(300);
        config.limits.tcp_idle = Duration::from_millis(900);
    })
    .await;
    let (mut silent, mut asks) = (house.websocket().await, house.websocket().await);
    let mut tcp = house.lines().await;
    let mut known = house.lines().await;
    let answer = known.ask(json!({ "command": "GetBackupRuns", "extID": "1", "__token": house.token })).await;
    assert_eq!(answer["status"], 200);
    assert_eq!(asks.ask(json!({ "command": "Ping", "extID": "1" })).await["status"], 200);
    // A `ping` is no question.
    silent.text("ping").await;
    assert_eq!(silent.next().await, Frame::Text("pong".into()));
    assert_eq!(silent.closed().await, Frame::Close(4001));
    assert_eq!(tcp.line().await, None);
    // It outlived the other WebSocket's ten seconds, and is gone for its own silence.
    assert_eq!(asks.closed().await, Frame::Close(4001));
    // Nobody who is known is closed for saying nothing.
    known.ping().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_everybody_waits_for_what_is_at_work_and_closes() {
    let (home, door) = (Home::new(), Door::default());
    let House { engine, server, token } = House::open(held(&home, &door), |_| {}).await;
    let addresses = server.addresses().clone();
    let mut client = Lines::over(TcpStream::connect(addresses.tcp.unwrap()).await.unwrap());
    client.request(json!({ "command": "StartFullBackup", "extID": "run", "__token": token })).await;
    client.ping().await;
    let mut browser = WebSocket::open(addresses.http.unwrap(), "").await.unwrap();
    assert_eq!(browser.ask(json!({ "command": "Ping", "extID": "1" })).await["status"], 200);

    let stopping = tokio::spawn(server.stop(Duration::from_secs(60)));
    assert_eq!(client.message().await, json!({ "event": "server.draining" }));
    assert_eq!(browser.message().await, json!({ "event": "server.draining" }));
    let start = json!({ "command": "StartFullBackup", "extID": "2", "__token": token });
    let answer = client.ask(start).await;
    assert_eq!((&answer["status"], &answer["error"]), (&json!(503), &json!("SERVER_DRAINING")), "{answer}");
    client.ping().await;
    door.open();
    let answer = client.message().await;
    assert_eq!((&answer["extID"], &answer["data"]["status"]), (&json!("run"), &json!("completed")), "{answer}");
    assert_eq!(client.line().await, None);
    assert_eq!(browser.closed().await, Frame::Close(1001));
    within("the server's end", stopping).await.unwrap();
    assert!(!addresses.socket.exists());
    assert!(TcpStream::connect(addresses.tcp.unwrap()).await.is_err());
    assert!(TcpStream::connect(addresses.http.unwrap()).await.is_err());

    // The doors can be opened again on the same engine.
    let config = ServerConfig { tcp: addresses.tcp, http: addresses.http, ..ServerConfig::default() };
    let server = Server::start(&engine, &config).unwrap();
    Lines::over(TcpStream::connect(addresses.tcp.unwrap()).await.unwrap()).ping().await;
    within("the server's end", server.stop(Duration::ZERO)).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_longer_than_it_may() {
    let (home, door) = (Home::new(), Door::default());
    let house = House::open(held(&home, &door), |_| {}).await;
    let mut client = house.lines().await;
    client.request(json!({ "command": "StartFullBackup", "extID": "run", "__token": house.token })).await;
    client.ping().await;
    within("the server's end", house.server.stop(Duration::from_millis(100))).await;
    assert_eq!(client.message().await, json!({ "event": "server.draining" }));
    // Who waits for it is told which run it is.
    let answer = client.message().await;
    assert_eq!((&answer["extID"], &answer["error"]), (&json!("run"), &json!("SERVER_DRAINING")), "{answer}");
    assert_eq!(client.line().await, None);
    // The run goes on without the doors.
    let run = house.engine.open_run().await.unwrap();
    door.open();
    let run = within("the run's end", house.engine.wait(run)).await.unwrap();
    assert_eq!(run.outcome(), Some(holdfast::model::run::Outcome::Completed));
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_under_the_home_is_for_its_owner_however_long_its_path_is() {
    let home = Home::new();
    let deep = home.beside("d".repeat(150));
    let engine = Holdfast::builder(&deep).start().await.unwrap();
    fs::write(deep.join("control.sock"), "left by a process that died").unwrap();
    let config = ServerConfig { tcp: None, http: None, ..ServerConfig::default() };
    let server = Server::start(&engine, &config).unwrap();
    let socket = server.addresses().socket.clone();
    assert_eq!(socket, deep.join("control.sock"));
    let metadata = fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert!(!deep.join(".control").exists());

    let folder = fs::File::open(&deep).unwrap();
    let short = format!("/proc/self/fd/{}/control.sock", std::os::fd::AsRawFd::as_raw_fd(&folder));
    let mut client = Lines::over(UnixStream::connect(&short).await.unwrap());
    // It is known who that is, without any token.
    let answer = client.ask(json!({ "command": "Hello", "extID": "1" })).await;
    assert_eq!(answer["data"]["version"], env!("CARGO_PKG_VERSION"), "{answer}");
    assert_ne!(answer["data"]["server_id"], "", "{answer}");
    within("the server's end", server.stop(Duration::ZERO)).await;
    assert_eq!(client.message().await, json!({ "event": "server.draining" }));
    assert_eq!(client.line().await, None);
    assert!(!socket.exists());
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_speaks_for_nobody_from_then_on() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    let header = format!("Authorization: Bearer {}\r\n", house.token);
    let mut client = WebSocket::open(house.http(), &header).await.unwrap();
    assert_eq!(client.ask(json!({ "command": "GetBackupRuns", "extID": "1" })).await["status"], 200);
    house.engine.revoke_token("ops").await.unwrap();
    assert_eq!(client.closed().await, Frame::Close(4001));
    let answer = WebSocket::open(house.http(), &header).await.err().unwrap();
    assert_eq!(answer.json()["error"], "INVALID_TOKEN");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_told_with_its_setting_and_nothing_stays_open() {
    let home = Home::new();
    let engine = builder(&home).start().await.unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = ServerConfig { tcp: None, http: Some(address), ..ServerConfig::default() };
    let error = Server::start(&engine, &config).err().unwrap();
    assert_eq!(error.code(), "ADDRESS_UNAVAILABLE");
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("[server] http"), "{text}");
    assert!(!home.path().join("control.sock").exists());
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_both_doors_are_encrypted_and_a_new_one_is_taken_while_they_are_open() {
    let home = Home::new();
    let first = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: home.beside("cert.pem"), key: home.beside("key.pem") };
    let put = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    };
    put(&first);
    let mut settings = ServerConfig::default();
    let house = House::open(builder(&home), |config| {
        config.tls = Some(files.clone());
        settings = config.clone();
    })
    .await;
    assert!(house.server.addresses().encrypted);

    let mut client = Lines::over(secure(house.tcp(), &first, b"").await.unwrap());
    client.ping().await;
    for protocol in [&b"http/1.1"[..], b""] {
        let mut connection = BufReader::new(secure(house.http(), &first, protocol).await.unwrap());
        connection.write_all(post("Ping", None, "").as_bytes()).await.unwrap();
        assert_eq!(Answer::read(&mut connection).await.unwrap().status, 200);
    }
    // There is no HTTP/2: who wants nothing else is sent away, and nobody is led to it.
    assert!(secure(house.http(), &first, b"h2").await.is_err());
    let plain = secure(house.http(), &first, b"http/1.1").await.unwrap();
    assert_eq!(plain.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    // Who does not encrypt is not answered.
    let mut plain = house.lines().await;
    plain.send("{\"command\":\"Ping\",\"extID\":\"1\"}\n").await;
    assert!(plain.0.read_to_end(&mut Vec::new()).await.is_err() || plain.line().await.is_none());

    let second = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    put(&second);
    house.server.reload(&settings).unwrap();
    assert!(secure(house.tcp(), &first, b"").await.is_err());
    Lines::over(secure(house.tcp(), &second, b"").await.unwrap()).ping().await;
    client.ping().await;
    // One that cannot be used changes nothing.
    fs::write(&files.cert, "nonsense").unwrap();
    assert!(house.server.reload(&settings).is_err());
    Lines::over(secure(house.tcp(), &second, b"").await.unwrap()).ping().await;
    house.close().await;
}

/// Connects and trusts this certificate alone.
async fn secure(
    address: std::net::SocketAddr,
    trusted: &rcgen::CertifiedKey<rcgen::KeyPair>,
    protocol: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    if !protocol.is_empty() {
        config.alpn_protocols = vec![protocol.to_vec()];
    }
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await?;
    within("the handshake", connector.connect("localhost".try_into().unwrap(), stream)).await
}
