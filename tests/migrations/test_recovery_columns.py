"""A queue that was filled before 0002 is brought up to date, and nothing of it is lost."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from queuectl.engine.domain.models import OnCrash, OutcomeKind, StopOrder
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.sqlite import setup
from queuectl.engine.store.sqlite.setup import MIGRATIONS, prepare
from tests.conftest import OpenStore
from tests.contract.steps import end, everything, take
from tests.factories import NOW
from tests.migrations.dump import dump_schema

FILLED: Final = Path(__file__).with_name("filled_by_0001.sql")
NEW_COLUMNS: Final[dict[str, dict[str, object]]] = {
    "jobs": {
        "interruptions": 0,
        "crashes": 0,
        "on_crash": "adopt",
        "max_output_bytes": None,
        "stuck": None,
        "is_counted": None,
    },
    "workers": {
        "pid_namespace": "",
        "lock_file": None,
        "pipe": None,
        "can_restart": 0,
        "restart": 0,
    },
    "runs": {"waited_ms": None},
}
NEW_TABLES: Final = ("activity", "former_jobs", "webhooks", "deliveries")

Rows = list[dict[str, object]]


@pytest.fixture
def older(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database as the first migration alone makes it, with jobs in every state."""
    with monkeypatch.context() as patch:
        patch.setattr(setup, "MIGRATIONS", MIGRATIONS[:1])
        prepare(db_path, now_ms=0)

    with closing(sqlite3.connect(db_path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(FILLED.read_text(encoding="utf-8"))

    return db_path


def content(path: Path) -> dict[str, Rows]:
    """Return every row of every table but ``migrations``."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'migrations'"
        ).fetchall()
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]  # noqa: S608
            for (name,) in tables
        }


def with_what_is_new(before: dict[str, Rows]) -> dict[str, Rows]:
    after = {
        table: [{**row, **NEW_COLUMNS.get(table, {})} for row in rows]
        for table, rows in before.items()
    }
    return {**after, **{table: [] for table in NEW_TABLES}}


def test_the_older_queue_has_a_job_in_every_state_and_every_table_has_rows(older: Path) -> None:
    before = content(older)

    assert {row["state"] for row in before["jobs"]} == {state.value for state in JobState}
    assert all(before.values())


def test_nothing_is_lost_and_what_is_new_says_nothing(older: Path) -> None:
    before = content(older)

    prepare(older, now_ms=1)

    assert content(older) == with_what_is_new(before)


def test_an_older_database_comes_to_the_schema_of_a_new_one(older: Path, tmp_path: Path) -> None:
    prepare(older, now_ms=1)
    prepare(tmp_path / "new.db", now_ms=1)

    assert dump_schema(older) == dump_schema(tmp_path / "new.db")


async def test_jobs_of_before_are_read_and_the_check_finds_nothing(
    older: Path, opened: OpenStore
) -> None:
    store = await opened(older)

    jobs = await everything(store)

    assert len(jobs) == 9
    assert {(job.interruptions, job.crashes, job.stuck) for job in jobs} == {(0, 0, None)}
    assert {(job.on_crash, job.max_output_bytes) for job in jobs} == {(OnCrash.ADOPT, None)}
    assert [run.number for run in await store.runs("completed")] == [8, 9]
    assert await store.output(5, 9) == b"hello\n"
    assert (await store.check()).problems == []


async def test_workers_of_before_are_read_and_can_be_told_to_stop(
    older: Path, opened: OpenStore
) -> None:
    store = await opened(older)

    await store.ask_to_stop([3], stop=StopOrder.NOW)

    rows = await store.workers()
    assert [(row.number, row.stop, row.busy) for row in rows] == [
        (3, StopOrder.NOW, 1),
        (7, StopOrder.DRAIN, 1),
    ]
    assert {(row.pid_namespace, row.pipe, row.can_restart) for row in rows} == {("", None, False)}
    assert (await store.orders(7)).cancels == {(4, 1): "enough"}


async def adopt(store: JobStore) -> None:
    [job] = await store.held_jobs(3)
    assert await store.adopt(job, 8, now=NOW) is not None


async def be_stuck(store: JobStore) -> None:
    [job] = await store.held_jobs(3)
    assert await store.mark_stuck(job, "process 7", now=NOW)


async def give_back(store: JobStore) -> None:
    assert await store.release(await store.held_jobs(3), now=NOW, interrupted=True) == 1


async def be_lost(store: JobStore) -> None:
    [job] = await store.held_jobs(3)
    assert await end(store, job, OutcomeKind.LOST, reason="lost", now=NOW)


@pytest.mark.parametrize(
    ("settle", "left"),
    [
        (adopt, {"worker": "w8"}),
        (be_stuck, {"stuck": "process 7"}),
        (give_back, {"interruptions": 1, "state": JobState.PENDING}),
        (be_lost, {"crashes": 1, "state": JobState.FAILED}),
    ],
)
async def test_a_run_of_before_is_settled_like_any_other(
    older: Path,
    opened: OpenStore,
    settle: Callable[[JobStore], Awaitable[None]],
    left: dict[str, object],
) -> None:
    store = await opened(older)

    await settle(store)

    job = await store.get("processing")
    assert {name: getattr(job, name) for name in left} == left
    assert (await store.check()).problems == []


async def test_jobs_that_waited_are_claimed_and_dead_ones_put_back(
    older: Path, opened: OpenStore
) -> None:
    store = await opened(older)

    assert (await store.retry_dead(now=NOW)).jobs == 2

    assert [job.id for job in await take(store)] == ["pending", "dead", "lost"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET interruptions = -1",
        "UPDATE jobs SET crashes = -1",
        "UPDATE jobs SET crashes = NULL",
        "UPDATE jobs SET on_crash = 'restart'",
        "UPDATE jobs SET max_output_bytes = 0",
        "UPDATE jobs SET stuck = 'x' WHERE state = 'completed'",
        "UPDATE workers SET restart = 2",
        "UPDATE workers SET can_restart = 2",
        "UPDATE workers SET pid_namespace = NULL",
    ],
)
def test_the_database_refuses_what_cannot_be(older: Path, change: str) -> None:
    prepare(older, now_ms=1)

    with (
        closing(sqlite3.connect(older)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="constraint failed"),
    ):
        connection.execute(change)
