"""Many engines over one file, in this process and in others: every job runs once."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from queuectl import EventKind, JobSpec, JobState, QueueEngine
from tests.integration.conftest import GRACE
from tests.integration.processes import (
    DRAIN,
    ENQUEUE,
    WORK,
    engine_process,
    is_running,
    pid_in,
)


def tallied(count: int, folder: Path) -> list[JobSpec]:
    """Return jobs that each write their name into one file."""
    return [
        JobSpec(command=f"echo job-{n} >> ran", id=f"job-{n}", cwd=str(folder))
        for n in range(count)
    ]


def assert_each_ran_once(folder: Path, count: int) -> None:
    ran = Counter((folder / "ran").read_text().split())
    assert [job for job, times in ran.items() if times > 1] == []
    assert len(ran) == count


async def test_two_engines_in_one_process_run_each_job_once(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue_many(tallied(100, tmp_path))

    async with QueueEngine(db_path) as other:
        await asyncio.gather(engine.drain(2), other.drain(2))

    assert_each_ran_once(tmp_path, 100)
    assert (await engine.stats()).counts[JobState.COMPLETED] == 100


async def test_two_engines_in_one_process_on_two_files_do_not_meet(
    engine: QueueEngine, tmp_path: Path
) -> None:
    async with QueueEngine(tmp_path / "other.db") as other, other.workers():
        mine = await engine.enqueue("true", id="job")
        theirs = await other.enqueue("echo theirs", id="job")
        await other.wait(theirs.id, timeout=5)

    assert (await engine.get(mine.id)).state is JobState.PENDING
    assert await engine.output("job") == ""


async def test_four_processes_run_each_of_300_jobs_once(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue_many(tallied(300, tmp_path))

    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(engine_process(DRAIN, db_path, 2)) for _ in range(4)
        ]
        codes = [await other.ended() for other in others]

    assert codes == [0] * 4
    assert_each_ran_once(tmp_path, 300)
    assert {job.run_count for job in await engine.list("completed")} == {1}
    assert await engine.list_workers() == []


async def test_engines_in_two_threads_start_processes_at_the_same_time(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    async def work(database: Path) -> None:
        async with QueueEngine(database) as engine:
            await engine.config.set("max-retries", 0)
            fresh = await engine.enqueue_many(["exit 3"] * 80)
            async with engine.workers(4):
                ended = await engine.wait_all([job.id for job in fresh], timeout=20)
            runs = [(await engine.attempts(job.id))[0] for job in fresh]
            assert {job.exit_code for job in ended} == {3}
            assert all(run.cpu is not None for run in runs)

    def live(database: Path) -> None:
        try:
            asyncio.run(work(database))
        except BaseException as error:  # noqa: BLE001 (shown by the test)
            errors.append(error)

    threads = [
        threading.Thread(target=live, args=[tmp_path / f"{name}.db"], daemon=True) for name in "abc"
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join, 25)

    assert errors == []
    assert not any(thread.is_alive() for thread in threads)


async def test_an_idle_worker_of_another_process_hears_of_a_job_at_once(
    engine: QueueEngine, db_path: Path, record_property: Callable[[str, object], None]
) -> None:
    # Longer than the test may take: only a hint can be the reason.
    await engine.config.set("worker-poll-interval", 60)
    latencies: list[float] = []

    async with engine_process(WORK, db_path, 1):
        for _ in range(10):
            job = await engine.enqueue("true")
            job = await engine.wait(job.id, timeout=5)
            assert job.started_at is not None
            latencies.append((job.started_at - job.created_at).total_seconds())

    record_property("latencies", sorted(latencies))
    assert sorted(latencies)[5] < 1


async def test_workers_of_another_process_are_listed_and_stopped(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue("echo $$ > pid; exec sleep 60", id="job", cwd=tmp_path)

    async with engine_process(WORK, db_path, 3) as other:
        pid = await pid_in(tmp_path / "pid")
        (worker,) = await engine.list_workers()
        (stopped,) = await engine.stop_workers([worker.id], now=True, timeout=10)

        assert (worker.pid, worker.concurrency, worker.busy) == (other.pid, 3, 1)
        assert stopped.id == worker.id
        assert not is_running(pid)
        assert await engine.list_workers() == []
        assert (await engine.get("job")).state is JobState.PENDING


async def test_events_of_many_processes_come_in_order_and_without_a_gap(
    engine: QueueEngine, db_path: Path
) -> None:
    finished: set[str] = set()
    seen: list[int] = []
    kinds: dict[str, list[EventKind]] = {}

    async with AsyncExitStack() as stack, asyncio.timeout(20):
        events = engine.events(since=0)
        await stack.enter_async_context(engine_process(WORK, db_path, 2))
        for name in ("a", "b"):
            await stack.enter_async_context(engine_process(ENQUEUE, db_path, 25, name))
        async for event in events:
            seen.append(event.seq)
            kinds.setdefault(event.job_id, []).append(event.kind)
            if event.state is JobState.COMPLETED:
                finished.add(event.job_id)
            if len(finished) == 50:
                break

    assert seen == list(range(1, len(seen) + 1))
    assert len(kinds) == 50
    for of_job in kinds.values():
        assert of_job[0] is EventKind.ENQUEUED
        assert of_job[-2:] == [EventKind.CLAIMED, EventKind.COMPLETED]


@pytest.mark.parametrize("how", ["workers", "run"])
async def test_a_worker_process_that_is_told_to_end_gives_its_jobs_back(
    db_path: Path, tmp_path: Path, how: str
) -> None:
    script = WORK
    if how == "run":
        script = WORK.replace(
            "async with engine.workers(int(sys.argv[2])):", "if print('ready', flush=True) is None:"
        ).replace(
            'print("ready", flush=True)\n            await asyncio.Event().wait()',
            "await engine.run(2)",
        )

    async with QueueEngine(db_path, kill_grace=GRACE) as engine:
        await engine.enqueue("echo $$ > pid; exec sleep 60", id="job", cwd=tmp_path)
        async with engine_process(script, db_path, 2):
            pid = await pid_in(tmp_path / "pid")
        job = await engine.get("job")

        assert not is_running(pid)
        assert (job.state, job.attempts) == (JobState.PENDING, 0)
        assert await engine.list_workers() == []
