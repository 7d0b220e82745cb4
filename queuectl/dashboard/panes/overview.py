"""The queue at a glance."""

import heapq
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl import EventKind, JobNotFoundError, JobState
from queuectl.dashboard import words
from queuectl.dashboard.charts import activity_chart, ceiling
from queuectl.dashboard.panes.fleet import slots_busy, summary
from queuectl.dashboard.panes.job_row import JobRow, job_row

if TYPE_CHECKING:
    from queuectl import Activity, Job, Point, QueueEngine, QueueStats, Spread

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_RECENT: Final = 6

# In which those that died last are looked for: the last events, how many of the jobs that
# these tell of, and the newest of the listing, where there was much else or nothing lately.
_EVENTS: Final = 1000
_TOLD: Final = 24
_NEWEST: Final = 50

_PERIODS: Final = {timedelta(minutes=1): "Minute", _HOUR: "Hour", _DAY: "Day"}


class Kpi(msgspec.Struct, frozen=True, kw_only=True):
    """
    How many jobs are in a state.

    Attributes:
        state: Its name.
        count: How many, with its thousands apart.
        note: One more fact.
        is_calm: Whether nobody has to look.
    """

    state: str
    count: str
    note: str
    is_calm: bool


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """
    A chart with the words around it.

    Attributes:
        name: For ids.
        title: What it shows.
        svg: The drawing.
        completed: How many in all.
        failed: How many in all.
        failed_share: Of all that ended; empty where nothing did.
        top: The number at the top of the axis.
        middle: The number at its middle.
        begin: The words at its left end.
    """

    name: str
    title: str
    svg: str
    completed: str
    failed: str
    failed_share: str
    top: str
    middle: str
    begin: str


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """
    What happened lately, and how long it took.

    Attributes:
        name: ``Minute``, ``Hour``, ``Day``.
        enqueued: How many.
        completed: How many runs.
        failed: How many runs.
        died: How many jobs.
        per_second: Runs that ended.
        wait: p50, p95 and p99 of the time from due to started; empty where none is known.
        run: The same of the run times.
    """

    name: str
    enqueued: str
    completed: str
    failed: str
    died: str
    per_second: str
    wait: tuple[str, ...]
    run: tuple[str, ...]


class OverviewView(msgspec.Struct, frozen=True, kw_only=True):
    """
    The queue at a glance.

    Attributes:
        summary: One sentence on the workers.
        has_worker: Whether one is alive.
        oldest: How long the oldest due job has waited; None where none is due.
        is_unused: Whether there is no job, and was none in the last day.
        kpis: Jobs by state.
        charts: The last hour and the last day.
        periods: Numbers of the last minute, hour and day.
        running: Some that run.
        dead: Those that died last.
    """

    summary: str
    has_worker: bool
    oldest: str | None
    is_unused: bool
    kpis: tuple[Kpi, ...]
    charts: tuple[Chart, ...]
    periods: tuple[Period, ...]
    running: tuple[JobRow, ...]
    dead: tuple[JobRow, ...]


async def load(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> OverviewView:
    """Look at the whole queue."""
    del params

    return overview_view(
        await engine.stats(),
        hour=await engine.history(_HOUR, steps=60),
        day=await engine.history(_DAY, steps=48),
        running=(await engine.page(JobState.PROCESSING, limit=_RECENT)).jobs,
        dead=await _died_last(engine),
        now=now,
    )


async def _died_last(engine: "QueueEngine") -> "Sequence[Job]":
    """Return the jobs that died last; the listing has those in front that were added last."""
    listed = (await engine.page(JobState.DEAD, limit=_NEWEST)).jobs

    if not listed:
        return ()

    dead = {job.id: job for job in listed}
    told: dict[str, None] = {}

    async for event in engine.past_events(last=_EVENTS):
        # Whatever happened to it later, it is not dead any more.
        told.pop(event.job_id, None)

        if event.kind is EventKind.DIED:
            told[event.job_id] = None

    for job_id in [*told][-_TOLD:]:
        if job_id not in dead:
            with suppress(JobNotFoundError):
                dead[job_id] = await engine.get(job_id)

    found = (job for job in dead.values() if job.state is JobState.DEAD)
    return heapq.nlargest(_RECENT, found, key=lambda job: job.finished_at or job.updated_at)


def overview_view(
    stats: "QueueStats",
    *,
    hour: "Sequence[Point]",
    day: "Sequence[Point]",
    running: "Sequence[Job]",
    dead: "Sequence[Job]",
    now: datetime,
) -> OverviewView:
    """
    Return the queue as it is shown.

    Args:
        stats: The numbers.
        hour: What happened in the last hour.
        day: What happened in the last day.
        running: Some jobs that run.
        dead: Jobs that died last.
        now: In UTC.
    """
    oldest = None if stats.oldest_pending is None else words.age(stats.oldest_pending)

    return OverviewView(
        summary=summary(stats.workers),
        has_worker=any(worker.is_alive for worker in stats.workers),
        oldest=oldest,
        is_unused=not any(stats.counts.values()) and not any(point.enqueued for point in day),
        kpis=tuple(_kpi(state, stats) for state in JobState),
        charts=(
            _chart(hour, name="hour", title="Last hour", begin="1 h ago"),
            _chart(day, name="day", title="Last 24 hours", begin="24 h ago"),
        ),
        periods=tuple(_period(activity) for activity in stats.activity),
        running=tuple(job_row(job, now) for job in running),
        dead=tuple(job_row(job, now) for job in dead),
    )


def _kpi(state: JobState, stats: "QueueStats") -> Kpi:
    count = stats.counts[state]
    return Kpi(
        state=state.value,
        count=words.number(count),
        note=_note(state, stats),
        is_calm=not count or state is not JobState.DEAD,
    )


def _note(state: JobState, stats: "QueueStats") -> str:
    oldest, mean = stats.oldest_pending, stats.avg_duration
    notes = {
        JobState.PENDING: "none is due" if oldest is None else f"oldest waits {words.age(oldest)}",
        JobState.PROCESSING: _slots(stats),
        JobState.FAILED: "will be retried",
        JobState.COMPLETED: _completed(stats)
        if mean is None
        else f"{words.duration(mean)} on average",
        JobState.DEAD: "wait for a decision" if stats.counts[state] else "nothing to decide",
        JobState.CANCELLED: "by hand",
    }
    return notes[state]


def _slots(stats: "QueueStats") -> str:
    """Write how many slots are busy; jobs that are claimed ahead are not in one yet."""
    if not any(worker.is_alive for worker in stats.workers):
        return "left by a dead worker" if stats.counts[JobState.PROCESSING] else "no worker"

    return slots_busy(stats.workers)


def _completed(stats: "QueueStats") -> str:
    """Write what is known of jobs that are not there: they may have been purged."""
    lately = max((activity.completed for activity in stats.activity), default=0)
    return f"{words.number(lately)} in the last day" if lately else "none at the moment"


def _chart(points: "Sequence[Point]", *, name: str, title: str, begin: str) -> Chart:
    completed = sum(point.completed for point in points)
    failed = sum(point.failed for point in points)
    top = ceiling(max((point.completed + point.failed for point in points), default=0))

    return Chart(
        name=name,
        title=title,
        svg=activity_chart(points, name=name, title=f"Runs that ended: {title.lower()}"),
        completed=words.number(completed),
        failed=words.number(failed),
        failed_share=words.share(failed, completed + failed) if completed + failed else "",
        top=words.number(top),
        middle=words.number(top // 2),
        begin=begin,
    )


def _period(activity: "Activity") -> Period:
    return Period(
        name=_PERIODS.get(activity.period, words.age(activity.period)),
        enqueued=words.number(activity.enqueued),
        completed=words.number(activity.completed),
        failed=words.number(activity.failed),
        died=words.number(activity.died),
        per_second=words.rate(activity.per_second),
        wait=_spread(activity.wait),
        run=_spread(activity.duration),
    )


def _spread(spread: "Spread | None") -> tuple[str, ...]:
    if spread is None:
        return ()

    return tuple(words.duration(value) for value in (spread.p50, spread.p95, spread.p99))
