-- What keeps mistakes and broken images from costing more than a stated amount.

-- Why nothing starts, or nothing ends for its spec. AUTOINCREMENT: oldest first.
CREATE TABLE pauses (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    reason     TEXT NOT NULL,
    subject    TEXT NOT NULL,                      -- what alone it is about; empty: everything
    resumed_at INTEGER,                            -- null while it holds
    record     TEXT NOT NULL
) STRICT;

-- At most one of a reason and subject holds.
CREATE UNIQUE INDEX pauses_held ON pauses (reason, subject) WHERE resumed_at IS NULL;
CREATE INDEX pauses_by_end ON pauses (resumed_at);

-- What is known of each image that servers were made of: whether they boot. Kept for good: it is a
-- row an image, and the runs that it was learned from are forgotten.
CREATE TABLE images (
    image  TEXT PRIMARY KEY NOT NULL,
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID;
