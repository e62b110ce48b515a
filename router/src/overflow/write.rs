//! Writing to the overflow: until Kafka has acknowledged each record.
//!
//! In: records that do not fit their lane, in order. Out: the same records on the overflow's partition of the same
//! number, then finished at their source. Always: a record is finished here after it stands there.

use std::sync::Arc;

use carillon_bus::Outgoing;
use carillon_schemas::TenantId;
use tokio::sync::mpsc;

use crate::{hold::Site, metrics::Meters, moves::Moves, sources::Sources, work::Item};

/// Most records that are written at once.
const AT_ONCE: usize = 512;

/// The room.
pub(crate) struct Writer {
    pub(crate) moves: Arc<Moves>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) topic: Arc<str>,
    pub(crate) meters: Meters,
}

/// A record stands in the overflow.
pub(crate) struct Placed {
    pub(crate) partition: i32,
    pub(crate) tenant: TenantId,
    pub(crate) offset: i64,
}

impl Writer {
    /// Writes until there are no more.
    pub(crate) async fn run(&self, mut spilled: mpsc::Receiver<Item>, placed: mpsc::Sender<Vec<Placed>>) {
        let mut items = Vec::with_capacity(AT_ONCE);
        while spilled.recv_many(&mut items, AT_ONCE).await > 0 {
            let records: Vec<_> = items.iter().map(|item| self.outgoing(item)).collect();
            let acks = self.moves.write(Site::Overflow, &records).await;
            self.meters.overflowed.inc_by(items.len() as u64);
            let stand = items.iter().zip(acks).map(|(item, ack)| Placed {
                partition: ack.partition,
                tenant: item.tenant().clone(),
                offset: ack.offset,
            });
            // Told first: who reads the next record of a tenant must know of these. When nobody listens any more,
            // nobody reads.
            let _ = placed.send(stand.collect()).await;
            for item in items.drain(..) {
                self.sources.finish(&item.record, &item.source);
            }
        }
    }

    fn outgoing(&self, item: &Item) -> Outgoing {
        let record = &item.record;
        Outgoing {
            topic: Arc::clone(&self.topic),
            partition: Some(record.partition),
            key: record.key.clone().unwrap_or_default(),
            value: record.value.clone().unwrap_or_default(),
            headers: item.travel.to_overflow(record),
        }
    }
}
