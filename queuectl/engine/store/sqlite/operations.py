"""What is done inside a transaction: plain functions over a driver's connection."""

import functools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

import msgspec

from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.lifecycle import Transition, cancelled_instead
from queuectl.engine.domain.models import Job, NewJob, worker_number
from queuectl.engine.domain.settings import Settings
from queuectl.engine.domain.states import WAITING, JobState
from queuectl.engine.errors import DuplicateJobError, JobNotFoundError, JobStateError
from queuectl.engine.store.base import INLINE_OUTPUT_BYTES, Claim, Purged, RunRecord
from queuectl.engine.store.queries import load_queries
from queuectl.engine.store.sqlite.rows import (
    due_ms,
    from_ms,
    inserted_job,
    job_from_row,
    job_values,
    run_values,
    to_ms,
)

SQL: Final = load_queries(__file__)

# The most rows that one statement is made for; SQLite takes 32,766 values.
_MOST_ROWS: Final = 128

# What ``held_runs`` returns: sequence number, run, why it is to be cancelled.
_HELD: Final = msgspec.json.Decoder(list[tuple[int, int, str | None]])

# How many jobs a purge deletes with one statement.
_PURGE_STEP: Final = 1000


def read_settings(connection: sqlite3.Connection) -> Settings:
    """Return the config."""
    rows = connection.execute(SQL["read_settings"])
    return Settings.from_stored({row["key"]: row["value"] for row in rows})


def insert(
    connection: sqlite3.Connection,
    make: Callable[[Settings], Sequence[NewJob]],
    now: datetime,
) -> list[Job]:
    """Add jobs, all or none."""
    jobs = make(read_settings(connection))

    if not jobs:
        return []

    last = connection.execute(SQL["last_job_seq"]).fetchone()[0]
    seqs = range(last + 1, last + 1 + len(jobs))

    try:
        _run_for_rows(connection, "insert_jobs", map(job_values, jobs, seqs))
    except sqlite3.IntegrityError as error:
        taken = _taken_ids(connection, [job.id for job in jobs], last)

        if not taken:
            raise

        raise DuplicateJobError(taken) from error

    connection.executemany(
        SQL["insert_tag"],
        ({"tag": tag, "job": seq} for seq, job in zip(seqs, jobs, strict=True) for tag in job.tags),
    )
    connection.execute(SQL["count_pending"], {"added": len(jobs)})
    connection.execute(SQL["insert_enqueued"], {"now": to_ms(now), "last": last})
    return list(map(inserted_job, jobs, seqs))


def _taken_ids(connection: sqlite3.Connection, ids: list[str], last: int) -> list[str]:
    """Name every id that existed before, and every one that stands twice."""
    existing = connection.execute(
        SQL["taken_ids"], {"ids": msgspec.json.encode(ids).decode(), "last": last}
    )
    taken = {row["id"] for row in existing}
    return sorted(taken | {job_id for job_id, times in Counter(ids).items() if times > 1})


def insert_claimed(
    connection: sqlite3.Connection,
    make: Callable[[Settings], NewJob],
    worker: int,
    now: datetime,
) -> Job:
    """Add a job and claim it."""
    job = insert(connection, lambda settings: [make(settings)], now)[0]
    parameters = {"worker": worker, "id": job.id, "now": to_ms(now)}
    claimed = job_from_row(connection.execute(SQL["claim_job"], parameters).fetchone())
    _add_event(connection, claimed, EventKind.CLAIMED, now)
    return claimed


def claim(connection: sqlite3.Connection, worker: int, limit: int, now: datetime) -> Claim:
    """Take due jobs, the one to run first in front."""
    moment = to_ms(now)
    connection.execute(SQL["make_ready"], {"now": moment})
    rows = connection.execute(
        SQL["claim_jobs"], {"worker": worker, "now": moment, "limit": limit}
    ).fetchall()

    # RETURNING gives rows in no particular order.
    jobs = sorted(map(job_from_row, rows), key=lambda job: (-job.priority, job.seq))
    _run_for_rows(
        connection, "insert_events", [_event(job, EventKind.CLAIMED, now, None) for job in jobs]
    )
    due = connection.execute(SQL["next_due"]).fetchone()[0]
    return Claim(jobs=jobs, next_due=None if due is None else from_ms(due))


class End(msgspec.Struct, frozen=True):
    """A run that has ended: the job as claimed, where that goes from here, the record, the time."""

    job: Job
    transition: Transition
    run: RunRecord
    now: datetime


def finish(connection: sqlite3.Connection, ends: Sequence[End]) -> list[bool]:
    """Record finished runs and move their jobs on, where the claims are still ours."""
    held = _held(connection, [end.job for end in ends])
    done = [_as_asked(end, held[_run_key(end.job)]) for end in ends if _run_key(end.job) in held]
    values = [_finish_values(end.job, end.transition, end.run, end.now) for end in done]
    _run_for_rows(connection, "finish_jobs", values)
    _record(connection, done)
    return [_run_key(end.job) in held for end in ends]


def _as_asked(end: End, why: str | None) -> End:
    """Return what becomes of a run where the job was to be cancelled meanwhile, if it was."""
    if why is None:
        return end

    return msgspec.structs.replace(end, transition=cancelled_instead(end.transition, why))


def _held(connection: sqlite3.Connection, jobs: Sequence[Job]) -> dict[tuple[int, int], str | None]:
    """Return the claims among these that are still ours; why each is to be cancelled, if it is."""
    rows = _run_for_rows(connection, "held_runs", [tuple(_fence(job).values()) for job in jobs])
    return {(seq, run): why for row in rows for seq, run, why in _HELD.decode(row[0])}


def _record(connection: sqlite3.Connection, ends: Sequence[End]) -> None:
    """Add runs, outputs and events."""
    runs = [run_values(end.job, _fence(end.job)["worker"], end.run) for end in ends]
    _run_for_rows(connection, "insert_runs", runs)
    outputs = [(end.job.seq, end.job.run_count, end.run.output) for end in ends if end.run.output]
    _run_for_rows(connection, "insert_outputs", outputs)
    events = [_event(end.job, end.transition.event, end.now, end.transition.reason) for end in ends]
    _run_for_rows(connection, "insert_events", events)


def _run_for_rows(
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


def _finish_values(
    job: Job, transition: Transition, run: RunRecord, now: datetime
) -> tuple[Any, ...]:
    """Return the parameters of ``finish_jobs``, in their order."""
    is_waiting = transition.state in WAITING
    return (
        transition.state.value,
        int(transition.run_at <= now) if is_waiting else None,
        transition.attempts,
        transition.crashes,
        transition.interruptions,
        due_ms(transition.run_at),
        to_ms(run.started_at),
        to_ms(run.finished_at),
        to_ms(now),
        run.exit_code,
        run.signal,
        transition.reason,
        *_fence(job).values(),
    )


def release(
    connection: sqlite3.Connection, jobs: Iterable[Job], now: datetime, *, interrupted: bool
) -> int:
    """Give back claimed jobs that were not started."""
    released = 0

    for job in jobs:
        fence = _fence(job)
        held = connection.execute(SQL["held_job"], fence).fetchone()

        if held is None:
            continue

        released += 1
        connection.execute(
            SQL["release_job"], {**fence, "now": to_ms(now), "interrupted": interrupted}
        )
        _add_event(connection, job, EventKind.RELEASED, now)

        if held["cancel_reason"] is not None:
            _cancel_waiting(connection, job, held["cancel_reason"], now)

    return released


def adopt(connection: sqlite3.Connection, job: Job, worker: int, now: datetime) -> Job | None:
    """Take a run over from the worker that has it, where that is still so."""
    row = connection.execute(SQL["adopt_job"], {**_fence(job), "adopter": worker}).fetchone()

    if row is None:
        return None

    adopted = job_from_row(row)
    _add_event(connection, adopted, EventKind.ADOPTED, now, f"{adopted.worker} from {job.worker}")
    return adopted


def mark_stuck(connection: sqlite3.Connection, job: Job, words: str, now: datetime) -> bool:
    """Say why a run is neither over nor goes on, where that is news."""
    marked = connection.execute(SQL["mark_stuck"], {**_fence(job), "words": words}).rowcount > 0

    if marked:
        _add_event(connection, job, EventKind.STUCK, now, words)

    return marked


def get_job(connection: sqlite3.Connection, job_id: str) -> Job:
    """Return a job."""
    row = connection.execute(SQL["get_job"], {"id": job_id}).fetchone()

    if row is None:
        raise JobNotFoundError(job_id)

    return job_from_row(row)


def get_jobs(connection: sqlite3.Connection, job_ids: Sequence[str]) -> list[Job]:
    """Return jobs, in the order of the ids."""
    ids = msgspec.json.encode(list(job_ids)).decode()
    found = {
        row["id"]: job_from_row(row) for row in connection.execute(SQL["get_jobs"], {"ids": ids})
    }

    for job_id in job_ids:
        if job_id not in found:
            raise JobNotFoundError(job_id)

    return [found[job_id] for job_id in job_ids]


def cancel(connection: sqlite3.Connection, job_id: str, reason: str | None, now: datetime) -> Job:
    """Cancel a waiting job, or mark a running one."""
    job = get_job(connection, job_id)

    if job.is_finished:
        raise JobStateError(job.id, job.state, "cancel")

    if job.state is JobState.PROCESSING:
        # The first reason stays: the worker may have acted on it already.
        words = job.cancel_reason or reason or "cancelled"
        connection.execute(SQL["cancel_processing"], {"seq": job.seq, "reason": words})
    else:
        _cancel_waiting(connection, job, reason or "cancelled", now)

    return get_job(connection, job_id)


def retry(
    connection: sqlite3.Connection,
    job_ids: Sequence[str],
    allowed: frozenset[JobState],
    now: datetime,
) -> list[Job]:
    """Put jobs back to pending, all or none."""
    for job in get_jobs(connection, list(dict.fromkeys(job_ids))):
        if job.state not in allowed:
            raise JobStateError(job.id, job.state, "retry", hint=_RETRY_HINTS.get(job.state))

        connection.execute(SQL["retry_job"], {"seq": job.seq, "now": to_ms(now)})
        _add_event(connection, job, EventKind.RETRIED, now)

    return get_jobs(connection, job_ids)


_RETRY_HINTS: Final = {
    JobState.PENDING: "it will run when it is due",
    JobState.PROCESSING: "wait for it, or cancel it first",
    JobState.COMPLETED: "a completed job is never run again; enqueue a new one",
    JobState.FAILED: "it will be retried when it is due; to run it at once: queuectl retry ID",
    JobState.CANCELLED: "it is not in the DLQ; to run it after all: queuectl retry ID",
}


def retry_dead(connection: sqlite3.Connection, now: datetime) -> int:
    """Put every dead job back to pending."""
    retried = 0

    while rows := connection.execute(SQL["some_dead"], {"limit": _PURGE_STEP}).fetchall():
        for row in rows:
            connection.execute(SQL["retry_job"], {"seq": row["seq"], "now": to_ms(now)})
            connection.execute(
                SQL["insert_event"],
                (to_ms(now), row["seq"], EventKind.RETRIED.value, row["run_count"], None),
            )

        retried += len(rows)

    return retried


def delete(connection: sqlite3.Connection, job_id: str) -> Purged:
    """Delete a job with its runs and outputs."""
    job = get_job(connection, job_id)

    if job.state is JobState.PROCESSING:
        raise JobStateError(job.id, job.state, "delete", hint="cancel it first")

    return _delete_all(connection, [job.seq])


def purge(connection: sqlite3.Connection, states: Sequence[JobState], until: datetime) -> Purged:
    """Delete the jobs that have been in one of these states long enough."""
    purged = 0
    large_runs: list[tuple[int, int]] = []

    for state in states:
        after = 0
        parameters: dict[str, Any] = {
            "state": state.value,
            "until": to_ms(until),
            "limit": _PURGE_STEP,
        }

        while rows := connection.execute(
            SQL["purgeable"], {**parameters, "after": after}
        ).fetchall():
            part = _delete_all(connection, [row["seq"] for row in rows])
            purged += part.jobs
            large_runs += part.large_runs
            after = rows[-1]["seq"]

    if purged:
        connection.execute(SQL["delete_events_of_deleted"])

    return Purged(jobs=purged, large_runs=large_runs)


def _delete_all(connection: sqlite3.Connection, seqs: list[int]) -> Purged:
    rows = connection.execute(
        SQL["large_runs"],
        {"jobs": msgspec.json.encode(seqs).decode(), "inline": INLINE_OUTPUT_BYTES},
    )
    large_runs = [(row["job"], row["number"]) for row in rows]
    connection.executemany(SQL["delete_job"], [{"seq": seq} for seq in seqs])
    return Purged(jobs=len(seqs), large_runs=large_runs)


def _cancel_waiting(connection: sqlite3.Connection, job: Job, reason: str, now: datetime) -> None:
    connection.execute(SQL["cancel_waiting"], {"seq": job.seq, "reason": reason, "now": to_ms(now)})
    _add_event(connection, job, EventKind.CANCELLED, now, reason)


def _add_event(
    connection: sqlite3.Connection,
    job: Job,
    kind: EventKind,
    now: datetime,
    reason: str | None = None,
) -> None:
    connection.execute(SQL["insert_event"], _event(job, kind, now, reason))


def _event(job: Job, kind: EventKind, now: datetime, reason: str | None) -> tuple[Any, ...]:
    """Return the parameters of ``insert_event``, in their order."""
    return to_ms(now), job.seq, kind.value, job.run_count, reason


def _run_key(job: Job) -> tuple[int, int]:
    return job.seq, job.run_count


def _fence(job: Job) -> dict[str, int]:
    """Return what a claim is known by: the job, the run, the worker."""
    worker = 0 if job.worker is None else worker_number(job.worker)
    return {"seq": job.seq, "run": job.run_count, "worker": worker}
