//! Catch-ups: what a session missed, and then live, without a gap or a repeat between them.
//!
//! In: a subscription that asked for `since` or `last`. Out: `subscribed`, history, and the hub's live frames.
//! Always: it waits for room in its own session's queue and for Kafka, never the hub; a loss is told by
//! `unrecovered`; Kafka's absence is waited out.

mod collapse;
mod progress;
mod snapshot;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use carillon_chassis::backoff::Backoff;
use carillon_schemas::{ChannelName, Stream, TenantId, cursor::Cursor, frame::ServerFrame, limits};
use tracing::{debug, warn};

pub(crate) use self::{collapse::Latest, progress::Progress};
use crate::{
    frame,
    history::{Entry, Page, Past, SharedPage},
    hub::{Hub, Join, Of, Place, skip},
    node::Node,
    record::is_expired,
    session::{Item, SendQueue, Waiting},
};

const LOOK_AGAIN: Duration = Duration::from_millis(10);
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// History does not count into the latency of deliveries.
const NOT_LIVE: i64 = 0;

/// What a subscription asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Everything after a place; when that cannot be, the last so many.
    Since(Cursor, Option<u32>),
    /// The last so many.
    Last(u32),
}

/// A subscription that is to catch up.
pub(crate) struct Request {
    pub(crate) tenant: TenantId,
    pub(crate) stream: Stream,
    pub(crate) channel: Option<ChannelName>,
    pub(crate) place: Place,
    pub(crate) ticket: u64,
    pub(crate) ask: Ask,
    pub(crate) id: Option<String>,
}

/// The session ended, or the subscription was ended or begun anew.
struct Gone;

/// Catches up one subscription after the other.
pub(crate) async fn catch_up(
    node: Arc<Node>,
    queue: Arc<SendQueue>,
    waiting: Waiting,
    requests: Vec<Request>,
) {
    let Some(hub) = node.hub() else {
        return;
    };
    let Some(_turn) = waiting.turn().await else {
        return;
    };
    for request in requests {
        let mut catch_up = CatchUp {
            node: &node,
            hub,
            queue: &queue,
            request: &request,
            progress: Progress::new(request.place.head, request.place.until),
            opening: None,
            recovered: true,
            asks_store: true,
        };
        let outcome = catch_up.run().await.unwrap_or("gone");
        debug!(tenant = %request.tenant, stream = %request.stream, outcome, "catch-up ended");
        node.figures.catch_ups.with_label_values(&[outcome]).inc();
    }
}

struct CatchUp<'a> {
    node: &'a Node,
    hub: &'a Hub,
    queue: &'a SendQueue,
    request: &'a Request,
    progress: Progress,
    /// The cursor that was asked for, until `subscribed` answers it.
    opening: Option<Cursor>,
    recovered: bool,
    /// Whether the store still is to be asked which notification of a collapse key is the latest.
    asks_store: bool,
}

impl CatchUp<'_> {
    async fn run(&mut self) -> Result<&'static str, Gone> {
        match self.request.ask {
            Ask::Last(n) => {
                self.snapshot(n).await?;
                self.join().await?;
                return Ok("last");
            }
            Ask::Since(cursor, last) if !self.is_known(cursor).await? => {
                self.tell_unrecovered(cursor);
                self.recovered = false;
                self.snapshot(last.unwrap_or(limits::LAST_N)).await?;
            }
            Ask::Since(cursor, _) => {
                self.progress = Progress::new(cursor.offset, self.request.place.until);
                self.opening = Some(cursor);
            }
        }
        self.join().await?;
        Ok(if self.recovered {
            "recovered"
        } else {
            "unrecovered"
        })
    }

    /// Whether the cursor is a place of this stream. One that lies ahead of this node (it was read from the
    /// store, or from another node) is waited for.
    async fn is_known(&self, cursor: Cursor) -> Result<bool, Gone> {
        let shard = self.hub.shard_of(self.of());
        if cursor.generation != self.hub.generation() || cursor.shard != shard || cursor.offset < -1 {
            return Ok(false);
        }
        let reached = async {
            while self.hub.next(shard) <= cursor.offset && !self.queue.is_closed() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let reached = tokio::time::timeout(self.node.config.resume_deadline, reached).await;
        self.still_wanted()?;
        Ok(reached.is_ok())
    }

    /// Reads history and asks the hub to go live, until it does.
    async fn join(&mut self) -> Result<(), Gone> {
        loop {
            self.read_history().await?;
            let Request { place, ticket, .. } = self.request;
            match self
                .hub
                .join(self.of(), place.slot, *ticket, self.progress.last())
            {
                Join::Live => return Ok(()),
                Join::Gone => return Err(Gone),
                Join::ReadOn { until } => self.progress.read_on(until),
                Join::Frames { frames, position } => {
                    for live in frames {
                        if let Some((cursor, prev)) = self.progress.live(live.offset, live.prev) {
                            let bridge = skip(&self.request.stream, self.cursor(cursor), self.cursor(prev));
                            self.push(bridge).await?;
                        }
                        self.push(live.item()).await?;
                    }
                    self.progress.handed_out(position);
                    self.room().await?;
                }
            }
        }
    }

    async fn read_history(&mut self) -> Result<(), Gone> {
        while let Some((from, to)) = self.progress.range() {
            self.still_wanted()?;
            // Neither the page nor the turn is held while the session's queue is full.
            let full = {
                let _turn = self.node.history.turn().await.ok_or(Gone)?;
                let page = self.read(from, to).await?;
                let page = page.get().ok_or(Gone)?;
                let superseded = self.superseded_in(page).await;
                self.hand_out(page, &superseded)
            };
            if full {
                self.room().await?;
            }
        }
        if let Some(cursor) = self.opening.take() {
            // Nothing came since.
            self.tell_subscribed(cursor.offset, true);
        }
        Ok(())
    }

    /// The first page says whether the place that was asked for still stands.
    fn open(&mut self, earliest: i64) {
        let lost = self.progress.begins_at(earliest);
        let Some(asked) = self.opening.take() else {
            if lost {
                self.recovered = false;
                self.tell_unrecovered(self.cursor(self.progress.last()));
            }
            return;
        };
        if !lost {
            return self.tell_subscribed(asked.offset, true);
        }
        self.recovered = false;
        self.tell_unrecovered(asked);
        self.progress = Progress::new(earliest - 1, self.request.place.until);
        self.tell_subscribed(earliest - 1, false);
    }

    /// Queues the stream's frames of a page, but for those that have expired or been superseded; true when the queue is full before the page is through.
    fn hand_out(&mut self, page: &Page, superseded: &HashSet<i64>) -> bool {
        self.open(page.earliest);
        let mut one = VecDeque::with_capacity(1);
        for entry in &page.entries {
            if !self.is_ours(entry) || self.is_left_out(entry.offset, &entry.past, superseded) {
                continue;
            }
            let before = self.progress;
            let Some(prev) = self.progress.record(entry.offset) else {
                continue;
            };
            let (cursor, prev) = (self.cursor(entry.offset), self.cursor(prev));
            let Some(text) = frame::notification(&entry.stream, cursor, prev, &entry.past.delivery) else {
                self.progress = before;
                continue;
            };
            let tally = Arc::clone(&entry.past.tally);
            one.push_back(Item::notification(text, NOT_LIVE, tally));
            if !self.queue.push_all(&mut one) {
                self.progress = before;
                self.progress.read_up_to(entry.offset);
                return true;
            }
        }
        self.progress.read_up_to(page.next);
        false
    }

    fn is_ours(&self, entry: &Entry) -> bool {
        entry.tenant == self.request.tenant && entry.stream == self.request.stream
    }

    /// Whether a delivery of the past counts no more. The stream's chain goes past it.
    fn is_left_out(&self, offset: i64, past: &Past, superseded: &HashSet<i64>) -> bool {
        let reason = if is_expired(past.expires_at, self.node.clock.unix_ms()) {
            "expired"
        } else if superseded.contains(&offset) {
            "collapsed"
        } else {
            return false;
        };
        self.node.figures.left_out.with_label_values(&[reason]).inc();
        true
    }

    /// One page. Waits until Kafka answers.
    async fn read(&self, from: i64, to: i64) -> Result<SharedPage, Gone> {
        let shard = self.hub.shard_of(self.of());
        let mut backoff = Backoff::new(FIRST_RETRY, self.node.config.retry_cap);
        loop {
            match self.node.history.page(shard, from, to).await {
                Ok(page) if page.get().is_some_and(|page| page.next > from) => return Ok(page),
                Ok(_) => warn!(shard, from, "history ends early, retrying"),
                Err(error) => warn!(shard, %error, "history cannot be read, retrying"),
            }
            tokio::time::sleep(backoff.next()).await;
            self.still_wanted()?;
        }
    }

    async fn push(&self, item: Item) -> Result<(), Gone> {
        let mut one = VecDeque::from([item]);
        while !self.queue.push_all(&mut one) {
            self.room().await?;
        }
        Ok(())
    }

    async fn room(&self) -> Result<(), Gone> {
        if self.queue.room().await {
            self.still_wanted()
        } else {
            Err(Gone)
        }
    }

    fn still_wanted(&self) -> Result<(), Gone> {
        let Request { place, ticket, .. } = self.request;
        let wanted = !self.queue.is_closed() && self.hub.catches_up(self.of(), place.slot, *ticket);
        if wanted { Ok(()) } else { Err(Gone) }
    }

    fn tell_subscribed(&self, base: i64, recovered: bool) {
        self.queue.answer(frame::answer(&ServerFrame::Subscribed {
            stream: self.request.stream.clone(),
            channel: self.request.channel.clone(),
            cursor: self.cursor(base),
            recovered,
            id: self.request.id.clone(),
        }));
    }

    fn tell_unrecovered(&self, from: Cursor) {
        self.queue.answer(frame::answer(&ServerFrame::Unrecovered {
            stream: self.request.stream.clone(),
            from,
        }));
    }

    fn cursor(&self, offset: i64) -> Cursor {
        self.hub.cursor(self.of(), offset)
    }

    fn of(&self) -> Of<'_> {
        Of {
            tenant: &self.request.tenant,
            stream: &self.request.stream,
        }
    }
}
