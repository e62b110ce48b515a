//! `carillon dlq list`: a tenant's dead letters, newest first.
//!
//! In: a tenant and filters. Out: a table, or a row of JSON a line. Always: pages are followed until so many rows
//! are shown, or there are no more.

use anyhow::Result;
use carillon_chassis::clock::Clock;
use carillon_client::{Api, DeadLetters};
use carillon_schemas::{
    dead_letter::{DeadLetterRow, DeadLetterState},
    limits,
};

use crate::{
    client::{ClientArgs, TenantArgs, explain},
    moment::{self, Moment},
    output::{self, Format, OutputArgs, note},
};

/// Arguments of `carillon dlq list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon dlq list --tenant demo --since -1h
  carillon dlq list --tenant demo --class transient --state parked --output json | jq .error_message")]
pub(crate) struct Args {
    #[command(flatten)]
    tenant: TenantArgs,
    /// Only those of this class (permanent, transient) or with this code.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Only those in this state: waiting, redriven, parked or discarded.
    #[arg(long, value_parser = state)]
    state: Option<DeadLetterState>,
    /// Only those since then: Unix milliseconds, RFC 3339, or -1h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<Moment>,
    /// Only those before then.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<Moment>,
    /// At most so many rows.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ClientArgs,
}

fn state(name: &str) -> Result<DeadLetterState, String> {
    let names = DeadLetterState::ALL.map(DeadLetterState::as_str);
    DeadLetterState::from_name(name).ok_or_else(|| format!("is one of {}", names.join(", ")))
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let tenant = self.tenant.of(&self.server)?;
        let (api, clock) = (Api::new(&self.server.connection()?)?, Clock::system());
        let mut which = DeadLetters {
            limit: None,
            cursor: None,
            class: self.class.clone(),
            state: self.state,
            since_ms: self.since.map(|moment| moment.unix_ms(&clock)),
            until_ms: self.until.map(|moment| moment.unix_ms(&clock)),
        };
        let mut left = self.limit;
        let mut rows = Vec::new();
        while left > 0 {
            which.limit = u32::try_from(left.min(u64::from(limits::PAGE_ROWS))).ok();
            let page = api.dead_letters(&tenant, &which).await.map_err(explain)?;
            left = left.saturating_sub(page.dead_letters.len() as u64);
            match self.output.output {
                Format::Json => page.dead_letters.iter().try_for_each(output::json)?,
                Format::Text => rows.extend(page.dead_letters.iter().map(cells)),
            }
            which.cursor = page.next_cursor;
            if which.cursor.is_none() {
                break;
            }
        }
        if self.output.output == Format::Json {
            return Ok(());
        }
        if rows.is_empty() {
            return output::line("no dead letters");
        }
        output::table(
            [
                "ID",
                "SINCE",
                "CLASS",
                "CODE",
                "STATE",
                "ATTEMPT",
                "REDRIVES",
                "NOTIFICATION",
                "WHY",
            ],
            &rows,
        )?;
        if which.cursor.is_some() {
            note("there are more: give --limit");
        }
        Ok(())
    }
}

fn cells(row: &DeadLetterRow) -> [String; 9] {
    [
        row.id.to_string(),
        moment::shown(row.at),
        row.error_class.clone(),
        row.error_code.clone(),
        row.state.as_str().to_owned(),
        row.attempt.to_string(),
        row.redrive_count.to_string(),
        row.notification_id.map_or("-".to_owned(), |id| id.to_string()),
        row.error_message.clone(),
    ]
}
