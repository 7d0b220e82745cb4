"""What `top` looks like: a look in, lines of text out, none wider than the terminal."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rich.text import Text

from queuectl import JobState, format_duration
from queuectl.cli.lately import period_name, rate
from queuectl.cli.sheet import FAINT, GAP, Column, Sheet, packed, rows, table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from queuectl import Activity
    from queuectl.cli.look import Failure, Look, RunningJob

# Columns of a terminal: below the first, bars are short; below the second, what a job says
# comes before its command, of which the id tells.
_ROOMY: Final = 70
_NARROW: Final = 60

_LONG_BAR, _SHORT_BAR = 20, 8
_WIDEST_ID: Final = 28
# As wide as one that is made for a job: those of one time differ at their end.
_WIDEST_ID_IF_NARROW: Final = 20

# Lines of a table with one row. A low terminal has no empty lines, and where even so
# there is no room for two tables, no failures.
_FEWEST_LINES: Final = 2
_ANY_NUMBER: Final = 1_000_000

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
_GOOD, _BAD = "green", "red"


class Frame:
    """
    A look as rich draws it, anew for every size of the terminal.

    Args:
        look: What is to be seen.
        start: The command that starts a worker.
    """

    def __init__(self, look: "Look", start: str) -> None:
        self._look = look
        self._start = start

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw it to the size of the terminal, with how to leave in the last line."""
        height = console.height - 1
        sheet = Sheet(options.max_width, height, is_ascii=options.ascii_only)
        lines = draw(self._look, sheet, start=self._start)
        lines += [Text()] * (height - len(lines))
        lines.append(sheet.cut(sheet.text("Ctrl-C ends it", FAINT), sheet.width))
        yield Text("\n", no_wrap=True, end="").join(lines)


def draw(look: "Look", sheet: Sheet, *, start: str = "queuectl worker start") -> list[Text]:
    """
    Return the lines of a look, as many and as wide as the sheet has room for.

    Args:
        look: What is to be seen.
        sheet: What is drawn on.
        start: The command that starts a worker.
    """
    head, throughput = _head(look, sheet), _throughput(look.stats.activity, sheet)
    height = _ANY_NUMBER if sheet.height is None else sheet.height
    # With the titles below, three empty lines, and two rows and one in the tables.
    is_low = height < len(head) + len(throughput) + 2 + 3 + 3 + _FEWEST_LINES
    gap = [] if is_low else [Text()]
    number = look.stats.counts[JobState.PROCESSING]
    lines = [*head, *gap, *throughput, *gap, sheet.text(f"Processing ({number:,})", _TITLE)]
    failed = [*gap, sheet.text("Recent failures", _TITLE)]
    wanted = len(look.failures) + 1
    room = height - len(lines) - len(failed)

    if room < _FEWEST_LINES + min(wanted, _FEWEST_LINES):
        lines += _running(look, room + len(failed), sheet, start)
    else:
        needed = _number_of_running(look) + 1 if look.running else len(_idle(look, sheet, start))
        left = room - needed
        share = min(wanted, max(room // 3, left, _FEWEST_LINES))
        lines += _running(look, room - share, sheet, start)
        lines += [*failed, *_failures(look, share, sheet)]

    return [sheet.cut(line, sheet.width) for line in lines[: sheet.height]]


def _number_of_running(look: "Look") -> int:
    """Return how many run: the numbers were read a moment before the jobs."""
    return max(look.stats.counts[JobState.PROCESSING], len(look.running))


def _running(look: "Look", room: int, sheet: Sheet, start: str) -> list[Text]:
    """Return what runs, on so many lines; where there are not enough, the last tells of more."""
    if not look.running:
        return _idle(look, sheet, start)

    number = _number_of_running(look)
    shown = look.running[: max(room - 1, 1)]
    more: list[Text] = []

    if len(shown) < number and room > _FEWEST_LINES:
        shown = look.running[: room - 2]
        more = [sheet.text(f"and {number - len(shown):,} more", FAINT)]

    return [*_running_table(shown, sheet), *more]


def _failures(look: "Look", room: int, sheet: Sheet) -> list[Text]:
    if not look.failures:
        return [sheet.text("none", FAINT)]

    return _failure_table(look, look.failures[: room - 1], sheet)


def _head(look: "Look", sheet: Sheet) -> list[Text]:
    stats = look.stats
    alive = [worker for worker in stats.workers if worker.is_alive]
    busy, slots = sum(each.busy for each in alive), sum(each.concurrency for each in alive)
    facts = [
        sheet.text(rate(stats.activity[0].per_second).replace("/", " jobs/"), "bold"),
        sheet.text(f"{busy:,} of {slots:,} slots busy"),
        sheet.text("1 worker" if len(alive) == 1 else f"{len(alive):,} workers"),
    ]

    if stats.oldest_pending is not None:
        facts.append(sheet.text(f"oldest waits {_age(stats.oldest_pending, sheet)}"))

    counts = [
        sheet.text(f"{state.value} {count:,}", _STATE_STYLES[state] if count else FAINT)
        for state, count in stats.counts.items()
    ]
    return [_title(look, sheet), *packed(facts, sheet.width), *packed(counts, sheet.width)]


def _title(look: "Look", sheet: Sheet) -> Text:
    """Return the name of the database, and the time at the right."""
    time = sheet.text(f"{look.at:%H:%M:%S} UTC", FAINT)
    parts = (sheet.text(f"queuectl{GAP}", _TITLE), sheet.text(look.database))
    name = Text(no_wrap=True, end="").join(parts)

    if sheet.width is None:
        return name.append(GAP).append_text(time)

    room = max(sheet.width - time.cell_len - len(GAP), 0)
    name = sheet.cut(name, room)
    name.append(" " * (room - name.cell_len) + GAP)
    return name.append_text(time)


def _throughput(activities: "Sequence[Activity]", sheet: Sheet) -> list[Text]:
    """Return a bar for each period, all to one scale: the fastest is a whole one."""
    cells = _SHORT_BAR if sheet.is_below(_ROOMY) else _LONG_BAR
    fastest = max((activity.per_second for activity in activities), default=0)
    bars = [_bar(activity, fastest, cells, sheet) for activity in activities]
    columns = (
        Column("", [sheet.text(_period(each, sheet)) for each in activities]),
        Column("", [sheet.text(rate(each.per_second)) for each in activities], is_number=True),
        Column("", bars),
        Column("", [_figures(each, sheet) for each in activities], is_elastic=True),
    )
    return rows(columns, sheet)


def _bar(activity: "Activity", fastest: float, cells: int, sheet: Sheet) -> Text:
    """Return a bar: what succeeded, what failed, and what is missing to a whole one."""
    done, empty = ("#", ".") if sheet.is_ascii else ("█", "░")
    filled = _part(activity.per_second, fastest, cells)
    # What went well is not hidden by a little that did not.
    most = filled - (activity.ended > activity.failed)
    failed = min(_part(activity.failed, activity.ended, filled), most)
    bar = Text(no_wrap=True, end="").append(done * (filled - failed), style=_GOOD)
    bar.append(_failed_sign(sheet) * failed, style=_BAD)
    return bar.append(empty * (cells - filled), style=FAINT)


def _part(amount: float, of: float, cells: int) -> int:
    """Return how many of the cells are an amount's; one at the least, where it is not nothing."""
    return max(round(cells * amount / of), 1) if amount and of and cells else 0


def _running_table(running: "Sequence[RunningJob]", sheet: Sheet) -> list[Text]:
    commands = [sheet.text(each.job.command, FAINT) for each in running]
    columns = [
        Column("Age", [sheet.text(_age(each.age, sheet)) for each in running], is_number=True),
        _id_column([each.job.id for each in running], sheet),
        Column("Command", commands, is_elastic=True),
        Column("Last line", [_last_line(each, sheet) for each in running], is_elastic=True),
    ]

    if sheet.is_below(_NARROW):
        del columns[2]

    return table(columns, sheet)


def _last_line(running: "RunningJob", sheet: Sheet) -> Text:
    if running.job.stuck:
        return sheet.text(f"stuck: {running.job.stuck}", _BAD)

    return sheet.text(running.last_line)


def _failure_table(look: "Look", failures: "Sequence[Failure]", sheet: Sheet) -> list[Text]:
    states = [sheet.text(each.state.value, _STATE_STYLES[each.state]) for each in failures]
    columns = [
        Column(
            "Ago", [sheet.text(_age(look.at - each.at, sheet)) for each in failures], is_number=True
        ),
        _id_column([each.job_id for each in failures], sheet),
        Column("Attempt", [sheet.text(str(each.attempt)) for each in failures], is_number=True),
        Column("State", states),
        Column("Reason", [sheet.text(each.reason) for each in failures], is_elastic=True),
    ]

    if sheet.is_below(_NARROW):
        del columns[2:4]

    return table(columns, sheet)


def _id_column(ids: Sequence[str], sheet: Sheet) -> Column:
    widest = _WIDEST_ID_IF_NARROW if sheet.is_below(_NARROW) else _WIDEST_ID
    return Column("ID", [sheet.text(job_id) for job_id in ids], widest=widest)


def _idle(look: "Look", sheet: Sheet, start: str) -> list[Text]:
    """Say why nothing runs, and what to do; a long command has a line of its own."""
    if any(worker.is_alive for worker in look.stats.workers):
        return [sheet.text("nothing", FAINT)]

    why = "nothing: no worker is alive; start one with:"
    line = sheet.text(f"{why} {start}", FAINT)

    if not sheet.is_below(line.cell_len):
        return [line]

    return [sheet.text(why, FAINT), sheet.text(start, FAINT)]


def _period(activity: "Activity", sheet: Sheet) -> str:
    words = period_name(activity.period).replace("_", " ")
    return words.removeprefix("last ") if sheet.is_below(_NARROW) else words


def _figures(activity: "Activity", sheet: Sheet) -> Text:
    """Say what the rate is made of; on a narrow terminal, only what went wrong."""
    # As the bar shows them.
    sign = f"{_failed_sign(sheet)} " if activity.failed else ""
    failed = f"{sign}{activity.failed:,} failed"

    if sheet.is_below(_NARROW):
        return sheet.text(failed, FAINT)

    died = f" ({activity.died:,} died)" if activity.failed or activity.died else ""
    return sheet.text(f"{activity.ended:,} ended, {failed}{died}", FAINT)


def _failed_sign(sheet: Sheet) -> str:
    """Return what stands for failures in a bar, and is told apart without colour too."""
    return "x" if sheet.is_ascii else "▒"


def _age(age: timedelta, sheet: Sheet) -> str:
    """Write an age in whole seconds, on a narrow terminal in its largest unit."""
    seconds, few = max(int(age.total_seconds()), 0), 10
    words = f"{seconds} s" if seconds < few else format_duration(timedelta(seconds=seconds))
    return " ".join(words.split()[:2]) if sheet.is_below(_NARROW) else words
