//! Redriving: dead letters back in.
//!
//! In: letters of the index. Out: the same records on the redrive topic, acknowledged, then marked. Always: key
//! and value are the letter's, byte for byte; a letter is marked after Kafka has it. A crash between the two
//! writes it again with the same redrive id and count, and the pipeline drops the second by the stamp that the
//! first left in the store.

use carillon_bus::{Outgoing, Record};
use carillon_schemas::{
    dead_letter::{DeadLetterRow, DeadLetterState},
    headers::{self, Headers},
};
use tracing::warn;

use super::{
    Jobs,
    letters::REDRIVES_MOST,
    progress::{Halt, Progress},
    walk::Moved,
};
use crate::travel::redriven;

impl Jobs {
    /// Puts letters back in, and parks those that were often enough.
    pub(super) async fn redrive_letters(
        &self,
        go: &[&DeadLetterRow],
        park: &[&DeadLetterRow],
        progress: &Progress<'_>,
    ) -> Result<Moved, Halt> {
        let records = self.raw(go, progress).await?;
        let mut parked = park.to_vec();
        let mut outgoing = Vec::with_capacity(go.len());
        for (row, letter) in go.iter().zip(records) {
            let Some(letter) = letter else { continue };
            match redriven(&letter, progress.job.id, self.clock.unix_ms()) {
                Ok(headers) if redrives(&headers) > u64::from(REDRIVES_MOST) => parked.push(row),
                Ok(headers) => outgoing.push((*row, self.outgoing(&letter, headers))),
                Err(poison) => {
                    warn!(tenant = %progress.job.tenant_id, letter = %row.id, error = poison.reason, "a dead letter cannot be put back in");
                }
            }
        }
        let moved = self.send_all(outgoing, progress).await?;
        let marks = moved.iter().map(|(row, _)| (*row, DeadLetterState::Redriven));
        let marks = marks.chain(parked.iter().map(|row| (*row, DeadLetterState::Parked)));
        self.mark(marks, progress).await?;
        Ok(Moved {
            moved: moved.len() as u64,
            parked: parked.len() as u64,
            skipped: (go.len() + park.len() - moved.len() - parked.len()) as u64,
        })
    }

    fn outgoing(&self, letter: &Record, headers: Headers) -> Outgoing {
        Outgoing {
            topic: self.redrive.clone(),
            partition: None,
            key: letter.key.clone().unwrap_or_default(),
            value: letter.value.clone().unwrap_or_default(),
            headers,
        }
    }
}

fn redrives(headers: &Headers) -> u64 {
    let count = headers.text(headers::REDRIVE_COUNT);
    count.and_then(|text| text.parse().ok()).unwrap_or_default()
}
