"""
What a dead worker left: found by its lock, settled by its runs' files.

A worker whose lock is free is dead, whatever the clocks say. Whoever gets that
lock settles the worker's runs, and nobody else does meanwhile.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from queuectl.engine.domain.models import Job, worker_name
from queuectl.engine.errors import StoreBusyError
from queuectl.engine.runtime.clock import Clock, SystemClock, sleep
from queuectl.engine.runtime.folder import StateFolder, make_private
from queuectl.engine.runtime.liveness import (
    boot_id,
    has_lock,
    has_successor,
    is_alive,
    open_lock,
    pid_namespace,
)
from queuectl.engine.runtime.locks import release, try_lock
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.reporting import reported
from queuectl.engine.runtime.settling import Adopt, Settler
from queuectl.engine.runtime.sweep import Sweeper, running_jobs
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import Listing
from queuectl.engine.store.base import JobStore, WorkerRow

_log = logging.getLogger(__name__)

# How often, and with how many seconds in between, to try for a dead worker's lock.
_TRIES: Final = 5
_PAUSE: Final = 0.004

# A worker that was taken off the list sees that sooner.
_MOMENT: Final = timedelta(seconds=10)

# Seconds that a process which replaces its program has to come for its runs itself.
_SUCCESSION: Final = 10.0


class Recovery:
    """
    Settles what dead workers left.

    Args:
        store: Where jobs and workers are.
        recorder: Records what became of a run.
        folder: Where the workers' files are.
        clock: Tells the time.
        worker: The number of the worker that recovers.
        adopt: Takes a run that goes on into that worker's name, where it takes any.
        is_stopping: Whether that worker is told to stop: then it begins to settle no other job.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        recorder: Recorder,
        folder: StateFolder,
        clock: Clock,
        worker: int,
        adopt: Adopt,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._folder = folder
        self._clock = clock
        self._worker = worker
        self._is_stopping = is_stopping
        self._settler = Settler(
            store=store, recorder=recorder, folder=folder, clock=clock, adopt=adopt
        )
        self._sweeper = Sweeper(store, folder)
        # When workers were first found to have made room for a successor.
        self._left_at: dict[int, float] = {}

    async def tick(self) -> list[WorkerRow]:
        """
        Look at every worker once, and settle what can be settled.

        Returns:
            The workers that are alive.
        """
        alive = []

        for worker in await self._store.workers():
            # One whose lock cannot be read keeps no other from being settled.
            with reported(f"cannot settle what {worker_name(worker.number)} left"):
                # Our own lock may have been moved; that is no death.
                if worker.number == self._worker or is_alive(self._folder, worker):
                    alive.append(worker)
                elif not self._is_for_its_successor(worker):
                    await self._look_at(worker)

        await self._settle_unlisted()
        await self._sweeper.sweep()
        return alive

    def _is_for_its_successor(self, worker: WorkerRow) -> bool:
        """Whether to leave what a worker left to the program that replaces its own."""
        if not has_successor(worker):
            return False

        now = self._clock.monotonic()
        return now - self._left_at.setdefault(worker.number, now) < _SUCCESSION

    async def _look_at(self, worker: WorkerRow) -> None:
        is_whole = has_lock(self._folder, worker)
        lock = await self._lock_dead(worker, is_whole=is_whole)

        if lock is None:
            return

        try:
            # Somebody else may have settled it since it was listed.
            if await self._is_registered(worker):
                await self._settle(worker, is_whole=is_whole)
        finally:
            release(lock)

    async def _settle_unlisted(self) -> None:
        """
        Settle runs of workers that are not on the list.

        That happens where a worker was taken for dead, because its folder was
        moved, and went on for a moment.
        """
        now = self._clock.now()
        # Before the rows: who has a job was on the list first, as one that has
        # just adopted an old run.
        jobs = await running_jobs(self._store)
        listed = {worker_name(worker.number) for worker in await self._store.workers()}

        def is_left(job: Job) -> bool:
            return job.worker not in listed and (job.started_at or now) <= now - _MOMENT

        async def settle(job: Job) -> None:
            await self._settler.settle(
                _unlisted(job), job, await in_thread(Listing.now), is_whole=False
            )

        await self._settle_each(filter(is_left, jobs), settle)

    async def _is_registered(self, worker: WorkerRow) -> bool:
        return any(row.number == worker.number for row in await self._store.workers())

    async def _lock_dead(self, worker: WorkerRow, *, is_whole: bool) -> int | None:
        """
        Take a dead worker's lock, so that nobody else settles its jobs meanwhile.

        Returns:
            The lock as an open descriptor, None where the worker, or somebody
            who settles its jobs, holds it.
        """
        home = self._folder.worker(worker.token)
        make_private(home)
        lock = open_lock(home, by_file=is_whole)

        try:
            if await _lock_soon(lock):
                return lock
        except BaseException:
            release(lock)
            raise

        release(lock)
        return None

    async def _settle(self, worker: WorkerRow, *, is_whole: bool) -> None:
        """Settle each run that a dead worker holds; take it off the list when none is left."""
        # Once for all of them: its worker is dead, and nobody starts anything of theirs.
        listed = await in_thread(Listing.now)

        await self._settle_each(
            await self._store.held_jobs(worker.number),
            partial(self._settler.settle, worker, listed=listed, is_whole=is_whole),
        )

        if await self._store.unregister_worker(worker.number):
            level = logging.INFO if worker.restart else logging.WARNING
            _log.log(level, "worker %s is gone; its runs are settled", worker_name(worker.number))

            if not worker.restart:
                await in_thread(self._log_death, worker_name(worker.number))

    async def _settle_each(
        self, jobs: Iterable[Job], settle: Callable[[Job], Awaitable[None]]
    ) -> None:
        """
        Settle job after job, each whole or not at all, until our worker is told to stop.

        Raises:
            StoreBusyError: The database is locked: each of the others would wait as long.
        """
        for job in jobs:
            # Whoever is cancelled ends here.
            await checkpoint()

            if self._is_stopping():
                return

            # One that cannot be settled keeps no other from it.
            words = f"cannot settle what job {job.id} left"

            with anyio.CancelScope(shield=True), reported(words, but=StoreBusyError):
                await settle(job)

    def _log_death(self, worker_id: str) -> None:
        """Say in the log of a detached worker that it died, for it could not."""
        log = self._folder.logs / f"{worker_id}.log"

        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return

        try:
            words = (
                f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ} worker {worker_id} died:"
                " killed, out of memory, or of what stands above; its runs were settled by"
                f" {worker_name(self._worker)}\n"
            )
            os.write(descriptor, words.encode())
        finally:
            os.close(descriptor)


def _unlisted(job: Job) -> WorkerRow:
    """Return what is known of a worker that is not on the list: it was here just now."""
    return WorkerRow(
        number=0,
        token="",
        host="",
        pid=0,
        boot_id=boot_id(),
        pid_namespace=pid_namespace(),
        lock_file=None,
        pipe=None,
        can_restart=False,
        concurrency=1,
        started_at=job.created_at,
        stop=None,
        restart=False,
        busy=0,
    )


async def _lock_soon(lock: int) -> bool:
    # Others may look at it just now, for they hear of a death at the same moment.
    for _ in range(_TRIES):
        if try_lock(lock):
            return True

        await sleep(SystemClock(), _PAUSE)

    return False
