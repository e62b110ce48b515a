//! The last n of a stream: the store's rows, completed with the topic's tail.
//!
//! In: n. Out: `subscribed` and the last n frames, oldest first, chained.
//! Always: at most as many bytes as a send queue holds; what the store does not know yet is read from the topic.

use std::collections::BTreeMap;

use bytes::Bytes;
use carillon_schemas::{
    delivery,
    frame::{ErrorCode, ServerFrame},
    limits,
};
use tracing::warn;

use super::{CatchUp, Gone, NOT_LIVE, Progress};
use crate::{frame, session::Item};

/// The store may have written its rows in another order than the topic's: so far behind the newest row the
/// topic is looked at again.
const DISORDER: i64 = 64;

/// Deliveries by offset.
type Found = BTreeMap<i64, Bytes>;

impl CatchUp<'_> {
    /// Sends the last `n` frames; what comes after them is left to the join.
    pub(super) async fn snapshot(&mut self, n: u32) -> Result<(), Gone> {
        let n = n.min(limits::LAST_N);
        let mut found = self.stored(n).await?;
        self.complete(&mut found, n).await?;
        self.still_wanted()?;
        let base = found
            .keys()
            .next()
            .map_or(self.request.place.head, |first| first - 1);
        self.progress = Progress::new(base, self.request.place.until);
        self.tell_subscribed(base, false);
        for (offset, delivery) in found {
            let Some(prev) = self.progress.record(offset) else {
                continue;
            };
            let (cursor, prev) = (self.cursor(offset), self.cursor(prev));
            if let Some(text) = frame::notification(&self.request.stream, cursor, prev, &delivery) {
                self.push(Item::notification(text, NOT_LIVE)).await?;
            }
        }
        self.progress.handed_out(self.request.place.until);
        Ok(())
    }

    /// The store's rows below the place where live begins. Without the store: none, and the client is told.
    async fn stored(&self, n: u32) -> Result<Found, Gone> {
        if n == 0 {
            return Ok(Found::new());
        }
        let asked = self
            .node
            .store
            .recent(&self.request.tenant, &self.request.stream, n, None);
        let reason = match tokio::time::timeout(self.node.config.resume_deadline, asked).await {
            Ok(Ok(rows)) => {
                let shard = self.hub.shard_of(self.of());
                let here = rows.into_iter().filter(|row| {
                    row.cursor.generation == self.hub.generation()
                        && row.cursor.shard == shard
                        && row.cursor.offset < self.request.place.until
                });
                let sealed = here.filter_map(|row| {
                    let sealed = delivery::seal(
                        delivery::Repeat {
                            delivery: row.delivery,
                            ..delivery::Repeat::FIRST
                        },
                        &row.bytes,
                    )
                    .ok()?;
                    Some((row.cursor.offset, sealed))
                });
                return Ok(sealed.collect());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        warn!(reason, "recent notifications cannot be read from the store");
        self.queue.answer(frame::answer(&ServerFrame::Error {
            code: ErrorCode::Unavailable,
            detail: "older notifications cannot be read right now".to_owned(),
            id: self.request.id.clone(),
        }));
        Ok(Found::new())
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
                let ours = page.entries.iter().filter(|entry| {
                    entry.tenant == self.request.tenant
                        && entry.stream == self.request.stream
                        && entry.offset < place.until
                });
                found.extend(ours.map(|e| (e.offset, e.delivery.clone())));
                self.trim(found, n);
                from = page.next;
            }
        }
        self.trim(found, n);
        Ok(())
    }

    fn trim(&self, found: &mut Found, n: u32) {
        let mut bytes: usize = found.values().map(Bytes::len).sum();
        while found.len() > n as usize || (bytes > self.node.limits.queue_bytes && found.len() > 1) {
            let Some((_, delivery)) = found.pop_first() else {
                return;
            };
            bytes -= delivery.len();
        }
    }
}
