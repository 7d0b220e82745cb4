"""What a look at many jobs at once, or at the whole database, gives."""

from datetime import datetime
from typing import Final

import msgspec

from queuectl.engine.domain.models import Job

# The most rows that are read for one page. A search of so many takes a tenth of a second.
MOST_READ: Final = 50_000

# The largest whole number that a database holds.
LARGEST_NUMBER: Final = 2**63 - 1


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """
    A page of jobs.

    Attributes:
        jobs: In the order that was asked for.
        older: What to pass as ``before`` for the next page; None at the end.
        is_complete: False where the page is not full, because 50,000 rows were read
            for it; ``older`` goes on behind them.
    """

    jobs: tuple[Job, ...]
    older: int | None
    is_complete: bool


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """
    Why some jobs are in the dead letter queue.

    Attributes:
        reason: The reason that they all have, as ``exit_code=1``; empty where none
            was given.
        count: How many have it.
        latest: When the last one of them died, in UTC.
    """

    reason: str
    count: int
    latest: datetime


class DatabaseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    How large a database is, and what it is made with.

    Attributes:
        path: The file, absolute.
        size_bytes: Its size with the last commit in it.
        wal_bytes: Of the write-ahead log: changes that are not moved into the file yet.
        free_bytes: Of the size, what holds nothing; used again before the file grows.
        outputs_bytes: Of the large outputs, in files beside it.
        schema_version: How many migrations it has had.
        sqlite_version: Of the SQLite library that reads it.
        events: How many are kept.
        oldest_event: When the first of them happened, in UTC; None where there is none.
    """

    path: str
    size_bytes: int
    wal_bytes: int
    free_bytes: int
    outputs_bytes: int
    schema_version: int
    sqlite_version: str
    events: int
    oldest_event: datetime | None
