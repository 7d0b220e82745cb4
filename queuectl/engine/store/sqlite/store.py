"""The SQLite store: every method is an operation for the writer, or a read."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.abc
import msgspec

from queuectl.engine.domain.events import Event
from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.lifecycle import Transition
from queuectl.engine.domain.models import Attempt, Job, NewJob
from queuectl.engine.domain.settings import Settings
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import InvalidValueError, StoreError
from queuectl.engine.store.base import (
    Change,
    CheckReport,
    Claim,
    Orders,
    Purged,
    RunRecord,
    StoreStats,
    WorkerRow,
)
from queuectl.engine.store.sqlite import operations
from queuectl.engine.store.sqlite.backup import copy_database
from queuectl.engine.store.sqlite.check import check_database
from queuectl.engine.store.sqlite.checkpoint import Checkpointer
from queuectl.engine.store.sqlite.connection import (
    FileIdentity,
    ThreadConnection,
    connect,
    name_error,
)
from queuectl.engine.store.sqlite.operations import SQL
from queuectl.engine.store.sqlite.rows import (
    attempt_from_row,
    event_from_row,
    from_ms,
    job_from_row,
    to_ms,
    worker_from_row,
)
from queuectl.engine.store.sqlite.setup import prepare
from queuectl.engine.store.sqlite.writer import Writer

T = TypeVar("T")

# The states of the index `jobs_notable`.
_NOTABLE = frozenset({JobState.PROCESSING, JobState.FAILED, JobState.DEAD, JobState.CANCELLED})

# Longer than what the system could not start is put off.
_A_MOMENT = timedelta(seconds=10)

_NOT_TEXT = "not valid Unicode (a lone surrogate)"


class SqliteStore:
    """
    A `JobStore` in one SQLite file.

    Args:
        path: The file; it is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing: ThreadConnection
        self._reading: ThreadConnection | None = None
        self._opening_reader = anyio.Lock()
        self._is_closed = False
        self._writer: Writer
        self._identity: FileIdentity
        self._checkpointer: Checkpointer

    async def open(self, tasks: anyio.abc.TaskGroup, *, now: datetime) -> None:
        """
        Make or migrate the file, connect, and start the writer in the task group.

        Raises:
            StoreError: The file cannot be used.
        """
        self._writing = connect(
            self._path, reader=False, prepare=partial(prepare, now_ms=to_ms(now))
        )
        await _open(self._writing, self._path)

        try:
            self._identity = await self._writing.run(partial(_identify, self._path))
            self._checkpointer = await self._writing.run(lambda _: Checkpointer(self._path))
        except BaseException as error:
            # Its thread would keep the program from ending.
            with anyio.CancelScope(shield=True):
                await self._writing.close()

            if isinstance(error, OSError):
                problem = f"cannot make the lock file {error.filename} ({error.strerror}) of"
                raise StoreError(self._path, problem) from error

            if isinstance(error, sqlite3.Error):
                raise name_error(error, self._path) from error

            raise

        self._writer = Writer(
            self._writing,
            self._path,
            identity=self._identity,
            checkpointer=self._checkpointer,
        )
        tasks.start_soon(self._writer.serve)

    def on_commit(self, listener: Callable[[Change], None]) -> None:
        """Call this after each commit of ours that changed something."""
        self._writer.on_commit(listener)

    async def close(self) -> None:
        """Answer what was asked for, and close both connections."""
        if self._is_closed:
            return

        self._is_closed = True
        await self._writer.close()

        # Closing files that were replaced as if we were the last would remove the
        # log by its name, and that is another's by now. While a connection that
        # only reads has those files, it does not.
        is_theirs = await self._writing.run(lambda _: self._identity.is_lost())
        guard = await _open_guard(self._path) if is_theirs else None
        await self._writing.close()

        if self._reading is not None:
            await self._reading.close()

        if guard is not None:
            await guard.close()

        self._checkpointer.close()

    async def insert(
        self, make: Callable[[Settings], Sequence[NewJob]], *, now: datetime
    ) -> list[Job]:
        """Add jobs, all or none."""
        return await self._write(partial(operations.insert, make=make, now=now), Change.WORK)

    async def insert_claimed(
        self, make: Callable[[Settings], NewJob], *, worker: int, now: datetime
    ) -> Job:
        """Add a job and claim it in one transaction."""
        return await self._write(
            partial(operations.insert_claimed, make=make, worker=worker, now=now), Change.STATE
        )

    async def claim(
        self, worker: int, limit: int, *, now: datetime, can_wait: bool = False
    ) -> Claim:
        """Take due jobs."""
        return await self._write(
            partial(operations.claim, worker=worker, limit=limit, now=now),
            Change.STATE,
            can_wait=can_wait,
        )

    async def finish(
        self, job: Job, transition: Transition, run: RunRecord, *, now: datetime
    ) -> bool:
        """Record a finished run and move its job on."""
        is_open = transition.state in {JobState.PENDING, JobState.FAILED}
        return await self._write(
            partial(operations.finish, job=job, transition=transition, run=run, now=now),
            Change.WORK if is_open else Change.STATE,
            can_wait=True,
        )

    async def release(
        self, jobs: Sequence[Job], *, now: datetime, interrupted: bool = False
    ) -> int:
        """Give back claimed jobs that were not started."""
        return await self._write(
            partial(operations.release, jobs=jobs, now=now, interrupted=interrupted), Change.WORK
        )

    async def adopt(self, job: Job, worker: int, *, now: datetime) -> Job | None:
        """Move a run from the worker that has it to another."""
        return await self._write(
            partial(operations.adopt, job=job, worker=worker, now=now), Change.STATE
        )

    async def mark_stuck(self, job: Job, words: str, *, now: datetime) -> bool:
        """Say why a run is neither over nor adopted."""
        return await self._write(
            partial(operations.mark_stuck, job=job, words=words, now=now), Change.STATE
        )

    async def get(self, job_id: str) -> Job:
        """Return a job."""
        return await self._read(partial(operations.get_job, job_id=job_id))

    async def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Return jobs, in the order of the ids."""
        return await self._read(partial(operations.get_jobs, job_ids=job_ids))

    async def unfinished(self, job_ids: Sequence[str]) -> set[str]:
        """Return those of the ids whose jobs are not finished."""
        ids = msgspec.json.encode(list(job_ids)).decode()
        rows = await self._rows("unfinished_ids", ids=ids)
        return {row["id"] for row in rows}

    async def list_jobs(self, wanted: JobFilter, *, after: int, limit: int) -> list[Job]:
        """Return jobs in order of arrival."""
        name, values = _listing("list_jobs", wanted)
        rows = await self._rows(name, after=after, limit=limit, **values)
        return [job_from_row(row) for row in rows]

    async def last_jobs(self, wanted: JobFilter, *, limit: int) -> list[Job]:
        """Return the jobs that arrived last, in order of arrival."""
        name, values = _listing("last_jobs", wanted)
        rows = await self._rows(name, limit=limit, **values)
        return [job_from_row(row) for row in reversed(rows)]

    async def runs(self, job_id: str) -> list[Attempt]:
        """Return the finished runs of a job."""
        return [attempt_from_row(row) for row in await self._rows("list_runs", id=job_id)]

    async def output(self, seq: int, run: int) -> bytes | None:
        """Return the output kept in the row of a run."""
        rows = await self._rows("get_output", job=seq, number=run)
        return bytes(rows[0]["content"]) if rows else None

    async def cancel(self, job_id: str, reason: str | None, *, now: datetime) -> Job:
        """Cancel a waiting job, or mark a running one."""
        return await self._write(
            partial(operations.cancel, job_id=job_id, reason=reason, now=now), Change.ORDERS
        )

    async def retry(
        self, job_ids: Sequence[str], allowed: frozenset[JobState], *, now: datetime
    ) -> list[Job]:
        """Put jobs back to pending, all or none."""
        return await self._write(
            partial(operations.retry, job_ids=job_ids, allowed=allowed, now=now), Change.WORK
        )

    async def retry_dead(self, *, now: datetime) -> int:
        """Put every dead job back to pending."""
        return await self._write(partial(operations.retry_dead, now=now), Change.WORK)

    async def delete(self, job_id: str) -> Purged:
        """Delete a job with its runs and outputs."""
        return await self._write(partial(operations.delete, job_id=job_id), Change.STATE)

    async def purge(self, states: Sequence[JobState], *, until: datetime) -> Purged:
        """Delete old jobs."""
        return await self._write(
            partial(operations.purge, states=states, until=until), Change.STATE
        )

    async def register_worker(
        self,
        *,
        token: str,
        host: str,
        pid: int,
        boot_id: str,
        concurrency: int,
        now: datetime,
        pid_namespace: str = "",
        lock_file: str | None = None,
        pipe: str | None = None,
        can_restart: bool = False,
    ) -> int:
        """Add a worker; return its number."""
        row = await self._write_one(
            "register_worker",
            Change.STATE,
            token=token,
            host=host,
            pid=pid,
            boot_id=boot_id,
            pid_namespace=pid_namespace,
            lock_file=lock_file,
            pipe=pipe,
            can_restart=can_restart,
            concurrency=concurrency,
            started_at=to_ms(now),
        )
        return int(row[0])

    async def unregister_worker(self, worker: int) -> bool:
        """Remove a worker that holds no jobs."""

        def operation(connection: sqlite3.Connection) -> bool:
            return connection.execute(SQL["unregister_worker"], {"worker": worker}).rowcount == 1

        return await self._write(operation, Change.STATE)

    async def workers(self) -> list[WorkerRow]:
        """Return the registered workers, by number."""
        return [worker_from_row(row) for row in await self._rows("list_workers")]

    async def ask_to_stop(self, workers: Sequence[int], *, stop: str) -> None:
        """Ask workers to stop."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.executemany(
                SQL["ask_to_stop"], [{"worker": worker, "stop": stop} for worker in workers]
            )

        await self._write(operation, Change.ORDERS)

    async def ask_to_restart(self, workers: Sequence[int]) -> None:
        """Ask workers to leave their runs to a successor."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.executemany(
                SQL["ask_to_restart"], [{"worker": worker} for worker in workers]
            )

        await self._write(operation, Change.ORDERS)

    async def orders(self, worker: int) -> Orders:
        """Return what a worker was asked to do."""

        def read(connection: sqlite3.Connection) -> Orders:
            asked = connection.execute(SQL["orders_of"], {"worker": worker}).fetchone()
            cancels = connection.execute(SQL["cancels_asked"], {"worker": worker})
            return Orders(
                is_registered=asked is not None,
                stop=asked["stop"] if asked else None,
                restart=bool(asked["restart"]) if asked else False,
                cancels={(row["seq"], row["run_count"]): row["cancel_reason"] for row in cancels},
            )

        return await self._read(read)

    async def held_jobs(self, worker: int) -> list[Job]:
        """Return the jobs in state processing in a worker's name."""
        return [job_from_row(row) for row in await self._rows("held_jobs", worker=worker)]

    async def events(self, *, since: int, limit: int) -> list[Event]:
        """Return events behind a sequence number."""
        rows = await self._rows("list_events", since=since, limit=limit)
        return [event_from_row(row) for row in rows]

    async def last_event(self) -> int:
        """Return the sequence number of the last event."""
        return int((await self._rows("last_event_seq"))[0][0])

    async def stats(self, *, now: datetime) -> StoreStats:
        """Return the statistics."""

        def read(connection: sqlite3.Connection) -> StoreStats:
            rows = {row["state"]: row for row in connection.execute(SQL["counts"])}
            oldest = connection.execute(SQL["oldest_due"], {"now": to_ms(now)}).fetchone()[0]
            completed = rows[JobState.COMPLETED]
            total = timedelta(milliseconds=completed["duration_ms"])
            return StoreStats(
                counts={state: rows[state]["jobs"] for state in JobState},
                avg_duration=total / completed["jobs"] if completed["jobs"] else None,
                oldest_pending=None if oldest is None else max(now - from_ms(oldest), timedelta()),
            )

        return await self._read(read)

    async def is_settled(self, *, now: datetime) -> bool:
        """Whether nothing is due, running or waiting for a retry."""
        soon = to_ms(now + _A_MOMENT)
        return not (await self._rows("unsettled", now=to_ms(now), soon=soon))[0][0]

    async def settings(self) -> Settings:
        """Return the config."""
        return await self._read(operations.read_settings)

    async def write_setting(self, key: str, value: str) -> None:
        """Set a config key."""
        await self._write_one("write_setting", Change.WORK, key=key, value=value)

    async def delete_setting(self, key: str) -> None:
        """Set a config key back to its default."""
        await self._write_one("delete_setting", Change.WORK, key=key)

    async def check(self) -> CheckReport:
        """Read the whole database and report what is wrong with it."""
        return await self._read(check_database)

    async def backup(self, target: str) -> None:
        """Write a copy of the database to a new file."""
        await self._writer.run_alone(partial(copy_database, target=Path(target)))

    async def vacuum(self) -> None:
        """Give unused space back to the file system."""

        def vacuum(connection: sqlite3.Connection) -> None:
            connection.execute("VACUUM")

        await self._writer.run_alone(vacuum)
        await self._writer.checkpoint()

    async def _write(
        self,
        operation: Callable[[sqlite3.Connection], T],
        change: Change,
        *,
        can_wait: bool = False,
    ) -> T:
        return await self._writer.submit(operation, change, can_wait=can_wait)

    async def _write_one(self, name: str, change: Change, **values: Any) -> sqlite3.Row:
        def operation(connection: sqlite3.Connection) -> Any:
            return connection.execute(SQL[name], values).fetchone()

        return await self._write(operation, change)

    async def _rows(self, name: str, **values: Any) -> list[sqlite3.Row]:
        def read(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            return connection.execute(SQL[name], values).fetchall()

        return await self._read(read)

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        reader = self._reading or await self._open_reader()

        def read(connection: sqlite3.Connection) -> T:
            result = function(connection)
            self._identity.check()
            return result

        try:
            return await reader.run(read)
        except sqlite3.Error as error:
            raise name_error(error, self._path) from error
        except UnicodeEncodeError as error:
            raise InvalidValueError(_NOT_TEXT) from error

    async def _open_reader(self) -> ThreadConnection:
        """Connect when the first read comes; a command may never need it."""
        async with self._opening_reader:
            if self._reading is None:
                reader = connect(self._path, reader=True)
                await _open(reader, self._path)
                self._reading = reader

            return self._reading


async def _open_guard(path: Path) -> ThreadConnection | None:
    """Open the files that have the names now; None where there are none that can be read."""
    guard = connect(path, reader=True, mode="ro")

    try:
        await guard.open()
        await guard.run(lambda opened: opened.execute("PRAGMA user_version").fetchone())
    except sqlite3.Error:
        if guard.opened is not None:
            await guard.close()

        return None

    return guard


def _identify(path: Path, connection: sqlite3.Connection) -> FileIdentity:
    # The first look into the database makes the log.
    connection.execute("PRAGMA user_version").fetchone()
    return FileIdentity(path)


async def _open(connection: ThreadConnection, path: Path) -> None:
    try:
        await connection.open()
    except sqlite3.Error as error:
        raise name_error(error, path) from error


def _listing(name: str, wanted: JobFilter) -> tuple[str, dict[str, Any]]:
    """Choose the query that has an index for what is wanted."""
    state = None if wanted.state is None else wanted.state.value

    if wanted.tag is not None:
        return f"{name}_with_tag", {"tag": wanted.tag, "state": state}

    if wanted.state in _NOTABLE:
        return f"{name}_in_notable_state", {"state": state}

    if state is not None:
        return f"{name}_in_state", {"state": state}

    return name, {}
