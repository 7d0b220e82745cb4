"""
Sends messages to webhooks, signed as Standard Webhooks.

The packages of the extra ``webhooks`` are imported here and in `network` only; these are
themselves imported only where there is somebody to be told.
"""

import asyncio
import errno
import logging
import os
import ssl
from contextlib import AsyncExitStack, aclosing, suppress
from datetime import datetime
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import anyio
import httpcore2
from standardwebhooks import Webhook

from queuectl.engine.domain.delivering import Answer, parse_retry_after
from queuectl.engine.domain.webhook_rules import is_loopback
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.threads import in_forgotten_thread
from queuectl.engine.runtime.webhooks.network import Network, TooMuchError, limited
from queuectl.engine.store.outbox import Target

_log = logging.getLogger(__name__)

# Seconds until the head of an answer is there. A receiver is to take a message, and to work
# on it later.
CONNECT_SECONDS: Final = 5.0
WHOLE_SECONDS: Final = 15.0

# Seconds for the body: who has said what matters is not waited for.
BODY_SECONDS: Final = 1.0

# Bytes of an answer that are read: its head, with all answers of status 1xx before it; and
# its body, for who is cut off while he writes may take that for a failure. What it says does
# not matter, and it may have no end. They are few, for what is read in small parts takes the
# time of others.
MOST_HEAD: Final = 16 * 1024
MOST_BODY: Final = 4 * 1024

# What becomes of connections, and is nobody's mistake here.
_FAILURES: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    OSError,
)

# What is nobody's fault but this process's, or this machine's.
_OURS: Final = frozenset({errno.EMFILE, errno.ENFILE})

_HEADERS: Final = {
    "content-type": "application/json",
    "user-agent": "queuectl",
    "accept": "*/*",
    # Nothing has to be unpacked: a small answer cannot become a large one.
    "accept-encoding": "identity",
    "connection": "close",
}


class CertificatesError(Exception):
    """Nobody can be trusted, for it cannot be read who is to be."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"the certificates to trust cannot be read (SSL_CERT_FILE, SSL_CERT_DIR): {error}"
        )


class Sender:
    """
    Sends messages, each once, by a connection of its own.

    What a server writes behind an answer would else be taken for the answer to the next
    message; and it may close a connection that is kept at any time, also while that is used.

    It follows no redirects, keeps no cookies, and never raises for what a server or a
    network does. Who is trusted is read when it is first needed.

    Args:
        clock: Tells the time that is signed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Read, or being read.
        self._trusted: asyncio.Future[ssl.SSLContext] | None = None
        self._network = Network()
        # By the proxy they go through, and whether somebody is to be trusted.
        self._pools: dict[tuple[str | None, bool], httpcore2.AsyncConnectionPool] = {}
        # Errors that nobody has foreseen, and the log knows.
        self._bugs: set[type[Exception]] = set()

    async def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()

    async def send(self, target: Target, message_id: str, body: bytes) -> Answer:
        """
        Send a message.

        Args:
            target: Where to, and the secret to sign it with.
            message_id: The same in each attempt.
            body: What is sent, byte for byte.

        Returns:
            What came of it, also where nothing did.

        Raises:
            OSError: This process can open no more files: no fault of the server's.
        """
        now = self._clock.now()

        try:
            headers = signature_headers(target.secret, message_id, body, now)
            return await self._post(urlsplit(target.url), headers, body)
        except httpcore2.ConnectTimeout:
            return Answer(problem=f"no connection within {CONNECT_SECONDS:g} s")
        except (TimeoutError, httpcore2.TimeoutException):
            return Answer(problem=f"no answer within {WHOLE_SECONDS:g} s")
        except (TooMuchError, CertificatesError) as error:
            return Answer(problem=str(error))
        except _FAILURES as error:
            if isinstance(root := _root(error), OSError) and root.errno in _OURS:
                raise root from error

            return Answer(problem=_words(error))
        except Exception as error:  # noqa: BLE001 (nobody has foreseen it; it is to end no worker)
            return Answer(problem=self._bug(error))

    async def _post(self, url: SplitResult, headers: dict[str, str], body: bytes) -> Answer:
        seconds = {"connect": CONNECT_SECONDS, "read": WHOLE_SECONDS, "write": WHOLE_SECONDS}

        async with AsyncExitStack() as stack:
            with anyio.fail_after(WHOLE_SECONDS), limited(MOST_HEAD):
                pool = await self._pool_for(url)
                answering = pool.stream(
                    "POST",
                    _url(url),
                    headers=[("host", url.netloc), *_HEADERS.items(), *headers.items()],
                    content=body,
                    extensions={"timeout": seconds},
                )
                response = await stack.enter_async_context(answering)

            answer = self._answer(response)
            await _read_on(response, stack.pop_all())

        return answer

    def _answer(self, response: httpcore2.Response) -> Answer:
        """Return what the head of an answer says."""
        told = [text for name, text in response.headers if name.lower() == b"retry-after"]
        retry_after = told[0].decode("latin-1") if told else None
        return Answer(
            status=response.status,
            retry_after=parse_retry_after(retry_after, self._clock.now()),
        )

    async def _pool_for(self, url: SplitResult) -> httpcore2.AsyncConnectionPool:
        """
        Return what connects to a place, or to the proxy on the way there.

        Raises:
            httpcore2.ProxyError: The proxy is not one that can be used.
            CertificatesError: Nobody can be trusted.
        """
        address = _proxy_for(url)
        proxy = None if address is None else _proxy(address)
        schemes = {url.scheme, "" if proxy is None else proxy.url.scheme.decode()}
        needs_trust = "https" in schemes
        trusted = await self._trust() if needs_trust else None

        if (address, needs_trust) not in self._pools:
            if proxy is not None and proxy.url.scheme == b"https":
                proxy.ssl_context = trusted

            # Who sends keeps to a number for each webhook, so that none waits for another.
            self._pools[address, needs_trust] = httpcore2.AsyncConnectionPool(
                ssl_context=trusted,
                proxy=proxy,
                max_connections=None,
                max_keepalive_connections=0,
                network_backend=self._network,
            )

        return self._pools[address, needs_trust]

    async def _trust(self) -> ssl.SSLContext:
        """
        Return who is trusted; where that could not be read, try it again.

        Raises:
            CertificatesError: It cannot be read.
        """
        trusted = self._trusted

        try:
            if trusted is None or (trusted.done() and trusted.exception()):
                # The file may be anything, also one that hangs.
                trusted = self._trusted = in_forgotten_thread(_read_trusted)
                # Whoever asked may have gone when it fails.
                trusted.add_done_callback(asyncio.Future.exception)

            # Other than awaiting it, this leaves it alone where only we are cancelled.
            await asyncio.wait([trusted])
            return trusted.result()
        except OSError as error:
            if error.errno in _OURS:
                raise

            raise CertificatesError(error) from error

    def _bug(self, error: Exception) -> str:
        """Return in words what nobody has foreseen; log where it was, once for each kind."""
        words = _words(error)

        if type(error) not in self._bugs:
            self._bugs.add(type(error))
            _log.error("a bug of queuectl, while it sent to a webhook: %s", words, exc_info=error)

        return words


def _read_trusted() -> ssl.SSLContext:
    """
    Read who is trusted. Blocking.

    Raises:
        OSError: It cannot be read.
    """
    path = os.environ.get("SSL_CERT_FILE")

    # To open a pipe would take until somebody writes into it.
    if path and os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "this is no file", path)

    return httpcore2.default_ssl_context()


async def _read_on(response: httpcore2.Response, opened: AsyncExitStack) -> None:
    """
    Read the body of an answer, which has been given whatever becomes of it.

    Args:
        response: The answer.
        opened: What is closed behind it.
    """
    with (
        suppress(TooMuchError, httpcore2.TimeoutException, *_FAILURES),
        limited(MOST_BODY),
        anyio.move_on_after(BODY_SECONDS),
    ):
        async with opened, aclosing(response.aiter_stream()) as pieces:
            async for _ in pieces:
                pass


def _url(url: SplitResult) -> httpcore2.URL:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return httpcore2.URL(scheme=url.scheme, host=url.hostname or "", port=url.port, target=target)


def _proxy_for(url: SplitResult) -> str | None:
    """Return the address of the proxy that the environment names for a place."""
    host = url.hostname or ""
    proxies = getproxies_environment()
    address = proxies.get(url.scheme) or proxies.get("all")

    # What is sent to this machine in clear is to stay here.
    if not address or is_loopback(host) or proxy_bypass(host):
        return None

    return address if "://" in address else f"http://{address}"


def _proxy(address: str) -> httpcore2.Proxy:
    """
    Return a proxy.

    Raises:
        httpcore2.ProxyError: Its address is not one, or not of a kind that is there.
    """
    with suppress(ValueError):
        url = urlsplit(address)

        is_place = url.hostname and url.hostname.isascii() and url.port != 0

        if is_place and url.scheme in {"http", "https"}:
            return _proxy_at(url)

    # Its address can have a password in it, and is not repeated.
    msg = "the proxy of the environment is not an http or https URL"
    raise httpcore2.ProxyError(msg)


def _proxy_at(url: SplitResult) -> httpcore2.Proxy:
    user = url.username
    return httpcore2.Proxy(
        # What is behind the place means nothing.
        _url(url._replace(path="", query="")),
        auth=None
        if user is None
        else (unquote(user).encode(), unquote(url.password or "").encode()),
    )


def signature_headers(secret: str, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """
    Return the headers by which a receiver knows that a message is ours, and new.

    Args:
        secret: ``whsec_`` and base64.
        message_id: Of the message.
        body: What is sent, UTF-8.
        now: When, in UTC.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body.decode()),
    }


def _is_nonsense(error: Exception) -> bool:
    """Whether something came that is not HTTP: the error of who reads HTTP is in it."""
    return any(isinstance(each, Exception) for each in error.args)


def _words(error: Exception) -> str:
    """Say in words what kept a message from being sent: the kind, and what is at the bottom."""
    # What came is a stranger's, and not repeated.
    if isinstance(error, httpcore2.RemoteProtocolError):
        return (
            "answered something that is not HTTP"
            if _is_nonsense(error)
            else "closed the connection without an answer"
        )

    return f"{type(error).__name__}: {_root(error)}".removesuffix(": ")


def _root(error: BaseException) -> BaseException:
    """Return what is at the bottom of an error: packages raise theirs while they handle it."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below

    return error
