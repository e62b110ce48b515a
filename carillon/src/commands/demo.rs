//! `carillon demo`: the promises, shown in eight steps.
//!
//! In: a server of its own in a temporary directory, or one that is named. Out: what happens, step by step.
//! Always: whatever it shows is checked; exit 1 when anything is not so.

mod cast;
mod subscriber;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use carillon_chassis::{clock::Clock, tasks::Tasks};
use carillon_client::Connection;

use self::cast::Cast;
use super::token::KeyArgs;
use crate::{
    output::{self, Ink, Usage, ink},
    settings::Settings,
    stack::{Process, Up, install_telemetry},
};

/// How long every part of the demo's own server may take to be ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// Fewest alerts between which a subscriber can be away and come back.
const FEWEST_FOR_A_DROP: u32 = 3;

/// Arguments of `carillon demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon demo --drop-subscriber
  carillon demo --against http://127.0.0.1:8080 --alerts 20 --last-n 3")]
pub(crate) struct Args {
    /// How many alerts each tenant publishes.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    alerts: u32,
    /// How many of each tenant's alerts are read back in the end.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    last_n: u32,
    /// Drop one subscriber in the middle, and resume it while publishing goes on.
    #[arg(long)]
    drop_subscriber: bool,
    /// Use this server instead of starting one. Its key is needed to mint tokens for two tenants.
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        if self.drop_subscriber && self.alerts < FEWEST_FOR_A_DROP {
            return Err(Usage(format!(
                "--drop-subscriber needs --alerts {FEWEST_FOR_A_DROP} or more"
            ))
            .into());
        }
        let process = Process::new();
        process.watch_signals()?;
        let settings = Settings::default();
        install_telemetry(&settings, "warn")?;
        match self.against.clone() {
            Some(url) => {
                step(1, "Find the server")?;
                let server = Connection::new(&url)?;
                carillon_client::Api::new(&server)?.health().await?;
                output::line(format_args!("    {url} answers"))?;
                let cast = Cast::new(
                    &server,
                    &self.key.signing_key()?,
                    &format!("demo-{}", Clock::system().unix_ms()),
                )?;
                self.play_unless_stopped(cast, &process).await
            }
            None => self.with_a_server(settings, process).await,
        }
    }

    async fn with_a_server(&self, settings: Settings, process: Process) -> Result<()> {
        step(
            1,
            "Start everything in one process, durable, in a temporary directory",
        )?;
        let dir = tempfile::Builder::new()
            .prefix("carillon-demo-")
            .tempdir()
            .context("no temporary directory")?;
        let begun = tokio::time::Instant::now();
        let any = "127.0.0.1:0".to_owned();
        let settings = Settings {
            data_dir: dir.path().join("data"),
            listen: Some(any.clone()),
            kafka_listen: any,
            ..settings
        };
        let up = Up::start(&settings, process.clone()).await?;
        let ready = up.process.ready_within(PATIENCE).await;
        let outcome = if ready {
            let took = begun.elapsed().as_millis();
            output::line(format_args!(
                "    http://{} and Kafka on {}, ready after {took} ms",
                up.addresses.http, up.addresses.kafka
            ))?;
            let server = Connection::new(&format!("http://{}", up.addresses.http))?;
            let cast = Cast::new(&server, &up.keys.signing, "alerts")?;
            self.play_unless_stopped(cast, &process).await
        } else {
            Err(anyhow::anyhow!(
                "the server did not become ready: {:?}",
                process.readiness.unmet()
            ))
        };
        let stopped = up.stop(PATIENCE).await;
        outcome.and(stopped)
    }

    async fn play_unless_stopped(&self, mut cast: Cast, process: &Process) -> Result<()> {
        let tasks = Tasks::new();
        let outcome = tokio::select! {
            outcome = Box::pin(self.play(&mut cast, &tasks)) => outcome,
            () = process.stopping() => Err(anyhow::anyhow!("stopped")),
        };
        tasks.close(PATIENCE).await;
        outcome
    }

    async fn play(&self, cast: &mut Cast, tasks: &Tasks) -> Result<()> {
        step(2, "Connect two tenants, each with a token of its own")?;
        cast.show_tenants()?;
        step(3, "Subscribe two people of each tenant to the same channel name")?;
        cast.subscribe(tasks).await?;
        step(4, "Try to subscribe to the other tenant")?;
        cast.trespass().await?;
        step(
            5,
            &format!(
                "Publish {} alerts per tenant; one line per event received",
                self.alerts
            ),
        )?;
        cast.publish(self.alerts, self.drop_subscriber).await?;
        step(6, "Drain: wait until everybody has everything")?;
        cast.drain().await?;
        step(7, &format!("Read back the last {} of each tenant", self.last_n))?;
        cast.last(self.last_n).await?;
        step(8, "Summary")?;
        let wrong = cast.summary()?;
        if !wrong.is_empty() {
            bail!("{}", wrong.join("; "));
        }
        output::line(format_args!("    {}", ink(Ink::Green, "everything shown is so")))
    }
}

fn step(number: u8, title: &str) -> Result<()> {
    output::line(format_args!(
        "{} {}",
        ink(Ink::Bold, format_args!("[{number}/8]")),
        ink(Ink::Bold, title)
    ))
}
