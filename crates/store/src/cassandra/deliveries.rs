//! Pages of a tenant's deliveries, newest first, and of its stored notifications, oldest first.
//!
//! In: a query. Out: a page. Always: a position is never passed without its row being looked at, so that pages
//! lose and double none; what one page looks at is bounded.

use std::collections::VecDeque;

use carillon_schemas::{NotificationId, http::DeliveryRow, limits};

use super::{
    logs::{HOURS, Log, SCAN_PER_ROW, Way},
    partition::{self, HeadRow},
    read::{Reader, read_id},
    times::{from_column, hour, time},
    write::SUBS,
};
use crate::{
    DeliveriesQuery, DeliveriesResult, PageCursor, StoreError, StoredQuery, StoredResult, StoredRow, kept,
};

/// The greatest id of a moment.
const LAST: [u8; 16] = [0xff; 16];

/// Payloads that are asked for at once.
const PAYLOADS: usize = 100;

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
        let way = Way::new(false, query.cursor, query.since_ms, None, LAST);
        let mut before = way.from;
        let hours = self.hours(&way).await?;
        for hour in &hours {
            loop {
                let (places, more) = self
                    .places(&way, *hour, &before, limit - page.rows.len() + 1)
                    .await?;
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
        let next = way.behind(&hours, LAST);
        Ok(page.next(next))
    }

    /// The next hours that have anything, from where the page begins.
    async fn hours(&self, way: &Way) -> Result<Vec<i32>, StoreError> {
        let statements = &self.cluster.statements;
        let (statement, newest, oldest) = match way.oldest_first {
            true => (&statements.hours_oldest, hour(way.until_ms), hour(way.from.at_ms)),
            false => (&statements.hours, hour(way.from.at_ms), hour(way.since_ms)),
        };
        let values = (self.tenant.as_str(), newest, oldest, HOURS);
        let ordinary = self.cluster.rows("tenant_hours", statement, values);
        let ahead = self.log_hours(Log::Ahead, way);
        let (ordinary, ahead): (Vec<(i32,)>, _) = futures_util::future::try_join(ordinary, ahead).await?;
        let mut hours: Vec<_> = ordinary.into_iter().map(|(hour,)| hour).chain(ahead).collect();
        hours.sort_unstable();
        if !way.oldest_first {
            hours.reverse();
        }
        hours.dedup();
        hours.truncate(HOURS as usize);
        Ok(hours)
    }

    /// Places of an hour behind this one, in their order, about as many as wanted, and whether there may be more.
    async fn places(
        &self,
        way: &Way,
        hour: i32,
        from: &PageCursor,
        wanted: usize,
    ) -> Result<(VecDeque<Place>, bool), StoreError> {
        let each_sub = wanted.div_ceil(usize::from(SUBS)) + 4;
        let statements = &self.cluster.statements;
        let statement = match way.oldest_first {
            true => &statements.places_oldest,
            false => &statements.places,
        };
        let subs = (0..SUBS.cast_signed()).map(|sub| async move {
            let id = &from.id.as_bytes()[..];
            let limit = i32::try_from(each_sub).unwrap_or(i32::MAX);
            let values = (self.tenant.as_str(), hour, sub, time(from.at_ms), id, limit);
            let rows: Vec<(i64, Vec<u8>, String)> =
                self.cluster.rows("tenant_timeline", statement, values).await?;
            rows.into_iter().map(place).collect::<Result<Vec<_>, _>>()
        });
        let subs = self.cluster.answers(subs).await?;
        // What a partition did not give yet may stand anywhere behind its last: only what stands before all
        // those ends is in order.
        let cut = subs.iter().filter(|places| places.len() == each_sub);
        let ends = cut.filter_map(|places| places.last()).map(|place| place.at);
        let end = if way.oldest_first { ends.min() } else { ends.max() };
        let mut places: Vec<_> = subs.into_iter().flatten().collect();
        places.sort_by_key(|place| place.at);
        if way.oldest_first {
            places.retain(|place| end.is_none_or(|end| place.at <= end));
        } else {
            places.retain(|place| end.is_none_or(|end| place.at >= end));
            places.reverse();
        }
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

    /// A page of stored notifications, oldest first.
    pub(super) async fn stored(&self, query: &StoredQuery) -> Result<StoredResult, StoreError> {
        let limit = query.limit.clamp(1, limits::PAGE_ROWS) as usize;
        let (mut scan, mut bytes) = (limit * SCAN_PER_ROW, 0);
        let way = Way::new(
            true,
            query.cursor,
            Some(query.since_ms),
            Some(query.until_ms),
            LAST,
        );
        let (mut rows, mut from) = (Vec::new(), way.from);
        let hours = self.hours(&way).await?;
        for hour in &hours {
            loop {
                let wanted = (limit - rows.len()).clamp(1, PAYLOADS);
                let (places, more) = self.places(&way, *hour, &from, wanted).await?;
                let asked: Vec<_> = places
                    .iter()
                    .map(|place| (place.at, asks(query, place)))
                    .collect();
                let asked = asked
                    .into_iter()
                    .map(|(at, asked)| self.stored_at(at, asked, query));
                let found = self.cluster.answers(asked).await?;
                for (place, row) in places.iter().zip(found) {
                    if way.is_over(place.at.at_ms) {
                        return Ok(StoredResult { rows, next: None });
                    }
                    if rows.len() == limit || scan == 0 || bytes >= kept::PAGE_BYTES {
                        return Ok(StoredResult {
                            rows,
                            next: Some(from),
                        });
                    }
                    scan -= 1;
                    from = place.at;
                    bytes += row.as_ref().map_or(0, |row| row.bytes.len());
                    rows.extend(row);
                }
                if !more {
                    break;
                }
            }
        }
        let next = way.behind(&hours, LAST);
        Ok(StoredResult { rows, next })
    }

    async fn stored_at(
        &self,
        at: PageCursor,
        asked: bool,
        query: &StoredQuery,
    ) -> Result<Option<StoredRow>, StoreError> {
        if !asked {
            return Ok(None);
        }
        let row = partition::stored(at, self.rows(at.id).await?, &self.shown)?;
        let wanted = query.channel.as_ref();
        Ok(row.filter(|row| wanted.is_none_or(|channel| *channel == row.envelope.channel)))
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

/// Whether a place is on the asked channel.
fn asks(query: &StoredQuery, place: &Place) -> bool {
    let wanted = query.channel.as_ref();
    wanted.is_none_or(|channel| channel.as_str() == place.channel)
}

fn place((at, id, channel): (i64, Vec<u8>, String)) -> Result<Place, StoreError> {
    let at = PageCursor {
        at_ms: from_column(at),
        id: read_id(id)?,
    };
    Ok(Place { at, channel })
}
