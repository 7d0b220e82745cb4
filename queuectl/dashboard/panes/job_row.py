"""A job as a row of a listing."""

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl import JobState
from queuectl.dashboard import words
from queuectl.dashboard.panes.search import STEP
from queuectl.dashboard.seen import SeenJob
from queuectl.dashboard.text import readable_line
from queuectl.dashboard.words import Moment

if TYPE_CHECKING:
    from queuectl import Job, JobPage

_LONGEST_COMMAND: Final = 300
_LONGEST_REASON: Final = 200
_MOST_TAGS: Final = 5

_RETRYABLE: Final = frozenset({JobState.FAILED, JobState.DEAD, JobState.CANCELLED})
_WAITING: Final = frozenset({JobState.PENDING, JobState.FAILED})
_CANCELLABLE: Final = _WAITING | {JobState.PROCESSING}


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    A job as a row of a listing.

    Attributes:
        id: As it is.
        seen: As which forms name it.
        command: On one line, cut where it is long.
        state: Its name.
        tags: The first few.
        more_tags: How many tags are left out.
        attempts: ``2 of 4``.
        priority: Higher runs first.
        happened: What the time stands for: ``enqueued``, ``runs``, ``died`` …
        at: That time.
        duration: Of the last run, or of the run so far.
        reason: Why it is where it is; empty where there is nothing to say.
        worker: Who runs it or ran it last.
        can: What can be done with it.
    """

    id: str
    seen: str
    command: str
    state: str
    tags: tuple[str, ...]
    more_tags: int
    attempts: str
    priority: int
    happened: str
    at: Moment
    duration: str
    reason: str
    worker: str
    can: frozenset[str]


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """
    A page of a listing.

    Attributes:
        jobs: The rows.
        older: What to pass on for the next page; None at the end.
        is_first: Whether it is the first page.
        is_complete: False where a search stopped before it had looked at all.
        looked: How many jobs it had looked at then.
    """

    jobs: tuple[JobRow, ...]
    older: int | None
    is_first: bool
    is_complete: bool
    looked: str


def rows(page: "JobPage", now: datetime, *, is_first: bool, looked: int = STEP) -> Rows:
    """
    Return a page of jobs as it is shown.

    Args:
        page: The jobs.
        now: In UTC.
        is_first: Whether it is the first page.
        looked: How many jobs were looked at for it, where it was not all.
    """
    return Rows(
        jobs=tuple(job_row(job, now) for job in page.jobs),
        older=page.older,
        is_first=is_first,
        is_complete=page.is_complete,
        looked=words.counted(looked, "job"),
    )


def job_row(job: "Job", now: datetime) -> JobRow:
    """Return a job as a row."""
    happened, at = _happened(job, now)
    is_running = job.state is JobState.PROCESSING and job.started_at is not None
    took = now - job.started_at if is_running and job.started_at else job.duration

    return JobRow(
        id=job.id,
        seen=str(SeenJob(id=job.id, seq=job.seq)),
        command=readable_line(job.command, longest=_LONGEST_COMMAND),
        state=job.state.value,
        tags=tuple(readable_line(tag) for tag in job.tags[:_MOST_TAGS]),
        more_tags=max(len(job.tags) - _MOST_TAGS, 0),
        attempts=f"{job.attempts} of {job.max_retries + 1}",
        priority=job.priority,
        happened=happened,
        at=words.moment(at, now),
        duration=words.duration(took),
        reason=reason_of(job),
        worker=job.worker or "",
        can=can(job, now),
    )


def reason_of(job: "Job") -> str:
    """Return why a job is where it is, on one line; empty where there is nothing to say."""
    said = f"stuck: {job.stuck}" if job.stuck else job.cancel_reason or job.reason or ""
    return readable_line(said, longest=_LONGEST_REASON)


def can(job: "Job", now: datetime) -> frozenset[str]:
    """Return what can be done with a job: ``retry``, ``cancel``, ``delete``, ``run_now``."""
    allowed = {
        "retry": job.state in _RETRYABLE,
        "cancel": job.state in _CANCELLABLE,
        "delete": job.state is not JobState.PROCESSING,
        "run_now": job.state in _WAITING and job.run_at > now,
    }
    return frozenset(name for name, is_allowed in allowed.items() if is_allowed)


def _happened(job: "Job", now: datetime) -> tuple[str, datetime]:
    """Return the time that tells most about a job, and what it is the time of."""
    match job.state:
        case JobState.PENDING:
            return ("due", job.run_at) if job.run_at > now else ("enqueued", job.created_at)
        case JobState.PROCESSING:
            return "started", job.started_at or job.updated_at
        case JobState.FAILED:
            return "retry", job.run_at
        case JobState.COMPLETED:
            return "ended", job.finished_at or job.updated_at
        case JobState.DEAD:
            return "died", job.finished_at or job.updated_at
        case JobState.CANCELLED:
            return "ended", job.updated_at
