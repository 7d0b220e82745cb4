"""Which processes are a run's: those that were started with its files, or carry its mark."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from queuectl import QueueEngine
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import RunTree
from tests.integration.processes import end, is_running
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# Says a word, and stays until its standard input ends.
STAY = "import sys; print('there', flush=True); sys.stdin.read()"
OPENS = f"import os; os.open({{path!r}}, os.O_RDWR | {{flags}}); {STAY}"


@asynccontextmanager
async def a_process(code: str, *descriptors: int) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(  # noqa: TID251 (not the engine's)
        sys.executable,
        "-c",
        code,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield process.pid
    finally:
        end(process.pid)
        await process.wait()


def made_files(folder: Path) -> tuple[RunFiles, RunTree]:
    files = RunFiles(folder, 1)
    files.make_exit_file()
    assert files.open("7 1")
    mark = Mark(token=folder.name, seq=7, run=1, database=str(folder / "queue.db"))
    return files, RunTree(mark, files)


async def test_a_process_that_was_given_the_files_of_a_run_is_the_runs(tmp_path: Path) -> None:
    files, tree = made_files(tmp_path)

    async with a_process(STAY, files.lock) as pid:
        found = await in_thread(tree.look)

    files.close()
    assert [process.pid for process in found.ours] == [pid]


async def test_a_process_that_has_them_to_be_closed_on_exec_is_not(tmp_path: Path) -> None:
    """
    Such as an engine, and what it has forked for another run and that has not begun.

    That would be killed with the first run, for its process stays the same.
    """
    files, tree = made_files(tmp_path)
    code = OPENS.format(path=str(files.output_path), flags=os.O_CLOEXEC)

    async with a_process(code):
        found = await in_thread(tree.look)

    files.close()
    assert found.ours == ()
    assert found.is_held


async def test_a_stranger_who_reads_the_output_of_a_run_is_left_alone(
    engine: QueueEngine, db_path: Path
) -> None:
    await engine.enqueue("echo hi; sleep 60", id="job", timeout=1, max_retries=0)

    async with engine.workers():
        folder = db_path.parent / "queue.db-run" / "workers"
        await wait_until(lambda: [*folder.glob("*/1.log")])
        [log] = folder.glob("*/1.log")

        # Given the file and not having opened it, as a shell's `tail -f <file` is.
        with log.open("rb") as file:
            async with a_process(STAY, file.fileno()) as pid:
                job = await engine.wait("job", timeout=10)
                assert is_running(pid)

    assert job.reason == "timeout"
