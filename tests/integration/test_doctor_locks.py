"""What `diagnose` says of a database whose lock another program holds."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from queuectl import QueueEngine, diagnose
from tests.integration.doctors import OK, PROBLEM, contents, only, problems


@pytest.fixture
async def made(db_path: Path) -> Path:
    """A database that nobody has open."""
    async with QueueEngine(db_path):
        return db_path


@pytest.fixture
def other(made: Path) -> Iterator[sqlite3.Connection]:
    """Another program, as the ``sqlite3`` shell."""
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        yield connection


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
async def test_a_lock_that_another_program_holds_is_a_problem(
    made: Path, other: sqlite3.Connection, how: str
) -> None:
    other.execute(f"BEGIN {how}")
    findings = await diagnose(made)
    found = only(findings, "database-lock")

    assert problems(findings) == ["database-lock"]
    assert "another program holds the lock" in found.words
    assert found.advice is not None
    assert found.advice.endswith(f"fuser -v {made}")

    other.execute("COMMIT")
    assert only(await diagnose(made), "database-lock").verdict is OK


async def test_a_trial_of_the_lock_leaves_the_log_as_it_is(
    made: Path, other: sqlite3.Connection
) -> None:
    other.execute("UPDATE counts SET jobs = 7 WHERE state = 'dead'")
    before = contents(made.parent)

    assert only(await diagnose(made), "database-lock").verdict is OK
    assert contents(made.parent) == before
    assert made.with_name("queue.db-wal").stat().st_size


async def test_a_database_that_may_only_be_read_is_no_locked_one(made: Path) -> None:
    made.chmod(0o400)

    assert "database-lock" not in problems(await diagnose(made))


async def test_in_exclusive_mode_nobody_else_can_even_read(
    made: Path, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.engine.store.sqlite.connection.BUSY_SECONDS", 0.1)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("UPDATE counts SET jobs = 0 WHERE state = 'dead'")
    found = only(await diagnose(made), "database")

    assert (found.verdict, "is locked by another program" in found.words) == (PROBLEM, True)
