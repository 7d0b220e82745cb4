"""The statements, by name; how one is run for many rows; the values that several of them take."""

import functools
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any, Final

from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.models import Job, worker_number
from queuectl.engine.store.queries import load_queries
from queuectl.engine.store.sqlite.rows import to_ms

SQL: Final = load_queries(__file__)

# The most rows that one statement is made for; SQLite takes 32,766 values.
_MOST_ROWS: Final = 128


def run_for_rows(
    connection: sqlite3.Connection, name: str, rows: Iterable[tuple[Any, ...]]
) -> list[sqlite3.Row]:
    """Run a query for many rows with few statements; return what these return."""
    found: list[sqlite3.Row] = []
    left = iter(rows)

    while part := list(islice(left, _MOST_ROWS)):
        values = [value for row in part for value in row]
        found += connection.execute(_query_for(name, len(part), len(part[0])), values).fetchall()

    return found


@functools.lru_cache(maxsize=_MOST_ROWS)
def _query_for(name: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return SQL[name].replace("(?)", ", ".join([row] * rows))


def add_event(
    connection: sqlite3.Connection,
    job: Job,
    kind: EventKind,
    now: datetime,
    reason: str | None = None,
) -> None:
    """Write down what happened to a job."""
    connection.execute(SQL["insert_event"], event_values(job, kind, now, reason))


def event_values(job: Job, kind: EventKind, now: datetime, reason: str | None) -> tuple[Any, ...]:
    """Return the parameters of ``insert_event``, in their order."""
    return to_ms(now), job.seq, kind.value, job.run_count, reason


def fence_values(job: Job) -> dict[str, int]:
    """Return what a claim is known by, as parameters: the job, the run, the worker."""
    worker = 0 if job.worker is None else worker_number(job.worker)
    return {"seq": job.seq, "run": job.run_count, "worker": worker}
