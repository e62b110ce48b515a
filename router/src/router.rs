//! The router as a role: made from its configuration and what it is given, run until its shutdown.
//!
//! In: configuration, the bus, the store. Out: a running pipeline, and a clean end.
//! Always: after the shutdown nothing new is begun; what is not finished at the deadline was not committed.

use std::{sync::Arc, time::Duration};

use carillon_bus::{
    Admin, BusConfig, ConsumerOptions, Event, Follower, GroupConsumer, Producer, RangeReader,
};
use carillon_chassis::{
    clock::Clock,
    metrics::Metrics,
    readiness::{Condition, Readiness},
    tasks::Tasks,
};
use carillon_store::NotificationStore;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    RouterConfig, RouterError,
    beside::{Beside, Handles},
    dead_letters::DeadLetters,
    dispatch::{Dispatch, Shards},
    fair::{Bounds, Fair},
    gate::Gate,
    hold::{Dependency, Holds, Waits},
    intake::Intake,
    ladder::Ladder,
    listen::{Listen, Rim},
    metrics::{Held, Meters, Queues},
    moves::Moves,
    overflow::{Overflow, Taker, Writer},
    persist::Persist,
    pipeline::Pipeline,
    probe::Probe,
    questions::{OnTheWay, Questions},
    schedule::ScheduleHandle,
    settle::{Rows, Settle},
    sources::{Inlets, Sources},
    trail::Trail,
};

/// How long the pipeline's producer tries by itself: a day. What it gives up could only be sent again behind what it
/// did not give up, out of order; so it gives nothing up for as long as an outage may last.
const PATIENT: Duration = Duration::from_hours(24);

/// Most records of the overflow in one batch.
const OVERFLOW_BATCH: usize = 128;

/// How long a broker may hold a fetch of notifications or of the ladder that finds nothing. A partition that is resumed
/// waits for the fetch that is under way, so this is the price of each pause: with 100 ms, one that is paused every 1,000
/// records gives no more than 10,000 a second.
const FETCH_WAIT: Duration = Duration::from_millis(20);

/// What a group hands over.
type Events = mpsc::Receiver<Event>;

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
    /// Of the rooms beside the pipeline, which give a record up in time.
    producer: Producer,
    /// Of the pipeline.
    patient: Producer,
    meters: Meters,
    queues: Queues,
    ladder: Arc<Ladder>,
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
        let no_tier = RouterError::Config("the ladder has no tier");
        let ladder = Arc::new(Ladder::new(&deps.bus.topics.retry).ok_or(no_tier)?);
        let producer = Producer::new(&deps.bus, &deps.metrics, &deps.tasks)?;
        let patient = BusConfig {
            message_timeout: PATIENT,
            ..deps.bus.clone()
        };
        let patient = Producer::new(&patient, &deps.metrics, &deps.tasks)?;
        let meters = Meters::new(&deps.metrics);
        meters.tiers(ladder.rungs());
        Ok(Self {
            producer,
            patient,
            meters,
            queues: Queues::new(&deps.metrics),
            ladder,
            conditions: Dependency::ALL.map(|each| deps.readiness.condition(each.as_str())),
            consuming: deps.readiness.condition("consumer"),
            config,
            deps,
        })
    }

    /// Runs until the shutdown, then ends what was begun, commits and leaves the groups.
    ///
    /// # Errors
    /// [`RouterError::Bus`] when a group cannot be joined or left, [`RouterError::ConsumerEnded`],
    /// [`RouterError::StillInFlight`] when the drain took too long.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RouterError> {
        // All rooms are in this one future: its callers should not have to carry it.
        Box::pin(self.run_rooms(shutdown)).await
    }

    async fn run_rooms(self, shutdown: CancellationToken) -> Result<(), RouterError> {
        let _stopped = Stopped(self.consuming.clone());
        let (sources, [main, redrive, ladder, overflow]) = self.sources()?;
        let holds = Arc::new(self.holds(&sources));
        let (beside, handles) = Beside::new(&self.config, &self.deps, &self.producer, &holds)?;
        let Handles { trail, schedule, due } = handles;
        let inlets = Inlets {
            main,
            redrive,
            ladder,
            overflow,
            due,
        };
        let pipeline = self.pipeline(&sources, &holds, &trail, schedule)?;
        let probe = self.probe(&holds);
        let both = async {
            let intake = self.intake(&sources);
            tokio::try_join!(pipeline.run(intake, inlets, &shutdown), beside.run(&shutdown))
        };
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
        trail.close().await;
        let closed = match Arc::into_inner(sources) {
            Some(sources) => sources.close(self.config.drain).await,
            None => Ok(()),
        };
        info!("router stopped");
        ended.and(closed.map_err(RouterError::from))
    }

    fn sources(&self) -> Result<(Arc<Sources>, [Events; 4]), RouterError> {
        let deps = &self.deps;
        let brisk = BusConfig {
            fetch_wait: deps.bus.fetch_wait.min(FETCH_WAIT),
            ..deps.bus.clone()
        };
        let join = |bus: &BusConfig, group: &str, topics: &[String], options| {
            GroupConsumer::start(bus, group, topics, options, &deps.metrics, &deps.tasks)
        };
        let topics = &deps.bus.topics;
        let of_main = [topics.notifications.clone()];
        let of_redrive = [topics.redrive.clone()];
        let of_ladder: Vec<_> = topics.retry.iter().map(|tier| tier.name.clone()).collect();
        let (main, main_events) = join(&brisk, &self.config.group, &of_main, self.consumer_options())?;
        let group = format!("{}-redrive", self.config.group);
        let (redrive, redrive_events) = join(&deps.bus, &group, &of_redrive, self.consumer_options())?;
        let group = format!("{}-ladder", self.config.group);
        let (ladder, ladder_events) = join(&brisk, &group, &of_ladder, self.ladder_options())?;
        let group = format!("{}-overflow", self.config.group);
        let (follower, overflow_events) = Follower::start(
            &deps.bus,
            &group,
            &topics.overflow,
            self.follower_options(),
            &deps.metrics,
            &deps.tasks,
        )?;
        let sources = Sources {
            main,
            redrive,
            ladder,
            follower,
            drained: Notify::new(),
        };
        Ok((
            Arc::new(sources),
            [main_events, redrive_events, ladder_events, overflow_events],
        ))
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

    /// What is in flight of the overflow is what its tenants' lanes take.
    fn follower_options(&self) -> ConsumerOptions {
        let batching = &self.config.batching;
        ConsumerOptions {
            queue: batching.in_flight_per_partition,
            batch: batching.records.min(OVERFLOW_BATCH),
            in_flight_per_partition: batching.in_flight_per_partition.div_ceil(2),
            ..ConsumerOptions::default()
        }
    }

    /// The head of each partition is held in memory until it is due, and the partition is paused then.
    fn ladder_options(&self) -> ConsumerOptions {
        let bounds = &self.config.ladder;
        ConsumerOptions {
            queue: bounds.in_flight_per_partition * 4,
            batch: bounds.in_flight_per_partition.div_ceil(4),
            in_flight_per_partition: bounds.in_flight_per_partition,
            fetch_ahead_kib: bounds.fetch_ahead_kib,
            ..ConsumerOptions::default()
        }
    }

    fn holds(&self, sources: &Arc<Sources>) -> Holds {
        let sources = Arc::downgrade(sources);
        let waits = Waits {
            first: self.config.backoff_first,
            cap: self.config.backoff_cap,
            opens_at: self.config.breaker_opens_at,
        };
        let metrics = Held::new(&self.deps.metrics);
        Holds::new(self.conditions.clone(), waits, metrics, move |pause| {
            if let Some(sources) = sources.upgrade() {
                sources.pause(pause);
            }
        })
    }

    fn intake(&self, sources: &Arc<Sources>) -> Rim {
        let topics = &self.deps.bus.topics;
        let bounds = Bounds::default();
        let overflow = Overflow::new(
            Arc::clone(sources),
            &topics.notifications,
            &topics.overflow,
            bounds,
        );
        let lanes = Fair::new(bounds, self.config.weights.clone());
        let intake = Intake::new(
            Arc::clone(&self.config.node),
            Arc::clone(&self.ladder),
            topics.notifications.as_str().into(),
            lanes,
            overflow,
        );
        #[cfg(feature = "seeded-bugs")]
        let intake = intake.with_bug(self.config.seeded_bug);
        intake
    }

    fn pipeline(
        &self,
        sources: &Arc<Sources>,
        holds: &Arc<Holds>,
        trail: &Arc<Trail>,
        schedule: ScheduleHandle,
    ) -> Result<Pipeline, RouterError> {
        let on_the_way = Arc::new(OnTheWay::default());
        let moves = Arc::new(Moves {
            producer: self.patient.clone(),
            holds: Arc::clone(holds),
            meters: self.meters.clone(),
            #[cfg(feature = "seeded-bugs")]
            bug: self.config.seeded_bug,
        });
        Ok(Pipeline {
            #[cfg(feature = "seeded-bugs")]
            bug: self.config.seeded_bug,
            batching: self.config.batching,
            clock: self.deps.clock.clone(),
            listen: Listen {
                batching: self.config.batching,
                clock: self.deps.clock.clone(),
                consuming: self.consuming.clone(),
                notifications: self.deps.bus.topics.notifications.as_str().into(),
                meters: self.meters.clone(),
                queues: self.queues.clone(),
                sources: Arc::clone(sources),
                schedule: schedule.clone(),
            },
            questions: Questions {
                store: Arc::clone(&self.deps.store),
                on_the_way: Arc::clone(&on_the_way),
                holds: Arc::clone(holds),
                meters: self.meters.clone(),
                clock: self.deps.clock.clone(),
            },
            persist: Persist {
                store: Arc::clone(&self.deps.store),
                holds: Arc::clone(holds),
                meters: self.meters.clone(),
                clock: self.deps.clock.clone(),
                taken: Mutex::default(),
            },
            gate: Gate {
                limits: self.config.channel_limits.clone(),
                ladder: Arc::clone(&self.ladder),
            },
            overflow: Writer {
                moves: Arc::clone(&moves),
                sources: Arc::clone(sources),
                topic: self.deps.bus.topics.overflow.as_str().into(),
                meters: self.meters.clone(),
            },
            taker: self.taker(holds)?,
            dispatch: self.dispatch(holds),
            settle: self.settle(sources, on_the_way, moves, (trail, schedule)),
        })
    }

    fn taker(&self, holds: &Arc<Holds>) -> Result<Taker, RouterError> {
        let RouterDeps {
            bus, metrics, tasks, ..
        } = &self.deps;
        Ok(Taker {
            admin: Admin::new(bus, metrics)?,
            reader: RangeReader::new(bus, &bus.topics.overflow, 1, metrics, tasks)?,
            group: self.config.group.clone(),
            notifications: bus.topics.notifications.clone(),
            overflow: bus.topics.overflow.clone(),
            holds: Arc::clone(holds),
        })
    }

    fn dispatch(&self, holds: &Arc<Holds>) -> Dispatch {
        Dispatch {
            producer: self.patient.clone(),
            shards: Shards {
                topic: self.deps.bus.topics.deliveries.as_str().into(),
                count: self.config.shards,
            },
            ladder: Arc::clone(&self.ladder),
            window: self.config.batching.window,
            holds: Arc::clone(holds),
            meters: self.meters.clone(),
            clock: self.deps.clock.clone(),
        }
    }

    fn settle(
        &self,
        sources: &Arc<Sources>,
        on_the_way: Arc<OnTheWay>,
        moves: Arc<Moves>,
        (trail, schedule): (&Arc<Trail>, ScheduleHandle),
    ) -> Settle {
        let topics = &self.deps.bus.topics;
        let holds = Arc::clone(&moves.holds);
        Settle {
            store: Arc::clone(&self.deps.store),
            sources: Arc::clone(sources),
            ladder: Arc::clone(&self.ladder),
            dead_letters: DeadLetters {
                moves: Arc::clone(&moves),
                topic: topics.dead_letters.as_str().into(),
                node: Arc::clone(&self.config.node),
                trail: Arc::clone(trail),
                meters: self.meters.clone(),
            },
            schedule,
            moves,
            rows: Rows {
                generation: self.config.generation,
                node: Arc::clone(&self.config.node),
                notifications: topics.notifications.as_str().into(),
                overflow: topics.overflow.as_str().into(),
            },
            on_the_way,
            holds,
            meters: self.meters.clone(),
            clock: self.deps.clock.clone(),
        }
    }

    fn probe(&self, holds: &Arc<Holds>) -> Probe {
        Probe {
            store: Arc::clone(&self.deps.store),
            producer: self.patient.clone(),
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
