//! A vault on a disk that is full.

use crate::support::mount::{Filler, Mount};
use crate::world::{World, files, leftovers};

const RUN: &str = "20260101-000000-000001";

#[test]
fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let mut mount = None;
    let world = World::at(|home| {
        let at = home.beside("disk");
        mount = Some(Mount::small_disk(&at, 200));
        at.join("vault")
    });
    let (run, folder) = world.run();
    let (files, server_id) = (files(&folder), world.server_id());
    let token = world.token("shop", "append", &[]);
    let served = world.serve();
    let client = served.client(&token, &server_id);
    // More than there is room for is not begun.
    client.create(RUN, "big", &vec![0; 190 << 20]).unwrap().expect(507, "NOT_ENOUGH_SPACE");
    client.bring(&run, &files).unwrap().expect(200, "");
    let bytes = vec![1; 60 << 20];
    let upload = client.create(RUN, "a", &bytes).unwrap().expect(201, "").header("location").to_owned();
    client.patch(&upload, 0, &bytes[..1000]).unwrap().expect(204, "");

    let filler = Filler::take_all(&world.home.beside("disk"));
    client.patch(&upload, 1000, &bytes[1000..]).unwrap().expect(507, "NOT_ENOUGH_SPACE");
    client.create(RUN, "b", b"x").unwrap().expect(507, "NOT_ENOUGH_SPACE");
    assert_eq!(client.ask("GET", &format!("/runs/{run}/manifest.json"), &[], b"").status, 200);
    assert!(client.offset(&upload).unwrap() >= 1000);
    filler.give_back();
    let there = client.offset(&upload).unwrap();
    client.patch(&upload, there, &bytes[there as usize..]).unwrap().expect(204, "");
    client.ask("DELETE", &upload, &[], b"").expect(204, "");
    world.vault(&["verify"]).expect(0);
    assert!(leftovers(&world.root, &server_id).is_empty());
    served.stop();
    drop(mount);
}
