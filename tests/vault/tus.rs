//! A tus client that others wrote.

use std::path::PathBuf;

use crate::support::need;
use crate::world::{World, files, leftovers};

#[test]
fn a_tus_client_of_others_brings_a_run_in_parts_and_takes_an_upload_back() {
    need("node", "nodejs");
    let modules = std::env::var_os("HOLDFAST_TEST_NODE_MODULES");
    let modules = modules.expect("HOLDFAST_TEST_NODE_MODULES is set: `tools/test --tools` says how");
    let world = World::new();
    let (run, folder) = world.run();
    let (files, server_id) = (files(&folder), world.server_id());
    let token = world.token("shop", "append", &[]);
    let served = world.serve();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vault/scripts/tus.cjs");
    let node = world.home.command("node", [script]).env("NODE_PATH", modules);
    let endpoint = format!("http://{}/uploads", served.address);
    let said = node.args([endpoint.as_str(), &token, &server_id, folder.to_str().unwrap()]).run().expect(0).out();
    assert_eq!(said.lines().filter(|line| line.starts_with("brought ")).count(), files.len());
    assert!(said.ends_with("terminated\n"), "{said}");
    let client = served.client(&token, &server_id);
    client.commit(&run).unwrap().expect(200, "");
    assert!(leftovers(&world.root, &server_id).is_empty());
    served.stop();
    world.vault(&["verify"]).expect(0);
}
