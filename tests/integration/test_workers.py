"""Workers: how many jobs at once, what they claim, how they stop."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from queuectl import EventKind, InvalidValueError, JobSpec, JobState, OutcomeKind, QueueEngine
from queuectl.engine.runtime.clock import SystemClock
from queuectl.engine.store.base import Change
from queuectl.engine.testing import FakeClock, FakeRun, FakeRunner
from tests.integration.conftest import GRACE
from tests.integration.processes import is_running, pid_in
from tests.waiting import wait_for_event, wait_until

# Goes on when a file named go is there.
GATE = "echo $$ > pid; until [ -e go ]; do sleep 0.01; done"


def most_at_once(journal: Path) -> int:
    """Return how many were inside at once, by the lines + and - that they wrote."""
    inside, most = 0, 0

    for line in journal.read_text().split():
        inside += 1 if line == "+" else -1
        most = max(most, inside)

    return most


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_as_many_jobs_run_at_once_as_there_are_slots_and_no_more(
    engine: QueueEngine, tmp_path: Path, concurrency: int
) -> None:
    command = "echo + >> journal; sleep 0.1; echo - >> journal"
    await engine.enqueue_many([JobSpec(command=command, cwd=str(tmp_path))] * 9)

    await engine.drain(concurrency)

    assert most_at_once(tmp_path / "journal") == concurrency


async def test_short_jobs_claimed_ahead_do_not_exceed_the_slots(
    engine: QueueEngine, tmp_path: Path
) -> None:
    command = "echo + >> journal; echo - >> journal"
    await engine.enqueue_many([JobSpec(command=command, cwd=str(tmp_path))] * 150)

    await engine.drain(2)

    assert most_at_once(tmp_path / "journal") <= 2
    assert (tmp_path / "journal").read_text().count("+") == 150


async def test_a_worker_has_one_slot_or_more(engine: QueueEngine) -> None:
    with pytest.raises(InvalidValueError):
        async with engine.workers(0):
            pass


async def test_a_worker_is_listed_while_it_works(engine: QueueEngine, tmp_path: Path) -> None:
    await engine.enqueue(GATE, cwd=tmp_path)

    async with engine.workers(3):
        await pid_in(tmp_path / "pid")
        (worker,) = await engine.list_workers()
        alive = engine.has_live_worker()
        (tmp_path / "go").touch()

    assert (worker.state, worker.concurrency, worker.busy, alive) == ("running", 3, 1, True)
    assert await engine.list_workers() == []
    assert not engine.has_live_worker()


async def _claim_ahead_behind_a_long_job(
    engine: QueueEngine, runner: FakeRunner, long: FakeRun
) -> None:
    """Let a worker with one slot claim short jobs ahead, and then meet a long one."""
    runner.script("long", long)
    short = [JobSpec(command="true", id=f"before-{n}") for n in range(40)]
    after = [JobSpec(command="true", id=f"after-{n}") for n in range(3)]
    await engine.enqueue_many([*short, JobSpec(command="long", id="long"), *after])
    await wait_until(lambda: any(run.command == "long" for run in runner.started))


async def test_jobs_claimed_ahead_do_not_wait_for_a_long_one_where_another_worker_is_free(
    db_path: Path,
) -> None:
    runner = FakeRunner(SystemClock())

    async with (
        QueueEngine(db_path, runner=runner) as engine,
        engine.workers(1, grace=0),
    ):
        await _claim_ahead_behind_a_long_job(engine, runner, FakeRun(takes=60))
        async with QueueEngine(db_path) as other, other.workers(1):
            jobs = await other.wait_all([f"after-{n}" for n in range(3)], timeout=4)

    assert {job.state for job in jobs} <= {JobState.COMPLETED, JobState.DEAD}


async def test_jobs_claimed_ahead_are_given_back_as_soon_as_their_worker_is_to_stop(
    db_path: Path,
) -> None:
    runner = FakeRunner(SystemClock())

    async with (
        QueueEngine(db_path, runner=runner) as engine,
        QueueEngine(db_path) as other,
        engine.workers(1, grace=0),
    ):
        await _claim_ahead_behind_a_long_job(engine, runner, FakeRun(takes=60))
        stopping = asyncio.create_task(other.stop_workers(timeout=20))
        (worker,) = await other.list_workers()
        async with asyncio.timeout(4):
            while (await other.stats()).counts[JobState.PROCESSING] > 1:
                await other.get("long")
        await other.cancel("long")
        stopped = await stopping

    assert [gone.id for gone in stopped] == [worker.id]


async def test_jobs_claimed_ahead_are_given_back_uncharged(db_path: Path) -> None:
    runner = FakeRunner(SystemClock())

    async with QueueEngine(db_path, runner=runner) as engine:
        async with engine.workers(1, grace=0):
            await _claim_ahead_behind_a_long_job(engine, runner, FakeRun(takes=60))
        jobs = [await engine.get(f"after-{n}") for n in range(3)]
        long = await engine.get("long")

    assert [(job.state, job.attempts, job.run_count) for job in jobs] == [("pending", 0, 0)] * 3
    assert (long.state, long.attempts, long.run_count) == (JobState.PENDING, 0, 1)


async def test_a_more_urgent_job_does_not_wait_for_those_claimed_ahead_of_a_long_one(
    db_path: Path, clock: FakeClock
) -> None:
    runner = FakeRunner(clock)

    async with (
        QueueEngine(db_path, runner=runner, clock=clock) as engine,
        engine.workers(1, grace=0),
    ):
        await _claim_ahead_behind_a_long_job(engine, runner, FakeRun(takes=60))
        await engine.enqueue("urgent", priority=1000)
        clock.advance(60)
        await engine.wait_all([f"after-{n}" for n in range(3)], timeout=5)
        commands = [run.command for run in runner.started]
        clock.advance(0)

    assert commands[41] == "urgent"


async def test_draining_does_not_wait_for_jobs_of_a_later_time(engine: QueueEngine) -> None:
    await engine.enqueue("true", id="later", delay=timedelta(hours=1))
    await engine.enqueue("true", id="now")

    await asyncio.wait_for(engine.drain(), 5)

    assert (await engine.get("later")).state is JobState.PENDING
    assert (await engine.get("now")).state is JobState.COMPLETED


async def test_draining_waits_for_retries(engine: QueueEngine) -> None:
    await engine.enqueue("exit 1", id="job", max_retries=1, backoff_base=0.3)

    await asyncio.wait_for(engine.drain(), 5)

    assert (await engine.get("job")).state is JobState.DEAD


async def test_draining_waits_for_the_jobs_of_other_workers(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    job = await engine.enqueue(GATE, cwd=tmp_path)

    async with engine.workers(), QueueEngine(db_path) as other:
        await pid_in(tmp_path / "pid")
        draining = asyncio.create_task(other.drain())
        await wait_until(lambda: len(other._life._workers) == 1)
        more = await other.enqueue("true")
        await other.wait(more.id, timeout=5)
        was_done = draining.done()
        (tmp_path / "go").touch()
        await asyncio.wait_for(draining, 5)

        assert not was_done
        assert (await other.get(job.id)).state is JobState.COMPLETED


async def test_draining_an_empty_queue_ends_at_once(engine: QueueEngine) -> None:
    await asyncio.wait_for(engine.drain(4), 2)
    assert await engine.list_workers() == []


async def test_leaving_the_workers_waits_for_the_job_that_runs_and_takes_no_other(
    engine: QueueEngine, tmp_path: Path
) -> None:
    running = await engine.enqueue(GATE, cwd=tmp_path)
    waiting = await engine.enqueue("true")

    async with engine.workers(1):
        await pid_in(tmp_path / "pid")
        asyncio.get_running_loop().call_later(0.1, (tmp_path / "go").touch)

    assert (await engine.get(running.id)).state is JobState.COMPLETED
    assert (await engine.get(waiting.id)).state is JobState.PENDING


async def test_a_grace_that_is_over_gives_the_job_back_uncharged(
    engine: QueueEngine, tmp_path: Path
) -> None:
    job = await engine.enqueue(GATE, cwd=tmp_path)

    async with engine.workers(1, grace=0.1):
        pid = await pid_in(tmp_path / "pid")

    job = await engine.get(job.id)
    (run,) = await engine.attempts(job.id)
    assert not is_running(pid)
    assert (job.state, job.attempts, job.run_count) == (JobState.PENDING, 0, 1)
    assert (run.outcome, run.reason) == (OutcomeKind.INTERRUPTED, "interrupted")


@pytest.mark.parametrize("now", [False, True])
async def test_a_run_ends_where_its_workers_are_told_to_stop(
    engine: QueueEngine, db_path: Path, tmp_path: Path, *, now: bool
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path)
    running = asyncio.create_task(engine.run(2))
    await pid_in(tmp_path / "pid")

    async with QueueEngine(db_path) as other:
        stopping = asyncio.create_task(other.stop_workers(now=now, timeout=10))
        if not now:
            await other.last_event()
            (tmp_path / "go").touch()
        (stopped,) = await stopping

    await asyncio.wait_for(running, 5)
    assert stopped.concurrency == 2
    assert (await engine.get("job")).state is (JobState.PENDING if now else JobState.COMPLETED)


async def test_a_change_of_the_config_is_seen_without_a_restart(
    engine: QueueEngine, db_path: Path
) -> None:
    async with engine.workers(), QueueEngine(db_path) as other:
        await other.config.set("max-retries", 0)
        job = await other.enqueue("exit 1")
        job = await other.wait(job.id, timeout=5)
        await other.config.set("backoff-base", 500)
        await other.enqueue("exit 1", id="later", max_retries=1)
        await wait_for_event(other, EventKind.FAILED, "later")
        later = await other.get("later")

    assert (job.state, job.max_retries, job.run_count) == (JobState.DEAD, 0, 1)
    assert later.run_at - later.updated_at >= timedelta(seconds=499)


async def test_a_worker_outlives_a_database_that_is_locked(
    db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.engine.store.sqlite.connection.BUSY_SECONDS", 0.05)

    async with QueueEngine(db_path, kill_grace=GRACE) as engine, engine.workers(1):
        await engine.config.set("worker-poll-interval", 0.1)
        first = await engine.enqueue(f"{GATE}; touch ended", cwd=tmp_path)
        second = await engine.enqueue("true")
        await pid_in(tmp_path / "pid")

        with closing(sqlite3.connect(db_path, isolation_level=None)) as intruder:
            intruder.execute("BEGIN IMMEDIATE")
            (tmp_path / "go").touch()
            await wait_until((tmp_path / "ended").exists)
            # It tries in vain to record the job, and to claim the next.
            began = asyncio.get_running_loop().time()
            await wait_until(lambda: asyncio.get_running_loop().time() > began + 0.5)
            intruder.execute("ROLLBACK")

        jobs = await engine.wait_all([first.id, second.id], timeout=10)

    assert [(job.state, job.run_count) for job in jobs] == [("completed", 1)] * 2


async def test_a_listener_is_still_told_after_a_time_without_free_descriptors(
    engine: QueueEngine, db_path: Path
) -> None:
    import resource

    async with QueueEngine(db_path) as other, engine.workers():
        pipes = set((db_path.parent / "queue.db-run" / "wake").iterdir())
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            other._life.bus.tell(Change.STATE)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        assert set((db_path.parent / "queue.db-run" / "wake").iterdir()) == pipes != set()
