"""What is said, and what is kept, when the database is in trouble."""

import os
import signal
import stat
import subprocess  # noqa: TID251 (mounts a small disk)
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.acceptance.home import PATIENCE, Home
from tests.acceptance.jobs import appending, gated
from tests.waiting import wait_until

# Holds the database's lock for two seconds.
HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(2)
connection.execute("ROLLBACK")
print("free", flush=True)
connection.close()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte and a half."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(folder)]

    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")

    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Fill the disk to its last byte; return the file that does."""
    filler = disk / "filler"

    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue

    return filler


async def test_a_full_disk_is_named_and_costs_nothing_that_was_acknowledged(
    home: Home, small_disk: Path
) -> None:
    database = f"--db={small_disk / 'queue.db'}"
    await home.ok(database, "enqueue", "--id", "first", "--", "true")
    worker = await home.start(database, "worker", "start")
    await worker.says("completed first")
    filler = fill(small_disk)
    acknowledged = ["first"]
    refusals = []

    for number in range(4):
        name = f"full-{number}"
        result = await home.run(database, "enqueue", "--id", name, "--", "true", "x" * 30_000)

        if result.code == 0:
            acknowledged.append(name)
        else:
            refusals.append(result)

    filler.unlink()
    await home.ok(database, "enqueue", "--id", "last", "--", "true")
    await home.run(database, "wait", *acknowledged, "last", "--timeout", "10")

    states = {job["id"]: job["state"] for job in await home.json(database, "list")}
    assert states == dict.fromkeys([*acknowledged, "last"], "completed"), worker.err
    assert refusals
    assert {refusal.code for refusal in refusals} == {1}
    assert all(refusal.err.startswith("error: the disk is full") for refusal in refusals)
    assert all("hint: free some space" in refusal.err for refusal in refusals)
    assert "ok" in await home.ok(database, "db", "check")


async def test_a_bulk_enqueue_that_is_too_large_for_the_disk_does_not_stop_the_work(
    home: Home, small_disk: Path
) -> None:
    database = f"--db={small_disk / 'queue.db'}"
    lines = [b'{"id": "n%d", "command": "true # %s"}' % (n, b"x" * 2000) for n in range(1000)]
    await home.ok(database, "enqueue", "--id", "first", "--", "true")
    worker = await home.start(database, "worker", "start")
    await worker.says("completed first")
    bulk = await home.run(database, "enqueue", "-", stdin=b"\n".join(lines))
    later = await home.run(database, "enqueue", "--id", "last", "--", "echo", "done")
    wait = await home.run(database, "wait", "last", "--timeout", "5")
    used = {file.name: file.stat().st_size for file in small_disk.glob("queue.db*")}

    assert bulk.code == 1
    assert bulk.err.startswith("error: the disk is full")
    assert later.code == 0, (later.err, used)
    assert wait.code == 0, (worker.err, used)
    assert await home.ok(database, "logs", "last") == "done\n", used


async def test_a_job_that_ends_while_the_disk_is_full_is_recorded_when_there_is_space(
    home: Home, small_disk: Path
) -> None:
    database = f"--db={small_disk / 'queue.db'}"
    text = msgspec.json.encode([gated(), appending("ended", id="next")])
    await home.ok(database, "enqueue", "-", stdin=text)
    worker = await home.start(database, "worker", "start")
    await home.has_lines("began")
    filler = fill(small_disk)
    home.file("go").touch()
    await home.has_lines("ended")
    await wait_until(lambda: "disk is full" in worker.err or len(home.lines("ended")) > 1)
    filler.unlink()
    jobs = await home.json(database, "wait", "job", "next", "--timeout", "20")

    assert [(job["state"], job["run_count"]) for job in jobs] == [("completed", 1)] * 2
    assert home.lines("ended") == ["job", "next"]
    assert "Traceback" not in worker.err


@pytest.mark.slow
async def test_a_database_that_is_locked_for_two_seconds_only_delays(home: Home) -> None:
    await home.enqueue(gated())
    worker = await home.worker()
    await home.has_lines("began")
    holder = await home.start_python("-c", HOLD, home.database)
    await wait_until(lambda: "held" in holder.out, seconds=PATIENCE)
    home.file("go").touch()
    added = await home.start("enqueue", "--id", "late", "--", "true")
    counts = await home.json("status")
    assert "free" not in holder.out

    assert await added.ended() == 0
    assert await holder.ended() == 0
    jobs = await home.json("wait", "job", "late", "--timeout", "15")
    assert counts["counts"]["processing"] == 1
    assert [(job["state"], job["run_count"]) for job in jobs] == [("completed", 1)] * 2
    assert added.out == "Enqueued job: late\n"
    assert worker.is_running


async def test_a_worker_whose_database_was_deleted_says_so_and_ends_with_7(home: Home) -> None:
    await home.enqueue({"id": "job", "command": "true"})
    worker = await home.worker()
    await home.ok("wait", "job", "--timeout", "15")

    for file in home.database.parent.glob("queue.db*"):
        if file.is_file():
            file.unlink()

    assert await worker.ended() == 7
    assert "Traceback" not in worker.err
    [error] = [line for line in worker.err.splitlines() if line.startswith("error:")]
    assert "deleted or replaced" in error
    assert str(home.database) in error


async def test_a_busy_worker_whose_database_was_deleted_ends_with_7_too(home: Home) -> None:
    await home.enqueue(gated())
    worker = await home.worker()
    await home.has_lines("began")
    home.database.unlink()

    assert await worker.ended(8) == 7
    assert "Traceback" not in worker.err
    await home.is_quiet()


async def test_a_backup_that_is_made_while_workers_run_has_everything(home: Home) -> None:
    await home.enqueue(
        {"id": "done", "command": "echo small"},
        {"id": "large", "command": "head -c 3000000 /dev/zero"},
        gated("running"),
        {"id": "waiting", "command": "echo later", "priority": 1},
    )
    worker = await home.worker("--count", "1")
    await home.has_lines("began")
    await home.ok("config", "set", "max-retries", "9")
    copy = f"--db={home.work / 'copy.db'}"
    await home.ok("db", "backup", "copy.db")
    home.file("go").touch()
    await home.ok("wait", "waiting", "--timeout", "15")
    worker.send(signal.SIGTERM)
    assert await worker.ended() == 0

    states = {job["id"]: job["state"] for job in await home.json(copy, "list")}
    assert states == {
        "done": "completed",
        "large": "completed",
        "running": "processing",
        "waiting": "pending",
    }
    assert "ok" in await home.ok(copy, "db", "check")
    assert await home.ok(copy, "logs", "done") == "small\n"
    assert len(await home.ok(copy, "logs", "large")) == 3_000_000
    assert await home.json(copy, "config", "get", "max-retries") == {"max-retries": 9}
    assert await (await home.start(copy, "worker", "start", "--drain")).ended() == 0
    assert {job["state"] for job in await home.json(copy, "list")} == {"completed"}


async def test_files_are_for_their_owner_alone_whatever_the_umask(home: Home) -> None:
    large = "head -c 3000000 /dev/zero"
    await home.run("enqueue", "--id", "large", "--", "sh", "-c", large, umask=0)
    await home.run("worker", "start", "--detach", umask=0)
    await home.ok("wait", "large", "--timeout", "15")
    await home.run("enqueue", "--id", "job", "--command", gated()["command"], umask=0)
    await home.has_lines("began")
    await home.run("db", "backup", "copy.db", umask=0)

    places = [home.database.parent, *home.database.parent.rglob("*"), *home.work.glob("copy.db*")]
    places += (home.work / "copy.db-run").rglob("*")
    modes = {place: place.lstat().st_mode for place in places}
    folders = {stat.S_IMODE(mode) for mode in modes.values() if stat.S_ISDIR(mode)}
    files = {place: stat.S_IMODE(m) for place, m in modes.items() if not stat.S_ISDIR(m)}
    assert {place: mode for place, mode in files.items() if mode != 0o600} == {}
    assert folders == {0o700}
    assert {".db", ".db-wal", ".log"} <= {place.suffix for place in files}
    home.file("go").touch()


async def test_a_job_has_the_umask_of_its_worker(home: Home) -> None:
    await home.enqueue({"id": "job", "command": "umask; touch made"})
    result = await home.run("worker", "start", "--drain", umask=0o027)

    assert result.code == 0
    assert await home.ok("logs", "job") == "0027\n"
    assert stat.S_IMODE(home.file("made").stat().st_mode) == 0o640
