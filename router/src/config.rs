//! Configuration of the router: every bound and every wait.
//!
//! In: figures from the command line. Out: the same, documented. Always: a default is good for one machine.

use std::{collections::HashMap, sync::Arc, time::Duration};

use carillon_schemas::TenantId;

use crate::{BesideConfig, ChannelLimits, RouterError};

/// How the router behaves.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Name of the consumer group; every router of a deployment has the same.
    pub group: String,
    /// Stable name of this process, for time lines.
    pub node: Arc<str>,
    /// Partitions of the deliveries topic.
    pub shards: u16,
    /// Generation of the deliveries topic; cursors carry it.
    pub generation: u16,
    /// Bounds of what is handled at once.
    pub batching: Batching,
    /// Bounds of what runs beside the pipeline.
    pub beside: BesideConfig,
    /// First bound of the wait between attempts when the store or Kafka is in trouble.
    pub backoff_first: Duration,
    /// Greatest bound of that wait.
    pub backoff_cap: Duration,
    /// So many failures in a row, of all that was asked of the store or of Kafka, open its breaker: then one probes
    /// and the others wait.
    pub breaker_opens_at: u32,
    /// Shares of tenants; 1 for those that are not named.
    pub weights: HashMap<TenantId, u32>,
    /// Most bytes of an envelope, by tenant and channel.
    pub channel_limits: ChannelLimits,
    /// How much of the ladder is held in memory.
    pub ladder: LadderBounds,
    /// How long work in flight may take to end after the shutdown began.
    pub drain: Duration,
    /// A promise that is broken on purpose.
    #[cfg(feature = "seeded-bugs")]
    pub seeded_bug: Option<crate::seeded::SeededBug>,
    /// How often the store and Kafka are asked whether they are there, for readiness.
    pub probe_every: Duration,
}

/// How much of the ladder is held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LadderBounds {
    /// Records of one partition of one tier that may wait in memory or be on their way.
    pub in_flight_per_partition: usize,
    /// Bytes fetched ahead of all partitions together, in KiB. Pausing throws them away.
    pub fetch_ahead_kib: u32,
}

impl Default for LadderBounds {
    fn default() -> Self {
        Self {
            // A pause and its end take some ten milliseconds, so this is also a bound on the pace: with 256, a partition
            // gave 1,800 records a second (benches/ladder.rs).
            in_flight_per_partition: 1_024,
            fetch_ahead_kib: 1024,
        }
    }
}

/// Bounds of what is handled at once. Batches grow by themselves under load; nothing waits for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Most records in a batch.
    pub records: usize,
    /// Most bytes of keys and values in a batch; one record may be larger.
    pub bytes: usize,
    /// Records that the consumer may hand over ahead of the router; when they wait, it stops fetching.
    pub ahead: usize,
    /// Records of one partition that may be unfinished: the bound on repeats after a crash.
    pub in_flight_per_partition: usize,
    /// Records on their way behind the queues of the tenants, all batches together: how much work of others a
    /// record finds before it.
    pub on_the_way: usize,
    /// Records on their way to the overflow; when they are, more wait in memory, and in the end the consumer.
    pub spilled: usize,
    /// Batches persisted and waiting for their dispatch; when they wait, nothing more is persisted.
    pub persisted: usize,
    /// Batches sent and waiting for Kafka's acknowledgement; when they wait, nothing more is sent.
    pub window: usize,
    /// Batches acknowledged and waiting to be settled; when they wait, no acknowledgement is looked at.
    pub acknowledged: usize,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            records: 256,
            bytes: 1024 * 1024,
            ahead: 8_192,
            in_flight_per_partition: 2_000,
            on_the_way: 768,
            spilled: 1_024,
            persisted: 2,
            window: 8,
            acknowledged: 32,
        }
    }
}

impl RouterConfig {
    /// Defaults for a group and a process name.
    pub fn new(group: impl Into<String>, node: impl Into<Arc<str>>) -> Self {
        Self {
            group: group.into(),
            node: node.into(),
            shards: carillon_schemas::topics::Layout::SINGLE.shards,
            generation: 1,
            batching: Batching::default(),
            beside: BesideConfig::default(),
            backoff_first: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(30),
            breaker_opens_at: 3,
            weights: HashMap::new(),
            channel_limits: ChannelLimits::new(),
            ladder: LadderBounds::default(),
            drain: Duration::from_secs(10),
            #[cfg(feature = "seeded-bugs")]
            seeded_bug: None,
            probe_every: Duration::from_secs(1),
        }
    }

    /// Every bound is at least one.
    pub(crate) fn check(&self) -> Result<(), RouterError> {
        let b = &self.batching;
        let bounds = [
            b.records,
            b.bytes,
            b.ahead,
            b.in_flight_per_partition,
            b.on_the_way,
            b.spilled,
            b.persisted,
            self.ladder.in_flight_per_partition,
            b.window,
            b.acknowledged,
        ];
        if bounds.contains(&0) {
            return Err(RouterError::Config("a bound of the batching is zero"));
        }
        if !self.beside.is_sound() {
            return Err(RouterError::Config("a bound beside the pipeline is zero"));
        }
        if self.shards == 0 {
            return Err(RouterError::Config("the deliveries topic has no shard"));
        }
        if self.group.is_empty() {
            return Err(RouterError::Config("the group has no name"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_zero_is_refused() {
        let good = RouterConfig::new("g", "n");
        assert!(good.check().is_ok());
        let mut none = good.clone();
        none.batching.window = 0;
        assert!(none.check().is_err());
        let shardless = RouterConfig { shards: 0, ..good };
        assert!(shardless.check().is_err());
    }
}
