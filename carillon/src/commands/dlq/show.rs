//! `carillon dlq show`: one dead letter with its record.
//!
//! In: its name. Out: what the index knows, the record's headers and its value. Always: what the topic keeps no
//! longer is said, not left out.

use anyhow::Result;
use carillon_client::Api;
use carillon_schemas::dead_letter::{DeadLetterId, DeadLetterView};

use crate::{
    client::{ClientArgs, TenantArgs, explain},
    moment,
    output::{self, Format, Ink, OutputArgs, ink, plain},
};

/// Arguments of `carillon dlq show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon dlq show 3-1042 --tenant demo
  carillon dlq show 3-1042 --tenant demo --output json | jq -r .value")]
pub(crate) struct Args {
    /// Its name, as `carillon dlq list` shows it.
    #[arg(value_name = "ID")]
    id: DeadLetterId,
    #[command(flatten)]
    tenant: TenantArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ClientArgs,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let tenant = self.tenant.of(&self.server)?;
        let api = Api::new(&self.server.connection()?)?;
        let view = api.dead_letter(&tenant, self.id).await.map_err(explain)?;
        match self.output.output {
            Format::Json => output::json(&view),
            Format::Text => show(&view),
        }
    }
}

fn show(view: &DeadLetterView) -> Result<()> {
    let row = &view.row;
    let job = row.job_id.map(|id| format!(" by job {id}")).unwrap_or_default();
    let named = |id: Option<String>| id.unwrap_or_else(|| "not readable".to_owned());
    for (name, text) in [
        ("dead letter", row.id.to_string()),
        ("since", moment::shown(row.at)),
        ("state", format!("{}{job}", row.state.as_str())),
        (
            "why",
            format!("{} {}: {}", row.error_class, row.error_code, row.error_message),
        ),
        (
            "notification",
            named(row.notification_id.map(|id| id.to_string())),
        ),
        ("channel", named(row.channel.as_ref().map(ToString::to_string))),
        ("origin", row.origin.clone()),
        ("attempt", row.attempt.to_string()),
        ("redriven", format!("{} times", row.redrive_count)),
        ("bytes", row.bytes.to_string()),
    ] {
        let name = ink(Ink::Dim, format_args!("{name:<13}"));
        output::line(format_args!("{name} {}", plain(&text)))?;
    }
    output::line(ink(Ink::Bold, "headers"))?;
    for (name, value) in &view.headers {
        output::line(format_args!("  {} {}", plain(name), plain(value)))?;
    }
    output::line(ink(Ink::Bold, "value"))?;
    match &view.value {
        Some(value) => output::line(format_args!("  {}", plain(value))),
        None => output::line("  the topic keeps it no longer"),
    }
}
