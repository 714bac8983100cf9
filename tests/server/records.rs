//! What is recorded beside the work itself: locks, endpoints and their passwords, tokens, maintenance, the audit. It is read back as soon
//! as it was answered, survives a restart, and holds no secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use holdfast::blocking;
use holdfast::engine::{Backup, EngineError, Loss, Projections, token_hash};
use holdfast::model::access::Role;
use holdfast::model::audit::{AuditCommand, CommandOutcome, CommandRecordedV2};
use holdfast::model::codec::Origin;
use holdfast::model::endpoint::EndpointConfigV2;
use holdfast::model::event::{AuditEvent, Event};
use holdfast::model::ids::{EndpointName, Position, RestoreId, RunId, Timestamp};
use holdfast::model::run::{Outcome, Retained};
use secrecy::ExposeSecret;
use serde_json::Value;
use uuid::Uuid;

use crate::support::engine::{Door, back_up, builder, end, good, module, name, wait_until, within, write};
use crate::support::{DEADLINE, Home};

const PASSWORD: &str = "correct horse battery staple";

fn started(home: &Home) -> blocking::Holdfast {
    builder(home).participant("a", good).start_blocking().unwrap()
}

fn read<T>(engine: &blocking::Holdfast, read: impl FnOnce(&Projections) -> T) -> T {
    within(engine, "a read", engine.handle().read(read)).unwrap()
}

fn endpoint(text: &str) -> EndpointName {
    text.parse().unwrap()
}

fn config(text: &str) -> EndpointConfigV2 {
    EndpointConfigV2::new(endpoint(text))
}

/// The passwords in the file of secrets.
fn kept(home: &Home) -> Vec<String> {
    let key = fs::read_to_string(home.path().join("secrets.key")).unwrap();
    let key: age::x25519::Identity = key.lines().last().unwrap().parse().unwrap();
    let text = age::decrypt(&key, &fs::read(home.path().join("secrets.age")).unwrap()).unwrap();
    let all: Value = serde_json::from_slice(&text).unwrap();
    all["secrets"].as_object().unwrap().values().map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// Whether any file below the log's folder holds the text.
fn log_holds(home: &Home, text: &str) -> bool {
    let mut folders = vec![home.path().join("log")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if fs::read(&entry).unwrap().windows(text.len()).any(|part| part == text.as_bytes()) {
                return true;
            }
        }
    }
    false
}

#[test]
fn what_was_answered_is_read_at_once_and_after_a_restart() {
    let home = Home::new();
    let engine = started(&home);
    let run = back_up(&engine, Backup::full().job("nightly"));
    let run_id = run.id().unwrap();
    engine.lock(run_id, "audit").unwrap();
    let handle = engine.handle().clone();
    engine.block_on(async {
        for number in 0..20 {
            let name = endpoint(&format!("e{number}"));
            handle.add_endpoint(config(name.as_str()), None).await.unwrap();
            let known = handle.read(|known| known.endpoints.contains_key(&name)).await.unwrap();
            assert!(known, "{name} was answered and is not read");
        }
        handle.delete_endpoint(&endpoint("e7"), Loss::default()).await.unwrap();
        handle.set_maintenance(true, "the move").await.unwrap();
    });
    let (token, made) = engine.block_on(handle.create_token("ci".parse().unwrap(), Role::Operator, None)).unwrap();
    let before = read(&engine, Projections::clone);
    assert_eq!((before.endpoints.len(), before.maintenance.reason.as_str()), (19, "the move"));
    assert!(before.history.run(run_id).unwrap().locked);
    let found = before.access.by_hash(&token_hash(token.expose_secret())).unwrap();
    assert_eq!((found.token_id, found.role), (made.token_id, Role::Operator));
    drop(handle);
    engine.stop();
    assert!(!log_holds(&home, token.expose_secret()), "a token is recorded by its hash alone");

    let engine = started(&home);
    let after = read(&engine, Projections::clone);
    assert_eq!((&after.endpoints, &after.access), (&before.endpoints, &before.access));
    assert_eq!(after.maintenance, before.maintenance);
    assert!(after.history.newest_first().eq(before.history.newest_first()));
    let run = engine.run(run_id).unwrap();
    let view = run.view(true).unwrap();
    assert_eq!((view.lock_reason.as_str(), view.job.as_str(), view.locked), ("audit", "nightly", true));
    engine.stop();
}

#[test]
fn reads_work_on_any_runtime_and_end_with_the_engine() {
    let home = Home::new();
    let engine = started(&home);
    let handle = engine.handle().clone();
    let mut folded = handle.watch_folded();
    // A runtime without timers, another thread's, and none of tokio's.
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    bare.block_on(async {
        handle.set_maintenance(true, "x").await.unwrap();
        assert!(handle.read(|known| known.maintenance.enabled).await.unwrap());
        assert_eq!(handle.run(RunId::new(Timestamp(0), 9)).await.unwrap_err().code(), "BACKUP_RUN_NOT_FOUND");
        let none = handle.restore_run(RestoreId(Uuid::nil())).await.unwrap_err();
        assert_eq!(none.code(), "RESTORE_RUN_NOT_FOUND");
    });
    assert_eq!(*folded.borrow_and_update(), handle.head());
    engine.stop();
    let after = bare.block_on(handle.read(|known| known.maintenance.enabled));
    assert!(matches!(after, Err(EngineError::Stopped)), "{after:?}");
    assert!(folded.has_changed().is_err(), "who watches learns it too");
}

#[test]
fn who_acts_is_recorded_with_what_he_did() {
    let home = Home::new();
    let engine = started(&home);
    let origin = Origin { principal: "token:ci".into(), correlation_id: Uuid::from_u128(77) };
    let ada = engine.handle().acting_for(origin);
    let recorded = CommandRecordedV2 {
        command: "SetMaintenance".into(),
        role: "manager".into(),
        token_id: None,
        door: "http".into(),
        source: "127.0.0.1:1".into(),
        outcome: CommandOutcome::Done,
        code: String::new(),
        fields: vec![("enabled".into(), "true".into())],
    };
    let run = within(&engine, "the run", async {
        ada.set_maintenance(true, "").await.unwrap();
        ada.record_audit(AuditCommand::Command(recorded.clone())).await.unwrap();
        ada.back_up(Backup::full()).await.unwrap()
    });
    end(&engine, run.clone());
    assert_eq!(engine.run(run.run_id).unwrap().requested_by(), "token:ci");
    let events =
        within(&engine, "the log", async { engine.handle().events(Position::START).next(1000).await }).unwrap();
    let of_ada: Vec<_> = events.iter().filter(|event| event.correlation_id == Uuid::from_u128(77)).collect();
    assert!(of_ada.iter().all(|event| event.principal == "token:ci"));
    assert!(of_ada.iter().any(|event| event.data == Event::from(AuditEvent::CommandRecorded(recorded.clone()))));
    assert!(events.iter().any(|event| event.principal != "token:ci"), "the engine's own acts stay its own");
    drop(ada);
    engine.stop();
}

#[test]
fn a_run_is_verified_once_for_all_who_ask_meanwhile() {
    let home = Home::new();
    let engine = started(&home);
    let run_id = back_up(&engine, Backup::full()).id().unwrap();
    let verified = |engine: &holdfast::blocking::Holdfast| {
        let events = engine.handle().run_events(run_id, holdfast::model::ids::Version::NONE).unwrap();
        events.iter().filter(|event| event.event_type == "RunVerified").count()
    };
    let handle = engine.handle();
    let (one, two, three) = within(&engine, "their reports", async {
        tokio::join!(handle.verify(run_id), handle.verify(run_id), handle.verify(run_id))
    });
    let one = one.unwrap();
    assert!(one.is_good() && one == two.unwrap() && one == three.unwrap());
    assert_eq!(verified(&engine), 1);
    within(&engine, "another", handle.verify(run_id)).unwrap();
    assert_eq!(verified(&engine), 2, "who asks later is not content with what was found before");
    engine.stop();
}

#[test]
fn wishes_for_one_stream_never_race() {
    let home = Home::new();
    let engine = started(&home);
    let run_id = back_up(&engine, Backup::full()).id().unwrap();
    let handle = engine.handle().clone();
    let granted = within(&engine, "all answers", async {
        let mut wishes = Vec::new();
        for number in 0..60 {
            let handle = handle.clone();
            wishes.push(tokio::spawn(async move {
                // Locks of one run that has ended: its actor is started, let go and started again meanwhile.
                handle.lock(run_id, &format!("{number}")).await.unwrap();
                handle.unlock(run_id).await.unwrap();
                match handle.create_token("same".parse().unwrap(), Role::Viewer, None).await {
                    Ok(_) => 1,
                    Err(error) => {
                        assert_eq!(error.code(), "TOKEN_EXISTS");
                        0
                    }
                }
            }));
        }
        let mut granted = 0;
        for wish in wishes {
            granted += wish.await.unwrap();
        }
        granted
    });
    assert_eq!(granted, 1);
    drop(handle);
    engine.stop();
}

#[test]
fn many_streams_are_told_in_turn_and_unknown_runs_leave_nothing_behind() {
    let home = Home::new();
    let engine = started(&home);
    let handle = engine.handle().clone();
    within(&engine, "all answers", async {
        // More than actors are kept, twice, so that each is started from its stream again.
        for round in 0..2 {
            for number in 0..100 {
                let error = handle.lock(RunId::new(Timestamp(0), 5_000 + number), "x").await.unwrap_err();
                assert_eq!(error.code(), "BACKUP_RUN_NOT_FOUND");
                let name = endpoint(&format!("e{number}"));
                match round {
                    0 => drop(handle.add_endpoint(config(name.as_str()), None).await.unwrap()),
                    _ => drop(
                        handle.update_endpoint(&name, |config| config.mode = 1, None, Loss::default()).await.unwrap(),
                    ),
                }
            }
        }
        for number in 100..200 {
            handle.add_endpoint(config(&format!("e{number}")), None).await.unwrap();
        }
        assert_eq!(handle.add_endpoint(config("more"), None).await.unwrap_err().code(), "ENDPOINTS_FULL");
    });
    let modes = read(&engine, |known| known.endpoints.values().filter(|one| one.config().unwrap().mode == 1).count());
    assert_eq!(modes, 100);
    drop(handle);
    engine.stop();
}

#[test]
fn passwords_lie_in_a_file_of_their_own_and_go_with_what_named_them() {
    let home = Home::new();
    let engine = started(&home);
    let handle = engine.handle().clone();
    within(&engine, "all answers", async {
        let added = handle.add_endpoint(config("offsite"), Some(PASSWORD.into())).await.unwrap();
        assert!(added.config().unwrap().secret.is_some());
        let again = handle.add_endpoint(config("offsite"), Some("other".into())).await.unwrap_err();
        assert_eq!(again.code(), "RET_ERR_DUPLICATE");
        assert_eq!(kept(&home), [PASSWORD], "that of a refused wish is not kept");

        let changed = handle
            .update_endpoint(&endpoint("offsite"), |config| config.mode = 1, None, Loss::default())
            .await
            .unwrap();
        assert_eq!(changed.config().unwrap().secret, added.config().unwrap().secret, "what is not said stays");
        handle.update_endpoint(&endpoint("offsite"), |_| {}, Some("new one".into()), Loss::default()).await.unwrap();
        assert_eq!(kept(&home), ["new one"]);
        let foreign = |config: &mut EndpointConfigV2| config.secret = Some(Uuid::from_u128(1));
        let changed = handle.update_endpoint(&endpoint("offsite"), foreign, None, Loss::default()).await.unwrap();
        assert_ne!(changed.config().unwrap().secret, Some(Uuid::from_u128(1)), "only what is kept here is named");
        let bad = handle
            .update_endpoint(&endpoint("offsite"), |config| config.mode = 9, Some("x".into()), Loss::default())
            .await;
        assert_eq!((bad.unwrap_err().code(), kept(&home)), ("INVALID_DATA", vec!["new one".to_owned()]));

        handle.add_endpoint(config("second"), Some("two".into())).await.unwrap();
        let cleared = handle
            .update_endpoint(&endpoint("second"), |config| config.secret = None, None, Loss::default())
            .await
            .unwrap();
        assert_eq!((cleared.config().unwrap().secret, kept(&home)), (None, vec!["new one".to_owned()]));
        let none = handle.update_endpoint(&endpoint("nobody"), |_| {}, None, Loss::default()).await.unwrap_err();
        assert_eq!(none.code(), "RET_NOT_FOUND");
        handle.add_endpoint(config("third"), Some("three".into())).await.unwrap();
        handle.delete_endpoint(&endpoint("third"), Loss::default()).await.unwrap();
        assert_eq!(
            handle.delete_endpoint(&endpoint("third"), Loss::default()).await.unwrap_err().code(),
            "RET_NOT_FOUND"
        );
    });
    assert_eq!(kept(&home), ["new one"]);
    drop(handle);
    engine.stop();
    let mode = fs::metadata(home.path().join("secrets.age")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!log_holds(&home, PASSWORD) && !log_holds(&home, "new one"));
}

#[test]
fn a_start_sweeps_passwords_that_nothing_names_and_tells_of_those_that_are_gone() {
    let home = Home::new();
    let engine = started(&home);
    let handle = engine.handle().clone();
    within(&engine, "the endpoint", handle.add_endpoint(config("offsite"), Some(PASSWORD.into()))).unwrap();
    drop(handle);
    engine.stop();

    // As a process leaves it that ends between the file and the event; and as a version left it that did not encrypt yet.
    let (path, plain) = (home.path().join("secrets.age"), home.path().join("secrets.json"));
    fs::write(&plain, format!("{{\"format\":1,\"secrets\":{{\"{}\":\"left over\"}}}}", Uuid::from_u128(5))).unwrap();
    let engine = started(&home);
    assert_eq!((kept(&home), engine.handle().settled().len()), (vec![PASSWORD.to_owned()], 0));
    assert!(!plain.exists());
    engine.stop();

    fs::remove_file(&path).unwrap();
    let engine = started(&home);
    let told = engine.handle().settled().join("\n");
    assert!(told.contains("endpoint offsite: its password is gone"), "{told}");
    engine.stop();

    fs::write(&path, "{ damaged").unwrap();
    let engine = started(&home);
    assert!(engine.handle().settled().join("\n").contains("is damaged"), "it is told");
    assert_eq!(
        back_up(&engine, Backup::full()).outcome(),
        Some(Outcome::Completed),
        "and keeps nobody from backing up"
    );
    let refused =
        within(&engine, "a refusal", engine.handle().add_endpoint(config("b"), Some("x".into()))).unwrap_err();
    assert_eq!(refused.code(), "SECRETS_DAMAGED");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{ damaged", "it is left for a person");
    engine.stop();
}

#[test]
fn a_locked_run_is_kept_until_it_is_unlocked() {
    let home = Home::new();
    let engine = started(&home);
    let run_id = back_up(&engine, Backup::full()).id().unwrap();
    let locked = engine.lock(run_id, "evidence").unwrap();
    assert_eq!(locked.lock(), Some("evidence"));
    let refused = within(&engine, "a refusal", engine.handle().delete(run_id, Loss::default())).unwrap_err();
    assert_eq!(refused.code(), "BACKUP_RUN_LOCKED");
    assert!(home.path().join("backups/completed").join(run_id.to_string()).is_dir());
    assert_eq!(engine.unlock(run_id).unwrap().lock(), None);
    let deleted = within(&engine, "the deletion", engine.handle().delete(run_id, Loss::default())).unwrap();
    assert_eq!(deleted.retained(), Retained::Deleted);
    engine.stop();
}

#[test]
fn a_run_is_attached_to_while_it_is_open_and_after_its_end() {
    let home = Home::new();
    let door = Door::default();
    let at_the_door = door.clone();
    let engine = builder(&home)
        .participant_with(module("slow"), move |artifacts: &mut holdfast::participant::Artifacts| {
            at_the_door.pass();
            write(artifacts, "slow.data", b"x")
        })
        .start_blocking()
        .unwrap();
    let handle = engine.handle().clone();
    assert!(within(&engine, "an answer", handle.open_run()).is_none());
    let run = engine.back_up(Backup::full().idempotency_key("once")).unwrap();
    door.wait_for(1);
    let again = engine.back_up(Backup::full().idempotency_key("once")).unwrap();
    assert_eq!(again.run_id, run.run_id, "the same wish leads to the same run");
    assert_eq!(within(&engine, "the open run", handle.open_run()).unwrap().run_id, run.run_id);
    let attached = within(&engine, "the run", handle.attach(run.run_id)).unwrap();
    wait_until(&engine, &attached, |run| run.participant(&name("slow")).is_some());
    door.open();
    assert_eq!(end(&engine, attached).outcome(), Some(Outcome::Completed));
    let late = engine.back_up(Backup::full().idempotency_key("once")).unwrap();
    assert_eq!((late.run_id, end(&engine, late).outcome()), (run.run_id, Some(Outcome::Completed)));
    let other = Origin { principal: "other".into(), correlation_id: Uuid::nil() };
    let theirs = handle.acting_for(other);
    let theirs = within(&engine, "their run", theirs.back_up(Backup::full().idempotency_key("once"))).unwrap();
    assert_ne!(theirs.run_id, run.run_id, "a key is its principal's own");
    end(&engine, theirs);
    let none = within(&engine, "an answer", handle.attach(RunId::new(Timestamp(0), 99))).unwrap_err();
    assert_eq!(none.code(), "BACKUP_RUN_NOT_FOUND");
    drop(handle);
    engine.stop();
}

#[test]
fn one_wish_asked_by_many_at_once_is_one_run() {
    let home = Home::new();
    let engine = started(&home);
    let handle = engine.handle().clone();
    let runs = within(&engine, "all answers", async {
        let ask = |handle: holdfast::engine::Holdfast| async move {
            handle.back_up(Backup::full().idempotency_key("k")).await.unwrap().run_id
        };
        let asked: Vec<_> = (0..20).map(|_| tokio::spawn(ask(handle.clone()))).collect();
        let mut runs = Vec::new();
        for one in asked {
            runs.push(one.await.unwrap());
        }
        runs
    });
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
    assert!(engine.drain(DEADLINE));
    assert_eq!(read(&engine, |known| known.history.newest_first().count()), 1);
    drop(handle);
    engine.stop();
}

#[test]
fn the_command_line_locks_and_unlocks() {
    let home = Home::new();
    crate::support::small_tree(&home.beside("source"));
    let run = home.back_up(["source"]);
    let locked = home.json(["lock", run.as_str(), "--reason", "before the move"]);
    assert_eq!((&locked["locked"], &locked["lock_reason"]), (&Value::from(true), &Value::from("before the move")));
    home.holdfast(["show", run.as_str()]).run().expect(0).says("before the move");
    home.holdfast(["delete", run.as_str()]).run().expect(11).says("holdfast unlock");
    let refused = home.holdfast(["delete", run.as_str(), "--json"]).run().expect(11).json();
    assert_eq!(refused["error"], "BACKUP_RUN_LOCKED");
    home.holdfast(["unlock", run.as_str()]).run().expect(0).says("may be deleted");
    home.holdfast(["delete", run.as_str()]).run().expect(0);
    home.holdfast(["lock", run.as_str()]).run().expect(10);
    home.holdfast(["unlock", "20200101-000000-000001"]).run().expect(10);
}
