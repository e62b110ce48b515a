//! `carillon cancel`: take a scheduled notification back.
//!
//! In: its id. Out: that the cancel was taken. Always: whether it came in time, the notification's state says.

use anyhow::Result;
use carillon_client::Api;
use carillon_schemas::{NotificationId, TenantId};

use crate::{
    client::{ClientArgs, explain},
    output::{self, Format, OutputArgs},
};

/// Arguments of `carillon cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon cancel 0190163d-8694-739b-aea5-966c26f8ad91
  carillon cancel \"$(carillon send --deliver-at +1h 'standup in ten minutes')\"")]
pub(crate) struct Args {
    /// Its id, as `carillon send` prints it.
    #[arg(value_name = "ID")]
    id: NotificationId,
    /// The tenant; needed where the server asks for no token.
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ClientArgs,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let mut server = self.server.connection()?;
        if let Some(tenant) = self.tenant {
            server = server.with_tenant(tenant);
        }
        let taken = Api::new(&server)?.cancel(self.id).await.map_err(explain)?;
        match self.output.output {
            Format::Text => output::line(format_args!("cancelling {}", taken.notification_id)),
            Format::Json => output::json(&taken),
        }
    }
}
