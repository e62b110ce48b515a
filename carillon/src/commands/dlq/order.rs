//! `carillon dlq redrive` and `discard`: jobs over dead letters.
//!
//! In: a tenant and filters. Out: a job, watched to its end. Always: a discard names what it throws away.

use anyhow::Result;
use carillon_chassis::clock::Clock;
use carillon_client::Api;
use carillon_schemas::dead_letter::{DeadLetterFilter, DeadLetterId, RedriveRequest};
use uuid::Uuid;

use crate::{
    client::{ClientArgs, TenantArgs, explain},
    job::WatchArgs,
    moment::Moment,
    output::{OutputArgs, Usage},
};

/// Which dead letters, and how they are moved.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    tenant: TenantArgs,
    /// Those of this class (permanent, transient) or with this code.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Those since then: Unix milliseconds, RFC 3339, or -1h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<Moment>,
    /// Those before then.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<Moment>,
    /// Those with this name. May be repeated.
    #[arg(long, value_name = "ID")]
    id: Vec<DeadLetterId>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// At most so many a second [default: 100].
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Only count them, by code.
    #[arg(long)]
    dry_run: bool,
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

/// Arguments of `carillon dlq discard`.
#[derive(Debug, clap::Args)]
pub(crate) struct Discard {
    /// All of the tenant's, where no filter says which.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    args: Args,
}

impl Discard {
    pub(crate) async fn discard(self) -> Result<()> {
        let Self { all, args } = self;
        if !all && !args.dry_run && args.restricts_nothing() {
            let text = "this would throw every dead letter of the tenant away: say which with --class, --since, \
                        --until or --id, or give --all";
            return Err(Usage(text.to_owned()).into());
        }
        args.run(true).await
    }
}

impl Args {
    pub(crate) async fn redrive(self) -> Result<()> {
        self.run(false).await
    }

    fn restricts_nothing(&self) -> bool {
        self.class.is_none() && self.since.is_none() && self.until.is_none() && self.id.is_empty()
    }

    async fn run(self, discard: bool) -> Result<()> {
        let tenant = self.tenant.of(&self.server)?;
        let (api, clock) = (Api::new(&self.server.connection()?)?, Clock::system());
        let request = RedriveRequest {
            redrive_id: self.job,
            filter: DeadLetterFilter {
                error_class: self.class,
                since: self.since.map(|moment| moment.unix_ms(&clock)),
                until: self.until.map(|moment| moment.unix_ms(&clock)),
                ids: self.id,
            },
            max: self.max,
            rate_per_second: self.rate,
            dry_run: self.dry_run,
        };
        let asked = if discard {
            api.discard(&tenant, &request).await
        } else {
            api.redrive(&tenant, &request).await
        };
        self.watch
            .watch(&api, asked.map_err(explain)?, self.output.output)
            .await
    }
}
