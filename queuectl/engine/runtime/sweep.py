"""What is left of a worker's runs when all of them are over: found and ended."""

import logging
import os
import shutil
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import msgspec

from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.models import Job, RunKey
from queuectl.engine.domain.states import JobState
from queuectl.engine.runtime.clock import SystemClock
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.liveness import LOCK_NAME, open_lock
from queuectl.engine.runtime.locks import release, try_lock
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.proc import Process
from queuectl.engine.runtime.reporting import reported
from queuectl.engine.runtime.run_folder import find_run, find_runs
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import Listing, Members, RunTree
from queuectl.engine.store.base import JobReader, JobStore

_log = logging.getLogger(__name__)

# A folder without a lock may be one that is just being made. In seconds.
_BEING_MADE: Final = 60.0

# Seconds that processes of runs long over get to end.
_GRACE: Final = 1.0

# More than can run on a machine.
_ALL: Final = 1_000_000


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """
    A process of a run.

    Attributes:
        process: The process.
        key: The run.
    """

    process: Process
    key: RunKey


def has_held_files(home: Path) -> bool:
    """Whether somebody, seen or not, holds files of a run in a worker's folder. Blocking."""
    return any(found.files.is_held() for found in find_runs(home))


def find_leftovers(home: Path, database: str) -> list[Leftover]:
    """
    Return what there is of any run that a worker started. Blocking.

    That is what carries the mark of one, and what holds the files of one.

    Args:
        home: The worker's folder.
        database: The worker's, as an absolute path.
    """
    listed = Listing.now()
    found = {leftover.process: leftover for leftover in _holders(home, database, listed)}

    for process, mark in listed.marked(home.name, database).items():
        found[process] = Leftover(process=process, key=mark.key)

    return list(found.values())


async def end_leftovers(
    home: Path,
    database: str,
    grace: float,
    *,
    but: frozenset[RunKey] = frozenset(),
    known: frozenset[Leftover] = frozenset(),
) -> list[Leftover]:
    """
    End what is left of a worker's runs, and report what cannot be ended.

    Args:
        home: The worker's folder.
        database: The worker's, as an absolute path.
        grace: Seconds between TERM and KILL.
        but: Runs to leave alone.
        known: What is reported already.

    Returns:
        What could not be ended.
    """

    def look() -> list[Leftover]:
        found = find_leftovers(home, database)
        return [left for left in found if left.key not in but]

    runs = {left.key for left in await in_thread(look)}
    files = {found.key: found.files for found in await in_thread(find_runs, home)} if runs else {}

    async with anyio.create_task_group() as ending:
        for key in sorted(runs):
            mark = Mark.of(home.name, key, database)
            ending.start_soon(_end, RunTree(mark, files.get(key)), key, grace)

    left = await in_thread(look) if runs else []

    for leftover in left:
        if leftover not in known:
            pid, key = leftover.process.pid, leftover.key
            _log.error("process %d of run %d.%d cannot be ended", pid, *key)

    return left


async def _end(tree: RunTree, key: RunKey, grace: float) -> None:
    """End a run; who asked looks at the end what is left."""
    with reported(f"cannot end what is left of run {key.seq}.{key.run}"):
        await tree.end(grace)


def _holders(home: Path, database: str, listed: Listing) -> Iterator[Leftover]:
    for found in find_runs(home):
        if found.key is not None and found.files.is_held():
            mark = Mark.of(home.name, found.key, database)

            for process in RunTree(mark, found.files).look(listed).ours:
                yield Leftover(process=process, key=found.key)


def look_at_run(folder: StateFolder, job: Job, token: str) -> Members:
    """
    Return what is there of a run that is under way, whoever started it. Blocking.

    Args:
        folder: Of the database.
        job: As it is held.
        token: The worker in whose folder to begin to look.
    """
    note = run_note(job.run_key)
    found = find_run(folder.workers, note, token=token)

    if found is None:
        return Members(ours=(), is_held=False)

    database = str(folder.database)
    mark = Mark.of(found.token, job.run_key, database)
    left = found.files.exit_note(note)
    return RunTree(mark, found.files, None if left is None else left.leader).look()


async def running_jobs(store: JobReader) -> list[Job]:
    """Return every job that is under way, of whatever worker."""
    return await store.list_jobs(JobFilter(state=JobState.PROCESSING), after=0, limit=_ALL)


class Sweeper:
    """
    Removes the folders of workers that are settled.

    Args:
        store: Where the living are registered.
        folder: Where the folders are.
    """

    def __init__(self, store: JobStore, folder: StateFolder) -> None:
        self._store = store
        self._folder = folder
        # What is reported already, by worker.
        self._known: dict[str, frozenset[Leftover]] = {}

    async def sweep(self) -> None:
        """Look once, and remove what can be removed."""
        # Before the rows: a worker has its folder first.
        homes = await in_thread(os.listdir, self._folder.workers)
        registered = {worker.token for worker in await self._store.workers()}

        for token in sorted(set(homes) - registered):
            with reported(f"cannot remove the folder {token}"):
                await self._sweep(self._folder.worker(token))

        before = SystemClock().now().timestamp() - _BEING_MADE
        await in_thread(self._folder.remove_drafts, before)

    async def _sweep(self, home: Path) -> None:
        # A lock that is taken while nobody waits for it any more would stay taken.
        with anyio.CancelScope(shield=True):
            lock = await in_thread(_lock_left, home)

        if lock is None:
            return

        try:
            running = {job.run_key for job in await running_jobs(self._store)}

            # An adopted run has its files here; what is left waits for its end.
            if not running & {run.key for run in await in_thread(find_runs, home)}:
                await self._empty(home, frozenset(running))
        finally:
            release(lock)

    async def _empty(self, home: Path, running: frozenset[RunKey]) -> None:
        """
        End what is left of a worker's runs, and remove its folder where nothing is any more.

        Args:
            home: The folder.
            running: Runs that go on, of whatever worker. One of them may be this
                one's although its lock is not here any more: its mark says so.
        """
        database = str(self._folder.database)
        known = self._known.get(home.name, frozenset())
        left = await end_leftovers(home, database, _GRACE, but=running, known=known)
        self._known[home.name] = frozenset(left)

        if await in_thread(_is_empty, home, database):
            await in_thread(partial(shutil.rmtree, home, ignore_errors=True))
            self._known.pop(home.name)


def _is_empty(home: Path, database: str) -> bool:
    """Whether nothing of a worker's runs is there; its files are the evidence of what is."""
    return not find_leftovers(home, database) and not has_held_files(home)


def _lock_left(home: Path) -> int | None:
    """
    Take the lock of a folder that a dead worker left, so that nobody begins to use it.

    Returns:
        The lock as an open descriptor; None where the folder is none, is in
        use, or may be one that is just being made.
    """
    try:
        found = os.lstat(home)

        if not stat.S_ISDIR(found.st_mode):
            return None

        age = SystemClock().now().timestamp() - found.st_mtime
        has_lock = os.path.lexists(home / LOCK_NAME)

        if not has_lock and age < _BEING_MADE:
            return None

        lock = open_lock(home, by_file=has_lock)
    except FileNotFoundError:
        return None

    try:
        if try_lock(lock):
            return lock
    except BaseException:
        release(lock)
        raise

    release(lock)
    return None
