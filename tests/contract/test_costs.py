"""What the store's hot paths cost: in counts, that are the same on every machine."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar, cast

import pytest

from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import Change
from queuectl.engine.store.sqlite import by_hand, operations
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.contract.steps import add, add_one, decided, end, make_run, take
from tests.contract.test_sqlite_only import trace
from tests.factories import NOW, make_new_job
from tests.waiting import wait_until

T = TypeVar("T")


class Counting:
    """A driver's connection that counts what is executed through it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.statements = 0

    def execute(self, *values: Any) -> sqlite3.Cursor:
        """Execute one statement."""
        self.statements += 1
        return self._connection.execute(*values)

    def executemany(self, query: str, rows: Iterable[Any]) -> sqlite3.Cursor:
        """Execute one statement for each row."""
        given = list(rows)
        self.statements += len(given)
        return self._connection.executemany(query, given)


async def counted(
    store: SqliteStore, operation: Callable[[sqlite3.Connection], T]
) -> tuple[int, T]:
    """Run an operation; return how many statements it executed, and its result."""

    def run(connection: sqlite3.Connection) -> tuple[int, T]:
        counting = Counting(connection)
        result = operation(cast("sqlite3.Connection", counting))
        return counting.statements, result

    return await store._writer.submit(run, Change.STATE)


@pytest.mark.parametrize("jobs", [1, 100])
async def test_any_number_of_jobs_is_added_with_six_statements(
    sqlite: SqliteStore, jobs: int
) -> None:
    new = [make_new_job(id=f"job-{n}") for n in range(jobs)]

    statements, added = await counted(
        sqlite, lambda connection: operations.insert(connection, lambda _: new, NOW)
    )

    # The sixth counts what happens in a minute.
    assert (statements, len(added)) == (6, jobs)


@pytest.mark.parametrize("jobs", [1, 100])
async def test_any_number_of_jobs_is_claimed_with_four_statements(
    sqlite: SqliteStore, jobs: int
) -> None:
    await add(sqlite, *(make_new_job(id=f"job-{n}") for n in range(jobs)))

    statements, claim = await counted(
        sqlite, lambda connection: operations.claim(connection, 1, 100, NOW)
    )

    assert (statements, len(claim.jobs)) == (4, jobs)


@pytest.mark.parametrize("jobs", [1, 100])
async def test_any_number_of_runs_is_recorded_with_six_statements(
    sqlite: SqliteStore, jobs: int
) -> None:
    await add(sqlite, *(make_new_job(id=f"job-{n}") for n in range(jobs)))
    ends = [
        operations.End(job, decided(job, OutcomeKind.COMPLETED), make_run(output=b"said"), NOW)
        for job in await take(sqlite)
    ]

    statements, made = await counted(sqlite, lambda connection: operations.finish(connection, ends))

    # The sixth counts what happens in a minute, for all of them.
    assert (statements, made) == (6, [end.transition for end in ends])


@pytest.mark.parametrize("jobs", [1, 100])
async def test_any_number_of_jobs_is_put_back_with_five_statements(
    sqlite: SqliteStore, jobs: int
) -> None:
    names = [f"job-{n}" for n in range(jobs)]
    await add(sqlite, *(make_new_job(id=name, max_retries=0) for name in names))
    await asyncio.gather(*(end(sqlite, job, OutcomeKind.FAILED) for job in await take(sqlite)))
    dead = frozenset({JobState.DEAD})

    statements, retried = await counted(
        sqlite, lambda connection: by_hand.retry(connection, names, dead, NOW)
    )

    # Two look at the jobs, before and after; the fifth counts what happens in a minute.
    assert (statements, [job.id for job in retried]) == (5, names)


@pytest.mark.parametrize("jobs", [1, 100])
async def test_any_number_of_jobs_is_let_run_with_three_statements(
    sqlite: SqliteStore, jobs: int
) -> None:
    names = [f"job-{n}" for n in range(jobs)]
    later = NOW + timedelta(hours=1)
    await add(sqlite, *(make_new_job(id=name, run_at=later, is_due=False) for name in names))

    statements, due = await counted(
        sqlite, lambda connection: by_hand.run_now(connection, names, NOW)
    )

    assert (statements, [job.id for job in due]) == (3, names)


async def test_results_that_come_together_are_one_transaction(sqlite: SqliteStore) -> None:
    await add(sqlite, *(make_new_job(id=f"job-{n}") for n in range(50)))
    claimed = await take(sqlite)
    found = await trace(sqlite)

    await asyncio.gather(*(end(sqlite, job) for job in claimed))

    assert found.count("BEGIN IMMEDIATE") == 1


async def test_what_can_wait_does_not_go_along_with_a_commit_that_others_hurried(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.engine.store.sqlite.writer.COMMIT_WINDOW", 3600)
    await add_one(sqlite)
    [job] = await take(sqlite)
    found = await trace(sqlite)
    first, second = Held(), Held()

    async def submit(function: Callable[[sqlite3.Connection], None]) -> None:
        await sqlite._writer.submit(function, Change.STATE)

    # The second is asked for while the first is committed, and so hurries.
    running = [asyncio.create_task(submit(first.hold))]
    await wait_until(first.is_held.is_set)
    running.append(asyncio.create_task(submit(second.hold)))
    first.go.set()
    await wait_until(second.is_held.is_set)
    # What comes while the second is committed has a window of its own.
    finishing = asyncio.create_task(end(sqlite, job, OutcomeKind.COMPLETED))
    await wait_until(lambda: len(sqlite._writer._waiting) == 1)
    second.go.set()
    await asyncio.gather(*running)
    await submit(lambda _: None)
    assert await finishing

    assert found.count("BEGIN IMMEDIATE") == 3


class Held:
    """An operation that is in the middle of its transaction until it is let go."""

    def __init__(self) -> None:
        self.is_held = threading.Event()
        self.go = threading.Event()

    def hold(self, _: sqlite3.Connection) -> None:
        """Wait, in the connection's thread."""
        self.is_held.set()
        assert self.go.wait(10)
