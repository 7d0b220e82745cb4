"""Processes that the system does not list, and that hold a run's files: it is not over."""

import asyncio
import sys
from pathlib import Path
from typing import Final

import pytest

from queuectl import QueueEngine
from queuectl.engine.runtime import proc
from queuectl.engine.runtime.ending import Remains
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.sweep import Sweeper
from queuectl.engine.runtime.tree import RunTree
from queuectl.engine.store.base import JobStore
from tests.integration.orphans import STAY, a_process
from tests.integration.processes import AS_ANOTHER_USER, end, engine_process, pid_in
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

NOTE: Final = "7 1"

# Who may run a program and not read it may not be looked into: so is ssh-agent, too.
HIDES: Final = (
    "cp $(command -v sh) hidden; chmod 111 hidden; mkfifo fifo;"
    " setsid ./hidden -c 'echo $$ > pid; read word <> fifo' & sleep 60"
)

WAITS_FOR_HIDDEN: Final = f"""
{AS_ANOTHER_USER}
import asyncio, os, sys
from queuectl import QueueEngine

async def until(condition):
    while not await condition():
        await asyncio.sleep(0.01)

async def main():
    folder = os.path.dirname(sys.argv[1])
    pid = folder + "/pid"

    async def began():
        return os.path.exists(pid) and open(pid).read().endswith("\\n")

    async def is_stuck():
        return (await engine.get("job")).stuck is not None

    async with QueueEngine(sys.argv[1], kill_grace=0.1) as engine, engine.workers(1):
        await engine.enqueue(sys.argv[2], id="job", cwd=folder)
        await until(began)
        print("ready", flush=True)
        await engine.cancel("job")
        await until(is_stuck)
        job = await engine.get("job")
        print(job.state, job.stuck, sep=", ", flush=True)
        os.kill(int(open(pid).read()), 9)
        job = await engine.wait("job", timeout=10)
        print(job.state, job.stuck, len(await engine.attempts("job")), sep=", ", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide what processes carry and have open, as another user's are hidden."""
    monkeypatch.setattr(proc, "first_environ", lambda _: b"")
    monkeypatch.setattr(proc, "was_given", lambda *_: False)


def taken_files(folder: Path) -> RunFiles:
    files = RunFiles(folder, 1)
    files.make_exit_file()
    assert files.open(NOTE)
    return files


def run_tree(folder: Path, files: RunFiles, *, leader: int | None = None) -> RunTree:
    mark = Mark(token=folder.name, seq=7, run=1, database=str(folder / "queue.db"))
    return RunTree(mark, files, leader)


@pytest.mark.usefixtures("hidden")
async def test_a_run_of_ours_is_not_gone_while_somebody_unseen_has_its_lock(
    tmp_path: Path,
) -> None:
    files = taken_files(tmp_path)
    tree = run_tree(tmp_path, files)

    async with a_process(STAY, files.lock):
        files.close_lock()
        remained = await tree.end(0)

    remains = await tree.end(0)
    files.close()
    assert (remained, remains) == (Remains.HIDDEN, Remains.GONE)


@pytest.mark.usefixtures("hidden")
async def test_an_adopted_run_is_not_gone_while_somebody_unseen_has_its_output(
    tmp_path: Path,
) -> None:
    files = taken_files(tmp_path)

    async with a_process(STAY, files.output):
        files.close()
        assert files.open_output(tmp_path / "nowhere")
        remained = await run_tree(tmp_path, files).end(0)

    remains = await run_tree(tmp_path, files).end(0)
    files.close()
    assert (remained, remains) == (Remains.HIDDEN, Remains.GONE)


async def test_what_left_the_group_of_a_run_and_is_to_be_left_does_not_keep_it(
    tmp_path: Path,
) -> None:
    files = taken_files(tmp_path)

    async with a_process(STAY, files.lock):
        files.close()
        remains = await run_tree(tmp_path, files).end(0, group_only=True)

    assert remains is Remains.GONE


@pytest.mark.parametrize("knows_its_leader", [True, False])
async def test_a_run_that_left_its_group_is_not_gone_where_nothing_can_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, knows_its_leader: bool
) -> None:
    async with a_process(STAY) as gone:
        pass

    monkeypatch.setattr(proc, "can_list", lambda: False)
    files = taken_files(tmp_path)
    tree = run_tree(tmp_path, files, leader=gone if knows_its_leader else None)

    async with a_process(STAY, files.lock):
        files.close()
        members = tree.look()
        remained = await tree.end(0)

    assert (members.ours, members.is_held) == ((), True)
    assert (remained, await tree.end(0)) == (Remains.HIDDEN, Remains.GONE)


@pytest.mark.usefixtures("hidden")
async def test_a_folder_stays_while_somebody_unseen_holds_files_of_a_run_in_it(
    store: JobStore, db_path: Path
) -> None:
    folder = StateFolder(db_path)
    await asyncio.to_thread(folder.make)
    home = folder.worker("dead")
    home.mkdir(mode=0o700)
    (home / "lock").touch(mode=0o600)
    files = taken_files(home)

    async with a_process(STAY, files.lock):
        files.close()
        await Sweeper(store, folder).sweep()
        was_there = files.lock_path.exists()

    await Sweeper(store, folder).sweep()
    assert was_there
    assert not home.exists()


@pytest.mark.usefixtures("hidden")
async def test_a_worker_that_leaves_keeps_its_folder_while_somebody_unseen_holds_files_in_it(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    workers = db_path.with_name("queue.db-run") / "workers"
    # It ends by itself, and so lets go what has left it.
    command = "setsid sh -c 'echo $$ > pid; exec sleep 60' & until [ -s pid ]; do sleep 0.01; done"
    await engine.enqueue(command, id="job", cwd=tmp_path)
    await engine.drain()
    left = [*workers.iterdir()]

    end(await pid_in(tmp_path / "pid"))
    await wait_until(lambda: not any(RunFiles(home, 1).is_held() for home in left))
    await engine.drain()

    assert len(left) == 1
    assert [*workers.iterdir()] == []


async def test_a_job_whose_files_are_held_by_what_is_hidden_waits_for_that_and_is_recorded_once(
    others_folder: Path,
) -> None:
    database = others_folder / "queue.db"

    async with engine_process(WAITS_FOR_HIDDEN, database, HIDES) as worker:
        said = [await worker.line(), await worker.line()]

    words = "its files are held by a process that the system does not list"
    assert said == [f"processing, {words}\n", "cancelled, None, 1\n"]
