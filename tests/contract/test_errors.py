"""Files that cannot be used: each has its error, and stays as it was."""

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from queuectl.engine.errors import (
    SchemaVersionError,
    StoreDamagedError,
    StoreError,
    StoreReplacedError,
)
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.sqlite.setup import MIGRATIONS, prepare
from tests.conftest import OpenStore
from tests.contract.steps import add_one, end, ids, take_one


def make_other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def make_other_program_with_number(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 42")


def make_text(path: Path) -> None:
    path.write_text("dear diary, " * 1000)


def make_torn(path: Path) -> None:
    prepare(path, now_ms=0)
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8000)


def make_newer(path: Path) -> None:
    prepare(path, now_ms=0)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (make_text, StoreDamagedError, "not a database"),
        (make_torn, StoreDamagedError, "damaged"),
        (make_other_program, StoreDamagedError, "another program's"),
        (make_other_program_with_number, StoreDamagedError, "another program's"),
        (make_newer, SchemaVersionError, "schema version 99"),
    ],
)
async def test_a_file_that_is_not_ours_is_refused_and_left_as_it_was(
    opened: OpenStore,
    tmp_path: Path,
    make: Callable[[Path], None],
    kind: type[StoreError],
    words: str,
) -> None:
    path = tmp_path / "found.db"
    await anyio.to_thread.run_sync(make, path)
    before = path.read_bytes()

    with pytest.raises(kind, match=words) as caught:
        await opened(path)

    assert caught.value.database == str(path)
    assert caught.value.hint is not None
    assert path.read_bytes() == before


async def test_a_newer_schema_is_told_with_both_numbers(opened: OpenStore, db_path: Path) -> None:
    await anyio.to_thread.run_sync(make_newer, db_path)

    with pytest.raises(SchemaVersionError) as caught:
        await opened(db_path)

    assert (caught.value.found, caught.value.supported) == (99, len(MIGRATIONS))


async def test_an_empty_file_becomes_a_database(opened: OpenStore, db_path: Path) -> None:
    db_path.touch()

    store = await opened(db_path)

    assert (await add_one(store)).id == "job-1"


async def test_a_missing_folder_is_told_with_what_makes_it(
    opened: OpenStore, tmp_path: Path
) -> None:
    with pytest.raises(StoreError) as caught:
        await opened(tmp_path / "missing" / "queue.db")

    assert f"mkdir -p {tmp_path / 'missing'}" in str(caught.value.hint)
    assert not (tmp_path / "missing").exists()


async def test_a_folder_is_not_a_database(opened: OpenStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        await opened(tmp_path)


async def test_a_file_is_not_a_folder(opened: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError):
        await opened(tmp_path / "file" / "queue.db")


@pytest.mark.parametrize("target", ["nowhere.db", "queue.db"])
async def test_a_link_that_leads_nowhere_is_an_error_of_ours(
    opened: OpenStore, db_path: Path, target: str
) -> None:
    db_path.symlink_to(target)

    with pytest.raises(StoreError):
        await opened(db_path)


async def test_a_link_to_a_database_is_followed(
    store: JobStore, opened: OpenStore, db_path: Path, tmp_path: Path
) -> None:
    await add_one(store)
    link = tmp_path / "link.db"
    link.symlink_to(db_path)

    other = await opened(link)

    assert await ids(other) == ["job-1"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_a_folder_that_takes_no_files_is_an_error_of_ours(opened: OpenStore) -> None:
    with pytest.raises(StoreError) as caught:
        await opened(Path("/proc/queue.db"))

    assert caught.value.hint is not None


@pytest.mark.parametrize("name", ["a?b#c%20d.db", "ä ☃.db", "file:x.db", "-q.db", "a'b\"c.db"])
async def test_any_file_name_will_do(opened: OpenStore, tmp_path: Path, name: str) -> None:
    store = await opened(tmp_path / name)
    await add_one(store)

    assert await ids(store) == ["job-1"]
    assert (tmp_path / name).is_file()
    assert all(entry.name.startswith(name) for entry in tmp_path.iterdir())


def delete(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def delete_main_file(path: Path) -> None:
    path.unlink()


def move_away(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def replace(path: Path) -> None:
    new = path.with_name("new.db")
    prepare(new, now_ms=0)
    new.replace(path)


@pytest.mark.parametrize("spoil", [delete, delete_main_file, move_away, replace])
async def test_nothing_is_acknowledged_when_the_file_is_gone(
    store: JobStore, db_path: Path, spoil: Callable[[Path], None]
) -> None:
    await add_one(store, "before")
    job = await take_one(store)
    hints: list[object] = []
    store.on_commit(hints.append)

    await anyio.to_thread.run_sync(spoil, db_path)

    for call in (lambda: add_one(store, "after"), lambda: end(store, job), lambda: take_one(store)):
        with pytest.raises(StoreReplacedError) as caught:
            await call()
        assert caught.value.database == str(db_path)
    assert hints == []


async def test_a_backup_is_a_whole_queue_of_its_own(
    store: JobStore, opened: OpenStore, tmp_path: Path
) -> None:
    await add_one(store, tags=("a",))
    await end(store, await take_one(store), output=b"hello")

    await store.backup(str(tmp_path / "backup.db"))

    copy = await opened(tmp_path / "backup.db")
    job = await copy.get("job-1")
    assert job == await store.get("job-1")
    assert await copy.output(job.seq, 1) == b"hello"
    assert await copy.last_event() == await store.last_event()
    assert (await copy.check()).problems == []
    await add_one(copy, "new")
    assert await ids(store) == ["job-1"]


async def test_a_backup_overwrites_nothing(store: JobStore, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    target.write_text("precious")

    with pytest.raises(StoreError) as caught:
        await store.backup(str(target))

    assert caught.value.database == str(target)
    assert target.read_text() == "precious"


async def test_a_backup_that_cannot_be_written_names_its_own_file(
    store: JobStore, tmp_path: Path
) -> None:
    target = tmp_path / "missing" / "backup.db"

    with pytest.raises(StoreError) as caught:
        await store.backup(str(target))

    assert caught.value.database == str(target)
    assert (await add_one(store)).id == "job-1"


async def test_a_healthy_database_has_no_problems(store: JobStore) -> None:
    await add_one(store)
    await end(store, await take_one(store))

    report = await store.check()

    assert (report.schema_version, report.problems) == (len(MIGRATIONS), [])
    assert report.driver.startswith("SQLite 3.")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("UPDATE counts SET jobs = 7 WHERE state = 'dead'", "7 jobs are counted as dead"),
        ("UPDATE migrations SET checksum = 'x' WHERE number = 1", "migration 1 is not the one"),
        ("UPDATE migrations SET checksum = 'x' WHERE number = 2", "migration 2 is not the one"),
        ("INSERT INTO tags (tag, job) VALUES ('a', 99)", "missing row of jobs"),
    ],
)
async def test_a_check_names_what_is_wrong(
    store: JobStore, db_path: Path, harm: str, words: str
) -> None:
    await add_one(store)

    def spoil() -> None:
        with closing(sqlite3.connect(db_path)) as connection, connection:
            connection.execute(harm)

    await anyio.to_thread.run_sync(spoil)

    [problem] = (await store.check()).problems
    assert words in problem
