"""
A server for the metrics alone, for processes that have no other: workers.

It answers one request a connection, with what everybody may see who can reach it:
counts and times, and nothing that jobs are made of.
"""

import asyncio
import errno
import ipaddress
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import msgspec

from queuectl import QueueCtlError, QueueEngine
from queuectl.metrics.exposition import CONTENT_TYPE, render

_log = logging.getLogger(__name__)

_PATH: Final = "/metrics"
_TEXT: Final = "text/plain; charset=utf-8"
_READING: Final = frozenset({"GET", "HEAD"})

# Bytes of a request, without a body; seconds in which it has to be there, or its answer
# taken; how many are answered at once, and how many connections there are: who is silent
# does not keep out Prometheus, which has one, for some milliseconds.
_LARGEST_HEAD: Final = 16 * 1024
_PATIENCE: Final = 5.0
_MOST_ANSWERS: Final = 32
_MOST_CONNECTIONS: Final = 128

_REQUEST: Final = re.compile(r"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/1\.[01]")
_HOST: Final = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d{1,5})?")

_HOST_HINT: Final = "give one of this machine with --metrics-host"

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


class MetricsServeError(QueueCtlError):
    """The metrics cannot be served where they were asked for."""

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        self.hint = hint
        super().__init__(problem)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where to listen.

    Attributes:
        host: An address of this machine, or a name of one.
        port: 0 for one that is free.
    """

    host: str = "127.0.0.1"
    port: int


class Answer(msgspec.Struct, frozen=True):
    """
    An answer.

    Attributes:
        status: What became of the request.
        body: UTF-8.
        content_type: What the body is.
    """

    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT


class Request(msgspec.Struct, frozen=True):
    """
    A request, as far as it matters.

    Attributes:
        method: As ``GET``.
        path: Without the query.
        host: The name by which it was sent here, without a port; None where it is
            no name.
    """

    method: str
    path: str
    host: str | None


@asynccontextmanager
async def serve(engine: QueueEngine, place: Place) -> AsyncIterator[str]:
    """
    Serve the metrics of an engine while in the context, which gets their address.

    Whoever can reach the port can read them. On loopback it is reached by the names of
    loopback only, so that no page in a browser can have its own name lead here.

    Args:
        engine: Open, for as long as the context.
        place: Where.

    Raises:
        MetricsServeError: It cannot listen there.
    """
    handlers = _Handlers(engine, is_local=is_loopback(place.host))
    server = await _listen(place, handlers)

    try:
        await server.start_serving()
        yield _url(place.host, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await handlers.end()


async def check_place(place: Place) -> None:
    """
    See that one can listen there, now; for whoever starts a process that is to do it.

    Raises:
        MetricsServeError: One cannot.
    """
    server = await _listen(place, _refuse)
    server.close()


class _Handlers:
    """
    What answers the connections of one server.

    Args:
        engine: Whose metrics.
        is_local: Whether requests have to name loopback.
    """

    def __init__(self, engine: QueueEngine, *, is_local: bool) -> None:
        self._engine = engine
        self._is_local = is_local
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering = 0

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a connection, in a task of its own."""
        if len(self._tasks) >= _MOST_CONNECTIONS:
            # Unanswered: closed before its request was read, it may be reset.
            writer.close()
            return

        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    async def end(self) -> None:
        """End the conversations that go on."""
        tasks = list(self._tasks)

        for task in tasks:
            task.cancel()

        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)

        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the metrics could not be given: %r", error, exc_info=error)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and hang up."""
        # To drain is then to wait until all of it was taken.
        writer.transport.set_write_buffer_limits(high=0)

        try:
            # Who is too slow, or has hung up, gets no answer.
            with suppress(TimeoutError, ConnectionError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_PATIENCE):
                    request = await _read_request(reader)

                answer = await self._answer_unless_busy(request)

                async with asyncio.timeout(_PATIENCE):
                    writer.write(_as_bytes(answer, has_body=not _is_head(request)))
                    await writer.drain()
        finally:
            # One that is closed waits for ever for what is not taken.
            writer.transport.abort()

    async def _answer_unless_busy(self, request: Request | HTTPStatus) -> Answer:
        if self._answering >= _MOST_ANSWERS:
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many ask at once")

        self._answering += 1

        try:
            return await self._answer(request)
        finally:
            self._answering -= 1

    async def _answer(self, request: Request | HTTPStatus) -> Answer:
        if isinstance(request, HTTPStatus):
            return _refusal(request, request.phrase)

        if self._is_local and not (request.host is not None and is_loopback(request.host)):
            return _refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "these metrics are for this machine alone, by the name localhost",
            )

        if request.path != _PATH:
            return _refusal(HTTPStatus.NOT_FOUND, f"the metrics are at {_PATH}")

        if request.method not in _READING:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "the metrics can only be read")

        try:
            return Answer(HTTPStatus.OK, await render(self._engine), CONTENT_TYPE)
        except QueueCtlError as error:
            _log.warning("the metrics could not be read: %s", error)
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


def is_loopback(host: str) -> bool:
    """Return whether an address or a name can only mean this machine."""
    try:
        # An address of a link may have its interface behind a percent sign.
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"


def parse_request(head: bytes) -> Request | None:
    """
    Return what a request asks for, None where it is none.

    Args:
        head: Its first line and its headers, up to the empty line.
    """
    first, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    found = _REQUEST.fullmatch(first)
    hosts = [
        value.strip()
        for name, colon, value in (field.partition(":") for field in fields)
        if colon and name.lower() == "host"
    ]

    if found is None or len(hosts) > 1:
        return None

    try:
        # A proxy is asked with the whole address.
        path = urlsplit(found["target"]).path
    except ValueError:
        return None

    return Request(found["method"], path, _name_of(hosts[0]) if hosts else None)


def _name_of(host: str) -> str | None:
    """Return a host without its port, None where it is none."""
    found = _HOST.fullmatch(host)
    return None if found is None else found["six"] or found["name"]


async def _read_request(reader: asyncio.StreamReader) -> Request | HTTPStatus:
    """Return what is asked for, or why that cannot be told."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

    return parse_request(head) or HTTPStatus.BAD_REQUEST


def _is_head(request: Request | HTTPStatus) -> bool:
    return isinstance(request, Request) and request.method == "HEAD"


def _refusal(status: HTTPStatus, words: str) -> Answer:
    return Answer(status, f"{words}\n".encode(errors="backslashreplace"))


def _as_bytes(answer: Answer, *, has_body: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]

    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")

    head = "".join(f"{line}\r\n" for line in [*lines, ""])
    return head.encode() + (answer.body if has_body else b"")


def _refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _listen(place: Place, handle: Handle) -> asyncio.Server:
    """
    Return a server that has its port, and does not serve yet.

    Raises:
        MetricsServeError: One cannot listen there.
    """
    if not place.host:
        # To the system this would be every address.
        raise MetricsServeError("the host of the metrics is empty", hint=_HOST_HINT)

    try:
        return await asyncio.start_server(
            handle, place.host, place.port, limit=_LARGEST_HEAD, start_serving=False
        )
    except (OSError, ValueError) as error:
        raise _not_bound(place, error) from error


def _not_bound(place: Place, error: OSError | ValueError) -> MetricsServeError:
    match error:
        case socket.gaierror() | ValueError():
            return MetricsServeError(f"there is no address {place.host!r}", hint=_HOST_HINT)
        case OSError(errno=errno.EADDRINUSE):
            return MetricsServeError(
                f"port {place.port} is taken",
                hint="another worker may serve the metrics there, which are the same; else"
                " choose another with --metrics-port",
            )
        case OSError(errno=errno.EACCES):
            return MetricsServeError(
                f"you may not listen on port {place.port}",
                hint="choose one above 1023 with --metrics-port",
            )
        # Some versions of asyncio say without a number that none of the addresses is here.
        case OSError(errno=errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT | None):
            return MetricsServeError(f"this machine has no address {place.host}", hint=_HOST_HINT)
        case _:
            return MetricsServeError(f"cannot listen on {place.host}: {error.strerror}")


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{_PATH}"
