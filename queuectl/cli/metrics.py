"""The metrics that a worker serves beside its work."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from queuectl.cli.errors import UsageError

if TYPE_CHECKING:
    from queuectl import QueueEngine
    from queuectl.metrics import Place

_log = logging.getLogger(__name__)

_LOOPBACK: Final = "127.0.0.1"

Port = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        metavar="N",
        help="Serve metrics for Prometheus on this port, under /metrics; 0 for a free one, which"
        " is logged. Of several processes the first one does.",
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--metrics-host",
        metavar="ADDRESS",
        help=f"Serve them on this address, to whoever can reach it; else on {_LOOPBACK}.",
    ),
]


def place_of(port: int | None, host: str | None) -> "Place | None":
    """
    Return where the metrics are to be served, None where they are not.

    Raises:
        UsageError: There is a host without a port.
        ExtraMissingError: The package of the extra is not installed.
    """
    if port is None:
        if host is not None:
            raise UsageError("--metrics-host needs --metrics-port")

        return None

    from queuectl.metrics import is_installed, missing

    if not is_installed():
        raise missing()

    from queuectl.metrics import Place

    return Place(host=_LOOPBACK if host is None else host, port=port)


def as_options(place: "Place | None") -> tuple[str, ...]:
    """Return the options by which another process serves them there."""
    if place is None:
        return ()

    return (f"--metrics-port={place.port}", f"--metrics-host={place.host}")


async def check(place: "Place | None") -> None:
    """
    See that they can be served there, now.

    Raises:
        MetricsServeError: They cannot.
    """
    if place is not None:
        from queuectl.metrics import check_place

        await check_place(place)


@asynccontextmanager
async def served(engine: "QueueEngine", place: "Place | None") -> AsyncIterator[None]:
    """
    Serve the metrics while in the context, where that was asked for.

    Raises:
        MetricsServeError: They cannot be served there.
    """
    if place is None:
        yield
        return

    from queuectl.metrics import serve

    async with serve(engine, place) as address:
        _log.info("metrics at %s", address)
        yield
