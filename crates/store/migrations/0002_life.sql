-- What happens to a notification after its dispatch, and what operators ask for. As in 0001: every table's key
-- starts with the tenant (the schedule's with its partition), times are Unix milliseconds, ids are the 16 bytes
-- of the UUID.

-- Nearly every notification is delivered, by one process and in the attempt that stored it: that fact stands in
-- the row too. `delivered_at` and `acked_at` are negative until then and as wide as the time; `delivered_by` is as
-- wide as a process's name until then, and counts for both; `sessions` is one more than was told, -1 for nothing
-- told. NULL in rows of before, and in rows without payload.
ALTER TABLE notifications ADD COLUMN delivered_at INTEGER;
ALTER TABLE notifications ADD COLUMN acked_at INTEGER;
ALTER TABLE notifications ADD COLUMN sessions INTEGER;
ALTER TABLE notifications ADD COLUMN delivered_by TEXT;

-- With a delivery: to how many of the process's sessions, the most that was told.
ALTER TABLE delivery_log ADD COLUMN sessions INTEGER;

-- The newest notification of each collapse key, by (accepted_at, id).
CREATE TABLE collapse_latest (
    tenant       TEXT    NOT NULL,
    stream       TEXT    NOT NULL,
    collapse_key TEXT    NOT NULL,
    accepted_at  INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant, stream, collapse_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX collapse_latest_expiry ON collapse_latest (expires_at);

-- What waits for its deliver_at, by the partition that it came from. A row goes when it is taken out.
CREATE TABLE scheduled (
    partition  INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    tenant     TEXT    NOT NULL,
    id         BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (partition, due_at, tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX scheduled_expiry ON scheduled (expires_at);
CREATE INDEX scheduled_tenant ON scheduled (tenant);

-- The index of dead letters: a row as it is shown (JSON), and what was done with it last, beside it, because a
-- row may be told again. `marked` orders the marks.
CREATE TABLE dead_letters (
    tenant      TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    partition   INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    error_class TEXT    NOT NULL,
    error_code  TEXT    NOT NULL,
    state       TEXT,
    job         BLOB,
    marked      INTEGER,
    letter      TEXT    NOT NULL,
    PRIMARY KEY (tenant, at, partition, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letters_place ON dead_letters (tenant, partition, position);
CREATE INDEX dead_letters_expiry ON dead_letters (expires_at);

-- Jobs over dead letters and stored notifications, as JSON. `version` orders what was saved.
CREATE TABLE jobs (
    tenant     TEXT    NOT NULL,
    id         BLOB    NOT NULL,
    version    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    job        TEXT    NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_expiry ON jobs (expires_at);

-- The audit trail, as JSON.
CREATE TABLE audit (
    tenant     TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    id         BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    entry      TEXT    NOT NULL,
    PRIMARY KEY (tenant, at, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_expiry ON audit (expires_at);
