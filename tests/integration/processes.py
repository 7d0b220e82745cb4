"""Processes as tests meet them: alive or gone, and engines in processes of their own."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.waiting import PATIENCE, wait_until

_ROOT: Final = Path(__file__).parents[2]

# The superuser sees all, and no limit holds for it: in its place another user goes on,
# who may still read the interpreter's files, wherever they are, and what /proc has of it.
AS_ANOTHER_USER: Final = """
import ctypes, os

if os.geteuid() == 0:
    libc = ctypes.CDLL(None)
    PR_SET_DUMPABLE, PR_SET_KEEPCAPS, CAPS_VERSION, CAP_DAC_OVERRIDE = 4, 8, 0x20080522, 1
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(54321)
    os.setuid(54321)
    bits = 1 << CAP_DAC_OVERRIDE
    caps = (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0)
    assert libc.capset((ctypes.c_uint32 * 2)(CAPS_VERSION, 0), caps) == 0
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
"""

WORK: Final = """
import asyncio, signal, sys
from queuectl import QueueEngine

async def main():
    here = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, here.cancel)
    async with QueueEngine(sys.argv[1], kill_grace=0.3) as engine:
        async with engine.workers(int(sys.argv[2])):
            print("ready", flush=True)
            await asyncio.Event().wait()

try:
    asyncio.run(main())
except asyncio.CancelledError:
    pass
"""

DRAIN: Final = """
import asyncio, sys
from queuectl import QueueEngine

async def main():
    async with QueueEngine(sys.argv[1]) as engine:
        print("ready", flush=True)
        await engine.drain(int(sys.argv[2]))

asyncio.run(main())
"""

ENQUEUE: Final = """
import asyncio, sys
from queuectl import QueueEngine

async def main():
    async with QueueEngine(sys.argv[1]) as engine:
        print("ready", flush=True)
        for number in range(int(sys.argv[2])):
            await engine.enqueue(":", id=f"{sys.argv[3]}-{number}")

asyncio.run(main())
"""


async def pid_in(file: Path) -> int:
    """Return the process number that a job wrote into a file, once it has."""
    await wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text())


def is_running(pid: int) -> bool:
    """Whether a process does anything; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False

    return stat.rpartition(") ")[2][0] not in "ZX"


def end(pid: int) -> None:
    """End one process that a test let loose, where it has not ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class EngineProcess:
    """A process with an engine in it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)).decode()

    def stop(self) -> None:
        """Let it end its runs and leave."""
        self._process.terminate()

    async def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        await self._process.wait()

    async def ended(self) -> int:
        """Return its exit code, when it has ended by itself."""
        return await asyncio.wait_for(self._process.wait(), PATIENCE)


@asynccontextmanager
async def engine_process(script: str, *arguments: object) -> AsyncIterator[EngineProcess]:
    """Run a script with an engine, from where it is ready to the end of the context."""
    process = await asyncio.create_subprocess_exec(  # noqa: TID251 (another engine's process)
        sys.executable,
        "-c",
        script,
        *map(str, arguments),
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )

    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"ready\n"
        yield EngineProcess(process)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()


async def run_python(*arguments: str) -> tuple[int, str]:
    """Run Python to its end; return its exit code, and what it wrote."""
    process = await asyncio.create_subprocess_exec(  # noqa: TID251 (another program)
        sys.executable,
        *arguments,
        stdout=PIPE,
        stderr=STDOUT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )

    try:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise

    assert process.returncode is not None
    return process.returncode, output.decode()
