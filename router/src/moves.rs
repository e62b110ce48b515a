//! Moving: records onto another topic, until Kafka has acknowledged each.
//!
//! In: records. Out: where each stands. Always: what cannot be written is held and told; it is never dropped, and
//! nothing is written again that was acknowledged.

use std::sync::Arc;

use carillon_bus::{Ack, Outgoing, Producer, SendError};
use tracing::error;

use crate::{
    hold::{Dependency, Holds, Site},
    metrics::Meters,
};

/// The room.
pub(crate) struct Moves {
    pub(crate) producer: Producer,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
    #[cfg(feature = "seeded-bugs")]
    pub(crate) bug: Option<crate::seeded::SeededBug>,
}

impl Moves {
    /// Writes each; waits for Kafka as long as it takes. Gives their places, in the same order.
    pub(crate) async fn write(&self, site: Site, records: &[Outgoing]) -> Vec<Ack> {
        let mut acks: Vec<Option<Ack>> = vec![None; records.len()];
        let mut attempts = self.holds.attempts(site);
        while let Some((at, error)) = self.attempt(records, &mut acks).await {
            let topic = &records[at].topic;
            let unwritten = acks.iter().filter(|ack| ack.is_none()).count();
            error!(%topic, unwritten, error = %error, "records not moved, their partitions wait");
            if site == Site::DeadLetters {
                self.meters.dead_letter_failures.inc();
            }
            #[cfg(feature = "seeded-bugs")]
            if site == Site::DeadLetters && self.bug == Some(crate::seeded::SeededBug::DropFailedDeadLetter) {
                break;
            }
            let reason = format!("{topic}: {error}");
            attempts.wait(Dependency::Kafka, &reason).await;
        }
        if !records.is_empty() {
            attempts.succeeded(Dependency::Kafka);
        }
        acks.into_iter().flatten().collect()
    }

    /// Tries each that is not written once; says which failed first, and why.
    async fn attempt(&self, records: &[Outgoing], acks: &mut [Option<Ack>]) -> Option<(usize, SendError)> {
        let unwritten = (0..records.len()).filter(|&at| acks[at].is_none());
        let sent = unwritten.map(|at| (at, self.producer.send(records[at].clone())));
        let sent: Vec<_> = sent.collect();
        let mut first = None;
        for (at, sent) in sent {
            let answer = match sent {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(ack) => acks[at] = Some(ack),
                Err(error) => {
                    first.get_or_insert((at, error));
                }
            }
        }
        first
    }
}
