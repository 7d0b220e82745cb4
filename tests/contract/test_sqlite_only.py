"""What only SQLite needs: how its files are made, set, logged and kept short."""

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from blockbuster import BlockingError

from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import StoreError
from queuectl.engine.store.sqlite.connection import APPLICATION_ID, ThreadConnection
from queuectl.engine.store.sqlite.operations import read_settings
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.conftest import OpenStore
from tests.contract.conftest import SMALL_LOG
from tests.contract.processes import other_process
from tests.contract.steps import add, add_one, end, events, ids, take, take_one
from tests.factories import NOW, make_new_job


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Let every file have the permissions that its maker asks for."""
    before = os.umask(0)
    yield
    os.umask(before)


async def connections(store: SqliteStore) -> list[ThreadConnection]:
    """Return the writing and the reading connection."""
    await ids(store)
    assert store._reading is not None
    return [store._writing, store._reading]


async def pragma(connection: ThreadConnection, name: str) -> Any:
    """Return the value of a setting."""
    return await connection.run(lambda db: db.execute(f"PRAGMA {name}").fetchone()[0])


async def trace(store: SqliteStore) -> list[str]:
    """Return a list to which both connections add what they execute."""
    statements: list[str] = []

    for connection in await connections(store):
        await connection.run(lambda db: db.set_trace_callback(statements.append))

    return statements


def log_size(path: Path) -> int:
    """Return the length of the write-ahead log."""
    return path.with_name(f"{path.name}-wal").stat().st_size


@pytest.mark.usefixtures("no_umask")
async def test_every_file_is_its_owners_alone(
    sqlite: SqliteStore, db_path: Path, tmp_path: Path
) -> None:
    await add_one(sqlite)
    await ids(sqlite)
    await sqlite.vacuum()
    await add_one(sqlite, "another")

    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()}

    assert set(modes) == {
        db_path.name + end for end in ("", "-wal", "-shm", "-checkpoint", "-turnstile")
    }
    assert set(modes.values()) == {0o600}


@pytest.mark.usefixtures("no_umask")
async def test_a_backup_is_its_owners_alone(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.backup(str(tmp_path / "backup.db"))

    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wal_autocheckpoint", 0),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("journal_mode", "wal"),
        ("application_id", APPLICATION_ID),
    ],
)
async def test_both_connections_are_set_as_they_must_be(
    sqlite: SqliteStore, name: str, value: object
) -> None:
    assert [await pragma(each, name) for each in await connections(sqlite)] == [value, value]


async def test_a_restored_backup_has_a_write_ahead_log_again(
    sqlite: SqliteStore, opened: OpenStore, tmp_path: Path
) -> None:
    await sqlite.backup(str(tmp_path / "backup.db"))

    copy = await opened(tmp_path / "backup.db")

    assert isinstance(copy, SqliteStore)
    assert await pragma(copy._writing, "journal_mode") == "wal"


async def test_the_reading_connection_cannot_write(sqlite: SqliteStore) -> None:
    _, reading = await connections(sqlite)

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await reading.run(lambda db: db.execute("DELETE FROM jobs"))


async def test_operations_that_wait_together_share_a_transaction(sqlite: SqliteStore) -> None:
    statements = await trace(sqlite)

    await asyncio.gather(*(add_one(sqlite, f"j{n}") for n in range(500)))

    # The first may go alone, 256 share the next one.
    assert statements.count("COMMIT") <= 3
    assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT")
    assert len(await ids(sqlite)) == 500


async def test_an_operation_that_fails_costs_its_neighbours_one_more_round(
    sqlite: SqliteStore,
) -> None:
    await add_one(sqlite, "taken")
    statements = await trace(sqlite)

    await asyncio.gather(
        *(add_one(sqlite, name) for name in ("a", "taken", "b")), return_exceptions=True
    )

    assert statements.count("COMMIT") <= 2
    assert statements.count("ROLLBACK TO operation") == 1


async def test_a_read_begins_no_transaction(sqlite: SqliteStore) -> None:
    await add_one(sqlite)
    statements = await trace(sqlite)

    await ids(sqlite)
    await sqlite.stats(now=NOW)

    assert not [each for each in statements if not each.lstrip("- \n").startswith(("SELECT", "--"))]


async def test_cancelled_callers_leave_no_open_transaction(sqlite: SqliteStore) -> None:
    async with anyio.create_task_group() as callers:
        for n in range(300):
            callers.start_soon(add_one, sqlite, f"j{n}")
        await asyncio.sleep(0)
        callers.cancel_scope.cancel()

    assert not await sqlite._writing.run(lambda db: db.in_transaction)


async def test_a_read_that_nobody_waits_for_any_more_ends_and_keeps_nobody_waiting(
    sqlite: SqliteStore,
) -> None:
    has_begun = threading.Event()
    begun: list[str] = []

    def read_for_ever(connection: sqlite3.Connection) -> None:
        begun.append("first")
        has_begun.set()
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        ).fetchall()

    first = asyncio.create_task(sqlite._read(read_for_ever))
    await asyncio.to_thread(has_begun.wait)
    second = asyncio.create_task(sqlite._read(lambda _: begun.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    await asyncio.wait([first, second])

    assert await ids(sqlite) == []
    assert begun == ["first"]


async def test_a_change_and_its_event_stand_or_fall_together(sqlite: SqliteStore) -> None:
    await add_one(sqlite)
    job = await take_one(sqlite)
    refuse = "CREATE TEMP TRIGGER t BEFORE INSERT ON events BEGIN SELECT raise(ABORT, 'no'); END"
    await sqlite._writing.run(lambda db: db.execute(refuse))

    with pytest.raises(StoreError):
        await end(sqlite, job, output=b"hello")

    assert await sqlite.get(job.id) == job
    assert await sqlite.runs(job.id) == []
    assert await sqlite.output(job.seq, 1) is None
    assert len(await events(sqlite)) == 2


async def test_the_log_stays_short_and_no_passive_checkpoint_is_made(
    small_log: SqliteStore, db_path: Path
) -> None:
    statements = await trace(small_log)
    longest = 0

    for n in range(60):
        await add(small_log, *(make_new_job(id=f"j{n}-{k}", command="x" * 500) for k in range(5)))
        longest = max(longest, log_size(db_path))

    checkpoints = [each for each in statements if "checkpoint" in each]
    assert longest < 2 * SMALL_LOG
    assert len(checkpoints) > 2
    assert all("(TRUNCATE)" in each or "(RESTART)" in each for each in checkpoints)


async def test_the_log_is_cut_when_the_reader_that_kept_it_is_gone(
    small_log: SqliteStore,
    db_path: Path,
    impatient: None,  # noqa: ARG001
) -> None:
    async with other_process("hold", db_path, "SELECT count(*) FROM jobs") as reader:
        await asyncio.gather(*(add_one(small_log, f"a{n}", command="x" * 5000) for n in range(40)))
        assert log_size(db_path) > SMALL_LOG
        await reader.go()

    for n in range(60):
        await add_one(small_log, f"b{n}", command="x" * 5000)

    assert log_size(db_path) < 2 * SMALL_LOG


async def test_a_reader_that_stays_holds_nobody_up(small_log: SqliteStore, db_path: Path) -> None:
    async with other_process("hold", db_path, "SELECT count(*) FROM jobs"):
        with anyio.fail_after(3):
            for n in range(40):
                await add_one(small_log, f"a{n}", command="x" * 5000)

        assert len(await ids(small_log)) == 40


async def test_a_checkpoint_that_cannot_be_made_ends_nothing(
    small_log: SqliteStore, db_path: Path
) -> None:
    gate = os.open(db_path.with_name(f"{db_path.name}-checkpoint"), os.O_RDWR)
    # As held by another process that was stopped while it committed.
    fcntl.flock(gate, fcntl.LOCK_SH)

    try:
        for n in range(40):
            await add_one(small_log, f"a{n}", command="x" * 5000)
    finally:
        os.close(gate)

    assert len(await ids(small_log)) == 40


async def test_a_store_that_cannot_be_opened_leaves_no_thread(
    opened: OpenStore, db_path: Path
) -> None:
    db_path.write_text("not a database, " * 1000)
    before = threading.active_count()

    for _ in range(5):
        with pytest.raises(StoreError):
            await opened(db_path)

    assert threading.active_count() == before


async def test_closing_leaves_one_file_and_everything_in_it(
    sqlite: SqliteStore, db_path: Path, tmp_path: Path
) -> None:
    await add(sqlite, *(make_new_job(id=f"j{n}") for n in range(10)))
    await sqlite.close()

    left = {entry.name for entry in tmp_path.iterdir()}

    assert left <= {
        db_path.name,
        f"{db_path.name}-checkpoint",
        f"{db_path.name}-turnstile",
    }
    with closing(sqlite3.connect(db_path)) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (10,)


async def test_a_purge_leaves_no_row_behind(sqlite: SqliteStore) -> None:
    await add_one(sqlite, tags=("a",))
    await end(sqlite, await take_one(sqlite), output=b"hello")

    await sqlite.purge([JobState.COMPLETED], until=NOW)

    tables = ("jobs", "tags", "runs", "outputs")
    query = " UNION ALL ".join(f"SELECT count(*) FROM {name}" for name in tables)  # noqa: S608
    left = await sqlite._writing.run(lambda db: [row[0] for row in db.execute(query)])
    assert left == [0] * len(tables)


async def test_of_a_purged_job_nothing_is_left_when_its_events_are_gone(
    sqlite: SqliteStore,
) -> None:
    await add_one(sqlite)
    await end(sqlite, await take_one(sqlite))
    await sqlite.purge([JobState.COMPLETED], until=NOW)
    week = timedelta(days=7)

    while await sqlite.prune(now=NOW + 2 * week, retention=week):
        pass

    query = "SELECT count(*) FROM events UNION ALL SELECT count(*) FROM former_jobs"
    left = await sqlite._writing.run(lambda db: [row[0] for row in db.execute(query)])
    assert left == [0, 0]


async def count_of_former_jobs(sqlite: SqliteStore) -> int:
    """Return of how many deleted jobs the id is kept."""
    query = "SELECT count(*) FROM former_jobs"
    return await sqlite._writing.run(lambda db: int(db.execute(query).fetchone()[0]))


async def test_of_a_job_that_outlives_all_events_nothing_is_kept(sqlite: SqliteStore) -> None:
    await add_one(sqlite)
    await end(sqlite, await take_one(sqlite))
    week = timedelta(days=7)
    while await sqlite.prune(now=NOW + 2 * week, retention=week):
        pass

    await sqlite.purge([JobState.COMPLETED], until=NOW)

    assert await count_of_former_jobs(sqlite) == 0


async def test_while_the_id_of_a_job_without_events_is_kept_there_is_something_to_do(
    sqlite: SqliteStore,
) -> None:
    await add(sqlite, *(make_new_job(id=f"j{n}") for n in range(1500)))
    await sqlite.purge([JobState.PENDING], until=NOW)
    week = timedelta(days=7)
    later = NOW + 2 * week

    left = 1500
    while left:
        assert await sqlite.needs_pruning(now=later, retention=week)
        await sqlite.prune(now=later, retention=week)
        left = await count_of_former_jobs(sqlite)

    assert not await sqlite.needs_pruning(now=later, retention=week)


async def test_vacuum_gives_space_back(sqlite: SqliteStore, db_path: Path) -> None:
    await add(sqlite, *(make_new_job(id=f"j{n}", command="x" * 10_000) for n in range(100)))
    for job in await take(sqlite):
        await end(sqlite, job)
    await sqlite.purge([job.state for job in [await sqlite.get("j0")]], until=NOW)
    await sqlite._writer.checkpoint()
    before = db_path.stat().st_size

    await sqlite.vacuum()

    assert db_path.stat().st_size < before / 5
    assert log_size(db_path) == 0


async def test_a_call_to_sqlite_on_the_event_loop_is_caught(sqlite: SqliteStore) -> None:
    connection = sqlite._writing._conn

    with pytest.raises(BlockingError):
        read_settings(connection)
