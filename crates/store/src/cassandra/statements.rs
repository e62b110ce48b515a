//! Statements: everything that this store ever sends, prepared when it is opened.
//!
//! In: a session and a keyspace. Out: prepared statements. Always: each is idempotent and names its keyspace;
//! each write has a time to live; each read begins with the tenant.

use futures_util::future::try_join_all;
use scylla::{
    client::session::Session, statement::prepared::PreparedStatement, statement::unprepared::Statement,
};

use super::failure;
use crate::StoreError;

/// Rows in one page of a read. Payloads are up to 64 KiB.
const PAGE_ROWS: i32 = 200;

/// The statements.
pub(super) struct Statements {
    pub(super) payload: PreparedStatement,
    pub(super) fact: PreparedStatement,
    pub(super) place: PreparedStatement,
    pub(super) mark: PreparedStatement,
    pub(super) recent: PreparedStatement,
    pub(super) claim: PreparedStatement,
    pub(super) claim_anew: PreparedStatement,
    pub(super) notification: PreparedStatement,
    pub(super) head: PreparedStatement,
    pub(super) facts: PreparedStatement,
    pub(super) hours: PreparedStatement,
    pub(super) places: PreparedStatement,
    pub(super) last: PreparedStatement,
    pub(super) ping: PreparedStatement,
}

const PAYLOAD: &str = "
    INSERT INTO {}.notifications
        (tenant_id, notification_id, stamp, node, day, at,
         accepted_at, channel, user_id, correlation_id, envelope)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
const FACT: &str = "
    INSERT INTO {}.notifications (tenant_id, notification_id, stamp, node, day, at)
    VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
const PLACE: &str = "
    INSERT INTO {}.tenant_timeline (tenant_id, hour, sub, at, notification_id, channel)
    VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
const MARK: &str = "INSERT INTO {}.tenant_hours (tenant_id, hour) VALUES (?, ?) USING TTL ?";
const RECENT: &str = "
    INSERT INTO {}.channel_recent
        (tenant_id, stream, day, generation, shard, position, notification_id, delivery, at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
const CLAIM: &str = "
    INSERT INTO {}.idempotency (tenant_id, key, notification_id, body_hash, at)
    VALUES (?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?";
const CLAIM_ANEW: &str = "
    UPDATE {}.idempotency USING TTL ? SET notification_id = ?, body_hash = ?, at = ?
    WHERE tenant_id = ? AND key = ? IF notification_id = ? AND at = ?";
const NOTIFICATION: &str = "
    SELECT stamp, node, at, envelope FROM {}.notifications WHERE tenant_id = ? AND notification_id = ?";
const HEAD: &str = "
    SELECT stamp, node, at, accepted_at, channel, user_id, correlation_id FROM {}.notifications
    WHERE tenant_id = ? AND notification_id = ?";
const FACTS: &str = "SELECT stamp, at FROM {}.notifications WHERE tenant_id = ? AND notification_id = ?";
const HOURS: &str = "
    SELECT hour FROM {}.tenant_hours WHERE tenant_id = ? AND hour <= ? AND hour >= ?
    ORDER BY hour DESC LIMIT ?";
const PLACES: &str = "
    SELECT at, notification_id, channel FROM {}.tenant_timeline
    WHERE tenant_id = ? AND hour = ? AND sub = ? AND (at, notification_id) < (?, ?)
    ORDER BY at DESC, notification_id DESC LIMIT ?";
const LAST: &str = "
    SELECT generation, shard, position, notification_id, delivery, at FROM {}.channel_recent
    WHERE tenant_id = ? AND stream = ? AND day = ? AND (generation, shard, position) < (?, ?, ?)
    ORDER BY generation DESC, shard DESC, position DESC LIMIT ?";
const PING: &str = "SELECT version FROM {}.schema_migrations WHERE part = 'carillon' LIMIT 1";

impl Statements {
    pub(super) async fn prepare(session: &Session, keyspace: &str) -> Result<Self, StoreError> {
        let texts = [
            PAYLOAD,
            FACT,
            PLACE,
            MARK,
            RECENT,
            CLAIM,
            CLAIM_ANEW,
            NOTIFICATION,
            HEAD,
            FACTS,
            HOURS,
            PLACES,
            LAST,
            PING,
        ];
        let each = texts.map(|text| prepare(session, text.replace("{}", keyspace)));
        let prepared: Result<[_; 14], _> = try_join_all(each).await?.try_into();
        let Ok(
            [
                payload,
                fact,
                place,
                mark,
                recent,
                claim,
                claim_anew,
                notification,
                head,
                facts,
                hours,
                places,
                last,
                ping,
            ],
        ) = prepared
        else {
            return Err(StoreError::Unavailable(
                "not every statement was prepared".to_owned(),
            ));
        };
        Ok(Self {
            payload,
            fact,
            place,
            mark,
            recent,
            claim,
            claim_anew,
            notification,
            head,
            facts,
            hours,
            places,
            last,
            ping,
        })
    }
}

async fn prepare(session: &Session, text: String) -> Result<PreparedStatement, StoreError> {
    let mut statement = Statement::new(text);
    statement.set_page_size(PAGE_ROWS);
    // Repeated, a claim finds itself: see there.
    statement.set_is_idempotent(true);
    let prepared = session.prepare(statement).await;
    prepared.map_err(|error| failure::not_prepared(&error))
}
