"""The form to enqueue a job."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl.dashboard.text import readable_line

if TYPE_CHECKING:
    from queuectl import QueueEngine


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """
    A field of the form.

    Attributes:
        name: Its name, as it is sent.
        label: What it asks for.
        hint: What happens where it is left empty, or how it is written.
        value: What was typed.
        problem: Why that was refused; empty where it was not.
        is_number: Whether a telephone may show its digits only.
    """

    name: str
    label: str
    hint: str
    value: str = ""
    problem: str = ""
    is_number: bool = False


class EnqueueView(msgspec.Struct, frozen=True, kw_only=True):
    """
    The form.

    Attributes:
        command: The field of the command.
        fields: The others.
        problem: Why the job was refused, where no field is to blame; else empty.
        is_open: Whether the fields that may stay empty are shown at once.
    """

    command: Field
    fields: tuple[Field, ...]
    problem: str
    is_open: bool


_COMMAND: Final = Field(
    name="command", label="Command", hint="Run by /bin/sh, with the rights of the worker."
)
_FIELDS: Final = (
    Field(name="id", label="Id", hint="Empty: one is made that sorts by time."),
    Field(name="tags", label="Tags", hint="Words to find it by, between commas."),
    Field(name="delay", label="Delay", hint="As 90s, 10m, 1h30m. Empty: at once."),
    Field(name="run_at", label="Not before", hint="As 2026-11-21T09:00:00Z. Not with a delay."),
    Field(name="timeout", label="Timeout", hint="As 10m; 0 for never. Empty: as the config says."),
    Field(
        name="max_retries",
        label="Retries",
        hint="After the first run. Empty: as the config says.",
        is_number=True,
    ),
    Field(
        name="priority",
        label="Priority",
        hint="Higher runs first. Empty: as the config says.",
        is_number=True,
    ),
    Field(name="cwd", label="Folder", hint="Where it runs. Empty: where the dashboard runs."),
)


async def load(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> EnqueueView:
    """Return the form, empty but for what the address says."""
    del engine, now
    return enqueue_view(params)


def enqueue_view(
    entered: Mapping[str, str], *, problem: str | None = None, field: str | None = None
) -> EnqueueView:
    """
    Return the form with what was typed.

    Args:
        entered: By the field's name.
        problem: Why it was refused.
        field: The field that is to blame.
    """
    command = _filled(_COMMAND, entered, problem, field)
    fields = tuple(_filled(each, entered, problem, field) for each in _FIELDS)
    is_told = any(each.problem for each in (command, *fields))

    return EnqueueView(
        command=command,
        fields=fields,
        problem="" if is_told else readable_line(problem or ""),
        is_open=any(each.value or each.problem for each in fields),
    )


def _filled(
    empty: Field, entered: Mapping[str, str], problem: str | None, blamed: str | None
) -> Field:
    return msgspec.structs.replace(
        empty,
        value=entered.get(empty.name, ""),
        problem=readable_line(problem or "") if blamed == empty.name else "",
    )
