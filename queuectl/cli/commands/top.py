"""``top``: the queue, live."""

import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from queuectl.cli import options, render, screen
from queuectl.cli.session import start_worker_words, with_engine

if TYPE_CHECKING:
    from queuectl import QueueEngine
    from queuectl.cli.look import Observer

_EXAMPLES: Final = """
\b
Examples:
  queuectl top
  queuectl top --once
  queuectl top --json | jq '.running[] | {id, age_sec, last_line}'

Ctrl-C ends it, and leaves the terminal as it was.
"""

# Running jobs, and failures, in what is printed once.
_MOST: Final = 100

app: typer.Typer = typer.Typer()


@app.command("top", epilog=_EXAMPLES)
def top(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Print how things are, as plain text, and end.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """
    Show what the queue does, live: throughput, running jobs, and recent failures.

    It is drawn again when something changes, and every two seconds. Of each running
    job there is the last line of its output. Where nothing can be drawn, as in a pipe,
    with NO_COLOR or on a terminal that is dumb, it is the same as --once; with --json
    it is one object.
    """
    start = start_worker_words(context)

    async def work(engine: "QueueEngine") -> None:
        from queuectl.cli.look import Observer

        observer = Observer(engine)

        if as_json:
            await _print_record(observer)
        elif once or not screen.is_animated(sys.stdout):
            await _print_snapshot(observer, start)
        else:
            await _watch(engine, observer, start)

    with_engine(context, work)


async def _print_record(observer: "Observer") -> None:
    from queuectl.cli.top_record import top_record

    render.print_json(top_record(await observer.look(_MOST)))


async def _print_snapshot(observer: "Observer", start: str) -> None:
    """Print a look as plain text: cut to a terminal, and whole in a pipe."""
    from queuectl.cli.drawing import draw
    from queuectl.cli.sheet import Sheet

    is_for_person = screen.is_terminal(sys.stdout)
    sheet = Sheet(
        width=shutil.get_terminal_size().columns if is_for_person else None,
        is_ascii=not sys.stdout.encoding.lower().startswith("utf"),
    )
    lines = draw(await observer.look(_MOST), sheet, start=start)
    screen.write("".join(f"{line.plain.rstrip()}\n" for line in lines))


async def _watch(engine: "QueueEngine", observer: "Observer", start: str) -> None:
    from queuectl.cli.drawing import Frame
    from queuectl.cli.live import live_view

    with live_view() as view:
        async for _ in engine.changes():
            view.show(Frame(await observer.look(shutil.get_terminal_size().lines), start))
