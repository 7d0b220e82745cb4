"""The statistics: what is counted, read as figures."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from queuectl.engine.domain.activity import (
    ENQUEUED,
    FAILURES,
    LONGEST,
    PERIODS,
    Activity,
    Point,
    Tally,
    Totals,
    activity,
    class_of,
    totals,
)
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import StoreStats
from queuectl.engine.store.sqlite.counting import Happening, span_for
from queuectl.engine.store.sqlite.rows import from_ms, to_ms
from queuectl.engine.store.sqlite.statements import SQL

# How many jobs with a tag are read between two looks of others: some hundredths of a second.
_JOBS: Final = 5000

_MILLISECOND: Final = timedelta(milliseconds=1)


def read_stats(connection: sqlite3.Connection, now: datetime) -> StoreStats:
    """Return the statistics of the whole queue: of what is counted, no job is read."""
    counts = connection.execute(SQL["counts"]).fetchall()
    oldest = connection.execute(SQL["oldest_due"], {"now": to_ms(now)}).fetchone()[0]
    lately = tuple(activity(period, _tallies(connection, period, now)) for period in _periods())
    return _stats(counts, oldest, lately, now)


class StatsOfTag:
    """
    The statistics of the jobs with a tag, from their rows and those of their runs.

    They are read some at a time, so that others can read in between: each job as it is then.

    Args:
        tag: The tag.
        now: The time.
    """

    def __init__(self, tag: str, now: datetime) -> None:
        self._now = now
        self._values = {"tag": tag, "now": to_ms(now), "since": to_ms(now - LONGEST)}
        self._after = 0
        self._counts: list[sqlite3.Row] = []
        self._tallies: dict[timedelta, list[Tally]] = {period: [] for period in _periods()}

    def read_some(self, connection: sqlite3.Connection) -> bool:
        """Read the next jobs; return whether there were any."""
        values = {**self._values, "after": self._after, "limit": _JOBS}
        last = connection.execute(SQL["some_with_tag"], values).fetchone()[0]

        if last is None:
            return False

        values["last"] = last
        self._counts += connection.execute(SQL["counts_with_tag"], values).fetchall()
        self._add(Happening(*row) for row in connection.execute(SQL["happened_with_tag"], values))
        self._after = last
        return True

    def result(self) -> StoreStats:
        """Return what was read."""
        due = [row["oldest_due"] for row in self._counts if row["oldest_due"] is not None]
        lately = tuple(activity(period, tallies) for period, tallies in self._tallies.items())
        return _stats(self._counts, min(due, default=None), lately, self._now)

    def _add(self, happened: Iterable[Happening]) -> None:
        """Sum up what happened: many thousand rows are few classes."""
        begins = {period: to_ms(self._now - period) for period in self._tallies}
        sums: dict[timedelta, dict[tuple[str, int], tuple[int, int]]] = {
            period: {} for period in begins
        }

        for at, measure, ms in happened:
            key = measure, 0 if ms is None else class_of(ms)

            for period, begin in begins.items():
                if at > begin:
                    count, total = sums[period].get(key, (0, 0))
                    sums[period][key] = (count + 1, total + (ms or 0))

        for period, summed in sums.items():
            self._tallies[period] += [Tally(*key, *summed[key]) for key in summed]


def read_history(
    connection: sqlite3.Connection, now: datetime, *, step: timedelta, steps: int
) -> list[Point]:
    """Return what happened in each of the last steps; the last one has not ended yet."""
    span = span_for(step * steps)
    step_ms = step // _MILLISECOND
    spans = step_ms // span.ms
    last = to_ms(now) // step_ms
    first = last - steps + 1
    counted: dict[int, dict[str, int]] = {number: {} for number in range(first, last + 1)}
    rows = connection.execute(
        SQL["activity_by_step"],
        {
            "span": span.code,
            "spans": spans,
            "first": first * spans,
            "last": (last + 1) * spans - 1,
        },
    )

    for row in rows:
        counted[row["step"]][row["measure"]] = row["count"]

    return [_point(from_ms(number * step_ms), counts) for number, counts in counted.items()]


def read_totals(connection: sqlite3.Connection) -> Totals:
    """Return what was counted since counting began."""
    since = connection.execute(SQL["counting_since"]).fetchone()["applied_at"]
    return totals(
        from_ms(since),
        [Tally(*row) for row in connection.execute(SQL["activity_ever"])],
    )


def _periods() -> tuple[timedelta, ...]:
    return tuple(PERIODS.values())


def _stats(
    rows: Sequence[sqlite3.Row], oldest: int | None, lately: tuple[Activity, ...], now: datetime
) -> StoreStats:
    """Return the statistics, where a row is jobs of a state with their number and milliseconds."""
    counts = dict.fromkeys(JobState, 0)

    for row in rows:
        counts[JobState(row["state"])] += row["jobs"]

    completed = counts[JobState.COMPLETED]
    took = sum(row["duration_ms"] for row in rows if row["state"] == JobState.COMPLETED)

    return StoreStats(
        counts=counts,
        avg_duration=took * _MILLISECOND / completed if completed else None,
        oldest_pending=None if oldest is None else max(now - from_ms(oldest), timedelta()),
        activity=lately,
    )


def _tallies(connection: sqlite3.Connection, period: timedelta, now: datetime) -> list[Tally]:
    """
    Return what was counted in a period.

    It begins within a span: of what was counted in that, as large a part is taken as
    the period has of the span.
    """
    span = span_for(period)
    begin = to_ms(now - period)
    first = span.number_at(begin)
    part = ((first + 1) * span.ms - begin) / span.ms
    rows = connection.execute(
        SQL["activity_between"],
        {"span": span.code, "first": first, "last": span.number_at(to_ms(now))},
    )
    tallies: list[Tally] = []

    for row in rows:
        weight = part if row["is_first"] else 1
        tallies.append(
            Tally(row["measure"], row["class"], row["count"] * weight, row["ms"] * weight)
        )

    return tallies


def _point(at: datetime, counts: dict[str, int]) -> Point:
    return Point(
        at=at,
        enqueued=counts.get(ENQUEUED, 0),
        completed=counts.get(OutcomeKind.COMPLETED, 0),
        failed=sum(counts.get(kind, 0) for kind in FAILURES),
    )
