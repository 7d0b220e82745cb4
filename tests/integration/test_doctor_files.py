"""What `diagnose` sees of the files of a database, and of what dead engines left."""

import asyncio
import os
import signal
import sqlite3
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Final

import pytest

from queuectl import QueueEngine, diagnose
from queuectl.engine.testing import FakeClock
from tests.cli.program import run_shell
from tests.integration.doctors import NOTE, OK, PROBLEM, follow, only, problems, register
from tests.integration.processes import run_python
from tests.waiting import wait_until

MARK: Final = "QUEUECTL_RUN"


@pytest.fixture
async def made(db_path: Path) -> Path:
    """A database that nobody has open."""
    async with QueueEngine(db_path):
        return db_path


@pytest.fixture
def connection(made: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        yield connection


# Files


async def test_what_others_may_read_is_a_problem_until_the_advice_is_followed(
    made: Path,
) -> None:
    made.chmod(0o644)
    made.with_name("queue.db-run").joinpath("logs").chmod(0o755)
    found = only(await diagnose(made), "permissions")

    assert found.verdict is PROBLEM
    assert f"{made} (0644)" in found.words
    assert "logs (0755)" in found.words
    follow(found)
    assert only(await diagnose(made), "permissions").verdict is OK
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


async def test_a_folder_that_others_may_write_to_is_a_problem(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)

    async with QueueEngine(folder / "queue.db"):
        pass

    bad, _ = [
        found for found in await diagnose(folder / "queue.db") if found.check == "permissions"
    ]
    assert bad.verdict is PROBLEM
    follow(bad)
    assert only(await diagnose(folder / "queue.db"), "permissions").verdict is OK


async def test_a_planted_link_is_a_problem_and_is_not_followed(made: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    link = made.with_name("queue.db-run") / "workers" / "queue\x1b[31m.link"
    link.symlink_to(precious)
    found = only(await diagnose(made), "links")

    assert found.verdict is PROBLEM
    assert "queue\\x1b[31m.link" in found.words
    follow(found, after="remove it: ")
    assert (problems(await diagnose(made)), precious.read_text()) == ([], "mine")


async def test_a_link_in_the_place_of_the_state_folder_is_a_problem(
    made: Path, tmp_path: Path
) -> None:
    state = made.with_name("queue.db-run")
    state.rename(tmp_path / "elsewhere")
    state.symlink_to(tmp_path / "elsewhere")

    assert str(state) in only(await diagnose(made), "links").words


async def test_a_link_in_the_place_of_a_workers_lock_is_told_of(
    made: Path, connection: sqlite3.Connection
) -> None:
    home = made.with_name("queue.db-run") / "workers" / "abc"
    home.mkdir(mode=0o700)
    (home / "lock").symlink_to(made)
    register(connection, "abc")

    assert set(problems(await diagnose(made))) == {"links"}


NOBODY: Final = """
import asyncio, os, sys
from queuectl import diagnose

# Once as it is, so that everything is imported: it may lie where nobody may read.
asyncio.run(diagnose(sys.argv[1]))

print("as nobody")

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

os.umask(int(sys.argv[2]))

for finding in asyncio.run(diagnose(sys.argv[1])):
    print(finding.verdict, finding.check, finding.words, '->', finding.advice)

sys.stdout.flush()
# Nobody may not write what coverage writes at the end, which would say so.
os._exit(0)
"""


async def as_nobody(path: Path, *, umask: int = 0o077) -> list[str]:
    """Look as a user who is not root, and return what was found, a line each."""
    code, output = await run_python("-c", NOBODY, str(path), str(umask))
    assert code == 0, output
    return output.partition("as nobody\n")[2].splitlines()


def problem_lines(lines: list[str]) -> dict[str, str]:
    """Return the problems by their checks."""
    found = [line.split(maxsplit=2) for line in lines]
    return {check: words for verdict, check, words in found if verdict == "problem"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_another_users_database_is_a_problem_and_no_traceback() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "queue.db"

        async with QueueEngine(path):
            pass

        found = problem_lines(await as_nobody(path))

    assert found.keys() == {"access", "database", "locks", "owner"}
    assert f"this user (uid 65534) may not read and write {name}" in found["access"]


async def test_a_folder_that_may_not_be_written_to_is_a_problem() -> None:
    """Root may write everywhere, so where the tests are root, somebody else looks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "queue.db"

        async with QueueEngine(path):
            pass

        if os.geteuid() == 0:
            for member in (folder, *folder.rglob("*")):
                os.chown(member, 65534, 65534)

        folder.chmod(0o500)
        try:
            found = problem_lines(await as_nobody(path))
        finally:
            folder.chmod(0o700)

    assert found.keys() == {"access", "database"}
    assert f"may not read and write {name} -> chmod u+rwX {name}" in found["access"]


async def test_a_look_leaves_nothing_behind_whatever_the_umask() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)

        await as_nobody(folder / "queue.db", umask=0o777)
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("room", ["workers", "wake", "output", "logs", "output/0"])
async def test_a_folder_of_the_state_that_may_not_be_written_to_is_a_problem(room: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "queue.db"
        closed = Path(name) / "queue.db-run" / room

        async with QueueEngine(path):
            closed.mkdir(mode=0o700, exist_ok=True)

        if os.geteuid() == 0:
            for member in (Path(name), *Path(name).rglob("*")):
                os.chown(member, 65534, 65534)

        closed.chmod(0o500)
        before = problem_lines(await as_nobody(path))
        assert before.keys() == {"access"}
        assert f"may not read and write {closed} -> chmod u+rwX {closed}" in before["access"]
        result = run_shell(before["access"].partition(" -> ")[2])
        assert result.code == 0, result
        assert problem_lines(await as_nobody(path)) == {}


# A database that is gone


async def test_a_database_that_was_emptied_is_a_problem_until_the_advice_is_followed(
    made: Path,
) -> None:
    made.write_bytes(b"")
    found = only(await diagnose(made), "database")

    assert (found.verdict, made.stat().st_size) == (PROBLEM, 0)
    assert found.words.startswith("the database is empty, and its state folder says that it was")
    follow(found, after="what was in it: ")
    assert list(made.parent.iterdir()) == []


async def test_what_is_left_of_a_database_that_was_removed_is_noted(made: Path) -> None:
    made.unlink()
    found = only(await diagnose(made), "database")

    assert found.verdict is NOTE
    assert found.words.startswith("there is no database, but what belonged to one: ")
    assert f"{made}-run" in found.words
    follow(found, after="what is left: ")
    assert list(made.parent.iterdir()) == []
    assert "there is no database yet" in only(await diagnose(made), "database").words


# Outputs


async def test_outputs_that_are_gone_are_noted_until_they_are_back(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue_many(["head -c 100000 /dev/zero"] * 2)
    await engine.drain()
    outputs = db_path.with_name("queue.db-run") / "output"
    outputs.rename(tmp_path / "away")
    found = only(await engine.doctor(), "outputs")

    assert found.verdict is NOTE
    assert found.words == "the files of 2 outputs are gone: 1.1.log, 2.1.log"
    assert f"into {outputs}" in str(found.advice)
    (tmp_path / "away").rename(outputs)
    assert [found for found in await engine.doctor() if found.check == "outputs"] == []


# Leftovers


async def test_what_a_living_worker_has_is_no_leftover(engine: QueueEngine, tmp_path: Path) -> None:
    async with engine.workers(2):
        await engine.enqueue("head -c 100000 /dev/zero", id="large")
        await engine.wait("large", timeout=10)
        await engine.enqueue(f"touch {tmp_path}/begun; exec sleep 60", id="long")
        await wait_until((tmp_path / "begun").exists)

        assert only(await engine.doctor(), "leftovers").verdict is OK
        await engine.cancel("long")


async def test_each_leftover_is_noted_and_its_advice_removes_it(made: Path, tmp_path: Path) -> None:
    state = made.with_name("queue.db-run")
    left = {
        "folder": state / "workers" / "0123456789abcdef",
        "pipe": state / "wake" / "0123456789abcdef",
        "none": state / "wake" / ".0123456789abcdef",
        "output": state / "output" / "0" / "12.1.log",
        "log": state / "logs" / "w99.log",
    }
    left["folder"].mkdir(mode=0o700)
    (left["folder"] / "lock").touch(mode=0o600)
    os.mkfifo(left["pipe"], 0o600)
    os.mkfifo(left["none"], 0o600)
    left["output"].parent.mkdir(mode=0o700)
    left["output"].touch(mode=0o600)
    left["log"].touch(mode=0o600)
    os.utime(left["log"], (0, 0))
    findings = [found for found in await diagnose(made) if found.check == "leftovers"]

    assert len(findings) == len(left)
    for (kind, path), found in zip(left.items(), findings, strict=True):
        assert found.verdict is NOTE
        assert kind in found.words
        assert path.name in found.words
        follow(found, after="such as: " if kind == "pipe" else "")
        assert not path.exists()

    assert only(await diagnose(made), "leftovers").verdict is OK
    assert tmp_path.exists()


async def test_a_young_log_of_a_worker_that_is_gone_is_kept(made: Path) -> None:
    (made.with_name("queue.db-run") / "logs" / "w99.log").touch(mode=0o600)

    assert only(await diagnose(made), "leftovers").verdict is OK


async def test_a_log_is_old_by_the_engines_clock(db_path: Path, clock: FakeClock) -> None:
    async with QueueEngine(db_path, clock=clock) as engine:
        log = engine.log_folder / "w99.log"
        log.touch(mode=0o600)
        now = clock.now().timestamp()
        os.utime(log, (now, now))
        assert only(await engine.doctor(), "leftovers").verdict is OK
        clock.advance(31 * 86400)
        assert "w99.log" in only(await engine.doctor(), "leftovers").words


@asynccontextmanager
async def marked_process(mark: str) -> AsyncIterator[int]:
    """Have a process that carries the mark of a run."""
    process = await asyncio.create_subprocess_exec(  # noqa: TID251 (what a job left behind)
        "sleep", "60", env={"PATH": os.defpath, MARK: mark}
    )
    try:
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
async def test_a_process_of_a_run_that_is_over_is_noted(made: Path) -> None:
    home = "0123456789abcdef"
    made.with_name("queue.db-run").joinpath("workers", home).mkdir(mode=0o700)

    async with (
        marked_process(f"{home}.4.1:{made}") as pid,
        marked_process(f"other.4.1:{made}") as other,
    ):
        findings = [found for found in await diagnose(made) if found.check == "leftovers"]
        [found] = [found for found in findings if "process" in found.words]

        assert found.verdict is NOTE
        assert str(pid) in found.words
        assert str(other) not in found.words
        follow(found, after="with kill: ")
