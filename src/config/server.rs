//! `[server]`: where `holdfast serve` listens, who may come in from a browser, how it stops, how it logs.
//!
//! What can be reached from other machines is encrypted, or somebody has said in writing that it is not: an address that
//! is not loopback needs a certificate or `insecure = true`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

use super::limits::ServerLimits;
use super::origin::Origin;
use super::section::{Section, closest};
use super::values;

/// Most origins that may be named.
const MAX_ORIGINS: usize = 64;
/// Longest filter of the log, in bytes.
const MAX_FILTER: usize = 1024;
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// `[server]`: how `holdfast serve` works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where JSON lines are taken; `None` for nowhere. Port 0 is any that is free.
    pub tcp: Option<SocketAddr>,
    /// Where HTTP and WebSockets are taken; `None` for nowhere. Port 0 is any that is free.
    pub http: Option<SocketAddr>,
    /// With what both are encrypted; `None` for not.
    pub tls: Option<TlsFiles>,
    /// Other machines may come in unencrypted.
    pub insecure: bool,
    /// Who may open a WebSocket from a browser. Others are asked by [`ServerConfig::allows`].
    pub allowed_origins: Vec<Origin>,
    /// A full run is made before the server stops.
    pub backup_on_shutdown: bool,
    /// How long the stop waits for that run; then it is left for the next start to resume.
    pub backup_on_shutdown_within: Duration,
    /// How long clients and runs have to come to an end when the server stops.
    pub grace: Duration,
    /// The form of the log.
    pub log: LogFormat,
    /// What is logged: a level, or a filter of `tracing_subscriber` that was found to parse.
    pub log_level: String,
    /// Figures are shown to those who have no token too.
    pub metrics_public: bool,
    /// What a client may ask at most.
    pub limits: ServerLimits,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those it leads to, as PEM. Absolute.
    pub cert: PathBuf,
    /// Its private key, as PEM. Absolute.
    pub key: PathBuf,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// An object of JSON a line.
    Json,
}

impl LogFormat {
    /// As the configuration spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            tcp: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 7420))),
            http: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 7421))),
            tls: None,
            insecure: false,
            allowed_origins: Vec::new(),
            backup_on_shutdown: false,
            backup_on_shutdown_within: Duration::from_secs(600),
            grace: Duration::from_secs(10),
            log: LogFormat::Text,
            log_level: "info".to_owned(),
            metrics_public: false,
            limits: ServerLimits::default(),
        }
    }
}

impl ServerConfig {
    pub(crate) const KEYS: [&str; 13] = [
        "tcp",
        "http",
        "tls_cert",
        "tls_key",
        "insecure",
        "allowed_origins",
        "backup_on_shutdown",
        "backup_on_shutdown_within",
        "grace",
        "log",
        "log_level",
        "metrics_public",
        "limits",
    ];

    /// Whether a page with this `Origin` may open a WebSocket by [`ServerConfig::allowed_origins`]. A browser may still
    /// be let in for another reason: because the page came from the server itself.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        origin.parse().is_ok_and(|origin: Origin| self.allowed_origins.contains(&origin))
    }

    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        section.allow("[server]", &Self::KEYS, |key| {
            let limit = ServerLimits::KEYS.contains(&key);
            limit.then(|| format!("`{key}` stands in [server.limits]: move it there"))
        });
        let default = Self::default();
        let (tcp, http) = (listen(section, "tcp", default.tcp), listen(section, "http", default.http));
        let tls = tls(section);
        let insecure = section.read_or("insecure", default.insecure, values::flag);
        let told = ["tls_cert", "tls_key"].iter().any(|key| section.value(key).is_some());
        if !told && !insecure {
            encrypted(section, "tcp", tcp.flatten());
            encrypted(section, "http", http.flatten());
        }
        if let (Some(Some(tcp)), Some(Some(http))) = (tcp, http) {
            apart(section, tcp, http);
        }
        let within = |section: &mut Section<'_, '_>, key, default, least, most| {
            let bounds = Duration::from_secs(least)..=Duration::from_secs(most);
            section.read_or(key, default, |value| values::duration_within(value, bounds))
        };
        Self {
            tcp: tcp.unwrap_or(default.tcp),
            http: http.unwrap_or(default.http),
            tls,
            insecure,
            allowed_origins: origins(section),
            backup_on_shutdown: section.read_or("backup_on_shutdown", default.backup_on_shutdown, values::flag),
            backup_on_shutdown_within: within(
                section,
                "backup_on_shutdown_within",
                default.backup_on_shutdown_within,
                1,
                24 * 3600,
            ),
            grace: within(section, "grace", default.grace, 0, 600),
            log: section.read_or("log", default.log, |value| match values::text(value, "\"text\" or \"json\"")? {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                other => Err(format!("{other:?} is not known: \"text\" or \"json\"")),
            }),
            metrics_public: section.read_or("metrics_public", default.metrics_public, values::flag),
            log_level: section.read_or("log_level", default.log_level, filter),
            limits: section
                .part("limits", "a part [server.limits]")
                .map_or(default.limits, |mut section| ServerLimits::read(&mut section)),
        }
    }
}

/// Where to listen; `None` where what is written is no address.
fn listen(section: &mut Section<'_, '_>, key: &str, default: Option<SocketAddr>) -> Option<Option<SocketAddr>> {
    if section.value(key).is_none() {
        return Some(default);
    }
    section.read(key, address).map(Spanned::into_inner)
}

fn address(value: &DeValue<'_>) -> Result<Option<SocketAddr>, String> {
    let text = values::text(value, "an address as \"127.0.0.1:7420\", or \"off\",")?;
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => format!("{text:?} has no port: write it as `{text}:7420`"),
        Ok(IpAddr::V6(_)) => format!("{text:?} has no port: write it as `[{text}]:7420`"),
        Err(_) if text.starts_with("localhost") => {
            format!("{text:?} is a name, and names are not looked up: write `127.0.0.1` in its place")
        }
        Err(_) => {
            format!("{text:?} is no address: write a number and a port, as `127.0.0.1:7420` or `[::1]:7420`, or `off`")
        }
    })
}

fn tls(section: &mut Section<'_, '_>) -> Option<TlsFiles> {
    let path = |value: &DeValue<'_>| values::absolute(values::text(value, "a path in quotes")?);
    let (cert, key) = (section.read("tls_cert", path), section.read("tls_key", path));
    for (one, other) in [("tls_cert", "tls_key"), ("tls_key", "tls_cert")] {
        if section.value(one).is_some() && section.value(other).is_none() {
            section.refuse_value(one, format!("`{one}`: there is no `{other}`: write both, or none"));
        }
    }
    Some(TlsFiles { cert: cert?.into_inner(), key: key?.into_inner() })
}

/// Refuses an address that others reach, where nothing is encrypted.
fn encrypted(section: &mut Section<'_, '_>, key: &str, address: Option<SocketAddr>) {
    if let Some(address) = address.filter(|address| !is_loopback(*address)) {
        let message = format!(
            "`{key}`: other machines reach {address}: write `tls_cert` and `tls_key`, or insecure = true where \
             something else encrypts, or listen on 127.0.0.1"
        );
        section.refuse_value(key, message);
    }
}

/// Whether only this machine reaches an address.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Refuses two doors in one place.
fn apart(section: &mut Section<'_, '_>, tcp: SocketAddr, http: SocketAddr) {
    // An unspecified address is all of its family; that of IPv6 takes those of IPv4 too.
    let covers = |one: IpAddr, other: IpAddr| one.is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    let (one, other) = (tcp.ip(), http.ip());
    let same = one.to_canonical() == other.to_canonical() || covers(one, other) || covers(other, one);
    if tcp.port() == http.port() && tcp.port() != 0 && same {
        let (key, other) = if section.value("http").is_some() { ("http", "tcp") } else { ("tcp", "http") };
        section.refuse_value(key, format!("`{key}`: `{other}` has port {} already: write another port", tcp.port()));
    }
}

fn origins(section: &mut Section<'_, '_>) -> Vec<Origin> {
    const WHAT: &str = "a list of origins as [\"https://backup.example.org\"]";
    let read = |text: &str| text.parse().map_err(|error: super::InvalidOrigin| error.to_string());
    let origins = section.list("allowed_origins", WHAT, read).unwrap_or_default();
    if let Some(above) = origins.get(MAX_ORIGINS) {
        section.refuse_at(above.span(), format!("`allowed_origins`: {MAX_ORIGINS} at most"));
    }
    origins.into_iter().map(Spanned::into_inner).collect()
}

/// A level, or a filter by targets, spans and fields.
fn filter(value: &DeValue<'_>) -> Result<String, String> {
    const FORM: &str = "error, warn, info, debug or trace, or a filter as `info,holdfast::engine=debug`";
    let text = values::text(value, "a level as \"info\"")?;
    if text.trim().is_empty() || text.len() > MAX_FILTER {
        return Err(format!("write {FORM}"));
    }
    // A word alone would pass as the name of a target, so that a misspelt level would log nearly nothing.
    let words = text.split(',').map(str::trim).filter(|word| !word.contains(['=', ':', '[']));
    for word in words {
        if !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) {
            let meant = closest(word, &LEVELS).map_or(String::new(), |level| format!(": did you mean {level:?}?"));
            return Err(format!("{word:?} is no level{meant}{} write {FORM}", if meant.is_empty() { ":" } else { "" }));
        }
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is no filter ({error}): write {FORM}")),
    }
}
