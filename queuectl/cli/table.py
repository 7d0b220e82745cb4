"""Tables: cut and coloured for a person at a terminal, plain and whole in a pipe."""

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from queuectl import escape_line
from queuectl.cli import screen

_GAP: Final = "  "
_NARROWEST: Final = 12

# SGR parameters; see ECMA-48, 8.3.117.
_BOLD: Final = "1"
_RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN = "31", "32", "33", "34", "35", "36"

_COLORS: Final = {
    "pending": _CYAN,
    "processing": _BLUE,
    "completed": _GREEN,
    "failed": _YELLOW,
    "dead": _RED,
    "cancelled": _MAGENTA,
    "timed_out": _YELLOW,
    "lost": _RED,
    "spawn_failed": _RED,
    "interrupted": _MAGENTA,
    "running": _GREEN,
    "draining": _YELLOW,
    "stopping": _YELLOW,
    "unresponsive": _RED,
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
        self._is_for_person = screen.is_terminal(sys.stdout)
        self._is_colored = self._is_for_person and screen.is_colored()
        # The order in which they are shown: their place in a row, and the column.
        self._order = list(enumerate(columns))
        self._widths: list[int] = []

        if not self._is_for_person:
            self._order.sort(key=lambda item: item[1].is_elastic)

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Print rows; the first time with the titles above them."""
        shown = [[escape_line(row[place]) for place, _ in self._order] for row in rows]

        if not self._widths:
            titles = [column.title for _, column in self._order]
            self._widths = self._measure([titles, *shown])
            screen.write(self._line(titles, [_BOLD] * len(titles)))

        screen.write("".join(self._line(row, self._styles(row)) for row in shown))

    def _measure(self, rows: Sequence[Sequence[str]]) -> list[int]:
        """Return how wide each column must be, or may be where a person looks."""
        widths = [max(map(_width, cells)) for cells in zip(*rows, strict=True)]

        if not self._is_for_person:
            return widths

        columns = [column for _, column in self._order]
        limits = [
            min(width, column.widest or width)
            for column, width in zip(columns, widths, strict=True)
        ]
        others = sum(
            width + len(_GAP)
            for column, width in zip(columns, limits, strict=True)
            if not column.is_elastic
        )
        left = max(_NARROWEST, shutil.get_terminal_size().columns - others)

        return [
            min(width, left) if column.is_elastic else width
            for column, width in zip(columns, limits, strict=True)
        ]

    def _styles(self, row: Sequence[str]) -> list[str]:
        return [
            _COLORS.get(cell, "") if column.is_state else ""
            for cell, (_, column) in zip(row, self._order, strict=True)
        ]

    def _line(self, row: Sequence[str], styles: Sequence[str]) -> str:
        cells = []

        for cell, width, style in zip(row, self._widths, styles, strict=True):
            text = _cut(cell, width) if self._is_for_person else cell
            padding = " " * (width - _width(text))
            is_styled = style and self._is_colored
            cells.append((f"\x1b[{style}m{text}\x1b[0m" if is_styled else text) + padding)

        return _GAP.join(cells).rstrip() + "\n"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0

    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _cut(text: str, width: int) -> str:
    """Shorten a text that is too wide, and show that it was."""
    if _width(text) <= width:
        return text

    used = 1

    for place, character in enumerate(text):
        used += _character_width(character)

        if used > width:
            return f"{text[:place]}…"

    return text
