"""Tables: cut and coloured for a person at a terminal, plain and whole in a pipe."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from queuectl.cli import screen

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_GAP: Final = "  "
_NARROWEST: Final = 12

_COLORS: Final = {
    "pending": "cyan",
    "processing": "blue",
    "completed": "green",
    "failed": "yellow",
    "dead": "red",
    "cancelled": "magenta",
    "timed_out": "yellow",
    "lost": "red",
    "spawn_failed": "red",
    "interrupted": "magenta",
    "running": "green",
    "draining": "yellow",
    "stopping": "yellow",
}


class Column(NamedTuple):
    """
    A column of a table.

    Attributes:
        title: What stands above it.
        is_elastic: Gets what is left of a terminal's width; last in a pipe,
            so that what stands before it can be taken apart at the spaces.
        widest: At a terminal, cut what is longer; None for never.
        is_state: Holds words that have colours.
    """

    title: str
    is_elastic: bool = False
    widest: int | None = None
    is_state: bool = False


class TablePrinter:
    """
    Prints a table page by page, so that it may be of any length.

    The first page decides how wide the columns are.

    Args:
        columns: From left to right.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths: list[int] = []
        self._console = make_console() if screen.is_terminal(sys.stdout) else None

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Print rows; the first time with the titles above them."""
        safe = [[screen.escape_line(cell) for cell in row] for row in rows]
        is_first = not self._widths

        if is_first:
            self._widths = self._measure(safe)
        elif not safe:
            return

        if self._console is None:
            titles = [[column.title for column in self._columns]] if is_first else []
            screen.write("".join(self._plain(row) for row in [*titles, *safe]))
        else:
            table = self._table(safe, has_titles=is_first)
            print_rich(self._console, table)

    def _measure(self, rows: Iterable[Sequence[str]]) -> list[int]:
        return [
            max(len(cell) for cell in cells)
            for cells in zip([column.title for column in self._columns], *rows, strict=True)
        ]

    def _plain(self, row: Sequence[str]) -> str:
        cells = list(zip(self._columns, row, self._widths, strict=True))
        ordered = sorted(cells, key=lambda cell: cell[0].is_elastic)
        return _GAP.join(text.ljust(width) for _, text, width in ordered).rstrip() + "\n"

    def _table(self, rows: Iterable[Sequence[str]], *, has_titles: bool) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), show_header=has_titles
        )

        for column, width in zip(self._columns, self._fitted(), strict=True):
            table.add_column(column.title, width=width, no_wrap=True, overflow="ellipsis")

        for row in rows:
            table.add_row(
                *(
                    Text(cell, style=_COLORS.get(cell, "") if column.is_state else "")
                    for column, cell in zip(self._columns, row, strict=True)
                )
            )

        return table

    def _fitted(self) -> list[int]:
        """Return the widths that fit the terminal."""
        widths = [
            min(width, column.widest or width)
            for column, width in zip(self._columns, self._widths, strict=True)
        ]
        room = self._console.width if self._console else 0
        taken = sum(
            width + len(_GAP)
            for column, width in zip(self._columns, widths, strict=True)
            if not column.is_elastic
        )
        left = max(_NARROWEST, room - taken - len(_GAP))

        return [
            min(width, left) if column.is_elastic else width
            for column, width in zip(self._columns, widths, strict=True)
        ]


def make_console() -> "Console":
    """Return a console on the standard output that keeps to what the environment says."""
    from rich.console import Console

    return Console(
        color_system="auto" if screen.is_colored() else None, highlight=False, soft_wrap=False
    )


def print_rich(console: "Console", content: object) -> None:
    """Print what rich is to lay out; its text must be safe already."""
    with console.capture() as captured:
        console.print(content)

    screen.write(captured.get())
