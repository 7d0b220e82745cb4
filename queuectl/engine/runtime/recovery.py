"""
What a dead worker left: found by its lock, settled by its runs' files.

A worker whose lock is free is dead, whatever the clocks say. A run of it that
left an exit code has ended with that. One that goes on is adopted. One that
never came to its command is given back. What is gone without a word is lost.
And what can be proved neither gone nor ours is left alone, and reported.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job, worker_name
from queuectl.engine.errors import StoreBusyError
from queuectl.engine.runtime.adoption import Orphan, own_child
from queuectl.engine.runtime.clock import Clock, SystemClock, sleep
from queuectl.engine.runtime.folder import StateFolder, make_private
from queuectl.engine.runtime.liveness import (
    LOCK_NAME,
    boot_id,
    has_lock,
    is_alive,
    is_in_sight,
    is_of_this_boot,
    pid_namespace,
    sets_counted,
)
from queuectl.engine.runtime.locks import is_locked, open_folder, open_private, try_lock
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.outcomes import LOST, left_outcome, unbegun_outcome
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.runfiles import FoundRun, RunFiles, find_run, has_gaps, run_note
from queuectl.engine.runtime.sweep import Sweeper, reported, running_jobs
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import HELD_UNSEEN, Listing, Members, RunTree, find_shell
from queuectl.engine.runtime.wrapper import first_words
from queuectl.engine.store.base import JobStore, WorkerRow

_log = logging.getLogger(__name__)

# How often, and with how many seconds in between, to try for a dead worker's lock.
_TRIES: Final = 5
_PAUSE: Final = 0.004

# A worker that was taken off the list sees that sooner.
_MOMENT: Final = timedelta(seconds=10)

Adopt = Callable[[Orphan], Awaitable[None]]


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
        self._recorder = recorder
        self._folder = folder
        self._clock = clock
        self._worker = worker
        self._adopt = adopt
        self._is_stopping = is_stopping
        self._sweeper = Sweeper(store, folder)

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
                else:
                    await self._look_at(worker)

        await self._settle_unlisted()
        await self._sweeper.sweep()
        return alive

    async def _look_at(self, worker: WorkerRow) -> None:
        is_whole = has_lock(self._folder, worker)
        lock = await self._take_over(worker, is_whole=is_whole)

        if lock is None:
            return

        try:
            # Somebody else may have settled it since it was listed.
            if await self._is_registered(worker):
                await self._settle(worker, is_whole=is_whole)
        finally:
            os.close(lock)

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
            await self._settle_job(
                _unlisted(job), job, await in_thread(Listing.now), is_whole=False
            )

        await self._settle_each(filter(is_left, jobs), settle)

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

        try:
            if await _lock_soon(lock):
                return lock
        except BaseException:
            os.close(lock)
            raise

        os.close(lock)
        return None

    async def _settle(self, worker: WorkerRow, *, is_whole: bool) -> None:
        """Settle each run that a dead worker holds; take it off the list when none is left."""
        # Once for all of them: its worker is dead, and nobody starts anything of theirs.
        listed = await in_thread(Listing.now)

        await self._settle_each(
            await self._store.held_jobs(worker.number),
            partial(self._settle_job, worker, listed=listed, is_whole=is_whole),
        )

        if await self._store.unregister_worker(worker.number):
            level = logging.INFO if worker.restart else logging.WARNING
            _log.log(level, "worker %s is gone; its runs are settled", worker_name(worker.number))

            if not worker.restart:
                await in_thread(self._leave_word, worker_name(worker.number))

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

    async def _settle_job(
        self, worker: WorkerRow, job: Job, listed: Listing, *, is_whole: bool
    ) -> None:
        note = run_note(job.seq, job.run_count)
        look = partial(find_run, self._folder.workers, note, token=worker.token)
        found = await in_thread(look)

        if found is not None:
            # Else its worker lives, on the list or not.
            if worker.number or not await in_thread(
                is_locked, found.files.lock_path.parent / LOCK_NAME
            ):
                await self._settle_found(worker, job, found, listed)

            return

        if is_of_this_boot(worker) and not is_in_sight(worker):
            await self._recorder.mark_stuck(
                job, "its files are gone, and its processes not in sight"
            )
            return

        members = (await in_thread(RunTree(self._mark(worker.token, job), None).look, listed)).ours

        if is_of_this_boot(worker) and members:
            words = f"its files were deleted, and process {members[0].pid} of it goes on"
            await self._recorder.mark_stuck(job, words)
        elif is_whole and await in_thread(self._has_every_set, worker):
            # It died between the claim and the run's files; the run's number is free.
            await self._store.release([job], now=self._clock.now(), interrupted=True)
        else:
            # Its files are gone, and with them what they would prove.
            await self._record(job, None, LOST)

    def _has_every_set(self, worker: WorkerRow) -> bool:
        """Whether nobody has removed files of a worker's, so that what left none never began."""
        home = self._folder.worker(worker.token)
        return is_of_this_boot(worker) and not has_gaps(home, sets_counted(home))

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
                await self._record(job, None, unbegun_outcome(run.files, run.note))

            return

        mark = self._mark(run.token, job)
        words = first_words(run.note, run.files.exit_path)
        # Somebody, as the command, may have removed what its shell wrote down.
        leader = left.leader or await in_thread(find_shell, listed, mark, words)
        began_at = run.files.written_at() if left.code is None else None
        orphan = Orphan(
            job=job,
            note=run.note,
            files=run.files,
            tree=RunTree(mark, run.files, leader, began_at),
            leader=leader,
            child=own_child(worker, leader, run.files),
        )

        if is_in_sight(worker):
            await self._settle_seen(orphan, listed)
        elif not run.files.is_held():
            await self._settle_gone(orphan)

    async def _settle_seen(self, orphan: Orphan, listed: Listing) -> None:
        members = await in_thread(orphan.tree.look, listed)

        if members.ours:
            shell = next((p for p in members.ours if p.pid == orphan.leader), None)
            await self._adopt(msgspec.structs.replace(orphan, shell=shell))
        elif members.unclear or members.is_held:
            await self._recorder.mark_stuck(orphan.job, _unclear_words(members))
        else:
            await self._settle_gone(orphan)

    def _mark(self, token: str, job: Job) -> Mark:
        database = str(self._folder.database)
        return Mark(token=token, seq=job.seq, run=job.run_count, database=database)

    async def _settle_gone(self, orphan: Orphan) -> None:
        reaped = orphan.reap()
        # It may have ended since the first look; nobody writes any more.
        left = orphan.files.exit_note(orphan.note)
        run = FoundRun(note=orphan.note, files=orphan.files)
        code = None if left is None else left.code
        await self._record_left(orphan.job, run, code=code, reaped=reaped)

    async def _record_left(
        self,
        job: Job,
        run: FoundRun,
        *,
        code: int | None,
        reaped: ProcessResult | None = None,
    ) -> None:
        """Record a run that is over, with the output that it left."""
        files = run.files
        has_output = files.open_output(self._recorder.output_path(job))

        try:
            outcome = left_outcome(job, files, code, reaped)
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
        # Once: the next look comes in a second, and others wait for this one's end.
        await self._recorder.record(
            job, outcome, started_at=started_at, took=took, files=files, tries=1
        )

    def _leave_word(self, worker_id: str) -> None:
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


def _unclear_words(members: Members) -> str:
    if not members.unclear:
        return HELD_UNSEEN

    pids = ", ".join(str(process.pid) for process in members.unclear)
    return f"process {pids} has the number of its session, and no proof whose it is"


def _took(started_at: datetime, ended_at: datetime) -> timedelta:
    """Return the time between; a clock that was set back makes it nothing."""
    return max(ended_at - started_at, timedelta())
