"""What is done by hand inside a transaction: cancel, retry, run now, delete, purge."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from queuectl.engine.domain.activity import RETRIED
from queuectl.engine.domain.durations import format_time
from queuectl.engine.domain.models import Job, RunKey
from queuectl.engine.domain.states import WAITING, JobState
from queuectl.engine.errors import JobStateError
from queuectl.engine.store.base import INLINE_OUTPUT_BYTES, Purged, Retried
from queuectl.engine.store.sqlite.counting import count_some
from queuectl.engine.store.sqlite.operations import cancel_waiting, get_job, get_jobs
from queuectl.engine.store.sqlite.rows import to_ms
from queuectl.engine.store.sqlite.statements import SQL

# How many jobs one transaction deletes or puts back at the most: a few hundredths of a
# second, in which no other program can write.
STEP: Final = 1000


def cancel(
    connection: sqlite3.Connection,
    job_id: str,
    reason: str | None,
    now: datetime,
    seq: int | None,
) -> Job:
    """Cancel a waiting job, or mark a running one."""
    job = get_job(connection, job_id)
    _check_same(job, seq, "cancel")

    if job.is_finished:
        raise JobStateError(job.id, job.state, "cancel")

    if job.state is JobState.PROCESSING:
        # The first reason stays: the worker may have acted on it already.
        words = job.cancel_reason or reason or "cancelled"
        connection.execute(SQL["cancel_processing"], {"seq": job.seq, "reason": words})
    else:
        cancel_waiting(connection, job, reason or "cancelled", now)

    return get_job(connection, job_id)


def retry(
    connection: sqlite3.Connection,
    job_ids: Sequence[str],
    allowed: frozenset[JobState],
    now: datetime,
    seqs: Mapping[str, int] | None = None,
) -> list[Job]:
    """Put jobs back to pending, all or none."""
    jobs = get_jobs(connection, list(dict.fromkeys(job_ids)))

    for job in jobs:
        _check_same(job, (seqs or {}).get(job.id), "retry")

        if job.state not in allowed:
            raise JobStateError(job.id, job.state, "retry", hint=_RETRY_HINTS.get(job.state))

    _put_back(connection, [job.seq for job in jobs], now)
    return get_jobs(connection, job_ids)


def _put_back(connection: sqlite3.Connection, seqs: Sequence[int], now: datetime) -> None:
    """Put jobs back to pending that may be, and write that down in this order."""
    values = {"jobs": msgspec.json.encode(seqs).decode(), "now": to_ms(now)}
    connection.execute(SQL["retry_jobs"], values)
    connection.execute(SQL["insert_retried"], values)
    count_some(connection, RETRIED, len(seqs), now)


_RETRY_HINTS: Final = {
    JobState.PENDING: "it will run when it is due",
    JobState.PROCESSING: "wait for it, or cancel it first",
    JobState.COMPLETED: "a completed job is never run again; enqueue a new one",
    JobState.FAILED: "it will be retried when it is due; to run it at once: queuectl retry ID",
    JobState.CANCELLED: "it is not in the DLQ; to run it after all: queuectl retry ID",
}


def retry_dead(
    connection: sqlite3.Connection,
    now: datetime,
    reason: str | None,
    until: datetime | None,
    after: int,
) -> Retried:
    """Put some of the dead jobs back to pending: of all, or of those of a reason or a time."""
    rows = _dead(connection, reason, until, after)
    _put_back(connection, [row["seq"] for row in rows], now)
    return Retried(jobs=len(rows), after=_last(rows))


def run_now(
    connection: sqlite3.Connection,
    job_ids: Sequence[str],
    now: datetime,
    seqs: Mapping[str, int] | None = None,
) -> list[Job]:
    """Let jobs that wait for a time to come run as soon as a worker is free, all or none."""
    jobs = get_jobs(connection, list(dict.fromkeys(job_ids)))

    for job in jobs:
        _check_same(job, (seqs or {}).get(job.id), "run")

        if job.state not in WAITING or job.run_at <= now:
            raise JobStateError(job.id, job.state, "run", hint=_RUN_NOW_HINTS[job.state])

    wanted = msgspec.json.encode([job.seq for job in jobs]).decode()
    connection.execute(SQL["run_jobs_now"], {"jobs": wanted, "now": to_ms(now)})
    return get_jobs(connection, job_ids)


_DUE: Final = "it is due already, and runs as soon as a worker is free"
_RUN_NOW_HINTS: Final = {
    JobState.PENDING: _DUE,
    JobState.FAILED: _DUE,
    JobState.PROCESSING: "it runs already",
    JobState.COMPLETED: "a completed job is never run again; enqueue a new one",
    JobState.DEAD: "to run it again: queuectl retry ID",
    JobState.CANCELLED: "to run it after all: queuectl retry ID",
}


def _check_same(job: Job, seq: int | None, action: str) -> None:
    """Refuse a job that has another number than was seen with its id; None for any."""
    if seq not in {None, job.seq}:
        hint = "another job has been enqueued anew under this id since: look at it again"
        raise JobStateError(job.id, job.state, action, hint=hint)


def delete(
    connection: sqlite3.Connection, job_id: str, updated_at: datetime | None, seq: int | None
) -> Purged:
    """Delete a job with its runs and outputs; what happened to it stays."""
    job = get_job(connection, job_id)
    _check_same(job, seq, "delete")

    if job.state is JobState.PROCESSING:
        raise JobStateError(job.id, job.state, "delete", hint="cancel it first")

    # Not by which is later: a clock may have been ahead, and was set right.
    if updated_at is not None and job.updated_at != updated_at:
        hint = f"it has changed since {format_time(updated_at)}: look at it again"
        raise JobStateError(job.id, job.state, "delete", hint=hint)

    return _delete_all(connection, [job.seq])


def purge(
    connection: sqlite3.Connection, states: Sequence[JobState], until: datetime, after: int
) -> Purged:
    """Delete some of the jobs that have been in one of these states long enough."""
    values = {
        "states": msgspec.json.encode(states).decode(),
        "until": to_ms(until),
        "after": after,
        "limit": STEP,
    }
    return _delete_some(connection, connection.execute(SQL["purgeable"], values).fetchall())


def purge_dead(
    connection: sqlite3.Connection, reason: str | None, until: datetime | None, after: int
) -> Purged:
    """Delete some of the dead jobs: of all, or of those of a reason or a time."""
    return _delete_some(connection, _dead(connection, reason, until, after))


def _dead(
    connection: sqlite3.Connection, reason: str | None, until: datetime | None, after: int
) -> list[sqlite3.Row]:
    """Return the next dead jobs, of all or of those of a reason or a time."""
    values = {
        "reason": reason,
        "until": None if until is None else to_ms(until),
        "after": after,
        "limit": STEP,
    }
    return connection.execute(SQL["some_dead"], values).fetchall()


def _last(rows: Sequence[sqlite3.Row]) -> int | None:
    """Return behind which job the next step goes on, None where this one was the last."""
    return int(rows[-1]["seq"]) if len(rows) == STEP else None


def _delete_some(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> Purged:
    purged = _delete_all(connection, [row["seq"] for row in rows])
    return msgspec.structs.replace(purged, after=_last(rows))


def _delete_all(connection: sqlite3.Connection, seqs: list[int]) -> Purged:
    rows = connection.execute(
        SQL["large_runs"],
        {"jobs": msgspec.json.encode(seqs).decode(), "inline": INLINE_OUTPUT_BYTES},
    )
    large_runs = [RunKey(row["job"], row["number"]) for row in rows]
    connection.executemany(SQL["delete_job"], [{"seq": seq} for seq in seqs])
    return Purged(jobs=len(seqs), large_runs=large_runs)
