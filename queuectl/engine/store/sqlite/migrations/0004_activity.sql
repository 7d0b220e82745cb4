-- What happens is counted, and what happened to a job outlives the job.

-- A row for what was counted in a span of time: an outcome of runs, a wait, jobs that were
-- added. Each thing is counted in three spans, so that neither the last hour nor the last
-- day is summed up of many thousand rows, and what there was in all stays.
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

-- Whose events are kept, and is deleted.
CREATE TABLE former_jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    -- None of its events is behind this one.
    last_event INTEGER NOT NULL
) STRICT;

CREATE INDEX former_jobs_id ON former_jobs (id);
CREATE INDEX former_jobs_last_event ON former_jobs (last_event);

-- A trigger: an older program, which is open while this is done, deletes jobs as well.
CREATE TRIGGER jobs_delete_keep_id AFTER DELETE ON jobs
WHEN EXISTS (SELECT 1 FROM events)
BEGIN
    INSERT OR IGNORE INTO former_jobs (seq, id, last_event)
    VALUES (OLD.seq, OLD.id, (SELECT max(seq) FROM events));
END;

-- Such a program deletes the events of deleted jobs, too. Events go from the first one on
-- and no other way, in order of their numbers: who follows them is told of what is missing
-- by the number of the first.
CREATE TRIGGER events_delete_in_order BEFORE DELETE ON events
WHEN OLD.seq > (SELECT min(seq) FROM events)
BEGIN
    SELECT raise(IGNORE);
END;

-- Why jobs died is counted along this, at every look of those who watch.
CREATE INDEX jobs_dead ON jobs (reason, updated_at) WHERE state = 'dead';
