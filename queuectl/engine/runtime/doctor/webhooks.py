"""Webhooks that nothing is sent to any more, and what could not be delivered."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl.engine.domain.findings import Finding, counted, note, ok, problem
from queuectl.engine.domain.models import WorkerInfo
from queuectl.engine.runtime.doctor.wording import command, quoted
from queuectl.engine.runtime.roster import when_unresponsive
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.webhooks.duty import who_delivers
from queuectl.engine.store.base import InspectedStore

if TYPE_CHECKING:
    from queuectl.engine.domain.webhooks import Webhook

_CHECK: Final = "webhooks"

# For so long what is due may wait: workers look every second.
_LONG: Final = timedelta(minutes=1)


async def look_at_webhooks(
    path: Path,
    lock: Path,
    store: InspectedStore,
    workers: Sequence[WorkerInfo] | None,
    *,
    now: datetime,
) -> list[Finding]:
    """
    Say which webhooks need somebody, and what keeps messages from being sent.

    Args:
        path: The database.
        lock: The file whose lock has who sends them.
        store: What is looked at.
        workers: All on the list; None where that could not be looked at.
        now: The time.
    """
    due_at = await store.next_delivery()
    late = None

    if due_at is not None and workers is not None:
        sender = await in_thread(who_delivers, lock)
        delay = Delay(due_at=due_at, now=now, workers=workers, sender=sender)
        late = judge_delay(path, lock, delay)

    return judge_webhooks(path, await store.webhooks(), late)


def judge_webhooks(
    path: Path, webhooks: "Sequence[Webhook]", late: Finding | None
) -> list[Finding]:
    """
    Say which webhooks need somebody; nothing where there are none.

    Their addresses are not shown: they can have secrets of their own.

    Args:
        path: The database.
        webhooks: All of it.
        late: What `judge_delay` says.
    """
    found = [finding for webhook in webhooks for finding in _judge(path, webhook)]
    found += [] if late is None else [late]

    if found or not webhooks:
        return found

    waiting = _deliveries(sum(webhook.waiting for webhook in webhooks))
    return [ok(_CHECK, f"{counted(len(webhooks), 'webhook')}, none disabled; {waiting} to be made")]


class Delay(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is to be sent, and who is to send it.

    Attributes:
        due_at: When the first message was to be sent.
        now: The time.
        workers: All on the list.
        sender: The name of the one that sends, as far as it is known; None without one.
    """

    due_at: datetime
    now: datetime
    workers: Sequence[WorkerInfo]
    sender: str | None


def judge_delay(path: Path, lock: Path, delay: Delay) -> Finding | None:
    """
    Say what keeps messages from being sent that have been due for long; None without any.

    Args:
        path: The database.
        lock: The file whose lock has who sends them.
        delay: What is to be sent, and who is to send it.
    """
    if delay.now - delay.due_at < _LONG:
        return None

    words = f"messages have been due for {int((delay.now - delay.due_at).total_seconds())} s"
    alive = [worker for worker in delay.workers if worker.is_alive]
    senders = [worker for worker in alive if worker.id == delay.sender]

    if not alive:
        start = f"start one: {command(path, 'worker', 'start', '--detach')}"
        return note(_CHECK, f"{words}, and no worker is alive to send them", start)

    if senders:
        return _judge_sender(path, words, senders[0])

    if delay.sender is not None:
        return problem(
            _CHECK,
            f"{words}: none of the live workers can, for {delay.sender or 'another process'}"
            " holds the lock for that",
            f"see which process that is, and end it: fuser -v {quoted([lock])}",
        )

    # One that has just started is about to.
    if all(delay.now - worker.started_at < _LONG for worker in alive):
        return None

    return problem(
        _CHECK,
        f"{words}, and none of the live workers sends them",
        "see in their logs why; where packages are missing: pip install 'queuectl[webhooks]', and"
        f" then {command(path, 'worker', 'restart')}",
    )


def _judge_sender(path: Path, words: str, sender: WorkerInfo) -> Finding:
    who = f"worker {sender.id} (pid {sender.pid} on {sender.host})"

    if sender.state == "unresponsive":
        return problem(
            _CHECK,
            f"{words}: {who}, which is to send them, does not answer, and as long as it is there"
            " no other worker can",
            when_unresponsive([sender.pid]),
        )

    return note(
        _CHECK,
        f"{words}: {who} sends them; a receiver that fails or is slow is sent one at a time,"
        " after longer and longer",
        f"see what the receivers answer: {command(path, 'webhook', 'deliveries')}",
    )


def _judge(path: Path, webhook: "Webhook") -> Iterator[Finding]:
    if webhook.disabled_at is not None:
        why = f" ({webhook.disabled_reason})" if webhook.disabled_reason else ""
        yield note(
            _CHECK,
            f"webhook {webhook.id} is disabled{why}: nothing is sent to it, and what happens is"
            " not kept for it",
            "where its receiver wants messages again:"
            f" {command(path, 'webhook', 'enable', webhook.id)}; where it does not:"
            f" {command(path, 'webhook', 'remove', webhook.id)}",
        )

    if webhook.dead:
        yield note(
            _CHECK,
            f"webhook {webhook.id} has refused or missed what it was told:"
            f" {_deliveries(webhook.dead)} given up",
            f"see why: {command(path, 'webhook', 'deliveries', '--dead', webhook.id)}; to send"
            f" them again: {command(path, 'webhook', 'retry', '--webhook', webhook.id)}",
        )


def _deliveries(count: int) -> str:
    return f"{counted(count, 'delivery', 'deliveries')} {'is' if count == 1 else 'are'}"
