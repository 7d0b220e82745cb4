"""The harness's end of the fork server: starts processes, and knows when they end."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import msgspec

import queuectl
from tests.chaos.forkserver import COMMAND, ROOT, News, Order
from tests.chaos.shapes import MARK_VARIABLE, WITNESS_VARIABLE

_LAST_WORDS = 3000


class Child:
    """A process of the run, started by the fork server."""

    def __init__(self, log: Path, out: Path) -> None:
        self.pid = 0
        self.log = log
        self.out = out
        self.status: int | None = None
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    @property
    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self.started.is_set() and not self.ended.is_set()

    @property
    def code(self) -> int:
        """Its exit code, negative for a signal."""
        assert self.status is not None
        return os.waitstatus_to_exitcode(self.status)

    def kill(self, number: int) -> bool:
        """Send a signal; return whether it was there."""
        if not self.is_alive:
            return False

        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False

        return True

    def last_words(self) -> str:
        """Return the end of its log."""
        text = self.log.read_text(errors="backslashreplace") if self.log.exists() else ""
        return f"{self.log.name}: {text[-_LAST_WORDS:]}"


class Nursery:
    """
    Starts processes through the fork server.

    Args:
        server: The process.
        logs: The folder for their logs.
    """

    def __init__(self, server: Process, logs: Path) -> None:
        self._server = server
        self._logs = logs
        self.pid = server.pid
        self._children: list[Child] = []

    async def start(self, role: str, **arguments: Any) -> Child:
        """Start a role in a process of its own."""
        return await self._order(role, role=role, arguments=arguments)

    async def command(self, *words: str) -> Child:
        """Start the real command line."""
        line = [sys.executable, "-m", "queuectl", *words]
        return await self._order("command", words=line)

    async def _order(self, name: str, **what: Any) -> Child:
        number = len(self._children)
        stem = self._logs / f"{number:05}-{name}"
        child = Child(stem.with_suffix(".log"), stem.with_suffix(".out"))
        self._children.append(child)
        out = str(child.out) if name == "command" else None
        order = Order(number=number, log=str(child.log), out=out, **what)
        assert self._server.stdin is not None
        self._server.stdin.write(msgspec.json.encode(order) + b"\n")
        await child.started.wait()
        return child

    async def listen(self) -> None:
        """Take in what the server says, until it ends."""
        assert self._server.stdout is not None

        while line := await self._server.stdout.readline():
            news = msgspec.json.decode(line, type=News)
            child = self._children[news.number]
            child.pid = news.pid

            if news.status is None:
                child.started.set()
            else:
                child.status = news.status
                child.ended.set()

        raise RuntimeError("the fork server has ended")


@asynccontextmanager
async def nursery(mark: str, witness: Path, logs: Path) -> AsyncIterator[Nursery]:
    """Have a fork server while in the context."""
    package = Path(queuectl.__file__).parents[1]
    environ = {name: v for name, v in os.environ.items() if not name.startswith("QUEUECTL_")}
    server = await asyncio.create_subprocess_exec(  # noqa: TID251 (the run's own process)
        sys.executable,
        "-c",
        COMMAND.format(paths=[str(package), str(ROOT)]),
        stdin=PIPE,
        stdout=PIPE,
        env={
            **environ,
            "PYTHONPATH": str(package),
            MARK_VARIABLE: mark,
            WITNESS_VARIABLE: str(witness),
        },
    )

    try:
        async with anyio.create_task_group() as tasks:
            here = Nursery(server, logs)
            tasks.start_soon(here.listen)
            yield here
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            assert server.stdin is not None
            server.stdin.close()
            await server.wait()
