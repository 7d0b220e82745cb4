"""What `diagnose` sees of a real database, and whether its advice helps."""

import asyncio
import os
import platform
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from queuectl import EngineClosedError, QueueEngine, __version__, diagnose
from queuectl.engine.runtime.doctor import look
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.sqlite.check import check_database
from queuectl.engine.store.sqlite.statements import SQL
from tests.integration.doctors import NOTE, OK, PROBLEM, contents, follow, only, problems
from tests.integration.processes import WORK, engine_process, pid_in
from tests.still import stand_still
from tests.waiting import wait_until


@pytest.fixture
async def made(db_path: Path) -> Path:
    """A database that nobody has open."""
    async with QueueEngine(db_path):
        return db_path


@pytest.fixture
def connection(made: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        yield connection


# A sound installation


async def test_a_sound_database_has_no_problems(made: Path) -> None:
    findings = await diagnose(made)

    assert problems(findings) == []
    assert {finding.check for finding in findings} >= {
        "access",
        "descriptors",
        "disk",
        "integrity",
        "leftovers",
        "locks",
        "migrations",
        "permissions",
        "queue",
        "schema",
        "shell",
        "size",
        "sqlite-version",
        "versions",
        "workers",
    }


async def test_what_is_ok_has_no_advice_and_what_is_not_has_some(made: Path) -> None:
    made.chmod(0o644)

    for finding in await diagnose(made):
        assert finding.words
        assert (finding.advice is None) == (finding.verdict is OK)


async def test_the_versions_are_those_that_are_installed(made: Path) -> None:
    words = only(await diagnose(made), "versions").words

    assert words.startswith(f"queuectl {__version__}, Python {platform.python_version()}, aiosq")
    assert "unknown" not in words


async def test_a_version_that_is_not_known_is_no_problem(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", forget)
    found = only(await diagnose(made), "versions")

    assert found.verdict is OK
    assert found.words.startswith("queuectl of an unknown version, Python ")


async def test_an_open_engine_finds_the_same(engine: QueueEngine) -> None:
    inside = await engine.doctor()
    outside = await diagnose(engine.database)

    assert [(found.check, found.verdict) for found in inside] == [
        (found.check, found.verdict) for found in outside
    ]


async def test_an_engine_that_is_not_open_does_not_look(db_path: Path) -> None:
    with pytest.raises(EngineClosedError):
        await QueueEngine(db_path).doctor()


async def test_a_look_at_what_a_crash_left_changes_nothing(db_path: Path) -> None:
    async with engine_process(WORK, db_path, 1) as worker, QueueEngine(db_path) as engine:
        await engine.enqueue("echo $$ > pid; exec sleep 60", id="job", cwd=db_path.parent)
        # By then its shell has written down what it will.
        await pid_in(db_path.parent / "pid")
        await worker.kill()
        # While this engine has it open, the log stays where it is.
        before = contents(db_path.parent)
        findings = await diagnose(db_path)

        assert only(findings, "schema").verdict is OK
        assert contents(db_path.parent) == before
        await engine.cancel("job")

        async with engine.workers():
            await engine.wait("job", timeout=10)


async def test_a_log_that_nobody_has_open_stays_where_it_is(made: Path, tmp_path: Path) -> None:
    """As after a crash of everybody: the copies are of files in use."""
    folder = tmp_path / "copy"
    folder.mkdir(mode=0o700)

    async with QueueEngine(made) as engine:
        await engine.enqueue("true", id="in-the-log")

        for end in ("", "-wal"):
            copy = folder / f"queue.db{end}"
            copy.write_bytes(made.with_name(made.name + end).read_bytes())
            copy.chmod(0o600)

    before = contents(folder)
    findings = await diagnose(folder / "queue.db")

    assert only(findings, "queue").verdict is NOTE
    assert contents(folder) == before


async def test_a_database_that_nobody_has_open_has_the_same_files_afterwards(made: Path) -> None:
    before = contents(made.parent)
    await diagnose(made)

    assert contents(made.parent) == before
    assert not made.with_name("queue.db-shm").exists()


async def test_the_database_is_opened_by_sqlite_alone(engine: QueueEngine) -> None:
    """Python's own open would drop SQLite's locks in this process when it is closed."""
    opened: list[str] = []
    is_on = True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if is_on and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(listen)
    await engine.doctor()
    is_on = False

    assert opened, "the hook heard nothing"
    database = str(engine.database)
    assert not {database, f"{database}-wal", f"{database}-shm"} & set(opened)


# No database


async def test_where_there_is_no_database_none_is_made(db_path: Path) -> None:
    found = only(await diagnose(db_path), "database")

    assert (found.verdict, list(db_path.parent.iterdir())) == (NOTE, [])
    assert "there is no database yet" in found.words
    follow(found, after="such as: ")
    assert db_path.exists()


async def test_a_folder_that_is_missing_is_a_problem_and_is_not_made(tmp_path: Path) -> None:
    found = only(await diagnose(tmp_path / "no such" / "queue.db"), "database")

    assert (found.verdict, list(tmp_path.iterdir())) == (PROBLEM, [])
    follow(found, after="make it: ")
    assert (tmp_path / "no such").is_dir()


async def test_before_the_first_use_there_is_no_problem(tmp_path: Path) -> None:
    findings = await diagnose()

    assert (problems(findings), list(tmp_path.iterdir())) == ([], [])
    assert only(findings, "database").verdict is NOTE


async def test_a_folder_in_the_place_of_the_database_is_a_problem(db_path: Path) -> None:
    db_path.mkdir()

    assert "not a file" in only(await diagnose(db_path), "database").words


# A database that cannot be used


async def test_a_file_that_is_no_database_is_a_problem_and_untouched(db_path: Path) -> None:
    db_path.write_text("a shopping list\n" * 100)
    db_path.chmod(0o600)
    before = contents(db_path.parent)
    found = only(await diagnose(db_path), "database")

    assert (found.verdict, contents(db_path.parent)) == (PROBLEM, before)
    assert "not a database, or damaged" in found.words


async def test_a_damaged_database_is_a_problem_and_untouched(made: Path) -> None:
    async with QueueEngine(made) as engine:
        await engine.enqueue_many(["x"] * 3000)

    content = bytearray(made.read_bytes())
    content[-200_000:-100_000] = b"\xaa" * 100_000
    made.write_bytes(content)
    before = contents(made.parent)
    found = only(await diagnose(made), "integrity")

    assert (found.verdict, contents(made.parent)) == (PROBLEM, before)
    assert found.advice is not None
    assert "put a backup in its place" in found.advice


async def test_damage_that_several_looks_meet_is_told_once(made: Path) -> None:
    async with QueueEngine(made) as engine:
        await engine.enqueue_many(["x"] * 3000)

    # So that the check, and what is asked afterwards, cannot be read.
    content = bytearray(made.read_bytes())
    content[8192:60_000] = b"\xaa" * (60_000 - 8192)
    made.write_bytes(content)
    damage = [found for found in await diagnose(made) if found.verdict is PROBLEM]

    assert [found.check for found in damage] == ["integrity"]


async def test_a_counter_that_is_wrong_is_a_problem(
    made: Path, connection: sqlite3.Connection
) -> None:
    connection.execute("UPDATE counts SET jobs = 7 WHERE state = 'dead'")

    assert "7 jobs are counted as dead" in only(await diagnose(made), "integrity").words


async def test_what_others_change_during_a_check_is_no_damage(made: Path) -> None:
    def connect() -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(made, isolation_level=None))

    def check_twice() -> list[int]:
        with connect() as reader, connect() as writer:
            reader.row_factory = sqlite3.Row

            def change(statement: str) -> None:
                if statement == SQL["counts"]:
                    writer.execute("UPDATE counts SET jobs = 7 WHERE state = 'dead'")

            reader.set_trace_callback(change)
            return [len(check_database(reader).problems) for _ in range(2)]

    # Seen by the second check, for the change was made during the first.
    assert await in_thread(check_twice) == [0, 1]


async def test_a_migration_that_was_changed_is_a_problem(
    made: Path, connection: sqlite3.Connection
) -> None:
    connection.execute("UPDATE migrations SET checksum = 'other' WHERE number = 1")
    findings = await diagnose(made)

    assert problems(findings) == ["migrations"]
    assert "migration 1 is not the one" in only(findings, "migrations").words


async def test_a_newer_database_is_a_problem(made: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA user_version = 999")
    found = only(await diagnose(made), "database")

    assert (found.verdict, found.advice) == (PROBLEM, "upgrade queuectl on this machine")
    assert "schema version 999" in found.words


async def test_an_older_database_is_left_as_it_is(db_path: Path) -> None:
    db_path.touch(mode=0o600)
    found = only(await diagnose(db_path), "schema")

    assert (found.verdict, db_path.stat().st_size) == (NOTE, 0)
    follow(found, after="then: ")
    assert only(await diagnose(db_path), "schema").verdict is OK


async def test_another_programs_database_is_a_problem(db_path: Path) -> None:
    with closing(sqlite3.connect(db_path)) as other:
        other.execute("CREATE TABLE photos (name)")

    assert "another program's" in only(await diagnose(db_path), "database").words


async def test_a_large_database_is_read_to_its_end_when_that_is_asked_for(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "_LARGE", 1000)
    short = only(await diagnose(made), "integrity")

    assert short.verdict is NOTE
    assert short.advice is not None
    assert short.advice.endswith(f"queuectl --db {made} doctor --full")
    assert only(await diagnose(made, full=True), "integrity").verdict is OK


# Workers and jobs


async def test_a_dead_worker_is_told_of_until_another_has_come(db_path: Path) -> None:
    async with engine_process(WORK, db_path, 1) as worker:
        await worker.kill()

    findings = [found for found in await diagnose(db_path) if found.check == "workers"]
    assert [found.verdict for found in findings] == [OK, NOTE]
    assert "is dead, and has 0 jobs" in findings[1].words
    assert findings[1].advice is not None
    assert findings[1].advice.endswith(f"queuectl --db {db_path} worker start --detach")

    async with QueueEngine(db_path) as engine, engine.workers():
        await wait_until(lambda: one_worker(engine))
        assert "1 live worker with 1 slot" in only(await engine.doctor(), "workers").words


async def one_worker(engine: QueueEngine) -> bool:
    return len(await engine.list_workers()) == 1


async def test_a_job_that_is_due_without_a_worker_is_noted(engine: QueueEngine) -> None:
    await engine.enqueue("true", id="job")
    found = only(await engine.doctor(), "queue")

    assert (found.verdict, "no worker is alive" in found.words) == (NOTE, True)
    follow(found, after="start one: ")
    await engine.wait("job", timeout=10)
    assert only(await engine.doctor(), "queue").verdict is OK
    await engine.stop_workers()


async def test_a_job_that_is_stuck_is_a_problem(made: Path, connection: sqlite3.Connection) -> None:
    async with QueueEngine(made) as engine:
        await engine.enqueue("true", id="job")

    connection.execute(
        "UPDATE jobs SET state = 'processing', ready = NULL, worker = 1, started_at = 0,"
        " stuck = 'process 12 cannot be ended'"
    )
    found = only(await diagnose(made), "stuck")

    assert (found.verdict, found.words) == (
        PROBLEM,
        "job job cannot go on: process 12 cannot be ended",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="asks the pipe who has read it")
async def test_a_worker_that_is_stopped_is_a_problem_until_it_goes_on(db_path: Path) -> None:
    async with engine_process(WORK, db_path, 1) as worker:
        await asyncio.to_thread(stand_still, worker.pid, db_path)
        try:
            _, found = [found for found in await diagnose(db_path) if found.check == "workers"]
            assert (found.verdict, str(worker.pid) in found.words) == (PROBLEM, True)
            follow(found, after="where it was stopped: ", before=";")
            assert only(await diagnose(db_path), "workers").verdict is OK
        finally:
            os.kill(worker.pid, signal.SIGCONT)


async def test_a_copy_without_a_log_is_as_good(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir(mode=0o700)

    with closing(sqlite3.connect(made)) as connection:
        connection.execute("VACUUM INTO ?", (str(folder / "queue.db"),))

    (folder / "queue.db").chmod(0o600)
    before = contents(folder)
    findings = await diagnose(folder / "queue.db")

    assert problems(findings) == []
    assert only(findings, "integrity").verdict is OK
    assert contents(folder) == before
