"""The outbox of a SQLite store: webhooks, and what they are told."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

from queuectl.engine.domain.webhooks import Delivery, DeliveryState, Webhook
from queuectl.engine.store.base import Change
from queuectl.engine.store.outbox import Handled, Message, Sent, Target, WebhookSpec
from queuectl.engine.store.sqlite import deliveries

T = TypeVar("T")


class _Read(Protocol):
    """Runs a function over the connection for reads."""

    def __call__(self, function: Callable[[sqlite3.Connection], T]) -> Awaitable[T]: ...


class _Write(Protocol):
    """Runs a function in a transaction, and tells others of the change."""

    def __call__(
        self,
        operation: Callable[[sqlite3.Connection], T],
        change: Change,
        *,
        can_wait: bool = False,
    ) -> Awaitable[T]: ...


class SqliteOutbox:
    """
    An `Outbox` in the tables of a SQLite store.

    Args:
        read: How the store reads.
        write: How the store writes.
    """

    def __init__(self, read: _Read, write: _Write) -> None:
        self._read = read
        self._write = write

    async def add(self, spec: WebhookSpec, *, now: datetime) -> Webhook:
        """Add a webhook."""
        return await self._write(partial(deliveries.add, spec=spec, now=now), Change.ORDERS)

    async def remove(self, webhook: str, *, now: datetime, after: int = 0) -> Handled:
        """Disable a webhook and delete some of what it was to be told; at last itself."""
        return await self._write(
            partial(deliveries.remove, webhook=webhook, now=now, after=after), Change.ORDERS
        )

    async def enable(self, webhook: str) -> Webhook:
        """Let a webhook be sent messages again."""
        return await self._write(partial(deliveries.enable, webhook=webhook), Change.WEBHOOKS)

    async def webhooks(self) -> list[Webhook]:
        """Return all webhooks."""
        return await self._read(deliveries.list_webhooks)

    async def target(self, webhook: str) -> Target:
        """Return where a webhook's messages are sent to."""
        return await self._read(partial(deliveries.get_target, webhook=webhook))

    async def targets(self) -> list[Target]:
        """Return where messages are sent to."""
        return await self._read(deliveries.read_targets)

    async def due(self, target: Target, *, limit: int, now: datetime) -> list[Message]:
        """Return messages that are due."""
        return await self._read(partial(deliveries.read_due, target=target, limit=limit, now=now))

    async def settle(self, sent: Sent, *, now: datetime) -> None:
        """Record what came of an attempt."""
        await self._write(partial(deliveries.settle, sent=sent, now=now), Change(0), can_wait=True)

    async def give_up(self, target: Target, *, until: datetime, reason: str, now: datetime) -> int:
        """Let some messages die that have been due since before ``until``."""
        return await self._write(
            partial(deliveries.give_up, target=target, until=until, reason=reason, now=now),
            Change(0),
            can_wait=True,
        )

    async def mend_times(self, *, latest: datetime, now: datetime) -> bool:
        """Let some be due that wait for longer than can be."""
        return await self._write(
            partial(deliveries.mend_times, latest=latest, now=now), Change(0), can_wait=True
        )

    async def deliveries(
        self, *, webhook: str | None, state: DeliveryState | None, limit: int
    ) -> list[Delivery]:
        """Return the last deliveries."""
        return await self._read(
            partial(deliveries.list_deliveries, webhook=webhook, state=state, limit=limit)
        )

    async def retry(self, ids: Sequence[str], *, now: datetime) -> list[Delivery]:
        """Let dead deliveries be made after all, and waiting ones now."""
        return await self._write(partial(deliveries.retry, ids=ids, now=now), Change.WEBHOOKS)

    async def retry_dead(self, *, webhook: str | None, now: datetime, after: int = 0) -> Handled:
        """Let some of the dead deliveries be made after all, of all or of those of a webhook."""
        return await self._write(
            partial(deliveries.retry_dead, webhook=webhook, now=now, after=after), Change.WEBHOOKS
        )

    async def prune(self, *, until: datetime) -> bool:
        """Delete some that were settled before this."""
        return await self._write(partial(deliveries.prune, until=until), Change(0), can_wait=True)
