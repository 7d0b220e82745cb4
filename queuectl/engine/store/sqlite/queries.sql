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
-- interpreter away. Beside it who is to be told, so that this is no statement of its own.
WITH asked (seq, run, worker) AS (VALUES (?))
SELECT
    json_group_array(json_array(jobs.seq, jobs.run_count, jobs.cancel_reason)) AS held,
    (
        SELECT json_group_array(json_array(id, json(states), json(tags)))
        FROM webhooks WHERE disabled_at IS NULL
    ) AS listeners
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
    cpu_ms, max_rss_kib, output_bytes, waited_ms
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

-- name: walk_jobs
-- The walks: sequence numbers of jobs in the order of an index. Each is read from an index
-- or a key alone, so that many can be walked past.
SELECT seq FROM jobs WHERE seq < :before ORDER BY seq DESC LIMIT :limit;

-- name: walk_state
SELECT seq FROM jobs
WHERE
    state IN ('processing', 'failed', 'dead', 'cancelled')
    AND state = :state AND seq < :before
ORDER BY seq DESC LIMIT :limit;

-- name: walk_waiting
-- Named, for the planner would rather read all jobs in order.
SELECT seq FROM jobs INDEXED BY jobs_due
WHERE ready IS NOT NULL AND seq < :before ORDER BY seq DESC LIMIT :limit;

-- name: walk_runs
SELECT job AS seq FROM runs WHERE job < :before ORDER BY job DESC LIMIT :limit;

-- name: walk_tag
SELECT job AS seq FROM tags WHERE tag = :tag AND job < :before ORDER BY job DESC LIMIT :limit;

-- name: walk_due_together
SELECT seq, run_at, run_count FROM jobs
WHERE ready = 0 AND run_at = :run_at AND seq > :seq ORDER BY seq LIMIT :limit;

-- name: walk_due_later
SELECT seq, run_at, run_count FROM jobs
WHERE ready = 0 AND run_at > :run_at ORDER BY run_at, seq LIMIT :limit;

-- name: place_of_due
SELECT run_at FROM jobs WHERE seq = :seq AND (run_count & :mask) = :runs;

-- name: matching_jobs
-- LIKE takes A to Z and a to z for the same.
SELECT jobs.* FROM json_each(:seqs) AS walked CROSS JOIN jobs ON walked.value = jobs.seq
WHERE
    (:state IS NULL OR jobs.state = :state)
    AND (:reason IS NULL OR coalesce(jobs.reason, '') = :reason)
    AND (
        :pattern IS NULL
        OR jobs.command LIKE :pattern ESCAPE '\'
        OR jobs.id LIKE :pattern ESCAPE '\'
        OR jobs.reason LIKE :pattern ESCAPE '\'
    )
    AND (
        :tag IS NULL OR EXISTS (SELECT 1 FROM tags WHERE tags.tag = :tag AND tags.job = jobs.seq)
    )
ORDER BY walked.key LIMIT :limit;

-- name: list_runs
SELECT runs.*, jobs.id AS job_id FROM runs INNER JOIN jobs ON runs.job = jobs.seq
WHERE jobs.id = :id AND runs.number <= :until ORDER BY runs.number DESC LIMIT :last;

-- name: get_output
SELECT content FROM outputs WHERE job = :job AND number = :number;

-- name: cancel_waiting
UPDATE jobs SET
    state = 'cancelled', ready = NULL, reason = :reason, updated_at = :now
WHERE seq = :seq AND state IN ('pending', 'failed');

-- name: cancel_processing
UPDATE jobs SET cancel_reason = :reason WHERE seq = :seq AND state = 'processing';

-- name: withdraw_job
UPDATE jobs SET cancel_reason = coalesce(cancel_reason, :reason)
WHERE seq = :seq AND state = 'processing' AND run_count = :run AND worker = :worker;

-- name: retry_jobs
UPDATE jobs SET
    state = 'pending', ready = 1, attempts = 0, crashes = 0, run_at = :now, updated_at = :now,
    reason = NULL, cancel_reason = NULL
WHERE
    seq IN (SELECT value FROM json_each(:jobs)) AND state IN ('failed', 'dead', 'cancelled');

-- name: insert_retried
-- An event for each of these jobs, in their order.
INSERT INTO events (at, job, kind, run)
SELECT :now, jobs.seq, 'retried', jobs.run_count FROM json_each(:jobs) AS wanted
CROSS JOIN jobs ON wanted.value = jobs.seq ORDER BY wanted.key;

-- name: some_dead
SELECT seq FROM jobs
WHERE
    state IN ('processing', 'failed', 'dead', 'cancelled')
    AND state = 'dead' AND seq > :after
    AND (:reason IS NULL OR coalesce(reason, '') = :reason)
    AND (:until IS NULL OR updated_at <= :until)
ORDER BY seq LIMIT :limit;

-- name: causes
-- Counted along the index, where none and an empty one are two reasons.
SELECT coalesce(reason, '') AS cause, sum(jobs) AS jobs, max(latest) AS latest FROM (
    SELECT reason, count(*) AS jobs, max(updated_at) AS latest FROM jobs
    WHERE state = 'dead' GROUP BY reason
)
GROUP BY cause ORDER BY jobs DESC, latest DESC LIMIT :limit;

-- name: run_jobs_now
-- They keep their states, and the attempts that they are charged.
UPDATE jobs SET ready = 1, run_at = :now, updated_at = :now
WHERE seq IN (SELECT value FROM json_each(:jobs)) AND ready = 0;

-- name: delete_job
DELETE FROM jobs WHERE seq = :seq AND state <> 'processing';

-- name: purgeable
SELECT seq FROM jobs
WHERE
    state IN (SELECT value FROM json_each(:states)) AND state <> 'processing'
    AND updated_at <= :until AND seq > :after
ORDER BY seq LIMIT :limit;

-- name: large_runs
-- The runs of these jobs whose output is a file.
SELECT job, number FROM runs
WHERE job IN (SELECT value FROM json_each(:jobs)) AND output_bytes > :inline;

-- name: all_large_runs
SELECT job, number FROM runs WHERE output_bytes > :inline;

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
-- What happened to jobs that were deleted before their ids were kept is left out.
SELECT
    events.seq, events.at, events.kind, events.run, events.reason,
    coalesce(jobs.id, former_jobs.id) AS job_id
FROM events
LEFT JOIN jobs ON events.job = jobs.seq
LEFT JOIN former_jobs ON events.job = former_jobs.seq
WHERE events.seq > :since AND coalesce(jobs.id, former_jobs.id) IS NOT NULL
ORDER BY events.seq LIMIT :limit;

-- name: list_events_of_job
-- An id may have been another's, which was deleted.
SELECT seq, at, kind, run, reason, :id AS job_id FROM events
WHERE
    seq > :since
    AND job IN (
        SELECT seq FROM jobs WHERE id = :id
        UNION ALL
        SELECT seq FROM former_jobs WHERE id = :id
    )
ORDER BY seq LIMIT :limit;

-- name: last_events
SELECT
    events.seq, events.at, events.kind, events.run, events.reason,
    coalesce(jobs.id, former_jobs.id) AS job_id
FROM events
LEFT JOIN jobs ON events.job = jobs.seq
LEFT JOIN former_jobs ON events.job = former_jobs.seq
WHERE coalesce(jobs.id, former_jobs.id) IS NOT NULL
ORDER BY events.seq DESC LIMIT :limit;

-- name: last_events_of_job
SELECT seq, at, kind, run, reason, :id AS job_id FROM events
WHERE
    job IN (
        SELECT seq FROM jobs WHERE id = :id
        UNION ALL
        SELECT seq FROM former_jobs WHERE id = :id
    )
ORDER BY seq DESC LIMIT :limit;

-- name: file_size
SELECT
    page_size.page_size * page_count.page_count AS size_bytes,
    page_size.page_size * freelist_count.freelist_count AS free_bytes
FROM
    pragma_page_size() AS page_size, pragma_page_count() AS page_count,
    pragma_freelist_count() AS freelist_count;

-- name: count_events
SELECT count(*) FROM events;

-- name: first_event
SELECT seq, at FROM events ORDER BY seq LIMIT 1;

-- name: first_timely_event
-- A time that is further ahead than events are kept is of a clock that was wrong; or the
-- clock of whoever asks is wrong now, and it was right. So it says nothing.
SELECT at FROM events WHERE at <= :ahead ORDER BY seq LIMIT 1;

-- name: prune_events
-- Where the first timely one is old. From the first one on, up to one that is kept: nothing
-- is missing behind that. What is far ahead goes with an old one behind it, no sooner.
WITH front AS (SELECT seq, at FROM events ORDER BY seq LIMIT :limit)
DELETE FROM events WHERE seq <= (
    SELECT coalesce(max(seq) FILTER (WHERE at < :until), max(seq)) FROM front
    WHERE seq < (
        SELECT coalesce(min(seq), 9223372036854775807) FROM front
        WHERE at BETWEEN :until AND :ahead
    )
);

-- name: has_idle_former_jobs
SELECT EXISTS (
    SELECT 1 FROM former_jobs
    WHERE last_event < (SELECT coalesce(min(seq), 9223372036854775807) FROM events)
);

-- name: prune_former_jobs
DELETE FROM former_jobs WHERE seq IN (
    SELECT seq FROM former_jobs
    WHERE last_event < (SELECT coalesce(min(seq), 9223372036854775807) FROM events)
    ORDER BY last_event LIMIT :limit
);

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

-- name: count_activity
-- As JSON: any number of rows with one text, which is prepared once.
INSERT INTO activity (span, number, measure, class, count, ms)
SELECT
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
FROM json_each(:rows) WHERE true
ON CONFLICT (span, number, measure, class) DO UPDATE
SET count = count + excluded.count, ms = ms + excluded.ms;

-- name: activity_between
SELECT
    -- The span in which a period begins is apart: only a part of it counts.
    number = :first AS is_first, measure, class, sum(count) AS count, sum(ms) AS ms
FROM activity WHERE span = :span AND number BETWEEN :first AND :last
GROUP BY number = :first, measure, class;

-- name: activity_by_step
SELECT number / :spans AS step, measure, sum(count) AS count
FROM activity WHERE span = :span AND number BETWEEN :first AND :last
GROUP BY number / :spans, measure;

-- name: activity_ever
SELECT measure, class, count, ms FROM activity WHERE span = 0;

-- name: counting_since
SELECT applied_at FROM migrations WHERE name = 'activity';

-- name: first_activity
SELECT min(number) FROM activity WHERE span = :span;

-- name: prune_activity
DELETE FROM activity WHERE span = :span AND number < :until;

-- name: some_with_tag
SELECT max(job) FROM (
    SELECT job FROM tags WHERE tag = :tag AND job > :after ORDER BY job LIMIT :limit
);

-- name: counts_with_tag
SELECT
    jobs.state, count(*) AS jobs,
    coalesce(sum(jobs.finished_at - jobs.started_at), 0) AS duration_ms,
    min(jobs.run_at) FILTER (
        WHERE jobs.ready = 1 OR (jobs.ready = 0 AND jobs.run_at <= :now)
    ) AS oldest_due
FROM tags INNER JOIN jobs ON tags.job = jobs.seq
WHERE tags.tag = :tag AND tags.job > :after AND tags.job <= :last
GROUP BY jobs.state;

-- name: happened_with_tag
-- A job whose run ended in a period was updated in it or after it: of the others no run is read.
WITH lately AS MATERIALIZED (
    SELECT jobs.seq, jobs.state, jobs.created_at, jobs.updated_at
    FROM tags INNER JOIN jobs ON tags.job = jobs.seq
    WHERE
        tags.tag = :tag AND tags.job > :after AND tags.job <= :last
        AND jobs.updated_at >= :since
),

ended AS MATERIALIZED (
    SELECT
        runs.finished_at, runs.outcome, runs.waited_ms,
        max(runs.finished_at - runs.started_at, 0) AS ms
    FROM lately CROSS JOIN runs ON lately.seq = runs.job
    WHERE runs.finished_at BETWEEN :since AND :now
)

SELECT created_at AS at, 'enqueued' AS measure, NULL AS ms
FROM lately WHERE created_at BETWEEN :since AND :now
UNION ALL
SELECT updated_at, 'died', NULL
FROM lately WHERE state = 'dead' AND updated_at <= :now
UNION ALL
SELECT finished_at, outcome, ms FROM ended
UNION ALL
SELECT finished_at, 'wait', waited_ms FROM ended WHERE waited_ms IS NOT NULL;

-- name: listeners
SELECT json_group_array(json_array(id, json(states), json(tags))) AS listeners
FROM webhooks WHERE disabled_at IS NULL;

-- name: insert_deliveries
-- Their ids are the receivers': told from those of every other database.
WITH told (webhook, type, job, body, at) AS (VALUES (?))
INSERT INTO deliveries (id, webhook, type, job, body, state, attempts, created_at, due_at)
SELECT 'msg_' || lower(hex(randomblob(16))), webhook, type, job, body, 'waiting', 0, at, at
FROM told;

-- name: insert_webhook
INSERT INTO webhooks (url, secret, states, tags, created_at)
SELECT :url, :secret, :states, :tags, :now
WHERE (SELECT count(*) FROM webhooks) < :most
RETURNING id;

-- name: delete_webhook
DELETE FROM webhooks WHERE id = :webhook;

-- name: delete_deliveries
DELETE FROM deliveries
WHERE seq IN (SELECT seq FROM deliveries WHERE webhook = :webhook LIMIT :limit);

-- name: enable_webhook
UPDATE webhooks SET disabled_at = NULL, disabled_reason = NULL WHERE id = :webhook;

-- name: disable_webhook
UPDATE webhooks SET disabled_at = :now, disabled_reason = :reason
WHERE id = :webhook AND disabled_at IS NULL;

-- name: has_webhook
SELECT 1 FROM webhooks WHERE id = :webhook;

-- name: list_webhooks
SELECT
    id, url, states, tags, created_at, disabled_at, disabled_reason,
    (
        SELECT count(*) FROM deliveries WHERE state = 'waiting' AND webhook = webhooks.id
    ) AS waiting,
    (SELECT count(*) FROM deliveries WHERE state = 'dead' AND webhook = webhooks.id) AS dead
FROM webhooks WHERE :webhook IS NULL OR id = :webhook ORDER BY id;

-- name: webhook_targets
SELECT
    id, url, secret,
    (
        SELECT min(due_at) FROM deliveries WHERE state = 'waiting' AND webhook = webhooks.id
    ) AS due_at
FROM webhooks
WHERE CASE WHEN :webhook IS NULL THEN disabled_at IS NULL ELSE id = :webhook END ORDER BY id;

-- name: first_delivery_due
SELECT min((
    SELECT min(due_at) FROM deliveries WHERE state = 'waiting' AND webhook = webhooks.id
)) AS due_at
FROM webhooks WHERE disabled_at IS NULL;

-- name: due_deliveries
SELECT seq, id, body, attempts FROM deliveries
WHERE
    state = 'waiting' AND webhook = :webhook AND due_at <= :now
    -- It may have been disabled by the answer to the one before.
    AND EXISTS (SELECT 1 FROM webhooks WHERE id = :webhook AND disabled_at IS NULL)
ORDER BY due_at, seq LIMIT :limit;

-- name: settle_delivery
-- Where it was settled meanwhile, as by whoever took an unanswered one over, that stays.
UPDATE deliveries SET
    state = :state, attempts = :attempts, due_at = :due_at, attempted_at = :now,
    settled_at = :settled_at, status = :status, reason = :reason,
    body = CASE WHEN :state = 'delivered' THEN NULL ELSE body END
WHERE seq = :seq AND state = 'waiting'
RETURNING webhook;

-- name: give_up_deliveries
UPDATE deliveries SET state = 'dead', due_at = NULL, settled_at = :now, reason = :reason
WHERE seq IN (
    SELECT seq FROM deliveries
    WHERE state = 'waiting' AND webhook = :webhook AND due_at < :until
    ORDER BY due_at, seq LIMIT :limit
);

-- name: webhook_ids
SELECT id FROM webhooks WHERE :webhook IS NULL OR id = :webhook;

-- name: last_deliveries
SELECT seq FROM deliveries WHERE webhook = :webhook AND state = :state
ORDER BY seq DESC LIMIT :limit;

-- name: get_deliveries
SELECT deliveries.* FROM json_each(:seqs) AS wanted
CROSS JOIN deliveries ON wanted.value = deliveries.seq ORDER BY wanted.key;

-- name: get_delivery
SELECT * FROM deliveries WHERE id = :id;

-- name: mend_due_times
-- A first attempt is due when its message is written; no other is due after :latest.
UPDATE deliveries SET due_at = :now
WHERE seq IN (
    SELECT seq FROM deliveries
    WHERE
        state = 'waiting' AND webhook IN (SELECT id FROM webhooks) AND due_at > :now
        AND (attempts = 0 OR due_at > :latest)
    LIMIT :limit
);

-- name: retry_delivery
-- One that waits keeps its attempts and, where it is due already, its place.
UPDATE deliveries SET
    state = 'waiting', attempts = CASE WHEN state = 'dead' THEN 0 ELSE attempts END,
    due_at = min(coalesce(due_at, :now), :now), settled_at = NULL
WHERE id = :id AND state IN ('dead', 'waiting');

-- name: some_dead_deliveries
SELECT seq FROM deliveries WHERE webhook = :webhook AND state = 'dead' AND seq > :after
ORDER BY seq LIMIT :limit;

-- name: retry_deliveries
UPDATE deliveries SET state = 'waiting', attempts = 0, due_at = :now, settled_at = NULL
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND state = 'dead';

-- name: prune_deliveries
DELETE FROM deliveries WHERE seq IN (
    SELECT seq FROM deliveries
    WHERE settled_at IS NOT NULL AND settled_at < :until ORDER BY settled_at LIMIT :limit
);
