-- Who is told of what becomes of jobs, and what they are still to be told.

CREATE TABLE webhooks (
    -- Never used again: a delivery is never another's.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    url TEXT NOT NULL,
    -- As its receiver has it: who signs needs the whole.
    secret TEXT NOT NULL,
    -- JSON: the states that it is told of, and the tags of which a job has to have one.
    states TEXT NOT NULL,
    tags TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- Nothing is sent to it, nor kept for it, since then.
    disabled_at INTEGER,
    disabled_reason TEXT,
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
) STRICT;

-- Written in the transaction that changes the job.
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What the receiver tells a message from another by.
    id TEXT NOT NULL UNIQUE,
    webhook INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    -- An id, for the job may be deleted before it is told of.
    job TEXT NOT NULL,
    -- What is sent, byte for byte; gone when it was delivered.
    body TEXT,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    created_at INTEGER NOT NULL,
    due_at INTEGER,
    attempted_at INTEGER,
    settled_at INTEGER,
    status INTEGER,
    reason TEXT,
    CHECK ((due_at IS NOT NULL) = (state = 'waiting')),
    CHECK ((settled_at IS NULL) = (state = 'waiting')),
    CHECK ((body IS NULL) = (state = 'delivered'))
) STRICT;

CREATE INDEX deliveries_due ON deliveries (webhook, due_at, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_state ON deliveries (webhook, state, seq);
CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;
