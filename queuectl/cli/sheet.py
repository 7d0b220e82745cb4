"""Lines of text for a terminal of some size: cut, beside each other, in columns."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from queuectl import escape_line

# A style of rich.
FAINT: Final = "dim"

GAP: Final = "  "


class Sheet(NamedTuple):
    """
    What is drawn on.

    Attributes:
        width: In columns; None for as wide as it takes.
        height: In lines; None for as high as it takes.
        is_ascii: Whether it has no other characters.
    """

    width: int | None = None
    height: int | None = None
    is_ascii: bool = False

    def is_below(self, width: int) -> bool:
        """Whether it is narrower than this."""
        return self.width is not None and self.width < width

    def text(self, words: str, style: str = "") -> Text:
        """Return words of whoever it may be as one line that does no harm."""
        words = escape_line(words)

        if self.is_ascii:
            words = words.encode("ascii", errors="backslashreplace").decode()

        return Text(words, style=style, no_wrap=True, end="")

    def cut(self, text: Text, width: int | None) -> Text:
        """Return a text that is no wider than this, with a sign where it was cut."""
        if width is None or text.cell_len <= width:
            return text

        cut = text.copy()

        if not self.is_ascii:
            cut.truncate(width, overflow="ellipsis")
        else:
            cut.truncate(max(width - 1, 0), overflow="crop")
            cut.append("~"[:width])

        return cut


class Column(NamedTuple):
    """
    A column of a table.

    Attributes:
        title: What stands above it.
        cells: What stands in it.
        widest: More is cut; None for none.
        is_elastic: Shares what the others leave.
        is_number: Stands at the right.
    """

    title: str
    cells: Sequence[Text]
    widest: int | None = None
    is_elastic: bool = False
    is_number: bool = False


def table(columns: Sequence[Column], sheet: Sheet) -> list[Text]:
    """Return the titles, and the rows below them."""
    titled = [
        column._replace(cells=[sheet.text(column.title, FAINT), *column.cells])
        for column in columns
    ]
    return rows(titled, sheet)


def _widths(columns: Sequence[Column], sheet: Sheet) -> list[int]:
    """Return how wide each column is: as it needs, and the elastic ones as there is room."""
    widths = [max((cell.cell_len for cell in column.cells), default=0) for column in columns]

    if sheet.width is None:
        return widths

    widths = [
        min(width, column.widest or width) for column, width in zip(columns, widths, strict=True)
    ]
    elastic = [place for place, column in enumerate(columns) if column.is_elastic]
    fixed = sum(width for place, width in enumerate(widths) if place not in elastic)
    room = max(sheet.width - fixed - len(GAP) * (len(columns) - 1), 0)

    # The one that needs least first: what it leaves is the others'.
    for shared_by, place in zip(
        range(len(elastic), 0, -1), sorted(elastic, key=widths.__getitem__), strict=True
    ):
        widths[place] = min(widths[place], room // shared_by)
        room -= widths[place]

    return widths


def rows(columns: Sequence[Column], sheet: Sheet) -> list[Text]:
    """Return the rows of columns, each cell as wide as its column."""
    widths = _widths(columns, sheet)
    lines = []

    for cells in zip_longest(*(column.cells for column in columns), fillvalue=Text()):
        line = Text(no_wrap=True, end="")

        for cell, column, width in zip(cells, columns, widths, strict=True):
            if line.cell_len or column is not columns[0]:
                line.append(GAP)

            limit = None if sheet.width is None else width
            line.append_text(_padded(sheet.cut(cell, limit), width, column))

        line.rstrip()
        lines.append(line)

    return lines


def _padded(cell: Text, width: int, column: Column) -> Text:
    padding = Text(" " * (width - cell.cell_len))
    parts = (padding, cell) if column.is_number else (cell, padding)
    return Text(no_wrap=True, end="").join(parts)


def packed(items: Iterable[Text], width: int | None) -> list[Text]:
    """Return items beside each other, on as many lines as they need."""
    lines: list[Text] = []

    for item in items:
        fits = lines and (
            width is None or lines[-1].cell_len + cell_len(GAP) + item.cell_len <= width
        )

        if fits:
            lines[-1].append(GAP).append_text(item)
        else:
            lines.append(Text(no_wrap=True, end="").append_text(item))

    return lines
