"""Whose child a process is: how it ended is asked only where it is proved to be the run's shell."""

import asyncio
import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from queuectl import JobState, QueueEngine
from tests.integration.orphans import GATE, orphaned
from tests.integration.processes import WORK, engine_process, is_running, pid_in
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# A worker whose program is replaced while nobody has heard how the shell ended.
REPLACED: Final = """
import asyncio, os, signal, sys
from queuectl import QueueEngine

async def main():
    db, folder, deed, successor = sys.argv[1:]
    async with QueueEngine(db, kill_grace=0.3) as engine:
        print("ready", flush=True)
        async with engine.workers(1):
            while not os.path.exists(folder + "/pid"):
                await asyncio.sleep(0.01)
            shell = int(open(folder + "/pid").read())
            match deed:
                case "kill": os.kill(shell, signal.SIGKILL)
                case "kill all": os.killpg(shell, signal.SIGKILL)
                case "go": open(folder + "/go", "w").close()
            os.waitid(os.P_PID, shell, os.WEXITED | os.WNOWAIT)
            os.execv(sys.executable, [sys.executable, "-c", successor, db, "1"])

asyncio.run(main())
"""

# A worker that makes room for a successor when it is asked to, which takes its time to begin.
LEAVING: Final = f"""
import asyncio, os, sys
from queuectl import QueueEngine

async def main():
    async with QueueEngine(sys.argv[1], kill_grace=0.3) as engine:
        print("ready", flush=True)
        return await engine.run(can_restart=True)

SLOW = '''
import os, sys, time
open(sys.argv[1] + ".begun", "w").close()
while not os.path.exists(sys.argv[1] + ".go"):
    time.sleep(0.01)
{WORK}'''

if asyncio.run(main()):
    os.execv(sys.executable, [sys.executable, "-c", SLOW, sys.argv[1], "1"])
"""

# To a worker of this program the database is busy when it comes with its first result.
REFUSED_ONCE: Final = f"""
import sys
from queuectl import StoreBusyError
from queuectl.engine.store.sqlite.store import SqliteStore

async def refuse(store, *given, **named):
    SqliteStore.finish = usual
    raise StoreBusyError(sys.argv[1], "the database is locked by another program")

usual, SqliteStore.finish = SqliteStore.finish, refuse
{WORK}"""

# What is left in the shell's group lets the run be adopted.
BUSY: Final = (
    "sleep 68 & echo $$ > draft; mv draft pid; until [ -e go ]; do sleep 0.01; done; exit 5"
)


def _child_that_ended() -> int:
    """Start a child that leads a session and ends with 0, and that nobody has waited for."""
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {}, setsid=True)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return child


@pytest.mark.parametrize("is_same_process", [False, True])
async def test_a_child_of_the_host_program_does_not_say_how_a_run_ended(
    engine: QueueEngine, db_path: Path, tmp_path: Path, *, is_same_process: bool
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path, max_retries=0)
    shell = await orphaned(db_path, tmp_path)
    os.killpg(shell, signal.SIGKILL)
    await wait_until(lambda: not is_running(shell))
    [exit_file] = db_path.parent.glob("queue.db-run/workers/*/1.exit")
    child = _child_that_ended()
    # As if the number of the run's shell, which is gone, were the child's by now.
    exit_file.write_text(f"1 1 {child}\n")

    if is_same_process:
        # The worker's number may come again too; its word was written long ago then.
        os.utime(exit_file, (0, exit_file.stat().st_mtime - 5))
        with closing(sqlite3.connect(db_path)) as connection, connection:
            connection.execute("UPDATE workers SET pid = ?", (os.getpid(),))

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.exit_code, job.reason) == (JobState.DEAD, None, "lost")
    assert os.waitpid(child, 0) == (child, 0)


@pytest.mark.parametrize(("deed", "reason"), [("kill", "signal=SIGKILL"), ("go", "exit_code=5")])
async def test_a_shell_that_ended_while_its_worker_was_replaced_is_reaped_and_heard(
    engine: QueueEngine, db_path: Path, tmp_path: Path, deed: str, reason: str
) -> None:
    await engine.enqueue(BUSY, id="job", cwd=tmp_path, max_retries=0)

    async with engine_process(REPLACED, db_path, tmp_path, deed, WORK):
        job = await engine.wait("job", timeout=10)
        shell = await pid_in(tmp_path / "pid")
        is_zombie = Path(f"/proc/{shell}").exists()

    [run] = await engine.attempts("job")
    assert (job.state, job.reason) == (JobState.DEAD, reason)
    assert run.cpu is not None
    assert not is_zombie


async def test_how_a_child_ended_outlives_a_database_that_does_not_take_it_at_once(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(BUSY, id="job", cwd=tmp_path, max_retries=0)

    async with engine_process(REPLACED, db_path, tmp_path, "kill all", REFUSED_ONCE):
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.signal, job.reason) == (JobState.DEAD, "SIGKILL", "signal=SIGKILL")


async def test_what_a_worker_leaves_to_its_successor_nobody_else_adopts_meanwhile(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(BUSY, id="job", cwd=tmp_path, max_retries=0)

    async with engine_process(LEAVING, db_path):
        shell = await pid_in(tmp_path / "pid")
        restart = asyncio.create_task(engine.restart_workers(timeout=10))
        await wait_until(Path(f"{db_path}.begun").exists)

        # It looks at what the dead have left before it begins.
        async with engine.workers():
            left = await engine.get("job")
            Path(f"{db_path}.go").touch()
            [successor] = await restart
            (tmp_path / "go").touch()
            job = await engine.wait("job", timeout=10)
            is_zombie = Path(f"/proc/{shell}").exists()

    [run] = await engine.attempts("job")
    assert left.worker == "w1"
    assert (job.exit_code, job.worker) == (5, successor.id)
    assert run.cpu is not None
    assert not is_zombie
