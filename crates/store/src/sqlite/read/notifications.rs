//! What is known of notifications, and which is the latest of a collapse key.
//!
//! In: ids, or keys. Out: what is known of each. Always: a fact counts wherever it stands, in the row or the log.

use std::collections::BTreeMap;

use bytes::Bytes;
use carillon_schemas::{
    CollapseKey, NotificationId, Stream, TenantId,
    status::{Stamp, Status},
};
use rusqlite::{Connection, Error, OptionalExtension, Row, params};

use super::{envelope, stamp};
use crate::{
    Head, Known,
    sqlite::apply::time,
    timeline::{self, Told},
};

const NOTIFICATION: &str = "
    SELECT stored_stamp, stored_at, dispatched_at, node, delivered_at, acked_at, sessions, delivered_by,
        stamp, envelope
    FROM notifications
    WHERE tenant = ?1 AND id = ?2 AND expires_at > ?3 AND envelope NOT NULL";

pub(in crate::sqlite) fn notification(
    connection: &Connection,
    tenant: &TenantId,
    id: NotificationId,
    now: u64,
) -> rusqlite::Result<Option<Known>> {
    let mut row = connection.prepare_cached(NOTIFICATION)?;
    let row = row.query_row(params![tenant.as_str(), id.as_bytes(), time(now)], |row| {
        let bytes = Bytes::from(row.get::<_, Vec<u8>>(9)?);
        Ok((stamp(row, 8)?.status, bytes, facts_in_row(row)?))
    });
    let Some((status, bytes, mut facts)) = row.optional()? else {
        return Ok(None);
    };
    add_logged(connection, tenant, id, &mut facts)?;
    let told = told(facts)?;
    let head = timeline::head(told.iter().map(|fact| (fact.stamp, fact.at)));
    let envelope = envelope(&bytes, 9)?;
    Ok(Some(Known {
        first_delivered_at: head.and_then(|head| head.first_delivered_at),
        acked_at: head.and_then(|head| head.acked_at),
        timeline: timeline::timeline(envelope.accepted_at, told),
        bytes,
        envelope,
        status,
    }))
}

const HEAD: &str = "
    SELECT stored_stamp, stored_at, dispatched_at, node, delivered_at, acked_at, sessions, delivered_by
    FROM notifications WHERE tenant = ?1 AND id = ?2 AND expires_at > ?3";

pub(in crate::sqlite) fn heads(
    connection: &Connection,
    tenant: &TenantId,
    ids: &[NotificationId],
    now: u64,
) -> rusqlite::Result<Vec<Option<Head>>> {
    ids.iter().map(|id| head(connection, tenant, *id, now)).collect()
}

pub(super) fn head(
    connection: &Connection,
    tenant: &TenantId,
    id: NotificationId,
    now: u64,
) -> rusqlite::Result<Option<Head>> {
    let mut row = connection.prepare_cached(HEAD)?;
    let key = params![tenant.as_str(), id.as_bytes(), time(now)];
    let Some(mut facts) = row.query_row(key, facts_in_row).optional()? else {
        return Ok(None);
    };
    add_logged(connection, tenant, id, &mut facts)?;
    let told = told(facts)?;
    Ok(timeline::head(told.iter().map(|fact| (fact.stamp, fact.at))))
}

/// What was told: by stamp and process, the earliest time and the most sessions.
type Facts = BTreeMap<(i64, String), (i64, Option<u32>)>;

/// The facts that stand in the row itself, in its first eight columns.
fn facts_in_row(row: &Row<'_>) -> rusqlite::Result<Facts> {
    let mut facts = Facts::new();
    let Some(stored) = row.get::<_, Option<i64>>(0)? else {
        return Ok(facts);
    };
    let first = Stamp::unpack(stored).ok_or(Error::IntegralValueOutOfRange(0, stored))?;
    let of = |status| Stamp { status, ..first }.packed();
    let node: String = row.get(3)?;
    let told =
        |column| -> rusqlite::Result<_> { Ok(row.get::<_, Option<i64>>(column)?.filter(|at| *at >= 0)) };
    if let Some(at) = told(2)? {
        facts.insert((of(Status::Dispatched), node.clone()), (at, None));
    }
    facts.insert((stored, node), (row.get(1)?, None));
    if let Some(at) = told(4)? {
        let sessions = told(6)?.and_then(|more| u32::try_from(more - 1).ok());
        facts.insert((of(Status::Delivered), row.get(7)?), (at, sessions));
    }
    if let Some(at) = told(5)? {
        facts.insert((of(Status::Acknowledged), row.get(7)?), (at, None));
    }
    Ok(facts)
}

const LOG: &str = "SELECT stamp, node, at, sessions FROM delivery_log WHERE tenant = ?1 AND id = ?2";

fn add_logged(
    connection: &Connection,
    tenant: &TenantId,
    id: NotificationId,
    facts: &mut Facts,
) -> rusqlite::Result<()> {
    let mut log = connection.prepare_cached(LOG)?;
    let mut rows = log.query(params![tenant.as_str(), id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        let (at, sessions) = (row.get(2)?, row.get(3)?);
        let fact = facts.entry((row.get(0)?, row.get(1)?)).or_insert((at, sessions));
        *fact = (at.min(fact.0), sessions.max(fact.1));
    }
    Ok(())
}

/// Facts with their stamps and times read.
fn told(facts: Facts) -> rusqlite::Result<Vec<Told>> {
    let fact = |((packed, node), (at, sessions))| {
        Ok(Told {
            stamp: Stamp::unpack(packed).ok_or(Error::IntegralValueOutOfRange(0, packed))?,
            at: u64::try_from(at).map_err(|_| Error::IntegralValueOutOfRange(2, at))?,
            node,
            sessions,
        })
    };
    facts.into_iter().map(fact).collect()
}

const LATEST: &str = "
    SELECT id FROM collapse_latest
    WHERE tenant = ?1 AND stream = ?2 AND collapse_key = ?3 AND expires_at > ?4";

pub(in crate::sqlite) fn latest(
    connection: &Connection,
    tenant: &TenantId,
    keys: &[(Stream, CollapseKey)],
    now: u64,
) -> rusqlite::Result<Vec<Option<NotificationId>>> {
    let mut row = connection.prepare_cached(LATEST)?;
    let each = keys.iter().map(|(stream, key)| {
        let key = params![tenant.as_str(), stream.to_string(), key.as_str(), time(now)];
        row.query_row(key, |row| Ok(NotificationId::from_bytes(row.get(0)?)))
            .optional()
    });
    each.collect()
}
