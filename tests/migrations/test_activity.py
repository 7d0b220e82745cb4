"""From 0004 on what happens is counted, and events outlive their jobs."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import EventsPrunedError
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


def delete_as_before(path: Path, which: str = "true") -> None:
    """Delete jobs as an older program does, which is open while the database is migrated."""
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("PRAGMA foreign_keys = ON")
        older.execute(f"DELETE FROM jobs WHERE {which}")  # noqa: S608


async def test_the_id_of_a_job_that_an_older_program_deletes_is_kept(
    opened: OpenStore, db_path: Path
) -> None:
    store = await opened(db_path)
    await add_in(store, JobState.COMPLETED, "a")

    await asyncio.to_thread(delete_as_before, db_path)

    assert [event.job_id for event in await events(store)] == ["a", "a", "a"]


def forget_as_before(path: Path) -> None:
    """Purge as an older program does: it deletes the events of jobs that are gone."""
    delete_as_before(path, "id != 'kept'")

    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("DELETE FROM events WHERE job NOT IN (SELECT seq FROM jobs)")


async def test_an_older_program_takes_no_events_out_of_the_middle(
    opened: OpenStore, db_path: Path
) -> None:
    store = await opened(db_path)
    await add_in(store, JobState.COMPLETED, "front")
    await add_one(store, "kept")
    await add_in(store, JobState.CANCELLED, "behind")

    await asyncio.to_thread(forget_as_before, db_path)

    # What it takes off the front is told to whoever asks for it.
    left = await store.events(since=3, limit=9)
    assert [(event.seq, event.job_id) for event in left] == [
        (4, "kept"),
        (5, "behind"),
        (6, "behind"),
    ]
    with pytest.raises(EventsPrunedError):
        await store.events(since=1, limit=9)
