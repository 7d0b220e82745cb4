"""What can be looked up in a SQLite store: every method is a read, over a connection for reads."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec

from queuectl.engine.domain.events import Event
from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.models import Attempt, Job, RunKey
from queuectl.engine.domain.settings import Settings
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import EngineClosedError, InvalidValueError
from queuectl.engine.store.base import CheckReport, Orders, StoreStats, WorkerRow
from queuectl.engine.store.sqlite import operations
from queuectl.engine.store.sqlite.check import check_database
from queuectl.engine.store.sqlite.connection import (
    ThreadConnection,
    connect,
    name_error,
    named_errors,
)
from queuectl.engine.store.sqlite.rows import (
    attempt_from_row,
    event_from_row,
    from_ms,
    job_from_row,
    stop_from_row,
    to_ms,
    worker_from_row,
)
from queuectl.engine.store.sqlite.statements import SQL

T = TypeVar("T")

# The states of the index `jobs_notable`.
_NOTABLE = frozenset({JobState.PROCESSING, JobState.FAILED, JobState.DEAD, JobState.CANCELLED})

# Longer than what the system could not start is put off.
_A_MOMENT = timedelta(seconds=10)

_NOT_TEXT = "not valid Unicode (a lone surrogate)"


class SqliteLookups:
    """
    The `JobReader` that every SQLite store is; how it is opened and closed, they say.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading: ThreadConnection | None = None
        self._opening_reader = anyio.Lock()
        self._takes_reads = True

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

    async def workers(self) -> list[WorkerRow]:
        """Return the registered workers, by number."""
        return [worker_from_row(row) for row in await self._rows("list_workers")]

    async def orders(self, worker: int) -> Orders:
        """Return what a worker was asked to do."""

        def read(connection: sqlite3.Connection) -> Orders:
            asked = connection.execute(SQL["orders_of"], {"worker": worker}).fetchone()
            cancels = connection.execute(SQL["cancels_asked"], {"worker": worker})
            return Orders(
                is_registered=asked is not None,
                stop=stop_from_row(asked) if asked else None,
                restart=bool(asked["restart"]) if asked else False,
                cancels={
                    RunKey(row["seq"], row["run_count"]): row["cancel_reason"] for row in cancels
                },
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

    async def check(self) -> CheckReport:
        """Read the whole database and report what is wrong with it."""
        return await self._read(check_database)

    async def _rows(self, name: str, **values: Any) -> list[sqlite3.Row]:
        def read(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            return connection.execute(SQL[name], values).fetchall()

        return await self._read(read)

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        reader = self._reading or await self._open_reader()

        def read(connection: sqlite3.Connection) -> T:
            result = function(connection)
            self._check_files()
            return result

        try:
            return await reader.run(read)
        except sqlite3.Error as error:
            raise name_error(error, self._path) from error
        except UnicodeEncodeError as error:
            raise InvalidValueError(_NOT_TEXT) from error

    def _check_files(self) -> None:
        """Let what was read count, wherever the files are by now: who only looks may."""

    async def _open_reader(self) -> ThreadConnection:
        """Connect when the first read comes; a command may never need it."""
        async with self._opening_reader:
            if not self._takes_reads:
                raise EngineClosedError

            if self._reading is None:
                reader = connect(self._path, reader=True)

                with named_errors(self._path):
                    await reader.open()

                self._reading = reader

            return self._reading

    async def _close_reader(self) -> None:
        """Close the connection for reads; one that is being opened is waited for."""
        async with self._opening_reader:
            self._takes_reads = False

            if self._reading is not None:
                await self._reading.close()


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
