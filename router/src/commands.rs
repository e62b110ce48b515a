//! Commands: what is to be done beside the stream of notifications.
//!
//! In: records of the commands topic. Out: cancels, and jobs carried out; then finished offsets. Always: a
//! command is finished when it is through, so that a crash reads it again and its job's row says where to go on;
//! one job of a tenant runs at a time, in order; a cancel waits behind no job.

mod cancel;
mod meters;
mod queue;

use std::{collections::HashMap, pin::Pin, sync::Arc};

use carillon_bus::{Event, GroupConsumer, Record, TopicPartition};
use carillon_schemas::{
    TenantId,
    command::{Command, Order},
};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::{
    RouterError,
    beside::{
        BesideConfig,
        value::{Unreadable, value},
    },
    jobs::{Ended, Jobs},
};
pub(crate) use meters::Meters;
use queue::Queue;

/// The room.
pub(crate) struct Commands {
    pub(crate) jobs: Jobs,
    pub(crate) unreadable: Arc<Unreadable>,
    pub(crate) meters: Meters,
    pub(crate) config: BesideConfig,
}

/// Where a command stands on its topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    partition: TopicPartition,
    offset: i64,
}

/// A command that was read.
struct Taken {
    place: Place,
    command: Command,
}

/// A command that was carried out, or stopped.
struct Through {
    place: Place,
    /// With a job: whose.
    job_of: Option<TenantId>,
    ended: Ended,
}

type Doing<'a> = Pin<Box<dyn Future<Output = Through> + Send + 'a>>;

/// What the room has in hand.
struct Hand<'a> {
    consumer: &'a GroupConsumer,
    doing: FuturesUnordered<Doing<'a>>,
    cancels: usize,
    queue: Queue<Taken>,
    running: HashMap<TenantId, (Place, CancellationToken)>,
}

impl Commands {
    /// Until the shutdown, and then until the jobs that run have come to a stop. May be dropped at any time.
    pub(crate) async fn run(
        &self,
        consumer: &GroupConsumer,
        events: &mut tokio::sync::mpsc::Receiver<Event>,
        shutdown: &CancellationToken,
    ) -> Result<(), RouterError> {
        let mut hand = Hand {
            consumer,
            doing: FuturesUnordered::new(),
            cancels: 0,
            queue: Queue::new(self.config.jobs, self.config.jobs_waiting),
            running: HashMap::new(),
        };
        let ended = loop {
            self.begin(&mut hand);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(through) = hand.doing.next() => hand.through(&through),
                event = events.recv(), if hand.cancels < self.config.cancels => match event {
                    Some(event) => self.hear(event, &mut hand),
                    None => break Err(RouterError::ConsumerEnded),
                },
            }
            self.meters.running(hand.running.len());
        };
        // A cancel that waits is read again.
        hand.stop_jobs(|_| true);
        while !hand.running.is_empty()
            && let Some(through) = hand.doing.next().await
        {
            hand.through(&through);
        }
        self.meters.running(0);
        ended
    }

    fn hear<'a>(&'a self, event: Event, hand: &mut Hand<'a>) {
        match event {
            Event::Records(batch) => {
                for record in batch.records {
                    self.take(&record, hand);
                }
            }
            Event::Assigned(_) => {}
            Event::Revoked(gone) => {
                hand.stop_jobs(|place| gone.contains(&place.partition));
                for taken in hand.queue.take_if(|taken| gone.contains(&taken.place.partition)) {
                    hand.let_go(&taken.place);
                }
            }
        }
    }

    fn take<'a>(&'a self, record: &Record, hand: &mut Hand<'a>) {
        let place = Place {
            partition: TopicPartition {
                topic: Arc::clone(&record.topic),
                partition: record.partition,
            },
            offset: record.offset,
        };
        let command: Command = match value(record) {
            Ok(command) => command,
            Err(reason) => {
                self.unreadable.tell("commands", record, &reason);
                return hand.finish(&place);
            }
        };
        if let Order::Cancel { notification_id } = command.order {
            hand.cancels += 1;
            return hand.doing.push(Box::pin(async move {
                self.cancel(&command, notification_id).await;
                Through {
                    place,
                    job_of: None,
                    ended: Ended::Through,
                }
            }));
        }
        let tenant = command.tenant_id.clone();
        if let Err(refused) = hand.queue.offer(&tenant, Taken { place, command }) {
            hand.cancels += 1;
            hand.doing.push(Box::pin(async move {
                let reason = "too many jobs of the tenant are waiting: order it again later";
                self.jobs.refuse(&refused.command, reason).await;
                self.meters.done(refused.command.order.name(), "refused");
                Through {
                    place: refused.place,
                    job_of: None,
                    ended: Ended::Through,
                }
            }));
        }
    }

    /// Begins the jobs whose turn it is.
    fn begin<'a>(&'a self, hand: &mut Hand<'a>) {
        while let Some((tenant, taken)) = hand.queue.begin() {
            let stop = CancellationToken::new();
            hand.running
                .insert(tenant.clone(), (taken.place.clone(), stop.clone()));
            hand.doing.push(Box::pin(async move {
                let ended = self.jobs.run(&taken.command, &stop).await;
                self.meters.done(taken.command.order.name(), ended.as_str());
                Through {
                    place: taken.place,
                    job_of: Some(tenant),
                    ended,
                }
            }));
        }
    }
}

impl Hand<'_> {
    fn through(&mut self, through: &Through) {
        match through.ended {
            Ended::Through => self.finish(&through.place),
            Ended::Stopped => self.let_go(&through.place),
        }
        match &through.job_of {
            Some(tenant) => {
                self.running.remove(tenant);
                self.queue.ended(tenant);
            }
            None => self.cancels -= 1,
        }
    }

    fn stop_jobs(&self, goes: impl Fn(&Place) -> bool) {
        for (_, stop) in self.running.values().filter(|(place, _)| goes(place)) {
            stop.cancel();
        }
    }

    fn finish(&self, place: &Place) {
        let Place { partition, offset } = place;
        self.consumer
            .finish(&partition.topic, partition.partition, *offset);
    }

    fn let_go(&self, place: &Place) {
        let Place { partition, offset } = place;
        self.consumer
            .let_go(&partition.topic, partition.partition, *offset);
    }
}

/// The name of an order, for metrics.
trait Name {
    fn name(&self) -> &'static str;
}

impl Name for Order {
    fn name(&self) -> &'static str {
        match self {
            Self::Cancel { .. } => "cancel",
            Self::Redrive(_) => "redrive",
            Self::Discard(_) => "discard",
            Self::Replay(_) => "replay",
        }
    }
}
