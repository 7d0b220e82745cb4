-- application_id 0x7163746c, user_version 6

CREATE TABLE activity (
    -- In minutes: 1, or 15; 0 for all of the time.
    span INTEGER NOT NULL,
    -- Of the span, counted since 1970 UTC; 0 for all of the time.
    number INTEGER NOT NULL,
    measure TEXT NOT NULL,
    -- The place of the class of their times in a row of bounds that never changes; 0 for
    -- what takes no time.
    class INTEGER NOT NULL,
    count INTEGER NOT NULL,
    -- How long all of them took.
    ms INTEGER NOT NULL,
    PRIMARY KEY (span, number, measure, class)
) STRICT, WITHOUT ROWID;

CREATE TABLE counts (
    state TEXT PRIMARY KEY,
    jobs INTEGER NOT NULL CHECK (jobs >= 0),
    duration_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

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

CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;

CREATE INDEX deliveries_state ON deliveries (webhook, state, seq);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    job INTEGER NOT NULL,
    kind TEXT NOT NULL,
    run INTEGER NOT NULL,
    reason TEXT
) STRICT;

CREATE TRIGGER events_delete_in_order BEFORE DELETE ON events
WHEN OLD.seq > (SELECT min(seq) FROM events)
BEGIN
    SELECT raise(IGNORE);
END;

CREATE TABLE former_jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    -- None of its events is behind this one.
    last_event INTEGER NOT NULL
) STRICT;

CREATE INDEX former_jobs_id ON former_jobs (id);

CREATE INDEX former_jobs_last_event ON former_jobs (last_event);

CREATE TABLE jobs (
    -- Order of arrival; names files, so it is never used again.
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    command TEXT NOT NULL CHECK (command <> ''),
    state TEXT NOT NULL CHECK (
        state IN ('pending', 'processing', 'completed', 'failed', 'dead', 'cancelled')
    ),
    priority INTEGER NOT NULL,
    -- Runs charged; set to 0 by hand. Fencing goes by run_count, which only rises.
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    run_count INTEGER NOT NULL CHECK (run_count >= attempts),
    max_retries INTEGER NOT NULL CHECK (max_retries >= 0),
    backoff_base REAL,
    timeout_ms INTEGER CHECK (timeout_ms > 0),
    run_at INTEGER NOT NULL,
    -- 1: a worker may claim it; 0: not before run_at; NULL: not waiting at all.
    -- A claim turns 0 into 1 when the time has come, so that the ready ones are
    -- found by priority and the others by time, each through an index.
    ready INTEGER CHECK (ready IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    exit_code INTEGER,
    signal TEXT,
    reason TEXT,
    cancel_reason TEXT,
    tags TEXT,
    cwd TEXT NOT NULL,
    env TEXT,
    worker INTEGER, interruptions INTEGER NOT NULL DEFAULT 0 CHECK (interruptions >= 0), crashes INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0), on_crash TEXT NOT NULL DEFAULT 'adopt'
CHECK (on_crash IN ('adopt', 'kill', 'dead')), max_output_bytes INTEGER CHECK (max_output_bytes > 0), stuck TEXT CHECK (stuck IS NULL OR state = 'processing'), is_counted INTEGER CHECK (is_counted = 1),
    CHECK ((ready IS NOT NULL) = (state IN ('pending', 'failed'))),
    CHECK (state <> 'processing' OR (worker IS NOT NULL AND started_at IS NOT NULL)),
    CHECK (state = 'processing' OR cancel_reason IS NULL),
    CHECK (state <> 'completed' OR finished_at IS NOT NULL)
) STRICT;

CREATE INDEX jobs_dead ON jobs (reason, updated_at) WHERE state = 'dead';

CREATE INDEX jobs_due ON jobs (ready, run_at) WHERE ready IS NOT NULL;

CREATE INDEX jobs_notable ON jobs (state, seq)
WHERE state IN ('processing', 'failed', 'dead', 'cancelled');

CREATE INDEX jobs_processing ON jobs (worker) WHERE state = 'processing';

CREATE INDEX jobs_ready ON jobs (priority DESC, seq) WHERE ready = 1;

CREATE TRIGGER jobs_count_delete AFTER DELETE ON jobs
BEGIN
    UPDATE counts
    SET
        jobs = jobs - 1,
        duration_ms = duration_ms - coalesce(OLD.finished_at - OLD.started_at, 0)
    WHERE state = OLD.state;
END;

CREATE TRIGGER jobs_count_insert AFTER INSERT ON jobs WHEN NEW.is_counted IS NULL
BEGIN
    UPDATE counts SET jobs = jobs + 1 WHERE state = NEW.state;
END;

CREATE TRIGGER jobs_count_update AFTER UPDATE OF state ON jobs
BEGIN
    UPDATE counts
    SET
        jobs = jobs - 1,
        duration_ms = duration_ms - coalesce(OLD.finished_at - OLD.started_at, 0)
    WHERE state = OLD.state;
    UPDATE counts
    SET
        jobs = jobs + 1,
        duration_ms = duration_ms + coalesce(NEW.finished_at - NEW.started_at, 0)
    WHERE state = NEW.state;
END;

CREATE TRIGGER jobs_delete_keep_id AFTER DELETE ON jobs
WHEN EXISTS (SELECT 1 FROM events)
BEGIN
    INSERT OR IGNORE INTO former_jobs (seq, id, last_event)
    VALUES (OLD.seq, OLD.id, (SELECT max(seq) FROM events));
END;

CREATE TRIGGER jobs_transition BEFORE UPDATE OF state ON jobs
WHEN NOT CASE OLD.state
    WHEN 'pending' THEN NEW.state IN ('processing', 'cancelled')
    WHEN 'processing' THEN NEW.state IN ('completed', 'failed', 'dead', 'cancelled', 'pending')
    WHEN 'failed' THEN NEW.state IN ('processing', 'pending', 'cancelled')
    WHEN 'dead' THEN NEW.state = 'pending'
    WHEN 'cancelled' THEN NEW.state = 'pending'
    ELSE 0
END
BEGIN
    SELECT raise(ABORT, 'illegal transition');
END;

CREATE TABLE migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE outputs (
    job INTEGER NOT NULL,
    number INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (job, number),
    FOREIGN KEY (job, number) REFERENCES runs (job, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number >= 1),
    worker INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (
        outcome IN (
            'completed', 'failed', 'timed_out', 'cancelled', 'interrupted', 'lost', 'spawn_failed'
        )
    ),
    exit_code INTEGER,
    signal TEXT,
    reason TEXT,
    cpu_ms INTEGER,
    max_rss_kib INTEGER,
    output_bytes INTEGER NOT NULL, waited_ms INTEGER CHECK (waited_ms >= 0),
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tags (
    tag TEXT NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    PRIMARY KEY (tag, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX tags_job ON tags (job);

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

CREATE TABLE workers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Names its folder, whose lock it held before this row was there.
    token TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    concurrency INTEGER NOT NULL CHECK (concurrency >= 1),
    started_at INTEGER NOT NULL,
    -- What it was asked to do: finish what runs, or end it.
    stop TEXT CHECK (stop IN ('drain', 'now'))
, pid_namespace TEXT NOT NULL DEFAULT '', lock_file TEXT, pipe TEXT, can_restart INTEGER NOT NULL DEFAULT 0 CHECK (can_restart IN (0, 1)), restart INTEGER NOT NULL DEFAULT 0 CHECK (restart IN (0, 1))) STRICT;
