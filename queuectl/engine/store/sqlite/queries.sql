-- name: insert_jobs
-- Here and below, (?) stands for as many rows as there are: one by one they cost twice
-- as much. They are counted with count_pending.
INSERT INTO jobs (
    seq, id, command, state, priority, attempts, run_count, max_retries, backoff_base,
    timeout_ms, on_crash, max_output_bytes, run_at, ready, created_at, updated_at, tags, cwd, env,
    is_counted
)
VALUES (?);

-- name: count_pending
UPDATE counts SET jobs = jobs + :added WHERE state = 'pending';

-- name: insert_enqueued
-- An event for each job of this batch.
INSERT INTO events (at, job, kind, run)
SELECT :now, seq, 'enqueued', 0 FROM jobs WHERE seq > :last ORDER BY seq;

-- name: insert_tag
INSERT INTO tags (tag, job) VALUES (:tag, :job);

-- name: last_job_seq
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'jobs';

-- name: taken_ids
-- Which of these ids belonged to a job before this batch.
SELECT id FROM jobs
WHERE id IN (SELECT value FROM json_each(:ids)) AND seq <= :last
ORDER BY id;

-- name: insert_event
INSERT INTO events (at, job, kind, run, reason) VALUES (?, ?, ?, ?, ?);

-- name: insert_events
INSERT INTO events (at, job, kind, run, reason) VALUES (?);

-- name: make_ready
-- The limit keeps one claim short; the rest is made ready by the next.
UPDATE jobs SET ready = 1
WHERE seq IN (
    SELECT seq FROM jobs WHERE ready = 0 AND run_at <= :now ORDER BY run_at LIMIT 5000
);

-- name: claim_jobs
UPDATE jobs SET
    state = 'processing', ready = NULL, attempts = attempts + 1, run_count = run_count + 1,
    worker = :worker, started_at = :now, updated_at = :now, finished_at = NULL,
    exit_code = NULL, signal = NULL, reason = NULL
WHERE seq IN (
    -- Named, for the planner would take the other index and sort everything.
    SELECT seq FROM jobs INDEXED BY jobs_ready
    WHERE ready = 1 ORDER BY priority DESC, seq LIMIT :limit
)
RETURNING *;

-- name: claim_job
UPDATE jobs SET
    state = 'processing', ready = NULL, attempts = attempts + 1, run_count = run_count + 1,
    worker = :worker, started_at = :now, updated_at = :now, finished_at = NULL,
    exit_code = NULL, signal = NULL, reason = NULL
WHERE id = :id AND ready = 1
RETURNING *;

-- name: next_due
SELECT min(run_at) FROM jobs WHERE ready = 0;

-- name: held_job
-- The fence: only the run that was claimed, by the worker that claimed it.
SELECT * FROM jobs
WHERE seq = :seq AND state = 'processing' AND run_count = :run AND worker = :worker;

-- name: held_runs
-- The fence again, for many at once, in one row: each row that is read gives the
-- interpreter away.
WITH asked (seq, run, worker) AS (VALUES (?))
SELECT json_group_array(json_array(jobs.seq, jobs.run_count, jobs.cancel_reason))
FROM asked INNER JOIN jobs ON asked.seq = jobs.seq
WHERE
    jobs.state = 'processing' AND jobs.run_count = asked.run AND jobs.worker = asked.worker;

-- name: finish_jobs
WITH ended (
    state, ready, attempts, crashes, interruptions, run_at, started_at, finished_at, now,
    exit_code, signal, reason, seq, run, worker
) AS (VALUES (?))
UPDATE jobs SET
    state = ended.state, ready = ended.ready, attempts = ended.attempts,
    crashes = ended.crashes, interruptions = ended.interruptions, run_at = ended.run_at,
    stuck = NULL, cancel_reason = NULL, started_at = ended.started_at,
    finished_at = ended.finished_at, updated_at = ended.now, exit_code = ended.exit_code,
    signal = ended.signal, reason = ended.reason
FROM ended
WHERE
    jobs.seq = ended.seq AND jobs.state = 'processing' AND jobs.run_count = ended.run
    AND jobs.worker = ended.worker;

-- name: release_job
-- Given back before it was started: pending, not charged, its number free again.
UPDATE jobs SET
    state = 'pending', ready = 1, attempts = attempts - 1, run_count = run_count - 1,
    interruptions = interruptions + :interrupted, started_at = NULL, updated_at = :now,
    cancel_reason = NULL, stuck = NULL, worker = NULL
WHERE seq = :seq AND state = 'processing' AND run_count = :run AND worker = :worker;

-- name: adopt_job
UPDATE jobs SET worker = :adopter, stuck = NULL
WHERE seq = :seq AND state = 'processing' AND run_count = :run AND worker = :worker
RETURNING *;

-- name: mark_stuck
UPDATE jobs SET stuck = :words
WHERE
    seq = :seq AND state = 'processing' AND run_count = :run AND worker = :worker
    AND stuck IS NOT :words;

-- name: insert_runs
INSERT INTO runs (
    job, number, worker, started_at, finished_at, outcome, exit_code, signal, reason,
    cpu_ms, max_rss_kib, output_bytes
)
VALUES (?);

-- name: insert_outputs
INSERT INTO outputs (job, number, content) VALUES (?);

-- name: get_job
SELECT * FROM jobs WHERE id = :id;

-- name: get_jobs
SELECT * FROM jobs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: unfinished_ids
SELECT id FROM jobs
WHERE
    id IN (SELECT value FROM json_each(:ids))
    AND state NOT IN ('completed', 'dead', 'cancelled');

-- name: list_jobs
SELECT * FROM jobs WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: list_jobs_in_state
SELECT * FROM jobs WHERE state = :state AND seq > :after ORDER BY seq LIMIT :limit;

-- name: list_jobs_in_notable_state
-- The list repeats the condition of the index, else the planner cannot use it.
SELECT * FROM jobs
WHERE
    state IN ('processing', 'failed', 'dead', 'cancelled')
    AND state = :state AND seq > :after
ORDER BY seq LIMIT :limit;

-- name: list_jobs_with_tag
SELECT jobs.* FROM tags INNER JOIN jobs ON tags.job = jobs.seq
WHERE
    tags.tag = :tag AND tags.job > :after AND (:state IS NULL OR jobs.state = :state)
ORDER BY tags.job LIMIT :limit;

-- name: last_jobs
SELECT * FROM jobs ORDER BY seq DESC LIMIT :limit;

-- name: last_jobs_in_state
SELECT * FROM jobs WHERE state = :state ORDER BY seq DESC LIMIT :limit;

-- name: last_jobs_in_notable_state
SELECT * FROM jobs
WHERE
    state IN ('processing', 'failed', 'dead', 'cancelled')
    AND state = :state
ORDER BY seq DESC LIMIT :limit;

-- name: last_jobs_with_tag
SELECT jobs.* FROM tags INNER JOIN jobs ON tags.job = jobs.seq
WHERE tags.tag = :tag AND (:state IS NULL OR jobs.state = :state)
ORDER BY tags.job DESC LIMIT :limit;

-- name: list_runs
SELECT runs.*, jobs.id AS job_id FROM runs INNER JOIN jobs ON runs.job = jobs.seq
WHERE jobs.id = :id ORDER BY runs.number;

-- name: get_output
SELECT content FROM outputs WHERE job = :job AND number = :number;

-- name: cancel_waiting
UPDATE jobs SET
    state = 'cancelled', ready = NULL, reason = :reason, updated_at = :now
WHERE seq = :seq AND state IN ('pending', 'failed');

-- name: cancel_processing
UPDATE jobs SET cancel_reason = :reason WHERE seq = :seq AND state = 'processing';

-- name: retry_job
UPDATE jobs SET
    state = 'pending', ready = 1, attempts = 0, crashes = 0, run_at = :now, updated_at = :now,
    reason = NULL, cancel_reason = NULL
WHERE seq = :seq AND state IN ('failed', 'dead', 'cancelled');

-- name: some_dead
SELECT seq, run_count FROM jobs
WHERE
    state IN ('processing', 'failed', 'dead', 'cancelled')
    AND state = 'dead'
ORDER BY seq LIMIT :limit;

-- name: delete_job
DELETE FROM jobs WHERE seq = :seq AND state <> 'processing';

-- name: purgeable
SELECT seq FROM jobs
WHERE state = :state AND state <> 'processing' AND updated_at <= :until AND seq > :after
ORDER BY seq LIMIT :limit;

-- name: large_runs
-- The runs of these jobs whose output is a file.
SELECT job, number FROM runs
WHERE job IN (SELECT value FROM json_each(:jobs)) AND output_bytes > :inline;

-- name: all_large_runs
SELECT job, number FROM runs WHERE output_bytes > :inline;

-- name: delete_events_of_deleted
DELETE FROM events WHERE job NOT IN (SELECT seq FROM jobs);

-- name: register_worker
INSERT INTO workers (
    token, host, pid, boot_id, pid_namespace, lock_file, pipe, can_restart, concurrency,
    started_at
)
VALUES (
    :token, :host, :pid, :boot_id, :pid_namespace, :lock_file, :pipe, :can_restart, :concurrency,
    :started_at
)
RETURNING id;

-- name: unregister_worker
-- It stays while jobs are still held in its name.
DELETE FROM workers
WHERE
    id = :worker
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'processing' AND worker = :worker);

-- name: list_workers
SELECT
    workers.*,
    (
        SELECT count(*) FROM jobs WHERE jobs.state = 'processing' AND jobs.worker = workers.id
    ) AS busy
FROM workers ORDER BY workers.id;

-- name: ask_to_stop
-- "now" stays "now" where somebody asks for less afterwards.
UPDATE workers SET stop = CASE WHEN stop = 'now' THEN 'now' ELSE :stop END WHERE id = :worker;

-- name: ask_to_restart
UPDATE workers SET restart = 1 WHERE id = :worker;

-- name: orders_of
SELECT stop, restart FROM workers WHERE id = :worker;

-- name: cancels_asked
SELECT seq, run_count, cancel_reason FROM jobs
WHERE worker = :worker AND state = 'processing' AND cancel_reason IS NOT NULL;

-- name: held_jobs
SELECT * FROM jobs WHERE state = 'processing' AND worker = :worker ORDER BY seq;

-- name: list_events
SELECT events.seq, events.at, events.kind, events.run, events.reason, jobs.id AS job_id
FROM events INNER JOIN jobs ON events.job = jobs.seq
WHERE events.seq > :since ORDER BY events.seq LIMIT :limit;

-- name: last_event_seq
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events';

-- name: counts
SELECT state, jobs, duration_ms FROM counts;

-- name: true_counts
SELECT state, count(*) AS jobs FROM jobs GROUP BY state;

-- name: oldest_due
SELECT min(run_at) FROM (
    SELECT min(run_at) AS run_at FROM jobs WHERE ready = 1
    UNION ALL
    SELECT min(run_at) FROM jobs WHERE ready = 0 AND run_at <= :now
);

-- name: unsettled
-- Whether anything is due, running or waiting for a retry. What was started
-- and given back for a moment, because the system could not run it, is too.
SELECT
    EXISTS (SELECT 1 FROM jobs WHERE ready = 1)
    OR EXISTS (SELECT 1 FROM jobs WHERE ready = 0 AND run_at <= :now)
    OR EXISTS (SELECT 1 FROM jobs WHERE ready = 0 AND run_at <= :soon AND run_count > 0)
    OR EXISTS (SELECT 1 FROM jobs WHERE state = 'processing')
    OR EXISTS (
        SELECT 1 FROM jobs
        WHERE
            state IN ('processing', 'failed', 'dead', 'cancelled')
            AND state = 'failed'
    );

-- name: read_settings
SELECT key, value FROM settings;

-- name: write_setting
INSERT INTO settings (key, value) VALUES (:key, :value)
ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: delete_setting
DELETE FROM settings WHERE key = :key;
