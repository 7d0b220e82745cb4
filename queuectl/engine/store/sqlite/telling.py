"""What webhooks are to be told, written in the transaction that changes a job."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from queuectl.engine.domain.states import JobState
from queuectl.engine.store.sqlite.rows import job_from_row, to_ms
from queuectl.engine.store.sqlite.statements import SQL, run_for_rows


class Listener(msgspec.Struct, frozen=True, array_like=True):
    """Who wants to be told of some jobs: a webhook that is not disabled."""

    webhook: int
    on: tuple[JobState, ...]
    tags: tuple[str, ...]


class Changed(NamedTuple):
    """A job that has come into a state: its id, the state, its tags, when that was."""

    id: str
    state: JobState
    tags: tuple[str, ...]
    at: datetime


# What ``held_runs`` and ``listeners`` return.
_LISTENERS: Final = msgspec.json.Decoder(tuple[Listener, ...])


def listeners_from(text: str) -> tuple[Listener, ...]:
    """Return who wants to be told, as a query wrote it."""
    return _LISTENERS.decode(text)


def read_listeners(connection: sqlite3.Connection) -> tuple[Listener, ...]:
    """Return who wants to be told."""
    return listeners_from(connection.execute(SQL["listeners"]).fetchone()["listeners"])


def tell(
    connection: sqlite3.Connection,
    listeners: Sequence[Listener],
    changed: Iterable[Changed],
) -> None:
    """
    Write down what is to be told of jobs that have come into a state.

    Args:
        connection: In the transaction that moved the jobs; they are read as they are now.
        listeners: Who wants to be told.
        changed: The jobs, each once.
    """
    if not listeners:
        return

    # Here and below: only a queue with webhooks pays for it.
    from queuectl.engine.domain.webhooks import WATCHED, wants

    wanted = [
        (job, listener)
        for job in changed
        if job.state in WATCHED
        for listener in listeners
        if wants(listener.on, listener.tags, job.state, job.tags)
    ]

    if not wanted:
        return

    bodies = _bodies(connection, {job.id: job.at for job, _ in wanted})
    rows = [(listener.webhook, *bodies[job.id], to_ms(job.at)) for job, listener in wanted]
    run_for_rows(connection, "insert_deliveries", rows)


def _bodies(
    connection: sqlite3.Connection, times: Mapping[str, datetime]
) -> dict[str, tuple[str, str, str]]:
    """Return by id the type of the message, the id, and the message about each of these jobs."""
    from queuectl.engine.domain.webhook_records import job_message
    from queuectl.engine.domain.webhooks import type_of

    ids = msgspec.json.encode(sorted(times)).decode()
    jobs = map(job_from_row, connection.execute(SQL["get_jobs"], {"ids": ids}))
    return {
        job.id: (type_of(job.state), job.id, job_message(job, times[job.id]).decode())
        for job in jobs
    }
