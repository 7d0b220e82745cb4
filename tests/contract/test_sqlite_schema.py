"""The database defends itself, and finds what it looks for through an index."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import TRANSITIONS, WAITING, JobState
from queuectl.engine.store.sqlite.connection import set_up
from queuectl.engine.store.sqlite.lookups import _listing
from queuectl.engine.store.sqlite.setup import prepare
from queuectl.engine.store.sqlite.statements import SQL, run_for_rows


@pytest.fixture
def database(db_path: Path) -> Iterator[sqlite3.Connection]:
    """An empty database, without a store."""
    prepare(db_path, now_ms=0)

    with closing(sqlite3.connect(db_path, isolation_level=None)) as connection:
        set_up(connection, reader=False)
        yield connection


def add_row(database: sqlite3.Connection, **values: object) -> None:
    """Insert a job that breaks no rule, but for what the values say."""
    row: dict[str, object] = {
        "id": "job-1",
        "command": "echo hi",
        "state": "pending",
        "priority": 0,
        "attempts": 1,
        "run_count": 1,
        "max_retries": 0,
        "run_at": 0,
        "ready": 1,
        "created_at": 0,
        "updated_at": 0,
        "started_at": 0,
        "finished_at": 0,
        "worker": 1,
        "cwd": "/",
    } | values
    names = ", ".join(row)
    marks = ", ".join(f":{name}" for name in row)
    database.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", row)  # noqa: S608


def ready_in(state: JobState) -> int | None:
    return 1 if state in WAITING else None


@pytest.mark.parametrize("new", JobState)
@pytest.mark.parametrize("old", JobState)
def test_the_database_allows_the_moves_that_the_domain_allows(
    database: sqlite3.Connection, old: JobState, new: JobState
) -> None:
    add_row(database, state=old.value, ready=ready_in(old))

    def move() -> None:
        database.execute("UPDATE jobs SET state = ?, ready = ?", (new.value, ready_in(new)))

    if new in TRANSITIONS[old]:
        move()
    else:
        with pytest.raises(sqlite3.IntegrityError, match="illegal transition"):
            move()

    [state] = database.execute("SELECT state FROM jobs").fetchone()
    assert state == (new if new in TRANSITIONS[old] else old)


@pytest.mark.parametrize(
    "values",
    [
        {"state": "sleeping"},
        {"command": ""},
        {"attempts": -1},
        {"attempts": 2},
        {"max_retries": -1},
        {"timeout_ms": 0},
        {"ready": None},
        {"ready": 2},
        {"state": "completed"},
        {"state": "completed", "ready": None, "finished_at": None},
        {"state": "processing", "ready": None, "worker": None},
        {"state": "processing", "ready": None, "started_at": None},
        {"cancel_reason": "enough"},
        {"priority": "high"},
    ],
    ids=str,
)
def test_a_row_that_makes_no_sense_is_refused(
    database: sqlite3.Connection, values: dict[str, object]
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        add_row(database, **values)


@pytest.mark.parametrize("kind", [*OutcomeKind, "exploded"])
def test_the_database_knows_the_outcomes_that_the_domain_knows(
    database: sqlite3.Connection, kind: str
) -> None:
    add_row(database)

    def add_run() -> None:
        database.execute(
            "INSERT INTO runs (job, number, worker, started_at, finished_at, outcome,"
            " output_bytes) VALUES (1, 1, 1, 0, 0, ?, 0)",
            (str(kind),),
        )

    if kind in set(OutcomeKind):
        add_run()
    else:
        with pytest.raises(sqlite3.IntegrityError):
            add_run()


def plan(database: sqlite3.Connection, name: str) -> str:
    """Return how SQLite will run a query."""
    values: dict[str, Any] = dict.fromkeys(re.findall(r":(\w+)", SQL[name]), 1)
    values |= {"state": "dead", "tag": "a", "id": "a", "ids": "[]", "jobs": "[]"}
    rows = database.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", values)
    return "\n".join(row["detail"] for row in rows)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("make_ready", "jobs_due"),
        ("claim_jobs", "jobs_ready"),
        ("next_due", "jobs_due"),
        ("oldest_due", "jobs_due"),
        ("unsettled", "jobs_due"),
        ("held_jobs", "jobs_processing"),
        ("cancels_asked", "jobs_processing"),
        ("list_workers", "jobs_processing"),
        ("unregister_worker", "jobs_processing"),
        ("some_dead", "jobs_notable"),
        ("walk_jobs", "PRIMARY KEY"),
        ("walk_state", "jobs_notable"),
        ("walk_runs", "PRIMARY KEY"),
        ("walk_tag", "PRIMARY KEY"),
        ("walk_due_together", "jobs_due"),
        ("walk_due_later", "jobs_due"),
        ("place_of_due", "PRIMARY KEY"),
        ("list_events_of_job", "PRIMARY KEY"),
        ("list_events_of_job", "former_jobs_id"),
        ("list_jobs", "PRIMARY KEY"),
        ("list_jobs_with_tag", "PRIMARY KEY"),
        ("last_jobs_with_tag", "PRIMARY KEY"),
        ("get_job", "sqlite_autoindex_jobs_1"),
        ("get_jobs", "sqlite_autoindex_jobs_1"),
        ("unfinished_ids", "sqlite_autoindex_jobs_1"),
        ("list_events", "PRIMARY KEY"),
        ("large_runs", "PRIMARY KEY"),
        ("webhook_targets", "deliveries_due"),
        ("due_deliveries", "deliveries_due"),
        ("settle_delivery", "PRIMARY KEY"),
        ("prune_deliveries", "deliveries_settled"),
        ("list_webhooks", "deliveries_state"),
        ("last_deliveries", "deliveries_state"),
        ("give_up_deliveries", "deliveries_due"),
        ("mend_due_times", "deliveries_due"),
        ("some_with_tag", "PRIMARY KEY"),
    ],
)
def test_a_query_that_runs_often_reads_no_more_than_it_returns(
    database: sqlite3.Connection, name: str, index: str
) -> None:
    steps = plan(database, name)

    assert index in steps
    assert not re.search(
        r"SCAN (jobs|former_jobs|runs|tags|events|deliveries)$", steps, re.MULTILINE
    )
    assert "TEMP B-TREE" not in steps


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("causes", "jobs_dead"),
        ("counts_with_tag", "PRIMARY KEY"),
        ("happened_with_tag", "PRIMARY KEY"),
        ("get_deliveries", "PRIMARY KEY"),
        ("walk_waiting", "jobs_due"),
        ("matching_jobs", "PRIMARY KEY"),
        ("last_events", "PRIMARY KEY"),
        ("last_events_of_job", "former_jobs_id"),
    ],
)
def test_a_query_that_sorts_reads_no_other_jobs_than_those_that_it_sorts(
    database: sqlite3.Connection, name: str, index: str
) -> None:
    steps = plan(database, name)

    assert index in steps
    assert not re.search(r"SCAN (jobs|former_jobs|runs|tags)$", steps, re.MULTILINE)


@pytest.mark.parametrize("listing", ["list_jobs", "last_jobs"])
@pytest.mark.parametrize(
    "state", [JobState.PROCESSING, JobState.FAILED, JobState.DEAD, JobState.CANCELLED]
)
def test_a_state_that_few_jobs_are_in_is_listed_without_reading_the_others(
    database: sqlite3.Connection, listing: str, state: JobState
) -> None:
    name, values = _listing(listing, JobFilter(state=state))
    database.executescript(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
        " INSERT INTO jobs (id, command, state, priority, attempts, run_count, max_retries,"
        " run_at, created_at, updated_at, started_at, finished_at, cwd)"
        " SELECT i, 'x', 'completed', 0, 1, 1, 0, 0, 0, 0, 0, 0, '/' FROM n"
    )
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    database.set_progress_handler(count, 100)
    rows = database.execute(SQL[name], {"after": 0, "limit": 10, **values}).fetchall()

    assert rows == []
    assert steps < 5


def test_there_may_be_more_rows_than_one_statement_takes(database: sqlite3.Connection) -> None:
    """SQLite takes 32,766 values unless it was built to take more."""
    database.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
    rows = [(0, number, "claimed", 1, None) for number in range(7000)]

    run_for_rows(database, "insert_events", rows)

    found = database.execute("SELECT job FROM events ORDER BY seq").fetchall()
    assert [row["job"] for row in found] == list(range(7000))
