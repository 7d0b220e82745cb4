"""What can be looked up in a SQLite store: every method is a read, over a connection for reads."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec

from queuectl.engine.domain.activity import Point, Totals
from queuectl.engine.domain.events import Event
from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.looks import LARGEST_NUMBER, Cause, DatabaseInfo, JobPage
from queuectl.engine.domain.models import Attempt, Job, RunKey
from queuectl.engine.domain.settings import Settings
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import EngineClosedError, EventsPrunedError, InvalidValueError
from queuectl.engine.store.base import CheckReport, Orders, StoreStats, WorkerRow
from queuectl.engine.store.sqlite import figures, operations, upkeep
from queuectl.engine.store.sqlite.check import check_database
from queuectl.engine.store.sqlite.connection import (
    ThreadConnection,
    connect,
    name_error,
    named_errors,
)
from queuectl.engine.store.sqlite.rows import (
    attempt_from_row,
    cause_from_row,
    event_from_row,
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

# How many jobs are looked at between two looks of others.
_STEP = 5000

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

        if not wanted.is_checked:
            rows = await self._rows(name, after=after, limit=limit, **values)
            return [job_from_row(row) for row in rows]

        # Here and below: most commands only add jobs, and are to start fast.
        from queuectl.engine.store.sqlite.pages import listed_seqs, matching

        found: list[sqlite3.Row] = []

        # Step by step, so that others can read in between.
        while len(found) < limit:
            place = {**values, "after": after, "limit": _STEP}
            seqs = await self._read(partial(listed_seqs, name=name, values=place))

            if not seqs:
                break

            after, left = seqs[-1], limit - len(found)
            found += await self._read(partial(matching, seqs=seqs, wanted=wanted, limit=left))

        return [job_from_row(row) for row in found]

    async def last_jobs(self, wanted: JobFilter, *, limit: int) -> list[Job]:
        """Return the jobs that arrived last, in order of arrival."""
        if not wanted.is_checked:
            name, values = _listing("last_jobs", wanted)
            rows = await self._rows(name, limit=limit, **values)
            return [job_from_row(row) for row in reversed(rows)]

        found: list[Job] = []
        before: int | None = None

        while len(found) < limit:
            page = await self.page(wanted, before=before, limit=min(limit - len(found), _STEP))
            found += page.jobs
            before = page.older

            if before is None:
                break

        return found[::-1]

    async def page(self, wanted: JobFilter, *, before: int | None, limit: int) -> JobPage:
        """Return a page of jobs, those that arrived last in front."""
        from queuectl.engine.store.sqlite.pages import newest_page

        return await self._read(partial(newest_page, wanted=wanted, before=before, limit=limit))

    async def page_of_scheduled(
        self, wanted: JobFilter, *, before: int | None, limit: int, now: datetime
    ) -> JobPage:
        """Return a page of jobs whose time is still to come, the next in front."""
        from queuectl.engine.store.sqlite.pages import soonest_page

        return await self._read(
            partial(soonest_page, wanted=wanted, before=before, limit=limit, now=now)
        )

    async def causes(self, *, limit: int) -> list[Cause]:
        """Return the reasons of dead jobs."""
        return [cause_from_row(row) for row in await self._rows("causes", limit=limit)]

    async def runs(
        self, job_id: str, *, until: int | None = None, last: int | None = None
    ) -> list[Attempt]:
        """Return finished runs of a job."""
        values = {
            "id": job_id,
            "until": LARGEST_NUMBER if until is None else until,
            "last": LARGEST_NUMBER if last is None else last,
        }

        # There may be ten thousands: they are made here, and not on the event loop.
        def read(connection: sqlite3.Connection) -> list[Attempt]:
            rows = connection.execute(SQL["list_runs"], values)
            return [attempt_from_row(row) for row in rows][::-1]

        return await self._read(read)

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

    async def events(self, *, since: int, limit: int, job_id: str | None = None) -> list[Event]:
        """Return events behind a sequence number."""
        name = "list_events" if job_id is None else "list_events_of_job"
        values = {"since": since, "limit": limit, "id": job_id}

        def read(connection: sqlite3.Connection) -> list[Event]:
            page = [event_from_row(row) for row in connection.execute(SQL[name], values)]

            if since > 0 and not (page and page[0].seq == since + 1):
                _check_kept(connection, since)

            return page

        return await self._read(read)

    async def last_events(self, *, limit: int, job_id: str | None = None) -> list[Event]:
        """Return the last events, in order."""
        name = "last_events" if job_id is None else "last_events_of_job"
        rows = await self._rows(name, limit=limit, id=job_id)
        return [event_from_row(row) for row in reversed(rows)]

    async def last_event(self) -> int:
        """Return the sequence number of the last event."""
        return int((await self._rows("last_event_seq"))[0][0])

    async def stats(self, *, now: datetime, tag: str | None = None) -> StoreStats:
        """Return the statistics."""
        if tag is None:
            return await self._read(partial(figures.read_stats, now=now))

        of_tag = figures.StatsOfTag(tag, now)

        while await self._read(of_tag.read_some):
            pass

        return of_tag.result()

    async def history(self, *, now: datetime, step: timedelta, steps: int) -> list[Point]:
        """Return what happened in each of the last steps."""
        return await self._read(partial(figures.read_history, now=now, step=step, steps=steps))

    async def totals(self) -> Totals:
        """Return what was counted since counting began."""
        return await self._read(figures.read_totals)

    async def needs_pruning(self, *, now: datetime, retention: timedelta | None) -> bool:
        """Whether events or figures are older than they are kept."""
        return await self._read(partial(upkeep.is_due, now=now, retention=retention))

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

    async def describe(self, *, outputs_bytes: int) -> DatabaseInfo:
        """Return how large the database is."""
        from queuectl.engine.store.sqlite.sizes import describe_database

        return await self._read(
            partial(describe_database, path=self._path, outputs_bytes=outputs_bytes)
        )

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
            return await reader.look(read)
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


def _check_kept(connection: sqlite3.Connection, since: int) -> None:
    """
    Make sure that there was an event of this number, and that none behind it was deleted.

    Raises:
        EventsPrunedError: One was deleted.
        InvalidValueError: There is no such number yet.
    """
    # Before the first one is looked for: where none is kept, the next may be added meanwhile.
    last = int(connection.execute(SQL["last_event_seq"]).fetchone()[0])
    first = connection.execute(SQL["first_event"]).fetchone()
    oldest = last + 1 if first is None else int(first["seq"])

    if since < oldest - 1:
        raise EventsPrunedError(since, oldest)

    # Who has read a number has read what is committed, so it is of another database.
    if since > last:
        msg = (
            f"there is no event number {since} yet, the last is {last}: it is of another"
            " database, or of this one before a backup took its place; begin behind 0"
        )
        raise InvalidValueError(msg)


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
