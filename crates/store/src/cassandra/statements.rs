//! Statements: everything that this store ever sends, prepared when it is opened.
//!
//! In: a session and a keyspace. Out: prepared statements. Always: each is idempotent and names its keyspace;
//! each write has a time to live; each read begins with the tenant, the schedule's with its partition.

use futures_util::future::try_join_all;
use scylla::{
    client::session::Session, statement::prepared::PreparedStatement, statement::unprepared::Statement,
};

use super::failure;
use crate::StoreError;

/// Rows in one page of a read. Payloads are up to 64 KiB.
const PAGE_ROWS: i32 = 200;

/// Each statement with its name.
macro_rules! statements {
    ($($name:ident: $text:literal;)*) => {
        /// The statements.
        pub(super) struct Statements {
            $(pub(super) $name: PreparedStatement,)*
        }

        impl Statements {
            pub(super) async fn prepare(session: &Session, keyspace: &str) -> Result<Self, StoreError> {
                let each = [$($text),*].map(|text| prepare(session, text.replace("{}", keyspace)));
                let mut prepared = try_join_all(each).await?.into_iter();
                let mut next = || {
                    let missing = || StoreError::Unavailable("not every statement was prepared".to_owned());
                    prepared.next().ok_or_else(missing)
                };
                Ok(Self { $($name: next()?,)* })
            }
        }
    };
}

statements! {
    payload: "
        INSERT INTO {}.notifications
            (tenant_id, notification_id, stamp, node, day, at,
             accepted_at, channel, user_id, correlation_id, envelope, due_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    fact: "
        INSERT INTO {}.notifications (tenant_id, notification_id, stamp, node, day, at)
        VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    sessions: "
        UPDATE {}.notifications USING TIMESTAMP ? AND TTL ? SET sessions = ?
        WHERE tenant_id = ? AND notification_id = ? AND stamp = ? AND node = ? AND day = ?";
    place: "
        INSERT INTO {}.tenant_timeline (tenant_id, hour, sub, at, notification_id, channel)
        VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    mark: "INSERT INTO {}.tenant_hours (tenant_id, hour) VALUES (?, ?) USING TTL ?";
    mark_log: "INSERT INTO {}.log_hours (tenant_id, log, hour) VALUES (?, ?, ?) USING TTL ?";
    recent: "
        INSERT INTO {}.channel_recent
            (tenant_id, stream, day, generation, shard, position, notification_id, delivery, at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    collapse: "
        INSERT INTO {}.collapse_latest (tenant_id, stream, collapse_key, lane, latest)
        VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    schedule: "
        INSERT INTO {}.scheduled (partition_id, minute, due_at, tenant_id, notification_id)
        VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    unschedule: "
        DELETE FROM {}.scheduled USING TIMESTAMP ?
        WHERE partition_id = ? AND minute = ? AND due_at = ? AND tenant_id = ? AND notification_id = ?";
    minute: "
        INSERT INTO {}.scheduled_minutes (partition_id, minute) VALUES (?, ?) USING TIMESTAMP ? AND TTL ?";
    forget_minute: "
        DELETE FROM {}.scheduled_minutes USING TIMESTAMP ? WHERE partition_id = ? AND minute = ?";
    letter: "
        INSERT INTO {}.dead_letters (tenant_id, hour, at, partition_id, position, letter)
        VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    letter_place: "
        INSERT INTO {}.dead_letter_places (tenant_id, partition_id, position, at)
        VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    mark_letter: "
        UPDATE {}.dead_letters USING TIMESTAMP ? AND TTL ? SET mark = ?
        WHERE tenant_id = ? AND hour = ? AND at = ? AND partition_id = ? AND position = ?";
    begin_job: "
        INSERT INTO {}.jobs (tenant_id, id, began) VALUES (?, ?, ?) IF NOT EXISTS USING TTL ?";
    save_job: "
        UPDATE {}.jobs USING TIMESTAMP ? AND TTL ? SET saved = ? WHERE tenant_id = ? AND id = ?";
    entry: "
        INSERT INTO {}.audit (tenant_id, hour, at, id, kind, entry)
        VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    claim: "
        INSERT INTO {}.idempotency (tenant_id, key, notification_id, body_hash, at)
        VALUES (?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?";
    claim_anew: "
        UPDATE {}.idempotency USING TTL ? SET notification_id = ?, body_hash = ?, at = ?
        WHERE tenant_id = ? AND key = ? IF notification_id = ? AND at = ?";
    notification: "
        SELECT stamp, node, at, accepted_at, due_at, sessions, envelope FROM {}.notifications
        WHERE tenant_id = ? AND notification_id = ?";
    head: "
        SELECT stamp, node, at, due_at, accepted_at, channel, user_id, correlation_id FROM {}.notifications
        WHERE tenant_id = ? AND notification_id = ?";
    facts: "SELECT stamp, at, due_at FROM {}.notifications WHERE tenant_id = ? AND notification_id = ?";
    hours: "
        SELECT hour FROM {}.tenant_hours WHERE tenant_id = ? AND hour <= ? AND hour >= ?
        ORDER BY hour DESC LIMIT ?";
    hours_oldest: "
        SELECT hour FROM {}.tenant_hours WHERE tenant_id = ? AND hour <= ? AND hour >= ?
        ORDER BY hour ASC LIMIT ?";
    log_hours: "
        SELECT hour FROM {}.log_hours WHERE tenant_id = ? AND log = ? AND hour <= ? AND hour >= ?
        ORDER BY hour DESC LIMIT ?";
    log_hours_oldest: "
        SELECT hour FROM {}.log_hours WHERE tenant_id = ? AND log = ? AND hour <= ? AND hour >= ?
        ORDER BY hour ASC LIMIT ?";
    places: "
        SELECT at, notification_id, channel FROM {}.tenant_timeline
        WHERE tenant_id = ? AND hour = ? AND sub = ? AND (at, notification_id) < (?, ?)
        ORDER BY at DESC, notification_id DESC LIMIT ?";
    places_oldest: "
        SELECT at, notification_id, channel FROM {}.tenant_timeline
        WHERE tenant_id = ? AND hour = ? AND sub = ? AND (at, notification_id) > (?, ?)
        ORDER BY at ASC, notification_id ASC LIMIT ?";
    last: "
        SELECT generation, shard, position, notification_id, delivery, at FROM {}.channel_recent
        WHERE tenant_id = ? AND stream = ? AND day = ? AND (generation, shard, position) < (?, ?, ?)
        ORDER BY generation DESC, shard DESC, position DESC LIMIT ?";
    latest: "
        SELECT latest FROM {}.collapse_latest WHERE tenant_id = ? AND stream = ? AND collapse_key = ?";
    minutes: "
        SELECT minute FROM {}.scheduled_minutes WHERE partition_id = ? AND minute >= ? AND minute <= ?
        ORDER BY minute ASC LIMIT ?";
    due: "
        SELECT due_at, tenant_id, notification_id FROM {}.scheduled
        WHERE partition_id = ? AND minute = ? AND due_at <= ? LIMIT ?";
    letters: "
        SELECT at, partition_id, position, letter, mark FROM {}.dead_letters
        WHERE tenant_id = ? AND hour = ? AND (at, partition_id, position) < (?, ?, ?)
        ORDER BY at DESC, partition_id DESC, position DESC LIMIT ?";
    letters_oldest: "
        SELECT at, partition_id, position, letter, mark FROM {}.dead_letters
        WHERE tenant_id = ? AND hour = ? AND (at, partition_id, position) > (?, ?, ?)
        ORDER BY at ASC, partition_id ASC, position ASC LIMIT ?";
    one_letter: "
        SELECT at, partition_id, position, letter, mark FROM {}.dead_letters
        WHERE tenant_id = ? AND hour = ? AND at = ? AND partition_id = ? AND position = ?";
    place_of_letter: "
        SELECT at FROM {}.dead_letter_places WHERE tenant_id = ? AND partition_id = ? AND position = ?";
    job: "SELECT began, saved FROM {}.jobs WHERE tenant_id = ? AND id = ?";
    entries: "
        SELECT at, id, kind, entry FROM {}.audit
        WHERE tenant_id = ? AND hour = ? AND (at, id) < (?, ?)
        ORDER BY at DESC, id DESC LIMIT ?";
    ping: "SELECT version FROM {}.schema_migrations WHERE part = 'carillon' LIMIT 1";
}

async fn prepare(session: &Session, text: String) -> Result<PreparedStatement, StoreError> {
    let mut statement = Statement::new(text);
    statement.set_page_size(PAGE_ROWS);
    // Repeated, a claim finds itself: see there. So does a job that begins.
    statement.set_is_idempotent(true);
    let prepared = session.prepare(statement).await;
    prepared.map_err(|error| failure::not_prepared(&error))
}
