//! What a connection may, over time: tokens that are revoked or expire, tokens that are shown anew, what is recorded of what was refused.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast::engine::Holdfast;
use holdfast::model::access::Role;
use holdfast::model::ids::{Position, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::Home;
use crate::support::clients::{Frame, House, WebSocket, http, post, within};
use crate::support::engine::builder;

async fn token(house: &House, name: &str, expires: Option<Timestamp>) -> String {
    let made = house.engine.create_token(name.parse().unwrap(), Role::Operator, expires).await.unwrap();
    made.0.expose_secret().to_owned()
}

fn subscribe() -> Value {
    json!({ "command": "Subscribe", "extID": "1", "data": { "channels": ["alerts"] } })
}

/// The message by which a connection of lines is told that its token has ended, and its end.
async fn is_told(client: &mut crate::support::clients::Lines<tokio::net::TcpStream>) {
    let told = client.message().await;
    assert_eq!(
        (&told["extID"], &told["status"], &told["error"]),
        (&Value::Null, &json!(401), &json!("INVALID_TOKEN")),
        "{told}"
    );
    assert!(told["message"].as_str().unwrap().contains("revoked or has expired"), "{told}");
    assert_eq!(client.line().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_ends_all_that_rests_on_it() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    let lost = token(&house, "lost", None).await;
    // Shown once, with each message, by a subscription alone, and by a header.
    let mut once = house.lines().await;
    let auth = json!({ "command": "Auth", "extID": "1", "data": { "token": lost } });
    assert_eq!(once.ask(auth).await["status"], 200);
    assert_eq!(once.ask(subscribe()).await["status"], 200);
    let mut each = house.lines().await;
    let mut request = json!({ "command": "GetBackupRuns", "extID": "1", "__token": lost });
    assert_eq!(each.ask(request.clone()).await["status"], 200);
    let mut subscribed = house.lines().await;
    let mut subscription = subscribe();
    subscription["__token"] = json!(lost);
    assert_eq!(subscribed.ask(subscription).await["status"], 200);
    request["__token"] = json!(house.token);
    assert_eq!(subscribed.ask(request).await["status"], 200);
    let header = format!("Authorization: Bearer {lost}\r\n");
    let mut browser = WebSocket::open(house.http(), &header).await.unwrap();
    let mut other = house.lines().await;
    let auth = json!({ "command": "Auth", "extID": "1", "data": { "token": house.token } });
    assert_eq!(other.ask(auth).await["status"], 200);

    house.engine.revoke_token("lost").await.unwrap();
    is_told(&mut once).await;
    is_told(&mut each).await;
    is_told(&mut subscribed).await;
    assert_eq!(browser.closed().await, Frame::Close(4001));
    assert_eq!(other.ask(json!({ "command": "GetBackupRuns", "extID": "2" })).await["status"], 200);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_ends_its_connection() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    let soon = Timestamp(house.engine.now().0 + 1_500_000);
    let brief = token(&house, "brief", Some(soon)).await;
    let mut client = house.lines().await;
    let auth = json!({ "command": "Auth", "extID": "1", "data": { "token": brief } });
    assert_eq!(client.ask(auth).await["status"], 200);
    is_told(&mut client).await;
    assert!(house.engine.now() >= soon);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_may_say_anew_who_it_speaks_for() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    let first = token(&house, "first", None).await;
    let header = format!("Authorization: Bearer {first}\r\n");
    let mut client = WebSocket::open(house.http(), &header).await.unwrap();
    let yes = json!({ "event": "authorization", "success": true });
    for _ in 0..2 {
        assert_eq!(client.ask(json!({ "authorization": format!("Bearer {}", house.token) })).await, yes);
    }
    // It rests on the second one from then on.
    house.engine.revoke_token("first").await.unwrap();
    assert_eq!(client.ask(json!({ "command": "GetBackupRuns", "extID": "1" })).await["status"], 200);
    let no = client.ask(json!({ "authorization": "hf_wrong" })).await;
    assert_eq!(no, json!({ "event": "authorization", "success": false, "error": "INVALID_TOKEN" }));
    // With a command it is a request.
    let ping = json!({ "command": "Ping", "extID": "2", "authorization": "hf_wrong" });
    assert_eq!(client.ask(ping).await["status"], 200);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_refused_changes_nothing() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| config.limits.channels = 2).await;
    let mut client = house.lines().await;
    let auth = json!({ "command": "Auth", "extID": "1", "data": { "token": house.token } });
    assert_eq!(client.ask(auth).await["status"], 200);
    assert_eq!(client.ask(subscribe()).await["status"], 200);
    let three = json!({ "channels": ["backup.events", "alerts", "backup.progress"], "since_seq": 0 });
    let refused = client.ask(json!({ "command": "Subscribe", "extID": "2", "data": three })).await;
    assert_eq!((&refused["status"], &refused["error"]), (&json!(409), &json!("LIMIT_REACHED")), "{refused}");
    let left = json!({ "command": "Unsubscribe", "extID": "3", "data": { "channels": ["restore.progress"] } });
    assert_eq!(client.ask(left).await["data"]["channels"], json!(["alerts"]));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_for_each_channel_is_where_each_goes_on() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    house.engine.set_maintenance(true, "").await.unwrap();
    let head = house.engine.head().0;
    let mut client = house.lines().await;
    let auth = json!({ "command": "Auth", "extID": "1", "data": { "token": house.token } });
    assert_eq!(client.ask(auth).await["status"], 200);
    let mut told = async |since: Value| {
        let data = json!({ "channels": ["backup.events", "alerts"], "since_seq": since });
        client.ask(json!({ "command": "Subscribe", "extID": "2", "data": data })).await
    };
    for (since, recovered) in [
        (json!({ "backup.events": head, "alerts": 1 }), true),
        (json!({ "backup.events": head }), true),
        (json!({ "backup.events": head + 1000, "alerts": 1 }), false),
        (json!(head + 1000), false),
    ] {
        let answer = told(since.clone()).await;
        assert_eq!((&answer["status"], &answer["data"]["recovered"]), (&json!(200), &json!(recovered)), "{since}");
    }
    for wrong in [json!({ "backup.gossip": 1 }), json!({ "alerts": -1 }), json!("1"), json!([1])] {
        let answer = told(wrong.clone()).await;
        assert_eq!(answer["error"], "INVALID_DATA", "{wrong}");
        assert!(answer["detail"]["field"].as_str().unwrap().starts_with("since_seq"), "{answer}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_the_limits_it_will_meet() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.limits.in_flight = 7;
        config.limits.channels = 3;
    })
    .await;
    let hello = house.lines().await.ask(json!({ "command": "Hello", "extID": "1" })).await["data"].clone();
    let of = |name: &str| hello["limits"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {hello}"));
    assert_eq!((of("in_flight"), of("channels"), of("message"), of("message_before_auth")), (7, 3, 1 << 20, 64 << 10));
    assert_eq!((of("requests_per_second"), of("burst"), of("outbox_bytes")), (50, 100, 1 << 20));
    let features = hello["features"].as_array().unwrap();
    assert!(features.contains(&json!("idempotency_key")) && features.contains(&json!("alerts")), "{hello}");
    house.close().await;
}

/// How often each command was refused, by itself and in sums.
async fn refusals(engine: &Holdfast) -> (BTreeMap<(String, String), usize>, u64) {
    let mut events = engine.events(Position::START);
    let (mut each, mut summed) = (BTreeMap::new(), 0);
    while events.position() <= engine.head() {
        for event in events.next(1000).await.unwrap() {
            let data = serde_json::to_value(&event).unwrap()["data"].clone();
            let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
            match event.event_type {
                "CommandRecorded" if data["outcome"] == "refused" => {
                    *each.entry((text("command"), text("code"))).or_default() += 1;
                }
                "RefusalsSummed" => summed += data["count"].as_u64().unwrap(),
                _ => {}
            }
        }
    }
    (each, summed)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_refusal_is_recorded_and_many_of_them_are_summed() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.limits.requests_per_second = 1.try_into().unwrap();
        config.limits.burst = 8.try_into().unwrap();
    })
    .await;
    let mut client = house.lines().await;
    let auth = json!({ "command": "Auth", "extID": "1", "data": { "token": house.token } });
    assert_eq!(client.ask(auth).await["status"], 200);
    let unknown = json!({ "run_id": "20200101-000000-000001" });
    for (command, data) in [
        ("GetBackupRun", unknown.clone()),
        ("CancelBackupRun", unknown.clone()),
        ("NoSuchCommand\u{1b}", json!({})),
        ("GetBackupRun", json!({})),
        ("CreateToken", json!({})),
    ] {
        let answer = client.ask(json!({ "command": command, "extID": "2", "data": data })).await;
        assert!(answer["status"].as_u64().is_some_and(|status| (400..500).contains(&status)), "{answer}");
    }
    loop {
        let answer = client.ask(json!({ "command": "Ping", "extID": "3" })).await;
        if answer["error"] == "RATE_LIMITED" {
            break;
        }
    }
    let expected = [
        ("CancelBackupRun", "BACKUP_RUN_NOT_FOUND"),
        ("CreateToken", "FORBIDDEN"),
        ("GetBackupRun", "BACKUP_RUN_NOT_FOUND"),
        ("GetBackupRun", "INVALID_DATA"),
        ("Ping", "RATE_LIMITED"),
        ("unknown", "UNKNOWN_COMMAND"),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(command, code)| ((command.to_owned(), code.to_owned()), 1)).collect();
    assert_eq!(refusals(&house.engine).await, (expected, 0));

    // The events of a flood are few, whatever it is that is refused.
    let many = 60;
    for _ in 0..many {
        let request = post("CancelBackupRun", Some(&house.token), &unknown.to_string());
        assert_eq!(http(house.http(), &request).await.status, 404);
    }
    house.engine.desk().flush(&house.engine).await;
    let (each, summed) = refusals(&house.engine).await;
    assert_eq!((each.values().sum::<usize>(), summed), (10, 6 + many - 10));
    within("the server's end", house.server.stop(Duration::ZERO)).await;
    house.engine.stop().await;
}
