//! Logs of a tenant: rows by time in partitions of an hour, with an index of the hours that have anything.
//!
//! In: which log, from where, in which direction. Out: a page of its rows. Always: a position is never passed
//! without its row being looked at; what one page looks at is bounded.

use std::{future::Future, time::Duration};

use carillon_schemas::{NotificationId, dead_letter::DeadLetterState, limits};
use uuid::Uuid;

use super::{
    failure::corrupt,
    read::Reader,
    times::{hour, hour_begins},
};
use crate::{DeadLetterMark, PageCursor, StoreError, kept};

/// Rows that a page looks at, at most, for each row that it may hold.
pub(super) const SCAN_PER_ROW: usize = 20;

/// Hours that a page looks into, at most.
pub(super) const HOURS: i32 = 64;

/// Most rows of an hour that are asked for at once.
const CHUNK: usize = 500;

/// Which log, as `log_hours` numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub(super) enum Log {
    /// Notifications that are kept beyond the ordinary time.
    Ahead = 0,
    DeadLetters = 1,
    Audit = 2,
}

impl Log {
    /// How long its rows are shown.
    pub(super) fn kept(self, retention: Duration) -> Duration {
        match self {
            Self::Ahead => retention.saturating_add(Duration::from_millis(limits::SCHEDULE_AHEAD_MS)),
            Self::DeadLetters => kept::dead_letters(retention),
            Self::Audit => retention,
        }
    }
}

/// Which way a page goes, and between which moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) oldest_first: bool,
    /// Where it begins, itself excluded.
    pub(super) from: PageCursor,
    /// Not before this moment.
    pub(super) since_ms: u64,
    /// Before this moment.
    pub(super) until_ms: u64,
}

/// The greatest id of a moment: names of dead letters are in its order, too, as no number is negative.
const LAST: [u8; 16] = [0x7f; 16];

impl Way {
    /// The way of a query.
    pub(super) fn new(
        oldest_first: bool,
        cursor: Option<PageCursor>,
        since_ms: Option<u64>,
        until_ms: Option<u64>,
        last: [u8; 16],
    ) -> Self {
        let place = |at_ms, id| PageCursor {
            at_ms,
            id: NotificationId::from_bytes(id),
        };
        let (since_ms, until_ms) = (since_ms.unwrap_or(0), until_ms.unwrap_or(u64::MAX));
        let from = match oldest_first {
            true => {
                let begin = place(since_ms.saturating_sub(1), last);
                let begin = if since_ms == 0 { place(0, [0; 16]) } else { begin };
                cursor.map_or(begin, |cursor| cursor.max(begin))
            }
            false => {
                let begin = place(until_ms, [0; 16]);
                cursor.map_or(begin, |cursor| cursor.min(begin))
            }
        };
        Self {
            oldest_first,
            from,
            since_ms,
            until_ms,
        }
    }

    /// The way through dead letters or audit trails.
    pub(super) fn of_log(
        oldest_first: bool,
        cursor: Option<PageCursor>,
        since_ms: Option<u64>,
        until_ms: Option<u64>,
    ) -> Self {
        Self::new(oldest_first, cursor, since_ms, until_ms, LAST)
    }

    /// Whether a moment lies behind the way's end.
    pub(super) fn is_over(&self, at_ms: u64) -> bool {
        match self.oldest_first {
            true => at_ms >= self.until_ms,
            false => at_ms < self.since_ms,
        }
    }

    /// Where a page begins that comes behind these hours, when there may be more.
    pub(super) fn behind(&self, hours: &[i32], last: [u8; 16]) -> Option<PageCursor> {
        let end = hours.last().filter(|_| hours.len() == HOURS as usize)?;
        Some(match self.oldest_first {
            true => PageCursor {
                at_ms: hour_begins(end.saturating_add(1)).saturating_sub(1),
                id: NotificationId::from_bytes(last),
            },
            false => PageCursor {
                at_ms: hour_begins(*end),
                id: NotificationId::from_bytes([0; 16]),
            },
        })
    }
}

impl Reader<'_> {
    /// The next hours of a log that have anything, from where the page begins.
    pub(super) async fn log_hours(&self, log: Log, way: &Way) -> Result<Vec<i32>, StoreError> {
        let statements = &self.cluster.statements;
        let (statement, newest, oldest) = match way.oldest_first {
            true => (
                &statements.log_hours_oldest,
                hour(way.until_ms),
                hour(way.from.at_ms),
            ),
            false => (&statements.log_hours, hour(way.from.at_ms), hour(way.since_ms)),
        };
        let values = (self.tenant.as_str(), log as i8, newest, oldest, HOURS);
        let hours: Vec<(i32,)> = self.cluster.rows("log_hours", statement, values).await?;
        Ok(hours.into_iter().map(|(hour,)| hour).collect())
    }

    /// A page of a log: rows that `keep` keeps, and where the next page begins. `fetch` gives at most so many
    /// rows of an hour behind a place.
    pub(super) async fn page<R, T, F>(
        &self,
        log: Log,
        way: Way,
        limit: u32,
        fetch: impl Fn(i32, PageCursor, i32) -> F,
        keep: impl Fn(R) -> Result<Option<T>, StoreError>,
    ) -> Result<(Vec<T>, Option<PageCursor>), StoreError>
    where
        F: Future<Output = Result<Vec<(PageCursor, R)>, StoreError>>,
    {
        let limit = limit.clamp(1, limits::PAGE_ROWS) as usize;
        let mut scan = limit * SCAN_PER_ROW;
        let (mut kept, mut last, mut from) = (Vec::new(), None, way.from);
        let hours = self.log_hours(log, &way).await?;
        for hour in &hours {
            loop {
                let chunk = (limit + 1).clamp(16, CHUNK);
                let rows = fetch(*hour, from, i32::try_from(chunk).unwrap_or(i32::MAX)).await?;
                let more = rows.len() == chunk;
                for (place, row) in rows {
                    if way.is_over(place.at_ms) {
                        return Ok((kept, None));
                    }
                    if kept.len() == limit || scan == 0 {
                        return Ok((kept, last));
                    }
                    scan -= 1;
                    (last, from) = (Some(place), place);
                    kept.extend(keep(row)?);
                }
                if !more {
                    break;
                }
            }
        }
        Ok((kept, way.behind(&hours, LAST)))
    }
}

/// A mark as a cell: the state, and the job.
pub(super) fn mark_bytes(mark: &DeadLetterMark) -> Vec<u8> {
    let mut bytes = vec![mark.state as u8];
    bytes.extend(mark.job.as_bytes());
    bytes
}

/// Back from the cell.
pub(super) fn mark_of(bytes: &[u8]) -> Result<(DeadLetterState, Uuid), StoreError> {
    let foreign = || corrupt("dead_letters", &format_args!("a mark of {} bytes", bytes.len()));
    let (state, job) = bytes.split_first().ok_or_else(foreign)?;
    let state = DeadLetterState::ALL
        .get(usize::from(*state))
        .ok_or_else(foreign)?;
    let job = Uuid::from_slice(job).map_err(|_| foreign())?;
    Ok((*state, job))
}
