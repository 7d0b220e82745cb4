"""What happened lately and since ever, as figures: counts, waits and run times by class."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from math import ceil
from typing import Final

import msgspec

from queuectl.engine.domain.models import OutcomeKind

# Ten preferred numbers a decade (R10 of ISO 3), times 100. Each class is 25 % wider than
# the one before, so what is known of a time by its class is known within 12 %.
_R10: Final = (100, 125, 160, 200, 250, 315, 400, 500, 630, 800)
_DECADES: Final = 9

# The upper bounds of the classes of time, in milliseconds: from 1 ms to 10^9 ms, which are
# 11.6 days. What took longer is in one more class, the last. They are never changed: the
# database keeps places in this row.
BOUNDS: Final[tuple[float, ...]] = (
    *(step * 10**decade / 100 for decade in range(_DECADES) for step in _R10),
    10.0**_DECADES,
)

# What is counted beside the outcomes of runs, which go by their own names.
ENQUEUED: Final = "enqueued"
DIED: Final = "died"
RESCHEDULED: Final = "rescheduled"
RETRIED: Final = "retried"
WAIT: Final = "wait"

# Runs that went wrong; one that was cancelled or given back did not.
FAILURES: Final = frozenset(
    {OutcomeKind.FAILED, OutcomeKind.TIMED_OUT, OutcomeKind.LOST, OutcomeKind.SPAWN_FAILED}
)

# What is looked back at.
PERIODS: Final[Mapping[str, timedelta]] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
LONGEST: Final = PERIODS["day"]

_MILLISECOND: Final = timedelta(milliseconds=1)
_PERCENTS: Final = (50, 95, 99)

# Sums of parts are not exact; and fractions, which are, cost every start 8 ms.
_LEAST: Final = 1e-6


class Tally(msgspec.Struct, frozen=True):
    """
    How often something happened.

    Attributes:
        measure: What: the name of an outcome, or one of the constants above.
        place: Of the class of its time in `BOUNDS`; 0 where it takes no time.
        count: How often; a part of one where a part of a minute is meant.
        ms: How long all of these took together, in milliseconds.
    """

    measure: str
    place: int
    count: float
    ms: float


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """
    How long something took: half of the times were at most `p50`, and so on.

    Times are kept by class, so these are within about 12 % of the true ones.

    Attributes:
        count: Of how many.
        p50: The median.
        p95: Only one of 20 took longer.
        p99: Only one of 100 took longer.
    """

    count: int
    p50: timedelta
    p95: timedelta
    p99: timedelta


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """
    What happened in the last minute, hour or day.

    Attributes:
        period: How far back it goes.
        enqueued: Jobs that were added.
        runs: Runs that ended, by how; every outcome is present.
        died: Jobs that used up their retries, or failed for good otherwise.
        wait: From when a job was due to when it started, of the runs that
            ended; None where there are none.
        duration: From start to end of these runs.
    """

    period: timedelta
    enqueued: int
    runs: dict[OutcomeKind, int]
    died: int
    wait: Spread | None
    duration: Spread | None

    @property
    def ended(self) -> int:
        """All runs that ended, however they did."""
        return sum(self.runs.values())

    @property
    def completed(self) -> int:
        """Runs that succeeded."""
        return self.runs[OutcomeKind.COMPLETED]

    @property
    def failed(self) -> int:
        """Runs that failed, timed out, were lost with their worker or could not be started."""
        return sum(count for kind, count in self.runs.items() if kind in FAILURES)

    @property
    def per_second(self) -> float:
        """Runs that ended, per second."""
        return self.ended / self.period.total_seconds()


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """
    One step of a chart.

    Attributes:
        at: When it begins, in UTC.
        enqueued: Jobs that were added in it.
        completed: Runs that succeeded.
        failed: Runs that failed, timed out, were lost or could not be started.
    """

    at: datetime
    enqueued: int
    completed: int
    failed: int


class Classes(msgspec.Struct, frozen=True, kw_only=True):
    """
    Times by class, as a Prometheus histogram has them.

    Attributes:
        count: How many.
        seconds: How long all of them took together.
        by_bound: How many took at most as long as each of `BOUNDS` says.
    """

    count: int
    seconds: float
    by_bound: tuple[int, ...]


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """
    What happened since counting began; no number ever falls.

    Attributes:
        since: When the database was made, or brought to the version that
            counts; in UTC.
        enqueued: Jobs that were added.
        died: Jobs that went to the dead letter queue.
        rescheduled: Runs that failed and left their job a retry. An older queuectl
            did not count them: this begins with the first one after that.
        retried: Jobs that were put back by hand.
        runs: Runs by how they ended, with their times; every outcome is present.
        wait: From when a job was due to when it started, of these runs.
    """

    since: datetime
    enqueued: int
    died: int
    rescheduled: int
    retried: int
    runs: dict[OutcomeKind, Classes]
    wait: Classes

    @property
    def failed(self) -> int:
        """Runs that failed, timed out, were lost with their worker or could not be started."""
        return sum(classes.count for kind, classes in self.runs.items() if kind in FAILURES)


def class_of(milliseconds: int) -> int:
    """Return the place of a time's class: of the first bound that it does not exceed."""
    return bisect_left(BOUNDS, milliseconds)


def activity(period: timedelta, tallies: Iterable[Tally]) -> Activity:
    """
    Sum up what happened in a period.

    A part of one counts as one: what happened lately is not shown as nothing.
    """
    by_measure = _by_measure(tallies)
    runs = {kind: by_measure.get(kind.value, []) for kind in OutcomeKind}

    return Activity(
        period=period,
        enqueued=_count(by_measure.get(ENQUEUED, [])),
        runs={kind: _count(found) for kind, found in runs.items()},
        died=_count(by_measure.get(DIED, [])),
        wait=spread(by_measure.get(WAIT, [])),
        duration=spread(tally for found in runs.values() for tally in found),
    )


def totals(since: datetime, tallies: Iterable[Tally]) -> Totals:
    """Sum up everything; what a newer queuectl counts besides is left out."""
    by_measure = _by_measure(tallies)

    return Totals(
        since=since,
        enqueued=_count(by_measure.get(ENQUEUED, [])),
        died=_count(by_measure.get(DIED, [])),
        rescheduled=_count(by_measure.get(RESCHEDULED, [])),
        retried=_count(by_measure.get(RETRIED, [])),
        runs={kind: _classes(by_measure.get(kind.value, [])) for kind in OutcomeKind},
        wait=_classes(by_measure.get(WAIT, [])),
    )


def spread(tallies: Iterable[Tally]) -> Spread | None:
    """Return how long things took, None where there are none."""
    classes = sorted(_merged(tallies).items())
    number = sum(count for _, (count, _) in classes)

    if not number:
        return None

    p50, p95, p99 = (_time_at(percent * number / 100, classes) for percent in _PERCENTS)
    return Spread(count=_rounded_up(number), p50=p50, p95=p95, p99=p99)


def _time_at(rank: float, classes: list[tuple[int, tuple[float, float]]]) -> timedelta:
    """Return the mean of the class that this rank is in: the times in it are all much alike."""
    ranks = accumulate(count for _, (count, _) in classes)
    count, ms = next(
        sums for (_, sums), last in zip(classes, ranks, strict=True) if last >= rank - _LEAST
    )
    return round(ms / count) * _MILLISECOND


def _classes(tallies: Iterable[Tally]) -> Classes:
    merged = _merged(tallies)
    counts = [int(merged[place][0]) if place in merged else 0 for place in range(len(BOUNDS))]

    return Classes(
        count=int(sum(count for count, _ in merged.values())),
        seconds=sum(ms for _, ms in merged.values()) / 1000,
        by_bound=tuple(accumulate(counts)),
    )


def _merged(tallies: Iterable[Tally]) -> dict[int, tuple[float, float]]:
    """Return count and milliseconds by class."""
    merged: dict[int, tuple[float, float]] = {}

    for tally in tallies:
        count, ms = merged.get(tally.place, (0, 0))
        merged[tally.place] = (count + tally.count, ms + tally.ms)

    return merged


def _by_measure(tallies: Iterable[Tally]) -> dict[str, list[Tally]]:
    found: dict[str, list[Tally]] = {}

    for tally in tallies:
        found.setdefault(tally.measure, []).append(tally)

    return found


def _count(tallies: Iterable[Tally]) -> int:
    return _rounded_up(sum(tally.count for tally in tallies))


def _rounded_up(number: float) -> int:
    return ceil(number - _LEAST)
