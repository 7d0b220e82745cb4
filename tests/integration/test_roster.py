"""Who succeeds a worker: the process that it was, and no other of its number."""

import os
from pathlib import Path

import pytest

from queuectl import WaitTimeoutError
from queuectl.engine.runtime.bus import Bus
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.liveness import LOCK_NAME, boot_id, pid_namespace
from queuectl.engine.runtime.locks import open_private, try_lock
from queuectl.engine.runtime.roster import Roster
from queuectl.engine.store.base import JobStore
from tests.factories import NOW


async def _register(store: JobStore, folder: StateFolder, namespace: str) -> int:
    """Register a worker of this process's number that is alive; return its lock."""
    home = folder.worker(f"worker{len([*folder.workers.iterdir()])}")
    home.mkdir(mode=0o700)
    lock = open_private(home / LOCK_NAME)
    assert try_lock(lock)
    await store.register_worker(
        token=home.name,
        host="",
        pid=os.getpid(),
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
    folder.make()
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
