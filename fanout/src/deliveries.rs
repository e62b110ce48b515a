//! The deliveries loop: the topic's tail becomes frames.
//!
//! In: records of every shard, from where each ended when the node started. Out: frames through the hub.
//! Always: the loop waits for Kafka only; a record whose tenant is in doubt reaches nobody; a tail that
//! begins anew goes on behind the last record that was handled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

use carillon_bus::{Admin, BusConfig, BusError, Record, Tail, TailOptions};
use carillon_chassis::{
    backoff::Backoff, clock::Clock, metrics::Metrics, readiness::Condition, tasks::Tasks,
};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    hub::{Hub, Notice, Of},
    metrics::RoleMetrics,
    receipts::Receipts,
    record::{Doubt, is_expired, open, tenant_of},
};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(5);
/// The same while Kafka does not answer: a node that is well is told so soon.
const PING_AGAIN: Duration = Duration::from_millis(500);

/// What the loop stands on.
pub(crate) struct Deliveries {
    pub(crate) bus: BusConfig,
    pub(crate) admin: Admin,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
    pub(crate) figures: Arc<RoleMetrics>,
    pub(crate) receipts: Arc<Receipts>,
    pub(crate) clock: Clock,
    pub(crate) condition: Condition,
    /// Whether a tail is running.
    pub(crate) reading: AtomicBool,
    pub(crate) retry_cap: Duration,
}

impl Deliveries {
    /// Where every shard ends now; asks until Kafka answers. `None` on shutdown.
    pub(crate) async fn ends(&self, shutdown: &CancellationToken) -> Option<Vec<i64>> {
        let mut backoff = Backoff::new(FIRST_RETRY, self.retry_cap);
        loop {
            let asked = tokio::select! {
                asked = self.admin.ends(&self.bus.topics.deliveries) => asked,
                () = shutdown.cancelled() => return None,
            };
            let reason = match asked.map(in_order) {
                Ok(Some(ends)) => return Some(ends),
                Ok(None) => "the deliveries topic has no partitions".to_owned(),
                Err(error) => error.to_string(),
            };
            self.trouble(&reason);
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = shutdown.cancelled() => return None,
            }
        }
    }

    /// Reads until shutdown, and looks beside it whether Kafka is there: a tail without records does not say.
    pub(crate) async fn run(&self, hub: &Hub, shutdown: &CancellationToken) {
        tokio::join!(self.tail(hub, shutdown), self.watch(shutdown));
    }

    async fn tail(&self, hub: &Hub, shutdown: &CancellationToken) {
        let mut backoff = Backoff::new(FIRST_RETRY, self.retry_cap);
        while !shutdown.is_cancelled() {
            match self.start(hub) {
                Ok((tail, records)) => {
                    backoff.reset();
                    self.reading.store(true, Ordering::Relaxed);
                    self.well();
                    self.read(hub, records, shutdown).await;
                    self.reading.store(false, Ordering::Relaxed);
                    if let Err(error) = tail.close(CLOSE_DEADLINE).await {
                        warn!(%error, "tail did not close");
                    }
                }
                Err(error) => self.trouble(&error.to_string()),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    async fn watch(&self, shutdown: &CancellationToken) {
        let mut pause = PING_EVERY;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
            pause = PING_EVERY;
            match self.admin.ping().await {
                Ok(()) if self.reading.load(Ordering::Relaxed) => self.well(),
                Ok(()) => {}
                Err(error) => {
                    self.trouble(&error.to_string());
                    pause = PING_AGAIN;
                }
            }
        }
    }

    fn start(&self, hub: &Hub) -> Result<(Tail, Receiver<Vec<Record>>), BusError> {
        Tail::start(
            &self.bus,
            &self.bus.topics.deliveries,
            hub.positions(),
            TailOptions::default(),
            &self.metrics,
            &self.tasks,
        )
    }

    /// Hands records to the hub until the tail ends or the node does.
    async fn read(&self, hub: &Hub, mut records: Receiver<Vec<Record>>, shutdown: &CancellationToken) {
        let mut wakers = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                batch = records.recv() => match batch {
                    Some(batch) => {
                        batch.iter().for_each(|record| self.hand_over(hub, record, &mut wakers));
                        self.figures.records.inc_by(batch.len() as u64);
                    }
                    None => return self.trouble("the tail ended"),
                },
            }
            // Once per burst: a session that got ten frames is woken once.
            wakers.drain(..).for_each(Waker::wake);
        }
    }

    fn hand_over(&self, hub: &Hub, record: &Record, wakers: &mut Vec<Waker>) {
        let Ok(shard) = u16::try_from(record.partition) else {
            return;
        };
        let tenant = match tenant_of(record) {
            Ok(tenant) if hub.listens(shard, &tenant) => tenant,
            Ok(_) => return hub.pass(shard, record.offset),
            Err(doubt) => return self.refuse(hub, shard, record, doubt),
        };
        let opened = match open(record, &tenant) {
            Ok(opened) => opened,
            Err(doubt) => return self.refuse(hub, shard, record, doubt),
        };
        let notice = Notice {
            of: Of {
                tenant: &tenant,
                stream: &opened.stream,
            },
            id: opened.id,
            which: opened.which,
            delivery: opened.value,
            written_ms: record.timestamp_ms.unwrap_or(0),
        };
        // The clock is asked only for what can expire.
        if opened.expires_at.is_some() && is_expired(opened.expires_at, self.clock.unix_ms()) {
            if hub.leave_out(shard, record.offset, notice.of) {
                self.figures.left_out.with_label_values(&["expired"]).inc();
                self.receipts.expired(notice.identity());
            }
            return;
        }
        if let Some(key) = &opened.collapse_key
            && !opened.replayed
            && hub.is_superseded(shard, notice.of, key, (opened.accepted_at, opened.id))
        {
            if hub.leave_out(shard, record.offset, notice.of) {
                self.figures.left_out.with_label_values(&["collapsed"]).inc();
            }
            return;
        }
        let delivered = hub.deliver(shard, record.offset, &notice, wakers);
        self.figures.queued.inc_by(delivered.queued);
        self.figures.dropped.inc_by(delivered.dropped);
    }

    fn refuse(&self, hub: &Hub, shard: u16, record: &Record, doubt: Doubt) {
        hub.pass(shard, record.offset);
        self.figures.refused.with_label_values(&[doubt.as_str()]).inc();
        warn!(
            shard,
            offset = record.offset,
            doubt = doubt.as_str(),
            "delivery refused"
        );
    }

    fn well(&self) {
        if self.condition.met() {
            info!("deliveries are read");
        }
    }

    fn trouble(&self, reason: &str) {
        if self.condition.unmet(reason) {
            warn!(reason, "deliveries cannot be read, retrying");
        }
    }
}

/// The ends by partition; `None` unless the partitions are 0, 1, 2, …
fn in_order(mut ends: Vec<(i32, i64, i64)>) -> Option<Vec<i64>> {
    ends.sort_unstable();
    let numbered = ends.iter().zip(0..).all(|((partition, ..), n)| *partition == n);
    let ends: Vec<i64> = ends.into_iter().map(|(_, _, end)| end).collect();
    (numbered && !ends.is_empty()).then_some(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_count_only_when_every_shard_is_among_them() {
        assert_eq!(in_order(vec![(1, 0, 7), (0, 2, 5)]), Some(vec![5, 7]));
        assert_eq!(in_order(vec![(0, 0, 1), (2, 0, 1)]), None);
        assert_eq!(in_order(Vec::new()), None);
    }
}
