//! `carillon send`: publish from a terminal, or from a pipe.
//!
//! In: a text with flags, or one JSON submission per line. Out: ids, or acceptances as NDJSON.
//! Always: the first line that is not accepted ends it, named by its number; what was printed was accepted.

use anyhow::{Context, Result};
use carillon_chassis::clock::Clock;
use carillon_client::{Publisher, Retry};
use carillon_schemas::{
    ChannelName, CollapseKey, CorrelationId, IdempotencyKey, TenantId, UserId,
    http::Accepted,
    notification::{Audience, Priority, Submission, SubmissionError},
    problem::FieldError,
};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    client::{ClientArgs, explain},
    moment::Moment,
    output::{self, Format, OutputArgs, Usage},
};

/// Arguments of `carillon send`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon send --channel alerts 'disk almost full'
  carillon send --channel alerts --deliver-at +10m --ttl 3600 --priority high 'maintenance begins'
  printf '%s\\n' '{\"channel\":\"alerts\",\"content\":\"one\"}' '{\"channel\":\"alerts\",\"content\":\"two\"}' | carillon send")]
pub(crate) struct Args {
    /// The text. Without it, one JSON submission per line is read from standard input.
    #[arg(value_name = "CONTENT")]
    content: Option<String>,
    /// The channel [default: default].
    #[arg(long)]
    channel: Option<ChannelName>,
    /// The user it is about; with --to-user, the user it is for.
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Address it to the user alone, wherever connected.
    #[arg(long, requires = "user")]
    to_user: bool,
    /// The tenant; needed where the server asks for no token.
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    /// A type name of your own.
    #[arg(long = "type", value_name = "NAME")]
    kind: Option<String>,
    /// A title.
    #[arg(long)]
    title: Option<String>,
    /// A JSON object that is handed through.
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// An id that is kept from here to the screen.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<CorrelationId>,
    /// How urgent it is: low, normal or high.
    #[arg(long, value_parser = priority)]
    priority: Option<Priority>,
    /// Not to be delivered after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
    /// A newer one of the channel with this key takes its place while it is undelivered.
    #[arg(long, value_name = "KEY")]
    collapse_key: Option<CollapseKey>,
    /// Dispatch it again until a client acknowledges it.
    #[arg(long)]
    require_ack: bool,
    /// Not before then: Unix milliseconds, RFC 3339, or +30s.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    deliver_at: Option<Moment>,
    /// Repeating with the same key gives the same notification.
    #[arg(long, value_name = "KEY", requires = "content")]
    idempotency_key: Option<IdempotencyKey>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ClientArgs,
}

impl Args {
    pub(crate) async fn run(mut self) -> Result<()> {
        let publisher = Publisher::new(&self.server.connection()?)?.with_retry(Retry::PATIENT);
        let Some(content) = self.content.take() else {
            return self.publish_lines(&publisher).await;
        };
        let submission = self.submission(content)?;
        let accepted = publisher
            .publish(&submission, self.idempotency_key.as_ref())
            .await
            .map_err(explain)?;
        self.show(&accepted)
    }

    fn submission(&self, content: String) -> Result<Submission> {
        let mut submission = self.fill(Submission::text(content));
        submission.user_id = self.user.clone();
        submission.audience = self.to_user.then_some(Audience::User);
        submission.kind = self.kind.clone();
        submission.title = self.title.clone();
        submission.correlation_id = self.correlation_id.clone();
        if let Some(data) = &self.data {
            let raw: Box<RawValue> =
                serde_json::from_str(data).map_err(|error| Usage(format!("--data is no JSON: {error}")))?;
            submission.data = Some(raw);
        }
        Ok(submission)
    }

    /// What the flags say and the line does not.
    fn fill(&self, mut submission: Submission) -> Submission {
        submission.tenant_id = submission.tenant_id.or_else(|| self.tenant.clone());
        submission.channel = submission.channel.or_else(|| self.channel.clone());
        submission.priority = submission.priority.or(self.priority);
        submission.ttl_seconds = submission.ttl_seconds.or(self.ttl);
        submission.collapse_key = submission.collapse_key.or_else(|| self.collapse_key.clone());
        submission.require_ack = submission.require_ack.or(self.require_ack.then_some(true));
        let deliver_at = self.deliver_at.map(|moment| moment.unix_ms(&Clock::system()));
        submission.deliver_at = submission.deliver_at.or(deliver_at);
        submission
    }

    async fn publish_lines(&self, publisher: &Publisher) -> Result<()> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut number = 0_u64;
        while let Some(line) = lines.next_line().await.context("cannot read standard input")? {
            number += 1;
            if line.trim().is_empty() {
                continue;
            }
            let submission =
                Submission::parse(line.as_bytes()).map_err(|error| anyhow::anyhow!(told(&error)));
            let submission = self.fill(submission.with_context(|| format!("line {number}"))?);
            let sent = publisher.publish(&submission, None).await.map_err(explain);
            self.show(&sent.with_context(|| format!("line {number}"))?)?;
        }
        Ok(())
    }

    fn show(&self, accepted: &Accepted) -> Result<()> {
        match self.output.output {
            Format::Text => output::line(accepted.notification_id),
            Format::Json => output::json(accepted),
        }
    }
}

fn priority(name: &str) -> Result<Priority, String> {
    match name {
        "low" => Ok(Priority::Low),
        "normal" => Ok(Priority::Normal),
        "high" => Ok(Priority::High),
        _ => Err("is low, normal or high".to_owned()),
    }
}

fn told(error: &SubmissionError) -> String {
    let list = |errors: &[FieldError]| {
        let one = |e: &FieldError| format!("{} {}", e.path, e.message);
        errors.iter().map(one).collect::<Vec<_>>().join("; ")
    };
    match error {
        SubmissionError::Json(text) => format!("is no JSON: {text}"),
        SubmissionError::Fields(errors) => list(errors),
    }
}
