"""The metrics that a worker serves beside its work."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Final

import anyio
import typer

from queuectl.cli.errors import UsageError

if TYPE_CHECKING:
    from queuectl import QueueEngine
    from queuectl.metrics import Place

_log = logging.getLogger(__name__)

_LOOPBACK: Final = "127.0.0.1"

# Seconds until a port is tried again that was taken.
_AGAIN: Final = 2.0

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
async def served(
    engine: "QueueEngine", place: "Place | None", *, or_later: bool = False
) -> AsyncIterator[None]:
    """
    Serve the metrics while in the context, where that was asked for.

    Args:
        engine: Open, for as long as the context.
        place: Where; None for not at all.
        or_later: Whether to go on without them where they cannot be served there, and
            to try again: for who has more to do that must not wait.

    Raises:
        MetricsServeError: They cannot be served there.
    """
    if place is None:
        yield
        return

    from queuectl.metrics import MetricsServeError

    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(_serving(engine, place))
        except MetricsServeError as error:
            if not or_later:
                raise

            _log.error("%s; working on without metrics, and trying again", error)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(_serve_later, engine, place)

        yield


@asynccontextmanager
async def _serving(engine: "QueueEngine", place: "Place") -> AsyncIterator[None]:
    from queuectl.metrics import serve

    async with serve(engine, place) as address:
        _log.info("metrics at %s", address)
        yield


async def _serve_later(engine: "QueueEngine", place: "Place") -> None:
    """Serve the metrics as soon as they can be, until cancelled."""
    from queuectl.metrics import MetricsServeError

    while True:
        await anyio.sleep(_AGAIN)

        with suppress(MetricsServeError):
            async with _serving(engine, place):
                await anyio.sleep_forever()
