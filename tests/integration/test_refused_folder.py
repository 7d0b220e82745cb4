"""A folder that the system does not let the engine look into for a while."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.integration.processes import engine_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="becomes another user")

# The superuser may look everywhere: then it is another user's process. That has imported
# everything by then, for the interpreter's files may lie where nobody may read.
REFUSED: Final = """
import asyncio, ctypes, logging, os, sys
from queuectl import QueueEngine, StoreError

folder = sys.argv[1]
closed = folder + "/closed"

class Heard(logging.Handler):
    def __init__(self, *words):
        super().__init__()
        self.words = set(words)
        self.all = asyncio.Event()

    def emit(self, record):
        self.words -= {words for words in self.words if words in record.getMessage()}
        self.words or self.all.set()

async def until_recorded(engine, job):
    return await engine.wait(job.id, timeout=10)

async def warm():
    async with QueueEngine(folder + "/warm.db") as engine, engine.workers(2):
        await until_recorded(engine, await engine.enqueue("exit 1", max_retries=0))

async def main():
    async with QueueEngine(closed + "/queue.db", kill_grace=0.3) as engine, engine.workers(2):
        print("ready", flush=True)
        gate = ": > begun; until [ -e go ]; do sleep 0.01; done; head -c SIZE /dev/zero; exit 3"
        job = await engine.enqueue(gate, max_retries=0, cwd=folder)
        while not os.path.exists(folder + "/begun"):
            await asyncio.sleep(0.01)
        heard = Heard("cannot read orders: ", "its result waits: ", "cannot look for dead workers")
        logging.getLogger("queuectl").addHandler(heard)
        os.chmod(closed, 0)
        try:
            open(folder + "/go", "w").close()
            await asyncio.wait_for(heard.all.wait(), 10)
            try:
                await engine.enqueue("true")
            except StoreError as error:
                print(type(error).__name__, str(error).partition(":")[0], flush=True)
        finally:
            os.chmod(closed, 0o700)
        ended = await until_recorded(engine, job)
        # Behind that, the shell complains that it cannot write its exit code.
        is_kept = (await engine.output_bytes(job.id)).startswith(bytes(SIZE))
        after = await until_recorded(engine, await engine.enqueue("true", cwd="/"))
        print(ended.state, ended.exit_code, ended.run_count, is_kept, after.state, flush=True)

asyncio.run(warm())

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    PR_SET_DUMPABLE = 4
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)

asyncio.run(main())
sys.stdout.flush()
# Nobody may not write what coverage writes at the end, which would say so.
os._exit(0)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user can reach, with one that is its own."""
    path = Path(tempfile.mkdtemp())
    (path / "closed").mkdir()

    if os.geteuid() == 0:
        for each in (path, path / "closed"):
            os.chown(each, 65534, 65534)

    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("size", [10, 20_000])
async def test_a_folder_that_is_closed_for_a_while_costs_a_worker_only_time(
    folder: Path, size: int
) -> None:
    async with engine_process(REFUSED.replace("SIZE", str(size)), folder) as refused:
        said = [await refused.line(), await refused.line()]

    assert said == [
        "StoreError cannot look for the database's files (Permission denied)\n",
        "dead 3 1 True completed\n",
    ]
