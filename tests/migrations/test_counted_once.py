"""Jobs that a program of yesterday adds, which was open when the database was migrated, count."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from queuectl.engine.domain.states import JobState
from tests.conftest import OpenStore
from tests.contract.steps import add_one, end, take
from tests.factories import NOW

# As programs added a job before 0003: the trigger counted it.
OLD_INSERT: Final = """
INSERT INTO jobs (
    seq, id, command, state, priority, attempts, run_count, max_retries, backoff_base,
    timeout_ms, on_crash, max_output_bytes, run_at, ready, created_at, updated_at, tags, cwd, env
)
VALUES (?, ?, 'true', 'pending', 0, 0, 0, 3, NULL, NULL, 'adopt', NULL, 0, 1, 0, 0, NULL, '/', NULL)
"""


def add_as_before(path: Path) -> None:
    """Add five jobs as an older program does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.executemany(OLD_INSERT, [(number, f"old-{number}") for number in range(1, 6)])


async def test_jobs_that_an_older_program_adds_are_counted_and_claimed(
    opened: OpenStore, db_path: Path
) -> None:
    store = await opened(db_path)
    await asyncio.to_thread(add_as_before, db_path)
    await add_one(store, "new")
    waiting = (await store.stats(now=NOW)).counts[JobState.PENDING]
    jobs = await take(store)

    for job in jobs:
        assert await end(store, job)

    counts = (await store.stats(now=NOW)).counts
    assert (waiting, len(jobs)) == (6, 6)
    assert {state: count for state, count in counts.items() if count} == {JobState.COMPLETED: 6}
