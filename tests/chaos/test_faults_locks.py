"""A database that another program keeps locked: a short lock delays, a long one is named."""

import asyncio
import errno
import fcntl
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest

from queuectl import JobState, QueueEngine, StoreBusyError, StoreError
from queuectl.engine.store.sqlite.checkpoint import Checkpointer
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.integration.processes import run_python
from tests.waiting import wait_until

# Takes the write lock, says so, and lets go when its standard input ends.
HOLD: Final = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
connection.close()
"""

# The program, with less patience.
IMPATIENT: Final = """
import sys
from queuectl.engine.store.sqlite import connection, setup
connection.BUSY_SECONDS = setup.BUSY_SECONDS = 0.2
from queuectl.cli.app import main
sys.argv = ["queuectl", *sys.argv[1:]]
main()
"""

HELD_SECONDS: Final = 3.0


@asynccontextmanager
async def held(path: Path) -> AsyncIterator[None]:
    """Hold the write lock from another process."""
    process = await asyncio.create_subprocess_exec(  # noqa: TID251 (another program)
        sys.executable,
        "-c",
        HOLD,
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )

    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 10) == b"held\n"
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 10)


@pytest.mark.slow
async def test_a_lock_held_for_three_seconds_costs_nobody_anything(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    ids = [f"{client}-{number}" for client in range(4) for number in range(5)]
    acknowledged: list[str] = []

    async def enqueue(engine: QueueEngine, name: str) -> None:
        acknowledged.append((await engine.enqueue(":", id=name)).id)

    async with QueueEngine(path) as client, QueueEngine(path) as other, client.workers(2):
        await client.enqueue("until [ -e go ]; do sleep 0.01; done", id="running", cwd=tmp_path)
        await wait_until(lambda: is_in(other, "running", JobState.PROCESSING))

        # The clients are waited for when the lock is free again.
        async with anyio.create_task_group() as clients, held(path):
            began = time.monotonic()
            # It ends while nothing can be recorded.
            (tmp_path / "go").touch()

            for number, name in enumerate(ids):
                clients.start_soon(enqueue, (client, other)[number % 2], name)

            # Reading goes on all the while.
            while time.monotonic() < began + HELD_SECONDS:
                assert [job.id for job in await other.list()] == ["running"]
                await anyio.sleep(0.1)

            assert acknowledged == []

        jobs = await client.wait_all(["running", *ids], timeout=10)

    assert set(acknowledged) == set(ids)
    assert {(job.state, job.run_count) for job in jobs} == {(JobState.COMPLETED, 1)}


async def test_a_lock_held_for_longer_is_named_and_the_work_goes_on_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue.db"

    for module in ("connection", "setup"):
        monkeypatch.setattr(f"queuectl.engine.store.sqlite.{module}.BUSY_SECONDS", 0.1)

    async with QueueEngine(path) as client, QueueEngine(path) as worker, worker.workers():
        await client.enqueue("until [ -e go ]; do sleep 0.01; done", id="running", cwd=tmp_path)
        await wait_until(lambda: is_in(client, "running", JobState.PROCESSING))

        async with held(path):
            (tmp_path / "go").touch()

            for _ in range(3):
                with pytest.raises(StoreBusyError, match="locked by another program"):
                    await client.enqueue(":", id="refused")

            code, words = await run_python(
                "-c", IMPATIENT, "--db", str(path), "enqueue", "--", "true"
            )
            seen = [job.id for job in await client.list()]

        await client.enqueue(":", id="after")
        jobs = await client.wait_all(["running", "after"], timeout=10)
        ids = {job.id for job in await client.list()}

    assert code == 7, words
    assert "locked by another program" in words
    assert "hint: try again" in words
    assert "Traceback" not in words
    assert (seen, ids) == (["running"], {"running", "after"})
    assert {(job.state, job.run_count) for job in jobs} == {(JobState.COMPLETED, 1)}


class Locks:
    """The file locks of commits and checkpoints, as the system has them; one call may fail."""

    LOCK_SH = fcntl.LOCK_SH
    LOCK_EX = fcntl.LOCK_EX
    LOCK_UN = fcntl.LOCK_UN
    LOCK_NB = fcntl.LOCK_NB

    def __init__(self) -> None:
        self._failing: tuple[int, int] | None = None
        self.refused = 0

    def fail_once(self, descriptor: int, how: int) -> None:
        self._failing = descriptor, how

    def has_failed(self) -> bool:
        return self._failing is None

    def flock(self, descriptor: int, how: int) -> None:
        if (descriptor, how) == self._failing:
            self._failing = None
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            self.refused += 1
            raise


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> Locks:
    locks = Locks()

    for module in ("checkpoint", "filelocks"):
        monkeypatch.setattr(f"queuectl.engine.store.sqlite.{module}.fcntl", locks)

    return locks


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for a lock."""
    for module in ("checkpoint", "connection", "setup"):
        monkeypatch.setattr(f"queuectl.engine.store.sqlite.{module}.BUSY_SECONDS", 0.1)


@contextmanager
def lock_held(database: Path, end: str) -> Iterator[None]:
    """Have a lock alone, as a checkpoint or a migration that was stopped."""
    path = database.with_name(f"{database.name}-{end}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def locks_of(engine: QueueEngine) -> Checkpointer:
    store = engine._store
    assert isinstance(store, SqliteStore)
    return store._checkpointer


@pytest.mark.parametrize("name", ["_turnstile", "_gate"])
async def test_a_commit_whose_lock_cannot_be_given_up_is_what_its_caller_is_told(
    name: str, locks: Locks, tmp_path: Path
) -> None:
    async with QueueEngine(tmp_path / "queue.db") as engine:
        await engine.enqueue(":", id="before")
        # The turnstile's is given up before the commit, the gate's behind it.
        locks.fail_once(getattr(locks_of(engine), name), fcntl.LOCK_UN)

        try:
            await engine.enqueue(":", id="job")
        except StoreError:
            is_acknowledged = False
        else:
            is_acknowledged = True

        ids = {job.id for job in await engine.list()}
        await engine.enqueue(":", id="after")

    assert locks.has_failed()
    assert is_acknowledged == ("job" in ids)


async def test_a_lock_that_a_worker_cannot_have_once_does_not_end_it(
    locks: Locks, tmp_path: Path
) -> None:
    path = tmp_path / "queue.db"

    async with QueueEngine(path) as client, QueueEngine(path) as worker, worker.workers():
        await client.config.set("worker-poll-interval", 0.05)
        await client.enqueue(":", id="first")
        await client.wait("first", timeout=5)
        locks.fail_once(locks_of(worker)._turnstile, fcntl.LOCK_SH | fcntl.LOCK_NB)
        await client.enqueue(":", id="job")
        job = await client.wait("job", timeout=5)

    assert locks.has_failed()
    assert job.state is JobState.COMPLETED


async def test_a_lock_that_a_vacuum_cannot_have_is_an_error_of_ours(
    locks: Locks, tmp_path: Path
) -> None:
    async with QueueEngine(tmp_path / "queue.db") as engine:
        locks.fail_once(locks_of(engine)._turnstile, fcntl.LOCK_SH | fcntl.LOCK_NB)

        with pytest.raises(StoreError, match="cannot lock the database"):
            await engine.vacuum()

        assert locks.has_failed()
        await engine.vacuum()


async def test_a_lock_that_a_migration_cannot_have_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        del descriptor, how
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as broken:
        broken.setattr(fcntl, "flock", refuse)

        with pytest.raises(StoreError, match="cannot lock the database"):
            async with QueueEngine(tmp_path / "queue.db"):
                pytest.fail("it was opened")

    async with QueueEngine(tmp_path / "queue.db") as engine:
        assert await engine.list() == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("end", ["turnstile", "checkpoint"])
async def test_a_commit_does_not_wait_without_end_for_a_checkpoint_that_was_stopped(
    end: str, tmp_path: Path
) -> None:
    path = tmp_path / "queue.db"

    async with QueueEngine(path) as engine:
        with lock_held(path, end), anyio.fail_after(2):
            with pytest.raises(StoreBusyError, match="locked by another program") as caught:
                await engine.enqueue(":", id="refused")

            with pytest.raises(StoreBusyError):
                await engine.enqueue(":", id="refused")

            seen = await engine.list()

        await engine.enqueue(":", id="after")
        ids = [job.id for job in await engine.list()]

    assert "queuectl worker list" in (caught.value.hint or "")
    assert (seen, ids) == ([], ["after"])


@pytest.mark.parametrize("end", ["turnstile", "checkpoint"])
async def test_a_commit_goes_on_as_soon_as_the_checkpoint_is_over(
    end: str, locks: Locks, tmp_path: Path
) -> None:
    path = tmp_path / "queue.db"

    async with QueueEngine(path) as engine, anyio.create_task_group() as callers:
        with lock_held(path, end):
            callers.start_soon(engine.enqueue, ":")
            await wait_until(lambda: locks.refused > 1)
            assert await engine.list() == []

        await wait_until(lambda: has_jobs(engine, 1), seconds=2)


@pytest.mark.usefixtures("impatient")
async def test_a_vacuum_does_not_wait_without_end_for_a_checkpoint_that_was_stopped(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"

    async with QueueEngine(path) as engine:
        with lock_held(path, "turnstile"), anyio.fail_after(2), pytest.raises(StoreBusyError):
            await engine.vacuum()

        await engine.vacuum()


@pytest.mark.usefixtures("impatient")
async def test_nobody_waits_without_end_for_a_migration_that_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"

    with lock_held(path, "checkpoint"), pytest.raises(StoreBusyError, match="locked by another"):
        async with QueueEngine(path):
            pytest.fail("it was opened")

    async with QueueEngine(path) as engine:
        assert await engine.list() == []


@pytest.mark.usefixtures("impatient")
async def test_a_worker_outlives_a_checkpoint_that_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"

    async with QueueEngine(path) as client, QueueEngine(path) as worker, worker.workers():
        await client.enqueue("until [ -e go ]; do sleep 0.01; done", id="running", cwd=tmp_path)
        await wait_until(lambda: is_in(client, "running", JobState.PROCESSING))

        with lock_held(path, "turnstile"):
            (tmp_path / "go").touch()

            with pytest.raises(StoreBusyError):
                await client.enqueue(":", id="refused")

        job = await client.wait("running", timeout=5)

    assert (job.state, job.run_count) == (JobState.COMPLETED, 1)


async def has_jobs(engine: QueueEngine, count: int) -> bool:
    return len(await engine.list()) == count


async def is_in(engine: QueueEngine, name: str, state: JobState) -> bool:
    return (await engine.get(name)).state is state
