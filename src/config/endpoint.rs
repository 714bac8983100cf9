//! `[[endpoint]]`: where copies of runs go. What is declared here is changed here alone.

use std::time::Duration;

use holdfast_model::endpoint::{EndpointConfigV2, EndpointRefusal, MAX_ENDPOINTS, UploadCheck, plaintext_refused};
use holdfast_model::ids::EndpointName;
use holdfast_model::run::Encryption;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problems;
use super::section::{Section, listed};
use super::values;
use crate::api::text::{Host, Line, Url};
use crate::endpoints::check_url;

/// The keys of an endpoint.
pub(crate) const ENDPOINT_KEYS: [&str; 19] = [
    "name",
    "url",
    "host",
    "login",
    "password_file",
    "password_command",
    "password_env",
    "enable",
    "mode",
    "timeinterval",
    "timeout",
    "retry_attempts",
    "retry_delay",
    "verify",
    "bandwidth",
    "priority",
    "streams",
    "plaintext",
    "stream",
];
/// Where a password may lie.
const PASSWORDS: [&str; 3] = ["password_file", "password_command", "password_env"];
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The endpoints of the file, in its order. `encryption` is how runs are encrypted; `None` where that is not known, because something is
/// wrong with it.
pub(super) fn read_all(
    document: &DeTable<'_>,
    encryption: Option<&Encryption>,
    problems: &mut Problems,
) -> Vec<EndpointConfigV2> {
    let Some(value) = document.get("endpoint") else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        let message = match value.get_ref() {
            DeValue::Table(_) => "each endpoint is written [[endpoint]], with two brackets".to_owned(),
            other => values::needed("[[endpoint]], with two brackets,", other),
        };
        problems.add(value.span(), message);
        return Vec::new();
    };
    if let Some(above) = list.get(MAX_ENDPOINTS) {
        problems.add(above.span(), format!("there are {}: {MAX_ENDPOINTS} endpoints at most", list.len()));
        return Vec::new();
    }
    let mut endpoints: Vec<EndpointConfigV2> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let Some(mut section) = Section::of(value, "[[endpoint]]", problems) else { continue };
        let Some(endpoint) = read(&mut section, index + 1) else { continue };
        if endpoints.iter().any(|above| above.name == endpoint.name) {
            section.refuse_value(
                "name",
                format!("`name`: there is an endpoint {:?} above already", endpoint.name.as_str()),
            );
            continue;
        }
        if let Some(refused) = encryption.and_then(|encryption| plaintext_refused(&endpoint, encryption)) {
            let key = if endpoint.url.is_empty() { "host" } else { "url" };
            section.refuse_value(key, format!("`{key}`: {refused}"));
        }
        endpoints.push(endpoint);
    }
    endpoints
}

/// One endpoint; `None` where it has no name by which it could be told. `position` is its place in the file, from 1.
fn read(section: &mut Section<'_, '_>, position: usize) -> Option<EndpointConfigV2> {
    section.allow("[[endpoint]]", &ENDPOINT_KEYS, |key| match key {
        "retention" => Some(
            "nothing is deleted at an endpoint by rule yet, only by `holdfast remote delete`, and in a vault by its administration".into(),
        ),
        "password" => Some(
            "a password does not stand in the configuration: write it into a file of its own and name that as `password_file`"
                .to_owned(),
        ),
        "secret_key" | "token" => Some(format!(
            "`{key}`: it is the endpoint's password: write it into a file of its own and name that as `password_file`"
        )),
        _ => None,
    });
    if section.value("name").is_none() {
        section.refuse(format!("endpoint {position} has no `name`: it is what it is called by"));
    }
    let name = section.read("name", |value| {
        values::text(value, "a name in quotes")?.parse::<EndpointName>().map_err(|error| error.to_string())
    });
    let (url, host) = address(section);
    let at_most = |section: &mut Section<'_, '_>, key, default: Duration, least, most| {
        section.read_or(key, default, |value| values::duration_within(value, least..=most)).as_secs()
    };
    let line = |value: &DeValue<'_>| {
        let text = values::text(value, "a text in quotes")?;
        Line::try_from(text.to_owned()).map(String::from).map_err(str::to_owned)
    };
    let mut config = EndpointConfigV2 {
        url,
        host,
        login: section.read_or("login", String::new(), line),
        enable: section.read_or("enable", true, values::flag),
        mode: section.read_or("mode", 0, |value| values::whole(value, 0..=1)),
        timeinterval_s: at_most(section, "timeinterval", Duration::ZERO, Duration::ZERO, 365 * DAY),
        timeout_s: at_most(section, "timeout", Duration::from_secs(30), Duration::from_secs(1), DAY),
        retry_attempts: section.read_or("retry_attempts", 3, |value| values::whole(value, 1..=100)),
        retry_delay_s: at_most(section, "retry_delay", Duration::from_secs(5), Duration::ZERO, DAY),
        verify: section.read_or("verify", UploadCheck::Size, |value| {
            match values::text(value, "\"size\" or \"readback\"")? {
                "size" => Ok(UploadCheck::Size),
                "readback" => Ok(UploadCheck::Readback),
                other => Err(format!("{other:?} is not known: \"size\" or \"readback\"")),
            }
        }),
        bandwidth: section.read_or("bandwidth", 0, |value| match values::size(value)? {
            bytes @ 0..=1_000_000_000_000 => Ok(bytes),
            _ => Err("at most 1 TB a second".to_owned()),
        }),
        priority: section.read_or("priority", 0, priority),
        streams: section.read_or("streams", EndpointConfigV2::STREAMS, |value| {
            values::whole(value, 1..=EndpointConfigV2::MAX_STREAMS)
        }),
        plaintext: section.read_or("plaintext", false, values::flag),
        stream: section.read_or("stream", false, values::flag),
        declared: true,
        ..EndpointConfigV2::new(name?.into_inner())
    };
    password(section, &mut config);
    if let Err(EndpointRefusal::Invalid(message)) = config.check() {
        section.refuse_value("name", message);
    }
    Some(config)
}

/// Where it is. What was refused is not shown: people write passwords into addresses.
fn address(section: &mut Section<'_, '_>) -> (String, String) {
    match (section.value("url"), section.value("host")) {
        (None, None) => section.refuse("there is no `url`, and no `host` of a vault: write where copies go".into()),
        (Some(_), Some(_)) => {
            section.refuse_value("host", "`host`: there is a `url` already: write one of them".into());
        }
        _ => {}
    }
    let url = section.read("url", |value| {
        let text = values::text(value, "an address as \"sftp://host/path\"")?;
        let url = Url::try_from(text.to_owned()).map_err(str::to_owned)?;
        check_url(url.as_str()).map_err(|error| error.to_string())?;
        if text.is_empty() { Err("it is empty: write where copies go".to_owned()) } else { Ok(text.to_owned()) }
    });
    let host = section.read("host", |value| {
        let text = values::text(value, "host:port in quotes")?;
        if text.is_empty() {
            return Err("it is empty: write host:port".to_owned());
        }
        Host::try_from(text.to_owned()).map(String::from).map_err(str::to_owned)
    });
    for (key, refused) in [("url", url.is_none()), ("host", host.is_none())] {
        if refused {
            section.hide(key);
        }
    }
    let text = |text: Option<Spanned<String>>| text.map(Spanned::into_inner).unwrap_or_default();
    (text(url), text(host))
}

fn password(section: &mut Section<'_, '_>, config: &mut EndpointConfigV2) {
    // Whatever stands there may be the password itself, by mistake.
    PASSWORDS.iter().for_each(|key| section.hide(key));
    let said: Vec<&str> = PASSWORDS.into_iter().filter(|key| section.value(key).is_some()).collect();
    if let [first, second, ..] = said[..] {
        section.refuse_value(
            second,
            format!("`{second}`: there is `{first}` already: write one of {}", listed(&PASSWORDS)),
        );
        return;
    }
    let path = |value: &DeValue<'_>| {
        let text = values::text(value, "an absolute path in quotes")?;
        if text.starts_with('/') && !text.contains(char::is_control) {
            Ok(text.to_owned())
        } else {
            Err("write the path of the file that holds the password, from `/` on".to_owned())
        }
    };
    config.password_file = section.read_or("password_file", String::new(), path);
    let words =
        section.list("password_command", "a list as [\"pass\", \"show\", \"offsite\"]", |word| Ok(word.to_owned()));
    if let Some(words) = words {
        if words.is_empty() {
            section.refuse_value("password_command", "`password_command`: the list is empty".into());
        }
        config.password_command = words.into_iter().map(Spanned::into_inner).collect();
    }
    config.password_env = section.read_or("password_env", String::new(), |value| {
        let name = values::text(value, "the name of a variable in quotes")?;
        values::variable(name).map(|()| name.to_owned())
    });
}

fn priority(value: &DeValue<'_>) -> Result<i32, String> {
    const WHAT: &str = "a whole number, the lower the sooner,";
    let Some(number) = value.as_integer() else { return Err(values::needed(WHAT, value)) };
    let parsed = i32::from_str_radix(number.as_str(), number.radix()).ok();
    parsed
        .filter(|number| (-1000..=1000).contains(number))
        .ok_or_else(|| format!("{number} is out of bounds: -1000 to 1000"))
}
