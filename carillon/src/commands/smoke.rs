//! `carillon smoke`: whether a running instance does what it promises, in one command.
//!
//! In: a server, Kafka, a token. Out: one line per promise. Always: it only adds one notification; exit 1
//! when a promise is not kept.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use carillon_bus::{Admin, RangeReader};
use carillon_chassis::{clock::Clock, metrics::Metrics, tasks::Tasks};
use carillon_client::{Api, Connection, Event, Listener, ListenerOptions, Publisher};
use carillon_schemas::{
    ChannelName, NotificationId, TenantId, UserId, headers, http::Accepted, notification::Submission,
    status::Status,
};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    client::ClientArgs,
    output::{self, Format, Ink, OutputArgs, ink},
    settings::{ConfigFlags, KafkaFlags, Pairs, Settings, load},
    stack::bus_config,
};

/// How long any one promise may take to be kept.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records of a partition's end among which ours is looked for.
const WINDOW: i64 = 1000;
/// Bytes read of them at once.
const PAGE: usize = 4 * 1024 * 1024;

/// Arguments of `carillon smoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon smoke --url http://127.0.0.1:8080 --kafka 127.0.0.1:9092")]
pub(crate) struct Args {
    #[command(flatten)]
    kafka: KafkaFlags,
    /// The WebSocket's server, where it is another one (a fanout role) [default: that of --url].
    #[arg(long, value_name = "URL")]
    ws_url: Option<String>,
    /// The tenant; needed where the server asks for no token.
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ClientArgs,
    #[command(flatten)]
    config: ConfigFlags,
}

/// What the checks share.
struct Smoke {
    server: Connection,
    socket: Connection,
    channel: ChannelName,
    tenant: Option<TenantId>,
    settings: Settings,
    format: Format,
    failed: usize,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let mut pairs = Pairs::default();
        self.kafka.push(&mut pairs);
        let settings = load(&self.config, pairs)?.settings;
        let server = self.server.connection()?;
        let socket = match &self.ws_url {
            Some(_) => ClientArgs {
                url: self.ws_url.clone(),
                ..self.server.clone()
            }
            .connection()?,
            None => server.clone(),
        };
        let channel = format!("smoke-{}", Clock::system().unix_ms()).parse()?;
        let (tenant, format) = (self.tenant, self.output.output);
        Smoke {
            server,
            socket,
            channel,
            tenant,
            settings,
            format,
            failed: 0,
        }
        .run()
        .await
    }
}

impl Smoke {
    async fn run(mut self) -> Result<()> {
        let ready = self.ready().await;
        self.tell("ready", ready)?;
        let listening = timeout(PATIENCE, self.listen())
            .await
            .context("no answer in time")
            .flatten();
        let listener = self.tell(
            "subscribe",
            listening.map(|l| (l, "a socket is subscribed".to_owned())),
        )?;
        let posted = self.post().await;
        let Some(accepted) = self.tell("post", posted)? else {
            bail!("nothing was accepted, so that nothing else can be checked");
        };
        let frame = match listener {
            Some(listener) => within(frame(listener, accepted.notification_id)).await,
            None => Err(anyhow::anyhow!("no socket")),
        };
        self.tell("frame", frame)?;
        let record = within(self.record(&accepted)).await;
        self.tell("kafka record", record)?;
        let stored = within(self.stored(accepted.notification_id)).await;
        self.tell("stored state", stored)?;
        let refused = self.refused().await;
        self.tell("refused tokens", refused)?;
        match self.failed {
            0 => Ok(()),
            n => bail!("{n} of 7 checks failed"),
        }
    }

    /// One line for one check; its value, if it passed.
    fn tell<T>(&mut self, check: &str, outcome: Result<(T, String)>) -> Result<Option<T>> {
        let (value, passed, text) = match outcome {
            Ok((value, text)) => (Some(value), true, text),
            Err(error) => (None, false, format!("{error:#}")),
        };
        self.failed += usize::from(!passed);
        let sign = if passed {
            ink(Ink::Green, "pass")
        } else {
            ink(Ink::Red, "FAIL")
        };
        match self.format {
            Format::Text => output::line(format_args!("{sign}  {check:<16} {text}"))?,
            Format::Json => output::json(&json!({"check": check, "passed": passed, "detail": text}))?,
        }
        Ok(value)
    }

    async fn ready(&self) -> Result<((), String)> {
        let readiness = Api::new(&self.server)?.ready().await;
        // A role answers on its admin port and not here: whether it takes work is then seen by the POST.
        match readiness {
            Ok(readiness) if readiness.is_ready() => Ok(((), "every condition is met".to_owned())),
            Ok(readiness) => bail!("unmet: {:?}", readiness.unmet),
            Err(error) if error.problem().is_some_and(|p| p.status == 404) => {
                Ok(((), "not asked: this port serves no /ready".to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn listen(&self) -> Result<Listener> {
        let options = ListenerOptions {
            tenant: self.tenant.clone(),
            user: self.tenant.as_ref().and_then(|_| "smoke".parse::<UserId>().ok()),
            ..ListenerOptions::channels([self.channel.clone()])
        };
        let mut listener = Listener::connect(&self.socket, options).await?;
        listener.subscribed().await?;
        Ok(listener)
    }

    async fn post(&self) -> Result<(Accepted, String)> {
        let mut submission = Submission::text("smoke");
        submission.channel = Some(self.channel.clone());
        submission.tenant_id = self.tenant.clone();
        let begun = Instant::now();
        let accepted = Publisher::new(&self.server)?.publish(&submission, None).await?;
        let text = format!("202 {} in {}", accepted.notification_id, millis(begun));
        Ok((accepted, text))
    }

    async fn record(&self, accepted: &Accepted) -> Result<((), String)> {
        let (metrics, tasks) = (Metrics::new(), Tasks::new());
        let bus = bus_config(&self.settings, "smoke")?;
        let topic = bus.topics.notifications.clone();
        let ends = Admin::new(&bus, &metrics)?.ends(&topic).await?;
        let reader = RangeReader::new(&bus, &topic, 1, &metrics, &tasks)?;
        let mut found = None;
        for (partition, earliest, end) in ends {
            let mut from = earliest.max(end - WINDOW);
            while found.is_none() && from < end {
                let page = reader.read(partition, from, end, PAGE, PATIENCE).await?;
                let ours = page.records.iter().find(|r| is_ours(r, accepted));
                found = ours.map(|r| (r.partition, r.offset));
                from = page.next;
            }
        }
        drop(reader);
        tasks.close(Duration::from_secs(1)).await;
        let (partition, offset) =
            found.with_context(|| format!("not on {topic} at {}", self.settings.kafka))?;
        Ok(((), format!("{topic}, partition {partition}, offset {offset}")))
    }

    async fn stored(&self, id: NotificationId) -> Result<((), String)> {
        let api = Api::new(&self.by_tenant()?)?;
        let begun = Instant::now();
        loop {
            match api.notification(id).await {
                Ok(state) if state.status >= Status::Dispatched => {
                    return Ok(((), format!("{} after {}", state.status.as_str(), millis(begun))));
                }
                Ok(_) => {}
                Err(error) if error.problem().is_some_and(|p| p.status == 404) => {}
                Err(error) => return Err(error.into()),
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Reads name the tenant in the address where no token does.
    fn by_tenant(&self) -> Result<Connection> {
        Ok(match &self.tenant {
            Some(tenant) => self.server.clone().with_tenant(tenant.clone()),
            None => self.server.clone(),
        })
    }

    async fn refused(&self) -> Result<((), String)> {
        if self.tenant.is_some() {
            return Ok(((), "not asked: this server asks for no token".to_owned()));
        }
        let tokens = [
            ("none", Connection::new(self.server.url())?),
            (
                "junk",
                Connection::new(self.server.url())?.with_token("not.a.token"),
            ),
            (
                "foreign",
                Connection::new(self.server.url())?.with_token(foreign_token()?),
            ),
        ];
        for (name, server) in tokens {
            let answer = Publisher::new(&server)?
                .publish(&Submission::text("smoke"), None)
                .await;
            let status = match &answer {
                Ok(_) => 202,
                Err(error) => error.problem().map_or(0, |p| p.status),
            };
            ensure!(status == 401, "{name}: {status} instead of 401");
        }
        Ok(((), "none, junk and a foreign key's: 401 each".to_owned()))
    }
}

fn is_ours(record: &carillon_bus::Record, accepted: &Accepted) -> bool {
    record.headers.text(headers::ID) == Some(&accepted.notification_id.to_string())
        && record.headers.text(headers::TENANT) == Some(accepted.tenant_id.as_str())
}

async fn frame(mut listener: Listener, id: NotificationId) -> Result<((), String)> {
    let begun = Instant::now();
    loop {
        if let Event::Notification(frame) = listener.next().await?
            && frame.delivery.envelope.notification_id == id
        {
            listener.close().await;
            return Ok(((), format!("cursor {} after {}", frame.cursor, millis(begun))));
        }
    }
}

/// A token that is right in everything but its key.
fn foreign_token() -> Result<String> {
    let key = carillon_auth::mint::SigningKey::generate_ed25519()?;
    Ok(key.mint(&crate::stack::claims(
        "demo",
        "mallory",
        Duration::from_mins(5),
        &Clock::system(),
    ))?)
}

async fn within<T>(check: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(PATIENCE, check).await.context("not in time")?
}

fn millis(begun: Instant) -> String {
    format!("{:.1} ms", begun.elapsed().as_secs_f64() * 1000.0)
}
