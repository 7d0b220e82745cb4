"""A host program that abandons its loop, and with it the engine, ends; its runs go on."""

from pathlib import Path
from typing import Final

import pytest

from queuectl import JobState, OnCrash, QueueEngine
from tests.integration.orphans import GATE
from tests.integration.processes import engine_process

# The signal comes while the loop does nothing else: in the middle of something, what a handler
# raises may end a task and not the loop, or be thrown away by Python itself.
ABANDON: Final = """
import asyncio, pathlib, signal, sys
from queuectl import QueueEngine

async def main():
    begun = pathlib.Path(sys.argv[1]).with_name("pid")

    async with QueueEngine(sys.argv[1]) as engine, engine.workers(int(sys.argv[2])):
        print("ready", flush=True)

        while not begun.exists():
            await asyncio.sleep(0.01)

        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        await asyncio.Event().wait()

loop = asyncio.new_event_loop()
try:
    loop.run_until_complete(main())
except KeyboardInterrupt:
    pass
"""


EXIT_IN_A_HANDLER: Final = """
import asyncio, pathlib, signal, sys
from queuectl import QueueEngine

async def main():
    begun = pathlib.Path(sys.argv[1]).with_name("pid")

    async with QueueEngine(sys.argv[1]) as engine, engine.workers(int(sys.argv[2])):
        print("ready", flush=True)

        while not begun.exists():
            await asyncio.sleep(0.01)

        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        await asyncio.Event().wait()

signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
asyncio.run(main())
"""


@pytest.mark.parametrize("script", [ABANDON, EXIT_IN_A_HANDLER])
async def test_the_runs_of_a_program_that_abandons_its_loop_go_on(
    engine: QueueEngine, db_path: Path, tmp_path: Path, script: str
) -> None:
    command = f"trap 'exit 9' TERM; {GATE}; exit 7"
    await engine.enqueue(command, id="job", cwd=tmp_path, on_crash=OnCrash.ADOPT, max_retries=0)

    async with engine_process(script, db_path, 1) as host:
        code = await host.ended()

    async with engine.workers():
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    assert code == 0
    assert (job.state, job.exit_code, job.run_count) == (JobState.DEAD, 7, 1)
