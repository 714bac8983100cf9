//! Progress and channels.

use holdfast::model::access::Role;
use serde_json::json;

use super::world::{By, World};
use crate::support::text;

pub(crate) fn cases(world: &World) {
    let mut viewer = world.remote(Some(Role::Viewer));
    let idle = viewer.good("GetBackupProgress", &json!({}));
    assert_eq!((&idle["active"], &idle["phase"]), (&json!(false), &json!("idle")), "{idle}");
    assert!(idle.as_object().unwrap().values().all(|value| !value.is_null()), "what is not known is left out: {idle}");
    let channels = json!({ "channels": ["alerts"] });
    if world.by == By::Http {
        viewer.refused("Subscribe", &channels, "CONNECTION_REQUIRED");
        viewer.refused("Unsubscribe", &channels, "CONNECTION_REQUIRED");
        return;
    }
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
    viewer.good("Unsubscribe", &channels);
    viewer.refused("Unsubscribe", &json!({ "channels": ["backup.gossip"] }), "UNKNOWN_CHANNEL");
}
