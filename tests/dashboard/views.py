"""A view of every page, filled with the same text wherever text can be."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, TypedDict, Unpack

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request

from queuectl import (
    Activity,
    Cause,
    DatabaseInfo,
    Finding,
    Job,
    JobPage,
    JobState,
    OutcomeKind,
    Point,
    QueueStats,
    Spread,
    Verdict,
    WorkerInfo,
    WorkerState,
)
from queuectl.dashboard.panes import (
    config,
    confirm,
    database,
    dlq,
    enqueue,
    error,
    fleet,
    job,
    jobs,
    overview,
    scheduled,
)
from queuectl.dashboard.panes.site import Site
from queuectl.dashboard.seen import SeenJob
from queuectl.dashboard.text import readable_output
from tests.factories import NOW, make_attempt, make_job, make_settings, make_worker

SECOND: Final = timedelta(seconds=1)


def make_page(
    jobs: tuple[Job, ...] = (), *, older: int | None = None, is_complete: bool = True
) -> JobPage:
    """Return a page of jobs: empty, but for what is said."""
    return JobPage(jobs=jobs, older=older, is_complete=is_complete)


def make_point(minute: int = 0, *, completed: int = 0, failed: int = 0, enqueued: int = 0) -> Point:
    """Return a step of a chart."""
    at = NOW + minute * timedelta(minutes=1)
    return Point(at=at, completed=completed, failed=failed, enqueued=enqueued)


def make_spread(p50: timedelta, p95: timedelta, p99: timedelta) -> Spread:
    """Return waits or run times."""
    return Spread(count=10, p50=p50, p95=p95, p99=p99)


def make_activity(
    period: timedelta = timedelta(hours=1),
    *,
    completed: int = 0,
    wait: Spread | None = None,
    duration: Spread | None = None,
) -> Activity:
    """Return what happened lately: nothing, but for what is said."""
    runs = dict.fromkeys(OutcomeKind, 0) | {OutcomeKind.COMPLETED: completed}
    return Activity(period=period, enqueued=0, runs=runs, died=0, wait=wait, duration=duration)


def make_stats(
    counts: Mapping[JobState, int] | None = None,
    *,
    oldest_pending: timedelta | None = None,
    workers: tuple[WorkerInfo, ...] = (),
    activity: tuple[Activity, ...] = (),
) -> QueueStats:
    """Return the queue at a glance: empty, but for what is said."""
    return QueueStats(
        counts=dict.fromkeys(JobState, 0) | dict(counts or {}),
        avg_duration=None,
        oldest_pending=oldest_pending,
        workers=workers,
        activity=activity,
    )


def make_cause(reason: str = "exit_code=1", count: int = 3) -> Cause:
    """Return why some jobs died."""
    return Cause(reason=reason, count=count, latest=NOW - 60 * SECOND)


class InfoFields(TypedDict, total=False):
    """What `make_info` takes."""

    path: str
    size_bytes: int
    free_bytes: int
    oldest_event: datetime | None


def make_info(**fields: Unpack[InfoFields]) -> DatabaseInfo:
    """Return the sizes of a database."""
    info = DatabaseInfo(
        path="/srv/queue.db",
        size_bytes=1000 * 1024,
        wal_bytes=512,
        free_bytes=250 * 1024,
        outputs_bytes=0,
        schema_version=4,
        sqlite_version="3.46.1",
        events=12_345,
        oldest_event=NOW - timedelta(days=2),
    )
    return msgspec.structs.replace(info, **fields)


def make_request(
    path: str = "/", *, root: str = "", query: str = "", site: Site | None = None
) -> Request:
    """Return a request to a dashboard, as far as the templates look at it."""
    app = Starlette()
    app.state.site = site or Site(database="/srv/queue.db", may_enqueue=True, has_metrics=True)
    return Request(
        {
            "type": "http",
            "method": "GET",
            "app": app,
            "path": f"{root}{path}",
            "root_path": root,
            "query_string": query.encode(),
            "headers": [(b"host", b"localhost")],
        }
    )


def every_view(text: str, now: datetime = NOW) -> dict[str, tuple[str, msgspec.Struct]]:
    """Return views by name, each with the name of its pane; full ones, empty ones, refusals."""
    all_states = tuple(_job(state, text) for state in JobState)
    some = make_page(all_states, older=7, is_complete=False)
    counts = dict.fromkeys(JobState, 3)
    history = [make_point(minute, completed=minute, failed=1, enqueued=1) for minute in range(60)]
    workers = tuple(
        make_worker(id=f"w{n}", host=text, state=each) for n, each in enumerate(WorkerState)
    )
    spread = make_spread(4 * SECOND / 1000, SECOND, 90 * SECOND)
    stats = make_stats(
        counts,
        oldest_pending=5 * SECOND,
        workers=workers,
        activity=(make_activity(wait=spread, duration=spread),),
    )
    findings = [
        Finding(check=ascii_of(text), verdict=each, words=text, advice=text) for each in Verdict
    ]
    runs = [
        make_attempt(number=n, outcome=kind, reason=text, worker=ascii_of(text))
        for n, kind in enumerate(OutcomeKind, 1)
    ]

    return {
        "overview": (
            "overview",
            overview.overview_view(
                stats,
                hour=history,
                day=history,
                running=all_states[:2],
                dead=all_states[4:5],
                now=now,
            ),
        ),
        "overview of an empty queue": (
            "overview",
            overview.overview_view(make_stats(), hour=[], day=[], running=[], dead=[], now=now),
        ),
        "jobs": ("jobs", jobs.jobs_view(some, counts, now, before=9)),
        "jobs that were searched": (
            "jobs",
            jobs.jobs_view(some, counts, now, state=JobState.DEAD, search=text, tag=text),
        ),
        "jobs that were not found yet": (
            "jobs",
            jobs.jobs_view(make_page(older=7, is_complete=False), counts, now, search=text),
        ),
        "no jobs": ("jobs", jobs.jobs_view(make_page(), counts, now)),
        "no jobs that match": ("jobs", jobs.jobs_view(make_page(), counts, now, search=text)),
        "job": (
            "job",
            job.job_view(all_states[3], runs, job.Shown(readable_output(2 * text)), now),
        ),
        "job that runs": ("job", job.job_view(all_states[1], runs[:1], job.Shown(), now, chosen=1)),
        "job without its output": ("job", job.job_view(all_states[4], [], None, now)),
        "dlq": ("dlq", dlq.dlq_view(some, [make_cause(text)], now, total=3, before=4)),
        "dlq of many causes": (
            "dlq",
            dlq.dlq_view(some, [make_cause(f"{text}{n}") for n in range(50)], now, total=200),
        ),
        "dlq of one cause": (
            "dlq",
            dlq.dlq_view(some, [make_cause(text)], now, total=3, reason=text),
        ),
        "dlq of a cause that is gone": (
            "dlq",
            dlq.dlq_view(make_page(), [], now, total=3, reason=text),
        ),
        "dlq of a cause that was not found yet": (
            "dlq",
            dlq.dlq_view(
                make_page(older=7, is_complete=False), [], now, total=3, reason=text, before=9
            ),
        ),
        "empty dlq": ("dlq", dlq.dlq_view(make_page(), [], now, total=0)),
        "scheduled": ("scheduled", scheduled.scheduled_view(some, now, before=1)),
        "nothing scheduled": ("scheduled", scheduled.scheduled_view(make_page(), now)),
        "workers": ("workers", fleet.fleet_view(workers, now)),
        "dead workers": ("workers", fleet.fleet_view(workers[-1:], now)),
        "no workers": ("workers", fleet.fleet_view((), now)),
        "config": ("config", config.config_view(make_settings(max_retries=9).values)),
        "config refused": (
            "config",
            config.config_view(
                make_settings().values,
                refused=config.Refused(key="priority", value=text, message=text),
            ),
        ),
        "database": (
            "database",
            database.database_view(make_info(path=f"/{text}"), None, now, jobs=1),
        ),
        "database looked at": (
            "database",
            database.database_view(make_info(oldest_event=None), findings, now, jobs=1),
        ),
        "enqueue": ("enqueue", enqueue.enqueue_view({})),
        "enqueue refused": (
            "enqueue",
            enqueue.enqueue_view({"command": text, "id": text}, problem=text, field="id"),
        ),
        "enqueue refused as a whole": (
            "enqueue",
            enqueue.enqueue_view({"command": text}, problem=text),
        ),
        "confirm": (
            "confirm",
            confirm.confirm_view(
                "cancel",
                QueryParams(
                    [("job", f"{n}{ascii_of(text)}") for n in range(30)] + [("back", text)]
                ),
                jobs=[SeenJob(id=f"{n}{ascii_of(text)}", seq=n) for n in range(30)],
            ),
        ),
        "confirm by cause": (
            "confirm",
            confirm.confirm_view("dlq_purge", QueryParams([("reason", text)])),
        ),
        "confirm purge": (
            "confirm",
            confirm.confirm_view("purge", QueryParams("state=dead&state=completed&older_than=7d")),
        ),
        "error": ("error", error.error_view(404, text, text)),
        "no such job": ("error", error.error_view(404, text, is_of_jobs=True)),
        "sign in": ("error", error.error_view(401)),
    }


def ascii_of(text: str) -> str:
    """Return what may stand in ids and the like: no more than ASCII, checked or ours."""
    return "".join(character for character in text if " " <= character <= "~")


def _job(state: JobState, text: str) -> Job:
    """Return a job whose every text is this one, its id too, as far as it is ASCII."""
    return make_job(
        id=f"{state}{ascii_of(text)}",
        command=text,
        state=state,
        reason=text,
        stuck=text if state is JobState.PROCESSING else None,
        cancel_reason=text if state is JobState.CANCELLED else None,
        tags=tuple(f"{text}{n}" for n in range(7)),
        cwd=text,
        env={text: text},
        worker=ascii_of(text),
        signal=ascii_of(text),
        run_count=3,
        attempts=3,
        started_at=NOW - 9 * SECOND,
        finished_at=NOW - 5 * SECOND,
        duration=4 * SECOND,
        run_at=NOW + 30 * SECOND,
    )
