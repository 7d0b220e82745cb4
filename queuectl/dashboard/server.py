"""
The server of a dashboard: where it listens, and how it stops.

It stops in under a second with pages open: their streams go on for ever by themselves,
and a server waits for what it is sending. So they are ended first.
"""

import asyncio
import errno
import ipaddress
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from queuectl import QueueCtlError, QueueEngine
from queuectl.dashboard.app import LOCAL_NAMES, create_dashboard
from queuectl.dashboard.connections import PatientProtocol
from queuectl.dashboard.state import DashboardState
from queuectl.dashboard.tokens import kept_token, read_token

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Connections at once; more are told to come later. A page has one or two open.
_MOST_CONNECTIONS: Final = 256

# Seconds in which a request has to be there, from the connection or the answer before.
_PATIENCE: Final = 5

# Seconds that answers under way may take when it stops, and after which what is not
# taken is broken off: it stops in less than one.
_GRACE: Final = 1
_FAREWELL: Final = 0.5

# Seconds in which uvicorn hears of a connection that was broken off.
_HEARING: Final = 0.03

_BACKLOG: Final = 128
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class ServeError(QueueCtlError):
    """The dashboard cannot listen where it was asked to."""

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        self.hint = hint
        super().__init__(problem)


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where a dashboard can be reached, by whom, and for what.

    Attributes:
        host: The address to listen on, or a name of it.
        port: The port; 0 for one that is free.
        token_file: A file with the token, for its owner alone; None for the one that
            is kept beside the database.
        names: Further names by which browsers reach it.
        read_only: Show everything, change nothing.
        allow_enqueue: Let jobs be added.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token_file: Path | None = None
    names: tuple[str, ...] = ()
    read_only: bool = False
    allow_enqueue: bool = False


class DashboardServer(uvicorn.Server):
    """
    Serves one dashboard.

    Args:
        app: From `create_dashboard`.
        sockets: Listening.
        link: Where a browser finds it, with the token unless that is in a file.
    """

    def __init__(self, app: Starlette, sockets: Sequence[socket.socket], link: str) -> None:
        super().__init__(
            uvicorn.Config(
                _stoppable(app),
                # The address of a sign-in has the token in it.
                access_log=False,
                backlog=_BACKLOG,
                # The same one on every machine.
                http=PatientProtocol,
                lifespan="off",
                limit_concurrency=_MOST_CONNECTIONS,
                log_config=None,
                loop="none",
                server_header=False,
                timeout_graceful_shutdown=_GRACE,
                timeout_keep_alive=_PATIENCE,
                ws="none",
            )
        )
        self.link: Final = link
        self._sockets = list(sockets)
        self._dashboard: DashboardState = app.state.dashboard

    async def serve_until_stopped(self) -> None:
        """Serve until `stop` is called, or SIGINT, SIGTERM or SIGHUP comes."""
        try:
            await self.serve(self._sockets)
        finally:
            self.close()

    def stop(self) -> None:
        """Stop serving; a second call leaves what is under way."""
        self._dashboard.stopping.set()
        self.force_exit: bool = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; who does not take his answer is not waited for."""
        farewell = asyncio.get_running_loop().call_later(_FAREWELL, self._abort)

        try:
            await super().shutdown(sockets)
        finally:
            farewell.cancel()

    def close(self) -> None:
        """Free the port; for a server that is not going to serve."""
        for listening in self._sockets:
            listening.close()

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

        # Uvicorn complains of a request without an answer where it has not heard yet that
        # nobody waits for one.
        asyncio.get_running_loop().call_later(_HEARING, self._cancel)

    def _cancel(self) -> None:
        # What is still being answered is nobody's any more; a read of the database ends.
        for task in list(self.server_state.tasks):
            task.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """
        Stop on a signal, while in the context.

        Uvicorn's own way sends the signal to the process again in the end, which would
        end it with the database open.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        loop = asyncio.get_running_loop()
        # What was ignored when we were started, as by nohup, stays ignored.
        handled = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

        for number in handled:
            loop.add_signal_handler(number, self.stop)

        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)


def _stoppable(app: Starlette) -> ASGIApp:
    """Return the application, whose requests the stop may break off: that is no bug to log."""
    dashboard: DashboardState = app.state.dashboard

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if not dashboard.stopping.is_set():
                raise

    return answer


async def open_server(engine: QueueEngine, access: Access) -> DashboardServer:
    """
    Return the server of a dashboard, which has its port and does not serve yet.

    Args:
        engine: Open.
        access: Where, by whom, and for what.

    Raises:
        ServeError: It may not, or cannot, listen there.
        TokenError: The file with the token cannot be used.
        ValueError: A name is none.
    """
    addresses = await _addresses(access)

    if access.token_file is None and not all(map(_is_loopback, addresses)):
        raise ServeError(
            f"{access.host} can be reached from other machines, so it needs a token of yours",
            hint="give one with --token-file FILE, and put a proxy with TLS before it",
        )

    token = await _token(engine, access)
    sockets = _bind(addresses, access.port)

    try:
        names = (*_names(access.host), *access.names)
        app = create_dashboard(
            engine,
            token=token,
            hosts=(*LOCAL_NAMES, *names),
            read_only=access.read_only,
            allow_enqueue=access.allow_enqueue,
        )
        link = f"http://{(*names, LOCAL_NAMES[1])[0]}:{sockets[0].getsockname()[1]}/"
        secret = f"?token={quote(token, safe='')}" if access.token_file is None else ""
        return DashboardServer(app, sockets, link + secret)
    except BaseException:
        for bound in sockets:
            bound.close()

        raise


async def _token(engine: QueueEngine, access: Access) -> str:
    if access.token_file is not None:
        return await asyncio.to_thread(read_token, access.token_file)

    return await asyncio.to_thread(kept_token, engine.state_folder, read_only=access.read_only)


async def _addresses(access: Access) -> list[str]:
    """Return the addresses that a host stands for, each once."""
    loop = asyncio.get_running_loop()

    try:
        found = await loop.getaddrinfo(
            access.host, access.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ServeError(
            f"there is no address {access.host!r}", hint="give one of this machine with --host"
        ) from error

    return list(dict.fromkeys(str(place[0]) for *_, place in found))


def _bind(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Return a socket for each address, all with the same port."""
    sockets: list[socket.socket] = []

    try:
        for address in addresses:
            with suppress(_NoSuchAddressError):
                sockets.append(_bound(address, sockets[0].getsockname()[1] if sockets else port))
    except BaseException:
        for bound in sockets:
            bound.close()

        raise

    if not sockets:
        raise ServeError(
            f"this machine has no address {', '.join(addresses)}",
            hint="give one that it has with --host",
        )

    return sockets


class _NoSuchAddressError(Exception):
    """A name may stand for an address that is not set up, as ::1 is where IPv6 is off."""


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)

    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)

        bound.bind((address, port))
        # From here on who has the link is not turned away, at the worst kept waiting.
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()

        if error.errno in _NOT_HERE:
            raise _NoSuchAddressError from error

        raise _not_bound(port, error) from error

    return bound


def _not_bound(port: int, error: OSError) -> ServeError:
    match error.errno:
        case errno.EADDRINUSE:
            return ServeError(
                f"port {port} is taken",
                hint="a dashboard may be running there; else choose another with --port",
            )
        case errno.EACCES:
            return ServeError(
                f"you may not listen on port {port}", hint="choose one above 1023 with --port"
            )
        case _:
            return ServeError(f"cannot listen on port {port}: {error.strerror}")


def _names(host: str) -> tuple[str, ...]:
    """Return the name by which browsers know a host; none for one that means all addresses."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 (nothing is bound here)
        return ()

    return (f"[{host}]" if ":" in host else host,)


def _is_loopback(address: str) -> bool:
    # An address of a link may have its interface behind a percent sign.
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
