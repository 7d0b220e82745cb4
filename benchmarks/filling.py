"""
Databases of millions of jobs, made in seconds.

One job is run and another is enqueued by queuectl itself; all others are copies of the
rows of these two, each with its own number, id and times. So whatever queuectl writes
for a job is there for each of them; and as by queuectl, they are counted together.
"""

import asyncio
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench
from queuectl import QueueEngine

# By which name programs share a database.
LARGE: Final = "large"

# The rows that are copied, by their numbers.
_FINISHED: Final = 1
_PENDING: Final = 2

# Milliseconds by which the first copy is older than what it is a copy of; each is one
# millisecond younger than the one before. All of them are due.
_OLDER: Final = 4_000_000

# What differs from one copy to the next, as SQL; n is the job's number.
_JOB: Final = {
    "seq": "n",
    "id": "substr(template.id, 1, 10) || printf('%010d', n)",
    **{
        column: f"template.{column} + n - {_OLDER}"
        for column in ("run_at", "created_at", "updated_at", "started_at", "finished_at")
    },
}
_RUN: Final = {
    "job": "n",
    "started_at": f"template.started_at + n - {_OLDER}",
    "finished_at": f"template.finished_at + n - {_OLDER}",
}
# What was done with the first two since they were copied, as claims, is not copied.
_SINCE: Final = f"template.seq > (SELECT min(seq) FROM events WHERE job > {_PENDING})"  # noqa: S608
_EVENT: Final = {"job": "n", "at": f"template.at + n - {_OLDER}"}


def fill(database: Path, *, pending: int, finished: int) -> None:
    """
    Make a database, or let one grow that was made here, until it has so many jobs.

    Nobody else may have it open. It is on the disk when this returns.

    Args:
        database: The file.
        pending: Jobs that wait and are due, at least 1.
        finished: Completed jobs, at least 1.
    """
    if not database.exists():
        asyncio.run(_make(database))

    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        # It is thrown away where this fails, so nothing is needed to roll back.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -256000")
        have = dict(connection.execute("SELECT state, jobs FROM counts").fetchall())
        _copy(connection, _FINISHED, finished - have["completed"])
        _copy(connection, _PENDING, pending - have["pending"])
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_mode = WAL")

    with database.open("rb") as file:
        os.fsync(file.fileno())


async def _make(database: Path) -> None:
    async with QueueEngine(database) as engine:
        await engine.enqueue("true", cwd="/")
        await engine.drain()
        await engine.enqueue("true", cwd="/")


def _copy(connection: sqlite3.Connection, template: int, number: int) -> None:
    if number <= 0:
        return

    last = connection.execute("SELECT max(seq) FROM jobs").fetchone()[0]
    span = {"first": last + 1, "last": last + number, "template": template}
    connection.execute("BEGIN")
    _copy_rows(connection, "jobs", "seq", _JOB, span)
    connection.execute(
        "UPDATE counts SET"
        " jobs = jobs + :last - :first + 1,"
        " duration_ms = duration_ms"
        " + (:last - :first + 1) * coalesce(template.finished_at - template.started_at, 0)"
        " FROM jobs AS template"
        " WHERE template.seq = :template AND counts.state = template.state",
        span,
    )
    _copy_rows(connection, "runs", "job", _RUN, span)
    _copy_rows(connection, "outputs", "job", {"job": "n"}, span)
    _copy_rows(connection, "events", "job", _EVENT, span, unless=_SINCE)
    connection.execute("COMMIT")


def _copy_rows(
    connection: sqlite3.Connection,
    table: str,
    key: str,
    changed: Mapping[str, str],
    span: Mapping[str, int],
    unless: str = "FALSE",
) -> None:
    """Copy what a table has of a job, unless this is so, for each number of the span."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    # An event's own number is made as it is added.
    columns = [name for name in columns if name != "seq" or "seq" in changed]
    values = [changed.get(name, f"template.{name}") for name in columns]
    # The text is made of the names above and of the schema's.
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)})"  # noqa: S608
        " WITH RECURSIVE numbers (n) AS"
        " (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last)"
        f" SELECT {', '.join(values)}"
        f" FROM numbers CROSS JOIN {table} AS template"
        f" WHERE template.{key} = :template AND NOT coalesce({unless}, FALSE)",
        span,
    )


def large_database(bench: Bench) -> Path:
    """
    Return a database of 1,000,000 pending and 1,000,000 finished jobs, made once for all.

    Who changes it leaves these numbers roughly as they are. Quick, it has 1/100 of that.
    """
    database = bench.shared.setdefault(LARGE, bench.folder / "large.db")
    half = bench.size(1_000_000, 10_000)
    fill(database, pending=half, finished=half)
    return database
