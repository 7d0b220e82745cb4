"""Files of a database that are deleted, replaced, damaged or closed to us, while it is in use."""

import hashlib
import os
import random
import re
import shutil
import sqlite3
import subprocess  # noqa: TID251 (closes files to their owner)
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio
import pytest

from queuectl import QueueEngine, StoreError
from queuectl.engine.errors import StoreReplacedError
from tests.acceptance.home import Home
from tests.acceptance.jobs import gated
from tests.integration.processes import ENQUEUE, run_python
from tests.waiting import wait_until

PAGE: Final = 4096

LOG_LINE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
LAST_WORDS: Final = re.compile(LOG_LINE.pattern + "error: the worker ends: ")

pytestmark = pytest.mark.timeout(60)


def recipe(database: Path) -> str:
    """Return what whoever meets a damaged database is to do."""
    return (
        "stop the workers and put a backup in its place; without one, the sqlite3 program,"
        f" 3.41 or newer, may save what can be read: sqlite3 {database} .recover"
    )


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path)

    try:
        yield home
    finally:
        await home.close()


@pytest.fixture
async def engine(db_path: Path) -> AsyncIterator[QueueEngine]:
    """An engine whose files may be taken from it."""
    engine = QueueEngine(db_path, kill_grace=0.2)
    await engine.__aenter__()

    try:
        yield engine
    finally:
        await engine.__aexit__(None, None, None)


def side(database: Path, end: str) -> Path:
    return database.with_name(database.name + end)


def contents(database: Path) -> dict[str, str]:
    """Return what is in the database's files, in short; an empty one says nothing."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in database.parent.glob(f"{database.name}*")
        if file.is_file() and not file.name.endswith("-shm") and file.stat().st_size
    }


async def test_what_a_client_adds_to_a_replaced_database_is_never_acknowledged(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(":", id="before")
    await engine.backup(tmp_path / "copy.db")
    acknowledged: list[str] = []

    for number in range(20):
        if number == 10:
            (tmp_path / "copy.db").replace(db_path)

        try:
            acknowledged.append((await engine.enqueue(":", id=f"{number}")).id)
        except StoreReplacedError as error:
            assert number >= 10, error  # noqa: PT017 (which of them is the point)

    assert acknowledged == [str(number) for number in range(10)]


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
async def test_what_another_engine_would_not_find_is_never_acknowledged(
    end: str, engine: QueueEngine, db_path: Path
) -> None:
    await engine.enqueue(":", id="before")
    # Both connections are open.
    await engine.list()
    side(db_path, end).unlink()

    # Refused at once, and not when it is too late.
    with pytest.raises(StoreReplacedError):
        await engine.enqueue(":", id="after")

    with pytest.raises(StoreReplacedError):
        await engine.list()


@pytest.mark.parametrize("ends", [("-shm",), ("-wal", "-shm")], ids=" ".join)
async def test_an_engine_that_lost_its_files_takes_nothing_of_anothers_along(
    ends: tuple[str, ...], engine: QueueEngine, db_path: Path
) -> None:
    await engine.enqueue(":", id="before")
    await engine.list()

    for end in ends:
        side(db_path, end).unlink()

    # Another process begins anew with what it finds, and is told that this is safe.
    code, words = await run_python("-c", ENQUEUE, str(db_path), "5", "other")
    # Ours is told to stop by its own files, and closes them.
    await engine.__aexit__(None, None, None)
    await engine.__aenter__()
    ids = {job.id for job in await engine.list()}

    assert code == 0, words
    assert {f"other-{number}" for number in range(5)} <= ids


@pytest.mark.parametrize("end", ["", "-wal"])
async def test_clients_that_are_at_work_when_a_file_is_deleted_are_not_deceived(
    end: str, engine: QueueEngine, db_path: Path
) -> None:
    deceived: list[str] = []
    acknowledged: list[str] = []
    is_deleted = False

    async def enqueue(client: int) -> None:
        for number in range(200):
            began_after = is_deleted

            try:
                job = await engine.enqueue(":", id=f"{client}-{number}")
            except StoreError:
                return

            acknowledged.append(job.id)

            if began_after:
                deceived.append(job.id)

    async with anyio.create_task_group() as clients:
        for client in range(4):
            clients.start_soon(enqueue, client)

        await wait_until(lambda: len(acknowledged) > 20)
        side(db_path, end).unlink()
        is_deleted = True

    assert deceived == []


async def test_a_busy_worker_whose_database_was_replaced_ends_with_7_and_leaves_nothing(
    home: Home,
) -> None:
    await home.enqueue(gated())
    await home.ok("db", "backup", "copy.db")
    worker = await home.worker()
    await home.has_lines("began")
    home.file("copy.db").replace(home.database)

    assert await worker.ended(10) == 7
    assert "Traceback" not in worker.err
    assert "deleted or replaced" in worker.err
    # What it ran is ended with it, or named.
    await home.is_quiet()
    assert home.lines("ended") == []


async def test_a_worker_whose_log_was_deleted_says_so_and_ends_with_7(home: Home) -> None:
    worker = await home.worker()
    await home.enqueue({"id": "job", "command": "true"})
    await home.ok("wait", "job", "--timeout", "15")
    side(home.database, "-wal").unlink()

    assert await worker.ended(10) == 7
    assert "Traceback" not in worker.err
    assert "deleted or replaced" in worker.err


@pytest.fixture
async def filled(home: Home) -> Path:
    """A database with jobs of every kind, and nothing in its log."""
    await home.enqueue(
        {"id": "done", "command": "echo hi"}, {"id": "bad", "command": "exit 1", "max_retries": 0}
    )
    assert await (await home.start("worker", "start", "--drain")).ended() == 0
    await home.enqueue({"id": "waiting", "command": "true"})
    assert not side(home.database, "-wal").exists()
    return home.database


def damage(database: Path, page: int) -> None:
    """Overwrite a page with noise; of the first, only the header of the file."""
    noise = random.Random(page)  # noqa: S311 (the same in every run)

    with database.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(noise.randbytes(100 if page == 1 else PAGE))


def page_of(database: Path, table: str) -> int:
    """Return the page on which a table begins."""
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        page: int = connection.execute(query, (table,)).fetchone()[0]
        return page


@pytest.mark.parametrize("page", [1, 3])
async def test_a_damaged_database_is_named_with_a_recipe_and_left_as_it_is(
    page: int, home: Home, filled: Path
) -> None:
    damage(filled, page)
    before = contents(filled)

    for words in (["db", "check"], ["enqueue", "--", "true"]):
        result = await home.run(*words)
        assert result.code == 7, (words, result)
        assert recipe(filled) in result.err, (words, result)
        assert "Traceback" not in result.err
        assert contents(filled) == before, words


@pytest.mark.parametrize("table", ["jobs", "settings", "workers", "jobs_ready"])
async def test_a_worker_of_a_damaged_database_ends_with_7_and_the_recipe(
    table: str, home: Home, filled: Path
) -> None:
    damage(filled, page_of(filled, table))
    worker = await home.start("worker", "start")

    assert await worker.ended(5) == 7, worker.err
    assert "Traceback" not in worker.err
    assert recipe(filled) in worker.err


async def test_a_backup_of_a_damaged_database_names_that_and_leaves_no_file(
    home: Home, filled: Path
) -> None:
    damage(filled, page_of(filled, "jobs"))
    result = await home.run("db", "backup", "copy.db")

    assert result.code == 7
    assert f": {filled}\n" in result.err
    assert recipe(filled) in result.err
    assert not home.file("copy.db").exists()


async def test_a_detached_worker_of_a_damaged_database_is_not_called_started(
    home: Home, filled: Path
) -> None:
    damage(filled, page_of(filled, "jobs_ready"))
    result = await home.run("worker", "start", "--detach")

    assert (result.code, result.out) == (7, "")
    assert "ended at its first look; its log ends:\n  " in result.err
    assert recipe(filled) in result.err
    [log_file] = (home.state / "logs").iterdir()
    lines = log_file.read_text().splitlines()
    assert all(LOG_LINE.match(line) for line in lines), lines
    assert LAST_WORDS.match(lines[-1])


async def test_a_worker_whose_database_is_lost_says_that_it_ends_what_runs(
    home: Home, filled: Path
) -> None:
    worker = await home.worker()
    await home.enqueue(gated())
    await home.has_lines("began")
    filled.unlink()

    assert await worker.ended(15) == 7
    assert " warning: ending the running jobs: 1\n" in worker.err


@pytest.fixture(params=["file", "folder"])
def closed(request: pytest.FixtureRequest, filled: Path) -> Iterator[Path]:
    """A database whose file, or folder, cannot be written by its owner."""
    target = filled if request.param == "file" else filled.parent

    if os.geteuid() != 0:
        mode = target.stat().st_mode
        target.chmod(0o400 if request.param == "file" else 0o500)
        yield filled
        target.chmod(mode)
        return

    # Root may write what nobody may, but not what cannot be changed.
    chattr = shutil.which("chattr")
    closing_words = [chattr or "chattr", "+i", str(target)]

    if chattr is None or subprocess.run(closing_words, capture_output=True, check=False).returncode:
        pytest.skip("root cannot be kept from writing here")

    try:
        yield filled
    finally:
        subprocess.run([chattr, "-i", str(target)], check=True)


async def test_a_file_or_folder_that_may_not_be_written_is_named(home: Home, closed: Path) -> None:
    before = contents(closed)

    for words in (
        ["enqueue", "--", "true"],
        ["worker", "start"],
        ["config", "set", "priority", "1"],
    ):
        result = await home.run(*words)
        assert result.code in {1, 7}, (words, result)
        assert "read-only" in result.err or "ermission" in result.err or "written" in result.err
        assert "hint: " in result.err, (words, result)
        assert "Traceback" not in result.err
        assert contents(closed) == before, words
