//! The facts of a run's copies on endpoints.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::EndpointName;
use crate::run::words::{RequireEndpoints, Staging, UploadCheck};

/// Where copies of the run go once it is published. In the commit of its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiesPlannedV1 {
    /// To each of these.
    pub endpoints: Vec<EndpointName>,
    /// How many of them must have one for the run to be good.
    pub require: RequireEndpoints,
    /// Whether the run's directory stays once the copies are there.
    pub keep_local: bool,
}

/// Where copies of the run go once it is published, and where its artifacts are written. In the commit of its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiesPlannedV2 {
    /// To each of these.
    pub endpoints: Vec<EndpointName>,
    /// How many of them must have one for the run to be good.
    pub require: RequireEndpoints,
    /// Whether the run's directory stays once the copies are there.
    pub keep_local: bool,
    /// Where its artifacts are written.
    pub staging: Staging,
}

impl From<CopiesPlannedV1> for CopiesPlannedV2 {
    fn from(v1: CopiesPlannedV1) -> Self {
        Self { endpoints: v1.endpoints, require: v1.require, keep_local: v1.keep_local, staging: Staging::Local }
    }
}

/// Artifacts of the run go to the endpoint while they are written. What is there of them before the run's commit is of no try in
/// particular.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStreamStartedV1 {
    /// Where to.
    pub endpoint: EndpointName,
    /// In which attempt of the run.
    pub attempt: u32,
}

/// Somebody asked for copies of a run that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadsRequestedV1 {
    /// To each of these.
    pub endpoints: Vec<EndpointName>,
}

/// A try to upload the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStartedV1 {
    /// Where to.
    pub endpoint: EndpointName,
    /// Which try, 1 for the first.
    pub try_number: u32,
    /// Tries in all, the first included, as the endpoint is configured now.
    pub max_tries: u32,
    /// The pause before the second try, in milliseconds.
    pub retry_delay_ms: u64,
}

/// A try failed, and there will be another one. What the far side has of the run is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadTryFailedV1 {
    /// Where to.
    pub endpoint: EndpointName,
    /// Which try.
    pub try_number: u32,
    /// Why.
    pub failure: Failure,
    /// The pause before the next one, in milliseconds.
    pub retry_after_ms: u64,
}

/// The endpoint has all of the run, checked and committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadCompletedV1 {
    /// Where to.
    pub endpoint: EndpointName,
    /// Bytes of all its files there.
    pub stored_bytes: u64,
    /// Bytes that were sent in the last try: less where the far side had some of them already.
    pub sent_bytes: u64,
    /// How it was checked there.
    pub check: UploadCheck,
}

/// The endpoint does not get the run, unless somebody asks for it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadFailedV1 {
    /// Where to.
    pub endpoint: EndpointName,
    /// Why.
    pub failure: Failure,
}

/// The process that had the upload to do is gone. It is begun again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadInterruptedV1 {
    /// Where to.
    pub endpoint: EndpointName,
}

/// The copies that were asked for are there: the run's directory is being taken away, as was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalCopyRemovalRequestedV1 {}

/// The endpoint does not have the run any more: somebody had it deleted there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteCopyDeletedV1 {
    /// Where.
    pub endpoint: EndpointName,
}
