//! Progress and channels, where they are in the dispatcher's list.

use holdfast::api::find;
use holdfast::model::access::Role;
use serde_json::json;

use super::world::World;
use crate::support::text;

pub(crate) fn cases(world: &World) {
    let mut viewer = world.remote(Some(Role::Viewer));
    if find("GetBackupProgress").is_some() {
        let idle = viewer.good("GetBackupProgress", &json!({}));
        assert_eq!((&idle["active"], &idle["phase"]), (&json!(false), &json!("idle")), "{idle}");
    }
    if find("Subscribe").is_some() {
        for spelling in ["channels", "chanels"] {
            let told = viewer.good("Subscribe", &json!({ spelling: ["alerts"], "since_seq": 0 }));
            assert_eq!((&told["channels"], &told["recovered"]), (&json!(["alerts"]), &json!(true)), "{told}");
            assert!(!text(&told["epoch"]).is_empty());
        }
        let wrong = viewer.refused("Subscribe", &json!({ "channels": ["backup.gossip"] }), "UNKNOWN_CHANNEL");
        assert!(wrong.to_string().contains("backup.gossip"), "{wrong}");
        viewer.invalid("Subscribe", &json!({ "channels": [] }), "channels");
        let all = json!({ "channels": ["alerts", "backup.progress", "backup.events", "restore.progress"] });
        viewer.refused("Subscribe", &all, "LIMIT_REACHED");
    }
    if find("Unsubscribe").is_some() {
        viewer.good("Unsubscribe", &json!({ "channels": ["alerts"] }));
        viewer.refused("Unsubscribe", &json!({ "channels": ["backup.gossip"] }), "UNKNOWN_CHANNEL");
    }
}
