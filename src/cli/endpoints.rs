//! `endpoints`: where copies go. Passwords come from a file or from standard input, never from the command line.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use holdfast_model::ids::EndpointName;
use secrecy::zeroize::Zeroizing;
use serde_json::{Map, Value, json};

use super::Context;
use super::args::{EndpointFields, EndpointsCommand};
use super::door::{Door, Purpose};
use super::exit::{CliError, CliResult, Exit};
use super::output::{printable, table};
use crate::api::commands::{AddBackupConfig, DeleteBackupConfig, EndpointRow, GetBackupConfig, UpdateBackupConfig};
use crate::api::text::Secret;

/// Longest first line of a file with a password, in bytes.
const LONGEST: u64 = 4096;

pub(super) async fn run(context: &Context, command: &EndpointsCommand) -> CliResult {
    if let EndpointsCommand::Test(args) = command {
        return super::endpoint_test::run(context, args).await;
    }
    // What is wrong with it is told before the home is taken.
    let wish = Wish::of(command)?;
    let door = Door::open(context, Purpose::Brief("endpoints"), context.lock_wait).await?;
    let result = wish.grant(context, &door).await;
    door.close().await;
    result
}

enum Wish {
    List,
    Add(AddBackupConfig),
    Set(UpdateBackupConfig),
    Remove(DeleteBackupConfig),
}

impl Wish {
    fn of(command: &EndpointsCommand) -> Result<Self, CliError> {
        Ok(match command {
            EndpointsCommand::List | EndpointsCommand::Test(_) => Self::List,
            EndpointsCommand::Add { name, fields } => {
                let mut add: AddBackupConfig = read(name, fields)?;
                add.password = password(fields)?;
                Self::Add(add)
            }
            EndpointsCommand::Set { name, fields, no_password } => {
                let mut set: UpdateBackupConfig = read(name, fields)?;
                if *fields == EndpointFields::default() && !*no_password {
                    let next = "`holdfast endpoints set --help` lists what can be changed.";
                    return Err(CliError::new(Exit::Usage, "USAGE", "nothing is said to be changed", next));
                }
                set.password = if *no_password { Some(secret("")?) } else { password(fields)? };
                Self::Set(set)
            }
            EndpointsCommand::Remove { name } => Self::Remove(DeleteBackupConfig { name: endpoint_name(name)? }),
        })
    }

    async fn grant(&self, context: &Context, door: &Door) -> CliResult {
        let out = context.output;
        match self {
            Self::List => {
                let rows = door.ask(&GetBackupConfig {}).await?;
                out.value(&rows)?;
                if rows.rows.is_empty() {
                    out.line("no endpoints: `holdfast endpoints add NAME` adds one")?;
                } else if !out.json {
                    let cells: Vec<_> = rows.rows.iter().map(cells).collect();
                    out.result(table(&["ENDPOINT", "ADDRESS", "PASSWORD", "RUNS", "HEALTH", "FROM"], &cells))?;
                }
            }
            Self::Add(add) => {
                let row = door.ask(add).await?;
                out.value(&row)?;
                let name = &row.name;
                out.line(match (row.enable, row.url.is_empty() && row.host.is_empty()) {
                    (_, true) => format!("endpoint {name} is added; it has no address yet, and gets no copies"),
                    (0, _) => format!("endpoint {name} is added; it gets only the copies that are asked for with --to"),
                    _ => format!("endpoint {name} is added: copies of the runs from now on go there; `holdfast endpoints test {name}` tries it"),
                })?;
            }
            Self::Set(set) => {
                let row = door.ask(set).await?;
                out.value(&row)?;
                out.line(format!("endpoint {} is changed", row.name))?;
            }
            Self::Remove(remove) => {
                let removed = door.ask(remove).await?;
                out.value(&removed)?;
                out.line(format!("endpoint {} is not used any more; what was copied there stays", remove.name))?;
            }
        }
        Ok(Exit::Good)
    }
}

/// Most characters of a name and of an address in the list: with the other columns a line has 80. `--json` has all of them.
const NAME_WIDTH: usize = 16;
const ADDRESS_WIDTH: usize = 25;

fn cells(row: &EndpointRow) -> Vec<String> {
    let address = if row.url.is_empty() { &row.host } else { &row.url };
    let runs = match (row.enable, row.mode) {
        (0, _) => "none",
        (_, 0) => "every",
        _ => "full",
    };
    let password = match &*row.password_from {
        "" => "none",
        "environment" => "variable",
        from => from,
    };
    let from = if row.declared { "file" } else { "command" };
    let text = |text: &str, width| shortened(&printable(text.as_bytes()), width);
    let (name, health) = (text(&row.name, NAME_WIDTH), text(&row.health, 9));
    vec![name, text(address, ADDRESS_WIDTH), password.to_owned(), runs.to_owned(), health, from.to_owned()]
}

/// The beginning and the end, where the whole is too long: addresses differ at both.
fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let tail = width / 3;
    let head: String = text.chars().take(width - tail - 1).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{head}…{end}")
}

pub(super) fn endpoint_name(name: &str) -> Result<EndpointName, CliError> {
    name.parse().map_err(|error| CliError::new(Exit::Usage, "INVALID_DATA", error, "Give it another name."))
}

/// The request that the flags make, by the rules of the request itself.
fn read<T: serde::de::DeserializeOwned>(name: &str, fields: &EndpointFields) -> Result<T, CliError> {
    let mut data = Map::new();
    data.insert("name".into(), json!(endpoint_name(name)?));
    let texts =
        [("host", &fields.host), ("url", &fields.url), ("login", &fields.login), ("retention", &fields.retention)];
    let numbers = [
        ("enable", fields.enable.map(u64::from)),
        ("mode", fields.mode.map(u64::from)),
        ("timeinterval", fields.timeinterval),
        ("timeout", fields.timeout),
        ("retry_attempts", fields.retry_attempts.map(u64::from)),
        ("retry_delay", fields.retry_delay),
    ];
    let others = [
        ("password_file", fields.password_path.as_ref().map(|path| json!(path))),
        ("password_command", fields.password_command.as_ref().map(|words| json!(words))),
        ("stream", fields.stream.map(|stream| json!(stream))),
        ("verify", fields.verify.as_ref().map(|verify| json!(verify))),
        ("bandwidth", fields.bandwidth.map(|bandwidth| json!(bandwidth))),
        ("priority", fields.priority.map(|priority| json!(priority))),
        ("streams", fields.streams.map(|streams| json!(streams))),
        ("plaintext", fields.plaintext.map(|plaintext| json!(plaintext))),
    ];
    data.extend(others.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    data.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
    data.extend(numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), json!(number?)))));
    serde_path_to_error::deserialize(Value::Object(data)).map_err(|error| {
        let (field, reason) = (error.path().to_string(), error.into_inner());
        // The request's `password_file` is read at each use; the flag of that name is read now.
        let flag = if field == "password_file" { "password-path".to_owned() } else { field.replace('_', "-") };
        CliError::new(Exit::Usage, "INVALID_DATA", format!("--{flag}: {reason}"), "")
    })
}

fn password(fields: &EndpointFields) -> Result<Option<Secret>, CliError> {
    password_from(fields.password_file.as_deref(), fields.password_stdin)
}

/// The password that is meant, if any.
pub(super) fn password_from(file: Option<&Path>, stdin: bool) -> Result<Option<Secret>, CliError> {
    match file {
        Some(file) => first_line(std::fs::File::open(file), &file.display().to_string()).map(Some),
        None if stdin => first_line(Ok(io::stdin().lock()), "standard input").map(Some),
        None => Ok(None),
    }
}

fn first_line(from: io::Result<impl Read>, what: &str) -> Result<Secret, CliError> {
    let refuse = |why: &dyn std::fmt::Display| {
        let message = format!("cannot read the password from {what}: {why}");
        CliError::new(Exit::Usage, "INVALID_DATA", message, "Its first line is the password.")
    };
    let mut line = Zeroizing::new(String::new());
    let mut reader = BufReader::new(from.map_err(|error| refuse(&error))?.take(LONGEST));
    reader.read_line(&mut line).map_err(|error| refuse(&error))?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(refuse(&"its first line is empty")),
        text => secret(text),
    }
}

fn secret(text: &str) -> Result<Secret, CliError> {
    Secret::new(text.to_owned())
        .map_err(|rule| CliError::new(Exit::Usage, "INVALID_DATA", format!("the password: {rule}"), ""))
}
