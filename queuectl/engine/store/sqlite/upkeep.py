"""What is not kept for ever: old events, and what was counted long ago."""

import sqlite3
from datetime import datetime, timedelta
from typing import Final

from queuectl.engine.store.sqlite.counting import SPANS, Span
from queuectl.engine.store.sqlite.rows import to_ms
from queuectl.engine.store.sqlite.statements import SQL

# What one transaction takes away: a few milliseconds' work.
_EVENTS: Final = 1000
_SPANS: Final = 60


def is_due(connection: sqlite3.Connection, now: datetime, retention: timedelta | None) -> bool:
    """Whether there is anything to take away; only reads."""
    return any(_has_old(connection, span, now) for span in SPANS) or (
        retention is not None
        and (_has_old_events(connection, now, retention) or _has_idle_jobs(connection))
    )


def prune(connection: sqlite3.Connection, now: datetime, retention: timedelta | None) -> bool:
    """
    Take some of what is too old away.

    Args:
        connection: In a transaction.
        now: The time.
        retention: How long events are kept, None for ever.

    Returns:
        Whether there may be more.
    """
    has_more = [_prune_activity(connection, span, now) for span in SPANS]

    if retention is not None:
        has_more.append(_prune_events(connection, now, retention))

    return any(has_more)


def _prune_activity(connection: sqlite3.Connection, span: Span, now: datetime) -> bool:
    """Delete the oldest counts of a span; return whether there are more that are too old."""
    first = _first(connection, span)
    kept = _first_kept(span, now)

    if first is None or first >= kept:
        return False

    until = min(first + _SPANS, kept)
    connection.execute(SQL["prune_activity"], {"span": span.code, "until": until})
    return _has_old(connection, span, now)


def _prune_events(connection: sqlite3.Connection, now: datetime, retention: timedelta) -> bool:
    """
    Delete the oldest events, and forget jobs of which none is left; return as above.

    A clock that is behind takes nothing away by this. One that is ahead does: it cannot
    be told from a queue that was idle for as long, whose events are to go. Who follows
    them is told.
    """
    has_old = _has_old_events(connection, now, retention)

    if has_old:
        values = {**_limits(now, retention), "limit": _EVENTS}
        connection.execute(SQL["prune_events"], values)
        has_old = _has_old_events(connection, now, retention)

    connection.execute(SQL["prune_former_jobs"], {"limit": _EVENTS})
    return has_old or _has_idle_jobs(connection)


def _has_old(connection: sqlite3.Connection, span: Span, now: datetime) -> bool:
    first = _first(connection, span)
    return first is not None and first < _first_kept(span, now)


def _has_old_events(connection: sqlite3.Connection, now: datetime, retention: timedelta) -> bool:
    limits = _limits(now, retention)
    row = connection.execute(SQL["first_timely_event"], limits).fetchone()
    return row is not None and row["at"] < limits["until"]


def _has_idle_jobs(connection: sqlite3.Connection) -> bool:
    """Whether the id of a deleted job is kept of which no event is."""
    return bool(connection.execute(SQL["has_idle_former_jobs"]).fetchone()[0])


def _limits(now: datetime, retention: timedelta) -> dict[str, int]:
    """Return between which times an event is kept, in ms since 1970."""
    return {"until": to_ms(now - retention), "ahead": to_ms(now + retention)}


def _first(connection: sqlite3.Connection, span: Span) -> int | None:
    row = connection.execute(SQL["first_activity"], {"span": span.code}).fetchone()
    return None if row[0] is None else int(row[0])


def _first_kept(span: Span, now: datetime) -> int:
    return span.number_at(to_ms(now - span.kept))
