"""
Delivers what webhooks are to be told, from the database.

One worker of a database does it: the one that has the lock. A message is sent
again until it is taken, so it may come twice, with the same id. Each webhook has
a lane of its own, so that one that fails or hangs holds up none of the others.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc

from queuectl.engine.domain.delivering import (
    LONGEST_OVERDUE,
    Answer,
    decide_delivery,
    overdue_reason,
)
from queuectl.engine.domain.durations import format_time
from queuectl.engine.domain.webhooks import DeliveryState, webhook_name
from queuectl.engine.errors import ExtraMissingError
from queuectl.engine.runtime.clock import SystemClock, sleep
from queuectl.engine.runtime.plans import EngineParts
from queuectl.engine.runtime.reporting import reported
from queuectl.engine.runtime.webhooks.duty import held
from queuectl.engine.runtime.webhooks.sending import opened_sender
from queuectl.engine.store.base import Change
from queuectl.engine.store.outbox import Message, Sent, Target

if TYPE_CHECKING:
    from queuectl.engine.runtime.webhooks.sender import Sender

_log = logging.getLogger(__name__)

# Messages that one webhook is sent at once, while it takes them.
AT_ONCE: Final = 8

# Seconds until the next look: while we deliver, for hints can be lost; while another
# does, who may die; and while there are no webhooks.
_LOOK: Final = 1.0
_UNUSED: Final = 10.0

# Seconds of real time between two looks: hints come with every commit.
_PAUSE: Final = 0.05

# Seconds of real time in which a worker that ends sends what is due: nobody may follow it.
LAST_SECONDS: Final = 5.0

# Seconds for which a webhook has to have refused all messages before those are given up
# that are overdue: after a long pause, as of the machine, it may be away for a moment too.
REFUSED_SECONDS: Final = 3600.0

# Seconds between two looks for deliveries that are too old.
PRUNE_INTERVAL: Final = 60.0


class Deliverer:
    """
    A worker's share in delivering.

    Args:
        parts: What the worker works with.
        worker: Its number.
    """

    def __init__(self, parts: EngineParts, worker: int) -> None:
        self._worker = worker
        self._outbox = parts.store.outbox
        self._store = parts.store
        self._clock = parts.clock
        self._bus = parts.bus
        self._lock = parts.folder.deliverer_lock
        self._luck = random.Random().random  # noqa: S311 (spreads retries, hides nothing)
        self._news = asyncio.Event()
        # None until it was looked.
        self._targets: list[Target] | None = None
        self._is_on_duty = False
        self._is_lacking = False
        self._busy: set[int] = set()
        self._pruned_at: float | None = None
        # Since when none of their messages was taken, by webhook.
        self._refused_since: dict[int, float] = {}

    async def serve(self) -> None:
        """Deliver what is due, whenever that is ours to do, until cancelled."""
        with self._bus.listening(self._hear):
            while True:
                if not await self._look():
                    # What those were told that are disabled grows old as well.
                    await self._prune()
                    await self._rest(_UNUSED)
                    continue

                async with self._on_duty() as sender:
                    if sender is not None:
                        await self._deliver(sender)

                await self._rest(_LOOK)

    async def finish(self) -> None:
        """Send what is due, each message once, for a few seconds; for a worker that ends."""
        # Without webhooks, nothing was written that could be sent.
        if self._targets == []:
            return

        with anyio.move_on_after(LAST_SECONDS):
            if not (targets := await self._look()):
                return

            async with self._on_duty() as sender, anyio.create_task_group() as lanes:
                if sender is not None:
                    for target in targets:
                        lanes.start_soon(self._send_due, sender, target)

    @asynccontextmanager
    async def _on_duty(self) -> AsyncIterator["Sender | None"]:
        """Have what sends while in the context; None where it is not ours to send."""
        async with AsyncExitStack() as stack:
            sender = None

            if not self._is_lacking and stack.enter_context(held(self._lock, self._worker)):
                sender = await self._open_sender(stack)

            self._is_on_duty = sender is not None

            try:
                yield sender
            finally:
                self._is_on_duty = False

    async def _open_sender(self, stack: AsyncExitStack) -> "Sender | None":
        """Open what sends; where its packages are missing, leave it to another worker."""
        try:
            return await stack.enter_async_context(opened_sender(self._clock))
        except ExtraMissingError as error:
            self._is_lacking = True
            _log.error("cannot deliver to webhooks: %s; %s", error, error.hint)

        return None

    async def _deliver(self, sender: "Sender") -> None:
        """Deliver as long as there are webhooks."""
        async with anyio.create_task_group() as lanes:
            while targets := await self._look():
                now = self._clock.now()

                for target in targets:
                    if target.number not in self._busy and _is_due(target, now):
                        self._busy.add(target.number)
                        lanes.start_soon(self._empty, sender, target)

                await self._prune()
                await self._rest(self._seconds_to_wait(targets))

    async def _look(self) -> list[Target]:
        """Return where messages are sent to; what was seen last, where the store refuses."""
        with reported("cannot look webhooks up"):
            self._targets = await self._outbox.targets()

        return self._targets or []

    async def _empty(self, sender: "Sender", target: Target) -> None:
        """Be a lane."""
        try:
            # What cannot be recorded is not sent again at once.
            if await self._send_due(sender, target):
                self._news.set()
        finally:
            self._busy.discard(target.number)

    async def _send_due(self, sender: "Sender", target: Target) -> bool:
        """Send what is due; return whether all of it could be recorded."""
        at_once = 1

        # One at a time until one is taken: who fails is not to be stormed.
        while messages := await self._due(target, at_once):
            began = self._clock.now()
            results: list[Answer | None] = []

            async with anyio.create_task_group() as tasks:
                for message in messages:
                    tasks.start_soon(self._send, sender, target, message, results)

            if None in results:
                return False

            refused = [answer for answer in results if answer and not answer.is_taken]
            at_once = 1 if refused else AT_ONCE

            if len(refused) < len(results):
                self._refused_since.pop(target.number, None)
            elif self._is_hopeless(target):
                await self._give_up(target, refused[-1], began)

        return True

    def _is_hopeless(self, target: Target) -> bool:
        """Whether a webhook that has just refused a message has refused all for a while."""
        now = self._clock.monotonic()
        return now >= self._refused_since.setdefault(target.number, now) + REFUSED_SECONDS

    async def _give_up(self, target: Target, answer: Answer, began: datetime) -> None:
        """Let what had been due for too long, when an attempt began, die with its answer."""
        reason = overdue_reason(answer)

        with reported("cannot give messages to webhooks up"):
            while number := await self._outbox.give_up(
                target, until=began - LONGEST_OVERDUE, reason=reason, now=self._clock.now()
            ):
                name = webhook_name(target.number)
                _log.error("webhook %s: messages given up: %d; %s", name, number, reason)
                await sleep(SystemClock(), _PAUSE)

    async def _due(self, target: Target, limit: int) -> list[Message]:
        messages: list[Message] = []

        with reported("cannot look messages to webhooks up"):
            messages += await self._outbox.due(target, limit=limit, now=self._clock.now())

        return messages

    async def _send(
        self, sender: "Sender", target: Target, message: Message, results: list[Answer | None]
    ) -> None:
        """Send a message; add what came of it, None where that could not be recorded."""
        answer = await sender.send(target, message.id, message.body)
        now = self._clock.now()
        decision = decide_delivery(answer, message.attempts + 1, now, self._luck())
        sent = Sent(message=message, answer=answer, decision=decision)
        recorded: Answer | None = None

        with reported("cannot record a delivery"):
            await self._outbox.settle(sent, now=now)
            recorded = answer
            _tell(target, sent)

        results.append(recorded)

    async def _prune(self) -> None:
        """Take away what was settled long ago, now and then: some of it in each round."""
        moment = self._clock.monotonic()

        if self._pruned_at is not None and moment < self._pruned_at + PRUNE_INTERVAL:
            return

        self._pruned_at = moment

        with reported("cannot delete old deliveries"):
            retention = (await self._store.settings()).event_retention

            if retention is not None and await self._outbox.prune(
                until=self._clock.now() - retention
            ):
                # The rest is for the next rounds, which begin lanes as well.
                self._pruned_at = None
                self._news.set()

    def _seconds_to_wait(self, targets: list[Target]) -> float:
        now = self._clock.now()
        next_due = [
            (target.due_at - now).total_seconds()
            for target in targets
            if target.due_at is not None and target.number not in self._busy
        ]
        return max(0.0, min([_LOOK, *next_due]))

    async def _rest(self, seconds: float) -> None:
        """Wait for a hint, or until this many seconds of the clock have passed."""
        timer = self._clock.call_later(seconds, self._news.set)

        try:
            await self._news.wait()
        finally:
            timer.cancel()

        await sleep(SystemClock(), _PAUSE)
        self._news.clear()

    def _hear(self, change: Change) -> None:
        # Without webhooks, or where another delivers, most commits are no news.
        if self._is_on_duty or change & Change.ORDERS:
            self._news.set()


def _is_due(target: Target, now: datetime) -> bool:
    return target.due_at is not None and target.due_at <= now


def _tell(target: Target, sent: Sent) -> None:
    """Log what came of an attempt; neither addresses nor secrets nor messages."""
    name, message, reason = webhook_name(target.number), sent.message.id, sent.answer.reason
    due_at = sent.decision.due_at

    if sent.decision.state is DeliveryState.DELIVERED:
        _log.debug("webhook %s: %s delivered", name, message)
    elif due_at is not None:
        _log.warning("webhook %s: %s: %s; again %s", name, message, reason, format_time(due_at))
    else:
        _log.error("webhook %s: %s: %s; given up", name, message, reason)

    if sent.decision.disables:
        _log.error("webhook %s wants no more messages (%s): disabled", name, reason)
