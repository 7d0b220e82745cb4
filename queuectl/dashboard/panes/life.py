"""The life of a job as a drawing: its waits and its runs, one below the other."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl import JobState, OutcomeKind
from queuectl.dashboard import words
from queuectl.dashboard.charts import Span, timeline
from queuectl.dashboard.text import readable_line

if TYPE_CHECKING:
    from queuectl import Attempt, Job

# More rows than this tell nobody anything.
_MOST_ROWS: Final = 12

_NO_TIME: Final = timedelta()

_STATES: Final = {
    None: JobState.PROCESSING,
    OutcomeKind.COMPLETED: JobState.COMPLETED,
    OutcomeKind.CANCELLED: JobState.CANCELLED,
    OutcomeKind.INTERRUPTED: JobState.PENDING,
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """
    The words beside a row of the drawing.

    Attributes:
        name: ``run 2``, or what is waited for.
        state: A state's name, for its colour and sign.
        waited: How long before it: ``waited 10 s``.
        took: How long it took, or has taken; empty where it has not begun.
    """

    name: str
    state: str
    waited: str
    took: str


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """
    The life of a job.

    Attributes:
        svg: The drawing.
        rows: The words beside its rows, from the top.
        begin: The words at its left end.
        end: The words at its right end.
        hidden: How many earlier runs are left out.
    """

    svg: str
    rows: tuple[Row, ...]
    begin: str
    end: str
    hidden: int


def outcome_state(run: "Attempt") -> str:
    """Return the state whose colour and sign a run has."""
    return _STATES.get(run.outcome, JobState.FAILED).value


def life(job: "Job", attempts: "Sequence[Attempt]", now: datetime) -> Life:
    """
    Draw the life of a job.

    Args:
        job: The job.
        attempts: Its last runs, the first one first; one more than are drawn.
        now: In UTC.
    """
    drawn = attempts[-_MOST_ROWS:]
    before = attempts[:-_MOST_ROWS]
    since = _ended(before[-1], now) if before else job.created_at
    spans: list[Span] = []
    rows: list[Row] = []

    for run in drawn:
        spans += _run_spans(run, len(rows), since, now)
        rows.append(_run_row(run, since, now))
        since = _ended(run, now)

    if job.state in {JobState.PENDING, JobState.FAILED}:
        spans.append(_wait(len(rows), since, _until(job, now), now))
        rows.append(_waiting_row(job, since, now))

    begin = min((span.begin for span in spans), default=now)
    end = max((span.end for span in spans), default=now)

    first, last = _ends(begin, end, now)

    return Life(
        svg=timeline(spans, name="life", title="Waits and runs of this job") if spans else "",
        rows=tuple(rows),
        begin=first,
        end=last,
        # They are numbered from 1, without gaps.
        hidden=drawn[0].number - 1 if drawn else 0,
    )


def _ends(begin: datetime, end: datetime, now: datetime) -> tuple[str, str]:
    """Return the words at the two ends, which differ where the ends do."""
    first, last = words.moment(begin, now).words, words.moment(end, now).words

    if first != last or begin == end:
        return first, last

    took = words.duration(end - begin)
    return (f"{took} ago", last) if end == now else (first, f"{took} later")


def _run_spans(run: "Attempt", row: int, since: datetime, now: datetime) -> list[Span]:
    """Return the wait before a run, and the run."""
    begin = max(since, run.started_at)
    ended = "runs" if run.outcome is None else run.outcome.value.replace("_", " ")
    reason = f" ({readable_line(run.reason)})" if run.reason else ""
    took = _ended(run, now) - run.started_at
    ran = Span(
        row=row,
        begin=run.started_at,
        end=_ended(run, now),
        kind=outcome_state(run),
        words=f"run {run.number} {ended}{reason}: {words.duration(took)}",
    )
    return [_wait(row, since, begin, now), ran] if begin > since else [ran]


def _run_row(run: "Attempt", since: datetime, now: datetime) -> Row:
    return Row(
        name=f"run {run.number}",
        state=outcome_state(run),
        waited=f"waited {words.duration(max(run.started_at - since, _NO_TIME))}",
        took=words.duration(_ended(run, now) - run.started_at),
    )


def _waiting_row(job: "Job", since: datetime, now: datetime) -> Row:
    is_retry = job.state is JobState.FAILED
    return Row(
        name="retry" if is_retry else "next run",
        state=job.state.value,
        waited=f"waits {words.duration(_until(job, now) - since)}",
        took="",
    )


def _wait(row: int, begin: datetime, end: datetime, now: datetime) -> Span:
    verb = "waits" if end >= now else "waited"
    return Span(
        row=row,
        begin=begin,
        end=end,
        kind="waiting",
        words=f"{verb} {words.duration(end - begin)}",
    )


def _until(job: "Job", now: datetime) -> datetime:
    """Return until when a job waits, as far as that is known."""
    return max(job.run_at, now)


def _ended(run: "Attempt", now: datetime) -> datetime:
    return max(run.finished_at or now, run.started_at)
