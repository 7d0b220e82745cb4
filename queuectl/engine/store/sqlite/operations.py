"""What is done to jobs inside a transaction: plain functions over a driver's connection."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from queuectl.engine.domain.activity import DIED, ENQUEUED, RESCHEDULED, WAIT
from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.lifecycle import Transition, cancelled_instead
from queuectl.engine.domain.models import Job, NewJob, RunKey
from queuectl.engine.domain.settings import Settings
from queuectl.engine.domain.states import WAITING, JobState
from queuectl.engine.errors import DuplicateJobError, JobNotFoundError
from queuectl.engine.store.base import Claim, RunRecord
from queuectl.engine.store.sqlite.counting import Happening, count_all, count_some
from queuectl.engine.store.sqlite.rows import (
    due_ms,
    from_ms,
    inserted_job,
    job_from_row,
    job_values,
    run_values,
    to_ms,
    waited_ms,
)
from queuectl.engine.store.sqlite.statements import (
    SQL,
    add_event,
    event_values,
    fence_values,
    run_for_rows,
)
from queuectl.engine.store.sqlite.telling import (
    Changed,
    Listener,
    listeners_from,
    read_listeners,
    tell,
)

# What ``held_runs`` returns of jobs: sequence number, run, why it is to be cancelled.
_HELD: Final = msgspec.json.Decoder(list[tuple[int, int, str | None]])


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
        run_for_rows(connection, "insert_jobs", map(job_values, jobs, seqs))
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
    count_some(connection, ENQUEUED, len(jobs), now)
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
    add_event(connection, claimed, EventKind.CLAIMED, now)
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
    run_for_rows(
        connection,
        "insert_events",
        [event_values(job, EventKind.CLAIMED, now, None) for job in jobs],
    )
    due = connection.execute(SQL["next_due"]).fetchone()[0]
    return Claim(jobs=jobs, next_due=None if due is None else from_ms(due))


class End(msgspec.Struct, frozen=True):
    """A run that has ended: the job as claimed, where that goes from here, the record, the time."""

    job: Job
    transition: Transition
    run: RunRecord
    now: datetime


def finish(connection: sqlite3.Connection, ends: Sequence[End]) -> list[Transition | None]:
    """Record finished runs and make the moves of their jobs, where the claims are still ours."""
    held, listeners = _held(connection, [end.job for end in ends])
    asked = [
        _as_asked(end, held[end.job.run_key]) if end.job.run_key in held else None for end in ends
    ]
    done = [end for end in asked if end is not None]
    values = [_finish_values(end.job, end.transition, end.run, end.now) for end in done]
    run_for_rows(connection, "finish_jobs", values)
    _record(connection, done)
    count_all(connection, (happening for end in done for happening in _happenings(end)))

    if listeners and done:
        tell(
            connection,
            listeners,
            [Changed(end.job.id, end.transition.state, end.job.tags, end.now) for end in done],
        )

    return [None if end is None else end.transition for end in asked]


def _as_asked(end: End, why: str | None) -> End:
    """Return what becomes of a run where the job was to be cancelled meanwhile, if it was."""
    if why is None:
        return end

    return msgspec.structs.replace(end, transition=cancelled_instead(end.transition, why))


def _held(
    connection: sqlite3.Connection, jobs: Sequence[Job]
) -> tuple[dict[RunKey, str | None], tuple[Listener, ...]]:
    """Return the claims that are still ours, why each is to be cancelled; and who is to be told."""
    rows = run_for_rows(
        connection, "held_runs", [tuple(fence_values(job).values()) for job in jobs]
    )
    held = {RunKey(seq, run): why for row in rows for seq, run, why in _HELD.decode(row["held"])}
    return held, listeners_from(rows[-1]["listeners"]) if rows else ()


def _record(connection: sqlite3.Connection, ends: Sequence[End]) -> None:
    """Add runs, outputs and events."""
    runs = [run_values(end.job, fence_values(end.job)["worker"], end.run) for end in ends]
    run_for_rows(connection, "insert_runs", runs)
    outputs = [(end.job.seq, end.job.run_count, end.run.output) for end in ends if end.run.output]
    run_for_rows(connection, "insert_outputs", outputs)
    events = [
        event_values(end.job, end.transition.event, end.now, end.transition.reason) for end in ends
    ]
    run_for_rows(connection, "insert_events", events)


def _happenings(end: End) -> Iterator[Happening]:
    """Tell what is to be counted of a run that has ended."""
    at, started_at = to_ms(end.now), to_ms(end.run.started_at)
    yield Happening(at, end.run.outcome.value, to_ms(end.run.finished_at) - started_at)
    yield Happening(at, WAIT, waited_ms(end.job, end.run))

    if end.transition.event is EventKind.DIED:
        yield Happening(at, DIED, None)
    elif end.transition.event is EventKind.FAILED:
        yield Happening(at, RESCHEDULED, None)


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
        *fence_values(job).values(),
    )


def release(
    connection: sqlite3.Connection,
    jobs: Iterable[Job],
    now: datetime,
    *,
    interrupted: bool,
    cancel_for: str | None,
) -> int:
    """Give back claimed jobs that were not started, or cancel them for a reason."""
    released = 0

    for job in jobs:
        fence = fence_values(job)
        held = connection.execute(SQL["held_job"], fence).fetchone()

        if held is None:
            continue

        released += 1
        connection.execute(
            SQL["release_job"], {**fence, "now": to_ms(now), "interrupted": interrupted}
        )
        add_event(connection, job, EventKind.RELEASED, now)

        reason = cancel_for if held["cancel_reason"] is None else held["cancel_reason"]

        if reason is not None:
            cancel_waiting(connection, job, reason, now)

    return released


def cancel_waiting(connection: sqlite3.Connection, job: Job, reason: str, now: datetime) -> None:
    """Cancel a job that waits."""
    connection.execute(SQL["cancel_waiting"], {"seq": job.seq, "reason": reason, "now": to_ms(now)})
    add_event(connection, job, EventKind.CANCELLED, now, reason)
    changed = [Changed(job.id, JobState.CANCELLED, job.tags, now)]
    tell(connection, read_listeners(connection), changed)


def adopt(connection: sqlite3.Connection, job: Job, worker: int, now: datetime) -> Job | None:
    """Take a run over from the worker that has it, where that is still so."""
    row = connection.execute(SQL["adopt_job"], {**fence_values(job), "adopter": worker}).fetchone()

    if row is None:
        return None

    adopted = job_from_row(row)
    add_event(connection, adopted, EventKind.ADOPTED, now, f"{adopted.worker} from {job.worker}")
    return adopted


def mark_stuck(connection: sqlite3.Connection, job: Job, words: str, now: datetime) -> bool:
    """Say why a run is neither over nor goes on, where that is news."""
    marked = (
        connection.execute(SQL["mark_stuck"], {**fence_values(job), "words": words}).rowcount > 0
    )

    if marked:
        add_event(connection, job, EventKind.STUCK, now, words)

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
