//! Beside the pipeline: receipts, audit, commands and the schedule.
//!
//! In: topics of their own, and time. Out: facts and entries in the store, jobs, and what is due. Always: each has
//! a consumer group of its own and waits out trouble in place; none of them pauses the pipeline; they end with
//! the router.

mod config;
pub(crate) mod keep;
pub(crate) mod reader;
pub(crate) mod value;

use std::{sync::Arc, time::Duration};

use carillon_bus::{BusConfig, ConsumerOptions, GroupConsumer, Producer, RangeReader};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    RouterConfig, RouterDeps, RouterError,
    audit::{self, Audit},
    commands::{self, Commands},
    dispatch::Shards,
    hold::{Dependency, Holds},
    jobs::Jobs,
    receipts::{self, Receipts},
    schedule::{self, DueNow, Schedule, ScheduleHandle},
    trail::Trail,
};
pub use config::BesideConfig;
use reader::Reader;
use value::Unreadable;

/// Threads that read the dead-letter topic. Each job asks one question at a time.
const READERS: usize = 1;

/// The rooms beside.
pub(crate) struct Beside {
    bus: BusConfig,
    group: String,
    drain: Duration,
    config: BesideConfig,
    metrics: Metrics,
    tasks: Tasks,
    receipts: Receipts,
    audit: Audit,
    commands: Commands,
    schedule: Schedule,
}

/// What the pipeline gets from the rooms beside.
pub(crate) struct Handles {
    /// The router's own entries in audit trails. To be closed when pipeline and rooms have ended.
    pub(crate) trail: Arc<Trail>,
    /// To tell the schedule which partitions are here and what is settled.
    pub(crate) schedule: ScheduleHandle,
    /// What is due. Dropping it ends the schedule.
    pub(crate) due: mpsc::Receiver<DueNow>,
}

impl Beside {
    /// Makes the rooms. Neither Kafka nor the store need be there yet.
    pub(crate) fn new(
        config: &RouterConfig,
        deps: &RouterDeps,
        producer: &Producer,
        holds: &Arc<Holds>,
    ) -> Result<(Self, Handles), RouterError> {
        let RouterDeps {
            bus, metrics, tasks, ..
        } = deps;
        let clock = deps.clock.clone();
        let trail = Arc::new(Trail::start(bus, producer, &config.node, clock, metrics, tasks));
        let unreadable = Arc::new(Unreadable::new(metrics));
        let (sender, due) = mpsc::channel(config.beside.due_batch);
        let handle = ScheduleHandle::default();
        let beside = Self {
            bus: bus.clone(),
            group: config.group.clone(),
            drain: config.drain,
            config: config.beside,
            metrics: metrics.clone(),
            tasks: tasks.clone(),
            receipts: Receipts {
                store: Arc::clone(&deps.store),
                holds: Arc::clone(holds),
                unreadable: Arc::clone(&unreadable),
                meters: receipts::Meters::new(metrics),
            },
            audit: Audit {
                store: Arc::clone(&deps.store),
                holds: Arc::clone(holds),
                unreadable: Arc::clone(&unreadable),
                meters: audit::Meters::new(metrics),
            },
            commands: Commands {
                jobs: jobs(config, deps, producer, holds, &trail)?,
                unreadable,
                meters: commands::Meters::new(metrics),
                config: config.beside,
            },
            schedule: Schedule {
                store: Arc::clone(&deps.store),
                holds: Arc::clone(holds),
                handle: handle.clone(),
                due: sender,
                clock: deps.clock.clone(),
                config: config.beside,
                meters: schedule::Meters::new(metrics),
            },
        };
        let handles = Handles {
            trail,
            schedule: handle,
            due,
        };
        Ok((beside, handles))
    }

    /// Runs until the shutdown, on a task of its own that ends with this call, however it ends.
    pub(crate) async fn run(self, shutdown: &CancellationToken) -> Result<(), RouterError> {
        let given_up = CancellationToken::new();
        let _given_up = given_up.clone().drop_guard();
        let (tell, told) = oneshot::channel();
        let shutdown = shutdown.clone();
        let tasks = self.tasks.clone();
        tasks.spawn("router, beside the pipeline", async move {
            tokio::select! {
                () = given_up.cancelled() => {}
                ended = self.rooms(&shutdown) => drop(tell.send(ended)),
            }
        });
        told.await.unwrap_or(Err(RouterError::ConsumerEnded))
    }

    async fn rooms(&self, shutdown: &CancellationToken) -> Result<(), RouterError> {
        let schedule = async {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = self.schedule.run() => {}
            }
            Ok(())
        };
        tokio::try_join!(
            self.note_receipts(shutdown),
            self.keep_audit(shutdown),
            self.carry_out_commands(shutdown),
            schedule,
        )?;
        Ok(())
    }

    async fn note_receipts(&self, shutdown: &CancellationToken) -> Result<(), RouterError> {
        let mut reader = self.reader("receipts", &self.bus.topics.receipts)?;
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = self.receipts.run(&mut reader) => ended,
        };
        ended.and(reader.close(self.drain).await)
    }

    async fn keep_audit(&self, shutdown: &CancellationToken) -> Result<(), RouterError> {
        let mut reader = self.reader("audit", &self.bus.topics.audit)?;
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = self.audit.run(&mut reader) => ended,
        };
        ended.and(reader.close(self.drain).await)
    }

    async fn carry_out_commands(&self, shutdown: &CancellationToken) -> Result<(), RouterError> {
        let options = ConsumerOptions {
            in_flight_per_partition: self.config.commands_in_flight,
            ..reader::options(&self.config)
        };
        let topics = std::slice::from_ref(&self.bus.topics.commands);
        let group = format!("{}-commands", self.group);
        let (consumer, mut events) =
            GroupConsumer::start(&self.bus, &group, topics, options, &self.metrics, &self.tasks)?;
        let ended = self.commands.run(&consumer, &mut events, shutdown).await;
        drop(events);
        ended.and(consumer.close(self.drain).await.map_err(RouterError::from))
    }

    fn reader(&self, name: &str, topic: &str) -> Result<Reader, RouterError> {
        let group = format!("{}-{name}", self.group);
        Reader::join(&self.bus, &group, topic, &self.config, &self.metrics, &self.tasks)
    }
}

fn jobs(
    config: &RouterConfig,
    deps: &RouterDeps,
    producer: &Producer,
    holds: &Arc<Holds>,
    trail: &Arc<Trail>,
) -> Result<Jobs, RouterError> {
    let RouterDeps {
        bus, metrics, tasks, ..
    } = deps;
    let held = Arc::clone(holds);
    Ok(Jobs {
        store: Arc::clone(&deps.store),
        producer: producer.clone(),
        letters: RangeReader::new(bus, &bus.topics.dead_letters, READERS, metrics, tasks)?,
        redrive: bus.topics.redrive.as_str().into(),
        shards: Shards {
            topic: bus.topics.deliveries.as_str().into(),
            count: config.shards,
        },
        generation: config.generation,
        holds: Arc::clone(holds),
        trail: Arc::clone(trail),
        clock: deps.clock.clone(),
        breaker_open: Box::new(move |class| {
            let needs = needs(class);
            needs.iter().any(|dependency| held.holds_for(*dependency))
        }),
    })
}

/// What must be well before letters of this class or code go back in.
fn needs(class: Option<&str>) -> &'static [Dependency] {
    match class {
        Some("store_refused" | "store_timeout") => &[Dependency::Store],
        Some("too_large") => &[Dependency::Kafka],
        _ => &Dependency::ALL,
    }
}
