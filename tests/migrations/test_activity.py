"""From 0004 on what happens is counted, and events outlive their jobs."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from queuectl.engine.domain.states import JobState
from queuectl.engine.store.sqlite import setup
from queuectl.engine.store.sqlite.setup import MIGRATIONS, prepare
from tests.conftest import OpenStore
from tests.contract.steps import add_in, add_one, events
from tests.factories import NOW

_BEFORE = 3


@pytest.fixture
def older(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a database of before, with the events of a job that was deleted."""
    with monkeypatch.context() as before:
        before.setattr(setup, "MIGRATIONS", MIGRATIONS[:_BEFORE])
        prepare(db_path, now_ms=0)

    with closing(sqlite3.connect(db_path)) as connection, connection:
        connection.execute("INSERT INTO events (at, job, kind, run) VALUES (0, 7, 'enqueued', 0)")

    return db_path


async def test_counting_begins_with_the_migration(older: Path, opened: OpenStore) -> None:
    store = await opened(older)
    await add_one(store)

    totals = await store.totals()

    assert (totals.since, totals.enqueued) == (NOW, 1)
    assert (await store.check()).problems == []


async def test_events_whose_job_is_not_known_any_more_are_left_out(
    older: Path, opened: OpenStore
) -> None:
    store = await opened(older)
    await add_one(store, "a")

    assert [event.job_id for event in await events(store)] == ["a"]
    assert [event.seq for event in await store.events(since=1, limit=9)] == [2]


def delete_as_before(path: Path) -> None:
    """Delete all jobs as an older program does, which is open while the database is migrated."""
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("PRAGMA foreign_keys = ON")
        older.execute("DELETE FROM jobs")


async def test_the_id_of_a_job_that_an_older_program_deletes_is_kept(
    opened: OpenStore, db_path: Path
) -> None:
    store = await opened(db_path)
    await add_in(store, JobState.COMPLETED, "a")

    await asyncio.to_thread(delete_as_before, db_path)

    assert [event.job_id for event in await events(store)] == ["a", "a", "a"]
