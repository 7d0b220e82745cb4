"""
What a dead worker left: found by its lock, settled by its runs' files.

A worker whose lock is free is dead, whatever the clocks say. A run of it that
left an exit code has ended with that. One that goes on is adopted. One that
never came to its command is given back. What is gone without a word is lost.
And what can be proved neither gone nor ours is left alone, and reported.
"""

import logging
import os
import shutil
import stat
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import msgspec

from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job, worker_name
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import StoreError, StoreUnusableError
from queuectl.engine.runtime.adoption import Orphan
from queuectl.engine.runtime.clock import Clock, SystemClock, sleep
from queuectl.engine.runtime.folder import StateFolder, make_private
from queuectl.engine.runtime.liveness import (
    LOCK_NAME,
    has_lock,
    is_alive,
    is_in_sight,
    is_of_this_boot,
)
from queuectl.engine.runtime.locks import is_locked, open_folder, open_private, try_lock
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.outcomes import LOST, NEVER_BEGAN, left_outcome
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.runfiles import FoundRun, RunFiles, find_run, find_runs, run_note
from queuectl.engine.runtime.sweep import end_leftovers
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import Listing, Members, RunTree
from queuectl.engine.store.base import JobStore, WorkerRow

_log = logging.getLogger(__name__)

# A folder without a lock may be one that is just being made. In seconds.
_BEING_MADE: Final = 60.0

# Seconds that processes of runs long over get to end.
_GRACE: Final = 1.0

# How often, and with how many seconds in between, to try for a dead worker's lock.
_TRIES: Final = 5
_PAUSE: Final = 0.004

# More than can run on a machine.
_ALL: Final = 1_000_000

Adopt = Callable[[Orphan], None]


class Recovery:
    """
    Settles what dead workers left.

    Args:
        store: Where jobs and workers are.
        recorder: Records what became of a run.
        folder: Where the workers' files are.
        clock: Tells the time.
        worker: The number of the worker that adopts.
        adopt: Called with each run that goes on, in that worker's name.
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
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._folder = folder
        self._clock = clock
        self._worker = worker
        self._adopt = adopt

    async def tick(self) -> list[WorkerRow]:
        """
        Look at every worker once, and settle what can be settled.

        Returns:
            The workers that are alive.
        """
        alive = []

        for worker in await self._store.workers():
            if is_alive(self._folder, worker):
                alive.append(worker)
            else:
                await self._attempt(partial(self._look_at, worker), worker_name(worker.number))

        await self.sweep()
        return alive

    async def _attempt(self, work: Callable[[], Awaitable[None]], whose: str) -> None:
        try:
            await work()
        except (StoreError, OSError) as error:
            # One that cannot be settled does not keep the others from it.
            _log.error("cannot settle what %s left: %s", whose, error)

            if isinstance(error, StoreUnusableError):
                raise

    async def _look_at(self, worker: WorkerRow) -> None:
        is_whole = has_lock(self._folder, worker)
        lock = await self._take_over(worker, is_whole=is_whole)

        if lock is None:
            return

        try:
            # Not to be left half way: the lock keeps others out only so long.
            with anyio.CancelScope(shield=True):
                # Somebody else may have settled it since it was listed.
                is_settled = not await self._is_registered(worker) or await self._settle(
                    worker, is_whole=is_whole
                )
        finally:
            os.close(lock)

        if is_settled:
            await self._sweep(worker.token, is_settled=True)

    async def _is_registered(self, worker: WorkerRow) -> bool:
        return any(row.number == worker.number for row in await self._store.workers())

    async def _take_over(self, worker: WorkerRow, *, is_whole: bool) -> int | None:
        """
        Take a dead worker's lock, so that nobody else settles its jobs meanwhile.

        A lock that was deleted is not made anew: that it is missing says that
        other files may be.

        Returns:
            The lock as an open descriptor, None where the worker, or somebody
            who settles its jobs, holds it.
        """
        home = self._folder.worker(worker.token)
        make_private(home)
        lock = open_private(home / LOCK_NAME) if is_whole else open_folder(home)

        # Others may look at it just now, for they hear of a death at the same moment.
        for _ in range(_TRIES):
            if try_lock(lock):
                return lock

            await sleep(SystemClock(), _PAUSE)

        os.close(lock)
        return None

    async def _settle(self, worker: WorkerRow, *, is_whole: bool) -> bool:
        """Settle each run that a dead worker holds; return whether none is left."""
        # Once for all of them: its worker is dead, and nobody starts anything of theirs.
        listed = await in_thread(Listing.now)

        for job in await self._store.held_jobs(worker.number):
            note = run_note(job.seq, job.run_count)
            look = partial(find_run, self._folder.workers, note, token=worker.token)
            found = await in_thread(look)

            if found is not None:
                await self._settle_found(worker, job, found, listed)
            elif is_whole and is_of_this_boot(worker):
                # It died between the claim and the run's files; the run's number is free.
                await self._store.release([job], now=self._clock.now(), interrupted=True)
            else:
                # Its files are gone, and with them what they would prove.
                await self._settle_unseen(worker, job, listed)

        is_settled = await self._store.unregister_worker(worker.number)

        if is_settled:
            level = logging.INFO if worker.restart else logging.WARNING
            _log.log(level, "worker %s is gone; its runs are settled", worker_name(worker.number))

            if not worker.restart:
                await in_thread(self._leave_word, worker_name(worker.number))

        return is_settled

    async def _settle_found(
        self, worker: WorkerRow, job: Job, run: FoundRun, listed: Listing
    ) -> None:
        left = run.files.exit_note(run.note)

        if not is_of_this_boot(worker):
            await self._record_left(job, run, code=None if left is None else left.code)
            return

        if left is None:
            # The shell may be there, before its first word; or it never was.
            # Its files bear the run's number, which so is not used again.
            if not run.files.is_held() and run.files.exit_note(run.note) is None:
                await self._record(job, None, NEVER_BEGAN)

            return

        tree = RunTree(
            self._mark(run.token, job),
            run.files,
            left.leader,
            run.files.written_at() if left.code is None else None,
        )
        orphan = Orphan(job=job, note=run.note, files=run.files, tree=tree, leader=left.leader or 0)

        if is_in_sight(worker):
            await self._settle_seen(orphan, listed)
        elif not run.files.is_held():
            await self._settle_gone(orphan)

    async def _settle_seen(self, orphan: Orphan, listed: Listing) -> None:
        members = await in_thread(orphan.tree.look, listed)

        if members.ours:
            job = await self._store.adopt(orphan.job, self._worker, now=self._clock.now())

            if job is not None:
                _log.warning("adopted %s: run %d goes on", job.id, job.run_count)
                self._adopt(msgspec.structs.replace(orphan, job=job))
        elif members.unclear:
            await self._recorder.mark_stuck(orphan.job, _unclear_words(members))
        else:
            await self._settle_gone(orphan)

    def _mark(self, token: str, job: Job) -> Mark:
        database = str(self._folder.database)
        return Mark(token=token, seq=job.seq, run=job.run_count, database=database)

    async def _settle_gone(self, orphan: Orphan) -> None:
        # It may have ended since the first look; nobody writes any more.
        left = orphan.files.exit_note(orphan.note)
        run = FoundRun(note=orphan.note, files=orphan.files)
        await self._record_left(orphan.job, run, code=None if left is None else left.code)

    async def _settle_unseen(self, worker: WorkerRow, job: Job, listed: Listing) -> None:
        tree = RunTree(self._mark(worker.token, job), None)

        if is_in_sight(worker) and (members := (await in_thread(tree.look, listed)).ours):
            words = f"its files were deleted, and process {members[0].pid} of it goes on"
            await self._recorder.mark_stuck(job, words)
        else:
            await self._record(job, None, LOST)

    async def _record_left(self, job: Job, run: FoundRun, *, code: int | None) -> None:
        """Record a run that is over, with the output that it left."""
        files = run.files
        has_output = files.open_output(self._recorder.output_path(job))

        try:
            outcome = left_outcome(job, files if has_output else None, code)
            ended_at = None if code is None else files.written_at()
            await self._record(job, files if has_output else None, outcome, ended_at)
        finally:
            files.close()

    async def _record(
        self,
        job: Job,
        files: RunFiles | None,
        outcome: Outcome,
        ended_at: datetime | None = None,
    ) -> None:
        now = self._clock.now()
        started_at = job.started_at or now
        took = _took(started_at, ended_at or now)
        await self._recorder.record(job, outcome, started_at=started_at, took=took, files=files)

    async def sweep(self) -> None:
        """Remove the folders of workers that are settled."""
        # Before the rows: a worker has its folder first.
        homes = await in_thread(os.listdir, self._folder.workers)
        registered = {worker.token for worker in await self._store.workers()}

        for token in set(homes) - registered:
            await self._attempt(partial(self._sweep, token), f"the folder {token}")

        before = SystemClock().now().timestamp() - _BEING_MADE
        await in_thread(self._folder.remove_drafts, before)

    async def _sweep(self, token: str, *, is_settled: bool = False) -> None:
        """Remove a folder whose worker is settled, with what is left of runs long over."""
        home = self._folder.worker(token)

        if not is_settled and not await in_thread(_is_left, home):
            return

        page = JobFilter(state=JobState.PROCESSING)
        jobs = await self._store.list_jobs(page, after=0, limit=_ALL)
        running = frozenset((job.seq, job.run_count) for job in jobs)
        left = await end_leftovers(home, str(self._folder.database), _GRACE, but=running)

        for leftover in left:
            _log.error("process %d of run %d.%d cannot be ended", *leftover.words)

        notes = {run.note for run in await in_thread(find_runs, home)}

        if not left and not notes & {run_note(*key) for key in running}:
            await in_thread(partial(shutil.rmtree, home, ignore_errors=True))

    def _leave_word(self, worker_id: str) -> None:
        """Say in the log of a detached worker that it died, for it could not."""
        log = self._folder.logs / f"{worker_id}.log"

        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return

        try:
            words = (
                f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ} worker {worker_id} died"
                " without a word: killed, or out of memory; its runs were settled by"
                f" {worker_name(self._worker)}\n"
            )
            os.write(descriptor, words.encode())
        finally:
            os.close(descriptor)


def _is_left(home: Path) -> bool:
    """Whether a folder is a dead worker's, and not one that is being made."""
    try:
        found = os.lstat(home)
    except FileNotFoundError:
        return False

    if not stat.S_ISDIR(found.st_mode):
        return False

    lock = home / LOCK_NAME
    return not is_locked(lock) and (lock.exists() or _age(found) > _BEING_MADE)


def _age(found: os.stat_result) -> float:
    """Return the seconds since something was last put into a folder."""
    return SystemClock().now().timestamp() - found.st_mtime


def _unclear_words(members: Members) -> str:
    pids = ", ".join(str(process.pid) for process in members.unclear)
    return f"process {pids} has the number of its session, and no proof whose it is"


def _took(started_at: datetime, ended_at: datetime) -> timedelta:
    """Return the time between; a clock that was set back makes it nothing."""
    return max(ended_at - started_at, timedelta())
