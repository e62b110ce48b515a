//! The router as a role: made from its configuration and what it is given, run until its shutdown.
//!
//! In: configuration, the bus, the store. Out: a running pipeline, and a clean end.
//! Always: after the shutdown nothing new is begun; what is not finished at the deadline was not committed.

use std::{sync::Arc, time::Duration};

use carillon_bus::{BusConfig, ConsumerOptions, GroupConsumer, Producer};
use carillon_chassis::{
    clock::Clock,
    metrics::Metrics,
    readiness::{Condition, Readiness},
    tasks::Tasks,
};
use carillon_store::NotificationStore;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    RouterConfig, RouterError,
    beside::Beside,
    dead_letters::DeadLetters,
    dispatch::{Dispatch, Shards},
    hold::{Dependency, Holds},
    metrics::{Held, Meters},
    persist::Persist,
    pipeline::Pipeline,
    probe::Probe,
    republished::{OnTheWay, Republished},
    settle::Settle,
};

/// What a router stands on.
pub struct RouterDeps {
    /// How to reach Kafka, and the names of the topics.
    pub bus: BusConfig,
    /// Where its metrics are registered.
    pub metrics: Metrics,
    /// Where its conditions `store`, `kafka` and `consumer` are registered.
    pub readiness: Readiness,
    /// The time of day.
    pub clock: Clock,
    /// What it writes to.
    pub store: Arc<dyn NotificationStore>,
    /// Where Kafka's clients run what runs beside.
    pub tasks: Tasks,
}

/// A router that is ready to run.
pub struct Router {
    config: RouterConfig,
    deps: RouterDeps,
    producer: Producer,
    meters: Meters,
    conditions: [Condition; 2],
    consuming: Condition,
}

impl Router {
    /// Makes a router. Neither Kafka nor the store need be there yet.
    ///
    /// # Errors
    /// [`RouterError::Config`] for a bound of zero, [`RouterError::Bus`] when no producer can be made.
    pub fn new(config: RouterConfig, deps: RouterDeps) -> Result<Self, RouterError> {
        config.check()?;
        let producer = Producer::new(&deps.bus, &deps.metrics, &deps.tasks)?;
        Ok(Self {
            producer,
            meters: Meters::new(&deps.metrics),
            conditions: Dependency::ALL.map(|each| deps.readiness.condition(each.as_str())),
            consuming: deps.readiness.condition("consumer"),
            config,
            deps,
        })
    }

    /// Runs until the shutdown, then ends what was begun, commits and leaves the group.
    ///
    /// # Errors
    /// [`RouterError::Bus`] when the group cannot be joined or left, [`RouterError::ConsumerEnded`],
    /// [`RouterError::StillInFlight`] when the drain took too long.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RouterError> {
        let _stopped = Stopped(self.consuming.clone());
        let (consumer, events) = GroupConsumer::start(
            &self.deps.bus,
            &self.config.group,
            std::slice::from_ref(&self.deps.bus.topics.notifications),
            self.consumer_options(),
            &self.deps.metrics,
            &self.deps.tasks,
        )?;
        let consumer = Arc::new(consumer);
        let holds = Arc::new(self.holds(&consumer));
        let pipeline = self.pipeline(&consumer, &holds);
        let probe = self.probe(&holds);
        let (beside, handles) = Beside::new(&self.config, &self.deps, &self.producer, &holds)?;
        let both = async { tokio::try_join!(pipeline.run(events, &shutdown), beside.run(&shutdown)) };
        info!(
            group = self.config.group,
            node = &*self.config.node,
            "router started"
        );
        let ended = tokio::select! {
            ended = both => ended.map(|_| ()),
            () = probe.run() => Ok(()),
            () = deadline(&shutdown, self.config.drain) => {
                let left = usize::try_from(self.meters.in_flight.get()).unwrap_or_default();
                Err(RouterError::StillInFlight(left))
            }
        };
        drop(pipeline);
        handles.trail.close().await;
        let closed = match Arc::into_inner(consumer) {
            Some(consumer) => consumer.close(self.config.drain).await,
            None => Ok(()),
        };
        info!("router stopped");
        ended.and(closed.map_err(RouterError::from))
    }

    fn consumer_options(&self) -> ConsumerOptions {
        let batching = &self.config.batching;
        ConsumerOptions {
            queue: batching.ahead,
            batch: batching.records,
            in_flight_per_partition: batching.in_flight_per_partition,
            ..ConsumerOptions::default()
        }
    }

    fn holds(&self, consumer: &Arc<GroupConsumer>) -> Holds {
        let consumer = Arc::downgrade(consumer);
        let waits = (self.config.backoff_first, self.config.backoff_cap);
        let metrics = Held::new(&self.deps.metrics);
        Holds::new(
            self.conditions.clone(),
            waits,
            metrics,
            move |pause| match consumer.upgrade() {
                Some(consumer) if pause => consumer.pause(),
                Some(consumer) => consumer.resume(),
                None => {}
            },
        )
    }

    fn pipeline(&self, consumer: &Arc<GroupConsumer>, holds: &Arc<Holds>) -> Pipeline {
        let topics = &self.deps.bus.topics;
        let on_the_way = Arc::new(OnTheWay::default());
        Pipeline {
            batching: self.config.batching,
            node: Arc::clone(&self.config.node),
            clock: self.deps.clock.clone(),
            consuming: self.consuming.clone(),
            meters: self.meters.clone(),
            republished: Republished {
                store: Arc::clone(&self.deps.store),
                on_the_way: Arc::clone(&on_the_way),
                holds: Arc::clone(holds),
                meters: self.meters.clone(),
            },
            persist: Persist {
                store: Arc::clone(&self.deps.store),
                holds: Arc::clone(holds),
                meters: self.meters.clone(),
            },
            dispatch: Dispatch {
                producer: self.producer.clone(),
                shards: Shards {
                    topic: topics.deliveries.as_str().into(),
                    count: self.config.shards,
                },
                window: self.config.batching.window,
                holds: Arc::clone(holds),
                meters: self.meters.clone(),
            },
            settle: Settle {
                store: Arc::clone(&self.deps.store),
                consumer: Arc::clone(consumer),
                dead_letters: DeadLetters {
                    producer: self.producer.clone(),
                    topic: topics.dead_letters.as_str().into(),
                    holds: Arc::clone(holds),
                    meters: self.meters.clone(),
                },
                on_the_way,
                holds: Arc::clone(holds),
                meters: self.meters.clone(),
                clock: self.deps.clock.clone(),
                generation: self.config.generation,
            },
        }
    }

    fn probe(&self, holds: &Arc<Holds>) -> Probe {
        Probe {
            store: Arc::clone(&self.deps.store),
            producer: self.producer.clone(),
            holds: Arc::clone(holds),
            every: self.config.probe_every,
        }
    }
}

async fn deadline(shutdown: &CancellationToken, drain: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(drain).await;
}

/// However the router ends, a panic included, it is not ready afterwards.
struct Stopped(Condition);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.unmet("stopped");
    }
}
