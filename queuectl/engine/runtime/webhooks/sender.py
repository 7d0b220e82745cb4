"""
Sends messages to webhooks, signed as Standard Webhooks.

The only importer of the packages of the extra ``webhooks``; itself imported only
where there is somebody to be told.
"""

import logging
from contextvars import ContextVar
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import anyio
import httpx2
from standardwebhooks import Webhook

from queuectl.engine.domain.delivering import Answer, parse_retry_after
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.store.outbox import Target

# Seconds. A receiver is to take a message, and to work on it later.
CONNECT_SECONDS: Final = 5.0
WHOLE_SECONDS: Final = 15.0

# Bytes of an answer's body that are read: so that a connection can be used again. What
# it says does not matter, and it may have no end. Its headers are limited by httpx2, to 100 KiB.
MOST_BODY: Final = 16 * 1024

# Connections that are kept open between messages.
_KEPT: Final = 16

_HEADERS: Final = {
    "content-type": "application/json",
    "user-agent": "queuectl",
    # Nothing has to be unpacked: a small answer cannot become a large one.
    "accept-encoding": "identity",
}


# Whether what is being sent is ours.
_IS_OURS: Final = ContextVar("queuectl is sending", default=False)


class _Discretion(logging.Filter):
    """Keeps httpx2 from logging our addresses, which can have secrets in them; only ours."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 (whatever it says)
        return not _IS_OURS.get()


logging.getLogger("httpx2").addFilter(_Discretion())


class Sender:
    """
    Sends messages, each once, and keeps connections for the next ones.

    It follows no redirects, keeps no cookies, and never raises for what a server
    or a network does. Making one reads the system's certificates. Blocking.

    Args:
        clock: Tells the time that is signed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(WHOLE_SECONDS, connect=CONNECT_SECONDS),
            # Who sends keeps to a number for each webhook, so that none waits for another.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_KEPT),
            follow_redirects=False,
            headers=_HEADERS,
            # A policy for no domain at all: what one webhook sets is not sent to another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def send(self, target: Target, message_id: str, body: bytes) -> Answer:
        """
        Send a message.

        Args:
            target: Where to, and the secret to sign it with.
            message_id: The same in each attempt.
            body: What is sent, byte for byte.

        Returns:
            What came of it, also where nothing did.
        """
        now = self._clock.now()
        headers = signature_headers(target.secret, message_id, body, now)
        token = _IS_OURS.set(True)

        try:
            with anyio.fail_after(WHOLE_SECONDS):
                return await self._post(target.url, headers, body)
        except httpx2.ConnectTimeout:
            return Answer(problem=f"no connection within {CONNECT_SECONDS:g} s")
        except (TimeoutError, httpx2.TimeoutException):
            return Answer(problem=f"no answer within {WHOLE_SECONDS:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return Answer(problem=_words(error))
        finally:
            _IS_OURS.reset(token)

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            size = 0

            async for piece in response.aiter_raw():
                size += len(piece)

                # Leaving it here closes the connection.
                if size > MOST_BODY:
                    break

        return Answer(
            status=response.status_code,
            retry_after=parse_retry_after(response.headers.get("retry-after"), self._clock.now()),
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


def _words(error: Exception) -> str:
    """Say in words what kept a message from being sent: the kind, and what is at the bottom."""
    root: BaseException = error

    # The packages in between raise theirs while they handle what the system said.
    while (below := root.__cause__ or root.__context__) is not None:
        root = below

    return f"{type(error).__name__}: {root}".removesuffix(": ")
