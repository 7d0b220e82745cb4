"""What the metrics say of a queue."""

import re
import sqlite3
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Final

import prometheus_client
import pytest

import queuectl
from queuectl import BOUNDS, OutcomeKind, QueueEngine, StoreError
from queuectl.engine.testing import FakeClock, FakeRun, FakeRunner, drain
from queuectl.metrics import render
from tests.contract.steps import add_one, end, take_one
from tests.metrics.reading import counters, parse, scrape
from tests.waiting import wait_until

HOSTILE = '\x1b[31m"}\n# TYPE evil counter\nevil 1 \u202e<script>'


async def test_jobs_are_counted_by_state_and_every_state_is_there(engine: QueueEngine) -> None:
    await engine.enqueue_many(["true", "true", "true"])
    job = await engine.enqueue("true")
    await engine.cancel(job.id)

    samples = await scrape(engine)

    assert {key: value for key, value in samples.items() if key.startswith("queuectl_jobs{")} == {
        'queuectl_jobs{state="pending"}': 3,
        'queuectl_jobs{state="processing"}': 0,
        'queuectl_jobs{state="completed"}': 0,
        'queuectl_jobs{state="failed"}': 0,
        'queuectl_jobs{state="dead"}': 0,
        'queuectl_jobs{state="cancelled"}': 1,
    }
    assert samples["queuectl_jobs_enqueued_total"] == 4


async def test_runs_retries_and_deaths_are_counted(db_path: Path, clock: FakeClock) -> None:
    runner = FakeRunner(clock)
    runner.script("fails", FakeRun(exit_code=1))
    runner.script("recovers", FakeRun(exit_code=1), FakeRun())

    async with QueueEngine(db_path, clock=clock, runner=runner) as engine:
        dead = await engine.enqueue("fails", max_retries=2)
        await engine.enqueue("recovers", max_retries=2)
        await engine.enqueue("works")
        await drain(engine, clock)
        before = await scrape(engine)
        await engine.retry(dead.id)
        after = await scrape(engine)

    assert before['queuectl_jobs_finished_total{outcome="completed"}'] == 2
    assert before['queuectl_jobs_finished_total{outcome="failed"}'] == 4
    assert before['queuectl_jobs_finished_total{outcome="lost"}'] == 0
    assert before["queuectl_jobs_dead_total"] == 1
    assert before["queuectl_job_retries_total"] == 3
    assert after["queuectl_job_retries_total"] == 4


async def test_a_failed_run_of_a_job_that_was_cancelled_meanwhile_is_no_retry(
    engine: QueueEngine,
) -> None:
    await add_one(engine._store)
    job = await take_one(engine._store)
    await engine.cancel(job.id)
    await end(engine._store, job, OutcomeKind.LOST)

    samples = await scrape(engine)

    assert samples['queuectl_jobs_finished_total{outcome="lost"}'] == 1
    assert samples["queuectl_job_retries_total"] == 0


async def test_run_times_and_waits_are_histograms(db_path: Path, clock: FakeClock) -> None:
    runner = FakeRunner(clock)
    runner.script("long", FakeRun(takes=3))

    async with QueueEngine(db_path, clock=clock, runner=runner) as engine:
        job = await engine.enqueue("long")
        clock.advance(40)

        async with engine.workers():
            await wait_until(lambda: bool(runner.started))
            clock.advance(3)
            await engine.wait(job.id)

        samples = await scrape(engine)

    duration = 'queuectl_job_duration_seconds_bucket{le="%s",outcome="completed"}'
    assert (samples[duration % "2.5"], samples[duration % "5.0"]) == (0, 1)
    assert samples[duration % "+Inf"] == 1
    assert samples['queuectl_job_duration_seconds_sum{outcome="completed"}'] == 3
    assert samples['queuectl_job_duration_seconds_count{outcome="completed"}'] == 1
    assert samples['queuectl_job_wait_seconds_bucket{le="25.0"}'] == 0
    assert samples['queuectl_job_wait_seconds_bucket{le="50.0"}'] == 1
    assert samples["queuectl_job_wait_seconds_sum"] == 40
    assert samples["queuectl_job_wait_seconds_count"] == 1


async def test_the_bounds_are_some_of_the_engines_three_a_decade(engine: QueueEngine) -> None:
    text = (await render(engine)).decode()
    written = re.findall(r'wait_seconds_bucket\{le="([0-9.]+)"\}', text)
    bounds = [float(bound) for bound in written]

    assert bounds == sorted(set(bounds))
    assert {round(bound * 1000, 3) for bound in bounds} <= set(BOUNDS)
    assert (bounds[0], bounds[-1]) == (0.001, 100_000)
    assert all(2 <= later / earlier <= 2.5 for earlier, later in pairwise(bounds))


async def test_the_oldest_job_that_is_due_has_an_age(db_path: Path, clock: FakeClock) -> None:
    async with QueueEngine(db_path, clock=clock) as engine:
        await engine.enqueue("true", delay=3600)
        none = await scrape(engine)
        await engine.enqueue("true")
        clock.advance(90)
        some = await scrape(engine)

    assert none["queuectl_queue_oldest_age_seconds"] == 0
    assert some["queuectl_queue_oldest_age_seconds"] == 90


async def test_workers_have_states_slots_and_busy_slots(
    engine: QueueEngine, tmp_path: Path
) -> None:
    job = await engine.enqueue("until test -e stop; do sleep 0.01; done", cwd=str(tmp_path))

    async with engine.workers(concurrency=3):
        await wait_until(lambda: _is_busy(engine))
        samples = await scrape(engine)
        (tmp_path / "stop").touch()
        await engine.wait(job.id)

    assert samples['queuectl_workers{state="running"}'] == 1
    assert samples['queuectl_workers{state="dead"}'] == 0
    assert samples["queuectl_worker_slots"] == 3
    assert samples["queuectl_worker_busy_slots"] == 1


async def _is_busy(engine: QueueEngine) -> bool:
    return any(worker.busy for worker in await engine.list_workers())


async def test_what_webhooks_are_to_be_told_is_counted(engine: QueueEngine, db_path: Path) -> None:
    none = await scrape(engine)

    # A port that nobody listens on, and two webhooks that are told of the same.
    for _ in range(2):
        await engine.webhooks.add("http://127.0.0.1:9/", on=["cancelled"])

    for number in range(3):
        await engine.enqueue("true", id=f"j{number}", delay=3600)
        await engine.cancel(f"j{number}")

    with closing(sqlite3.connect(db_path)) as connection, connection:
        connection.execute(
            "UPDATE deliveries SET state = 'dead', due_at = NULL, settled_at = 0 WHERE seq = 1"
        )

    some = await scrape(engine)
    waiting, dead = (f'queuectl_webhook_deliveries{{state="{it}"}}' for it in ("waiting", "dead"))

    assert (none[waiting], none[dead]) == (0, 0)
    assert (some[waiting], some[dead]) == (5, 1)


async def test_the_sizes_of_the_files_are_told(engine: QueueEngine, db_path: Path) -> None:
    await engine.enqueue("true")
    samples = await scrape(engine)

    assert samples['queuectl_database_size_bytes{file="main"}'] == db_path.stat().st_size > 0
    wal = db_path.with_name("queue.db-wal")
    assert samples['queuectl_database_size_bytes{file="wal"}'] == wal.stat().st_size > 0


async def test_the_program_that_answers_is_told(engine: QueueEngine) -> None:
    text = (await render(engine)).decode()

    assert re.search(r"^queuectl_build_info\{.*\} 1\.0$", text, re.MULTILINE)
    assert f'version="{queuectl.__version__}"' in text


async def test_nothing_that_a_job_is_made_of_is_in_it(engine: QueueEngine) -> None:
    await engine.enqueue(f"false; {HOSTILE}", id="secret-id", tags=["secret-tag"], max_retries=0)
    await engine.drain()
    text = (await render(engine)).decode()

    assert "secret" not in text
    assert "evil" not in text
    assert parse(text.encode())['queuectl_jobs{state="dead"}'] == 1
    labels = set(re.findall(r"[{,](\w+)=", text))
    assert labels == {"state", "outcome", "le", "file", "version", "python_version"}


async def test_counters_never_fall_when_jobs_are_deleted_or_the_program_starts_anew(
    db_path: Path,
) -> None:
    async with QueueEngine(db_path) as engine:
        for command in ("true", "false", "exit 3"):
            await engine.enqueue(command, max_retries=0)

        await engine.drain()
        before = counters(await scrape(engine))
        await engine.purge()
        purged = counters(await scrape(engine))

    async with QueueEngine(db_path) as engine:
        after = counters(await scrape(engine))
        await engine.enqueue("true")
        await engine.drain()
        later = counters(await scrape(engine))

    assert before["queuectl_jobs_enqueued_total"] == 3
    assert before == purged == after
    assert later.keys() == before.keys()
    assert all(later[key] >= before[key] for key in before)
    assert later['queuectl_jobs_finished_total{outcome="completed"}'] == 2


async def test_every_process_tells_the_same_of_a_database(
    engine: QueueEngine, db_path: Path
) -> None:
    await engine.enqueue("true")
    await engine.drain()

    async with QueueEngine(db_path) as other:
        assert counters(await scrape(other)) == counters(await scrape(engine))


async def test_two_engines_of_a_program_do_not_meet(tmp_path: Path) -> None:
    registered = prometheus_client.generate_latest()

    async with QueueEngine(tmp_path / "a.db") as one, QueueEngine(tmp_path / "b.db") as two:
        await one.enqueue("true")
        assert (await scrape(one))["queuectl_jobs_enqueued_total"] == 1
        assert (await scrape(two))["queuectl_jobs_enqueued_total"] == 0

    assert b"queuectl" not in registered + prometheus_client.generate_latest()


async def test_a_database_that_is_gone_is_an_error_and_not_zeros(
    engine: QueueEngine, db_path: Path
) -> None:
    await engine.enqueue("true")
    db_path.write_bytes(b"no database at all" * 1000)
    db_path.with_name("queue.db-wal").write_bytes(b"")

    with pytest.raises(StoreError):
        await scrape(engine)


async def test_a_dead_worker_is_counted_and_has_no_slots(
    engine: QueueEngine, db_path: Path
) -> None:
    with closing(sqlite3.connect(db_path)) as connection, connection:
        connection.execute(
            "INSERT INTO workers (token, host, pid, boot_id, concurrency, started_at)"
            " VALUES ('gone', 'here', 1, 'before', 4, 0)"
        )

    samples = await scrape(engine)

    assert samples['queuectl_workers{state="dead"}'] == 1
    assert samples['queuectl_workers{state="running"}'] == 0
    assert samples["queuectl_worker_slots"] == samples["queuectl_worker_busy_slots"] == 0


# Finished and due ones by turns, and an event of each.
_FILL: Final = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000)
INSERT INTO jobs (
    id, command, state, ready, priority, attempts, run_count, max_retries,
    run_at, created_at, updated_at, started_at, finished_at, cwd
)
SELECT
    n, 'true', CASE n % 2 WHEN 1 THEN 'completed' ELSE 'pending' END,
    CASE n % 2 WHEN 0 THEN 1 END, 100, n % 2, n % 2, 3,
    n, n, n, CASE n % 2 WHEN 1 THEN n END, CASE n % 2 WHEN 1 THEN n END, '/'
FROM numbers;
INSERT INTO events (at, job, kind, run) SELECT run_at, seq, 'enqueued', 0 FROM jobs;
"""


def _fill(database: Path) -> None:
    """Add a million jobs."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.executescript(f"PRAGMA synchronous = OFF; BEGIN; {_FILL} COMMIT")


async def _shortest_scrape(engine: QueueEngine) -> float:
    """Return how many seconds a scrape takes when nothing else holds it up."""
    took: list[float] = []

    for _ in range(5):
        begin = time.perf_counter()
        await render(engine)
        took.append(time.perf_counter() - begin)

    return min(took)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_million_jobs_do_not_make_a_scrape_slower(tmp_path: Path) -> None:
    async with QueueEngine(tmp_path / "empty.db") as engine:
        empty = await _shortest_scrape(engine)

    large = tmp_path / "large.db"

    async with QueueEngine(large):
        pass

    _fill(large)

    async with QueueEngine(large) as engine:
        samples = await scrape(engine)
        full = await _shortest_scrape(engine)

    assert samples['queuectl_jobs{state="pending"}'] == 500_000
    assert samples['queuectl_jobs{state="completed"}'] == 500_000
    assert full - empty < 0.1
