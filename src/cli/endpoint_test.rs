//! `endpoints test`: whether an endpoint can be used, step by step.
//!
//! The far side is spoken to from this process, so that an address can be tried before it is configured, and without a home.

use std::time::{Duration, Instant};

use holdfast_model::endpoint::{Endpoint, EndpointConfigV2};
use holdfast_model::ids::StreamId;
use serde_json::{Value, json};

use super::args::EndpointTestArgs;
use super::endpoints::{endpoint_name, password_from};
use super::exit::{CliError, CliResult, Exit};
use super::output::{counted, printable};
use super::{Context, errors};
use crate::api::text::Secret;
use crate::endpoints::probe::Step;
use crate::endpoints::{Address, Credentials, Limits, StoreError};
use crate::engine::endpoint_password;
use crate::remote::probe;

pub(super) async fn run(context: &Context, args: &EndpointTestArgs) -> CliResult {
    let Trial { url, credentials, mut limits } = match (&args.name, &args.url) {
        (Some(name), _) => Trial::configured(context, name)?,
        (None, url) => Trial::given(args, url.clone().unwrap_or_default())?,
    };
    if let Some(seconds) = args.timeout {
        limits.timeout = Duration::from_secs(seconds);
    }
    let address = Address::parse(&url).map_err(|error| {
        CliError::new(Exit::Usage, "INVALID_DATA", error, "`holdfast endpoints test --help` shows examples.")
    })?;
    let out = context.output;
    let named = printable(args.name.as_ref().unwrap_or(&url).as_bytes());
    let (tries, timeout) = (counted(u64::from(limits.attempts.total), "attempt"), limits.timeout.as_secs());
    out.note(format!("asking {named}: {tries} of {timeout} s at most for each step"));
    let mut steps: Vec<Value> = Vec::new();
    let mut failed: Option<StoreError> = None;
    let mut output = Ok(());
    let mut tell = |step: &Step| {
        steps.push(step_value(step));
        failed = failed.take().or_else(|| step.error.clone());
        output = std::mem::replace(&mut output, Ok(())).and_then(|()| out.line(line(step)));
    };
    let began = Instant::now();
    // A token that belongs to no installation yet belongs to this one then.
    let server_id = context.view_if_there()?.map(|view| view.home().identity().server_id);
    probe(&address, credentials, &limits, server_id, &mut tell).await;
    output?;
    let good = failed.is_none();
    out.value(&json!({
        "message_type": "endpoint_test", "endpoint": args.name, "url": url, "ok": good, "steps": steps,
        "error": failed.as_ref().map(|error| error.code()), "ms": millis(began.elapsed()),
    }))?;
    if good {
        out.line(format!("{named} can be used"))?;
    }
    Ok(if good { Exit::Good } else { Exit::Failed })
}

/// What is tried.
struct Trial {
    /// As it is shown.
    url: String,
    credentials: Credentials,
    limits: Limits,
}

impl Trial {
    fn configured(context: &Context, name: &str) -> Result<Self, CliError> {
        let name = endpoint_name(name)?;
        let declared = context.config.endpoints.iter().find(|declared| declared.name == name).cloned();
        let added = match declared {
            Some(_) => None,
            None => {
                let view = context.view_if_there()?;
                let folded = view.map(|view| view.fold::<Endpoint>(&StreamId::endpoint(&name)));
                let endpoint = folded.transpose().map_err(errors::view)?;
                // What the configuration file declared, and does no more, is none; the next start says so in the log.
                endpoint.and_then(|endpoint| endpoint.config().filter(|config| !config.declared).cloned())
            }
        };
        let config: EndpointConfigV2 = declared.or(added).ok_or_else(|| {
            let next = "`holdfast endpoints list` shows those there are; `--url` tries one that is not configured.";
            CliError::new(Exit::Usage, "RET_NOT_FOUND", format!("there is no endpoint {name}"), next)
        })?;
        let password =
            endpoint_password(&context.home, &config).map_err(|error| CliError::failed(error.code(), error))?;
        let credentials = Credentials { login: config.login.clone(), password };
        let url = if config.url.is_empty() { format!("vault://{}", config.host) } else { config.url.clone() };
        Ok(Self { url, credentials, limits: Limits::of(&config) })
    }

    fn given(args: &EndpointTestArgs, url: String) -> Result<Self, CliError> {
        let password = password_from(args.password_file.as_deref(), args.password_stdin)?;
        let password = password.map(Secret::into_inner).unwrap_or_default();
        let credentials = Credentials { login: args.login.clone().unwrap_or_default(), password };
        Ok(Self { url, credentials, limits: Limits::default() })
    }
}

fn step_value(step: &Step) -> Value {
    let error = step.error.as_ref();
    json!({
        "step": step.name, "ok": error.is_none(), "ms": millis(step.took), "error": error.map(StoreError::code),
        "message": error.map(ToString::to_string),
    })
}

fn line(step: &Step) -> String {
    let name = step.name;
    match &step.error {
        None => format!("{name:<8} good    {:>7} ms", millis(step.took)),
        Some(error) => format!("{name:<8} failed  {:>7} ms  {}: {error}", millis(step.took), error.code()),
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
