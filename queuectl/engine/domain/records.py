"""The JSON form of every value; keys are only ever added."""

from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from queuectl.engine.domain.activity import PERIODS, Activity, Spread
from queuectl.engine.domain.durations import format_time
from queuectl.engine.domain.events import Event
from queuectl.engine.domain.findings import Finding
from queuectl.engine.domain.looks import Cause, DatabaseInfo
from queuectl.engine.domain.models import Attempt, Job, WorkerInfo
from queuectl.engine.domain.states import JobState
from queuectl.engine.domain.stats import QueueStats

_Time = Annotated[str, msgspec.Meta(description="RFC 3339, UTC")]
_Seconds = Annotated[float, msgspec.Meta(description="seconds")]


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job. `env_names` are the names of the variables it adds; the values stay inside."""

    id: str
    command: str
    state: JobState
    priority: int
    attempts: int
    max_retries: int
    timeout_sec: _Seconds | None
    run_at: _Time
    created_at: _Time
    updated_at: _Time
    started_at: _Time | None
    finished_at: _Time | None
    duration_sec: _Seconds | None
    exit_code: int | None
    signal: str | None
    reason: str | None
    tags: tuple[str, ...]
    cwd: str
    worker: str | None
    run_count: int
    backoff_base: float | None
    cancel_reason: str | None
    env_names: list[str]
    interruptions: int
    crashes: int
    on_crash: str
    max_output_bytes: int | None
    stuck: str | None


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job. What could not be measured is null."""

    attempt: int
    worker: str
    started_at: _Time
    finished_at: _Time | None
    duration_sec: _Seconds | None
    outcome: str | None
    exit_code: int | None
    signal: str | None
    reason: str | None
    cpu_sec: _Seconds | None
    max_rss_bytes: int | None
    output_bytes: int


class JobDetailRecord(JobRecord, frozen=True, kw_only=True):
    """A job with its attempts, the first one first."""

    runs: list[AttemptRecord]


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A worker."""

    id: str
    state: str
    host: str
    pid: int
    concurrency: int
    busy: int
    started_at: _Time


class SpreadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took: half of the times were at most `p50`, and so on."""

    count: int
    p50: _Seconds
    p95: _Seconds
    p99: _Seconds


class ActivityRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in the last minute, hour or day. `ended` and `per_second` are of all runs."""

    period_sec: _Seconds
    enqueued: int
    ended: int
    completed: int
    failed: int
    died: int
    per_second: float
    runs: dict[str, int]
    wait_sec: SpreadRecord | None
    duration_sec: SpreadRecord | None


class StatusRecord(msgspec.Struct, frozen=True, kw_only=True):
    """
    The queue at a glance.

    `dlq` is the number of dead jobs; `activity` is of the last `minute`, `hour` and `day`.
    """

    counts: dict[str, int]
    dlq: int
    avg_duration_sec: _Seconds | None
    oldest_pending_sec: _Seconds | None
    workers: list[WorkerRecord]
    activity: dict[str, ActivityRecord]


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a job's state."""

    seq: int
    at: _Time
    kind: str
    job_id: str
    state: str
    attempt: int
    reason: str | None


class CauseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Why some jobs are in the dead letter queue."""

    reason: str
    count: int
    latest: _Time


class DatabaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How large the database is, and what it is made with."""

    path: str
    size_bytes: int
    wal_bytes: int
    free_bytes: int
    outputs_bytes: int
    schema_version: int
    sqlite_version: str
    events: int
    oldest_event: _Time | None


class FindingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    check: str
    verdict: str
    words: str
    advice: str | None


def job_record(job: Job) -> JobRecord:
    """Return the JSON form of a job."""
    return JobRecord(
        id=job.id,
        command=job.command,
        state=job.state,
        priority=job.priority,
        attempts=job.attempts,
        max_retries=job.max_retries,
        timeout_sec=_seconds(job.timeout),
        run_at=format_time(job.run_at),
        created_at=format_time(job.created_at),
        updated_at=format_time(job.updated_at),
        started_at=_time(job.started_at),
        finished_at=_time(job.finished_at),
        duration_sec=_seconds(job.duration),
        exit_code=job.exit_code,
        signal=job.signal,
        reason=job.reason,
        tags=job.tags,
        cwd=job.cwd,
        worker=job.worker,
        run_count=job.run_count,
        backoff_base=job.backoff_base,
        cancel_reason=job.cancel_reason,
        env_names=sorted(job.env),
        interruptions=job.interruptions,
        crashes=job.crashes,
        on_crash=job.on_crash,
        max_output_bytes=job.max_output_bytes,
        stuck=job.stuck,
    )


def job_detail_record(job: Job, attempts: list[Attempt]) -> JobDetailRecord:
    """Return the JSON form of a job with its attempts."""
    fields = msgspec.structs.asdict(job_record(job))
    return JobDetailRecord(**fields, runs=[attempt_record(attempt) for attempt in attempts])


def attempt_record(attempt: Attempt) -> AttemptRecord:
    """Return the JSON form of an attempt."""
    return AttemptRecord(
        attempt=attempt.number,
        worker=attempt.worker,
        started_at=format_time(attempt.started_at),
        finished_at=_time(attempt.finished_at),
        duration_sec=_seconds(attempt.duration),
        outcome=attempt.outcome,
        exit_code=attempt.exit_code,
        signal=attempt.signal,
        reason=attempt.reason,
        cpu_sec=_seconds(attempt.cpu),
        max_rss_bytes=attempt.max_rss_bytes,
        output_bytes=attempt.output_bytes,
    )


def worker_record(worker: WorkerInfo) -> WorkerRecord:
    """Return the JSON form of a worker."""
    return WorkerRecord(
        id=worker.id,
        state=worker.state,
        host=worker.host,
        pid=worker.pid,
        concurrency=worker.concurrency,
        busy=worker.busy,
        started_at=format_time(worker.started_at),
    )


def status_record(stats: QueueStats) -> StatusRecord:
    """Return the JSON form of the statistics."""
    return StatusRecord(
        counts={state.value: count for state, count in stats.counts.items()},
        dlq=stats.counts[JobState.DEAD],
        avg_duration_sec=_seconds(stats.avg_duration),
        oldest_pending_sec=_seconds(stats.oldest_pending),
        workers=[worker_record(worker) for worker in stats.workers],
        activity={
            name: _activity_record(activity)
            for name, period in PERIODS.items()
            for activity in stats.activity
            if activity.period == period
        },
    )


def event_record(event: Event) -> EventRecord:
    """Return the JSON form of an event."""
    return EventRecord(
        seq=event.seq,
        at=format_time(event.at),
        kind=event.kind,
        job_id=event.job_id,
        state=event.state,
        attempt=event.attempt,
        reason=event.reason,
    )


def cause_record(cause: Cause) -> CauseRecord:
    """Return the JSON form of a cause."""
    return CauseRecord(reason=cause.reason, count=cause.count, latest=format_time(cause.latest))


def database_record(info: DatabaseInfo) -> DatabaseRecord:
    """Return the JSON form of what a database is like."""
    return DatabaseRecord(
        path=info.path,
        size_bytes=info.size_bytes,
        wal_bytes=info.wal_bytes,
        free_bytes=info.free_bytes,
        outputs_bytes=info.outputs_bytes,
        schema_version=info.schema_version,
        sqlite_version=info.sqlite_version,
        events=info.events,
        oldest_event=_time(info.oldest_event),
    )


def finding_record(finding: Finding) -> FindingRecord:
    """Return the JSON form of a finding."""
    return FindingRecord(
        check=finding.check,
        verdict=finding.verdict,
        words=finding.words,
        advice=finding.advice,
    )


def _activity_record(activity: Activity) -> ActivityRecord:
    return ActivityRecord(
        period_sec=activity.period.total_seconds(),
        enqueued=activity.enqueued,
        ended=activity.ended,
        completed=activity.completed,
        failed=activity.failed,
        died=activity.died,
        per_second=round(activity.per_second, 6),
        runs={kind.value: count for kind, count in activity.runs.items()},
        wait_sec=_spread_record(activity.wait),
        duration_sec=_spread_record(activity.duration),
    )


def _spread_record(spread: Spread | None) -> SpreadRecord | None:
    if spread is None:
        return None

    return SpreadRecord(
        count=spread.count,
        p50=round(spread.p50.total_seconds(), 3),
        p95=round(spread.p95.total_seconds(), 3),
        p99=round(spread.p99.total_seconds(), 3),
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else round(duration.total_seconds(), 3)
