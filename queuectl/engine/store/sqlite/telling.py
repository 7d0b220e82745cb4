"""What webhooks are to be told, written in the transaction that changes a job."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from queuectl.engine.domain.states import JobState
from queuectl.engine.store.sqlite.rows import job_from_row, to_ms
from queuectl.engine.store.sqlite.statements import SQL, run_for_rows


class Listener(msgspec.Struct, frozen=True, array_like=True):
    """Who wants to be told of some jobs: a webhook that is not disabled."""

    webhook: int
    on: tuple[JobState, ...]
    tags: tuple[str, ...]


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
    changed: Iterable[tuple[str, JobState, tuple[str, ...]]],
    now: datetime,
) -> None:
    """
    Write down what is to be told of jobs that have come into a state.

    Args:
        connection: In the transaction that moved the jobs; they are read as they are now.
        listeners: Who wants to be told.
        changed: The ids of the jobs, their new states, their tags.
        now: When.
    """
    if not listeners:
        return

    # Here and below: only a queue with webhooks pays for it.
    from queuectl.engine.domain.webhooks import WATCHED, wants

    wanted = [
        (job_id, listener)
        for job_id, state, tags in changed
        if state in WATCHED
        for listener in listeners
        if wants(listener.on, listener.tags, state, tags)
    ]

    if not wanted:
        return

    bodies = _bodies(connection, {job_id for job_id, _ in wanted}, now)
    rows = [(listener.webhook, *bodies[job_id], to_ms(now)) for job_id, listener in wanted]
    run_for_rows(connection, "insert_deliveries", rows)


def _bodies(
    connection: sqlite3.Connection, job_ids: Iterable[str], now: datetime
) -> dict[str, tuple[str, str, str]]:
    """Return by id the type of the message, the id, and the message about each of these jobs."""
    from queuectl.engine.domain.webhook_records import job_message
    from queuectl.engine.domain.webhooks import type_of

    ids = msgspec.json.encode(sorted(job_ids)).decode()
    jobs = map(job_from_row, connection.execute(SQL["get_jobs"], {"ids": ids}))
    return {job.id: (type_of(job.state), job.id, job_message(job, now).decode()) for job in jobs}
