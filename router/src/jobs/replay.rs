//! Replaying: stored notifications, dispatched again.
//!
//! In: a time and a channel. Out: deliveries marked `replayed`, acknowledged, and their place among the recent
//! ones. Always: the same ids in the order of their acceptance; what was never to be shown, or no longer, is not
//! shown; how often the job is resumed does not change the delivery count, so that a repeat of a crash is dropped
//! by clients.

use std::sync::Arc;

use carillon_bus::{Ack, Outgoing};
use carillon_schemas::{
    Stream, cursor::Cursor, dead_letter::ReplayRequest, delivery::Repeat, envelope::Envelope, status::Status,
};
use carillon_store::{Dispatched, StoredQuery, StoredRow};
use tokio::time::Instant;

use super::{
    Jobs,
    pace::Pace,
    position::Position,
    progress::{Halt, Progress},
};

/// The attempt that a replay stands in, and its redrive: below everything that happened since.
const ATTEMPT: u8 = 1;
const REDRIVE: u8 = 0;

/// Whether a stored notification is shown again. What is on its way comes by itself; what was cancelled,
/// collapsed, or died, was not to be shown.
fn again(status: Status, envelope: &Envelope, now_ms: u64) -> bool {
    let shown = matches!(
        status,
        Status::Dispatched | Status::Delivered | Status::Acknowledged
    );
    shown && !envelope.is_expired(now_ms)
}

/// Greater than any count of a natural repeat, and the same when the job is resumed.
fn delivery(created_at: u64) -> u32 {
    u32::try_from(created_at / 1_000).unwrap_or(u32::MAX)
}

impl Jobs {
    pub(super) async fn replay(
        &self,
        request: &ReplayRequest,
        progress: &mut Progress<'_>,
    ) -> Result<(), Halt> {
        let mut pace = Pace::new(request.rate_per_second, Instant::now());
        let mut position = progress.position().unwrap_or(Position::BEGIN);
        loop {
            let Position::Page { cursor, .. } = position else {
                return Ok(());
            };
            let query = StoredQuery {
                limit: pace.page(),
                cursor,
                since_ms: request.since,
                // What was accepted since the job was asked for is shown by itself.
                until_ms: request.until.min(progress.job.created_at.saturating_add(1)),
                channel: request.channel.clone(),
            };
            let tenant = &progress.job.tenant_id;
            let page = progress.store(|| self.store.stored(tenant, &query)).await?;
            for rows in page.rows.chunks(pace.step()) {
                let moved = self.replay_some(rows, progress).await?;
                let job = &mut progress.job;
                job.matched += rows.len() as u64;
                job.moved += moved as u64;
                job.skipped += (rows.len() - moved) as u64;
                pace.moved(moved, Instant::now());
                if let Some(last) = rows.last() {
                    progress.at(Position::page(last.after)).await?;
                }
                progress.until(pace.next()).await?;
            }
            let Some(next) = page.next else { return Ok(()) };
            position = Position::page(next);
            progress.at(position).await?;
        }
    }

    /// Dispatches what is to be shown again of these. Gives how many.
    async fn replay_some(&self, rows: &[StoredRow], progress: &Progress<'_>) -> Result<usize, Halt> {
        let now_ms = self.clock.unix_ms();
        let repeat = Repeat {
            delivery: delivery(progress.job.created_at),
            attempt: ATTEMPT,
            replayed: true,
        };
        let shown = rows
            .iter()
            .filter(|row| again(row.stamp.status, &row.envelope, now_ms));
        let going = shown.filter_map(|row| self.going(row, repeat)).collect();
        let acknowledged = self.send_all(going, progress).await?;
        let placed: Vec<_> = acknowledged
            .into_iter()
            .map(|((row, stream), ack)| self.placed(row, stream, ack, repeat, now_ms))
            .collect();
        if !placed.is_empty() {
            progress.store(|| self.store.dispatched(&placed)).await?;
        }
        Ok(placed.len())
    }

    fn going<'r>(&self, row: &'r StoredRow, repeat: Repeat) -> Option<((&'r StoredRow, Stream), Outgoing)> {
        let stream = row.envelope.stream().ok()?;
        let outgoing = self
            .shards
            .repeat(&row.envelope, &row.bytes, &stream, repeat, None)
            .ok()?;
        Some(((row, stream), outgoing))
    }

    fn placed(&self, row: &StoredRow, stream: Stream, ack: Ack, repeat: Repeat, at_ms: u64) -> Dispatched {
        Dispatched {
            tenant: row.envelope.tenant_id.clone(),
            id: row.envelope.notification_id,
            stream,
            cursor: Cursor {
                generation: self.generation,
                shard: u16::try_from(ack.partition).unwrap_or_default(),
                offset: ack.offset,
            },
            delivery: repeat.delivery,
            attempt: ATTEMPT,
            redrive: REDRIVE,
            at_ms,
            node: Arc::clone(&self.trail.node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{open::open, work::sample};

    #[test]
    fn only_what_was_shown_and_has_not_expired_is_shown_again() {
        let mut envelope = open(&sample::record("acme", 0), &Arc::from("r1"), 0)
            .unwrap()
            .envelope;
        let shown = |envelope: &Envelope| {
            let again = |status: &Status| again(*status, envelope, 1_000);
            Status::ALL.into_iter().filter(again).collect::<Vec<_>>()
        };
        let all = [Status::Dispatched, Status::Delivered, Status::Acknowledged];
        assert_eq!(shown(&envelope), all);
        envelope.expires_at = Some(1_001);
        assert_eq!(shown(&envelope), all);
        envelope.expires_at = Some(1_000);
        assert!(shown(&envelope).is_empty());
    }

    #[test]
    fn a_replay_counts_in_seconds_of_its_request() {
        assert_eq!(delivery(1_760_000_000_999), 1_760_000_000);
        assert_eq!(delivery(u64::MAX), u32::MAX);
    }
}
