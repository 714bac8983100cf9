//! From uploads to a run: everything the manifest names is there as it says, and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use holdfast_model::ids::{ArtifactName, RunId, Sha256, Timestamp};
use holdfast_model::vault::{CLOCK_TOLERANCE_S, Upload, VaultRunCommitRequestedV1};
use uuid::Uuid;

use super::error::Problem;
use super::places::ClientPlace;
use crate::storage::{MANIFEST, Manifest, SUMS, StorageError, listed_files, parse_sums};

/// Largest manifest and list of hashes, in bytes.
pub(super) const MAX_LIST: u64 = 16 << 20;

/// The uploads of one run, by the names of their files.
pub(super) type Uploads = BTreeMap<ArtifactName, (Uuid, Upload)>;

/// Checks that a run is whole. What the files hold was hashed while they came. Blocks.
///
/// # Errors
/// [`Problem`] that names the first thing that is not as it should be.
pub(super) fn check(
    place: &ClientPlace,
    server_id: Uuid,
    run_id: RunId,
    uploads: &Uploads,
    now: Timestamp,
) -> Result<VaultRunCommitRequestedV1, Problem> {
    let manifest_upload = named(uploads, MANIFEST)?;
    let sums_upload = named(uploads, SUMS)?;
    let manifest_text = read(place, manifest_upload)?;
    let manifest = Manifest::from_text(&manifest_text, Path::new(MANIFEST)).map_err(not_taken)?;
    if manifest.run_id != run_id {
        return Err(wrong("MANIFEST_FOREIGN", format!("the manifest is of run {}", manifest.run_id)));
    }
    if manifest.server_id != server_id {
        return Err(wrong("MANIFEST_FOREIGN", format!("the manifest is of installation {}", manifest.server_id)));
    }
    if !matches!(manifest.status.as_str(), "completed" | "partial") {
        let text = format!(
            "the manifest is of a run with the status {:?}: only completed and partial ones are kept",
            manifest.status
        );
        return Err(wrong("RUN_NOT_GOOD", text));
    }
    let latest = now.seconds().saturating_add(CLOCK_TOLERANCE_S);
    if manifest.started_at > latest || manifest.finished_at > latest {
        return Err(Problem::new(403, "RUN_IN_FUTURE", "the manifest's times are of the future by the vault's clock"));
    }
    let mut sums = parse_sums(&read(place, sums_upload)?, Path::new(SUMS)).map_err(not_taken)?;
    let mut listed = listed_files(&manifest);
    let manifest_name = manifest_upload.1.file.clone();
    if sums.remove(&manifest_name) != manifest_upload.1.sha256() {
        return Err(wrong("SUMS_DISAGREE", format!("{SUMS} does not have the hash of {MANIFEST}")));
    }
    let mut left: BTreeMap<&ArtifactName, &Upload> = uploads.iter().map(|(name, (_, upload))| (name, upload)).collect();
    left.remove(&manifest_name);
    left.remove(&sums_upload.1.file);
    for file in listed.drain(..) {
        let Some(upload) = left.remove(&file.name) else {
            return Err(wrong("RUN_INCOMPLETE", format!("{} is in the manifest and was not brought", file.name)));
        };
        if upload.sha256() != Some(file.sha256) || file.size_bytes.is_some_and(|size| Some(size) != upload.size_bytes())
        {
            return Err(wrong("FILE_NOT_AS_LISTED", format!("{} is not what the manifest says of it", file.name)));
        }
        if sums.remove(&file.name) != Some(file.sha256) {
            return Err(wrong("SUMS_DISAGREE", format!("{SUMS} and the manifest disagree about {}", file.name)));
        }
    }
    if let Some(name) = left.keys().next() {
        return Err(wrong("FILE_NOT_LISTED", format!("{name} was brought and is not in the manifest: end its upload")));
    }
    if let Some(name) = sums.keys().next() {
        return Err(wrong("SUMS_DISAGREE", format!("{name} is in {SUMS} and not in the manifest")));
    }
    let stored_bytes = uploads.values().filter_map(|(_, upload)| upload.size_bytes()).fold(0, u64::saturating_add);
    let unfinished = || wrong("RUN_INCOMPLETE", format!("{SUMS} is not whole"));
    let sums_sha256 = sums_upload.1.sha256().ok_or_else(unfinished)?;
    let files = u32::try_from(uploads.len()).unwrap_or(u32::MAX);
    Ok(VaultRunCommitRequestedV1 { run_id, files, stored_bytes, sums_sha256 })
}

fn named<'a>(uploads: &'a Uploads, name: &str) -> Result<&'a (Uuid, Upload), Problem> {
    let found = uploads.iter().find(|(file, _)| file.as_str() == name);
    found.map(|(_, upload)| upload).ok_or_else(|| wrong("RUN_INCOMPLETE", format!("{name} was not brought")))
}

/// The text of one of the lists. It was bounded when its upload was made, and is again.
fn read(place: &ClientPlace, (upload_id, upload): &(Uuid, Upload)) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    let failed = |error: std::io::Error| {
        Problem::own(&super::VaultError::Io { action: "read", path: place.data(*upload_id), source: error })
    };
    let file = File::open(place.data(*upload_id)).map_err(failed)?;
    file.take(MAX_LIST + 1).read_to_end(&mut text).map_err(failed)?;
    let hash = Sha256(<sha2::Sha256 as sha2::Digest>::digest(&text).into());
    match Some(hash) == upload.sha256() {
        true => Ok(text),
        false => Err(wrong("FILE_NOT_AS_LISTED", format!("{} has changed on the vault's disk", upload.file))),
    }
}

fn wrong(code: &'static str, message: String) -> Problem {
    Problem::new(409, code, message)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn not_taken(error: StorageError) -> Problem {
    wrong("RUN_LIST_INVALID", error.to_string())
}
