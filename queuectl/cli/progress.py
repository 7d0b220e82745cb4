"""Progress bars, on the standard error of a person who looks; else nothing."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from queuectl.cli import screen

if TYPE_CHECKING:
    from rich.progress import Progress

    from queuectl import QueueEngine, QueueStats

# Seconds between two looks at a queue that is being drained.
_LOOK: Final = 0.5


class Bar(Protocol):
    """A progress bar."""

    def show(self, label: str, done: int = 0, total: int | None = None) -> None:
        """Say what goes on, and how far it has come; without a total nobody knows."""


@contextmanager
def bar() -> Iterator[Bar]:
    """Offer a progress bar inside the context; it appears when it is used, and leaves no trace."""
    if not screen.is_animated(sys.stderr):
        yield _NoBar()
        return

    shown = _RichBar()

    try:
        yield shown
    finally:
        shown.remove()


@asynccontextmanager
async def waiting_bar(engine: "QueueEngine", job_ids: list[str]) -> AsyncIterator[None]:
    """Show how many of several jobs are finished, inside the context."""
    several = len(set(job_ids))

    with bar() as shown:
        if several == 1 or isinstance(shown, _NoBar):
            yield
            return

        async def watch() -> None:
            async for left in engine.progress(job_ids):
                shown.show("waiting", several - left, several)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            yield
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def draining_bar(engine: "QueueEngine") -> AsyncIterator[None]:
    """Show how much of the queue is done, inside the context."""
    with bar() as shown:
        if isinstance(shown, _NoBar):
            yield
            return

        async def watch() -> None:
            before = _finished(await engine.stats())

            while True:
                stats = await engine.stats()
                done = _finished(stats) - before
                shown.show("draining", done, done + _unfinished(stats))
                await anyio.sleep(_LOOK)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            yield
            tasks.cancel_scope.cancel()


class _NoBar:
    def show(self, label: str, done: int = 0, total: int | None = None) -> None:
        pass


class _RichBar:
    def __init__(self) -> None:
        self._progress: Progress | None = None

    def show(self, label: str, done: int = 0, total: int | None = None) -> None:
        count = "" if total is None else f"{done} of {total}"

        if self._progress is None:
            self._progress = _make_progress()
            self._progress.add_task(label, completed=done, total=total, count=count)
            self._progress.start()
        else:
            [task] = self._progress.task_ids
            self._progress.update(task, description=label, completed=done, total=total, count=count)

    def remove(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def _make_progress() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _finished(stats: "QueueStats") -> int:
    from queuectl import TERMINAL

    return sum(count for state, count in stats.counts.items() if state in TERMINAL)


def _unfinished(stats: "QueueStats") -> int:
    return sum(stats.counts.values()) - _finished(stats)
