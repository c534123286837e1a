-- What labels at Hetzner cannot say. Rows keep their record as JSON, complete; the columns beside it
-- are what is searched for. Instants are microseconds since the epoch.

CREATE TABLE runs (
    id        TEXT PRIMARY KEY NOT NULL,           -- a ULID: sorts by age
    cattle    TEXT NOT NULL,
    hash      TEXT NOT NULL,
    created   INTEGER NOT NULL,
    ended_at  INTEGER,
    gone_at   INTEGER,
    forgotten INTEGER NOT NULL DEFAULT 0,          -- result and log are past their retention
    record    TEXT NOT NULL
) STRICT;

CREATE INDEX runs_by_cattle ON runs (cattle, id);
CREATE INDEX runs_by_end ON runs (ended_at);
-- What every pass reads, however long the history is.
CREATE INDEX runs_unsettled ON runs (id) WHERE ended_at IS NULL OR gone_at IS NULL;
-- Two live runs of one cattle would do its task twice. Checked before; this is the last line.
CREATE UNIQUE INDEX runs_one_live ON runs (cattle) WHERE ended_at IS NULL;

CREATE TABLE assignments (
    cattle TEXT NOT NULL,
    hash   TEXT NOT NULL,
    open   INTEGER NOT NULL,                       -- not ended yet: what every pass reads
    record TEXT NOT NULL,
    PRIMARY KEY (cattle, hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX assignments_open ON assignments (cattle, hash) WHERE open = 1;

-- Never a token, only its SHA-256.
CREATE TABLE tokens (
    digest      BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    run         TEXT NOT NULL REFERENCES runs (id),
    attempt     INTEGER NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('bootstrap', 'session')),
    idempotency BLOB CHECK (idempotency IS NULL OR length(idempotency) = 32),
    peer        TEXT,
    voided      INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_run ON tokens (run);

-- AUTOINCREMENT: an id is never used again, not even after the newest events were forgotten.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    time    INTEGER NOT NULL,
    cattle  TEXT,
    run     TEXT,
    reason  TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_cattle ON events (cattle, id);

-- When each server was asked for, for `createsPerHour`.
CREATE TABLE creates (
    at  INTEGER NOT NULL,
    run TEXT NOT NULL
) STRICT;

CREATE INDEX creates_by_time ON creates (at);

CREATE TABLE jobs (
    id          TEXT PRIMARY KEY NOT NULL,
    requester   TEXT NOT NULL,
    finished_at INTEGER,
    record      TEXT NOT NULL
) STRICT;

CREATE INDEX jobs_by_requester ON jobs (requester, id);

CREATE TABLE replies (
    requester TEXT NOT NULL,
    key       TEXT NOT NULL,
    request   TEXT NOT NULL,
    status    INTEGER NOT NULL,
    body      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (requester, key)
) STRICT;

CREATE TABLE socket_specs (
    cattle    TEXT PRIMARY KEY NOT NULL,
    requester TEXT NOT NULL,
    authority TEXT NOT NULL CHECK (authority IN ('bot', 'operator')),
    apply_set TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
