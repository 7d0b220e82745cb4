"""Starts and stops workers: registration, lock, recovery, and the way out."""

import fcntl
import logging
import os
import secrets
import shutil
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import anyio
import msgspec

from queuectl.engine.domain.models import Job
from queuectl.engine.errors import StoreError, StoreReplacedError
from queuectl.engine.runtime.bus import Bus
from queuectl.engine.runtime.clock import Clock, sleep
from queuectl.engine.runtime.executor import Executor
from queuectl.engine.runtime.folder import StateFolder, make_private
from queuectl.engine.runtime.locks import open_private
from queuectl.engine.runtime.process import Runner
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.recovery import LOCK_NAME, Recovery, boot_id
from queuectl.engine.runtime.runfiles import RunFilesPool
from queuectl.engine.runtime.worker import Worker
from queuectl.engine.store.base import JobStore

_log = logging.getLogger(__name__)

# Seconds between two looks for dead workers.
_RECOVERY_INTERVAL: Final = 1.0


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """
    What every worker of an engine shares.

    Attributes:
        database: The file, absolute.
        grace: Seconds between TERM and KILL.
    """

    database: Path
    store: JobStore
    runner: Runner
    clock: Clock
    bus: Bus
    folder: StateFolder
    grace: float


async def run_worker(
    around: Surroundings,
    *,
    concurrency: int,
    until_settled: bool = False,
    started: Callable[[Worker], Awaitable[Job | None]],
) -> None:
    """
    Register a worker, let it work until it is stopped, and take it off again.

    Args:
        around: What it works with.
        concurrency: Its slots.
        until_settled: Whether it stops by itself when the queue is settled.
        started: Called when it is registered, before it works. May return a
            job that it has claimed for the worker; then it runs that alone.
    """
    home, lock = _make_home(around.folder)

    try:
        number = await around.store.register_worker(
            token=home.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            boot_id=boot_id(),
            concurrency=concurrency,
            now=around.clock.now(),
        )
    except BaseException:
        _remove_home(home, lock)
        raise

    recorder = Recorder(around.store, around.clock, around.folder)
    worker = Worker(
        number=number,
        concurrency=concurrency,
        store=around.store,
        executor=Executor(
            recorder=recorder,
            runner=around.runner,
            clock=around.clock,
            files=RunFilesPool(home),
            grace=around.grace,
            environ={"QUEUECTL_DB": str(around.database)},
        ),
        bus=around.bus,
        clock=around.clock,
        until_settled=until_settled,
    )

    try:
        async with anyio.create_task_group() as services:
            services.start_soon(_recover_for_ever, around, recorder)
            await worker.run(await started(worker))
            services.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _unregister(around, number, home, lock)


def _make_home(folder: StateFolder) -> tuple[Path, int]:
    """
    Make a worker's folder and lock it, before anybody can know of the worker.

    Returns:
        The folder, and the lock as an open descriptor.
    """
    home = folder.worker(secrets.token_hex(8))
    make_private(home)
    lock = open_private(home / LOCK_NAME)
    # Not "try": somebody who only looks whether it is held may hold it just now.
    fcntl.flock(lock, fcntl.LOCK_EX)
    return home, lock


def _remove_home(home: Path, lock: int) -> None:
    shutil.rmtree(home, ignore_errors=True)
    os.close(lock)


async def _unregister(around: Surroundings, number: int, home: Path, lock: int) -> None:
    try:
        is_gone = await around.store.unregister_worker(number)
    except StoreError as error:
        _log.error("cannot take worker w%d off the list: %s", number, error)
        is_gone = False

    if is_gone:
        _remove_home(home, lock)
    else:
        # Whoever recovers its jobs needs the files.
        os.close(lock)


async def _recover_for_ever(around: Surroundings, recorder: Recorder) -> None:
    recovery = Recovery(
        store=around.store,
        recorder=recorder,
        folder=around.folder,
        clock=around.clock,
    )

    while True:
        try:
            await recovery.tick()
        except StoreReplacedError:
            raise
        except (StoreError, OSError) as error:
            _log.error("cannot look for dead workers: %s", error)

        await sleep(around.clock, _RECOVERY_INTERVAL)
