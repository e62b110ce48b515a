//! The last n of a stream: the store's rows, completed with the topic's tail.
//!
//! In: n. Out: `subscribed` and the last n frames, oldest first, chained.
//! Always: at most as many bytes as a send queue holds; what the store does not know yet is read from the topic;
//! what has expired or was superseded is not among them.

use std::collections::{BTreeMap, HashSet};

use carillon_schemas::{
    cursor::Cursor,
    delivery::{self, Repeat},
    frame::{ErrorCode, ServerFrame},
    limits,
};
use carillon_store::RecentRow;
use tracing::warn;

use super::{CatchUp, Gone, NOT_LIVE, Progress};
use crate::{
    frame,
    history::Past,
    receipts::{Identity, Tally, Which},
    record::is_expired,
    session::Item,
};

/// The store may have written its rows in another order than the topic's: so far behind the newest row the
/// topic is looked at again.
const DISORDER: i64 = 64;
/// How often the store is asked on, when rows that it gave have expired.
const ASKED: usize = 4;

/// Deliveries by offset.
type Found = BTreeMap<i64, Past>;

impl CatchUp<'_> {
    /// Sends the last `n` frames; what comes after them is left to the join.
    pub(super) async fn snapshot(&mut self, n: u32) -> Result<(), Gone> {
        let n = n.min(limits::LAST_N);
        let mut found = self.stored(n).await;
        self.complete(&mut found, n).await?;
        let superseded = self
            .superseded_among(found.iter().map(|(at, past)| (*at, past)))
            .await;
        found.retain(|offset, past| !self.is_left_out(*offset, past, &superseded));
        self.still_wanted()?;
        let base = found
            .keys()
            .next()
            .map_or(self.request.place.head, |first| first - 1);
        self.progress = Progress::new(base, self.request.place.until);
        self.tell_subscribed(base, false);
        for (offset, past) in found {
            let Some(prev) = self.progress.record(offset) else {
                continue;
            };
            let (cursor, prev) = (self.cursor(offset), self.cursor(prev));
            if let Some(text) = frame::notification(&self.request.stream, cursor, prev, &past.delivery) {
                self.push(Item::notification(text, NOT_LIVE, past.tally)).await?;
            }
        }
        self.progress.handed_out(self.request.place.until);
        Ok(())
    }

    /// The store's rows below the place where live begins. Without the store: none, and the client is told.
    async fn stored(&self, n: u32) -> Found {
        let mut found = Found::new();
        let mut before = None;
        for _ in 0..ASKED {
            let wanted = n.saturating_sub(found.len() as u32);
            if wanted == 0 {
                break;
            }
            let Some(rows) = self.recent(wanted, before).await else {
                break;
            };
            // What the store has below these.
            before = rows.first().map(|row| row.cursor);
            let whole = rows.len() >= wanted as usize;
            let here = rows.into_iter().filter_map(|row| self.past(row));
            found.extend(here.filter(|(at, past)| !self.is_left_out(*at, past, &HashSet::new())));
            if !whole {
                break;
            }
        }
        found
    }

    async fn recent(&self, n: u32, before: Option<Cursor>) -> Option<Vec<RecentRow>> {
        let asked = self
            .node
            .store
            .recent(&self.request.tenant, &self.request.stream, n, before);
        let reason = match tokio::time::timeout(self.node.config.resume_deadline, asked).await {
            Ok(Ok(rows)) => return Some(rows),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        warn!(reason, "recent notifications cannot be read from the store");
        self.queue.answer(frame::answer(&ServerFrame::Error {
            code: ErrorCode::Unavailable,
            detail: "older notifications cannot be read right now".to_owned(),
            id: self.request.id.clone(),
        }));
        None
    }

    /// A row of the store as a delivery of the past, where it is of this generation and below the live ones.
    fn past(&self, row: RecentRow) -> Option<(i64, Past)> {
        let shard = self.hub.shard_of(self.of());
        let here = row.cursor.generation == self.hub.generation()
            && row.cursor.shard == shard
            && row.cursor.offset < self.request.place.until;
        if !here {
            return None;
        }
        let repeat = Repeat {
            delivery: row.delivery,
            ..Repeat::FIRST
        };
        let identity = Identity {
            tenant: self.request.tenant.clone(),
            id: row.envelope.notification_id,
            which: Which {
                delivery: row.delivery,
                ..Which::FIRST
            },
        };
        let past = Past {
            delivery: delivery::seal(repeat, &row.bytes).ok()?,
            expires_at: row.envelope.expires_at,
            collapse_key: row.envelope.collapse_key,
            tally: Tally::new(identity),
        };
        Some((row.cursor.offset, past))
    }

    /// Adds what the store does not have yet, and keeps the last `n` within the bound of bytes.
    async fn complete(&self, found: &mut Found, n: u32) -> Result<(), Gone> {
        let place = self.request.place;
        let newest = found.keys().next_back().copied();
        let complete = n == 0 || (place.seen && newest.is_some_and(|newest| newest >= place.head));
        if !complete {
            let window = place.until - self.node.config.recent_window;
            let disorder = newest.map_or(0, |newest| newest - DISORDER);
            let mut from = window.max(disorder).max(0);
            while from < place.until {
                self.still_wanted()?;
                let _turn = self.node.history.turn().await.ok_or(Gone)?;
                let shared = self.read(from, place.until).await?;
                let page = shared.get().ok_or(Gone)?;
                let now_ms = self.node.clock.unix_ms();
                let ours = page.entries.iter().filter(|entry| {
                    self.is_ours(entry)
                        && entry.offset < place.until
                        && !is_expired(entry.past.expires_at, now_ms)
                });
                found.extend(ours.map(|entry| (entry.offset, entry.past.clone())));
                self.trim(found, n);
                from = page.next;
            }
        }
        self.trim(found, n);
        Ok(())
    }

    fn trim(&self, found: &mut Found, n: u32) {
        let mut bytes: usize = found.values().map(|past| past.delivery.len()).sum();
        while found.len() > n as usize || (bytes > self.node.limits.queue_bytes && found.len() > 1) {
            let Some((_, past)) = found.pop_first() else {
                return;
            };
            bytes -= past.delivery.len();
        }
    }
}
