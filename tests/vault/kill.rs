//! The vault killed at each place where it writes: no committed run is lost, nothing is half there, and the client goes on from where it was.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::kill::{copy, for_each};
use crate::support::long;
use crate::world::{Served, World, files, leftovers};

/// What a client has been told.
#[derive(Default)]
struct Told {
    committed: bool,
    deleted: bool,
}

/// Brings a run, commits it and deletes it, until the vault is gone.
fn work(
    served: &Served,
    (append, full): (&str, &str),
    server_id: &str,
    run: &str,
    files: &[(String, Vec<u8>)],
) -> Told {
    let mut told = Told::default();
    let (client, owner) = (served.client(append, server_id), served.client(full, ""));
    let Ok(answer) = client.bring(run, files) else { return told };
    answer.expect(200, "");
    told.committed = true;
    if let Ok(answer) = owner.try_ask("DELETE", &format!("/runs/{run}"), &[], b"") {
        answer.expect(204, "");
        told.deleted = true;
    }
    told
}

#[test]
fn killed_at_any_point_it_loses_no_committed_run_and_shows_none_half() {
    let world = World::new();
    let (kept, folder) = world.run();
    let server_id = world.server_id();
    let kept_files = files(&folder);
    let (run, folder) = world.run();
    let of_run = files(&folder);
    let full = world.token("owner", "full", &["--server-id", &server_id]);
    let append = world.token("shop", "append", &["--server-id", &server_id]);
    let served = world.serve();
    served.client(&append, &server_id).bring(&kept, &kept_files).unwrap().expect(200, "");
    served.stop();

    // How many points there are, from the start to a good end.
    let model = twin(&world);
    let trace = model.home.beside("points");
    let served = model.serve_with(&["--insecure"], &[("HOLDFAST_FAULT_TRACE", trace.to_str().unwrap())]);
    let before = points(&trace);
    let told = work(&served, (&append, &full), &server_id, &run, &of_run);
    assert!(told.committed && told.deleted);
    let after = points(&trace);
    served.stop();
    assert!(after > before + 20, "the binary passes no fault points: build the tests with --features fault-points");
    println!("{} points while it worked", after - before);

    let step = if long() { 1 } else { 3 };
    let count = (after - before).div_ceil(step);
    for_each("point", count, |number| {
        let at = before + 1 + (number - 1) * step;
        let world = twin(&world);
        let served = world.serve_with(&["--insecure"], &[("HOLDFAST_FAULT_KILL", at.to_string().as_str())]);
        let told = work(&served, (&append, &full), &server_id, &run, &of_run);
        served.running.signal(Signal::TERM);
        let finished = served.running.wait();
        assert!(finished.signal() == Some(9) || finished.code() == Some(0), "{finished}");

        let served = world.serve();
        let client = served.client(&append, &server_id);
        assert_eq!(client.ask("GET", &format!("/runs/{kept}"), &[], b"").status, 200);
        let there = client.ask("GET", &format!("/runs/{run}"), &[], b"");
        match (told.committed, told.deleted, there.status) {
            (_, true, 410) | (true, false, 200 | 410) | (false, false, 200 | 404) => {}
            (_, _, status) => panic!("committed {}, deleted {}, and it is {status}", told.committed, told.deleted),
        }
        if there.status != 410 {
            client.bring(&run, &of_run).unwrap().expect(200, "");
            for (name, bytes) in &of_run {
                assert_eq!(client.ask("GET", &format!("/runs/{run}/{name}"), &[], b"").body, *bytes, "{name}");
            }
        }
        assert!(leftovers(&world.root, &server_id).is_empty(), "{:?}", leftovers(&world.root, &server_id));
        served.stop();
        world.vault(&["verify"]).expect(0);
    });
}

fn points(trace: &Path) -> usize {
    fs::read_to_string(trace).unwrap_or_default().lines().count()
}

/// Another vault with the same bytes in it.
fn twin(world: &World) -> World {
    let twin = World::unmade();
    copy(&world.root, &twin.root);
    twin
}
