-- What a queue held before 0002: a job in every state, and one that ran often.
INSERT INTO settings (key, value) VALUES ('max-retries', '5'), ('timeout-sec', '90');

INSERT INTO workers (id, token, host, pid, boot_id, concurrency, started_at, stop)
VALUES
    (3, 'a1b2', 'here', 4242, 'boot', 4, 1000, NULL),
    (7, 'c3d4', 'there', 4343, 'boot', 1, 2000, 'drain');

INSERT INTO jobs (
    seq, id, command, state, priority, attempts, run_count, max_retries, backoff_base,
    timeout_ms, run_at, ready, created_at, updated_at, started_at, finished_at, exit_code,
    signal, reason, cancel_reason, tags, cwd, env, worker
)
VALUES
    (
        1, 'pending', 'echo 1', 'pending', 100, 0, 0, 3, NULL, 3600000, 5000, 1, 5000, 5000,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, '/', NULL, NULL
    ),
    (
        2, 'later', 'echo 2', 'pending', -5, 0, 0, 0, 1.5, NULL, 9000000000000, 0, 5000, 5000,
        NULL, NULL, NULL, NULL, NULL, NULL, '["night","red"]', '/srv', '{"A":"b"}', NULL
    ),
    (
        3, 'processing', 'sleep 9', 'processing', 100, 1, 1, 3, NULL, 3600000, 5000, NULL, 5000,
        6000, 6000, NULL, NULL, NULL, NULL, NULL, NULL, '/', NULL, 3
    ),
    (
        4, 'cancelling', 'sleep 9', 'processing', 100, 1, 1, 3, NULL, 3600000, 5000, NULL, 5000,
        6000, 6000, NULL, NULL, NULL, NULL, 'enough', NULL, '/', NULL, 7
    ),
    (
        5, 'completed', 'echo 5', 'completed', 100, 2, 9, 3, NULL, 3600000, 5000, NULL, 5000,
        8000, 7000, 8000, 0, NULL, NULL, NULL, NULL, '/', NULL, 3
    ),
    (
        6, 'failed', 'exit 1', 'failed', 100, 1, 1, 3, 1000, 3600000, 9000000000000, 0, 5000,
        8000, 7000, 8000, 1, NULL, 'exit_code=1', NULL, NULL, '/', NULL, 3
    ),
    (
        7, 'dead', 'kill -9 $$', 'dead', 100, 4, 4, 3, NULL, 3600000, 5000, NULL, 5000, 8000,
        7000, 8000, NULL, 'SIGKILL', 'signal=SIGKILL', NULL, NULL, '/', NULL, 3
    ),
    (
        8, 'lost', 'sleep 9', 'dead', 100, 1, 1, 0, NULL, 3600000, 5000, NULL, 5000, 8000, 7000,
        8000, NULL, NULL, 'lost', NULL, NULL, '/', NULL, 3
    ),
    (
        9, 'cancelled', 'echo no', 'cancelled', 100, 0, 0, 3, NULL, 3600000, 5000, NULL, 5000,
        6000, NULL, NULL, NULL, NULL, 'not wanted', NULL, NULL, '/', NULL, NULL
    );

INSERT INTO tags (tag, job) VALUES ('night', 2), ('red', 2);

INSERT INTO runs (
    job, number, worker, started_at, finished_at, outcome, exit_code, signal, reason, cpu_ms,
    max_rss_kib, output_bytes
)
VALUES
    (5, 8, 3, 6000, 6500, 'timed_out', NULL, 'SIGTERM', 'timeout', 10, 2048, 3),
    (5, 9, 3, 7000, 8000, 'completed', 0, NULL, NULL, 10, 2048, 6),
    (6, 1, 3, 7000, 8000, 'failed', 1, NULL, 'exit_code=1', NULL, NULL, 0),
    (7, 4, 3, 7000, 8000, 'failed', NULL, 'SIGKILL', 'signal=SIGKILL', 10, 2048, 99999),
    (8, 1, 3, 7000, 8000, 'lost', NULL, NULL, 'lost', NULL, NULL, 0);

INSERT INTO outputs (job, number, content) VALUES (5, 8, x'610a00'), (5, 9, x'68656c6c6f0a');

INSERT INTO events (seq, at, job, kind, run, reason)
VALUES
    (1, 5000, 1, 'enqueued', 0, NULL),
    (2, 5000, 5, 'enqueued', 0, NULL),
    (3, 7000, 5, 'claimed', 9, NULL),
    (9, 8000, 5, 'completed', 9, NULL);
