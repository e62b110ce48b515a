//! Sending on a job's behalf.
//!
//! In: records. Out: those that Kafka has. Always: what failed is sent again in its order, for as long as it
//! takes or until the job is to stop; what never fits its topic is left out.

use carillon_bus::{Ack, Outgoing, SendError};
use tracing::warn;

use super::{
    Jobs,
    progress::{Halt, Progress},
};
use crate::hold::Dependency;

impl Jobs {
    pub(super) async fn send_all<T: Send>(
        &self,
        mut unsent: Vec<(T, Outgoing)>,
        progress: &Progress<'_>,
    ) -> Result<Vec<(T, Ack)>, Halt> {
        let mut attempts = progress.attempts();
        let mut acknowledged = Vec::with_capacity(unsent.len());
        loop {
            let sent: Vec<_> = unsent
                .iter()
                .map(|(_, outgoing)| self.producer.send(outgoing.clone()))
                .collect();
            let mut failed = Vec::new();
            let mut trouble = None;
            for ((of, outgoing), sent) in unsent.into_iter().zip(sent) {
                let answer = match sent {
                    Ok(delivery) => delivery.await,
                    Err(error) => Err(error),
                };
                match answer {
                    Ok(ack) => acknowledged.push((of, ack)),
                    Err(SendError::TooLarge) => {
                        let job = &progress.job;
                        warn!(tenant = %job.tenant_id, job = %job.id, topic = %outgoing.topic, "larger than its topic takes, left out");
                    }
                    Err(error) => {
                        failed.push((of, outgoing));
                        trouble.get_or_insert(error);
                    }
                }
            }
            let Some(trouble) = trouble else {
                return Ok(acknowledged);
            };
            progress
                .wait(&mut attempts, Dependency::Kafka, &trouble.to_string())
                .await?;
            unsent = failed;
        }
    }
}
