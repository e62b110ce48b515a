//! Reads of notifications and of streams.
//!
//! In: a tenant and a question. Out: the answer. Always: every statement begins with the tenant.

use std::collections::BTreeMap;

use carillon_schemas::{CollapseKey, NotificationId, Stream, TenantId, cursor::Cursor, limits};

use super::{
    cluster::Cluster,
    failure::corrupt,
    latest::Latest,
    partition::{self, FactRow, NotificationRow, Shown},
    times::{day, time},
};
use crate::{Head, Known, RecentRow, StoreError};

mod letters;
pub(super) mod schedule;

/// A row of `channel_recent`: its place, what stands there, and since when.
type Place = (i32, i32, i64, Vec<u8>, i32, i64);

/// Days that are looked into first: most streams that are asked for are in use. The first is tomorrow: clocks
/// differ.
const FIRST_DAYS: usize = 3;

/// Days that are looked into at once after that.
const MORE_DAYS: usize = 8;

/// Most days that are looked into, however long things are kept.
const MOST_DAYS: i32 = 400;

/// Reads, with what they need.
pub(super) struct Reader<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) tenant: &'a TenantId,
    pub(super) shown: Shown,
}

impl Reader<'_> {
    pub(super) async fn notification(&self, id: NotificationId) -> Result<Option<Known>, StoreError> {
        partition::known(self.rows(id).await?, &self.shown)
    }

    pub(super) async fn rows(&self, id: NotificationId) -> Result<Vec<NotificationRow>, StoreError> {
        let statement = &self.cluster.statements.notification;
        let key = (self.tenant.as_str(), &id.as_bytes()[..]);
        self.cluster.rows("notifications", statement, key).await
    }

    pub(super) async fn heads(&self, ids: &[NotificationId]) -> Result<Vec<Option<Head>>, StoreError> {
        let statement = &self.cluster.statements.facts;
        let each = ids.iter().copied().map(|id| async move {
            let key = (self.tenant.as_str(), &id.as_bytes()[..]);
            let rows: Vec<FactRow> = self.cluster.rows("notifications", statement, key).await?;
            partition::head(rows.into_iter(), &self.shown)
        });
        self.cluster.answers(each).await
    }

    pub(super) async fn latest(
        &self,
        keys: &[(Stream, CollapseKey)],
    ) -> Result<Vec<Option<NotificationId>>, StoreError> {
        let statement = &self.cluster.statements.latest;
        let keys: Vec<_> = keys
            .iter()
            .map(|(stream, key)| (stream.to_string(), key.clone()))
            .collect();
        let each = keys.into_iter().map(|(stream, key)| async move {
            let values = (self.tenant.as_str(), stream, key.as_str());
            let lanes: Vec<(Vec<u8>,)> = self.cluster.rows("collapse_latest", statement, values).await?;
            let each = lanes.iter().map(|(cell,)| Latest::from_bytes(cell));
            let latest = each.collect::<Result<Vec<_>, _>>()?.into_iter().max();
            let shown = latest.filter(|latest| self.shown.at(time(latest.counts_from)));
            Ok(shown.map(|latest| latest.id))
        });
        self.cluster.answers(each).await
    }

    pub(super) async fn recent(
        &self,
        stream: &Stream,
        n: u32,
        mut before: Option<Cursor>,
    ) -> Result<Vec<RecentRow>, StoreError> {
        let wanted = n.min(limits::LAST_N) as usize;
        let stream = stream.to_string();
        let mut rows = Vec::new();
        while rows.len() < wanted {
            let places = self.last(&stream, before, wanted - rows.len()).await?;
            let missing = wanted - rows.len();
            let ended = places.len() < missing;
            before = places.last().map(|(cursor, ..)| *cursor);
            let each = places.into_iter().map(|(cursor, id, delivery)| async move {
                let payload = partition::payload(self.rows(id).await?)?;
                Ok(payload.map(|(bytes, envelope)| RecentRow {
                    cursor,
                    delivery,
                    envelope,
                    bytes,
                }))
            });
            rows.extend(self.cluster.answers(each).await?.into_iter().flatten());
            if ended {
                break;
            }
        }
        rows.reverse();
        Ok(rows)
    }

    /// The last places of a stream before a cursor, greatest first. Days follow the clocks of those who
    /// dispatch, and cursors follow Kafka: around midnight the two may disagree. So a place counts as found
    /// when the day before its own was looked into as well.
    async fn last(
        &self,
        stream: &str,
        before: Option<Cursor>,
        wanted: usize,
    ) -> Result<Vec<(Cursor, NotificationId, u32)>, StoreError> {
        let newest = day(self.shown.now_ms).saturating_add(1);
        let oldest = day(self.shown.now_ms.saturating_sub(self.shown.retention_ms));
        let days: Vec<i32> = (oldest.max(newest - MOST_DAYS)..=newest).rev().collect();
        let (first, more) = days.split_at(FIRST_DAYS.min(days.len()));
        let mut found = BTreeMap::new();
        for group in std::iter::once(first).chain(more.chunks(MORE_DAYS)) {
            let each = group
                .iter()
                .copied()
                .map(|day| self.day(stream, day, before, wanted));
            let answers = self.cluster.answers(each).await?;
            let settled: usize = answers.iter().rev().skip(1).map(Vec::len).sum();
            let so_far = found.len();
            for (generation, shard, offset, id, delivery, at) in answers.into_iter().flatten() {
                if self.shown.at(at) {
                    let cursor = cursor(generation, shard, offset)?;
                    found.insert(cursor, (read_id(id)?, delivery.unsigned_abs()));
                }
            }
            if so_far + settled >= wanted && found.len() >= wanted {
                break;
            }
        }
        let places = found.into_iter().rev().take(wanted);
        Ok(places
            .map(|(cursor, (id, delivery))| (cursor, id, delivery))
            .collect())
    }

    async fn day(
        &self,
        stream: &str,
        day: i32,
        before: Option<Cursor>,
        wanted: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let (generation, shard, position) = before.map_or((i32::from(u16::MAX) + 1, 0, 0), |cursor| {
            (cursor.generation.into(), cursor.shard.into(), cursor.offset)
        });
        let statement = &self.cluster.statements.last;
        let limit = i32::try_from(wanted).unwrap_or(i32::MAX);
        let values = (
            self.tenant.as_str(),
            stream,
            day,
            generation,
            shard,
            position,
            limit,
        );
        self.cluster.rows("channel_recent", statement, values).await
    }
}

fn cursor(generation: i32, shard: i32, offset: i64) -> Result<Cursor, StoreError> {
    let part = |value: i32| u16::try_from(value).map_err(|error| corrupt("channel_recent", &error));
    Ok(Cursor {
        generation: part(generation)?,
        shard: part(shard)?,
        offset,
    })
}

/// An id from a column.
pub(super) fn read_id(bytes: Vec<u8>) -> Result<NotificationId, StoreError> {
    match <[u8; 16]>::try_from(bytes) {
        Ok(bytes) => Ok(NotificationId::from_bytes(bytes)),
        Err(bytes) => Err(corrupt(
            "notifications",
            &format_args!("an id of {} bytes", bytes.len()),
        )),
    }
}
