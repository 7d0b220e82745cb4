"""The statistics: what is counted, read as figures."""

import sqlite3
from collections.abc import Sequence
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

_MILLISECOND: Final = timedelta(milliseconds=1)


def read_stats(connection: sqlite3.Connection, now: datetime) -> StoreStats:
    """Return the statistics of the whole queue: of what is counted, no job is read."""
    counts = connection.execute(SQL["counts"]).fetchall()
    oldest = connection.execute(SQL["oldest_due"], {"now": to_ms(now)}).fetchone()[0]
    lately = tuple(activity(period, _tallies(connection, period, now)) for period in _periods())
    return _stats(counts, oldest, lately, now)


def read_stats_of_tag(connection: sqlite3.Connection, tag: str, now: datetime) -> StoreStats:
    """Return the statistics of the jobs with a tag, from their rows and those of their runs."""
    counts = connection.execute(SQL["counts_with_tag"], {"tag": tag}).fetchall()
    moment = to_ms(now)
    oldest = connection.execute(SQL["oldest_due_with_tag"], {"tag": tag, "now": moment})
    rows = connection.execute(
        SQL["happened_with_tag"], {"tag": tag, "since": to_ms(now - LONGEST), "now": moment}
    )
    happened = [Happening(*row) for row in rows]
    lately = tuple(activity(period, _since(happened, now - period)) for period in _periods())
    return _stats(counts, oldest.fetchone()[0], lately, now)


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
            "span": span.minutes,
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
    """Return the statistics, where a row is a state with its jobs and their milliseconds."""
    counts = dict.fromkeys(JobState, 0) | {JobState(row["state"]): row["jobs"] for row in rows}
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
        {"span": span.minutes, "first": first, "last": span.number_at(to_ms(now))},
    )
    tallies: list[Tally] = []

    for row in rows:
        weight = part if row["is_first"] else 1
        tallies.append(
            Tally(row["measure"], row["class"], row["count"] * weight, row["ms"] * weight)
        )

    return tallies


def _since(happened: Sequence[Happening], begin: datetime) -> list[Tally]:
    """Return what happened behind a time, each for itself."""
    after = to_ms(begin)

    return [
        Tally(measure, 0 if ms is None else class_of(ms), 1, ms or 0)
        for at, measure, ms in happened
        if at > after
    ]


def _point(at: datetime, counts: dict[str, int]) -> Point:
    return Point(
        at=at,
        enqueued=counts.get(ENQUEUED, 0),
        completed=counts.get(OutcomeKind.COMPLETED, 0),
        failed=sum(counts.get(kind, 0) for kind in FAILURES),
    )
