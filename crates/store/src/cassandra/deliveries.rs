//! Pages of a tenant's deliveries, newest first.
//!
//! In: a query. Out: a page. Always: a position is never passed without its row being looked at, so that pages
//! lose and double none; what one page looks at is bounded.

use std::collections::VecDeque;

use carillon_schemas::{NotificationId, http::DeliveryRow, limits};

use super::{
    partition::{self, HeadRow},
    read::{Reader, read_id},
    times::{from_column, hour, hour_begins, time},
    write::SUBS,
};
use crate::{DeliveriesQuery, DeliveriesResult, PageCursor, StoreError};

/// Rows that a page looks at, at most, for each row that it may hold.
const SCAN_PER_ROW: usize = 20;

/// Hours that a page looks into, at most.
const HOURS: i32 = 64;

/// A place in a tenant's deliveries, of its channel.
struct Place {
    at: PageCursor,
    channel: String,
}

/// A page in the making.
struct Page<'a> {
    query: &'a DeliveriesQuery,
    limit: usize,
    /// How many rows may still be looked at.
    scan: usize,
    rows: Vec<DeliveryRow>,
    /// The last place that was looked at.
    last: Option<PageCursor>,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.rows.len() == self.limit || self.scan == 0
    }

    /// The notification of a place, unless it is on another channel than the asked one.
    fn asks(&self, place: &Place) -> Option<NotificationId> {
        let channel = self.query.channel.as_ref();
        channel
            .is_none_or(|channel| channel.as_str() == place.channel)
            .then_some(place.at.id)
    }

    fn wants(&self, row: &DeliveryRow, place: &Place) -> bool {
        // Of two payloads for one id the first counts, and the other's place does not.
        row.accepted_at == place.at.at_ms
            && self.query.status.is_none_or(|status| status == row.status)
            && self
                .query
                .channel
                .as_ref()
                .is_none_or(|channel| *channel == row.channel)
    }

    fn next(self, next: Option<PageCursor>) -> DeliveriesResult {
        DeliveriesResult {
            rows: self.rows,
            next,
        }
    }
}

impl Reader<'_> {
    pub(super) async fn deliveries(&self, query: &DeliveriesQuery) -> Result<DeliveriesResult, StoreError> {
        let limit = query.limit.clamp(1, limits::PAGE_ROWS) as usize;
        let mut page = Page {
            query,
            limit,
            scan: limit * SCAN_PER_ROW,
            rows: Vec::new(),
            last: None,
        };
        let mut before = query.cursor.unwrap_or(PageCursor {
            at_ms: u64::MAX,
            id: NotificationId::from_bytes([0xff; 16]),
        });
        let hours = self.hours(query, &before).await?;
        for hour in &hours {
            loop {
                let (places, more) = self.places(*hour, &before, limit - page.rows.len() + 1).await?;
                if let Some(end) = places.back().map(|place| place.at) {
                    before = end;
                }
                if !self.look(places, &mut page).await? {
                    let next = page.last;
                    return Ok(page.next(next));
                }
                if !more {
                    break;
                }
            }
        }
        let next = hours
            .last()
            .filter(|_| hours.len() == HOURS as usize)
            .map(|hour| PageCursor {
                at_ms: hour_begins(*hour),
                id: NotificationId::from_bytes([0; 16]),
            });
        Ok(page.next(next))
    }

    /// The newest hours that have anything, from where the page begins.
    async fn hours(&self, query: &DeliveriesQuery, before: &PageCursor) -> Result<Vec<i32>, StoreError> {
        let since = hour(query.since_ms.unwrap_or(0));
        let values = (self.tenant.as_str(), hour(before.at_ms), since, HOURS);
        let statement = &self.cluster.statements.hours;
        let hours: Vec<(i32,)> = self.cluster.rows("tenant_hours", statement, values).await?;
        Ok(hours.into_iter().map(|(hour,)| hour).collect())
    }

    /// Places of an hour before this one, newest first, about as many as wanted, and whether there may be more.
    async fn places(
        &self,
        hour: i32,
        before: &PageCursor,
        wanted: usize,
    ) -> Result<(VecDeque<Place>, bool), StoreError> {
        let each_sub = wanted.div_ceil(usize::from(SUBS)) + 4;
        let statement = &self.cluster.statements.places;
        let subs = (0..SUBS.cast_signed()).map(|sub| async move {
            let id = &before.id.as_bytes()[..];
            let limit = i32::try_from(each_sub).unwrap_or(i32::MAX);
            let values = (self.tenant.as_str(), hour, sub, time(before.at_ms), id, limit);
            let rows: Vec<(i64, Vec<u8>, String)> =
                self.cluster.rows("tenant_timeline", statement, values).await?;
            rows.into_iter().map(place).collect::<Result<Vec<_>, _>>()
        });
        let subs = self.cluster.answers(subs).await?;
        // What a partition did not give yet may stand anywhere below its last: only what stands above all
        // those ends is in order.
        let cut = subs.iter().filter(|places| places.len() == each_sub);
        let end = cut.filter_map(|places| places.last()).map(|place| place.at).max();
        let mut places: Vec<_> = subs.into_iter().flatten().collect();
        places.retain(|place| end.is_none_or(|end| place.at >= end));
        places.sort_by_key(|place| std::cmp::Reverse(place.at));
        Ok((places.into(), end.is_some()))
    }

    /// Looks at places in their order. Says whether the page may go on behind them.
    async fn look(&self, mut places: VecDeque<Place>, page: &mut Page<'_>) -> Result<bool, StoreError> {
        let since = page.query.since_ms.unwrap_or(0);
        while !places.is_empty() {
            if page.is_full() {
                return Ok(false);
            }
            let some = places.len().min(page.scan).min(page.limit.max(usize::from(SUBS)));
            let some: Vec<_> = places.drain(..some).collect();
            let asked: Vec<_> = some.iter().map(|place| page.asks(place)).collect();
            let heads = asked.into_iter().map(|asked| self.head(asked));
            let heads = self.cluster.answers(heads);
            for (place, row) in some.iter().zip(heads.await?) {
                if page.is_full() {
                    return Ok(false);
                }
                if place.at.at_ms < since {
                    page.last = None;
                    return Ok(false);
                }
                page.scan -= 1;
                page.last = Some(place.at);
                if let Some(row) = row.filter(|row| page.wants(row, place)) {
                    page.rows.push(row);
                }
            }
        }
        Ok(true)
    }

    /// What a list shows of a notification.
    async fn head(&self, id: Option<NotificationId>) -> Result<Option<DeliveryRow>, StoreError> {
        let Some(id) = id else { return Ok(None) };
        let statement = &self.cluster.statements.head;
        let key = (self.tenant.as_str(), &id.as_bytes()[..]);
        let rows: Vec<HeadRow> = self.cluster.rows("notifications", statement, key).await?;
        partition::row(id, rows, &self.shown)
    }
}

fn place((at, id, channel): (i64, Vec<u8>, String)) -> Result<Place, StoreError> {
    let at = PageCursor {
        at_ms: from_column(at),
        id: read_id(id)?,
    };
    Ok(Place { at, channel })
}
