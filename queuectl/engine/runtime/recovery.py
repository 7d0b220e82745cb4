"""
What a dead worker left: found by its lock, settled by its runs' files.

A worker whose lock is free is dead, whatever the clocks say. A run of it whose
files are held still goes on and is left alone; one that left an exit code has
ended with that; one that left nothing, and that nobody holds, is lost.
"""

import functools
import logging
import os
import shutil
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import anyio

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job, OutcomeKind
from queuectl.engine.errors import StoreError, StoreReplacedError
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.executor import exit_outcome
from queuectl.engine.runtime.folder import StateFolder, make_private
from queuectl.engine.runtime.locks import is_locked, open_private, try_lock
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.runfiles import RunFiles, find_runs, run_note
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.base import JobStore, WorkerRow

_log = logging.getLogger(__name__)


LOCK_NAME = "lock"


def is_alive(folder: StateFolder, worker: WorkerRow) -> bool:
    """Whether a worker holds its lock."""
    path = folder.worker(worker.token) / LOCK_NAME
    return is_locked(path) if path.exists() else _has_process(worker)


def _has_lock(folder: StateFolder, worker: WorkerRow) -> bool:
    """Whether a worker's lock file is where it was made."""
    return (folder.worker(worker.token) / LOCK_NAME).exists()


def has_live_worker(folder: StateFolder) -> bool:
    """Whether any worker holds its lock."""
    return any(is_locked(home / LOCK_NAME) for home in folder.workers.iterdir())


def _has_process(worker: WorkerRow) -> bool:
    """Whether its process is there: all that can be asked where the lock was deleted."""
    if worker.boot_id != boot_id():
        return False

    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True

    return True


@functools.cache
def boot_id() -> str:
    """Return what changes when the machine boots, empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Recovery:
    """
    Settles what dead workers left.

    Args:
        store: Where jobs and workers are.
        recorder: Records what became of a run.
        folder: Where the workers' files are.
        clock: Tells the time.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        recorder: Recorder,
        folder: StateFolder,
        clock: Clock,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._folder = folder
        self._clock = clock

    async def tick(self) -> None:
        """Look at every worker once, and settle what can be settled."""
        for worker in await self._store.workers():
            try:
                await self._look_at(worker)
            except (StoreError, OSError) as error:
                # One that cannot be settled does not keep the others from it.
                _log.error("cannot settle what w%d left: %s", worker.number, error)

                if isinstance(error, StoreReplacedError):
                    raise

    async def _look_at(self, worker: WorkerRow) -> None:
        is_whole = _has_lock(self._folder, worker)
        lock = self._take_over(worker)

        if lock is None:
            return

        try:
            # Not to be left half way: the lock keeps others out only so long.
            with anyio.CancelScope(shield=True):
                await self._settle(worker, is_whole=is_whole)
        finally:
            os.close(lock)

    def _take_over(self, worker: WorkerRow) -> int | None:
        """
        Take a dead worker's lock, so that nobody else settles its jobs meanwhile.

        Returns:
            The lock as an open descriptor, None where the worker, or somebody
            who settles its jobs, holds it.
        """
        if is_alive(self._folder, worker):
            return None

        home = self._folder.worker(worker.token)
        make_private(home)
        lock = open_private(home / LOCK_NAME)

        if try_lock(lock):
            return lock

        os.close(lock)
        return None

    async def _settle(self, worker: WorkerRow, *, is_whole: bool) -> None:
        home = self._folder.worker(worker.token)
        jobs = await self._store.held_jobs(worker.number)
        runs = await in_thread(find_runs, home)
        found = {run.note: run.files for run in runs}

        for job in jobs:
            files = found.get(run_note(job.seq, job.run_count))

            if is_whole:
                await self._settle_job(worker, job, files)
            else:
                # Its files were deleted, and with them what they would prove.
                await self._record_lost(job)

        if await self._store.unregister_worker(worker.number):
            _log.warning("worker w%d was dead; its jobs are settled", worker.number)
            await in_thread(partial(shutil.rmtree, home, ignore_errors=True))

    async def _settle_job(self, worker: WorkerRow, job: Job, files: RunFiles | None) -> None:
        now = self._clock.now()
        note = run_note(job.seq, job.run_count)
        is_same_boot = worker.boot_id == boot_id()
        code = None if files is None else files.exit_code(note)

        if files is not None and code is None and is_same_boot:
            if files.is_held():
                return

            # It may have ended since the first look; nobody writes any more.
            code = files.exit_code(note)

        if files is None or not files.has_begun(note):
            # It died between the claim and the command's first step. Of another
            # boot that is not known: what was not flushed is gone.
            if is_same_boot:
                await self._store.release([job], now=now)
            else:
                await self._record_lost(job)

            return

        outcome = (
            Outcome(kind=OutcomeKind.LOST, reason="lost")
            if code is None
            else exit_outcome(code, None)
        )
        has_output = files.open_output(self._folder.output(job.seq, job.run_count))

        try:
            started_at = job.started_at or now
            await self._recorder.record(
                job,
                outcome,
                started_at=started_at,
                took=_took(started_at, files.ended_at() if code is not None else now),
                files=files if has_output else None,
            )
        finally:
            files.close()

    async def _record_lost(self, job: Job) -> None:
        now = self._clock.now()
        started_at = job.started_at or now
        outcome = Outcome(kind=OutcomeKind.LOST, reason="lost")
        await self._recorder.record(
            job, outcome, started_at=started_at, took=_took(started_at, now)
        )


def _took(started_at: datetime, ended_at: datetime) -> timedelta:
    """Return the time between; a clock that was set back makes it nothing."""
    return max(ended_at - started_at, timedelta())
