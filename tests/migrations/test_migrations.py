"""The schema grows by numbered steps, each whole or not at all."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from queuectl.engine.errors import StoreError
from queuectl.engine.store.migrations import Migration, load_migrations
from queuectl.engine.store.sqlite import setup
from queuectl.engine.store.sqlite.setup import MIGRATIONS, prepare
from tests.contract.processes import other_process
from tests.migrations.dump import SNAPSHOT, dump_schema

NEXT = len(MIGRATIONS) + 1
ROUNDS = 40
GOOD = "CREATE TABLE more (a TEXT) STRICT;\nINSERT INTO settings VALUES ('priority', '7');\n"

MakeModule = Callable[..., str]


@pytest.fixture
def make_module(tmp_path: Path) -> MakeModule:
    """Return the file of a module that has these migrations beside it."""

    def make(*names: str) -> str:
        folder = tmp_path / "migrations"
        folder.mkdir()
        for name in names:
            (folder / name).write_text(f"-- {name}\n", encoding="utf-8")
        return str(tmp_path / "module.py")

    return make


def migration(sql: str) -> Migration:
    return Migration(number=NEXT, name="next", sql=sql)


def add_migration(monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    """Let the next version of queuectl have one more migration."""
    monkeypatch.setattr(setup, "MIGRATIONS", (*MIGRATIONS, migration(sql)))


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_migrations_are_loaded_in_the_order_of_their_numbers(make_module: MakeModule) -> None:
    module = make_module("0002_second.sql", "0001_first.sql", "README.md", "draft.sql")

    loaded = load_migrations(module)

    assert [(each.number, each.name) for each in loaded] == [(1, "first"), (2, "second")]
    assert loaded[0].sql == "-- 0001_first.sql\n"


@pytest.mark.parametrize(
    "names",
    [("0002_a.sql",), ("0001_a.sql", "0003_b.sql"), ("0001_a.sql", "0001_b.sql")],
    ids=str,
)
def test_numbers_have_no_gap_and_no_double(make_module: MakeModule, names: tuple[str, ...]) -> None:
    module = make_module(*names)

    with pytest.raises(ValueError, match="not numbered 1, 2, 3"):
        load_migrations(module)


def test_a_checksum_follows_the_text() -> None:
    assert migration("SELECT 1;").checksum == migration("SELECT 1;").checksum
    assert migration("SELECT 1;").checksum != migration("SELECT 2;").checksum


def test_a_new_database_has_the_schema_of_the_snapshot(db_path: Path) -> None:
    prepare(db_path, now_ms=0)

    # Where this is meant to differ: python -m tests.migrations.dump
    assert dump_schema(db_path) == SNAPSHOT.read_text(encoding="utf-8")


def test_a_new_database_records_every_migration(db_path: Path) -> None:
    prepare(db_path, now_ms=1234)

    assert rows(db_path, "SELECT number, name, checksum, applied_at FROM migrations") == [
        (each.number, each.name, each.checksum, 1234) for each in MIGRATIONS
    ]


def test_a_database_that_is_up_to_date_is_left_as_it_is(db_path: Path) -> None:
    prepare(db_path, now_ms=0)
    before = db_path.read_bytes()

    prepare(db_path, now_ms=1)

    assert db_path.read_bytes() == before


def test_an_older_database_gets_only_what_it_lacks(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(db_path, now_ms=0)
    with closing(sqlite3.connect(db_path)) as connection, connection:
        connection.execute("INSERT INTO settings VALUES ('max-retries', '9')")
    add_migration(monkeypatch, GOOD)

    prepare(db_path, now_ms=1)

    assert rows(db_path, "PRAGMA user_version") == [(NEXT,)]
    assert rows(db_path, "SELECT key, value FROM settings") == [
        ("max-retries", "9"),
        ("priority", "7"),
    ]
    assert rows(db_path, "SELECT number FROM migrations WHERE applied_at = 1") == [(NEXT,)]


@pytest.mark.parametrize(
    "bad",
    [
        "INSERT INTO nowhere VALUES (1);",
        "this is no SQL;",
        "INSERT INTO settings VALUES ('priority', '8');",
        "INSERT OR ROLLBACK INTO settings VALUES ('priority', '8');",
    ],
)
@pytest.mark.parametrize("is_new", [False, True])
def test_a_migration_that_fails_leaves_the_database_as_it_was(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, *, bad: str, is_new: bool
) -> None:
    if not is_new:
        prepare(db_path, now_ms=0)
    before = None if is_new else dump_schema(db_path)
    add_migration(monkeypatch, GOOD + bad + "\n")

    with pytest.raises(StoreError) as caught:
        prepare(db_path, now_ms=1)

    # The error tells of the migration, not of how it was undone.
    assert "rollback" not in str(caught.value)
    monkeypatch.undo()
    prepare(db_path, now_ms=2)
    applied = rows(db_path, "SELECT number FROM migrations WHERE applied_at = 2")
    assert len(applied) == (len(MIGRATIONS) if is_new else 0)
    assert rows(db_path, "SELECT * FROM settings") == []
    assert dump_schema(db_path) == before or is_new


def test_what_would_end_a_statement_may_stand_in_a_trigger_or_a_text(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_migration(
        monkeypatch,
        "-- one; two\nCREATE TABLE notes (text TEXT); -- three;\n"
        "CREATE TRIGGER both AFTER INSERT ON notes BEGIN\n"
        "    DELETE FROM settings;\n    SELECT 'a;\nb';\nEND;\n"
        "INSERT INTO notes VALUES ('x;\ny');\n",
    )

    prepare(db_path, now_ms=0)

    assert rows(db_path, "SELECT text FROM notes") == [("x;\ny",)]


async def test_processes_that_make_one_database_at_once_make_it_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(other_process("migrate", tmp_path, ROUNDS))
            for _ in range(3)
        ]
        for _ in range(ROUNDS - 1):
            for other in others:
                await other.say_go()
            for other in others:
                await other.until_ready()
        applied = await asyncio.gather(*(other.go() for other in others))

    assert sum(map(int, applied)) == ROUNDS * len(MIGRATIONS)
    assert len(list(tmp_path.glob("*.db"))) == ROUNDS
