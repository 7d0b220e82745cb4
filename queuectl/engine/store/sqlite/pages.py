"""
Pages of jobs: the sequence numbers first, in the order that is asked for, then the jobs.

To walk along an index is cheap, and says where it stopped. What no index tells, such as
whether a text is in a command, is then asked of the jobs that were walked past.
"""

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.looks import LARGEST_NUMBER, MOST_READ, JobPage
from queuectl.engine.domain.states import WAITING, JobState
from queuectl.engine.store.sqlite.rows import job_from_row, to_ms
from queuectl.engine.store.sqlite.statements import SQL

# A page that most jobs are on is full after the first step; a search takes a few.
_GROWTH: Final = 8

# How many of the lowest bits of a key of `_Soonest` are the job's number of runs.
_RUN_BITS: Final = 10
_RUNS: Final = 2**_RUN_BITS - 1

# The wildcards of LIKE, and what makes them plain characters.
_SPECIAL: Final = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})


class _Walk(Protocol):
    """Goes along the sequence numbers of jobs, some at a time."""

    is_at_end: bool

    def take(self, most: int) -> list[int]:
        """Return the next sequence numbers."""

    def stop(self) -> int:
        """Return the key of the place that was reached."""

    def key(self, row: sqlite3.Row) -> int:
        """Return the key of the place behind this job."""


def newest_page(
    connection: sqlite3.Connection, wanted: JobFilter, before: int | None, limit: int
) -> JobPage:
    """
    Return a page of jobs, those that arrived last in front.

    Who searches for an id means that job: it is on the first page and in front, however
    far behind it is, and on no other.
    """
    named = _job_of_id(connection, wanted.search)
    walk = _Newest(connection, wanted, LARGEST_NUMBER if before is None else before, besides=named)
    first = matching(connection, named, wanted, 1) if before is None else []
    page = _fill(connection, walk, wanted, limit - len(first))
    return msgspec.structs.replace(page, jobs=(*map(job_from_row, first), *page.jobs))


def soonest_page(
    connection: sqlite3.Connection,
    wanted: JobFilter,
    before: int | None,
    limit: int,
    now: datetime,
) -> JobPage:
    """Return a page of jobs whose time is still to come, those that are due next in front."""
    return _fill(connection, _Soonest(connection, before, to_ms(now)), wanted, limit)


def listed_seqs(connection: sqlite3.Connection, name: str, values: dict[str, Any]) -> list[int]:
    """Return what a query lists, as sequence numbers alone: a tenth of the price of whole rows."""
    # The text is one of ours.
    query = f"SELECT seq FROM ({SQL[name].removesuffix(';')})"  # noqa: S608
    return [row["seq"] for row in connection.execute(query, values)]


def matching(
    connection: sqlite3.Connection, seqs: Sequence[int], wanted: JobFilter, limit: int
) -> list[sqlite3.Row]:
    """Return the first of these jobs that are wanted, in this order."""
    values = {
        "seqs": msgspec.json.encode(seqs).decode(),
        "state": None if wanted.state is None else wanted.state.value,
        "tag": wanted.tag,
        "reason": wanted.reason,
        "pattern": None if wanted.search is None else f"%{wanted.search.translate(_SPECIAL)}%",
        "limit": limit,
    }
    return connection.execute(SQL["matching_jobs"], values).fetchall()


def _job_of_id(connection: sqlite3.Connection, text: str | None) -> list[int]:
    """Return the sequence number of the job whose id a text is, if it is one's."""
    if text is None:
        return []

    return [row["seq"] for row in connection.execute(SQL["get_job"], {"id": text})]


def _fill(connection: sqlite3.Connection, walk: _Walk, wanted: JobFilter, limit: int) -> JobPage:
    begin = walk.stop()
    found: list[sqlite3.Row] = []
    # One more than the page has: it tells whether another page follows.
    step, left = limit + 1, MOST_READ

    while len(found) <= limit and left > 0 and not walk.is_at_end:
        seqs = walk.take(min(step, left))
        found += matching(connection, seqs, wanted, limit + 1 - len(found))
        left -= step
        step *= _GROWTH

    shown = found[:limit]

    if len(found) > limit:
        older: int | None = walk.key(shown[-1]) if shown else begin
        return JobPage(jobs=tuple(map(job_from_row, shown)), older=older, is_complete=True)

    stop = walk.stop()

    # It may have stopped where there is nothing more.
    if not walk.is_at_end:
        walk.take(1)

    return JobPage(
        jobs=tuple(map(job_from_row, shown)),
        older=None if walk.is_at_end else stop,
        is_complete=walk.is_at_end,
    )


class _Newest:
    """
    From the job that arrived last to the first; a key is a sequence number.

    Args:
        connection: To the database.
        wanted: Decides which index is walked along.
        before: Where to begin: behind this sequence number.
        besides: Sequence numbers to leave out.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        wanted: JobFilter,
        before: int,
        *,
        besides: Collection[int],
    ) -> None:
        self.is_at_end = False
        self._connection = connection
        self._place = before
        self._besides = besides
        self._name, self._values = _index_for(connection, wanted)

    def take(self, most: int) -> list[int]:
        values = {**self._values, "before": self._place, "limit": most}
        rows = self._connection.execute(SQL[self._name], values).fetchall()
        self.is_at_end = len(rows) < most

        if rows:
            self._place = rows[-1]["seq"]

        # A job has a row for each of its runs.
        seqs = dict.fromkeys(row["seq"] for row in rows)
        return [seq for seq in seqs if seq not in self._besides]

    def stop(self) -> int:
        return self._place

    def key(self, row: sqlite3.Row) -> int:
        return int(row["seq"])


class _Soonest:
    """
    From the job that is due next to the last.

    A key is the sequence number of a job with the lowest bits of its number of runs.
    It stands for the job's ``run_at``, which is the same for as long as that
    number is. Where it is not, the job has run, and so everything before it was due: what
    is left begins in front. So does a page whose key is a job that was deleted.

    Args:
        connection: To the database.
        before: The key of the job behind which to begin, None for the first.
        now: In milliseconds; what is due by now is not to come any more.
    """

    def __init__(self, connection: sqlite3.Connection, before: int | None, now: int) -> None:
        self.is_at_end = False
        self._connection = connection
        self._place = (now, LARGEST_NUMBER)
        self._last = 0
        self._begin(before or 0)

    def take(self, most: int) -> list[int]:
        run_at, seq = self._place
        # Many may be due at the same time.
        rows = self._rows("walk_due_together", run_at=run_at, seq=seq, limit=most)

        if len(rows) < most:
            rows += self._rows("walk_due_later", run_at=run_at, limit=most - len(rows))

        self.is_at_end = len(rows) < most

        if rows:
            self._place = rows[-1]["run_at"], rows[-1]["seq"]
            self._last = self.key(rows[-1])

        return [row["seq"] for row in rows]

    def stop(self) -> int:
        return self._last

    def key(self, row: sqlite3.Row) -> int:
        return int(row["seq"]) << _RUN_BITS | int(row["run_count"]) & _RUNS

    def _begin(self, key: int) -> None:
        seq = key >> _RUN_BITS

        for row in self._rows("place_of_due", seq=seq, runs=key & _RUNS, mask=_RUNS):
            self._place = max(self._place, (row["run_at"], seq))

    def _rows(self, name: str, **values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(SQL[name], values).fetchall()


def _index_for(connection: sqlite3.Connection, wanted: JobFilter) -> tuple[str, dict[str, Any]]:
    """Choose the query that walks past the fewest jobs."""
    if wanted.tag is not None:
        return "walk_tag", {"tag": wanted.tag}

    match wanted.state:
        case None:
            return "walk_jobs", {}
        case JobState.COMPLETED:
            # They may be far behind all that wait.
            return "walk_runs", {}
        case JobState.PENDING:
            counts = {row["state"]: row["jobs"] for row in connection.execute(SQL["counts"])}
            waiting = sum(counts[state] for state in WAITING)
            # That index is not in this order: it is read whole. Where it is large, the
            # jobs in it are not far from each other.
            return ("walk_waiting" if waiting <= MOST_READ else "walk_jobs"), {}
        case _:
            return "walk_state", {"state": wanted.state.value}
