"""What webhooks and their deliveries look like, for a person and as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from queuectl import (
    delivery_record,
    escape_line,
    format_duration,
    format_time,
    new_webhook_record,
    webhook_record,
    webhook_test_record,
)
from queuectl.cli import screen
from queuectl.cli.render import Form, print_ids, print_json
from queuectl.cli.table import Column, TablePrinter

if TYPE_CHECKING:
    from queuectl import Delivery, NewWebhook, Webhook, WebhookTest

_NOTHING: Final = "-"

_WEBHOOK_COLUMNS: Final = (
    Column("ID"),
    Column("State"),
    Column("Waiting"),
    Column("Dead"),
    Column("On"),
    Column("Tags", widest=24),
    Column("URL", is_elastic=True),
)
_DELIVERY_COLUMNS: Final = (
    Column("ID"),
    Column("Webhook"),
    Column("Type"),
    Column("State", is_state=True),
    Column("Attempts"),
    Column("Next"),
    Column("Job", widest=40),
    Column("Reason", is_elastic=True),
)


def print_new(new: "NewWebhook", form: Form) -> None:
    """Print a webhook that was just made, with its secret."""
    if form is Form.JSON:
        print_json(new_webhook_record(new))
        return

    screen.write_line(f"Added webhook: {new.webhook.id}")
    screen.write_line(f"secret  {new.secret}")


def print_webhooks(webhooks: Sequence["Webhook"], form: Form) -> None:
    """Print webhooks."""
    match form:
        case Form.JSON:
            print_json([webhook_record(webhook) for webhook in webhooks])
        case Form.IDS:
            print_ids(webhooks)
        case Form.TABLE:
            TablePrinter(_WEBHOOK_COLUMNS).add([_webhook_row(webhook) for webhook in webhooks])


def print_webhook(webhook: "Webhook", form: Form, words: str) -> None:
    """Print a webhook as JSON, else what was done with it."""
    if form is Form.JSON:
        print_json(webhook_record(webhook))
    else:
        screen.write_line(f"{words}: {webhook.id}")


def print_deliveries(deliveries: Sequence["Delivery"], form: Form) -> None:
    """Print deliveries."""
    match form:
        case Form.JSON:
            print_json([delivery_record(delivery) for delivery in deliveries])
        case Form.IDS:
            print_ids(deliveries)
        case Form.TABLE:
            rows = [_delivery_row(delivery) for delivery in deliveries]
            TablePrinter(_DELIVERY_COLUMNS).add(rows)


def print_test(webhook: str, test: "WebhookTest", form: Form) -> None:
    """Print what came of a test message."""
    if form is Form.JSON:
        print_json(webhook_test_record(test))
        return

    outcome = f"delivered, status={test.status}" if test.is_delivered else f"failed: {test.reason}"
    line = f"{webhook}: {outcome}, in {format_duration(test.took)}"
    screen.write_line(escape_line(line))


def _webhook_row(webhook: "Webhook") -> list[str]:
    return [
        webhook.id,
        f"disabled: {webhook.disabled_reason}" if webhook.disabled_at else "enabled",
        str(webhook.waiting),
        str(webhook.dead),
        ",".join(webhook.on),
        ",".join(webhook.tags) or _NOTHING,
        webhook.url,
    ]


def _delivery_row(delivery: "Delivery") -> list[str]:
    return [
        delivery.id,
        delivery.webhook,
        delivery.type,
        delivery.state.value,
        str(delivery.attempts),
        format_time(delivery.due_at) if delivery.due_at else _NOTHING,
        delivery.job_id,
        delivery.reason or _NOTHING,
    ]
