"""Starts other processes and speaks with them."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

_PROGRAM: Final = Path(__file__).with_name("other_process.py")
_DEADLINE: Final = 20


class OtherProcess:
    """A process that waits for the word to begin."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = BufferedByteReceiveStream(process.stdout)

    async def until_ready(self) -> None:
        """Return when it waits for the word."""
        assert await self._stdout.receive_until(b"\n", 100) == b"ready"

    async def say_go(self) -> None:
        """Give the word."""
        await self._stdin.send(b"go\n")

    async def go(self) -> str:
        """Give the word; return what it says at its end."""
        await self.say_go()
        words = b""

        while True:
            try:
                words += await self._stdout.receive()
            except anyio.EndOfStream:
                break

        assert await self._process.wait() == 0
        return words.decode().strip()


@asynccontextmanager
async def other_process(action: str, path: Path, argument: object) -> AsyncIterator[OtherProcess]:
    """Start ``other_process.py``; inside the context it is ready."""
    command = [sys.executable, str(_PROGRAM), action, str(path), str(argument)]

    with anyio.fail_after(_DEADLINE):
        async with await anyio.open_process(command, stderr=None) as process:
            try:
                other = OtherProcess(process)
                await other.until_ready()
                yield other
            finally:
                if process.returncode is None:
                    process.kill()
