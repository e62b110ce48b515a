//! The member of a consumer group.
//!
//! In: topics. Out: the partitions that the group gives this member. Always: it rebalances cooperatively:
//! partitions that stay are read on.

use std::{ops::Deref, time::Duration};

use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use rdkafka::{config::FromClientConfigAndContext, consumer::Consumer};
use tokio::sync::mpsc;

use crate::{
    BusConfig, BusError, ConsumerOptions,
    client::{Watch, millis, reader_settings},
    consumer::{
        Event, Handle,
        callbacks::{Callbacks, Joined},
        reader::Source,
    },
    lag::LagOf,
};

/// librdkafka gives a member up that is not polled for so long.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(60);

/// A member of a consumer group. Dropping it leaves the group in the background; [`GroupConsumer::close`]
/// waits for that.
#[derive(Debug)]
pub struct GroupConsumer(Handle);

impl GroupConsumer {
    /// Joins a group. `topics` are names, or regular expressions that begin with `^`. The receiver ends
    /// when the member does.
    pub fn start(
        config: &BusConfig,
        group: &str,
        topics: &[String],
        options: ConsumerOptions,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<(Self, mpsc::Receiver<Event>), BusError> {
        let watch = Watch::new(config, metrics, "group", LagOf::Committed, topics.to_vec());
        let start = |callbacks| join(config, group, topics, &options, callbacks);
        let (handle, receiver) = Handle::start("bus-group", watch, &options, Source::Group, tasks, start)?;
        Ok((Self(handle), receiver))
    }

    /// Commits the low-water marks and leaves the group. Drop or drain the receiver beside it: what is in
    /// the queue is not waited for.
    pub async fn close(self, deadline: Duration) -> Result<(), BusError> {
        self.0.close(deadline).await
    }
}

impl Deref for GroupConsumer {
    type Target = Handle;
    fn deref(&self) -> &Handle {
        &self.0
    }
}

/// Becomes a member of a group.
fn join(
    config: &BusConfig,
    group: &str,
    topics: &[String],
    options: &ConsumerOptions,
    callbacks: Callbacks,
) -> Result<Joined, BusError> {
    let mut settings = reader_settings(config, group, options.fetch_ahead_kib, options.start)?;
    // A member hears of a rebalance with its next heartbeat, twice per rebalance: that is how long a partition
    // that moves stands still. Half a second with the default session timeout.
    let heartbeat = (config.session_timeout / 20).min(Duration::from_secs(1));
    settings
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", millis(config.session_timeout))
        .set("heartbeat.interval.ms", millis(heartbeat))
        .set(
            "max.poll.interval.ms",
            millis(MAX_POLL_INTERVAL.max(config.session_timeout)),
        );
    let consumer = Joined::from_config_and_context(&settings, callbacks).map_err(|e| BusError::sort(&e))?;
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|e| BusError::sort(&e))?;
    Ok(consumer)
}
