"""What `top` looks like: a look in, lines of text out, none wider than the terminal."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from queuectl import JobState, format_duration
from queuectl.cli import screen
from queuectl.cli.lately import period_name, rate

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from queuectl import Activity
    from queuectl.cli.look import Failure, Look, RunningJob

_GAP: Final = "  "

# Columns of a terminal: below the first, bars are short; below the second, what a job says
# comes before its command, of which the id tells.
_ROOMY: Final = 70
_NARROW: Final = 60

_LONG_BAR, _SHORT_BAR = 20, 8
_WIDEST_ID: Final = 28
# As wide as one that is made for a job: those of one time differ at their end.
_WIDEST_ID_IF_NARROW: Final = 20

# A row each of the two tables, however low the terminal is.
_FEWEST_ROWS: Final = 2

# Styles of rich; the words and numbers say the same.
_STATE_STYLES: Final = {
    JobState.PENDING: "cyan",
    JobState.PROCESSING: "blue",
    JobState.COMPLETED: "green",
    JobState.FAILED: "yellow",
    JobState.DEAD: "red",
    JobState.CANCELLED: "magenta",
}
_TITLE: Final = "bold"
_FAINT: Final = "dim"
_GOOD, _BAD = "green", "red"


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
        words = screen.escape_line(words)

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


class Frame:
    """
    A look as rich draws it, anew for every size of the terminal.

    Args:
        look: What is to be seen.
    """

    def __init__(self, look: "Look") -> None:
        self._look = look

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw it to the size of the terminal."""
        sheet = Sheet(options.max_width, console.height, is_ascii=options.ascii_only)
        yield Text("\n", no_wrap=True, end="").join(draw(self._look, sheet))


class _Column(NamedTuple):
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


def draw(look: "Look", sheet: Sheet) -> list[Text]:
    """Return the lines of a look, as many and as wide as the sheet has room for."""
    top = [*_head(look, sheet), Text(), *_throughput(look.stats.activity, sheet), Text()]
    number = look.stats.counts[JobState.PROCESSING]
    running_rows, failure_rows = _share_rows(look, sheet, len(top))
    running = look.running[:running_rows]
    more = max(number, len(look.running)) - len(running)

    lines = [*top, sheet.text(f"Processing ({number})", _TITLE)]
    lines += _running_table(running, sheet) if running else [sheet.text(_idle(look), _FAINT)]
    lines += [sheet.text(f"and {more} more", _FAINT)] if more > 0 and running else []
    lines += [Text(), sheet.text("Recent failures", _TITLE)]
    failures = look.failures[:failure_rows]
    lines += _failure_table(look, failures, sheet) if failures else [sheet.text("none", _FAINT)]

    return [sheet.cut(line, sheet.width) for line in lines[: sheet.height]]


def _share_rows(look: "Look", sheet: Sheet, used: int) -> tuple[int | None, int | None]:
    """Return how many running jobs and how many failures there is room for; None for all."""
    if sheet.height is None:
        return None, None

    # Two titles, two heads of tables, a line between, and the one that tells of more.
    room = max(sheet.height - used - 6, _FEWEST_ROWS)
    failures = min(len(look.failures), max(room // 3, room - len(look.running), 1))
    return room - max(failures, 1), failures


def _head(look: "Look", sheet: Sheet) -> list[Text]:
    stats = look.stats
    alive = [worker for worker in stats.workers if worker.is_alive]
    busy, slots = sum(each.busy for each in alive), sum(each.concurrency for each in alive)
    facts = [
        sheet.text(rate(stats.activity[0].per_second).replace("/", " jobs/"), "bold"),
        sheet.text(f"{busy} of {slots} slots busy"),
        sheet.text("1 worker" if len(alive) == 1 else f"{len(alive)} workers"),
    ]

    if stats.oldest_pending is not None:
        facts.append(sheet.text(f"oldest waits {_age(stats.oldest_pending, sheet)}"))

    counts = [
        sheet.text(f"{state.value} {count}", _STATE_STYLES[state] if count else _FAINT)
        for state, count in stats.counts.items()
    ]
    return [_title(look, sheet), *_packed(facts, sheet.width), *_packed(counts, sheet.width)]


def _title(look: "Look", sheet: Sheet) -> Text:
    """Return the name of the database, and the time at the right."""
    time = sheet.text(f"{look.at:%H:%M:%S} UTC", _FAINT)
    parts = (sheet.text(f"queuectl{_GAP}", _TITLE), sheet.text(look.database))
    name = Text(no_wrap=True, end="").join(parts)

    if sheet.width is None:
        return name.append(_GAP).append_text(time)

    room = max(sheet.width - time.cell_len - len(_GAP), 0)
    name = sheet.cut(name, room)
    name.append(" " * (room - name.cell_len) + _GAP)
    return name.append_text(time)


def _throughput(activities: "Sequence[Activity]", sheet: Sheet) -> list[Text]:
    """Return a bar for each period, all to one scale: the fastest is a whole one."""
    cells = _SHORT_BAR if sheet.is_below(_ROOMY) else _LONG_BAR
    fastest = max((activity.per_second for activity in activities), default=0)
    bars = [_bar(activity, fastest, cells, sheet) for activity in activities]
    columns = (
        _Column("", [sheet.text(_period(each, sheet)) for each in activities]),
        _Column("", [sheet.text(rate(each.per_second)) for each in activities], is_number=True),
        _Column("", bars),
        _Column("", [_figures(each, sheet) for each in activities], is_elastic=True),
    )
    return _rows(columns, _widths(columns, sheet), sheet)


def _bar(activity: "Activity", fastest: float, cells: int, sheet: Sheet) -> Text:
    """Return a bar: what succeeded, what failed, and what is missing to a whole one."""
    done, empty = ("#", ".") if sheet.is_ascii else ("█", "░")
    filled = _part(activity.per_second, fastest, cells)
    # What went well is not hidden by a little that did not.
    most = filled - (activity.ended > activity.failed)
    failed = min(_part(activity.failed, activity.ended, filled), most)
    bar = Text(no_wrap=True, end="").append(done * (filled - failed), style=_GOOD)
    bar.append(_failed_sign(sheet) * failed, style=_BAD)
    return bar.append(empty * (cells - filled), style=_FAINT)


def _part(amount: float, of: float, cells: int) -> int:
    """Return how many of the cells are an amount's; one at the least, where it is not nothing."""
    return max(round(cells * amount / of), 1) if amount and of and cells else 0


def _running_table(running: "Sequence[RunningJob]", sheet: Sheet) -> list[Text]:
    commands = [sheet.text(each.job.command, _FAINT) for each in running]
    columns = [
        _Column("Age", [sheet.text(_age(each.age, sheet)) for each in running], is_number=True),
        _id_column([each.job.id for each in running], sheet),
        _Column("Command", commands, is_elastic=True),
        _Column("Last line", [_last_line(each, sheet) for each in running], is_elastic=True),
    ]

    if sheet.is_below(_NARROW):
        del columns[2]

    return _table(columns, sheet)


def _last_line(running: "RunningJob", sheet: Sheet) -> Text:
    if running.job.stuck:
        return sheet.text(f"stuck: {running.job.stuck}", _BAD)

    return sheet.text(running.last_line)


def _failure_table(look: "Look", failures: "Sequence[Failure]", sheet: Sheet) -> list[Text]:
    states = [sheet.text(each.state.value, _STATE_STYLES[each.state]) for each in failures]
    columns = [
        _Column(
            "Ago", [sheet.text(_age(look.at - each.at, sheet)) for each in failures], is_number=True
        ),
        _id_column([each.job_id for each in failures], sheet),
        _Column("Attempt", [sheet.text(str(each.attempt)) for each in failures], is_number=True),
        _Column("State", states),
        _Column("Reason", [sheet.text(each.reason) for each in failures], is_elastic=True),
    ]

    if sheet.is_below(_NARROW):
        del columns[2:4]

    return _table(columns, sheet)


def _id_column(ids: Sequence[str], sheet: Sheet) -> _Column:
    widest = _WIDEST_ID_IF_NARROW if sheet.is_below(_NARROW) else _WIDEST_ID
    return _Column("ID", [sheet.text(job_id) for job_id in ids], widest=widest)


def _idle(look: "Look") -> str:
    """Say why nothing runs, and what to do."""
    if any(worker.is_alive for worker in look.stats.workers):
        return "nothing"

    return "nothing: no worker is alive; start one with: queuectl worker start"


def _table(columns: Sequence[_Column], sheet: Sheet) -> list[Text]:
    """Return the titles, and the rows below them."""
    titled = [
        column._replace(cells=[sheet.text(column.title, _FAINT), *column.cells])
        for column in columns
    ]
    return _rows(titled, _widths(titled, sheet), sheet)


def _widths(columns: Sequence[_Column], sheet: Sheet) -> list[int]:
    """Return how wide each column is: as it needs, and the elastic ones as there is room."""
    widths = [max((cell.cell_len for cell in column.cells), default=0) for column in columns]

    if sheet.width is None:
        return widths

    widths = [
        min(width, column.widest or width) for column, width in zip(columns, widths, strict=True)
    ]
    elastic = [place for place, column in enumerate(columns) if column.is_elastic]
    fixed = sum(width for place, width in enumerate(widths) if place not in elastic)
    room = max(sheet.width - fixed - len(_GAP) * (len(columns) - 1), 0)

    # The one that needs least first: what it leaves is the others'.
    for shared_by, place in zip(
        range(len(elastic), 0, -1), sorted(elastic, key=widths.__getitem__), strict=True
    ):
        widths[place] = min(widths[place], room // shared_by)
        room -= widths[place]

    return widths


def _rows(columns: Sequence[_Column], widths: Sequence[int], sheet: Sheet) -> list[Text]:
    """Return the rows of columns, each cell as wide as its column."""
    lines = []

    for cells in zip_longest(*(column.cells for column in columns), fillvalue=Text()):
        line = Text(no_wrap=True, end="")

        for cell, column, width in zip(cells, columns, widths, strict=True):
            if line.cell_len or column is not columns[0]:
                line.append(_GAP)

            limit = None if sheet.width is None else width
            line.append_text(_padded(sheet.cut(cell, limit), width, column))

        line.rstrip()
        lines.append(line)

    return lines


def _padded(cell: Text, width: int, column: _Column) -> Text:
    padding = Text(" " * (width - cell.cell_len))
    parts = (padding, cell) if column.is_number else (cell, padding)
    return Text(no_wrap=True, end="").join(parts)


def _packed(items: Iterable[Text], width: int | None) -> list[Text]:
    """Return items beside each other, on as many lines as they need."""
    lines: list[Text] = []

    for item in items:
        fits = lines and (
            width is None or lines[-1].cell_len + cell_len(_GAP) + item.cell_len <= width
        )

        if fits:
            lines[-1].append(_GAP).append_text(item)
        else:
            lines.append(Text(no_wrap=True, end="").append_text(item))

    return lines


def _period(activity: "Activity", sheet: Sheet) -> str:
    words = period_name(activity.period).replace("_", " ")
    return words.removeprefix("last ") if sheet.is_below(_NARROW) else words


def _figures(activity: "Activity", sheet: Sheet) -> Text:
    """Say what the rate is made of; on a narrow terminal, only what went wrong."""
    # As the bar shows them.
    sign = f"{_failed_sign(sheet)} " if activity.failed else ""
    failed = f"{sign}{activity.failed} failed"

    if sheet.is_below(_NARROW):
        return sheet.text(failed, _FAINT)

    died = f" ({activity.died} died)" if activity.failed or activity.died else ""
    return sheet.text(f"{activity.ended} ended, {failed}{died}", _FAINT)


def _failed_sign(sheet: Sheet) -> str:
    """Return what stands for failures in a bar, and is told apart without colour too."""
    return "x" if sheet.is_ascii else "▒"


def _age(age: timedelta, sheet: Sheet) -> str:
    """Write an age in whole seconds, on a narrow terminal in its largest unit."""
    seconds, few = max(int(age.total_seconds()), 0), 10
    words = f"{seconds} s" if seconds < few else format_duration(timedelta(seconds=seconds))
    return " ".join(words.split()[:2]) if sheet.is_below(_NARROW) else words
