"""How a sender is come by: its packages are an extra, and are imported where they are needed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from queuectl.engine.errors import ExtraMissingError
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.threads import in_thread

if TYPE_CHECKING:
    from queuectl.engine.runtime.webhooks.sender import Sender

_EXTRA: Final = "webhooks"
_PACKAGES: Final = frozenset({"httpcore2", "standardwebhooks"})


@asynccontextmanager
async def opened_sender(clock: Clock) -> AsyncIterator["Sender"]:
    """
    Have a sender while in the context.

    Raises:
        ExtraMissingError: What it is made of is not installed.
    """
    # It imports for a tenth of a second, and reads files.
    sender = await in_thread(_make_sender, clock)

    try:
        yield sender
    finally:
        with anyio.CancelScope(shield=True):
            await sender.close()


async def check_extra() -> None:
    """
    Make sure that messages can be sent from here.

    Raises:
        ExtraMissingError: What sends them is not installed.
    """
    await in_thread(_sender_type)


def _make_sender(clock: Clock) -> "Sender":
    return _sender_type()(clock)


def _sender_type() -> type["Sender"]:
    try:
        from queuectl.engine.runtime.webhooks.sender import Sender
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]

        if package not in _PACKAGES:
            raise

        raise ExtraMissingError(_EXTRA, package) from error

    return Sender
