"""Values to rows and back: milliseconds, JSON text, worker names."""

import functools
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from queuectl.engine.domain.events import Event, EventKind
from queuectl.engine.domain.looks import Cause
from queuectl.engine.domain.models import (
    Attempt,
    Job,
    NewJob,
    OnCrash,
    OutcomeKind,
    StopOrder,
    worker_name,
)
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import RunRecord, WorkerRow

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
# To ask an enumeration for what it holds takes as long as three other values of a job.
_PENDING: Final = JobState.PENDING.value
_ADOPT: Final = OnCrash.ADOPT.value
_TAGS: Final = msgspec.json.Decoder(tuple[str, ...])
_ENV: Final = msgspec.json.Decoder(dict[str, str])


def to_ms(moment: datetime) -> int:
    """Return milliseconds since 1970 UTC, rounded down."""
    return (moment - _EPOCH) // _MILLISECOND


def due_ms(moment: datetime) -> int:
    """Return milliseconds since 1970 UTC, rounded up: what is due is never early."""
    return -((_EPOCH - moment) // _MILLISECOND)


def from_ms(milliseconds: int) -> datetime:
    """Return the time in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def job_values(job: NewJob, seq: int) -> tuple[Any, ...]:
    """Return the parameters of ``insert_jobs``, in their order."""
    created_at = to_ms(job.created_at)

    return (
        seq,
        job.id,
        job.command,
        _PENDING,
        job.priority,
        0,
        0,
        job.max_retries,
        job.backoff_base,
        _timeout_ms(job.timeout),
        _ADOPT if job.on_crash is OnCrash.ADOPT else job.on_crash.value,
        job.max_output_bytes,
        created_at if job.run_at is job.created_at else due_ms(job.run_at),
        int(job.is_due),
        created_at,
        created_at,
        msgspec.json.encode(job.tags).decode() if job.tags else None,
        job.cwd,
        msgspec.json.encode(job.env).decode() if job.env else None,
        # With the others of its batch.
        1,
    )


def inserted_job(job: NewJob, seq: int) -> Job:
    """Return the job that ``insert_jobs`` made, as a reader will see it."""
    created_at = _as_kept(job.created_at)
    run_at = created_at if job.run_at is job.created_at else from_ms(due_ms(job.run_at))

    return Job(
        seq=seq,
        id=job.id,
        command=job.command,
        state=JobState.PENDING,
        priority=job.priority,
        max_retries=job.max_retries,
        backoff_base=job.backoff_base,
        timeout=_milliseconds(_timeout_ms(job.timeout)),
        on_crash=job.on_crash,
        max_output_bytes=job.max_output_bytes,
        run_at=run_at,
        created_at=created_at,
        updated_at=created_at,
        tags=job.tags,
        cwd=job.cwd,
        env=job.env,
    )


def job_from_row(found: sqlite3.Row) -> Job:
    """Return the job that a row of ``jobs`` holds."""
    # A row looks through all its names for each; and this one has 27.
    row = dict(zip(found.keys(), found, strict=True))
    started_at, finished_at = _time(row["started_at"]), _time(row["finished_at"])
    is_over = started_at is not None and finished_at is not None

    return Job(
        seq=row["seq"],
        id=row["id"],
        command=row["command"],
        state=JobState(row["state"]),
        priority=row["priority"],
        attempts=row["attempts"],
        run_count=row["run_count"],
        interruptions=row["interruptions"],
        crashes=row["crashes"],
        max_retries=row["max_retries"],
        backoff_base=row["backoff_base"],
        timeout=_milliseconds(row["timeout_ms"]),
        on_crash=OnCrash(row["on_crash"]),
        max_output_bytes=row["max_output_bytes"],
        run_at=from_ms(row["run_at"]),
        created_at=from_ms(row["created_at"]),
        updated_at=from_ms(row["updated_at"]),
        started_at=started_at,
        finished_at=finished_at,
        duration=_milliseconds(row["finished_at"] - row["started_at"]) if is_over else None,
        exit_code=row["exit_code"],
        signal=row["signal"],
        reason=row["reason"],
        cancel_reason=row["cancel_reason"],
        stuck=row["stuck"],
        tags=_TAGS.decode(row["tags"]) if row["tags"] else (),
        cwd=row["cwd"],
        env=_ENV.decode(row["env"]) if row["env"] else {},
        worker=None if row["worker"] is None else worker_name(row["worker"]),
    )


def run_values(job: Job, worker: int, run: RunRecord) -> tuple[Any, ...]:
    """Return the parameters of ``insert_runs``, in their order."""
    return (
        job.seq,
        job.run_count,
        worker,
        to_ms(run.started_at),
        to_ms(run.finished_at),
        run.outcome.value,
        run.exit_code,
        run.signal,
        run.reason,
        None if run.cpu is None else run.cpu // _MILLISECOND,
        None if run.max_rss_bytes is None else run.max_rss_bytes // 1024,
        run.output_bytes,
        waited_ms(job, run),
    )


def waited_ms(job: Job, run: RunRecord) -> int:
    """Return for how many milliseconds a run was due before it began."""
    # A job may be given a time that was over when it was enqueued.
    due = max(to_ms(job.run_at), to_ms(job.created_at))
    return max(to_ms(run.started_at) - due, 0)


def attempt_from_row(row: sqlite3.Row) -> Attempt:
    """Return the attempt that a row of ``runs`` with its ``job_id`` holds."""
    max_rss_kib = row["max_rss_kib"]

    return Attempt(
        job_id=row["job_id"],
        number=row["number"],
        worker=worker_name(row["worker"]),
        started_at=from_ms(row["started_at"]),
        finished_at=from_ms(row["finished_at"]),
        outcome=OutcomeKind(row["outcome"]),
        exit_code=row["exit_code"],
        signal=row["signal"],
        reason=row["reason"],
        cpu=_milliseconds(row["cpu_ms"]),
        max_rss_bytes=None if max_rss_kib is None else max_rss_kib * 1024,
        output_bytes=row["output_bytes"],
    )


def worker_from_row(row: sqlite3.Row) -> WorkerRow:
    """Return the worker that a row of ``list_workers`` holds."""
    return WorkerRow(
        number=row["id"],
        token=row["token"],
        host=row["host"],
        pid=row["pid"],
        boot_id=row["boot_id"],
        pid_namespace=row["pid_namespace"],
        lock_file=row["lock_file"],
        pipe=row["pipe"],
        can_restart=bool(row["can_restart"]),
        concurrency=row["concurrency"],
        started_at=from_ms(row["started_at"]),
        stop=stop_from_row(row),
        restart=bool(row["restart"]),
        busy=row["busy"],
    )


def stop_from_row(row: sqlite3.Row) -> StopOrder | None:
    """Return how the worker of a row was asked to stop, None where it was not."""
    return None if row["stop"] is None else StopOrder(row["stop"])


def cause_from_row(row: sqlite3.Row) -> Cause:
    """Return the cause that a row of ``causes`` holds."""
    return Cause(reason=row["cause"], count=row["jobs"], latest=from_ms(row["latest"]))


def event_from_row(row: sqlite3.Row) -> Event:
    """Return the event that a row of ``list_events`` holds."""
    return Event(
        seq=row["seq"],
        at=from_ms(row["at"]),
        kind=EventKind(row["kind"]),
        job_id=row["job_id"],
        attempt=row["run"],
        reason=row["reason"],
    )


def _as_kept(moment: datetime) -> datetime:
    """Return a time as it comes back from the database."""
    return moment if moment.microsecond % 1000 == 0 else from_ms(to_ms(moment))


@functools.lru_cache(maxsize=1024)
def _timeout_ms(timeout: timedelta | None) -> int | None:
    """Round up: a timeout below a millisecond is still one."""
    return None if timeout is None else max(1, -(-timeout // _MILLISECOND))


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_ms(milliseconds)


@functools.lru_cache(maxsize=1024)
def _milliseconds(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(milliseconds=value)
