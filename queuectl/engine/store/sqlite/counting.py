"""What happens, counted in the transaction that makes it: in short and long spans, and ever."""

import sqlite3
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from queuectl.engine.domain.activity import class_of
from queuectl.engine.store.sqlite.rows import to_ms
from queuectl.engine.store.sqlite.statements import SQL

_MILLISECOND: Final = timedelta(milliseconds=1)


class Span(NamedTuple):
    """
    A length of time by which is counted.

    Attributes:
        code: What the database calls it by: in minutes; in seconds below 0.
        ms: How long, in milliseconds.
        kept: For how long its counts are kept.
    """

    code: int
    ms: int
    kept: timedelta

    def number_at(self, at: int) -> int:
        """Return the number of the span that a time is in, in milliseconds since 1970 UTC."""
        return at // self.ms


# Each is kept longer than it is looked back at: a step may begin before its period. Each
# is a whole number of those before it.
MOMENT: Final = Span(-2, 2_000, timedelta(minutes=3))
MINUTE: Final = Span(1, 60_000, timedelta(hours=3))
QUARTER: Final = Span(15, 900_000, timedelta(hours=25))
SPANS: Final = (MOMENT, MINUTE, QUARTER)

# Longer periods than these are counted by the minute, and by the quarter.
BY_THE_MOMENT: Final = timedelta(minutes=1)
BY_THE_MINUTE: Final = timedelta(hours=2)

_EVER: Final = (0, 0)


class Happening(NamedTuple):
    """
    One thing that is to be counted.

    Attributes:
        at: When it was written down, in milliseconds since 1970 UTC.
        measure: What; see `queuectl.engine.domain.activity.Tally`.
        ms: How long it took; None where it takes no time.
    """

    at: int
    measure: str
    ms: int | None


def span_for(period: timedelta) -> Span:
    """Return the span by which a period is looked at."""
    if period <= BY_THE_MOMENT:
        return MOMENT

    return MINUTE if period <= BY_THE_MINUTE else QUARTER


def count_all(connection: sqlite3.Connection, happened: Iterable[Happening]) -> None:
    """Count what happened, all with one statement."""
    sums: dict[tuple[int, str, int], tuple[int, int]] = {}

    for at, measure, ms in happened:
        took = 0 if ms is None else max(ms, 0)
        key = (MOMENT.number_at(at), measure, 0 if ms is None else class_of(took))
        count, total = sums.get(key, (0, 0))
        sums[key] = (count + 1, total + took)

    if sums:
        _add(connection, [(*key, *sums[key]) for key in sums])


def count_some(connection: sqlite3.Connection, measure: str, number: int, now: datetime) -> None:
    """Count what happened so many times, and takes no time."""
    if number:
        _add(connection, [(MOMENT.number_at(to_ms(now)), measure, 0, number, 0)])


def _add(connection: sqlite3.Connection, counted: list[tuple[int, str, int, int, int]]) -> None:
    """Add what was counted in some moments to every span that they are in."""
    rows = [(*span, *rest) for moment, *rest in counted for span in (*_spans_of(moment), _EVER)]
    connection.execute(SQL["count_activity"], {"rows": msgspec.json.encode(rows).decode()})


def _spans_of(moment: int) -> list[tuple[int, int]]:
    """Return the code and the number of each span that a moment is in."""
    return [(span.code, moment * MOMENT.ms // span.ms) for span in SPANS]
