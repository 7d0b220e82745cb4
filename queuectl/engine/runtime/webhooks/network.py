"""
Connections to receivers of webhooks.

Nothing that a name server or a receiver does takes anything from others: names are looked
up in threads that nobody waits for, and what is received is limited, whatever it is part of.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

import anyio
import anyio.abc
import httpcore2
from anyio.streams.tls import TLSAttribute, TLSStream

from queuectl.engine.domain.webhook_rules import is_address, is_loopback_name
from queuectl.engine.runtime.threads import in_forgotten_thread

# Bytes that come from the network for one message: certificates are most of them. TLS has
# messages of its own, of which there may be any number.
_MOST_RAW: Final = 128 * 1024

# Bytes at a time, for all of them are parsed before the loop goes on; and what a smaller
# piece counts for, as it takes its time too.
_PIECE: Final = 4 * 1024
_LEAST: Final = 64

# Seconds until the next address is tried too, as RFC 8305 says, and how many of them are.
_NEXT_SECONDS: Final = 0.25
_MOST_ADDRESSES: Final = 8

_LOOPBACK: Final = ("127.0.0.1", "::1")


class TooMuchError(Exception):
    """A receiver sends more than an answer can be."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"too long an answer: more than {limit // 1024} KiB")


class _Allowance:
    """So many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    def take(self, size: int) -> None:
        self._left -= size

        if self._left < 0:
            raise TooMuchError(self._limit)


class _Limits(NamedTuple):
    raw: _Allowance
    read: _Allowance


# Of what the task sends.
_limits: Final = ContextVar[_Limits | None]("what may be received", default=None)


@contextmanager
def limited(size: int) -> Iterator[None]:
    """
    Limit what is read while in the context, whatever httpcore2 makes of it.

    Args:
        size: Bytes, after TLS.

    Raises:
        TooMuchError: It is more; raised by whatever reads.
    """
    token = _limits.set(_Limits(_Allowance(_MOST_RAW), _Allowance(size)))

    try:
        yield
    finally:
        _limits.reset(token)


class Network(httpcore2.AsyncNetworkBackend):
    """Makes the connections of a sender."""

    def __init__(self) -> None:
        # By host: a server that hangs has one thread, however often it is asked for.
        self._lookups: dict[str, asyncio.Future[list[str]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 (no sender asks for one)
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to a host, by whichever of its addresses answers."""
        with (
            _told_as(httpcore2.ConnectTimeout, httpcore2.ConnectError),
            anyio.fail_after(timeout),
        ):
            addresses = await self._addresses(host)
            return _Connection(_Counted(await _connect(addresses, port)))

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)

    async def _addresses(self, host: str) -> list[str]:
        """Look a host up, together with whoever looks it up already."""
        if is_address(host):
            return [host]

        # A resolver may know another machine by such a name (RFC 6761, 6.3).
        if is_loopback_name(host):
            return list(_LOOPBACK)

        lookup = self._lookups.get(host)

        if lookup is None:
            lookup = self._lookups[host] = in_forgotten_thread(_look_up, host)
            lookup.add_done_callback(lambda _: self._lookups.pop(host))
            # Whoever asked may have gone when it fails.
            lookup.add_done_callback(asyncio.Future.exception)

        # Other than awaiting it, this leaves it alone where only we are cancelled.
        await asyncio.wait([lookup])
        return lookup.result()


class _Counted(anyio.abc.ByteStream):
    """A connection, whose bytes are counted before TLS makes others of them."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream

    async def receive(self, max_bytes: int = _PIECE) -> bytes:
        data = await self._stream.receive(min(max_bytes, _PIECE))

        if (limits := _limits.get()) is not None:
            limits.raw.take(len(data))

        return data

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes


class _Connection(httpcore2.AsyncNetworkStream):
    """A connection as httpcore2 uses it."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,
    ) -> bytes:
        with _told_as(httpcore2.ReadTimeout, httpcore2.ReadError), anyio.fail_after(timeout):
            try:
                data = await self._stream.receive(min(max_bytes, _PIECE))
            except anyio.EndOfStream:
                return b""

        if (limits := _limits.get()) is not None:
            limits.read.take(max(len(data), _LEAST))

        return data

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,
    ) -> None:
        with _told_as(httpcore2.WriteTimeout, httpcore2.WriteError), anyio.fail_after(timeout):
            if buffer:
                await self._stream.send(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            with (
                _told_as(httpcore2.ConnectTimeout, httpcore2.ConnectError),
                anyio.fail_after(timeout),
            ):
                # Servers of HTTP close connections without the farewell of TLS.
                return _Connection(
                    await TLSStream.wrap(
                        self._stream,
                        server_side=False,
                        hostname=server_hostname,
                        ssl_context=ssl_context,
                        standard_compatible=False,
                    )
                )
        except BaseException:
            await anyio.aclose_forcefully(self._stream)
            raise

    def get_extra_info(self, info: str) -> object:
        if info == "ssl_object":
            return self._stream.extra(TLSAttribute.ssl_object, None)  # noqa: S610 (no SQL)

        # Something came that nobody asked for, or the other side has gone.
        if info == "is_readable":
            raw = anyio.abc.SocketAttribute.raw_socket
            return _is_readable(self._stream.extra(raw))  # noqa: S610 (no SQL)

        return None


async def _connect(addresses: list[str], port: int) -> anyio.abc.SocketStream:
    """
    Connect to the first address that answers; the others are not waited for.

    Raises:
        OSError: None does; what is wrong with the first one.
    """
    connected: list[anyio.abc.SocketStream] = []
    errors: list[OSError] = []

    async def attempt(address: str, is_over: anyio.Event) -> None:
        try:
            connected.append(await anyio.connect_tcp(address, port))
            attempts.cancel_scope.cancel()
        except OSError as error:
            errors.append(error)
        finally:
            is_over.set()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                is_over = anyio.Event()
                attempts.start_soon(attempt, address, is_over)

                with anyio.move_on_after(_NEXT_SECONDS):
                    await is_over.wait()
    except BaseException:
        await _close(connected)
        raise

    if not connected:
        raise errors[0]

    # Two may have been made in the same moment.
    await _close(connected[1:])
    return connected[0]


async def _close(streams: list[anyio.abc.SocketStream]) -> None:
    for stream in streams:
        await anyio.aclose_forcefully(stream)


def _look_up(host: str) -> list[str]:
    """
    Return the addresses of a host, the best one first. Blocking.

    Raises:
        OSError: It has none, or nobody knows.
    """
    try:
        # Bytes, for Python refuses some names that a resolver would look up.
        found = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM)
    except OSError as error:
        failure = error
    else:
        return list(dict.fromkeys(str(each[4][0]) for each in found))[:_MOST_ADDRESSES]

    # A resolver that can open no more files does not say so: this does.
    socket.socket().close()
    raise failure


@contextmanager
def _told_as(timeout: type[Exception], error: type[Exception]) -> Iterator[None]:
    """Raise what httpcore2 expects in place of what the system and anyio raise."""
    try:
        yield
    except TimeoutError as caught:
        raise timeout(str(caught)) from caught
    except (
        OSError,
        anyio.BrokenResourceError,
        anyio.ClosedResourceError,
        anyio.EndOfStream,
    ) as caught:
        raise error(str(caught)) from caught


def _is_readable(connection: socket.socket) -> bool:
    # One that is closed says so where it is read.
    if (descriptor := connection.fileno()) < 0:
        return True

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
