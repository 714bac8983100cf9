//! The server on its way to its end: who may still come in, what is refused, and what those are told who wait.

use std::time::Duration;

use holdfast::config::ServerConfig;
use holdfast::model::access::Role;
use holdfast::model::ids::Position;
use holdfast::server::Server;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use crate::support::Home;
use crate::support::clients::{Answer, House, Lines, WebSocket, post, within};
use crate::support::engine::{Door, held};

/// A house whose one participant stands before a door, and a run that does.
async fn with_a_run(home: &Home, door: &Door) -> (House, String) {
    let house = House::open(held(home, door), |_| {}).await;
    let run = house.engine.back_up(holdfast::engine::Backup::full()).await.unwrap();
    let run_id = run.run_id.to_string();
    (house, run_id)
}

fn ask(command: &str, token: &str, data: Value) -> Value {
    json!({ "command": command, "extID": "1", "__token": token, "data": data })
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_drains_one_may_come_in_to_look_and_to_cancel() {
    let (home, door) = (Home::new(), Door::default());
    let (house, run_id) = with_a_run(&home, &door).await;
    let (viewer, _) = house.engine.create_token("looks".parse().unwrap(), Role::Viewer, None).await.unwrap();
    let viewer = viewer.expose_secret();
    house.server.drain().await;

    let mut client = house.lines().await;
    let rows = client.ask(ask("GetBackupRuns", &house.token, json!({}))).await;
    assert_eq!(rows["data"]["rows"][0]["run_id"], run_id, "{rows}");
    let start = |token: &str| ask("StartFullBackup", token, json!({ "wait": false }));
    let refused = client.ask(start(&house.token)).await;
    assert_eq!((&refused["status"], &refused["error"]), (&json!(503), &json!("SERVER_DRAINING")), "{refused}");
    // Who may not at any time is told that.
    assert_eq!(client.ask(start(viewer)).await["error"], "FORBIDDEN");
    let answer = client.ask(json!({ "command": "StartFullBackup", "extID": "1" })).await;
    assert_eq!(answer["error"], "UNAUTHENTICATED");
    let subscribe = json!({ "channels": ["backup.progress"], "since_seq": 0 });
    let header = format!("Authorization: Bearer {}\r\n", house.token);
    let mut back = WebSocket::open(house.http(), &header).await.unwrap();
    assert_eq!(back.ask(ask("Subscribe", &house.token, subscribe)).await["status"], 200);
    let mut local = Lines::over(UnixStream::connect(&house.server.addresses().socket).await.unwrap());
    let cancelled =
        local.ask(json!({ "command": "CancelBackupRun", "extID": "1", "data": { "run_id": run_id } })).await;
    assert_eq!(cancelled["status"], 200, "{cancelled}");
    door.open();
    let run = within("the end of what is open", house.engine.drain(crate::support::DEADLINE)).await;
    assert!(run, "the run has ended");

    // Both refusals are on record.
    let mut events = house.engine.events(Position::START);
    let (mut codes, mut all) = (Vec::new(), events.next(1000).await.unwrap());
    all.retain(|event| event.event_type == "CommandRecorded");
    for event in &all {
        let data = serde_json::to_value(event).unwrap()["data"].clone();
        if data["command"] == "StartFullBackup" {
            codes.push(data["code"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(codes, ["SERVER_DRAINING", "FORBIDDEN"]);

    // Another server on the same engine takes work again.
    let House { engine, server, token } = house;
    let addresses = server.addresses().clone();
    within("the server's end", server.stop(Duration::ZERO)).await;
    let config = ServerConfig { tcp: addresses.tcp, http: None, ..ServerConfig::default() };
    let server = Server::start(&engine, &config).unwrap();
    let mut client = Lines::over(TcpStream::connect(addresses.tcp.unwrap()).await.unwrap());
    let run = client.ask(ask("StartFullBackup", &token, json!({}))).await;
    assert_eq!(run["data"]["status"], "completed", "{run}");
    within("the server's end", server.stop(Duration::ZERO)).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_run_is_told_which_it_is() {
    let (home, door) = (Home::new(), Door::default());
    let house = House::open(held(&home, &door), |_| {}).await;
    let key = json!({ "idempotency_key": "night" });
    let mut client = house.lines().await;
    client.request(ask("StartFullBackup", &house.token, key.clone())).await;
    let at_work = door.clone();
    tokio::task::spawn_blocking(move || at_work.wait_for(1)).await.unwrap();
    let mut connection = BufReader::new(TcpStream::connect(house.http()).await.unwrap());
    let request = post("StartFullBackup", Some(&house.token), &key.to_string());
    connection.write_all(request.as_bytes()).await.unwrap();
    // It has come in once it is recorded.
    let mut events = house.engine.events(Position::START);
    let asked = async {
        let mut accepted = 0;
        while accepted < 2 {
            let batch = events.next(100).await.unwrap();
            accepted += batch.iter().filter(|event| event.event_type == "CommandRecorded").count();
        }
    };
    within("both requests", asked).await;
    let run = house.engine.open_run().await.unwrap();

    let stopping = tokio::spawn(house.server.stop(Duration::from_millis(200)));
    assert_eq!(client.message().await, json!({ "event": "server.draining" }));
    let told = client.message().await;
    assert_eq!((&told["extID"], &told["error"]), (&json!("1"), &json!("SERVER_DRAINING")), "{told}");
    assert_eq!(told["detail"]["run_id"], run.run_id.to_string(), "{told}");
    assert_eq!(client.line().await, None);
    let told = Answer::read(&mut connection).await.expect("an answer, and not the end");
    assert_eq!((told.status, &told.json()["detail"]["run_id"]), (503, &json!(run.run_id.to_string())));
    within("the server's end", stopping).await.unwrap();
    door.open();
    within("the run's end", house.engine.wait(run)).await.unwrap();
    house.engine.stop().await;
}
