//! `[pipeline]`, `[runs]`, `[restores]` and `[space]`.

use std::time::Duration;

use holdfast_model::ids::EndpointName;
use holdfast_model::run::{Consistency, RequireEndpoints, Staging};

use super::section::Section;
use super::values;
use crate::pipeline::Compression;

/// `[pipeline]`: how bytes are moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PipelineConfig {
    /// `lz4`, `zstd:N`, `gzip:N`, `brotli:N` or `none`.
    pub compression: Compression,
    /// CPU workers; 0 for one a core.
    pub workers: usize,
}

impl PipelineConfig {
    pub(crate) const KEYS: [&str; 2] = ["compression", "workers"];

    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        section.allow("[pipeline]", &Self::KEYS, |_| None);
        let default = Self::default();
        Self {
            compression: section.read_or("compression", default.compression, |value| {
                let text = values::text(value, "a compression as \"lz4\" or \"zstd:3\"")?;
                text.parse().map_err(|error: crate::pipeline::InvalidCompression| error.to_string())
            }),
            workers: section.read_or("workers", default.workers, |value| values::whole(value, 0..=256)),
        }
    }
}

/// What becomes of a run that an earlier process left in the middle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnCrash {
    /// The next start goes on with it.
    #[default]
    Resume,
    /// It failed.
    Fail,
}

/// `[runs]`: how runs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunsConfig {
    /// Participants at work at a time.
    pub max_parallel: usize,
    /// How many processes may work on a run, one after the other.
    pub max_attempts: u32,
    /// How long after an interruption a run is still resumed.
    pub resume_within: Duration,
    /// What becomes of a run that an earlier process left in the middle.
    pub on_crash: OnCrash,
    /// Tries of a participant within one attempt, the first included, where it does not say so itself.
    pub max_tries: u32,
    /// The pause before the second try, where the participant does not say so itself; it doubles with each further one.
    pub retry_delay: Duration,
    /// A backup that is asked for while one is under way waits for it; else it is refused.
    pub queueing: bool,
    /// Of which moment artifacts are, where whoever asks does not say so.
    pub consistency: Consistency,
    /// How long participants stand still together at most.
    pub freeze_budget: Duration,
    /// How long an attempt of a run may take, from its turn until all participants have ended; `None` for as long as it likes.
    pub timeout: Option<Duration>,
    /// Where copies go; `None` for every endpoint that is enabled and takes runs of this type.
    pub endpoints: Option<Vec<EndpointName>>,
    /// How many of them a run needs to be good.
    pub require_endpoints: RequireEndpoints,
    /// Whether a run stays here once every endpoint it needs has it whole.
    pub keep_local: bool,
    /// Where artifacts are written: here first, or straight to the endpoints.
    pub staging: Staging,
}

impl Default for RunsConfig {
    fn default() -> Self {
        Self {
            max_parallel: 4,
            max_attempts: 3,
            resume_within: Duration::from_secs(6 * 3600),
            on_crash: OnCrash::Resume,
            max_tries: 3,
            retry_delay: Duration::from_secs(5),
            queueing: false,
            consistency: Consistency::Concurrent,
            freeze_budget: Duration::from_secs(10),
            timeout: None,
            endpoints: None,
            require_endpoints: RequireEndpoints::None,
            keep_local: true,
            staging: Staging::Local,
        }
    }
}

impl RunsConfig {
    /// How many processes may work on a run, one after the other: where a crash is to fail it, one.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match self.on_crash {
            OnCrash::Resume => self.max_attempts,
            OnCrash::Fail => 1,
        }
    }

    pub(crate) const KEYS: [&str; 14] = [
        "max_parallel",
        "max_attempts",
        "resume_within",
        "on_crash",
        "max_tries",
        "retry_delay",
        "queueing",
        "consistency",
        "freeze_budget",
        "timeout",
        "endpoints",
        "require_endpoints",
        "keep_local",
        "staging",
    ];
    /// The longest that participants may be made to stand still.
    pub const MAX_FREEZE_BUDGET: Duration = Duration::from_secs(60);

    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        section.allow("[runs]", &Self::KEYS, |_| None);
        let default = Self::default();
        let (endpoints, require_endpoints, keep_local) = copies(section, &default);
        let staging = staging(section, endpoints.as_deref(), default.staging);
        Self {
            max_parallel: section.read_or("max_parallel", default.max_parallel, |value| values::whole(value, 1..=64)),
            max_attempts: section.read_or("max_attempts", default.max_attempts, |value| values::whole(value, 1..=100)),
            resume_within: section.read_or("resume_within", default.resume_within, values::duration),
            on_crash: section.read_or("on_crash", default.on_crash, |value| {
                match values::text(value, "\"resume\" or \"fail\"")? {
                    "resume" => Ok(OnCrash::Resume),
                    "fail" => Ok(OnCrash::Fail),
                    other => Err(format!("{other:?} is not known: \"resume\" or \"fail\"")),
                }
            }),
            max_tries: max_tries(section, default.max_tries),
            retry_delay: retry_delay(section, default.retry_delay),
            queueing: section.read_or("queueing", default.queueing, values::flag),
            consistency: section.read_or("consistency", default.consistency, |value| {
                match values::text(value, "\"concurrent\" or \"barrier\"")? {
                    "concurrent" => Ok(Consistency::Concurrent),
                    "barrier" => Ok(Consistency::Barrier),
                    other => Err(format!("{other:?} is not known: \"concurrent\" or \"barrier\"")),
                }
            }),
            freeze_budget: section.read_or("freeze_budget", default.freeze_budget, |value| {
                values::duration_within(value, Duration::from_millis(1)..=Self::MAX_FREEZE_BUDGET)
            }),
            timeout: section.read_or("timeout", default.timeout, values::deadline),
            endpoints,
            require_endpoints,
            keep_local,
            staging,
        }
    }
}

/// `staging`: what is not written here needs somewhere to go.
fn staging(section: &mut Section<'_, '_>, endpoints: Option<&[EndpointName]>, default: Staging) -> Staging {
    let staging = section.read_or("staging", default, |value| match values::text(value, "\"local\" or \"none\"")? {
        "local" => Ok(Staging::Local),
        "none" => Ok(Staging::None),
        other => Err(format!("{other:?} is not known: \"local\" or \"none\"")),
    });
    if staging == Staging::None && endpoints.is_some_and(<[_]>::is_empty) {
        let message = "`staging`: with endpoints = [] artifacts would go nowhere: name an endpoint, or write \"local\"";
        section.refuse_value("staging", message.to_owned());
    }
    staging
}

const REQUIRED: &str = "\"none\", \"any\" or \"all\"";

/// `endpoints`, `require_endpoints` and `keep_local`. Whether the endpoints are there is known by the run: commands add some too.
fn copies(section: &mut Section<'_, '_>, default: &RunsConfig) -> (Option<Vec<EndpointName>>, RequireEndpoints, bool) {
    let every = section.value("endpoints").is_some_and(|value| value.get_ref().as_str() == Some("every"));
    let named = match every {
        true => None,
        false => section.list("endpoints", "a list of names as [\"offsite\"], or \"every\",", |name| {
            name.parse::<EndpointName>().map_err(|error| error.to_string())
        }),
    };
    let mut endpoints: Option<Vec<EndpointName>> = named.as_ref().map(|_| Vec::new());
    for name in named.into_iter().flatten() {
        let (span, name) = (name.span(), name.into_inner());
        let list = endpoints.get_or_insert_default();
        match list.contains(&name) {
            true => section.refuse_at(span, format!("`endpoints`: {:?} is named twice: leave one out", name.as_str())),
            false => list.push(name),
        }
    }
    let required = section.read_or("require_endpoints", default.require_endpoints, |value| {
        let text = values::text(value, REQUIRED)?;
        let known = [RequireEndpoints::None, RequireEndpoints::Any, RequireEndpoints::All];
        let found = known.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not known: {REQUIRED}"))
    });
    if required != RequireEndpoints::None && endpoints.as_ref().is_some_and(Vec::is_empty) {
        let message = "`require_endpoints`: with endpoints = [] no run is ever good: name some, or write \"none\"";
        section.refuse_value("require_endpoints", message.to_owned());
    }
    let keep_local = section.read_or("keep_local", default.keep_local, values::flag);
    if !keep_local && required == RequireEndpoints::None {
        let message = "`keep_local`: without a copy elsewhere nothing would be left: write require_endpoints = \"any\" or \"all\" too";
        section.refuse_value("keep_local", message.to_owned());
    }
    (endpoints, required, keep_local)
}

/// `max_tries`, here or of a participant.
pub(super) fn max_tries(section: &mut Section<'_, '_>, default: u32) -> u32 {
    section.read_or("max_tries", default, |value| values::whole(value, 1..=10))
}

/// `retry_delay`, here or of a participant.
pub(super) fn retry_delay(section: &mut Section<'_, '_>, default: Duration) -> Duration {
    section.read_or("retry_delay", default, values::pause)
}

/// `[restores]`: how restores in place go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoresConfig {
    /// How long one may take from its request on, also where its process dies meanwhile; `None` for as long as it takes.
    pub timeout: Option<Duration>,
    /// How long what was before a restore is kept after the restore's end; `None` for good. The newest one stays in any case.
    pub keep_safety: Option<Duration>,
}

impl Default for RestoresConfig {
    fn default() -> Self {
        Self { timeout: None, keep_safety: Some(Duration::from_secs(30 * 24 * 3600)) }
    }
}

impl RestoresConfig {
    pub(crate) const KEYS: [&str; 2] = ["timeout", "keep_safety"];

    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        section.allow("[restores]", &Self::KEYS, |_| None);
        let default = Self::default();
        Self {
            timeout: section.read_or("timeout", default.timeout, values::deadline),
            keep_safety: section.read_or("keep_safety", default.keep_safety, values::keeping),
        }
    }
}

/// `[space]`: what stays free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpaceConfig {
    /// Free room of home's file system that no run begins to use, in bytes.
    pub min_free: u64,
}

impl SpaceConfig {
    pub(crate) const KEYS: [&str; 1] = ["min_free"];

    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        section.allow("[space]", &Self::KEYS, |_| None);
        Self { min_free: section.read_or("min_free", 0, values::size) }
    }
}
