"""
Writes what was measured into the documentation.

``python -m benchmarks.report FOLDER`` takes the JSON files that the programs have written
there over into the folder beside the page, draws them, and replaces what stands between two
comments of the page. What was not measured this time stays as it was.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.__main__ import PROGRAMS
from benchmarks.bench import say
from benchmarks.plots import draw
from benchmarks.results import Budget, Machine, Result, Row, read, read_machine, write
from tests.chaos.report import replace_figures

PAGE: Final = Path("docs/explanation/performance.md")

_MACHINE: Final = "machine.json"
_SOAK: Final = "soak"
_ORDER: Final = (*PROGRAMS, _SOAK)

# Drawn as bars: what is compared with others. Whatever has curves is drawn, too.
_AS_BARS: Final = frozenset({"throughput", "competitors"})

_TEN: Final = 10
_HUNDRED: Final = 100


def take_over(made: Path, kept: Path) -> None:
    """
    Take the files of a run over, and leave the others of the folder.

    Args:
        made: What the programs wrote; may lack any.
        kept: The folder beside the page; it is made where there is none.

    Raises:
        msgspec.ValidationError: A file is something else.
    """
    if (made / _MACHINE).exists():
        write(kept / _MACHINE, read_machine(made / _MACHINE))

    for name in _ORDER:
        if (made / f"{name}.json").exists():
            write(kept / f"{name}.json", read(made / f"{name}.json"))


def read_all(kept: Path) -> list[Result]:
    """Return what there is, in the order of the page."""
    files = [kept / f"{name}.json" for name in _ORDER]
    return [read(file) for file in files if file.exists()]


def draw_all(results: Iterable[Result], kept: Path) -> None:
    """Draw what can be drawn, each into a file of its name."""
    for result in results:
        if _is_drawn(result):
            draw(result, kept / f"{result.name}.svg")


def write_report(results: Sequence[Result], machine: Machine | None, folder: str) -> str:
    """
    Return the text for the page.

    Args:
        results: In the order of the page.
        machine: Where they were taken; None where that is not known.
        folder: Where the pictures and the data are, as the page names it.
    """
    if not results:
        return "Not measured."

    apart = [result for result in results if result.name != _SOAK]
    budgets = [budget for result in apart for budget in result.budgets]
    parts = [_machine(machine, apart), _budgets("Budgets", budgets)]
    parts += [_section(result, folder) for result in results]
    return "\n\n".join(part for part in parts if part)


def _machine(machine: Machine | None, results: Sequence[Result]) -> str:
    if machine is None:
        return ""

    minutes = sum(result.seconds for result in results) / 60
    return (
        f"Measured on {machine.date[:10]} in {minutes:.0f} minutes: queuectl"
        f" {machine.queuectl}, Python {machine.python}, SQLite {machine.sqlite},"
        f" {machine.kernel}, {machine.cores} cores of {_plain(machine.cpu)}."
    )


def _budgets(title: str, budgets: Sequence[Budget]) -> str:
    if not budgets:
        return ""

    lines = [
        *([f"### {title}", ""] if title else []),
        "| what | budget | measured | |",
        "|---|---|---:|---|",
        *(
            f"| {_plain(budget.what)} | {_plain(budget.budget)}"
            f" | {number(budget.measured)} {_plain(budget.unit)}".rstrip()
            + f" | {'met' if budget.is_met else '**not met**'} |"
            for budget in budgets
        ),
    ]
    return "\n".join(lines)


def _section(result: Result, folder: str) -> str:
    parts = [f"### {result.title}", result.how]

    if _is_drawn(result):
        parts.append(f"![{_plain(_alternative(result))}]({folder}/{result.name}.svg)")

    if result.rows:
        parts.append(_rows(result))

    if result.name == _SOAK:
        # Of itself only: it is not measured together with the others.
        parts.append(_budgets("", result.budgets))

    return "\n\n".join(parts)


def _alternative(result: Result) -> str:
    """Say what a picture shows, for whoever does not see it; the table has the figures."""
    if result.curves:
        return "; ".join(
            f"{curve.title}: {curve.y_label} over {curve.x_label}" for curve in result.curves
        )

    return f"{result.title}: bars of what the table says"


def _rows(result: Result) -> str:
    """Return a table, with the columns for which there is anything to say."""
    columns: list[tuple[str, str, Callable[[Row], str]]] = [
        ("", "---", lambda row: _plain(row.subject)),
        ("median", "---:", _median),
        ("lowest to highest", "---:", _spread),
    ]

    if any(row.ratio is not None for row in result.rows):
        head = f"of {_plain(result.yardstick)}" if result.yardstick else "ratio"
        columns.append((head, "---:", _ratio))

    if any(row.lacks for row in result.rows):
        columns.append(("what it does not do", "---", lambda row: _plain(row.lacks)))

    lines = [
        [head for head, _, _ in columns],
        *([cell(row) for _, _, cell in columns] for row in result.rows),
    ]
    texts = [f"| {' | '.join(cells)} |" for cells in lines]
    texts.insert(1, f"|{'|'.join(rule for _, rule, _ in columns)}|")
    return "\n".join(texts)


def _median(row: Row) -> str:
    if row.skipped:
        return f"not run: {_plain(row.skipped)}"

    return f"{number(row.sample.median)} {_plain(row.unit)}".rstrip()


def _spread(row: Row) -> str:
    if len(row.sample.values) < 2:  # noqa: PLR2004
        return ""

    return f"{number(row.sample.low)} to {number(row.sample.high)}"


def _ratio(row: Row) -> str:
    return "" if row.ratio is None or row.skipped else f"{row.ratio:.2f}"


def number(value: float) -> str:
    """Write a figure with about three digits that count."""
    if math.isnan(value):
        return "?"

    if value == int(value) or abs(value) >= _HUNDRED:
        return f"{value:,.0f}"

    if abs(value) >= _TEN:
        return f"{value:.1f}"

    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _is_drawn(result: Result) -> bool:
    if result.curves:
        return True

    return result.name in _AS_BARS and any(row.sample.values for row in result.rows)


def main() -> int:
    """Take over, draw, and write the page; name the budgets that are not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("made", type=Path, help="the folder with the JSON files of a run")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    page: Path = given.page
    kept = page.with_suffix("")
    take_over(given.made, kept)
    results = read_all(kept)
    draw_all(results, kept)
    machine = read_machine(kept / _MACHINE) if (kept / _MACHINE).exists() else None
    text = write_report(results, machine, kept.name)
    page.write_text(
        replace_figures(page.read_text(encoding="utf-8"), text),
        encoding="utf-8",
    )

    for budget in (budget for result in results for budget in result.budgets):
        if not budget.is_met:
            say(f"not met: {budget.what}: {number(budget.measured)} {budget.unit}")

    return 0


if __name__ == "__main__":
    sys.exit(main())
