"""The contract of a store's outbox: who is told what becomes of jobs, and what of it is done."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from queuectl.engine.domain.delivering import Answer, Decision
from queuectl.engine.domain.states import JobState
from queuectl.engine.domain.webhooks import Delivery, DeliveryState, Webhook


class WebhookSpec(msgspec.Struct, frozen=True, kw_only=True):
    """
    A webhook as it will be kept: complete, and checked.

    Attributes:
        url: Its address; kept out of ``repr``, as the next.
        secret: What its messages are signed with.
        on: The states that it is told of.
        tags: Only of jobs with one of these; empty for all jobs.
    """

    url: str
    secret: str
    on: tuple[JobState, ...]
    tags: tuple[str, ...]

    def __repr__(self) -> str:
        """Write what may be in a log."""
        return f"WebhookSpec(on={self.on!r}, tags={self.tags!r})"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where messages are sent to, and what they are signed with.

    Attributes:
        number: Of the webhook.
        url: Its address.
        secret: Its secret; kept out of ``repr``.
        due_at: When the next message to it is due, None where there is none.
    """

    number: int
    url: str
    secret: str
    due_at: datetime | None

    def __repr__(self) -> str:
        """Write what may be in a log; addresses can have secrets of their own."""
        return f"Target(number={self.number}, due_at={self.due_at!r})"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is to be sent.

    Attributes:
        seq: By which the store knows it.
        id: By which its receiver knows it.
        body: What is sent; kept out of ``repr``.
        attempts: How often it was sent.
    """

    seq: int
    id: str
    body: bytes
    attempts: int

    def __repr__(self) -> str:
        """Write what may be in a log."""
        return f"Message(seq={self.seq}, id={self.id!r}, attempts={self.attempts})"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is over: the message, what came of it, and where it goes from here."""

    message: Message
    answer: Answer
    decision: Decision


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a step did to deliveries.

    Attributes:
        deliveries: How many it took away or put back.
        after: Behind which one to go on; None where nothing is left to be done.
    """

    deliveries: int
    after: int | None = None


class Outbox(Protocol):
    """
    Webhooks, and what they are told.

    As for `queuectl.engine.store.base.JobStore`. What is to be told is written by the
    store itself, in the transaction that changes a job.
    """

    async def add(self, spec: WebhookSpec, *, now: datetime) -> Webhook:
        """
        Add a webhook, which is told of what happens from now on.

        Raises:
            InvalidValueError: There are as many as there can be.
        """

    async def remove(self, webhook: str, *, now: datetime, after: int = 0) -> Handled:
        """
        Disable a webhook and delete some of what it was to be told; with the last of it, itself.

        Args:
            webhook: Its id.
            now: The time.
            after: The one of the step before.

        Raises:
            WebhookNotFoundError: There is none, and this is the first step.
        """

    async def enable(self, webhook: str) -> Webhook:
        """
        Let a webhook be sent messages again.

        Raises:
            WebhookNotFoundError: There is none.
        """

    async def webhooks(self) -> list[Webhook]:
        """Return all webhooks, in the order in which they were added."""

    async def target(self, webhook: str) -> Target:
        """
        Return where a webhook's messages are sent to.

        Raises:
            WebhookNotFoundError: There is none.
        """

    async def targets(self) -> list[Target]:
        """Return where messages are sent to: all webhooks that are not disabled."""

    async def due(self, target: Target, *, limit: int, now: datetime) -> list[Message]:
        """Return messages that are due, the one that has been for longest in front."""

    async def settle(self, sent: Sent, *, now: datetime) -> None:
        """Record what came of an attempt, and disable the webhook where the decision says so."""

    async def give_up(self, target: Target, *, until: datetime, reason: str, now: datetime) -> int:
        """
        Let some messages die that have been due since before ``until``; return how many.

        Those that are retried by hand are due anew, whenever they came about.
        """

    async def mend_times(self, *, latest: datetime, now: datetime) -> bool:
        """
        Let some be due now whose time was written while the clock was ahead.

        Args:
            latest: When the last one can be due. One that was not sent yet is due at once.
            now: The time.

        Returns:
            Whether there may be more.
        """

    async def deliveries(
        self, *, webhook: str | None, state: DeliveryState | None, limit: int
    ) -> list[Delivery]:
        """
        Return the last deliveries, in the order in which they came about.

        Raises:
            WebhookNotFoundError: There is none.
        """

    async def retry(self, ids: Sequence[str], *, now: datetime) -> list[Delivery]:
        """
        Let dead deliveries be made after all, and waiting ones now, all or none.

        Those that wait keep the number of their attempts.

        Raises:
            DeliveryNotFoundError: One is missing.
            DeliveryStateError: One was delivered.
        """

    async def retry_dead(self, *, webhook: str | None, now: datetime, after: int = 0) -> Handled:
        """
        Let some of the dead deliveries be made after all, of all or of those of a webhook.

        Args:
            webhook: Its id, None for all.
            now: The time.
            after: The one of the step before. One that dies again is not behind it.

        Raises:
            WebhookNotFoundError: There is none.
        """

    async def prune(self, *, until: datetime) -> bool:
        """Delete some that were settled before this; return whether there may be more."""
