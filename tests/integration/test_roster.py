"""Who succeeds a worker: the process that it was, and no other of its number."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from queuectl import QueueEngine, WaitTimeoutError, WorkerNotFoundError, WorkerStateError
from queuectl.engine.runtime.bus import Bus
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.liveness import LOCK_NAME, boot_id, pid_namespace
from queuectl.engine.runtime.locks import open_private, try_lock
from queuectl.engine.runtime.roster import Roster
from queuectl.engine.store.base import JobStore
from tests.factories import NOW
from tests.integration.orphans import STAY, a_process
from tests.integration.processes import WORK, engine_process, is_running
from tests.still import stand_still
from tests.waiting import wait_until


async def _register(
    store: JobStore, folder: StateFolder, namespace: str, *, pid: int | None = None
) -> int:
    """Register a worker, of this process's number where none is given; return its lock."""
    home = folder.worker(f"worker{len([*folder.workers.iterdir()])}")
    home.mkdir(mode=0o700)
    lock = open_private(home / LOCK_NAME)
    assert try_lock(lock)
    await store.register_worker(
        token=home.name,
        host="",
        pid=pid or os.getpid(),
        boot_id=boot_id(),
        pid_namespace=namespace,
        lock_file=None,
        pipe=None,
        can_restart=True,
        concurrency=1,
        now=NOW,
    )
    return lock


async def test_a_worker_of_the_same_number_elsewhere_is_no_successor(
    store: JobStore, db_path: Path
) -> None:
    folder = StateFolder(db_path)
    await asyncio.to_thread(folder.make)
    bus = Bus(folder.wake)
    roster = Roster(store, folder, bus)
    locks = [await _register(store, folder, pid_namespace())]
    locks += [await _register(store, folder, "pid:[1]")]

    try:
        with pytest.raises(WaitTimeoutError):
            await roster.restart(["w1"], timeout=0.1)

        locks += [await _register(store, folder, pid_namespace())]
        [successor] = await roster.restart(["w1"], timeout=5)
    finally:
        bus.close()
        for lock in locks:
            os.close(lock)

    assert successor.id == "w3"


async def test_a_stop_is_no_signal_to_whoever_has_the_number_of_a_dead_worker(
    engine: QueueEngine, store: JobStore, db_path: Path
) -> None:
    async with a_process(STAY) as stranger:
        os.close(await _register(store, StateFolder(db_path), pid_namespace(), pid=stranger))

        with pytest.raises(WorkerNotFoundError):
            await engine.stop_workers(["w1"], now=True, timeout=5)

        with pytest.raises(WorkerNotFoundError):
            await engine.restart_workers(["w1"], timeout=5)

        assert await engine.stop_workers(now=True, timeout=5) == []
        assert is_running(stranger)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the pipe who has read it")
async def test_who_waits_for_a_worker_that_was_stopped_is_told_how_it_goes_on(
    engine: QueueEngine, db_path: Path
) -> None:
    async with engine_process(WORK, db_path, 1) as worker:
        await asyncio.to_thread(stand_still, worker.pid, db_path)
        try:
            with pytest.raises(WaitTimeoutError) as caught:
                await engine.stop_workers(timeout=0.1)
        finally:
            os.kill(worker.pid, signal.SIGCONT)

    assert f"kill -CONT {worker.pid};" in str(caught.value.hint)


async def test_a_worker_that_is_only_busy_gets_no_hint(engine: QueueEngine, tmp_path: Path) -> None:
    await engine.enqueue("touch began; until [ -e go ]; do sleep 0.02; done", cwd=tmp_path)

    async with engine.workers():
        await wait_until((tmp_path / "began").exists)

        with pytest.raises(WaitTimeoutError) as caught:
            await engine.stop_workers(timeout=0.1)

        (tmp_path / "go").touch()

    assert caught.value.hint is None


@pytest.mark.skipif(sys.platform != "linux", reason="only here is a zombie told from a process")
async def test_who_restarts_a_worker_hears_that_it_ended_though_nobody_has_waited_for_it(
    store: JobStore, db_path: Path
) -> None:
    folder = StateFolder(db_path)
    await asyncio.to_thread(folder.make)
    bus = Bus(folder.wake)
    ended = os.posix_spawnp("true", ["true"], os.environ)
    await wait_until(lambda: not is_running(ended))
    lock = await _register(store, folder, pid_namespace(), pid=ended)

    async def is_asked() -> bool:
        return [worker.restart for worker in await store.workers()] == [True]

    try:
        restarting = asyncio.create_task(Roster(store, folder, bus).restart(["w1"], timeout=5))
        await wait_until(is_asked)
        os.close(lock)

        with pytest.raises(WorkerStateError, match="has ended without a successor"):
            await restarting
    finally:
        bus.close()
        os.waitpid(ended, 0)
