"""Values for tests: complete defaults, and keyword arguments for what a test is about."""

from datetime import UTC, datetime, timedelta
from typing import Final, TypedDict, Unpack, cast

import msgspec

from queuectl.engine.domain.events import Event, EventKind
from queuectl.engine.domain.models import (
    Attempt,
    Job,
    NewJob,
    OnCrash,
    OutcomeKind,
    WorkerInfo,
    WorkerState,
)
from queuectl.engine.domain.settings import SETTINGS, Settings, SettingValue
from queuectl.engine.domain.spec import JobSpec
from queuectl.engine.domain.states import JobState

# A Saturday; every default below hangs on it.
NOW: Final = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class SpecFields(TypedDict, total=False):
    """What `make_spec` takes."""

    command: str
    id: str | None
    priority: int | None
    max_retries: int | None
    backoff_base: float | None
    timeout: timedelta | None
    on_crash: OnCrash | None
    max_output_bytes: int | None
    run_at: datetime | None
    delay: timedelta | None
    cwd: str | None
    env: dict[str, str] | None
    tags: tuple[str, ...]


class NewJobFields(TypedDict, total=False):
    """What `make_new_job` takes."""

    id: str
    command: str
    priority: int
    max_retries: int
    backoff_base: float | None
    timeout: timedelta | None
    on_crash: OnCrash
    max_output_bytes: int | None
    run_at: datetime
    is_due: bool
    created_at: datetime
    cwd: str
    env: dict[str, str]
    tags: tuple[str, ...]


class JobFields(TypedDict, total=False):
    """What `make_job` takes."""

    seq: int
    id: str
    command: str
    state: JobState
    priority: int
    attempts: int
    run_count: int
    interruptions: int
    crashes: int
    max_retries: int
    backoff_base: float | None
    timeout: timedelta | None
    on_crash: OnCrash
    max_output_bytes: int | None
    run_at: datetime
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration: timedelta | None
    exit_code: int | None
    signal: str | None
    reason: str | None
    cancel_reason: str | None
    stuck: str | None
    tags: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    worker: str | None


class AttemptFields(TypedDict, total=False):
    """What `make_attempt` takes."""

    job_id: str
    number: int
    worker: str
    started_at: datetime
    finished_at: datetime | None
    outcome: OutcomeKind | None
    exit_code: int | None
    signal: str | None
    reason: str | None
    cpu: timedelta | None
    max_rss_bytes: int | None
    output_bytes: int


class WorkerFields(TypedDict, total=False):
    """What `make_worker` takes."""

    id: str
    state: WorkerState
    host: str
    pid: int
    concurrency: int
    busy: int
    started_at: datetime


class EventFields(TypedDict, total=False):
    """What `make_event` takes."""

    seq: int
    at: datetime
    kind: EventKind
    job_id: str
    attempt: int
    reason: str | None


class SettingsFields(TypedDict, total=False):
    """What `make_settings` takes: the config keys, with underscores."""

    max_retries: int
    backoff_base: float
    backoff_max: float
    backoff_jitter: float
    timeout_sec: float
    worker_poll_interval: float
    priority: int
    on_crash: str
    max_output_bytes: int
    event_retention: float


def make_spec(**fields: Unpack[SpecFields]) -> JobSpec:
    """Return a request that says nothing but its command."""
    return msgspec.structs.replace(JobSpec(command="echo hi"), **fields)


def make_new_job(**fields: Unpack[NewJobFields]) -> NewJob:
    """Return a job that is due at once, as `resolve` makes it from the defaults."""
    new_job = NewJob(
        id="job-1",
        command="echo hi",
        priority=100,
        max_retries=3,
        backoff_base=None,
        timeout=timedelta(hours=1),
        on_crash=OnCrash.ADOPT,
        max_output_bytes=2**30,
        run_at=NOW,
        is_due=True,
        created_at=NOW,
        cwd="/home/user",
        env={},
        tags=(),
    )

    return msgspec.structs.replace(new_job, **fields)


def make_job(**fields: Unpack[JobFields]) -> Job:
    """Return a job that was enqueued and has not run."""
    job = Job(
        seq=1,
        id="job-1",
        command="echo hi",
        state=JobState.PENDING,
        priority=100,
        attempts=0,
        run_count=0,
        interruptions=0,
        crashes=0,
        max_retries=3,
        backoff_base=None,
        timeout=timedelta(hours=1),
        on_crash=OnCrash.ADOPT,
        max_output_bytes=2**30,
        run_at=NOW,
        created_at=NOW,
        updated_at=NOW,
        started_at=None,
        finished_at=None,
        duration=None,
        exit_code=None,
        signal=None,
        reason=None,
        cancel_reason=None,
        stuck=None,
        tags=(),
        cwd="/home/user",
        env={},
        worker=None,
    )

    return msgspec.structs.replace(job, **fields)


def make_attempt(**fields: Unpack[AttemptFields]) -> Attempt:
    """Return a first run that took two seconds and completed."""
    attempt = Attempt(
        job_id="job-1",
        number=1,
        worker="w1",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2),
        outcome=OutcomeKind.COMPLETED,
        exit_code=0,
        signal=None,
        reason=None,
        cpu=timedelta(milliseconds=1500),
        max_rss_bytes=4_194_304,
        output_bytes=3,
    )

    return msgspec.structs.replace(attempt, **fields)


def make_worker(**fields: Unpack[WorkerFields]) -> WorkerInfo:
    """Return a worker that lives and has nothing to do."""
    worker = WorkerInfo(
        id="w1",
        state=WorkerState.RUNNING,
        host="localhost",
        pid=4242,
        concurrency=4,
        busy=0,
        started_at=NOW,
    )

    return msgspec.structs.replace(worker, **fields)


def make_event(**fields: Unpack[EventFields]) -> Event:
    """Return the first event of a job."""
    event = Event(seq=1, at=NOW, kind=EventKind.ENQUEUED, job_id="job-1", attempt=0, reason=None)

    return msgspec.structs.replace(event, **fields)


def make_settings(**fields: Unpack[SettingsFields]) -> Settings:
    """Return the default config with some values changed."""
    values: dict[str, SettingValue] = {key: setting.default for key, setting in SETTINGS.items()}
    given = cast("dict[str, SettingValue]", fields)

    return Settings(values=values | {name.replace("_", "-"): given[name] for name in given})
