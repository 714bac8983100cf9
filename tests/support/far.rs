//! Runs at a far side, put there as a program of another installation would: through the library, past every command.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use holdfast::endpoints::{Address, Credentials, Limits};
use holdfast::remote::{self, Remote, UploadProgress, Verify};
use uuid::Uuid;

use super::{Home, text};

/// The installation a home is.
pub(crate) fn server_id(home: &Home) -> Uuid {
    let identity = fs::read_to_string(home.path().join("home.json")).unwrap();
    let identity: serde_json::Value = serde_json::from_str(&identity).unwrap();
    text(&identity["server_id"]).parse().unwrap()
}

/// The place of an installation's runs at a far side.
pub(crate) fn far(url: &str, credentials: Credentials, server_id: Uuid) -> Arc<dyn Remote> {
    remote::open(&Address::parse(url).unwrap(), credentials, &Limits::default(), server_id).unwrap()
}

/// Copies a run of a home to a far side.
pub(crate) fn send(home: &Home, run: &str, far: &dyn Remote) {
    send_as(&home.run_dir(run), run, far);
}

/// Copies a run's directory to a far side.
pub(crate) fn send_as(directory: &Path, run: &str, far: &dyn Remote) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (run, progress) = (run.parse().unwrap(), UploadProgress::default());
    runtime.block_on(remote::upload(far, directory, run, Verify::Size, &progress)).unwrap();
}
