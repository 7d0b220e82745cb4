"""
Looks at an installation and at a database, and says what to do.

Nothing is changed, and nothing is made but a folder for a trial, which is
removed. The database is met through SQLite only: closing any other descriptor
of it would drop SQLite's locks in this process
(https://sqlite.org/howtocorrupt.html, 2.2).
"""

import os
from pathlib import Path
from typing import Final

import anyio

from queuectl.engine.domain.findings import (
    Finding,
    Verdict,
    counted,
    in_bytes,
    note,
    ok,
    problem,
)
from queuectl.engine.domain.models import WorkerInfo, worker_name
from queuectl.engine.errors import StoreDamagedError, StoreError, listed
from queuectl.engine.runtime.bus import Bus
from queuectl.engine.runtime.clock import Clock, SystemClock
from queuectl.engine.runtime.doctor import filesystem, machine, presence
from queuectl.engine.runtime.doctor.leftovers import (
    Known,
    StateListing,
    judge_leftovers,
    judge_outputs,
    list_what_is_there,
)
from queuectl.engine.runtime.doctor.webhooks import look_at_webhooks
from queuectl.engine.runtime.doctor.wording import command, quoted
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.liveness import has_lock, is_alive
from queuectl.engine.runtime.paths import real_path
from queuectl.engine.runtime.roster import list_workers, when_unresponsive
from queuectl.engine.runtime.sweep import running_jobs
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.base import InspectedStore, JobReader, WorkerRow
from queuectl.engine.store.open import check_driver, store_to_read

_LARGE: Final = 1024**3
_MOST_FAULTS: Final = 10

# Seconds in which what is being removed is removed.
_A_MOMENT: Final = 0.5


async def diagnose(
    database: str | os.PathLike[str] | None = None, *, full: bool = False
) -> list[Finding]:
    """
    Look at the installation and at a database, whatever state that is in.

    It needs no open engine, makes no database where there is none, and changes
    nothing: an older schema is left as it is.

    Args:
        database: The SQLite file; else as for `QueueEngine`.
        full: Read a database of more than 1 GiB to its end, too.

    Returns:
        The findings in the order of the look. What could not be looked at
        because of a problem is left out.

    Raises:
        InvalidValueError: The database has a name that no file has, or is
            relative to a folder that does not exist any more.
    """
    path = await in_thread(real_path, database)
    return await Doctor(path, SystemClock(), full=full).look()


class Doctor:
    """
    Looks once.

    Args:
        path: The database, without links.
        clock: Tells what is due.
        full: Whether to read a large database to its end.
    """

    def __init__(self, path: Path, clock: Clock, *, full: bool) -> None:
        self._path = path
        self._clock = clock
        self._full = full
        self._folder = StateFolder(path)
        self._found: list[Finding] = []
        self._workers: list[WorkerInfo] | None = None

    async def look(self) -> list[Finding]:
        """Look at everything that can be looked at."""
        self._found = [
            await in_thread(machine.check_versions),
            check_driver(),
            machine.check_descriptors(),
        ]

        if not await self._look_at_place():
            return self._found

        seen = await in_thread(list_what_is_there, self._folder)

        try:
            async with store_to_read(self._path) as store:
                if self._judge_schema(store.schema_version, is_current=store.is_current):
                    self._found += _migrations(self._path, await store.migration_problems())
                    self._found.append(_lock(self._path, is_held=await store.is_locked()))
                    await self._look_into(store)
                    self._found += await look_at_webhooks(
                        self._path,
                        self._folder.deliverer_lock,
                        store,
                        self._workers,
                        now=self._clock.now(),
                    )
                    await self._look_at_leftovers(store, seen)
        except StoreError as error:
            self._tell_once(_unusable(self._path, error))

        return self._found

    def _tell_once(self, finding: Finding) -> None:
        """Add what ended the look, unless a check met it before, and has said it."""
        if all(finding.words != found.words for found in self._found):
            self._found.append(finding)

    async def _look_at_place(self) -> bool:
        """Look at what is outside of the database; return whether there is one to open."""
        folder = self._path.parent

        if missing := await in_thread(presence.check_folder, folder):
            self._found.append(missing)
            return False

        self._found += await in_thread(filesystem.check_filesystem, folder)
        self._found.append(await in_thread(filesystem.check_room, folder))
        self._found.append(await in_thread(filesystem.check_access, self._path))
        self._found += await machine.check_shell_and_locks(await in_thread(self._trial_folder))

        if missing := await in_thread(presence.check_file, self._path):
            self._found.append(missing)
            return False

        self._found += await in_thread(filesystem.check_files, self._path)
        self._found.append(await in_thread(filesystem.check_sizes, self._path))
        return True

    def _trial_folder(self) -> Path:
        """Return the state folder, where there is one: jobs have their files there."""
        state = self._folder.path
        return state if state.is_dir() and not state.is_symlink() else self._path.parent

    def _judge_schema(self, version: int, *, is_current: bool) -> bool:
        if is_current:
            self._found.append(ok("schema", f"the database has schema version {version}"))
            return True

        self._found.append(
            note(
                "schema",
                f"the database has schema version {version}, older than this queuectl; nothing"
                " further in it was looked at",
                "the next command brings it up to date; to go back later, copy it first while"
                f" nothing has it open; then: {command(self._path, 'db', 'migrate')}",
            )
        )
        return False

    async def _look_into(self, store: JobReader) -> None:
        self._found.append(await self._integrity(store))

        try:
            workers = await list_workers(store, self._folder, Bus(self._folder.wake))
            without_files = await self._without_files(store)
        except OSError as error:
            self._found.append(_no_roster(self._folder, error))
            return

        self._workers = workers
        self._found += _workers(self._path, workers)
        self._found += without_files
        self._found += await self._stuck(store)
        self._found += await self._waiting(store, workers)

    async def _integrity(self, store: JobReader) -> Finding:
        size = (await in_thread(self._path.stat)).st_size

        if size > _LARGE and not self._full:
            return note(
                "integrity",
                f"the database has {in_bytes(size)} and was not read to its end",
                f"to read all of it: {command(self._path, 'doctor', '--full')}",
            )

        try:
            report = await store.check()
        except StoreDamagedError as error:
            return _unusable(self._path, error, check="integrity")

        # These are told of on their own.
        faults = [text for text in report.problems if not text.startswith("migration ")]

        if not faults:
            return ok("integrity", f"all {in_bytes(size)} of the database are sound")

        return problem(
            "integrity",
            f"the database is damaged: {'; '.join(faults[:_MOST_FAULTS])}",
            StoreDamagedError.remedy(self._path),
        )

    async def _without_files(self, store: JobReader) -> list[Finding]:
        """Say which live workers have lost their folder, or their lock in it."""
        suspects = await in_thread(_without_lock, self._folder, await store.workers())
        # One that was just leaving was taken off the list before its folder was.
        listed_still = {row.number for row in await store.workers()}

        return [
            problem(
                "workers",
                f"worker {worker_name(row.number)} (pid {row.pid} on {row.host}) is alive, and its"
                f" files are gone: {self._folder.worker(row.token)}",
                "stop it in order, so that its runs are recorded as far as can be, and then start"
                " another; do not delete these files while workers live:"
                f" {command(self._path, 'worker', 'stop', worker_name(row.number))}",
            )
            for row in suspects
            if row.number in listed_still
        ]

    async def _stuck(self, store: JobReader) -> list[Finding]:
        stuck = [job for job in await running_jobs(store) if job.stuck]

        return [
            problem(
                "stuck",
                f"job {job.id} cannot go on: {job.stuck}",
                "end what is left of its run; then a live worker takes it on by itself:"
                f" {command(self._path, 'info', job.id)}",
            )
            for job in stuck
        ]

    async def _waiting(self, store: JobReader, workers: list[WorkerInfo]) -> list[Finding]:
        waiting = (await store.stats(now=self._clock.now())).oldest_pending

        if waiting is None:
            return [ok("queue", "no job is due and waiting")]

        seconds = int(waiting.total_seconds())
        words = f"the oldest job that is due has waited for {seconds} s"

        if any(worker.is_alive for worker in workers):
            return [ok("queue", words)]

        return [
            note(
                "queue",
                f"{words}, and no worker is alive",
                f"start one: {command(self._path, 'worker', 'start', '--detach')}",
            )
        ]

    async def _look_at_leftovers(self, store: InspectedStore, seen: StateListing) -> None:
        found = await self._leftovers(store, seen)

        if any(finding.verdict is not Verdict.OK for finding in found):
            # What somebody is about to remove is gone by then.
            await anyio.sleep(_A_MOMENT)
            found = await self._leftovers(store, seen)

        self._found += found

    async def _leftovers(self, store: InspectedStore, seen: StateListing) -> list[Finding]:
        known = await _known(store)

        def find() -> list[Finding]:
            return [
                *judge_outputs(self._folder, seen, known),
                *judge_leftovers(self._path, seen, known, now=self._clock.now()),
            ]

        return await in_thread(find)


async def _known(store: InspectedStore) -> Known:
    rows = await store.workers()

    return Known(
        tokens=frozenset(row.token for row in rows),
        worker_ids=frozenset(worker_name(row.number) for row in rows),
        running=frozenset(job.run_key for job in await running_jobs(store)),
        outputs=frozenset(await store.large_outputs()),
    )


def _workers(path: Path, workers: list[WorkerInfo]) -> list[Finding]:
    """Say who is alive, and what has to be done about who is not."""
    alive = [worker for worker in workers if worker.is_alive]
    slots = sum(worker.concurrency for worker in alive)
    names = listed([worker.id for worker in alive])
    words = f"{counted(len(alive), 'live worker')} with {counted(slots, 'slot')}: {names}"
    found = [ok("workers", words if alive else "no worker is alive")]

    for worker in workers:
        words = f"worker {worker.id} (pid {worker.pid} on {worker.host})"

        if worker.state == "unresponsive":
            found.append(
                problem(
                    "workers",
                    f"{words} is alive but does not answer; it has {counted(worker.busy, 'job')}",
                    when_unresponsive([worker.pid]),
                )
            )
        elif not worker.is_alive:
            found.append(_dead(path, worker, words, is_alone=not alive))

    return found


def _dead(path: Path, worker: WorkerInfo, words: str, *, is_alone: bool) -> Finding:
    start = command(path, "worker", "start", "--detach")

    if is_alone and worker.busy:
        return problem(
            "workers",
            f"{words} is dead, and nobody watches over the"
            f" {counted(worker.busy, 'running job')} that it left: timeouts, limits and"
            " cancellations wait",
            f"start a worker, which takes over what runs: {start}",
        )

    return note(
        "workers",
        f"{words} is dead, and has {counted(worker.busy, 'job')}",
        f"start a worker, which settles what it left: {start}"
        if is_alone
        else "nothing has to be done: the live workers settle what it left",
    )


def _without_lock(folder: StateFolder, rows: list[WorkerRow]) -> list[WorkerRow]:
    """Return the workers that are alive although their lock is not in its place. Blocking."""
    return [row for row in rows if not has_lock(folder, row) and is_alive(folder, row)]


def _migrations(path: Path, faults: list[str]) -> list[Finding]:
    if not faults:
        return [ok("migrations", "every migration is the one that was applied")]

    return [
        problem(
            "migrations",
            "; ".join(faults),
            "another version of queuectl has made this database, or it is damaged: use that"
            f" version, or {StoreDamagedError.remedy(path)}",
        )
    ]


def _lock(path: Path, *, is_held: bool) -> Finding:
    if not is_held:
        return ok("database-lock", "a change of the database can begin")

    return problem(
        "database-lock",
        "another program holds the lock of the database: nothing can be enqueued or recorded",
        "let that program end its transaction, or end it; where it is a worker that was stopped:"
        f" kill -CONT PID; who has the database open is shown by: fuser -v {quoted([path])}",
    )


def _no_roster(folder: StateFolder, error: OSError) -> Finding:
    return problem(
        "workers",
        f"who is alive cannot be told: {error.strerror} ({error.filename or folder.workers})",
        "mend what was found among the files, and look again",
    )


def _unusable(path: Path, error: StoreError, *, check: str = "database") -> Finding:
    if isinstance(error, StoreDamagedError) and error.__cause__ is not None:
        return problem(check, str(error), StoreDamagedError.remedy(path))

    return problem(check, str(error), error.hint or "mend what was found before, and look again")
