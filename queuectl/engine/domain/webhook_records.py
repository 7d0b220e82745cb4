"""Webhooks and deliveries as JSON, and the messages themselves; keys are only ever added."""

from datetime import datetime
from typing import Annotated

import msgspec

from queuectl.engine.domain.durations import format_time
from queuectl.engine.domain.models import Job
from queuectl.engine.domain.records import JobRecord, job_record
from queuectl.engine.domain.webhooks import Delivery, NewWebhook, Webhook, WebhookTest, type_of

_Time = Annotated[str, msgspec.Meta(description="RFC 3339, UTC")]


class WebhookRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. Its secret is not in it."""

    id: str
    url: str
    on: tuple[str, ...]
    tags: tuple[str, ...]
    created_at: _Time
    disabled_at: _Time | None
    disabled_reason: str | None
    waiting: int
    dead: int


class NewWebhookRecord(WebhookRecord, frozen=True, kw_only=True):
    """A webhook that was just made, with its secret."""

    secret: str


class DeliveryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a webhook is told, was told, or could not be told."""

    id: str
    webhook: str
    type: str
    job_id: str
    state: str
    attempts: int
    created_at: _Time
    due_at: _Time | None
    attempted_at: _Time | None
    settled_at: _Time | None
    status: int | None
    reason: str | None


class WebhookTestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a message that was sent as a test."""

    is_delivered: bool
    status: int | None
    reason: str | None
    took_sec: Annotated[float, msgspec.Meta(description="seconds")]


class JobMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook is sent: what happened, when, and the job as it was then."""

    type: str
    timestamp: _Time
    data: JobRecord


class _TestData(msgspec.Struct, frozen=True):
    webhook: str


class _TestMessage(msgspec.Struct, frozen=True):
    type: str
    timestamp: str
    data: _TestData


def webhook_record(webhook: Webhook) -> WebhookRecord:
    """Return the JSON form of a webhook."""
    return WebhookRecord(
        id=webhook.id,
        url=webhook.url,
        on=tuple(state.value for state in webhook.on),
        tags=webhook.tags,
        created_at=format_time(webhook.created_at),
        disabled_at=_time(webhook.disabled_at),
        disabled_reason=webhook.disabled_reason,
        waiting=webhook.waiting,
        dead=webhook.dead,
    )


def new_webhook_record(new: NewWebhook) -> NewWebhookRecord:
    """Return the JSON form of a webhook that was just made, with its secret."""
    return NewWebhookRecord(
        **msgspec.structs.asdict(webhook_record(new.webhook)), secret=new.secret
    )


def delivery_record(delivery: Delivery) -> DeliveryRecord:
    """Return the JSON form of a delivery."""
    return DeliveryRecord(
        id=delivery.id,
        webhook=delivery.webhook,
        type=delivery.type,
        job_id=delivery.job_id,
        state=delivery.state.value,
        attempts=delivery.attempts,
        created_at=format_time(delivery.created_at),
        due_at=_time(delivery.due_at),
        attempted_at=_time(delivery.attempted_at),
        settled_at=_time(delivery.settled_at),
        status=delivery.status,
        reason=delivery.reason,
    )


def webhook_test_record(test: WebhookTest) -> WebhookTestRecord:
    """Return the JSON form of what came of a test."""
    return WebhookTestRecord(
        is_delivered=test.is_delivered,
        status=test.status,
        reason=test.reason,
        took_sec=round(test.took.total_seconds(), 3),
    )


def job_message(job: Job, now: datetime) -> bytes:
    """Return what is sent when a job has come into its state; byte for byte what is signed."""
    message = JobMessage(type=type_of(job.state), timestamp=format_time(now), data=job_record(job))
    return msgspec.json.encode(message)


def trial_message(webhook_id: str, now: datetime) -> bytes:
    """Return what is sent to try a webhook out."""
    return msgspec.json.encode(
        _TestMessage("webhook.test", format_time(now), _TestData(webhook_id))
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
