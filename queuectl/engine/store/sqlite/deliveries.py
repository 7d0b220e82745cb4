"""Webhooks inside a transaction, and what became of what they were to be told."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from itertools import product
from typing import Any, Final

import msgspec

from queuectl.engine.domain.states import JobState
from queuectl.engine.domain.webhooks import (
    MOST_WEBHOOKS,
    Delivery,
    DeliveryState,
    Webhook,
    webhook_name,
    webhook_number,
)
from queuectl.engine.errors import (
    DeliveryNotFoundError,
    DeliveryStateError,
    InvalidValueError,
    WebhookNotFoundError,
)
from queuectl.engine.store.outbox import Handled, Message, Sent, Target, WebhookSpec
from queuectl.engine.store.sqlite.rows import due_ms, from_ms, to_ms
from queuectl.engine.store.sqlite.statements import SQL

# Why one is disabled whose deliveries are being deleted.
_BEING_REMOVED: Final = "it is being removed"

# What one transaction takes away, gives up or puts back: some milliseconds' work.
_SOME: Final = 1000

_STATES: Final = msgspec.json.Decoder(tuple[JobState, ...])
_TAGS: Final = msgspec.json.Decoder(tuple[str, ...])


def add(connection: sqlite3.Connection, spec: WebhookSpec, now: datetime) -> Webhook:
    """Add a webhook."""
    values = {
        "url": spec.url,
        "secret": spec.secret,
        "states": msgspec.json.encode(spec.on).decode(),
        "tags": msgspec.json.encode(spec.tags).decode(),
        "now": to_ms(now),
        "most": MOST_WEBHOOKS,
    }
    row = connection.execute(SQL["insert_webhook"], values).fetchone()

    if row is None:
        msg = f"there are {MOST_WEBHOOKS} webhooks already, which is the most there can be"
        raise InvalidValueError(msg)

    return get_webhook(connection, webhook_name(row["id"]))


def remove(connection: sqlite3.Connection, webhook: str, now: datetime, after: int) -> Handled:
    """Disable a webhook and delete some of its deliveries; with the last of them, itself."""
    try:
        number = _existing(connection, webhook)
    except WebhookNotFoundError:
        if not after:
            raise

        # Somebody else has removed it since the step before.
        return Handled(deliveries=0)

    values = {"webhook": number, "now": to_ms(now), "reason": _BEING_REMOVED, "limit": _SOME}
    connection.execute(SQL["disable_webhook"], values)
    deleted = connection.execute(SQL["delete_deliveries"], values).rowcount

    if deleted == _SOME:
        return Handled(deliveries=deleted, after=after + deleted)

    connection.execute(SQL["delete_webhook"], values)
    return Handled(deliveries=deleted)


def enable(connection: sqlite3.Connection, webhook: str) -> Webhook:
    """Let a webhook be sent messages again."""
    connection.execute(SQL["enable_webhook"], {"webhook": _existing(connection, webhook)})
    return get_webhook(connection, webhook)


def list_webhooks(connection: sqlite3.Connection) -> list[Webhook]:
    """Return all webhooks."""
    return [_webhook(row) for row in connection.execute(SQL["list_webhooks"], {"webhook": None})]


def get_webhook(connection: sqlite3.Connection, webhook: str) -> Webhook:
    """Return a webhook."""
    number = _existing(connection, webhook)
    return _webhook(connection.execute(SQL["list_webhooks"], {"webhook": number}).fetchone())


def get_target(connection: sqlite3.Connection, webhook: str) -> Target:
    """Return where a webhook's messages are sent to, though it were disabled."""
    values = {"webhook": _existing(connection, webhook)}
    return _target(connection.execute(SQL["webhook_targets"], values).fetchone())


def read_targets(connection: sqlite3.Connection) -> list[Target]:
    """Return where messages are sent to."""
    return [_target(row) for row in connection.execute(SQL["webhook_targets"], {"webhook": None})]


def read_due(
    connection: sqlite3.Connection, target: Target, limit: int, now: datetime
) -> list[Message]:
    """Return messages that are due."""
    values = {"webhook": target.number, "now": to_ms(now), "limit": limit}

    return [
        Message(seq=row["seq"], id=row["id"], body=row["body"].encode(), attempts=row["attempts"])
        for row in connection.execute(SQL["due_deliveries"], values)
    ]


def settle(connection: sqlite3.Connection, sent: Sent, now: datetime) -> None:
    """Record what came of an attempt."""
    decision = sent.decision
    moment = to_ms(now)
    row = connection.execute(
        SQL["settle_delivery"],
        {
            "seq": sent.message.seq,
            "state": decision.state.value,
            "attempts": sent.message.attempts + 1,
            "due_at": None if decision.due_at is None else due_ms(decision.due_at),
            "settled_at": moment if decision.due_at is None else None,
            "status": sent.answer.status,
            "reason": sent.answer.reason,
            "now": moment,
        },
    ).fetchone()

    if decision.disables and row is not None:
        values = {"webhook": row["webhook"], "now": moment, "reason": sent.answer.reason}
        connection.execute(SQL["disable_webhook"], values)


def give_up(
    connection: sqlite3.Connection, target: Target, until: datetime, reason: str, now: datetime
) -> int:
    """Let some messages die that have been due for long; return how many."""
    values = {
        "webhook": target.number,
        "until": to_ms(until),
        "reason": reason,
        "now": to_ms(now),
        "limit": _SOME,
    }
    return connection.execute(SQL["give_up_deliveries"], values).rowcount


def mend_times(connection: sqlite3.Connection, latest: datetime, now: datetime) -> bool:
    """Let some be due that wait for longer than can be; return whether there may be more."""
    values = {"latest": to_ms(latest), "now": to_ms(now), "limit": _SOME}
    return connection.execute(SQL["mend_due_times"], values).rowcount == _SOME


def list_deliveries(
    connection: sqlite3.Connection, webhook: str | None, state: DeliveryState | None, limit: int
) -> list[Delivery]:
    """Return the last deliveries, the first of them in front."""
    number = None if webhook is None else _existing(connection, webhook)
    numbers = [row["id"] for row in connection.execute(SQL["webhook_ids"], {"webhook": number})]
    states = list(DeliveryState) if state is None else [state]
    # The last of each: there are few webhooks, and of any state there may be very many.
    last = SQL["last_deliveries"]
    seqs = [
        row["seq"]
        for each, kind in product(numbers, states)
        for row in connection.execute(last, {"webhook": each, "state": kind, "limit": limit})
    ]
    wanted = msgspec.json.encode(sorted(seqs)[-limit:]).decode()
    return [_delivery(row) for row in connection.execute(SQL["get_deliveries"], {"seqs": wanted})]


def retry(connection: sqlite3.Connection, ids: Sequence[str], now: datetime) -> list[Delivery]:
    """Let dead deliveries be made after all, and waiting ones now, all or none."""
    for delivery_id in dict.fromkeys(ids):
        delivery = _get_delivery(connection, delivery_id)

        if delivery.state is DeliveryState.DELIVERED:
            raise DeliveryStateError(delivery.id, delivery.state.value, "retry")

        connection.execute(SQL["retry_delivery"], {"id": delivery_id, "now": to_ms(now)})

    return [_get_delivery(connection, delivery_id) for delivery_id in ids]


def retry_dead(
    connection: sqlite3.Connection, webhook: str | None, now: datetime, after: int
) -> Handled:
    """Let some of the dead deliveries be made after all, of all or of those of a webhook."""
    number = None if webhook is None else _existing(connection, webhook)
    seqs = sorted(
        row["seq"]
        for each in connection.execute(SQL["webhook_ids"], {"webhook": number}).fetchall()
        for row in connection.execute(
            SQL["some_dead_deliveries"], {"webhook": each["id"], "after": after, "limit": _SOME}
        )
    )[:_SOME]
    values = {"seqs": msgspec.json.encode(seqs).decode(), "now": to_ms(now)}
    connection.execute(SQL["retry_deliveries"], values)
    return Handled(deliveries=len(seqs), after=seqs[-1] if len(seqs) == _SOME else None)


def prune(connection: sqlite3.Connection, until: datetime) -> bool:
    """Delete some old deliveries; return whether there may be more."""
    values = {"until": to_ms(until), "limit": _SOME}
    return connection.execute(SQL["prune_deliveries"], values).rowcount == _SOME


def _existing(connection: sqlite3.Connection, webhook: str) -> int:
    """
    Return the number of a webhook that is there.

    Raises:
        WebhookNotFoundError: It is not.
    """
    number = webhook_number(webhook)
    row = connection.execute(SQL["has_webhook"], {"webhook": number}).fetchone()

    if number is None or row is None:
        raise WebhookNotFoundError(webhook)

    return number


def _get_delivery(connection: sqlite3.Connection, delivery_id: str) -> Delivery:
    row = connection.execute(SQL["get_delivery"], {"id": delivery_id}).fetchone()

    if row is None:
        raise DeliveryNotFoundError(delivery_id)

    return _delivery(row)


def _webhook(row: sqlite3.Row) -> Webhook:
    return Webhook(
        id=webhook_name(row["id"]),
        url=row["url"],
        on=_STATES.decode(row["states"]),
        tags=_TAGS.decode(row["tags"]),
        created_at=from_ms(row["created_at"]),
        disabled_at=_time(row["disabled_at"]),
        disabled_reason=row["disabled_reason"],
        waiting=row["waiting"],
        dead=row["dead"],
    )


def _target(row: sqlite3.Row) -> Target:
    return Target(
        number=row["id"], url=row["url"], secret=row["secret"], due_at=_time(row["due_at"])
    )


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        id=row["id"],
        webhook=webhook_name(row["webhook"]),
        type=row["type"],
        job_id=row["job"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        created_at=from_ms(row["created_at"]),
        due_at=_time(row["due_at"]),
        attempted_at=_time(row["attempted_at"]),
        settled_at=_time(row["settled_at"]),
        status=row["status"],
        reason=row["reason"],
    )


def _time(milliseconds: Any) -> datetime | None:
    return None if milliseconds is None else from_ms(milliseconds)
