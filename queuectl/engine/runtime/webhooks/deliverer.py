"""
Delivers what webhooks are to be told, from the database.

One worker of a database does it: the one that has the lock. A message is sent
again until it is taken, so it may come twice, with the same id. Each webhook has
a lane of its own, so that one that fails or hangs holds up none of the others, and
is left alone for a while where it fails.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc

from queuectl.engine.domain.delivering import (
    LONGEST_DUE,
    Answer,
    decide_delivery,
    longest_overdue,
    overdue_reason,
)
from queuectl.engine.domain.durations import format_time
from queuectl.engine.domain.webhooks import DeliveryState, webhook_name
from queuectl.engine.errors import (
    EngineClosedError,
    ExtraMissingError,
    StoreError,
    StoreUnusableError,
)
from queuectl.engine.runtime.clock import SystemClock, sleep
from queuectl.engine.runtime.plans import EngineParts
from queuectl.engine.runtime.reporting import reported
from queuectl.engine.runtime.webhooks.duty import held
from queuectl.engine.runtime.webhooks.lane import Lane, Records
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

# Seconds of real time in which a worker that ends sends what is due, for nobody may follow
# it; and in which it hears what becomes of what it has sent. One that has a successor only
# hears: nobody looks after the runs that it has left meanwhile.
SENDING_SECONDS: Final = 3.0
HEARING_SECONDS: Final = 2.0
PARTING_SECONDS: Final = 0.5

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
        # Until when another is to send, for we cannot, by the clock's `monotonic`; and why.
        self._unable_until = 0.0
        self._unable_why = ""
        self._pruned_at: float | None = None
        # By webhook.
        self._lanes: dict[int, Lane] = {}
        self._records = Records()
        # What keeps us from sending, and is none of the receivers' doing.
        self._hindrance: OSError | None = None
        # Set where the worker ends; and whether the rest is for others to send.
        self._ending = asyncio.Event()
        self._is_leaving = False
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        """Deliver what is due, whenever that is ours to do, until told to end, or cancelled."""
        try:
            with self._bus.listening(self._hear):
                while not self._is_leaving:
                    wait = await self._serve_safely()

                    if self._ending.is_set():
                        break

                    await self._rest(wait)
        finally:
            self._ended.set()

    async def end(self, *, leaves: bool) -> None:
        """
        Have `serve` end, and wait for it: not for long, for a receiver may hang.

        What is being sent is recorded, for who comes next would send it again.

        Args:
            leaves: Whether what else is due is for others to send; else it is sent before,
                each message once.
        """
        self._ending.set()

        if not leaves:
            await self._wait_for_end(SENDING_SECONDS)

        self._is_leaving = True
        await self._wait_for_end(PARTING_SECONDS if leaves else HEARING_SECONDS)

    async def _wait_for_end(self, seconds: float) -> None:
        self._news.set()

        with anyio.move_on_after(seconds):
            await self._ended.wait()

    async def _serve_safely(self) -> float:
        """Do as `_serve_once`; whatever keeps us from it, jobs go on, and others deliver."""
        try:
            return await self._serve_once()
        except Exception as error:
            if _is_final(error):
                raise

            self._leave_to_others(error)

        return _LOOK

    async def _serve_once(self) -> float:
        """Deliver as long as it is ours to do; return the seconds until the next look."""
        if not await self._look():
            # What those were told that are disabled grows old as well.
            await self._tidy()
            return _UNUSED

        async with self._on_duty() as sender:
            if sender is not None:
                await self._deliver(sender)

        return _LOOK

    @asynccontextmanager
    async def _on_duty(self) -> AsyncIterator["Sender | None"]:
        """Have what sends while in the context; None where it is not ours to send."""
        async with AsyncExitStack() as stack:
            sender = None

            if self._is_able() and stack.enter_context(held(self._lock, self._worker)):
                sender = await self._open_sender(stack)

            self._is_on_duty = sender is not None

            try:
                yield sender
            finally:
                self._is_on_duty = False

    async def _open_sender(self, stack: AsyncExitStack) -> "Sender | None":
        """Open what sends; where its packages are missing, leave it to another worker."""
        try:
            sender = await stack.enter_async_context(opened_sender(self._clock))
        except ExtraMissingError as error:
            self._unable_until = math.inf
            _log.error("cannot deliver to webhooks: %s; %s", error, error.hint)
            return None

        return sender

    def _is_able(self) -> bool:
        return self._clock.monotonic() >= self._unable_until

    def _leave_to_others(self, error: Exception) -> None:
        """Do not try to send for a while; log why, unless that is known."""
        self._unable_until = self._clock.monotonic() + _UNUSED

        # What tasks raise comes in groups.
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]

        why = f"{type(error).__name__}: {error}"

        if why != self._unable_why:
            self._unable_why = why
            is_foreseen = isinstance(error, OSError | StoreError)
            _log.error(
                "cannot deliver to webhooks: %s", why, exc_info=None if is_foreseen else error
            )

    async def _deliver(self, sender: "Sender") -> None:
        """
        Deliver as long as there are webhooks; told to end, until nothing is left to send.

        Raises:
            OSError: We cannot send any more; what was sent is recorded.
        """
        self._hindrance = None
        await self._mend_times()

        async with anyio.create_task_group() as tasks:
            while not self._is_leaving:
                lanes = self._lanes_of(await self._look())

                for target, lane in lanes:
                    if self._seconds_until(target, lane) <= 0:
                        lane.is_busy = True
                        tasks.start_soon(self._empty, sender, target, lane)

                # A webhook that was removed may hang: those that are there do not wait for it.
                is_over = self._ending.is_set() or not lanes or self._hindrance is not None

                if is_over and not self._is_sending():
                    break

                await self._tidy()
                await self._rest(min([_LOOK, *(self._seconds_until(*each) for each in lanes)]))

        if self._hindrance is not None:
            raise self._hindrance

    def _is_sending(self) -> bool:
        return any(lane.is_busy for lane in self._lanes.values())

    def _lanes_of(self, targets: list[Target]) -> list[tuple[Target, Lane]]:
        """Return where messages are sent to, with their lanes; forget those of others."""
        lanes = [(target, self._lanes.get(target.number) or Lane()) for target in targets]
        # One that is enabled again is not to be taken for another while it is sent to.
        busy = {number: lane for number, lane in self._lanes.items() if lane.is_busy}
        self._lanes = busy | {target.number: lane for target, lane in lanes}
        return lanes

    def _seconds_until(self, target: Target, lane: Lane) -> float:
        """Return the seconds until something is to be sent; for ever where that is not known."""
        if target.due_at is None or lane.is_busy or self._hindrance is not None:
            return math.inf

        # What cannot be recorded comes again: one message finds out whether it can by now.
        if self._records.are_refused and self._is_sending():
            return math.inf

        moment = self._clock.monotonic()
        held = max(lane.seconds_held(moment), self._records.seconds_held(moment))
        return max(0.0, held, (target.due_at - self._clock.now()).total_seconds())

    async def _look(self) -> list[Target]:
        """Return where messages are sent to; what was seen last, where the store refuses."""
        with reported("cannot look webhooks up"):
            self._targets = await self._outbox.targets()

        return self._targets or []

    async def _empty(self, sender: "Sender", target: Target, lane: Lane) -> None:
        """Send what is due to a webhook."""
        try:
            await self._send_due(sender, target, lane)
        finally:
            lane.is_busy = False
            self._news.set()

    async def _send_due(self, sender: "Sender", target: Target, lane: Lane) -> None:
        """Send what is due, unless the webhook is to be left alone."""
        at_once = 1

        # One at a time until one is taken: who fails is not to be stormed.
        while not self._is_leaving and (messages := await self._due(target, lane, at_once)):
            began = self._clock.now()
            answers: list[Answer] = []

            async with anyio.create_task_group() as tasks:
                for message in messages:
                    tasks.start_soon(self._send, sender, target, message, answers)

            if self._hindrance is not None:
                return

            moment = self._clock.monotonic()
            self._records.hear(are_kept=len(answers) == len(messages), now=moment)

            # What cannot be recorded is not sent again at once.
            if len(answers) < len(messages):
                return

            lane.hear(answers, moment)
            at_once = AT_ONCE if all(answer.is_taken for answer in answers) else 1

            if lane.is_hopeless(moment):
                await self._give_up(target, lane, answers[-1], began)

            if lane.seconds_held(moment) or self._records.are_refused:
                return

    async def _give_up(self, target: Target, lane: Lane, answer: Answer, began: datetime) -> None:
        """Let what had been due for too long, when an attempt began, die with its answer."""
        longest = longest_overdue(lane.asked)
        reason = overdue_reason(answer, longest)

        with reported("cannot give messages to webhooks up"):
            while number := await self._outbox.give_up(
                target, until=began - longest, reason=reason, now=self._clock.now()
            ):
                name = webhook_name(target.number)
                _log.error("webhook %s: messages given up: %d; %s", name, number, reason)
                await sleep(SystemClock(), _PAUSE)

    async def _due(self, target: Target, lane: Lane, limit: int) -> list[Message]:
        """Return what is due; nothing for a moment where the store refuses."""
        messages: list[Message] = []
        has_looked = False

        with reported("cannot look messages to webhooks up"):
            messages += await self._outbox.due(target, limit=limit, now=self._clock.now())
            has_looked = True

        if not has_looked:
            lane.hold(_LOOK, self._clock.monotonic())

        return messages

    async def _send(
        self, sender: "Sender", target: Target, message: Message, answers: list[Answer]
    ) -> None:
        """Send a message; add what came of it, where that could be recorded."""
        try:
            answer = await sender.send(target, message.id, message.body)
        except OSError as error:
            # Not at once: what others are being sent would come again.
            self._hindrance = error
            return

        now = self._clock.now()
        decision = decide_delivery(answer, message.attempts + 1, now, self._luck())
        sent = Sent(message=message, answer=answer, decision=decision)

        with reported("cannot record a delivery"):
            await self._outbox.settle(sent, now=now)
            answers.append(answer)
            self._unable_why = ""
            _tell(target, sent)

    async def _tidy(self) -> None:
        """Mend times and prune, now and then."""
        moment = self._clock.monotonic()

        if self._pruned_at is not None and moment < self._pruned_at + PRUNE_INTERVAL:
            return

        self._pruned_at = moment

        if self._targets:
            await self._mend_times()

        await self._prune()

    async def _mend_times(self) -> None:
        """Let be due what was written while the clock was ahead, or else waits until then."""
        with reported("cannot mend the times of messages to webhooks"):
            while await self._outbox.mend_times(
                latest=self._clock.now() + LONGEST_DUE, now=self._clock.now()
            ):
                await sleep(SystemClock(), _PAUSE)

    async def _prune(self) -> None:
        """Take away what was settled long ago: some of it in each round."""
        with reported("cannot delete old deliveries"):
            retention = (await self._store.settings()).event_retention

            if retention is not None and await self._outbox.prune(
                until=self._clock.now() - retention
            ):
                # The rest is for the next rounds, which begin lanes as well.
                self._pruned_at = None
                self._news.set()

    async def _rest(self, seconds: float) -> None:
        """Wait for a hint, or until this many seconds of the clock have passed."""
        timer = self._clock.call_later(seconds, self._news.set)

        try:
            await self._news.wait()
        finally:
            timer.cancel()

        # Who is to end does not wait.
        with anyio.move_on_after(_PAUSE):
            await self._ending.wait()

        self._news.clear()

    def _hear(self, change: Change) -> None:
        # Somebody may want just what is held.
        if change & Change.WEBHOOKS:
            for lane in self._lanes.values():
                lane.release()

        is_ours = bool(change & (Change.ORDERS | Change.WEBHOOKS))

        # To who ends, commits are no news; nor most of them without webhooks, or where
        # another delivers.
        if not self._ending.is_set() and (self._is_on_duty or is_ours):
            self._news.set()


def _is_final(error: Exception) -> bool:
    """Whether nothing can be done any more, by anybody in this process."""
    final = (StoreUnusableError, EngineClosedError)

    if isinstance(error, ExceptionGroup):
        return error.subgroup(final) is not None

    return isinstance(error, final)


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
