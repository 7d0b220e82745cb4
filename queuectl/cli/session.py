"""From a typer command into the engine: one event loop, one open database."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import typer

from queuectl.cli import screen

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from queuectl import QueueEngine

T = TypeVar("T")


class Session(NamedTuple):
    """
    What was said before the command.

    Attributes:
        database: The file, None for the usual one.
        is_debugging: Whether errors come with everything that is known.
    """

    database: str | None
    is_debugging: bool


def session_of(context: typer.Context) -> Session:
    """Return what was said before the command."""
    session = context.find_object(Session)
    return session or Session(database=None, is_debugging=False)


def start_worker_words(context: typer.Context) -> str:
    """Return the command that starts a worker on the database that is meant."""
    import shlex

    database = session_of(context).database
    words = ["queuectl", *([] if database is None else ["--db", database]), "worker", "start"]
    return shlex.join(words)


def tell_no_worker(context: typer.Context) -> None:
    """Say that nobody runs jobs, and how to change that."""
    screen.note(f"no worker is alive; start one with: {start_worker_words(context)}")


def make_engine(context: typer.Context) -> "QueueEngine":
    """Return the engine of the database that is meant, not open."""
    from queuectl import QueueEngine

    return QueueEngine(session_of(context).database, tracer=_tracer())


def _tracer() -> "Tracer | None":
    """Return a tracer where the program is traced, as under ``opentelemetry-instrument``."""
    if "opentelemetry.trace" not in sys.modules:
        return None

    from opentelemetry.trace import get_tracer

    from queuectl import __version__

    return get_tracer("queuectl", __version__)


def with_engine(
    context: typer.Context,
    work: Callable[["QueueEngine"], Coroutine[Any, Any, T]],
    *,
    then: Callable[[T], object] | None = None,
) -> T:
    """
    Open the engine, do the work, close the engine, and return what the work returned.

    Args:
        context: Knows which database is meant.
        work: What to do.
        then: Called with what it returned when the engine is closed, and the
            event loop is not, which ends processes that are left when it goes.
    """

    async def main() -> T:
        async with make_engine(context) as engine:
            result = await work(engine)

        if then is not None:
            then(result)

        return result

    return asyncio.run(main())
