"""A worker that is told to stop while it adopts: it answers for what it took, and takes no more."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from queuectl import EventKind, JobState, LeftoverProcessError, QueueEngine, StoreDamagedError
from queuectl.engine.runtime.settling import Settler
from queuectl.engine.runtime.worker import Worker
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.integration.orphans import GATE
from tests.integration.processes import WORK, engine_process, is_running, pid_in
from tests.waiting import wait_for_event, wait_until


@pytest.fixture(autouse=True)
def opened_gate(tmp_path: Path) -> Iterator[None]:
    """Let jobs that outlive their worker come to their end, however the test went."""
    yield
    (tmp_path / "go").touch()


class Held:
    """
    A method whose calls wait until they may go on.

    Args:
        monkeypatch: Puts it in place.
        owner: The class.
        name: The method.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        real = getattr(owner, name)

        async def wait_and_call(*arguments: Any, **named: Any) -> Any:
            self.begun.set()
            await self.go_on.wait()
            return await real(*arguments, **named)

        monkeypatch.setattr(owner, name, wait_and_call)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """What is set once a worker of this process has been told to stop."""
    told = asyncio.Event()
    real = Worker.stop

    def stop(worker: Worker, how: Any) -> None:
        real(worker, how)

        if how:
            told.set()

    monkeypatch.setattr(Worker, "stop", stop)
    return told


@asynccontextmanager
async def recovering(
    engine: QueueEngine, db_path: Path, tmp_path: Path, held: Held
) -> AsyncIterator[tuple["asyncio.Task[bool]", int]]:
    """Have a second worker, w2, that is about to adopt the job of a first; give its task."""
    await engine.enqueue(GATE, id="job", cwd=tmp_path)

    async with QueueEngine(db_path, kill_grace=0.3) as other:
        async with engine_process(WORK, db_path, 1) as dying:
            pid = await pid_in(tmp_path / "pid")
            started: list[str] = []
            working = asyncio.create_task(other.run(started=started.append))
            await wait_until(lambda: started == ["w2"])
            await dying.kill()

        await held.begun.wait()
        yield working, pid


async def test_a_worker_that_is_told_to_stop_adopts_no_more(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: asyncio.Event,
) -> None:
    held = Held(monkeypatch, Settler, "_settle_seen")

    async with recovering(engine, db_path, tmp_path, held) as (working, pid):
        stopping = asyncio.create_task(engine.stop_workers(["w2"], timeout=10))
        await stopped.wait()
        held.go_on.set()
        await stopping
        await working

    left = await engine.get("job")
    was_running = is_running(pid)

    async with engine.workers():
        event = await wait_for_event(engine, EventKind.ADOPTED)
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    assert (left.worker, was_running, event.reason) == ("w1", True, "w3 from w1")
    assert (job.state, job.run_count) == (JobState.COMPLETED, 1)


async def test_a_run_that_is_being_adopted_when_its_worker_is_ended_ends_with_it(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: asyncio.Event,
) -> None:
    held = Held(monkeypatch, SqliteStore, "adopt")

    async with recovering(engine, db_path, tmp_path, held) as (working, pid):
        stopping = asyncio.create_task(engine.stop_workers(["w2"], now=True, timeout=10))
        await stopped.wait()
        held.go_on.set()
        await stopping
        await working

    job = await engine.get("job")
    assert (job.state, job.interruptions) == (JobState.PENDING, 1)
    assert not is_running(pid)


async def test_a_run_that_is_being_adopted_when_its_worker_drains_is_run_to_its_end(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: asyncio.Event,
) -> None:
    held = Held(monkeypatch, SqliteStore, "adopt")

    async with recovering(engine, db_path, tmp_path, held) as (working, _):
        stopping = asyncio.create_task(engine.stop_workers(["w2"], timeout=10))
        await stopped.wait()
        held.go_on.set()
        await wait_for_event(engine, EventKind.ADOPTED)
        (tmp_path / "go").touch()
        await stopping
        await working

    job = await engine.get("job")
    assert (job.state, job.exit_code, job.run_count) == (JobState.COMPLETED, 0, 1)
    assert (tmp_path / "runs").read_text() == "ended\n"


async def test_a_run_that_is_being_adopted_when_its_worker_is_cancelled_ends_with_it(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: asyncio.Event,
) -> None:
    held = Held(monkeypatch, SqliteStore, "adopt")

    async with recovering(engine, db_path, tmp_path, held) as (working, pid):
        working.cancel()
        await stopped.wait()
        held.go_on.set()

        with pytest.raises(asyncio.CancelledError):
            await working

    job = await engine.get("job")
    assert (job.state, job.interruptions) == (JobState.PENDING, 1)
    assert not is_running(pid)


@pytest.mark.parametrize("is_adopted", [True, False])
async def test_an_error_of_a_worker_that_drains_ends_the_run_that_it_adopted_last(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: asyncio.Event,
    *,
    is_adopted: bool,
) -> None:
    held = Held(monkeypatch, SqliteStore, "adopt")
    failed = asyncio.Event()

    async def fail(*_: Any) -> Any:
        failed.set()
        raise StoreDamagedError(db_path, "damaged")

    async with recovering(engine, db_path, tmp_path, held) as (working, pid):
        stopping = asyncio.create_task(engine.stop_workers(["w2"], timeout=10))
        await stopped.wait()

        if is_adopted:
            held.go_on.set()
            await wait_for_event(engine, EventKind.ADOPTED)

        monkeypatch.setattr(SqliteStore, "orders", fail)
        await failed.wait()
        held.go_on.set()
        await wait_until(lambda: not is_running(pid))

        with pytest.raises(StoreDamagedError):
            await working

        await stopping

    job = await engine.get("job")
    assert (job.state, job.interruptions) == (JobState.PENDING, 1)


async def test_nobody_hears_that_a_worker_is_stopped_whose_adopted_run_goes_on(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path)

    async with engine_process(WORK, db_path, 1) as dying:
        pid = await pid_in(tmp_path / "pid")
        await dying.kill()

    # It drains, and dies over that.
    async with engine_process(WORK, db_path, 1) as adopter:
        await wait_for_event(engine, EventKind.ADOPTED)
        stopping = asyncio.create_task(engine.stop_workers(["w2"], timeout=10))
        await wait_until(lambda: _is_draining(engine))
        await adopter.kill()

        with pytest.raises(LeftoverProcessError) as caught:
            await stopping

    assert pid in caught.value.pids


async def _is_draining(engine: QueueEngine) -> bool:
    return any(worker.state == "draining" for worker in await engine.list_workers())
