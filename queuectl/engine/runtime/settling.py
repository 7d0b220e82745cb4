"""
What became of a run that a dead worker left, by the evidence that is there.

A run that left an exit code has ended with that. One that goes on is adopted.
One that never came to its command is given back. What is gone without a word is
lost. And what can be proved neither gone nor ours is left alone, and reported.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

import msgspec

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job, RunKey
from queuectl.engine.runtime.adoption import Orphan, own_child
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.liveness import (
    LOCK_NAME,
    is_in_sight,
    is_of_this_boot,
    sets_counted,
)
from queuectl.engine.runtime.locks import is_locked
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.outcomes import LOST, left_outcome, unbegun_outcome
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.recording import EndedRun, Recorder
from queuectl.engine.runtime.run_folder import FoundRun, find_ended, find_run, has_gaps
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import HELD_UNSEEN, Listing, Members, RunTree, find_shell
from queuectl.engine.runtime.wrapper import first_words
from queuectl.engine.store.base import JobStore, WorkerRow

Adopt = Callable[[Orphan], Awaitable[None]]


class Settler:
    """
    Settles runs one at a time, for whoever has the lock of the worker that left them.

    Args:
        store: Where jobs are.
        recorder: Records what became of a run.
        folder: Where the workers' files are.
        clock: Tells the time.
        adopt: Takes a run that goes on, where it takes any.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        recorder: Recorder,
        folder: StateFolder,
        clock: Clock,
        adopt: Adopt,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._folder = folder
        self._clock = clock
        self._adopt = adopt
        # How shells ended that were our children, until that is recorded.
        self._reaped: dict[RunKey, ProcessResult] = {}

    async def settle(self, worker: WorkerRow, job: Job, listed: Listing, *, is_whole: bool) -> None:
        """
        Settle a run, or leave it as it is where nothing can be said yet.

        Args:
            worker: Who had it; its number is 0 where it is not on the list.
            job: As held.
            listed: The processes, as they were when its worker was dead already.
            is_whole: Whether the worker's lock file is where it was made: where
                it is not, other files of its may be missing.

        Raises:
            StoreError: The database did not take what became of it.
            OSError: The system does not let us look.
        """
        note = run_note(job.run_key)
        look = partial(find_run, self._folder.workers, note, token=worker.token)
        found = await in_thread(look)

        if found is None:
            await self._settle_unfound(worker, job, listed, is_whole=is_whole)
        # Else its worker lives, on the list or not.
        elif worker.number or not await in_thread(
            is_locked, found.files.lock_path.parent / LOCK_NAME
        ):
            await self._settle_found(worker, job, found, listed)

    async def _settle_unfound(
        self, worker: WorkerRow, job: Job, listed: Listing, *, is_whole: bool
    ) -> None:
        """Settle a run that has no files."""
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
            await self._settle_removed(job)

    async def _settle_removed(self, job: Job) -> None:
        """Settle a run that is gone, and files of it with it: by its code, if that is left."""
        find = partial(find_ended, self._folder.workers, run_note(job.run_key))
        ended = await in_thread(find)

        if ended is None:
            # With its files is gone what they would prove.
            await self._record(job, None, LOST)
        else:
            await self._record_left(job, ended, code=ended.files.exit_code(ended.note))

    def _has_every_set(self, worker: WorkerRow) -> bool:
        """Whether nobody has removed files of a worker's, so that what left none never began."""
        home = self._folder.worker(worker.token)
        return is_of_this_boot(worker) and not has_gaps(home, sets_counted(home))

    async def _settle_found(
        self, worker: WorkerRow, job: Job, run: FoundRun, listed: Listing
    ) -> None:
        """Settle a run by its files."""
        if not is_of_this_boot(worker):
            await self._record_left(job, run, code=run.files.exit_code(run.note))
            return

        left = run.files.exit_note(run.note)

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
        """Settle a run whose processes can be seen, where there are any."""
        members = await in_thread(orphan.tree.look, listed)

        if members.ours:
            shell = next((p for p in members.ours if p.pid == orphan.leader), None)
            await self._adopt(msgspec.structs.replace(orphan, shell=shell))
        elif members.unclear or members.is_held:
            await self._recorder.mark_stuck(orphan.job, _unclear_words(members))
        else:
            await self._settle_gone(orphan)

    async def _settle_gone(self, orphan: Orphan) -> None:
        """Settle a run of which nothing is there but its files."""
        key = orphan.job.run_key
        reaped = orphan.reap()

        if reaped is not None:
            # The system says it once, and what comes next may be refused.
            self._reaped[key] = reaped

        # It may have ended since the first look; nobody writes any more.
        code = orphan.files.exit_code(orphan.note)
        run = FoundRun(note=orphan.note, files=orphan.files)
        await self._record_left(orphan.job, run, code=code, reaped=self._reaped.get(key))
        self._reaped.pop(key, None)

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
            outcome = await in_thread(left_outcome, job, files, code, reaped)

            if reaped is not None and code is None:
                # Nobody hears a second time how it ended, and the database may not take it.
                self._recorder.note_outcome(job, outcome, files)

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
            EndedRun(job=job, outcome=outcome, started_at=started_at, took=took, output_of=files),
            tries=1,
        )

    def _mark(self, token: str, job: Job) -> Mark:
        return Mark.of(token, job.run_key, str(self._folder.database))


def _unclear_words(members: Members) -> str:
    if not members.unclear:
        return HELD_UNSEEN

    pids = ", ".join(str(process.pid) for process in members.unclear)
    return f"process {pids} has the number of its session, and no proof whose it is"


def _took(started_at: datetime, ended_at: datetime) -> timedelta:
    """Return the time between; a clock that was set back makes it nothing."""
    return max(ended_at - started_at, timedelta())
