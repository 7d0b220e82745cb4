"""Webhooks: addresses that are told what becomes of jobs."""

import builtins
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from queuectl.engine.domain.states import JobState
from queuectl.engine.domain.webhooks import (
    WATCHED,
    Delivery,
    DeliveryState,
    NewWebhook,
    Webhook,
    WebhookTest,
)
from queuectl.engine.errors import InvalidValueError, plain
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.steps import check_number, in_steps
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.outbox import WebhookSpec

# Of a secret: as many as Standard Webhooks asks for at the least, and 8 more.
_SECRET_BYTES: Final = 32

# Deliveries that can be asked for at once.
_MOST_DELIVERIES: Final = 2**31 - 1


class Webhooks:
    """
    Who is told what becomes of jobs; reached as ``engine.webhooks``.

    Messages are written down in the transaction that changes a job, and sent by
    any worker, again and again for about a day, until the receiver takes them.

    Args:
        store: Returns the open store.
        clock: Tells the time.
    """

    def __init__(self, store: Callable[[], JobStore], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def add(
        self,
        url: str,
        *,
        on: Iterable[JobState | str] = WATCHED,
        tags: Iterable[str] = (),
        secret: str | None = None,
        insecure: bool = False,
    ) -> NewWebhook:
        """
        Add a webhook, which is told of what happens from now on.

        Args:
            url: Where to; ``https``, or ``http`` to this machine.
            on: The states that it is told of: ``completed``, ``failed``, ``dead``,
                ``cancelled``.
            tags: Only of jobs with one of these tags; else of all jobs.
            secret: One that the receiver knows already; else one is made.
            insecure: Whether ``http`` to another machine is meant.

        Returns:
            What was made, with its secret, which nothing shows again.

        Raises:
            InvalidValueError: Something of it is not allowed.
            ExtraMissingError: What sends messages is not installed here.
        """
        # Only who adds one needs these.
        from queuectl.engine.domain import webhook_rules as rules
        from queuectl.engine.runtime.webhooks.sending import check_extra

        key = _make_secret(rules.SECRET_PREFIX) if secret is None else rules.check_secret(secret)
        checked = rules.check_url(url, insecure=insecure)
        states, wanted = rules.check_on(on), rules.check_webhook_tags(tags)
        await check_extra()
        spec = WebhookSpec(url=checked, secret=key, on=states, tags=wanted)
        webhook = await self._store().outbox.add(spec, now=self._clock.now())
        return NewWebhook(webhook=webhook, secret=key)

    async def list(self) -> list[Webhook]:
        """Return all webhooks, in the order in which they were added."""
        return await self._store().outbox.webhooks()

    async def remove(self, webhook: str) -> None:
        """
        Remove a webhook, and whatever it was to be told.

        It is sent nothing more from the beginning. What it was to be told is deleted some
        at a time, so that others can go on meanwhile; after an error call this again.

        Args:
            webhook: Its id, as ``wh3``.

        Raises:
            WebhookNotFoundError: There is none.
        """
        outbox = self._store().outbox

        async for _ in in_steps(
            lambda after: outbox.remove(webhook, now=self._clock.now(), after=after)
        ):
            pass

    async def enable(self, webhook: str) -> Webhook:
        """
        Send a webhook messages again that has answered 410, and so was disabled.

        What was to be sent before is sent; what happened meanwhile was not kept.

        Raises:
            WebhookNotFoundError: There is none.
        """
        return await self._store().outbox.enable(webhook)

    async def deliveries(
        self,
        webhook: str | None = None,
        *,
        state: DeliveryState | str | None = None,
        limit: int = 100,
    ) -> builtins.list[Delivery]:
        """
        Return the last deliveries, in the order in which they came about.

        Those that are over are kept for as long as the config key
        ``event-retention`` says.

        Args:
            webhook: Only of this one; else of all.
            state: Only those that are ``waiting``, ``delivered`` or ``dead``.
            limit: How many at the most, 1 to 2147483647.

        Raises:
            WebhookNotFoundError: There is no such webhook.
            InvalidValueError: There is no such state or limit.
        """
        if not 1 <= limit <= _MOST_DELIVERIES:
            msg = f"limit must be 1 to {_MOST_DELIVERIES}, not {plain(limit)}"
            raise InvalidValueError(msg)

        wanted = None if state is None else _parse_state(state)
        return await self._store().outbox.deliveries(webhook=webhook, state=wanted, limit=limit)

    async def retry(self, *delivery_ids: str) -> builtins.list[Delivery]:
        """
        Send dead deliveries again, with the same ids, and as often as new ones.

        Those that wait are due now, and no more often than before.

        Raises:
            DeliveryNotFoundError: One is missing; none was changed.
            DeliveryStateError: One was delivered; none was changed.
            InvalidValueError: They are more than 5000.
        """
        check_number(delivery_ids, everything="for all dead ones: queuectl webhook retry --all")
        return await self._store().outbox.retry(delivery_ids, now=self._clock.now())

    async def retry_all(self, webhook: str | None = None) -> int:
        """
        Send all dead deliveries again; return how many.

        They are put back some at a time, so that others can go on meanwhile: those that
        were put back before an error stay so.

        Args:
            webhook: Only those of this one.

        Raises:
            WebhookNotFoundError: There is no such webhook.
        """
        outbox, deliveries = self._store().outbox, 0

        async for step in in_steps(
            lambda after: outbox.retry_dead(webhook=webhook, now=self._clock.now(), after=after)
        ):
            deliveries += step.deliveries

        return deliveries

    async def test(self, webhook: str) -> WebhookTest:
        """
        Send a webhook a message of type ``webhook.test``, once, from this process.

        It is not recorded. A webhook that is disabled is sent it too.

        Raises:
            WebhookNotFoundError: There is none.
            ExtraMissingError: What sends messages is not installed here.
        """
        from queuectl.engine.domain.webhook_records import trial_message
        from queuectl.engine.runtime.webhooks.sending import opened_sender

        target = await self._store().outbox.target(webhook)
        body = trial_message(webhook, self._clock.now())

        async with opened_sender(self._clock) as sender:
            began = self._clock.monotonic()
            answer = await sender.send(target, _make_message_id(), body)
            took = self._clock.monotonic() - began

        return WebhookTest(
            is_delivered=answer.is_taken,
            status=answer.status,
            reason=answer.reason,
            took=timedelta(seconds=took),
        )


def _make_secret(prefix: str) -> str:
    # Here and below: most programs have no use for it, and are to start fast.
    import base64
    import secrets

    return prefix + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def _make_message_id() -> str:
    import secrets

    return f"msg_{secrets.token_hex(16)}"


def _parse_state(state: DeliveryState | str) -> DeliveryState:
    try:
        return DeliveryState(state)
    except ValueError:
        names = ", ".join(known.value for known in DeliveryState)
        msg = f"no such state of a delivery: {state!r} (the states are {names})"
        raise InvalidValueError(msg) from None
