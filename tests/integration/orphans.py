"""Runs whose worker was killed, and processes that pass for those of a run."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from queuectl.engine.runtime.marks import MARK_VARIABLE, Mark
from tests.integration.processes import WORK, end, engine_process, pid_in

# Tells its pid, and goes on when a file named go is there.
GATE: Final = "echo $$ > pid; until [ -e go ]; do sleep 0.01; done; echo ended >> runs"

# Says a word, and stays until its standard input ends.
STAY: Final = "import sys; print('there', flush=True); sys.stdin.read()"


async def orphaned(db_path: Path, tmp_path: Path, *, slots: int = 1) -> int:
    """Let a worker start a job that tells its pid, and kill the worker; return that pid."""
    async with engine_process(WORK, db_path, slots) as dying:
        pid = await pid_in(tmp_path / "pid")
        await dying.kill()

    return pid


@asynccontextmanager
async def a_process(
    code: str,
    *descriptors: int,
    mark: Mark | None = None,
    environ: dict[str, str] | None = None,
) -> AsyncIterator[int]:
    """Run a program in a session of its own that has said a word, and end it."""
    process = await asyncio.create_subprocess_exec(  # noqa: TID251 (not the engine's)
        sys.executable,
        "-c",
        code,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,
        env=environ if mark is None else {MARK_VARIABLE: str(mark)},
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield process.pid
    finally:
        end(process.pid)
        await process.wait()
