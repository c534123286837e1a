-- What each run's server is billed for, beside the runs: a cost report reads all there ever were, and
-- a pass those of the day, neither with the tasks in them. Written with its run, in one transaction.

CREATE TABLE charges (
    run     TEXT PRIMARY KEY NOT NULL REFERENCES runs (id),
    created INTEGER NOT NULL,                      -- when its server was
    until   INTEGER,                               -- when it was proved gone; null while it bills
    record  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX charges_by_until ON charges (until);

-- Of runs from before this table. Their prices were not kept: they count at what their type costs now.
INSERT INTO charges (run, created, until, record)
SELECT id, created, gone_at,
       json_object(
           'run', id,
           'cattle', cattle,
           'persona', record ->> '$.spec.persona',
           'requester', record ->> '$.requester',
           'server', record -> '$.server.id',
           'created', coalesce(record ->> '$.server.created', record ->> '$.postedAt'),
           'until', record ->> '$.goneAt',
           'serverType', record ->> '$.server.serverType',
           'location', record ->> '$.server.location',
           'price', json(record -> '$.server.price')
       )
FROM runs
WHERE record ->> '$.server.id' IS NOT NULL;
