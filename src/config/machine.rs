//! What a configuration names, looked for on this machine, without running anything.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_model::endpoint::EndpointConfigV2;
use holdfast_model::ids::ParticipantName;
use rustix::fs::Access;

use super::server::is_loopback;
use super::{Config, ServerConfig, Source, TlsFiles};
use crate::command::CommandSpec;
use crate::encryption::Keyring;
use crate::engine::FilesDefinition;
use crate::files::{Env, FileId, FilesSpec};
use crate::server::tls::{ReloadableCertificate, Validity};

/// A certificate that ends sooner than this should be renewed, in seconds; one that is made for less time, sooner than a
/// third of that.
const RENEW_WITHIN: u64 = 30 * 24 * 3600;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The participant would fail, or the server would not serve.
    Error,
    /// It would work, and something should be seen to.
    Warning,
    /// Good to know.
    Note,
}

/// What was found on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The participant it is about; `None` for the file itself and for the server.
    pub participant: Option<ParticipantName>,
    /// What is the matter and what to do.
    pub message: String,
}

impl Config {
    /// Looks for what this configuration, read from `file`, names: folders, programs, files with secrets, the
    /// certificate. Runs nothing. What lies in `home` is never backed up.
    #[must_use]
    pub fn look(&self, file: &Path, home: &Path) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.has_values() && std::fs::metadata(file).is_ok_and(|facts| open_to_others(&facts)) {
            let message =
                format!("everybody may read {0}, and `env` may hold secrets: `chmod o-r {0}`", file.display());
            findings.push(Finding { severity: Severity::Warning, participant: None, message });
        }
        for doubt in &self.doubts {
            let message = format!("{}:{}:{}: {}", file.display(), doubt.line, doubt.column, doubt.message);
            findings.push(Finding { severity: Severity::Error, participant: None, message });
        }
        server(&self.server, &mut |severity, message| {
            findings.push(Finding { severity, participant: None, message });
        });
        // One at a time: what is wrong with one says nothing of the other.
        let keys = &self.encryption;
        for (identity, passphrase) in [(&keys.identity_file, &None), (&None, &keys.passphrase_file)] {
            if let Err(error) = Keyring::read(identity.as_deref(), passphrase.as_deref()) {
                let message = format!("[encryption]: {error}");
                findings.push(Finding { severity: Severity::Error, participant: None, message });
            }
        }
        for endpoint in &self.endpoints {
            let name = &endpoint.name;
            places(endpoint, &mut |severity, message| {
                findings.push(Finding { severity, participant: None, message: format!("endpoint {name}: {message}") });
            });
        }
        let env = Env { skip: FileId::of(home).into_iter().collect(), ..Env::default() };
        for participant in &self.participants {
            let mut found = |severity, message| {
                let participant = Some(participant.descriptor.name.clone());
                findings.push(Finding { severity, participant, message });
            };
            match &participant.source {
                Source::Files(definition) => files(definition, &env, &mut found),
                Source::Command(definition) => {
                    for (key, spec) in definition.commands() {
                        spec.into_iter().for_each(|spec| program(key, spec, &mut found));
                    }
                    surroundings(&definition.command, &mut found);
                    if definition.restore.is_none() {
                        let message = "there is no `restore`: its artifact is brought back by hand";
                        found(Severity::Note, message.to_owned());
                    }
                }
            }
        }
        findings
    }

    fn has_values(&self) -> bool {
        self.participants.iter().any(|participant| match &participant.source {
            Source::Files(_) => false,
            Source::Command(definition) => !definition.command.env.is_empty(),
        })
    }
}

fn server(server: &ServerConfig, found: &mut impl FnMut(Severity, String)) {
    if let Some(files) = &server.tls {
        return certificate(files, found);
    }
    // Without `insecure` the configuration would have been refused.
    for address in [server.tcp, server.http].into_iter().flatten().filter(|address| !is_loopback(*address)) {
        found(
            Severity::Note,
            format!("`insecure`: what goes over {address} is not encrypted by Holdfast, tokens among it"),
        );
    }
}

fn certificate(files: &TlsFiles, found: &mut impl FnMut(Severity, String)) {
    if std::fs::metadata(&files.key).is_ok_and(|facts| open_to_others(&facts)) {
        let message = format!("`tls_key`: everybody may read {0}: `chmod o-r {0}`", files.key.display());
        found(Severity::Warning, message);
    }
    match ReloadableCertificate::load(&files.cert, &files.key) {
        Ok(certificate) => {
            let wrong = certificate.validity().and_then(|validity| at_its_end(validity, jiff::Timestamp::now()));
            if let Some((severity, message)) = wrong {
                found(severity, format!("`tls_cert`: {} {message}", files.cert.display()));
            }
        }
        Err(error) => found(Severity::Error, format!("`tls_cert` and `tls_key`: {error}")),
    }
}

/// What is wrong with a certificate by its times.
fn at_its_end(validity: Validity, now: jiff::Timestamp) -> Option<(Severity, String)> {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let shown = |seconds: u64| {
        let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.map_or_else(|| "a time beyond the calendar".to_owned(), |time| time.to_string())
    };
    let (start, end) = (validity.not_before, validity.not_after);
    if seconds > end {
        return Some((Severity::Error, format!("ended at {}, clients refuse it: renew it", shown(end))));
    }
    if seconds < start {
        let message =
            format!("is valid from {} on, clients refuse it until then: see to it and to the clock", shown(start));
        return Some((Severity::Error, message));
    }
    let renew = RENEW_WITHIN.min(end.saturating_sub(start) / 3);
    (end - seconds < renew).then(|| (Severity::Warning, format!("ends at {}: renew it", shown(end))))
}

fn files(definition: &FilesDefinition, env: &Env, found: &mut impl FnMut(Severity, String)) {
    for path in &definition.spec.paths {
        let alone = FilesSpec { paths: vec![path.clone()], exclude: Vec::new(), one_file_system: false };
        if let Err(error) = alone.sources(env) {
            found(Severity::Error, format!("`paths`: {error}"));
        }
    }
}

fn program(key: &str, spec: &CommandSpec, found: &mut impl FnMut(Severity, String)) {
    let name = if spec.shell { "bash" } else { spec.argv.first().map_or("", String::as_str) };
    if name.starts_with('/') {
        if !runs(Path::new(name)) {
            found(
                Severity::Error,
                format!("`{key}`: {name} is no program this user may run: install it, or correct the path"),
            );
        }
        return;
    }
    let path = spec.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    if in_path(name, &path).is_none() {
        found(
            Severity::Error,
            format!("`{key}`: there is no program {name} in PATH: install it, or write where it is"),
        );
    }
}

fn in_path(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|program| runs(program))
}

fn runs(program: &Path) -> bool {
    program.is_file() && rustix::fs::access(program, Access::EXEC_OK).is_ok()
}

/// What all commands of a participant share.
fn surroundings(spec: &CommandSpec, found: &mut impl FnMut(Severity, String)) {
    if let Some(directory) = spec.directory.as_deref().filter(|directory| !directory.is_dir()) {
        found(
            Severity::Error,
            format!("`directory`: {} is not a folder: make it, or name another", directory.display()),
        );
    }
    for (name, path) in &spec.env_file {
        secret_file(&format!("`env_file`, {name}"), path, found);
    }
}

/// A file that holds a secret.
fn secret_file(key: &str, path: &Path, found: &mut impl FnMut(Severity, String)) {
    let shown = path.display();
    match std::fs::metadata(path).and_then(|facts| open(path, &facts).map(|()| facts)) {
        Ok(facts) if open_to_others(&facts) => {
            found(Severity::Warning, format!("{key}: everybody may read {shown}: `chmod o-r {shown}`"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            found(Severity::Error, format!("{key}: {shown} does not exist: write the value into it"));
        }
        Err(error) => {
            found(Severity::Error, format!("{key}: {shown} cannot be read ({error}): give this user access"));
        }
    }
}

/// What an endpoint's password comes from. Its far side is tried by `holdfast endpoints test`.
fn places(endpoint: &EndpointConfigV2, found: &mut impl FnMut(Severity, String)) {
    if !endpoint.password_file.is_empty() {
        secret_file("`password_file`", Path::new(&endpoint.password_file), found);
    }
    if !endpoint.password_command.is_empty() {
        let spec = CommandSpec { argv: endpoint.password_command.clone(), ..CommandSpec::default() };
        program("password_command", &spec, found);
    }
}

/// Whether it can be opened. Only a file is: a pipe would wait.
fn open(path: &Path, facts: &Metadata) -> std::io::Result<()> {
    if !facts.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    File::open(path).map(drop)
}

fn open_to_others(facts: &Metadata) -> bool {
    facts.mode() & 0o004 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_when_its_time_is_near_or_over() {
        const DAY: u64 = 24 * 3600;
        let found = |not_before: u64, not_after: u64, now: i64| {
            let validity = Validity { not_before: not_before * DAY, not_after: not_after * DAY };
            at_its_end(validity, jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(now * 24))
        };
        let severity = |found: Option<(Severity, String)>| found.map(|(severity, _)| severity);
        // A year: 30 days before its end.
        assert_eq!(found(10, 375, 340), None);
        assert_eq!(found(10, 375, 346), Some((Severity::Warning, "ends at 1971-01-11T00:00:00Z: renew it".to_owned())));
        assert_eq!(severity(found(10, 375, 376)), Some(Severity::Error));
        assert_eq!(severity(found(10, 375, 9)), Some(Severity::Error));
        // Six days: two days before.
        assert_eq!(found(10, 16, 13), None);
        assert_eq!(severity(found(10, 16, 15)), Some(Severity::Warning));
        // RFC 5280, section 4.1.2.5: without an end.
        assert_eq!(found(10, 2_932_896, 20_000), None);
    }
}
