"""Webhooks as values: who is told of what, and what is to be told."""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec

from queuectl.engine.domain.states import JobState

# The states that somebody can be told of, in the order in which they are listed.
WATCHED: Final = (JobState.COMPLETED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED)

# Each may have `queuectl.engine.runtime.webhooks` open some connections at once.
MOST_WEBHOOKS: Final = 32


class DeliveryState(StrEnum):
    """How far a delivery has come; the values are what the database holds."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """
    An address that is told what becomes of jobs.

    Attributes:
        id: As ``wh3``; never used again.
        url: Where to.
        on: The states of jobs that it is told of: `completed`, `failed`, `dead`,
            `cancelled`.
        tags: Only of jobs with one of these; empty for all jobs.
        created_at: In UTC.
        disabled_at: Since when nothing is sent to it; None where it is in use.
        disabled_reason: Why.
        waiting: How many deliveries are still to be made.
        dead: How many were given up, and are kept.
    """

    id: str
    url: str
    on: tuple[JobState, ...]
    tags: tuple[str, ...]
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None
    waiting: int
    dead: int


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """
    A webhook that was just made, with its secret, which is not shown again.

    Attributes:
        webhook: What was made.
        secret: ``whsec_`` and base64: what the receiver checks signatures with. Kept out
            of ``repr``.
    """

    webhook: Webhook
    secret: str

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Name what may be shown, to rich and to ``repr``."""
        return [("webhook", self.webhook)]

    def __repr__(self) -> str:
        """Write what may be shown."""
        return f"NewWebhook(webhook={self.webhook!r})"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something that a webhook is told, was told, or could not be told.

    Attributes:
        id: What the receiver knows it by, the same in every attempt: ``webhook-id``.
        webhook: The webhook, as ``wh3``.
        type: What happened, as ``job.completed``.
        job_id: To which job.
        state: `waiting`, `delivered`, or `dead`: given up.
        attempts: How often it was sent.
        created_at: When it happened, in UTC.
        due_at: When it is sent next; None where it is not any more.
        attempted_at: When it was sent last, None where it was not.
        settled_at: When it was delivered, or given up.
        status: The HTTP status of the last answer, None where there was none.
        reason: Why the last attempt failed, as ``status=500``; None where it did not.
    """

    id: str
    webhook: str
    type: str
    job_id: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    due_at: datetime | None
    attempted_at: datetime | None
    settled_at: datetime | None
    status: int | None
    reason: str | None


class WebhookTest(msgspec.Struct, frozen=True, kw_only=True):
    """
    What came of a message that was sent as a test.

    Attributes:
        is_delivered: Whether the receiver took it: an answer with a status of 2xx.
        status: The HTTP status of the answer, None where there was none.
        reason: Why it was not delivered, None where it was.
        took: How long it took.
    """

    is_delivered: bool
    status: int | None
    reason: str | None
    took: timedelta


def wants(
    on: Collection[JobState], tags: Collection[str], state: JobState, of: Collection[str]
) -> bool:
    """
    Whether a webhook is to be told of a job.

    Args:
        on: The webhook's states.
        tags: The webhook's tags; empty for all jobs.
        state: The state that the job has come into.
        of: The job's tags.
    """
    return state in on and (not tags or any(tag in tags for tag in of))


def type_of(state: JobState) -> str:
    """Return what a message calls it that a job has come into a state."""
    return f"job.{state.value}"


def webhook_name(number: int) -> str:
    """Return the id by which people know a webhook: ``wh3``."""
    return f"wh{number}"


def webhook_number(name: str) -> int | None:
    """Return what `webhook_name` was made from; None where it was not made so."""
    digits = name.removeprefix("wh")
    is_made = name.startswith("wh") and digits.isascii() and digits.isdecimal()
    # No longer than what a database can hold.
    return int(digits) if is_made and len(digits) <= len(str(2**62)) - 1 else None
