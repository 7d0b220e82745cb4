"""An engine inside another program: what it leaves behind, and how it ends."""

import asyncio
import fcntl
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from queuectl import (
    EngineClosedError,
    EventKind,
    Job,
    JobNotFoundError,
    JobSpec,
    JobState,
    QueueEngine,
    StoreError,
    WaitTimeoutError,
)
from queuectl.engine.runtime import watching
from queuectl.engine.runtime.run import StopReason
from queuectl.engine.store.sqlite import lookups
from queuectl.engine.store.sqlite.connection import ThreadConnection, connect
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.integration.conftest import GRACE
from tests.integration.processes import is_running, pid_in
from tests.waiting import wait_for_event, wait_until

LONG = "echo $$ > pid; exec sleep 60"
STUBBORN = "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done"


def descriptors() -> set[str]:
    """Name what this process has open, pipes of the loop and the like among it."""
    found = set()

    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{link.name} {link.readlink()}")
        except FileNotFoundError:
            continue

    return found


def locked_files(folder: Path) -> list[Path]:
    """Return the files under a folder whose lock somebody holds."""
    locked = []

    for path in folder.rglob("*"):
        # Closing a database's file would drop SQLite's own locks in this process.
        if path.is_file() and "queue.db-run" in path.parts:
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    locked.append(path)

    return locked


async def assert_nothing_is_left(
    db_path: Path, threads: set[threading.Thread], files: set[str]
) -> None:
    folder = db_path.parent / "queue.db-run"
    # A thread that has answered for the last time ends a moment later.
    await wait_until(lambda: set(threading.enumerate()) <= threads, seconds=2)
    assert descriptors() <= files
    assert list((folder / "wake").iterdir()) == []
    assert list((folder / "workers").iterdir()) == []
    assert locked_files(db_path.parent) == []
    assert [task for task in asyncio.all_tasks() if "queuectl" in task.get_name()] == []


async def test_leaving_leaves_no_thread_file_pipe_or_lock_behind(db_path: Path) -> None:
    threads, files = set(threading.enumerate()), descriptors()

    async with QueueEngine(db_path) as engine:
        jobs = await engine.enqueue_many(["echo hi", "head -c 20000 /dev/zero", "sleep 60 &"])
        async with engine.workers(2):
            await engine.wait_all([job.id for job in jobs], timeout=10)
        await engine.stats()
        await engine.output(jobs[1].id)

    await assert_nothing_is_left(db_path, threads, files)


async def test_leaving_with_an_exception_ends_what_runs_and_gives_it_back(
    db_path: Path, tmp_path: Path
) -> None:
    threads, files = set(threading.enumerate()), descriptors()
    pid = 0

    async def fail() -> None:
        nonlocal pid
        async with QueueEngine(db_path, kill_grace=GRACE) as engine, engine.workers(2):
            await engine.enqueue(STUBBORN, id="job", cwd=tmp_path)
            pid = await pid_in(tmp_path / "pid")
            msg = "mine"
            raise LookupError(msg)

    with pytest.raises(LookupError, match="mine"):
        await fail()

    assert not is_running(pid)
    await assert_nothing_is_left(db_path, threads, files)
    async with QueueEngine(db_path) as engine:
        job = await engine.get("job")
    assert (job.state, job.attempts, job.run_count) == (JobState.PENDING, 0, 1)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("how", ["workers", "run", "drain"])
async def test_cancelling_the_task_that_works_ends_what_runs_and_gives_it_back(
    db_path: Path, tmp_path: Path, how: str, times: int
) -> None:
    threads, files = set(threading.enumerate()), descriptors()

    async def work() -> None:
        async with QueueEngine(db_path, kill_grace=GRACE) as engine:
            await engine.enqueue(STUBBORN, id="job", cwd=tmp_path)
            if how == "workers":
                async with engine.workers(2):
                    await asyncio.Event().wait()
            elif how == "run":
                await engine.run(2)
            else:
                await engine.drain(2)

    task = asyncio.create_task(work())
    pid = await pid_in(tmp_path / "pid")
    for _ in range(times):
        task.cancel()
        await asyncio.wait({task}, timeout=0.05)
    await asyncio.wait({task}, timeout=10)

    assert task.cancelled()
    assert not is_running(pid)
    await assert_nothing_is_left(db_path, threads, files)
    async with QueueEngine(db_path) as engine:
        job = await engine.get("job")
    assert (job.state, job.attempts, job.run_count) == (JobState.PENDING, 0, 1)


async def test_a_deadline_around_the_workers_ends_them(db_path: Path, tmp_path: Path) -> None:
    async with QueueEngine(db_path, kill_grace=GRACE) as engine:
        await engine.enqueue(LONG, id="job", cwd=tmp_path)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), engine.workers():
                await engine.wait("job")

        assert not is_running(await pid_in(tmp_path / "pid"))
        assert (await engine.get("job")).state is JobState.PENDING
        assert await engine.list_workers() == []


async def test_leaving_the_engine_ends_workers_that_other_tasks_hold(
    db_path: Path, tmp_path: Path
) -> None:
    async with QueueEngine(db_path, kill_grace=GRACE) as engine:
        await engine.enqueue(LONG, id="job", cwd=tmp_path)
        running = asyncio.create_task(engine.run(2))
        waiting = asyncio.create_task(engine.wait("job"))
        pid = await pid_in(tmp_path / "pid")

    results = await asyncio.wait_for(asyncio.gather(running, waiting, return_exceptions=True), 5)
    assert not is_running(pid)
    assert isinstance(results[1], EngineClosedError)


@pytest.mark.parametrize("steps", range(8))
async def test_an_engine_that_is_closed_while_its_first_reads_begin_leaves_nothing(
    db_path: Path, steps: int
) -> None:
    threads, files = set(threading.enumerate()), descriptors()

    async with QueueEngine(db_path) as engine:
        reads = [asyncio.create_task(engine.list()) for _ in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0)

    results = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), 5)
    assert all(found == [] or isinstance(found, EngineClosedError) for found in results), results
    await assert_nothing_is_left(db_path, threads, files)


async def test_a_read_whose_connection_opens_while_the_engine_is_closed_is_answered(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_open = threading.Event()

    def connect_late(path: Path, *, reader: bool) -> ThreadConnection:
        connection = connect(path, reader=reader)
        opening = connection._connector
        connection._connector = lambda: (may_open.wait(5), opening())[1]
        return connection

    monkeypatch.setattr(lookups, "connect", connect_late)

    async with QueueEngine(db_path) as engine:
        store = engine._store
        assert isinstance(store, SqliteStore)
        reading = asyncio.create_task(engine.list())
        await wait_until(store._opening_reader.locked)

        async def let_it_open() -> None:
            await wait_until(lambda: bool(store._opening_reader.statistics().tasks_waiting))
            # A file that is gone lends its number to the next one.
            for name in ("one", "two", "three"):
                (db_path.parent / name).touch()
            may_open.set()

        letting = asyncio.create_task(let_it_open())

    await letting
    assert await reading == []


async def test_who_still_reads_when_the_engine_is_closed_is_told_so(db_path: Path) -> None:
    async def follow() -> None:
        async for _ in engine.follow("job"):
            pass

    async def hear() -> None:
        async for _ in engine.events():
            pass

    async with QueueEngine(db_path) as engine:
        await engine.enqueue("true", id="job")
        waiting = (follow(), hear(), engine.wait("job"))
        tasks = [asyncio.create_task(each) for each in waiting]
        await wait_until(lambda: len(engine._life.bus._listeners) == len(tasks))

    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert [type(each) for each in results] == [EngineClosedError] * 3


async def test_cancelling_an_engine_while_it_opens_leaves_nothing(db_path: Path) -> None:
    threads, files = set(threading.enumerate()), descriptors()

    async def use() -> None:
        async with QueueEngine(db_path):
            await asyncio.Event().wait()

    for steps in range(12):
        task = asyncio.create_task(use())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()

    await wait_until(lambda: set(threading.enumerate()) <= threads, seconds=2)
    assert descriptors() <= files


async def test_an_engine_that_is_open_cannot_be_opened(db_path: Path) -> None:
    engine = QueueEngine(db_path)

    async with engine:
        with pytest.raises(RuntimeError, match="open already"):
            async with engine:
                pass
        assert await engine.list() == []


async def test_an_engine_can_be_opened_again_after_it_was_closed(db_path: Path) -> None:
    engine = QueueEngine(db_path)

    async with engine:
        await engine.enqueue("true", id="job")
    async with engine:
        await engine.drain()

        assert (await engine.get("job")).state is JobState.COMPLETED


async def test_an_engine_that_could_not_be_opened_leaves_nothing(tmp_path: Path) -> None:
    threads, files = set(threading.enumerate()), descriptors()
    (tmp_path / "no.db").write_text("not a database" * 100)

    for path in (tmp_path / "no.db", tmp_path / "missing" / "queue.db", tmp_path):
        with pytest.raises(StoreError):
            async with QueueEngine(path):
                pass

    await wait_until(lambda: set(threading.enumerate()) <= threads, seconds=2)
    assert descriptors() <= files


async def test_nothing_works_before_and_after(db_path: Path) -> None:
    engine = QueueEngine(db_path)

    for _ in range(2):
        with pytest.raises(EngineClosedError):
            await engine.enqueue("true")
        with pytest.raises(EngineClosedError):
            await engine.dlq.list()
        with pytest.raises(EngineClosedError):
            await engine.config.show()
        with pytest.raises(EngineClosedError):
            await engine.drain()
        with pytest.raises(EngineClosedError):
            await anext(engine.events())
        async with engine:
            pass


async def test_waiting_has_a_deadline_that_names_what_is_missing(engine: QueueEngine) -> None:
    jobs = [await engine.enqueue("true", delay=3600) for _ in range(2)]
    done = await engine.enqueue("true")
    await engine.drain()

    with pytest.raises(WaitTimeoutError) as one:
        await engine.wait(jobs[0].id, timeout=0.05)
    with pytest.raises(WaitTimeoutError) as many:
        await engine.wait_all([jobs[1].id, done.id, jobs[0].id], timeout=0.05)
    with pytest.raises(WaitTimeoutError):
        await engine.wait(jobs[0].id, timeout=0)

    assert isinstance(one.value, TimeoutError)
    assert one.value.waiting_for == [jobs[0].id]
    assert many.value.waiting_for == [jobs[1].id, jobs[0].id]


async def test_waiting_for_several_jobs_returns_them_in_the_order_asked_for(
    engine: QueueEngine,
) -> None:
    jobs = await engine.enqueue_many(["sleep 0.1", "exit 0", "true"])
    ids = [jobs[2].id, jobs[0].id, jobs[1].id]

    async with engine.workers(3):
        done = await engine.wait_all(ids, timeout=10)

    assert [job.id for job in done] == ids
    assert await engine.wait_all([]) == []


async def test_waiting_for_a_job_that_is_deleted_meanwhile_is_told_so(
    engine: QueueEngine,
) -> None:
    await engine.enqueue("true", id="job", delay=3600)
    waiting = asyncio.create_task(engine.wait("job"))
    await wait_until(lambda: len(engine._life.bus._listeners) > 0)

    await engine.delete("job")

    with pytest.raises(JobNotFoundError):
        await asyncio.wait_for(waiting, 5)


async def test_the_progress_of_several_jobs_goes_down_to_nothing(engine: QueueEngine) -> None:
    jobs = await engine.enqueue_many(["true"] * 5)

    async with engine.workers(1):
        left = [count async for count in engine.progress([job.id for job in jobs])]

    assert left[-1] == 0
    assert left == sorted(left, reverse=True)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_there_is_one_copy_of_sqlite_in_the_process(engine: QueueEngine) -> None:
    """Two would not see each other's locks, for the kernel takes them for one owner's."""
    await engine.enqueue("true")
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")

    files = {line.split()[-1] for line in maps.splitlines() if "sqlite3" in line}
    assert len([file for file in files if "libsqlite3" in file]) <= 1
    assert len([file for file in files if "/_sqlite3." in file]) == 1


class SeenError(Exception):
    """What a program is left by that saw how its run ended."""


async def leave(engine: QueueEngine, spec: JobSpec, *, after: EventKind) -> Job:
    """Run a job here, and leave it by an error when something has happened to it."""
    with suppress(SeenError):
        async with engine.run_here(spec) as job:
            await wait_for_event(engine, after, job.id)
            raise SeenError

    return await engine.get(job.id)


async def test_a_run_here_that_is_over_is_not_interrupted_by_who_leaves(db_path: Path) -> None:
    async with QueueEngine(db_path) as engine:
        spec = JobSpec(command="exit 3", backoff_base=60)
        job = await leave(engine, spec, after=EventKind.FAILED)

    assert (job.state, job.reason, job.cancel_reason) == (JobState.FAILED, "exit_code=3", None)


async def test_a_run_here_is_cancelled_where_it_is_left(db_path: Path) -> None:
    async with QueueEngine(db_path) as engine:
        job = await leave(engine, JobSpec(command="sleep 60"), after=EventKind.CLAIMED)

    assert (job.state, job.reason) == (JobState.CANCELLED, "interrupted")


async def test_whoever_comes_after_a_worker_does_not_give_back_what_nobody_else_may_have(
    db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[StopReason | None] = []
    monkeypatch.setattr(watching, "_note_end", lambda _, run: noted.append(run.stop_reason))

    async with QueueEngine(db_path) as engine:
        with suppress(SeenError):
            async with engine.run_here(JobSpec(command=LONG, cwd=str(tmp_path))):
                await pid_in(tmp_path / "pid")
                raise SeenError

    assert noted == [StopReason.CANCEL]
