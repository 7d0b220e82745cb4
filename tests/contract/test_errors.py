"""Files that cannot be used: each has its error, and stays as it was."""

import asyncio
import os
import resource
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest

from queuectl.engine.errors import (
    SchemaVersionError,
    StoreDamagedError,
    StoreError,
    StoreReplacedError,
)
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.log_owner import note_log
from queuectl.engine.store.sqlite import setup
from queuectl.engine.store.sqlite.connection import named_errors
from queuectl.engine.store.sqlite.setup import MIGRATIONS, prepare
from tests.conftest import OpenStore
from tests.contract.processes import other_process
from tests.contract.steps import add_one, end, ids, take_one

ROUNDS: Final = 20


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


async def test_a_database_that_was_emptied_is_refused_and_what_is_left_stays(
    opened: OpenStore, db_path: Path
) -> None:
    await (await opened(db_path)).close()
    log = db_path.with_name("queue.db-wal")
    log.write_text("commits")
    db_path.with_name("queue.db-run").mkdir()
    db_path.write_bytes(b"")

    with pytest.raises(StoreDamagedError, match="the database is empty") as caught:
        await opened(db_path)

    assert "put a backup in the place of all its files" in str(caught.value.hint)
    assert (db_path.stat().st_size, log.read_text()) == (0, "commits")


async def test_no_database_is_made_beside_the_log_of_one_that_is_gone(
    opened: OpenStore, db_path: Path
) -> None:
    log = db_path.with_name("queue.db-wal")
    log.write_text("commits")

    with pytest.raises(StoreDamagedError, match="is gone, and its log is still there"):
        await opened(db_path)

    assert (db_path.exists(), log.read_text()) == (False, "commits")


def inode_noted(db_path: Path) -> int:
    return int(db_path.with_name("queue.db-run").joinpath("database").read_text())


def test_the_log_of_a_database_that_was_made_anew_is_its_own_from_the_begin(db_path: Path) -> None:
    folder = db_path.with_name("queue.db-run")
    folder.mkdir()
    # Of a database that was removed, and its folder was not.
    (folder / "database").write_text("1\n")

    prepare(db_path, now_ms=0)

    assert inode_noted(db_path) == db_path.stat().st_ino


async def test_a_log_whose_note_is_on_its_way_is_not_refused(
    opened: OpenStore, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db_path.with_name("queue.db-run").mkdir()
    await add_one(await opened(db_path))
    db_path.with_name("queue.db-run").joinpath("database").write_text("1\n")
    take_alone = setup._take_alone

    def take_alone_later(lock: int, path: Path) -> None:
        # Whoever makes it has the lock until the note is there.
        note_log(path)
        take_alone(lock, path)

    monkeypatch.setattr(setup, "_take_alone", take_alone_later)

    await asyncio.to_thread(prepare, db_path, now_ms=0)


async def test_a_log_is_not_played_into_a_file_that_was_put_in_the_place_of_its_own(
    opened: OpenStore, db_path: Path, tmp_path: Path
) -> None:
    db_path.with_name("queue.db-run").mkdir()
    other_path = tmp_path / "other.db"
    other = await opened(other_path)
    await add_one(other, "other")
    await other.close()
    first = await opened(db_path)
    await asyncio.to_thread(note_log, db_path)
    await add_one(first)
    log = db_path.with_name("queue.db-wal")
    kept = log.read_bytes()
    await first.close()
    # As a worker that was killed leaves it.
    log.write_bytes(kept)
    other_path.replace(db_path)
    before = db_path.read_bytes()

    with pytest.raises(StoreDamagedError, match="the log beside it is that of another") as caught:
        await opened(db_path)

    assert str(log) in str(caught.value.hint)
    assert (db_path.read_bytes(), log.read_bytes()) == (before, kept)

    log.unlink()
    assert (await (await opened(db_path)).get("other")).id == "other"


async def test_a_new_database_is_made_where_one_was_removed(
    opened: OpenStore, db_path: Path
) -> None:
    db_path.with_name("queue.db-run").mkdir()

    assert (await add_one(await opened(db_path))).id == "job-1"


async def test_processes_that_begin_anew_at_once_take_no_new_file_for_an_emptied_one(
    tmp_path: Path,
) -> None:
    for n in range(ROUNDS):
        (tmp_path / f"{n}.db-run").mkdir()

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


@contextmanager
def descriptors(spare: int) -> Iterator[None]:
    """Let this process open so many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + spare, hard))

    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("spare", range(5))
async def test_a_lack_of_descriptors_is_named(opened: OpenStore, db_path: Path, spare: int) -> None:
    await (await opened(db_path)).close()

    with descriptors(spare), pytest.raises(StoreError) as caught:
        await opened(db_path)

    assert "(Too many open files)" in str(caught.value)
    assert str(caught.value.hint).startswith("raise the limit")
    assert (await add_one(await opened(db_path))).id == "job-1"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_file_that_is_on_no_disk_is_on_no_full_one() -> None:
    path = Path("/proc/self/mem")

    with pytest.raises(StoreError, match="the disk failed to read or write"), named_errors(path):
        sqlite3.connect(path)


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
