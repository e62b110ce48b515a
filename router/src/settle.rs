//! Settling: the only place that acts on a verdict and lets an offset go.
//!
//! In: batches whose every record is acknowledged or ended. Out: state and place in the store, dead letters,
//! finished offsets. Always: a record is finished after everything that its verdict asks for is durable.

use std::sync::Arc;

use carillon_bus::{Ack, GroupConsumer, Record};
use carillon_chassis::clock::Clock;
use carillon_schemas::{
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow, DeadLetterState},
};
use carillon_store::{DeadLetter, Dispatched, NewNotification, NotificationStore};
use tokio::{sync::mpsc, time::Instant};
use tracing::error;

use crate::{
    dead_letters::DeadLetters,
    dispatch::{Acknowledged, FIRST_DELIVERY},
    hold::{Holds, Site},
    metrics::{Meters, Write},
    persist::write_all,
    republished::OnTheWay,
    work::{End, Ended, Work},
};

/// Most batches that share one write to the store.
const BATCHES_PER_WRITE: usize = 8;

/// The room.
pub(crate) struct Settle {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) consumer: Arc<GroupConsumer>,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) on_the_way: Arc<OnTheWay>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
    pub(crate) clock: Clock,
    pub(crate) generation: u16,
}

impl Settle {
    /// Settles batch after batch until there are no more; what waits meanwhile is settled together.
    pub(crate) async fn run(&self, mut acknowledged: mpsc::Receiver<Acknowledged>) {
        while let Some(first) = acknowledged.recv().await {
            let mut batches = vec![first];
            while batches.len() < BATCHES_PER_WRITE
                && let Ok(next) = acknowledged.try_recv()
            {
                batches.push(next);
            }
            self.settle(batches).await;
        }
    }

    async fn settle(&self, batches: Vec<Acknowledged>) {
        let at_ms = self.clock.unix_ms();
        let mut works = Vec::with_capacity(batches.len());
        let mut rows = Vec::new();
        for Acknowledged { work, acks, .. } in batches {
            let placed = work.news.iter().zip(acks);
            rows.extend(placed.map(|(new, ack)| self.row(new, ack, at_ms)));
            works.push(work);
        }
        self.record(&rows).await;
        for work in works {
            self.end(&work.ended, at_ms).await;
            self.finish(&work);
        }
    }

    fn row(&self, new: &NewNotification, ack: Ack, at_ms: u64) -> Dispatched {
        Dispatched {
            redrive: 0,
            tenant: new.envelope.tenant_id.clone(),
            id: new.envelope.notification_id,
            stream: new.stream.clone(),
            cursor: Cursor {
                generation: self.generation,
                shard: u16::try_from(ack.partition).unwrap_or_default(),
                offset: ack.offset,
            },
            delivery: FIRST_DELIVERY,
            attempt: new.attempt,
            at_ms,
            node: Arc::clone(&new.node),
        }
    }

    /// What is on the deliveries topic becomes state. A row that the store refuses is told and let go: its
    /// delivery is made, and a dead letter beside it would be a second fate.
    async fn record(&self, rows: &[Dispatched]) {
        if rows.is_empty() {
            return;
        }
        let began = Instant::now();
        let write = |rows| self.store.dispatched(rows);
        let refused = write_all(&self.holds, Site::Settle, rows, write).await;
        self.meters.wrote(Write::Dispatched, began);
        for (at, reason) in refused {
            self.meters.unrecorded.inc();
            let row = &rows[at];
            error!(tenant = %row.tenant, id = %row.id, error = reason.text, "dispatched, but its state was refused");
        }
    }

    async fn end(&self, ended: &[Ended], at_ms: u64) {
        if !ended.iter().any(|ended| matches!(ended.end, End::Dead(_))) {
            return;
        }
        self.dead_letters.write(ended).await;
        let rows: Vec<_> = ended.iter().filter_map(|ended| dead_row(ended, at_ms)).collect();
        let write = |rows| self.store.dead(rows);
        for (at, reason) in write_all(&self.holds, Site::Settle, &rows, write).await {
            let row = &rows[at];
            error!(tenant = %row.tenant, id = %row.row.id, error = reason.text, "dead, but its state was refused");
        }
    }

    /// These were not begun, and another router will get them.
    pub(crate) fn let_go(&self, records: &[Record]) {
        for record in records {
            self.consumer
                .let_go(&record.topic, record.partition, record.offset);
        }
    }

    fn finish(&self, work: &Work) {
        let ended = work.ended.iter().map(|ended| &ended.record);
        for record in work.records.iter().chain(ended) {
            self.consumer
                .finish(&record.topic, record.partition, record.offset);
        }
        self.on_the_way.leave(work);
        self.meters
            .finished_batch(work.len(), work.records.len(), work.taken);
    }
}

fn dead_row(ended: &Ended, at_ms: u64) -> Option<DeadLetter> {
    if !ended.stored || ended.end == End::Done {
        return None;
    }
    let new = ended.new.as_ref()?;
    Some(DeadLetter {
        tenant: new.envelope.tenant_id.clone(),
        row: DeadLetterRow {
            id: DeadLetterId {
                partition: ended.record.partition,
                offset: ended.record.offset,
            },
            at: at_ms,
            notification_id: Some(new.envelope.notification_id),
            channel: Some(new.envelope.channel.clone()),
            error_class: String::new(),
            error_code: String::new(),
            error_message: String::new(),
            origin: String::new(),
            attempt: new.attempt,
            redrive_count: new.redrive,
            bytes: new.bytes.len() as u64,
            state: DeadLetterState::Waiting,
            job_id: None,
        },
        node: Arc::clone(&new.node),
    })
}
