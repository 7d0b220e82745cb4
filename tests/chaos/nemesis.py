"""The nemesis: does the faults of a plan, and logs each with what it hit."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import anyio

from tests.chaos.evidence import open_to_read
from tests.chaos.fleet import Fleet
from tests.chaos.logbook import Logbook
from tests.chaos.marks import Found, marked, sessions
from tests.chaos.moments import wall
from tests.chaos.nursery import Child, Nursery
from tests.chaos.plan import Fault, FaultKind, Plan

_WORDS_OF_A_RUNNING: Final = 3
_SECONDS_APART: Final = 3.0
_HELD: Final = """
SELECT jobs.id, jobs.run_count FROM jobs INNER JOIN workers ON jobs.worker = workers.id
WHERE jobs.state = 'processing' AND workers.pid = ?
"""
_NOTE: Final = """
SELECT workers.token, jobs.seq FROM jobs INNER JOIN workers ON jobs.worker = workers.id
WHERE workers.pid = ? AND jobs.id = ?
"""
_LOOK: Final = 0.005


class Nemesis:
    """
    Does what the plan says.

    Args:
        plan: The plan.
        fleet: Its victims.
        nursery: Starts the copier.
        database: The database.
        mark: Of all processes of the run.
        clients: The living clients: who enqueues, and commands at a terminal.
        stranger: A process that has nothing to do with any job.
        folder: For copies and their reports.
        log: Told of each fault.
    """

    def __init__(
        self,
        plan: Plan,
        fleet: Fleet,
        nursery: Nursery,
        *,
        database: Path,
        mark: str,
        clients: list[Child],
        stranger: Child,
        folder: Path,
        log: Logbook,
    ) -> None:
        self._plan = plan
        self._fleet = fleet
        self._nursery = nursery
        self._database = database
        self._mark = mark
        self._clients = clients
        self._stranger = stranger
        self._began = time.time()  # noqa: TID251 (what files are dated with)
        self._folder = folder
        self._log = log
        self._reader = open_to_read(database)
        self.reports: list[Path] = []
        self.failed_copies: list[str] = []
        self._deeds: Final[dict[FaultKind, Callable[[Fault], Coroutine[Any, Any, None]]]] = {
            FaultKind.KILL_ENGINE: self._kill_engine,
            FaultKind.KILL_ALL_ENGINES: self._kill_all_engines,
            FaultKind.KILL_JOB: self._kill_job,
            FaultKind.KILL_CLIENT: self._kill_client,
            FaultKind.STOP_ENGINE: self._stop_engine,
            FaultKind.LOCK_DATABASE: self._lock_database,
            FaultKind.LONG_READER: self._read_long,
            FaultKind.TAKE_OVER: self._take_over,
            FaultKind.RECYCLE_PID: self._recycle_pid,
            FaultKind.COPY_DATABASE: self._copy_database,
            FaultKind.FILL_DISK: self._fill_disk,
        }

    def close(self) -> None:
        """Close what it has open."""
        self._reader.close()

    async def rage(self, began: float) -> None:
        """Do every fault when it is time, and return when the last is over."""
        async with anyio.create_task_group() as tasks:
            for fault in self._plan.faults:
                await anyio.sleep(max(0.0, began + fault.at - wall()))
                deed = self._deeds[fault.kind]

                if fault.length or fault.kind is FaultKind.COPY_DATABASE:
                    tasks.start_soon(deed, fault)
                else:
                    await deed(fault)

    async def _kill_engine(self, fault: Fault) -> None:
        await self._kill(fault, [await self._some_engine(fault)])

    async def _kill_all_engines(self, fault: Fault) -> None:
        await self._some_engine(fault)
        await self._kill(fault, self._fleet.alive)

    async def _kill(
        self, fault: Fault, engines: list[Child], kind: FaultKind | None = None
    ) -> None:
        before = {engine.pid: self._held(engine) for engine in engines}
        at = wall()

        for engine in engines:
            engine.kill(signal.SIGKILL)

        for engine in engines:
            runs = sorted(before[engine.pid] | self._held(engine))
            self._log.write(kind or fault.kind, at=at, pid=engine.pid, runs=runs)

        for engine in engines:
            await engine.ended.wait()

    def _held(self, engine: Child) -> set[tuple[str, int]]:
        """Return job and number of the runs in an engine's name."""
        return {(row[0], row[1]) for row in self._reader.execute(_HELD, (engine.pid,))}

    async def _some_engine(self, fault: Fault) -> Child:
        while not (alive := self._fleet.alive):  # noqa: ASYNC110 (many make it true)
            await anyio.sleep(_LOOK)

        return alive[int(fault.pick * len(alive))]

    async def _kill_job(self, fault: Fault) -> None:
        """Kill the sessions of one run of a job, at once."""
        if trees := self._trees():
            run = sorted(trees)[int(fault.pick * len(trees))]
            self._kill_tree(run, trees[run])

    def _trees(self) -> dict[tuple[str, int], set[int]]:
        """Return the sessions of each run that has any process."""
        trees: dict[tuple[str, int], set[int]] = {}

        for process in marked(self._mark):
            if process.job:
                trees.setdefault((process.job, process.attempt), set()).add(process.session)

        return trees

    def _kill_tree(self, run: tuple[str, int], tree: set[int]) -> None:
        # Before the kill: the log must know of it whatever is seen of it.
        self._log.write(FaultKind.KILL_JOB, runs=[run])

        for pid in sessions(tree):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _own_tree(self, engine: Child, pick: float) -> tuple[tuple[str, int], set[int]] | None:
        """Return a run in an engine's name that has processes, and its sessions."""
        trees = self._trees()
        runs = sorted(self._held(engine) & trees.keys())

        if not runs:
            return None

        run = runs[int(pick * len(runs))]
        return run, trees[run]

    async def _take_over(self, fault: Fault) -> None:
        """
        Take a run from an engine that sleeps, and let it wake up to its result.

        The run's processes are killed first, so that nothing runs twice by this.
        """
        engine = await self._some_engine(fault)
        at = wall()
        engine.kill(signal.SIGSTOP)
        try:
            found = self._own_tree(engine, fault.pick)

            if found is None:
                return

            (job, number), tree = found
            self._kill_tree((job, number), tree)
            self._log.write(fault.kind, runs=[(job, number)])
            await self._nursery.start(
                "take_over", database=str(self._database), job=job, run=number
            )
            await anyio.sleep(fault.length)
        finally:
            engine.kill(signal.SIGCONT)
            self._log.write(FaultKind.STOP_ENGINE, at=at, pid=engine.pid, until=wall())

    async def _recycle_pid(self, fault: Fault) -> None:
        """
        Kill an engine and a run of its, and let a stranger have the run's number.

        Numbers cannot be chosen, so the note that the run left is changed instead.
        """
        engine = await self._some_engine(fault)
        engine.kill(signal.SIGSTOP)
        found = self._own_tree(engine, fault.pick)

        if found is not None:
            run, tree = found

            if (note := self._find_note(engine, run)) and self._is_far(note):
                self._kill_tree(run, tree)
                _change_leader(note, self._stranger.pid)
                self._log.write(fault.kind, runs=[run], pid=engine.pid)

        await self._kill(fault, [engine], kind=FaultKind.KILL_ENGINE)

    def _is_far(self, note: Path) -> bool:
        """Whether a run began so long after the stranger did that their ages tell them apart."""
        return note.stat().st_mtime - self._began > _SECONDS_APART

    def _find_note(self, engine: Child, run: tuple[str, int]) -> Path | None:
        """Return the file in which the shell of a run wrote its number."""
        found = self._reader.execute(_NOTE, (engine.pid, run[0])).fetchone()

        if found is None:
            return None

        home = self._database.with_name("queue.db-run") / "workers" / found[0]
        words = [str(found[1]), str(run[1])]
        notes = [note for note in home.glob("*.exit") if _first_words(note)[:-1] == words]
        return notes[0] if notes else None

    async def _kill_client(self, fault: Fault) -> None:
        if alive := [client for client in self._clients if client.is_alive]:
            client = alive[int(fault.pick * len(alive))]
            client.kill(signal.SIGKILL)
            self._log.write(fault.kind, pid=client.pid)

    async def _stop_engine(self, fault: Fault) -> None:
        engine = await self._some_engine(fault)
        at = wall()

        if engine.kill(signal.SIGSTOP):
            await anyio.sleep(fault.length)
            engine.kill(signal.SIGCONT)
            self._log.write(fault.kind, at=at, pid=engine.pid, until=wall())

    async def _lock_database(self, fault: Fault) -> None:
        """Hold the lock for writing, as a program of somebody else would."""
        connection = sqlite3.connect(self._database, timeout=0, isolation_level=None)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        try:
            while not _begins(connection):  # noqa: ASYNC110 (a lock tells nobody)
                await anyio.sleep(_LOOK)

            at = wall()
            await anyio.sleep(fault.length)
            connection.execute("ROLLBACK")
            self._log.write(fault.kind, at=at, until=wall())
        finally:
            connection.close()

    async def _read_long(self, fault: Fault) -> None:
        """Keep a reader open, which keeps the log from being cut."""
        connection = open_to_read(self._database)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM jobs").fetchone()
            at = wall()
            await anyio.sleep(fault.length)
            connection.execute("ROLLBACK")
            self._log.write(fault.kind, at=at, until=wall())
        finally:
            connection.close()

    async def _copy_database(self, fault: Fault) -> None:
        """Copy it in another process: closing its file here would free SQLite's locks."""
        number = len(self.reports)
        report = self._folder / f"{number}.json"
        self.reports.append(report)
        copier = await self._nursery.start(
            "copy",
            database=str(self._database),
            target=str(self._folder / f"{number}.db"),
            report=str(report),
            seed=fault.pick,
        )
        await copier.ended.wait()
        self._log.write(fault.kind)

        if copier.code:
            self.failed_copies.append(copier.last_words())

    async def _fill_disk(self, fault: Fault) -> None:
        """Fill the disk to the last byte, and give the space back later."""
        # Two of these faults may overlap.
        filler = self._database.with_name(f"filler{fault.at}")
        at = wall()
        _fill(filler)
        await anyio.sleep(fault.length)
        filler.unlink()
        self._log.write(fault.kind, at=at, until=wall())


def _first_words(note: Path) -> list[str]:
    """Return job, run and process of a run that goes on; one that ended has a code too."""
    return note.read_text().partition("\n")[0].split()


def _change_leader(note: Path, pid: int) -> None:
    """Write another process number into a note, and leave its time as it is."""
    found = note.stat()
    line, _, rest = note.read_text().partition("\n")
    words = line.split()

    if len(words) != _WORDS_OF_A_RUNNING:
        # It has ended just now, and left its code.
        return

    seq, number, _ = words
    changed = f"{seq} {number} {pid}\n"
    note.write_text(changed + f"{line}\n{rest}"[len(changed) :])
    os.utime(note, ns=(found.st_atime_ns, found.st_mtime_ns))


def _begins(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise

        return False

    return True


def _fill(file: Path) -> None:
    """Write until nothing more fits."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65536, 512, 1):
            with suppress(OSError):
                while os.write(descriptor, b"x" * size):
                    pass
    finally:
        os.close(descriptor)


def leaders(found: list[Found]) -> list[str]:
    """Return processes in words."""
    return [f"{process.pid} of {process.job or 'no job'}: {process.words}" for process in found]
