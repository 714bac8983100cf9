//! `token`: what other programs show to be let in.

use holdfast_model::ids::TokenName;

use super::Context;
use super::args::TokenCommand;
use super::door::{Door, Purpose};
use super::exit::{CliError, CliResult, Exit};
use super::output::{printable, table, time};
use crate::api::commands::{CreateToken, ListTokens, RevokeToken, TokenRow};

pub(super) async fn run(context: &Context, command: &TokenCommand) -> CliResult {
    let create = match command {
        TokenCommand::Create { name, role, expires } => {
            Some(CreateToken { name: token_name(name)?, role: *role, expires: expires.clone() })
        }
        _ => None,
    };
    let door = Door::open(context, Purpose::Brief("token"), context.lock_wait).await?;
    let result = match (command, create) {
        (TokenCommand::Create { .. }, Some(create)) => self::create(context, &door, &create).await,
        (TokenCommand::Revoke { token }, _) => revoke(context, &door, token).await,
        _ => list(context, &door).await,
    };
    door.close().await;
    result
}

fn token_name(name: &str) -> Result<TokenName, CliError> {
    name.parse().map_err(|error| CliError::new(Exit::Usage, "INVALID_DATA", error, "Give it another name."))
}

async fn create(context: &Context, door: &Door, create: &CreateToken) -> CliResult {
    let out = context.output;
    let created = door.ask(create).await?;
    out.value(&created)?;
    // It is shown this once, on a line of its own, also with --quiet.
    out.result(&created.token)?;
    out.note(format!("{}, {}{}: it is not shown again", created.row.name, created.row.role, until(&created.row)));
    Ok(Exit::Good)
}

fn until(row: &TokenRow) -> String {
    if row.expires_at == 0 { String::new() } else { format!(", until {}", time(row.expires_at)) }
}

async fn list(context: &Context, door: &Door) -> CliResult {
    let out = context.output;
    let rows = door.ask(&ListTokens {}).await?;
    out.value(&rows)?;
    if rows.rows.is_empty() {
        out.line("no tokens: `holdfast token create NAME --role ROLE` makes one")?;
        return Ok(Exit::Good);
    }
    let cells: Vec<_> = rows.rows.iter().map(cells).collect();
    out.result(table(&["TOKEN", "ROLE", "STATE", "CREATED", "BY", "EXPIRES"], &cells))?;
    Ok(Exit::Good)
}

fn cells(row: &TokenRow) -> Vec<String> {
    let state = match (row.live, row.revoked_at) {
        (true, _) => "live".to_owned(),
        (false, 0) => "expired".to_owned(),
        (false, at) => format!("revoked {}", time(at)),
    };
    let by = printable(row.created_by.as_bytes());
    vec![row.name.to_string(), row.role.to_string(), state, time(row.created_at), by, time(row.expires_at)]
}

async fn revoke(context: &Context, door: &Door, token: &str) -> CliResult {
    let row = door.ask(&RevokeToken { token: token.to_owned() }).await?;
    context.output.value(&row)?;
    context.output.line(format!("token {} is not taken any more", row.name))?;
    Ok(Exit::Good)
}
