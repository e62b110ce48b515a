//! `carillon replay`: dispatch stored notifications again.
//!
//! In: a tenant and a span of time. Out: a job, watched to its end. Always: clients get them as a deliberate
//! repeat, with the same ids.

use anyhow::Result;
use carillon_chassis::clock::Clock;
use carillon_client::Api;
use carillon_schemas::{ChannelName, dead_letter::ReplayRequest};
use uuid::Uuid;

use crate::{
    client::{ClientArgs, TenantArgs, explain},
    job::WatchArgs,
    moment::Moment,
    output::{OutputArgs, Usage},
};

/// Arguments of `carillon replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon replay --tenant demo --since -1h --channel alerts
  carillon replay --tenant demo --since 2026-01-31T12:00:00Z --until 2026-01-31T13:00:00Z --rate 500")]
pub(crate) struct Args {
    #[command(flatten)]
    tenant: TenantArgs,
    /// What was accepted since then: Unix milliseconds, RFC 3339, or -1h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Moment,
    /// What was accepted before then [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<Moment>,
    /// Only what was accepted for this channel.
    #[arg(long, value_name = "NAME")]
    channel: Option<ChannelName>,
    /// At most so many a second [default: 100].
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// The job's id: repeating with the same one has no second effect.
    #[arg(long, value_name = "UUID")]
    job: Option<Uuid>,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ClientArgs,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let clock = Clock::system();
        let since = self.since.unix_ms(&clock);
        let until = self
            .until
            .map_or_else(|| clock.unix_ms(), |moment| moment.unix_ms(&clock));
        if since >= until {
            return Err(Usage("--until must be later than --since".to_owned()).into());
        }
        let tenant = self.tenant.of(&self.server)?;
        let api = Api::new(&self.server.connection()?)?;
        let request = ReplayRequest {
            replay_id: self.job,
            since,
            until,
            channel: self.channel,
            rate_per_second: self.rate,
        };
        let asked = api.replay(&tenant, &request).await.map_err(explain)?;
        self.watch.watch(&api, asked, self.output.output).await
    }
}
