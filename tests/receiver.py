"""A receiver of webhooks: a real server on loopback that answers as a test wants it to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from standardwebhooks import Webhook

from tests.waiting import wait_until


class Received(NamedTuple):
    """
    A request as it came.

    Attributes:
        path: What was asked for.
        headers: By name in small letters.
        body: Byte for byte.
    """

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """What it is known by."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        """What it says."""
        return msgspec.json.decode(self.body)

    @property
    def type(self) -> str:
        """What happened."""
        return str(self.json["type"])

    def verified_with(self, secret: str) -> Any:
        """Return what it says, checked as receivers do; raises where it is not ours."""
        return Webhook(secret).verify(self.body, self.headers)


# What a receiver does with a connection on which it has read a request.
Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answers(status: int = 200, *headers: str, body: bytes = b"") -> Behaviour:
    """Answer with a status."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(head).encode() + body)
        await writer.drain()

    return answer


def says(text: bytes) -> Behaviour:
    """Answer with bytes that need not be HTTP, and close the connection."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        writer.close()

    return say


async def hangs(writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side goes."""
    await writer.wait_closed()


async def closes(writer: asyncio.StreamWriter) -> None:
    """Close the connection without an answer."""
    writer.close()


def never_ends(head: bytes, more: bytes) -> Behaviour:
    """Begin an answer, and go on with it until the other side goes."""

    async def go_on(writer: asyncio.StreamWriter) -> None:
        writer.write(head)

        while not writer.is_closing():
            writer.write(more)
            await writer.drain()

    return go_on


class Receiver:
    """
    What answers, and what came.

    Attributes:
        received: The requests, in order.
        behaviours: By path, what is done with its requests one after the other; the last
            one stays. A path that is not there is answered with 200.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.behaviours: dict[str, list[Behaviour]] = {}
        self.port = 0

    def url(self, path: str = "/") -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def does(self, path: str, *behaviours: Behaviour) -> str:
        """Say what is done with the requests for a path, and return its address."""
        self.behaviours[path] = list(behaviours)
        return self.url(path)

    def at(self, path: str) -> list[Received]:
        """Return what came to a path."""
        return [received for received in self.received if received.path == path]

    async def until(self, number: int, path: str | None = None) -> list[Received]:
        """Wait until so many requests have come; return them."""

        def found() -> list[Received]:
            return self.received if path is None else self.at(path)

        await wait_until(lambda: len(found()) >= number)
        return found()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests and do with each what is to be done."""
        try:
            while received := await _read(reader):
                self.received.append(received)
                left = self.behaviours.get(received.path, [answers()])
                await (left.pop(0) if len(left) > 1 else left[0])(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            # The other side has gone.
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    """Read a request; None where the other side has no more."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None

    line, *rest = head.rstrip().split("\r\n")
    headers = {name.lower(): text for name, _, text in (field.partition(": ") for field in rest)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(line.split(" ")[1], headers, body)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Have a receiver while in the context."""
    receiver = Receiver()
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        await receiver.serve(reader, writer)
        connections.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]

    try:
        yield receiver
    finally:
        server.close()

        for task in connections:
            task.cancel()

        await asyncio.gather(*connections, return_exceptions=True)
