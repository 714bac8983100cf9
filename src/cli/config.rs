//! The configuration the commands go by, and `config check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_model::endpoint::{Endpoint, EndpointConfigV2};
use holdfast_model::ids::{EndpointName, StreamId};
use holdfast_model::run::{Consistency, Staging};
use serde_json::{Value, json};

use super::args::ConfigCommand;
use super::exit::{CliError, CliResult, Exit};
use super::output::{self, Output, counted};
use super::server_settings;
use crate::config::{Config, ConfigError, Finding, OnCrash, ParticipantConfig, RunsConfig, Severity, Source};
use crate::endpoints::place;
use crate::engine::HomeView;

/// Longest text in the column of what a participant takes.
const MAX_TAKES: usize = 60;

/// Where the configuration lies that goes for a home.
pub(super) fn default_place(home: &Path) -> PathBuf {
    home.join("config.toml")
}

/// The configuration that was given, else the home's own where it has one, else the defaults.
pub(super) fn load(given: Option<&Path>, home: &Path) -> Result<Config, CliError> {
    match given {
        Some(path) => Config::read(path).map_err(|error| invalid(&error)),
        None => match Config::read(&default_place(home)) {
            Err(ConfigError::Missing { .. }) => Ok(Config::default()),
            read => read.map_err(|error| invalid(&error)),
        },
    }
}

/// The configuration of a process that runs, anew. One that is not there is not one that says nothing.
pub(super) fn reload(given: Option<&Path>, home: &Path) -> Result<Config, CliError> {
    Config::read(given.unwrap_or(&default_place(home))).map_err(|error| invalid(&error))
}

/// A configuration that cannot be used, as an error of the command line.
pub(super) fn invalid(error: &ConfigError) -> CliError {
    let next = match error {
        ConfigError::Invalid { .. } => "Correct the file; `holdfast config check` tells whether all is well.",
        _ => "",
    };
    CliError::new(Exit::Usage, error.code(), error, next)
}

pub(super) fn run(command: &ConfigCommand, given: Option<&Path>, home: &Path, output: Output) -> CliResult {
    let ConfigCommand::Check { file } = command;
    let default = default_place(home);
    check(file.as_deref().or(given).unwrap_or(&default), home, output)
}

fn check(file: &Path, home: &Path, output: Output) -> CliResult {
    let config = match Config::read(file) {
        Ok(config) => config,
        Err(ConfigError::Invalid { problems, .. }) if output.json => {
            let problems = problems
                .iter()
                .map(|problem| json!({ "line": problem.line, "column": problem.column, "message": problem.message }));
            let problems: Vec<Value> = problems.collect();
            output
                .value(&json!({ "ok": false, "path": file, "problems": problems, "exit_code": Exit::Usage as u8 }))?;
            return Ok(Exit::Usage);
        }
        Err(error) => return Err(invalid(&error)),
    };
    let mut findings = config.look(file, home);
    findings.extend(nowhere(&config, home));
    findings.extend(one_place(&config));
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let exit = match (errors, warnings) {
        (0, 0) => Exit::Good,
        (0, _) => Exit::Warnings,
        _ => Exit::Usage,
    };
    output.value(&as_json(file, &config, &findings, exit))?;
    output.result(as_text(&config, &findings))?;
    let participants = counted(config.participants.len() as u64, "participant");
    let ends = [counted(errors, "error"), counted(warnings, "warning")].join(", ");
    output.line(format!("\n{}: {participants}, {ends}", file.display()))?;
    Ok(exit)
}

/// Endpoints of this file that are the same place: whoever counts on two copies has one.
fn one_place(config: &Config) -> Vec<Finding> {
    let mut names = BTreeMap::<String, Vec<&str>>::new();
    for endpoint in config.endpoints.iter().filter(|endpoint| endpoint.enable) {
        if let Ok(place) = place(endpoint) {
            names.entry(place).or_default().push(endpoint.name.as_str());
        }
    }
    let several = names.into_iter().filter(|(_, names)| names.len() > 1);
    several
        .map(|(place, names)| Finding {
            severity: Severity::Warning,
            participant: None,
            message: format!(
                "the endpoints {} are one place ({place}): what is at one of them is at the others, and is one copy; keep one of them",
                names.join(", ")
            ),
        })
        .collect()
}

/// Endpoints that runs are to be copied to and that are neither declared nor were added to this home: the copies there would fail. Whether they
/// were added is not known where there is no home yet, or its log cannot be read.
fn nowhere(config: &Config, home: &Path) -> Vec<Finding> {
    let named = config.runs.endpoints.iter().flatten();
    let undeclared: Vec<_> =
        named.filter(|name| !config.endpoints.iter().any(|endpoint| endpoint.name == **name)).collect();
    if undeclared.is_empty() {
        return Vec::new();
    }
    let view = HomeView::open(home).ok();
    // What the file declared before and declares no more goes with the next start.
    let added = |name: &EndpointName| {
        let endpoint = view.as_ref().and_then(|view| view.fold::<Endpoint>(&StreamId::endpoint(name)).ok());
        endpoint.and_then(|endpoint| endpoint.config().map(|config| !config.declared)).unwrap_or(false)
    };
    let missing = undeclared.into_iter().filter(|name| !added(name));
    missing
        .map(|name| Finding {
            severity: Severity::Warning,
            participant: None,
            message: format!(
                "[runs] endpoints names {name}, which is no endpoint of this file, nor one that was added to the home: a copy there fails; \
                 declare it, or `holdfast endpoints add {name}`"
            ),
        })
        .collect()
}

fn as_text(config: &Config, findings: &[Finding]) -> String {
    let (pipeline, runs) = (&config.pipeline, &config.runs);
    let queueing = if runs.queueing { "waits" } else { "is refused" };
    let workers = match pipeline.workers {
        0 => "a CPU worker a core".to_owned(),
        workers => counted(workers as u64, "CPU worker"),
    };
    let crash = match runs.on_crash {
        OnCrash::Resume => {
            format!("resumed within {}, at most {} attempts", duration(runs.resume_within), runs.max_attempts)
        }
        OnCrash::Fail => "failed".to_owned(),
    };
    let free = match config.space.min_free {
        0 => String::new(),
        bytes => format!("; a run leaves {} of the disk free", output::size(bytes)),
    };
    let time =
        runs.timeout.map_or("as long as it likes".to_owned(), |timeout| format!("at most {}", duration(timeout)));
    let restores = &config.restores;
    let restore =
        restores.timeout.map_or("as long as it takes".to_owned(), |limit| format!("at most {}", duration(limit)));
    let kept = restores.keep_safety.map_or("for good".to_owned(), |time| format!("for {}", days(time)));
    let moment = match runs.consistency {
        Consistency::Concurrent => "of a moment of its own each".to_owned(),
        Consistency::Barrier => {
            format!("of one moment, for which all stand still for {} at most", duration(runs.freeze_budget))
        }
    };
    let mut lines = vec![
        format!("compression {}, {workers}, {} at work at a time", pipeline.compression, runs.max_parallel),
        format!("a run takes {time}; what participants give is {moment}"),
        format!("a restore in place takes {restore}; what was before it is kept {kept}"),
        format!("an interrupted run is {crash}{free}; a backup asked for while one is under way {queueing}"),
    ];
    lines.extend(server_settings::as_text(&config.server));
    lines.extend(copies(runs));
    if !config.endpoints.is_empty() {
        let rows: Vec<Vec<String>> = config.endpoints.iter().map(endpoint_row).collect();
        let header = ["ENDPOINT", "ADDRESS", "RUNS", "PASSWORD", "PLAINTEXT"];
        lines.extend([String::new(), output::table(&header, &rows)]);
    }
    if !config.participants.is_empty() {
        let header = ["PARTICIPANT", "KIND", "CRITICAL", "AFTER", "TRIES", "PREFLIGHT", "TIMEOUT", "STALL", "TAKES"];
        let rows: Vec<Vec<String>> = config.participants.iter().map(row).collect();
        lines.extend([String::new(), output::table(&header, &rows)]);
    }
    if !findings.is_empty() {
        lines.push(String::new());
    }
    for finding in findings {
        let name = finding.participant.as_ref().map_or(String::new(), |name| format!("{name}: "));
        lines.push(format!("{}: {name}{}", word(finding.severity), finding.message));
    }
    lines.join("\n")
}

/// What becomes of copies, where something is said of them.
fn copies(runs: &RunsConfig) -> Option<String> {
    let default = RunsConfig::default();
    if (&runs.endpoints, &runs.require_endpoints, runs.keep_local, runs.staging)
        == (&default.endpoints, &default.require_endpoints, default.keep_local, default.staging)
    {
        return None;
    }
    let to = match &runs.endpoints {
        None => "every endpoint".to_owned(),
        Some(names) if names.is_empty() => "nowhere".to_owned(),
        Some(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let kept = match (runs.staging, runs.keep_local) {
        (Staging::None, _) => "it is not written here",
        (Staging::Local, true) => "it stays here",
        (Staging::Local, false) => "then it is deleted here",
    };
    Some(format!("a run is copied to {to}; to be good it needs {} of them; {kept}", runs.require_endpoints.as_str()))
}

fn endpoint_row(endpoint: &EndpointConfigV2) -> Vec<String> {
    let address = if endpoint.url.is_empty() { &endpoint.host } else { &endpoint.url };
    let runs = match (endpoint.enable, endpoint.mode) {
        (false, _) => "none",
        (true, 0) => "every",
        (true, _) => "full",
    };
    let password = [
        ("file", !endpoint.password_file.is_empty()),
        ("command", !endpoint.password_command.is_empty()),
        ("variable", !endpoint.password_env.is_empty()),
    ];
    let password = password.iter().find(|(_, said)| *said).map_or("none", |(from, _)| *from);
    vec![
        endpoint.name.to_string(),
        output::printable(address.as_bytes()),
        runs.to_owned(),
        password.to_owned(),
        if endpoint.plaintext { "yes" } else { "no" }.to_owned(),
    ]
}

fn endpoint_json(endpoint: &EndpointConfigV2) -> Value {
    json!({
        "name": endpoint.name,
        "host": endpoint.host,
        "url": endpoint.url,
        "login": endpoint.login,
        "enable": endpoint.enable,
        "mode": endpoint.mode,
        "timeinterval_seconds": endpoint.timeinterval_s,
        "timeout_seconds": endpoint.timeout_s,
        "retry_attempts": endpoint.retry_attempts,
        "retry_delay_seconds": endpoint.retry_delay_s,
        "verify": endpoint.verify,
        "bandwidth": endpoint.bandwidth,
        "priority": endpoint.priority,
        "streams": endpoint.streams,
        "plaintext": endpoint.plaintext,
        "stream": endpoint.stream,
        "password_set": endpoint.has_password(),
    })
}

fn row(participant: &ParticipantConfig) -> Vec<String> {
    let descriptor = &participant.descriptor;
    let limit = |deadline: Option<Duration>| deadline.map_or("none".to_owned(), duration);
    let after = descriptor.depends_on.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let all = match &participant.source {
        Source::Files(files) => {
            let paths = files.spec.paths.iter().map(|path| path.to_string_lossy());
            paths.collect::<Vec<_>>().join(" ")
        }
        Source::Command(command) => command.command.argv.join(" "),
    };
    let printable = output::printable(all.as_bytes());
    let mut takes: String = printable.chars().take(MAX_TAKES).collect();
    if takes.len() < printable.len() {
        takes.push('…');
    }
    vec![
        descriptor.name.to_string(),
        descriptor.kind.clone(),
        if descriptor.critical { "yes" } else { "no" }.to_owned(),
        if after.is_empty() { "-".to_owned() } else { after },
        descriptor.max_tries.to_string(),
        limit(descriptor.deadlines.preflight),
        limit(descriptor.deadlines.write),
        limit(descriptor.deadlines.stall),
        takes,
    ]
}

/// The same, in days where it is so many.
fn days(time: Duration) -> String {
    match time.as_secs() {
        secs if secs > 0 && secs.is_multiple_of(24 * 3600) => format!("{}d", secs / (24 * 3600)),
        _ => duration(time),
    }
}

/// A duration as the configuration may spell it: `1h 30m`.
pub(super) fn duration(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |span| format!("{span:#}"))
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn as_json(file: &Path, config: &Config, findings: &[Finding], exit: Exit) -> Value {
    let participants: Vec<Value> = config.participants.iter().map(participant_json).collect();
    let findings = findings.iter().map(|finding| {
        let (severity, participant) = (word(finding.severity), &finding.participant);
        json!({ "severity": severity, "participant": participant, "message": finding.message })
    });
    let runs = &config.runs;
    json!({
        "ok": exit != Exit::Usage,
        "path": file,
        "pipeline": { "compression": config.pipeline.compression, "workers": config.pipeline.workers },
        "runs": {
            "max_parallel": runs.max_parallel,
            "max_attempts": runs.max_attempts,
            "resume_within_seconds": runs.resume_within.as_secs_f64(),
            "on_crash": match runs.on_crash { OnCrash::Resume => "resume", OnCrash::Fail => "fail" },
            "max_tries": runs.max_tries,
            "retry_delay_seconds": runs.retry_delay.as_secs_f64(),
            "queueing": runs.queueing,
            "consistency": runs.consistency,
            "freeze_budget_seconds": runs.freeze_budget.as_secs_f64(),
            "timeout_seconds": runs.timeout.map(|timeout| timeout.as_secs_f64()),
            "endpoints": runs.endpoints,
            "require_endpoints": runs.require_endpoints,
            "keep_local": runs.keep_local,
            "staging": runs.staging,
            "own_state": runs.own_state,
        },
        "restores": {
            "timeout_seconds": config.restores.timeout.map(|timeout| timeout.as_secs_f64()),
            "keep_safety_seconds": config.restores.keep_safety.map(|time| time.as_secs_f64()),
        },
        "server": server_settings::as_json(&config.server),
        "space": { "min_free_bytes": config.space.min_free },
        "endpoints": config.endpoints.iter().map(endpoint_json).collect::<Vec<_>>(),
        "participants": participants,
        "findings": findings.collect::<Vec<_>>(),
        "exit_code": exit as u8,
    })
}

fn participant_json(participant: &ParticipantConfig) -> Value {
    let descriptor = &participant.descriptor;
    let seconds = |deadline: Option<Duration>| deadline.map(|deadline| deadline.as_secs_f64());
    json!({
        "name": descriptor.name,
        "kind": descriptor.kind,
        "critical": descriptor.critical,
        "depends_on": descriptor.depends_on,
        "max_tries": descriptor.max_tries,
        "retry_delay_seconds": descriptor.retry_delay.as_secs_f64(),
        "preflight_timeout_seconds": seconds(descriptor.deadlines.preflight),
        "prepare_timeout_seconds": seconds(descriptor.deadlines.prepare),
        "timeout_seconds": seconds(descriptor.deadlines.write),
        "stall_timeout_seconds": seconds(descriptor.deadlines.stall),
        "digest": descriptor.digest,
    })
}
