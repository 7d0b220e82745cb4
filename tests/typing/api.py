"""
The whole public API with the types that a user's checker sees; never run.

mypy checks it as it checks all tests: what does not hold here does not hold for users.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import assert_type

from queuectl import (
    BOUNDS,
    SETTINGS,
    TERMINAL,
    Activity,
    ActivityRecord,
    Attempt,
    AttemptRecord,
    Cause,
    CheckReport,
    Classes,
    Config,
    ConfigError,
    DatabaseInfo,
    DeadLetterQueue,
    DuplicateJobError,
    EngineClosedError,
    Event,
    EventKind,
    EventRecord,
    EventsPrunedError,
    Finding,
    FindingRecord,
    InvalidInputError,
    InvalidJobError,
    InvalidValueError,
    Job,
    JobDetailRecord,
    JobInput,
    JobNotFoundError,
    JobPage,
    JobRecord,
    JobSpec,
    JobState,
    JobStateError,
    LeftoverProcessError,
    OnCrash,
    OutcomeKind,
    OutputMissingError,
    Point,
    QueueCtlError,
    QueueEngine,
    QueueStats,
    RunNotFoundError,
    SchemaVersionError,
    Setting,
    Spread,
    SpreadRecord,
    StatusRecord,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreReplacedError,
    Totals,
    Verdict,
    WaitTimeoutError,
    WorkerInfo,
    WorkerNotFoundError,
    WorkerRecord,
    WorkerState,
    WorkerStateError,
    __version__,
    attempt_record,
    default_database,
    diagnose,
    escape_json,
    escape_line,
    escape_text,
    event_record,
    finding_record,
    format_duration,
    format_time,
    job_detail_record,
    job_record,
    parse_duration,
    parse_job,
    parse_jobs,
    parse_size,
    parse_time,
    status_record,
    worker_record,
)


async def adds_jobs(engine: QueueEngine, now: datetime) -> None:
    assert_type(await engine.enqueue("true"), Job)
    assert_type(
        await engine.enqueue(
            "true",
            id="job",
            priority=200,
            max_retries=0,
            backoff_base=1.5,
            timeout=timedelta(minutes=1),
            run_at=now,
            cwd=Path("/tmp"),  # noqa: S108 (never run)
            env={"NAME": "value"},
            tags=["nightly"],
        ),
        Job,
    )
    assert_type(await engine.enqueue("true", timeout=60, delay=0.5), Job)
    assert_type(await engine.enqueue_many(["true", JobSpec(command="false")]), list[Job])

    async with engine.run_here(JobSpec(command="true", delay=timedelta(), tags=("a",))) as job:
        assert_type(job, Job)

    for on_crash in (OnCrash.ADOPT, "kill", None):
        await engine.enqueue("true", on_crash=on_crash, max_output_bytes=0)

    JobSpec(command="true", on_crash="dead", max_output_bytes=None)
    await engine.enqueue("true", max_output_bytes="1 GiB")  # type: ignore[arg-type]

    # What has no default has to be said, and positions are for the command alone.
    await engine.enqueue("true", "job")  # type: ignore[call-arg]
    await engine.enqueue()  # type: ignore[call-arg]
    JobSpec("true")  # type: ignore[call-arg]


async def asks(engine: QueueEngine) -> None:
    assert_type(await engine.get("job"), Job)
    assert_type(await engine.attempts("job"), list[Attempt])
    assert_type(await engine.list(), list[Job])
    assert_type(await engine.list(JobState.DEAD, tag="nightly", limit=5), list[Job])
    assert_type(await engine.list("dead"), list[Job])
    assert_type(await engine.list(search="movie", limit=5), list[Job])
    assert_type(engine.iterate("dead", tag="nightly", search="movie"), AsyncIterator[Job])
    page = await engine.page("dead", tag="nightly", search="movie", reason="timeout", limit=5)
    assert_type(page, JobPage)
    assert_type(page.jobs, tuple[Job, ...])
    assert_type(await engine.page(scheduled=True, before=page.older), JobPage)
    assert_type(await engine.dlq.causes(limit=5), list[Cause])
    assert_type(await engine.database_info(), DatabaseInfo)
    assert_type(await engine.stats(), QueueStats)
    assert_type(await engine.stats(tag="nightly"), QueueStats)
    assert_type(await engine.history(), list[Point])
    assert_type(await engine.history(timedelta(days=1), steps=48), list[Point])
    assert_type(await engine.totals(), Totals)
    assert_type(await engine.output("job", attempt=1), str)
    assert_type(await engine.output_bytes("job", attempt=1, last=100), bytes)
    assert_type(await engine.last_event(), int)
    assert_type(engine.has_live_worker(), bool)
    assert_type(engine.database, Path)
    assert_type(engine.log_folder, Path)

    async for chunk in engine.follow("job", attempt=1):
        assert_type(chunk, bytes)

    async for event in engine.events(since=0, job_id="job"):
        assert_type(event, Event)

    async for event in engine.past_events(since=0, last=10, job_id="job"):
        assert_type(event_record(event), EventRecord)

    async for change in engine.changes(at_most_every=0.5, at_least_every=5):
        assert_type(change, None)

    async for unfinished in engine.progress(["job"]):
        assert_type(unfinished, int)


async def waits_and_changes(engine: QueueEngine) -> None:
    assert_type(await engine.wait("job", timeout=1.5), Job)
    assert_type(await engine.wait_all(["job"], timeout=1), list[Job])
    assert_type(await engine.cancel("job", reason="not needed"), Job)
    assert_type(await engine.retry("a", "b"), list[Job])
    assert_type(await engine.run_now("a", "b"), list[Job])
    assert_type(await engine.dlq.retry_all(reason="timeout"), int)
    assert_type(await engine.dlq.purge(reason="timeout"), int)
    deleted: None = await engine.delete("job")  # type: ignore[func-returns-value]
    assert_type(deleted, None)
    assert_type(await engine.purge(), int)
    assert_type(await engine.purge([JobState.DEAD, "completed"], older_than=timedelta(7)), int)
    assert_type(await engine.check(), CheckReport)
    assert_type(await engine.doctor(full=True), list[Finding])
    assert_type(await diagnose(Path("jobs.db"), full=True), list[Finding])

    for finding in await diagnose():
        assert_type((finding.verdict, finding.advice), tuple[Verdict, str | None])
        assert_type(finding_record(finding), FindingRecord)

    await engine.backup(Path("copy.db"))
    await engine.backup("copy.db")
    await engine.vacuum()


async def works(path: Path) -> None:
    async with QueueEngine(path, kill_grace=1) as engine:
        assert_type(engine, QueueEngine)
        working: AbstractAsyncContextManager[None] = engine.workers(4, grace=2)

        async with working as nothing:
            assert_type(nothing, None)

        assert_type(await engine.run(2, handle_signals=True, started=print), bool)
        assert_type(await engine.run(can_restart=True), bool)
        assert_type(await engine.drain(2, started=lambda worker_id: worker_id.upper()), bool)
        assert_type(await engine.list_workers(), list[WorkerInfo])
        assert_type(await engine.stop_workers(["w1"], now=True, timeout=2.5), list[WorkerInfo])
        assert_type(await engine.restart_workers(["w1"], timeout=2.5), list[WorkerInfo])

    QueueEngine()
    QueueEngine("jobs.db")
    QueueEngine("jobs.db", 1.0)  # type: ignore[call-arg]


async def uses_the_config_and_the_dead_letter_queue(engine: QueueEngine) -> None:
    assert_type(engine.config, Config)
    assert_type(await engine.config.show(), dict[str, int | float | str])
    assert_type(await engine.config.get("max-retries"), int | float | str)
    assert_type(await engine.config.set("max-retries", 5), int | float | str)
    assert_type(await engine.config.set("timeout-sec", "10m"), int | float | str)
    assert_type(await engine.config.set("on-crash", OnCrash.KILL), int | float | str)
    assert_type(await engine.config.unset("max-retries"), int | float | str)
    assert_type(engine.dlq, DeadLetterQueue)
    assert_type(await engine.dlq.list(limit=3), list[Job])
    assert_type(await engine.dlq.retry("a", "b"), list[Job])
    assert_type(await engine.dlq.retry_all(), int)
    engine.config = engine.config  # type: ignore[misc]


def reads_a_job(job: Job) -> None:
    assert_type((job.id, job.command, job.cwd), tuple[str, str, str])
    assert_type((job.seq, job.priority, job.attempts), tuple[int, int, int])
    assert_type((job.run_count, job.max_retries), tuple[int, int])
    assert_type((job.interruptions, job.crashes), tuple[int, int])
    assert_type((job.on_crash, job.max_output_bytes), tuple[OnCrash, int | None])
    assert_type(job.stuck, str | None)
    assert_type(job.state, JobState)
    assert_type((job.run_at, job.created_at, job.updated_at), tuple[datetime, datetime, datetime])
    assert_type((job.started_at, job.finished_at), tuple[datetime | None, datetime | None])
    assert_type((job.timeout, job.duration), tuple[timedelta | None, timedelta | None])
    assert_type((job.exit_code, job.backoff_base), tuple[int | None, float | None])
    assert_type((job.signal, job.reason), tuple[str | None, str | None])
    assert_type((job.cancel_reason, job.worker), tuple[str | None, str | None])
    assert_type(job.tags, tuple[str, ...])
    assert_type(job.env, dict[str, str])
    assert_type(job.is_finished, bool)
    assert_type(job_record(job), JobRecord)
    job.state = JobState.DEAD  # type: ignore[misc]


def reads_attempts_events_and_workers(
    job: Job, attempt: Attempt, event: Event, worker: WorkerInfo, stats: QueueStats
) -> None:
    assert_type((attempt.job_id, attempt.worker), tuple[str, str])
    assert_type((attempt.number, attempt.output_bytes), tuple[int, int])
    assert_type(attempt.outcome, OutcomeKind | None)
    assert_type((attempt.started_at, attempt.finished_at), tuple[datetime, datetime | None])
    assert_type((attempt.cpu, attempt.duration), tuple[timedelta | None, timedelta | None])
    assert_type((attempt.exit_code, attempt.max_rss_bytes), tuple[int | None, int | None])
    assert_type((attempt.signal, attempt.reason), tuple[str | None, str | None])
    assert_type(attempt_record(attempt), AttemptRecord)
    assert_type(job_detail_record(job, [attempt]), JobDetailRecord)
    assert_type(job_detail_record(job, [attempt]).runs, list[AttemptRecord])
    assert_type((event.kind, event.state), tuple[EventKind, JobState])
    assert_type((event.seq, event.attempt), tuple[int, int])
    assert_type((event.at, event.job_id, event.reason), tuple[datetime, str, str | None])
    assert_type(event_record(event), EventRecord)
    assert_type((worker.id, worker.state, worker.host), tuple[str, WorkerState, str])
    assert_type((worker.pid, worker.concurrency, worker.busy), tuple[int, int, int])
    assert_type((worker.started_at, worker.is_alive), tuple[datetime, bool])
    assert_type(worker_record(worker), WorkerRecord)
    assert_type(stats.counts, dict[JobState, int])
    assert_type(
        (stats.avg_duration, stats.oldest_pending), tuple[timedelta | None, timedelta | None]
    )
    assert_type(stats.workers, tuple[WorkerInfo, ...])
    assert_type(stats.activity, tuple[Activity, ...])
    assert_type(status_record(stats).activity, dict[str, ActivityRecord])
    assert_type(status_record(stats), StatusRecord)
    assert_type(status_record(stats).workers, list[WorkerRecord])


def reads_figures(activity: Activity, spread: Spread, point: Point, totals: Totals) -> None:
    assert_type((activity.period, activity.per_second), tuple[timedelta, float])
    assert_type((activity.enqueued, activity.ended, activity.died), tuple[int, int, int])
    assert_type((activity.completed, activity.failed), tuple[int, int])
    assert_type(activity.runs, dict[OutcomeKind, int])
    assert_type((activity.wait, activity.duration), tuple[Spread | None, Spread | None])
    assert_type((spread.count, spread.p50), tuple[int, timedelta])
    assert_type((spread.p95, spread.p99), tuple[timedelta, timedelta])
    assert_type((point.at, point.enqueued), tuple[datetime, int])
    assert_type((point.completed, point.failed), tuple[int, int])
    assert_type((totals.since, totals.enqueued), tuple[datetime, int])
    assert_type((totals.died, totals.rescheduled, totals.retried), tuple[int, int, int])
    assert_type((totals.runs, totals.wait), tuple[dict[OutcomeKind, Classes], Classes])
    assert_type((totals.wait.count, totals.wait.seconds), tuple[int, float])
    assert_type((totals.wait.by_bound, BOUNDS), tuple[tuple[int, ...], tuple[float, ...]])


def reads_records_of_figures(record: ActivityRecord) -> None:
    assert_type(
        (record.wait_sec, record.duration_sec), tuple[SpreadRecord | None, SpreadRecord | None]
    )


def reads_input(report: CheckReport, setting: Setting, given: JobInput) -> None:
    assert_type(parse_job(b"{}"), JobSpec)
    assert_type(parse_jobs(b"[]"), list[JobSpec])
    assert_type(parse_duration("10m"), timedelta)
    assert_type(parse_size("10M"), int)
    assert_type(parse_time("2026-01-01T00:00:00Z"), datetime)
    assert_type(format_duration(timedelta()), str)
    assert_type(format_time(datetime.min), str)  # noqa: DTZ901 (never run)
    assert_type((escape_text("a"), escape_line("a"), escape_json("a")), tuple[str, str, str])
    assert_type(default_database(), Path)
    assert_type((report.schema_version, report.driver), tuple[int, str])
    assert_type(report.problems, list[str])
    assert_type(setting.parse("3"), int | float | str)
    assert_type((setting.key, setting.meaning, setting.range), tuple[str, str, str])
    assert_type(setting.aliases, tuple[str, ...])
    assert_type((given.command, given.id), tuple[str, str | None])
    assert_type(TERMINAL, frozenset[JobState])
    assert_type(__version__, str)

    for key, known in SETTINGS.items():
        assert_type((key, known), tuple[str, Setting])


def handles(error: QueueCtlError) -> None:  # noqa: C901, PLR0912, PLR0915 (one case for each)
    assert_type(error.hint, str | None)

    match error:
        case InvalidJobError():
            assert_type((error.field, error.problem), tuple[str | None, str])
        case InvalidInputError():
            assert_type(error.problems, list[tuple[int, str]])
        case ConfigError():
            assert_type(error.key, str)
        case DuplicateJobError():
            assert_type(error.job_ids, list[str])
        case JobNotFoundError():
            assert_type(error.job_id, str)
        case RunNotFoundError():
            assert_type((error.job_id, error.attempt), tuple[str, int])
        case OutputMissingError():
            assert_type((error.job_id, error.attempt, error.path), tuple[str, int, str])
        case JobStateError():
            assert_type((error.job_id, error.state, error.action), tuple[str, str, str])
        case WorkerNotFoundError():
            assert_type(error.worker, str)
        case EventsPrunedError():
            assert_type((error.since, error.oldest), tuple[int, int])
        case WorkerStateError():
            assert_type((error.worker, error.problem), tuple[str, str])
        case LeftoverProcessError():
            assert_type(error.pids, list[int])
        case WaitTimeoutError():
            assert_type(error.waiting_for, list[str])
        case SchemaVersionError():
            assert_type((error.found, error.supported), tuple[int, int])
        case StoreError():
            assert_type(error.database, str)


def stands_in_one_tree() -> None:
    # Each is caught as its bases are.
    values: list[type[ValueError]] = [
        ConfigError,
        InvalidInputError,
        InvalidJobError,
        InvalidValueError,
    ]
    lookups: list[type[LookupError]] = [
        EventsPrunedError,
        JobNotFoundError,
        OutputMissingError,
        RunNotFoundError,
        WorkerNotFoundError,
    ]
    stores: list[type[StoreError]] = [
        SchemaVersionError,
        StoreBusyError,
        StoreDamagedError,
        StoreReplacedError,
    ]
    others: list[type[QueueCtlError]] = [
        DuplicateJobError,
        EngineClosedError,
        JobStateError,
        LeftoverProcessError,
        WorkerStateError,
    ]
    timeout: type[TimeoutError] = WaitTimeoutError
    print(values, lookups, stores, others, timeout)  # noqa: T201 (never run)
