"""Webhooks that nothing is sent to any more, and what could not be delivered."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queuectl.engine.domain.findings import Finding, counted, note, ok
from queuectl.engine.runtime.doctor.wording import command

if TYPE_CHECKING:
    from queuectl.engine.domain.webhooks import Webhook

_CHECK: Final = "webhooks"


def judge_webhooks(path: Path, webhooks: "Sequence[Webhook]") -> list[Finding]:
    """
    Say which webhooks need somebody; nothing where there are none.

    Their addresses are not shown: they can have secrets of their own.

    Args:
        path: The database.
        webhooks: All of it.
    """
    found = [finding for webhook in webhooks for finding in _judge(path, webhook)]

    if found or not webhooks:
        return found

    waiting = _deliveries(sum(webhook.waiting for webhook in webhooks))
    return [ok(_CHECK, f"{counted(len(webhooks), 'webhook')}, none disabled; {waiting} to be made")]


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
