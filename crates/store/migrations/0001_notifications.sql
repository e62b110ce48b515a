-- What was accepted and what became of it. Every table's key starts with the tenant; times are Unix
-- milliseconds; ids are the 16 bytes of the UUID.

-- Payload and state. A fact may come before its payload: accepted_at and what follows are NULL until then.
-- `stamp` is the packed (redrive, attempt, rank) of the highest fact. Rows are short at the front, so that
-- a list never reads a long payload.
CREATE TABLE notifications (
    tenant         TEXT    NOT NULL,
    id             BLOB    NOT NULL,
    stamp          INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    accepted_at    INTEGER,
    channel        TEXT,
    user_id        TEXT,
    correlation_id TEXT,
    envelope       BLOB,
    PRIMARY KEY (tenant, id)
) STRICT;

-- A tenant's deliveries by time. An index, so that it is never at odds with the rows.
CREATE INDEX tenant_timeline ON notifications (tenant, accepted_at, id);

-- The time line: every fact but `accepted`, which is the row's own accepted_at. Removed with its notification.
CREATE TABLE delivery_log (
    tenant TEXT    NOT NULL,
    id     BLOB    NOT NULL,
    stamp  INTEGER NOT NULL,
    node   TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (tenant, id, stamp, node)
) STRICT, WITHOUT ROWID;

-- The last notifications of a stream, in the order of its cursors.
CREATE TABLE channel_recent (
    tenant     TEXT    NOT NULL,
    stream     TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    shard      INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    id         BLOB    NOT NULL,
    delivery   INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, stream, generation, shard, position)
) STRICT, WITHOUT ROWID;

-- Who holds an idempotency key.
CREATE TABLE idempotency (
    tenant     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    id         BLOB    NOT NULL,
    body_hash  BLOB    NOT NULL,
    at         INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_expiry ON idempotency (expires_at);
