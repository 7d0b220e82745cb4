"""
Makes a result of a long life: ``python -m benchmarks.soak FIGURES RESULT``.

The long life itself is ``python -m tests.chaos.soak --json FIGURES``; it takes ten minutes,
so it is not one of the programs that are run together.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.bench import machine
from benchmarks.results import Budget, Curve, Result, Row, Sample, write
from tests.chaos.soak_figures import Flat, Report, Sample as Moment

_MIB: Final = 1024 * 1024

# Named as `Flat` names it: what may not fall; all else may not rise.
_RATE: Final = "jobs per second"


def result_of(report: Report) -> Result:
    """Return the result that a long life is."""
    here = machine()
    last = report.rested[-1]
    return Result(
        name="soak",
        title="A long life",
        how=(
            f"One worker process with 4 slots, {report.jobs:,} jobs, {last.seconds:,.0f} s:"
            " jobs are always waiting, a tenth of them fails, a tenth writes a kilobyte, one in"
            f" a hundred 20 kB. {report.probes:,} jobs of a higher priority were enqueued from"
            " another process on the way, to see how long one takes from its acknowledgement"
            " to its start while all slots are busy. The worker is looked at from outside; after"
            " a warm-up, the first fifth of what was seen is compared with the last. queuectl"
            f" {here.queuectl}, Python {here.python}, {here.cores} cores, {here.date}."
        ),
        yardstick="",
        rows=_rows(report.samples),
        budgets=[_budget(flat) for flat in report.flat],
        curves=_curves(report.samples),
        seconds=last.seconds,
    )


def _rows(samples: list[Moment]) -> list[Row]:
    figures: list[tuple[str, str, Callable[[Moment], float | None]]] = [
        ("jobs", "jobs/s", lambda sample: sample.jobs_per_second),
        ("pickup under load, median of a moment", "ms", lambda sample: sample.pickup_ms),
        ("pickup under load, worst of a moment", "ms", lambda sample: sample.pickup_worst_ms),
        ("memory, resident", "MiB", lambda sample: sample.rss_kib / 1024),
        ("descriptors", "", lambda sample: sample.descriptors),
        ("threads", "", lambda sample: sample.threads),
        ("write-ahead log", "MiB", lambda sample: sample.wal_bytes / _MIB),
        ("jobs waiting", "", lambda sample: sample.waiting),
    ]
    return [
        Row(name, unit, Sample([v for sample in samples if (v := figure(sample)) is not None]))
        for name, unit, figure in figures
    ]


def _budget(flat: Flat) -> Budget:
    word = "at least" if flat.what == _RATE else "at most"
    return Budget(
        what=flat.what,
        budget=f"{flat.first:,.0f} at the beginning; at the end {word} {flat.limit:,.0f}",
        measured=flat.last,
        unit="",
        limit=flat.limit,
        is_at_most=flat.what != _RATE,
    )


def _curves(samples: list[Moment]) -> list[Curve]:
    minutes = [sample.seconds / 60 for sample in samples]

    def curve(title: str, unit: str, lines: dict[str, list[float]]) -> Curve:
        return Curve(title=title, x_label="minutes", y_label=unit, x=minutes, lines=lines)

    return [
        curve("Memory, resident", "MiB", {"": [sample.rss_kib / 1024 for sample in samples]}),
        curve(
            "Descriptors and threads",
            "number",
            {
                "descriptors": [float(sample.descriptors) for sample in samples],
                "threads": [float(sample.threads) for sample in samples],
            },
        ),
        curve("Write-ahead log", "MiB", {"": [sample.wal_bytes / _MIB for sample in samples]}),
        curve("Jobs", "per second", {"": [sample.jobs_per_second for sample in samples]}),
        curve(
            "Pickup under load",
            "ms",
            {
                "worst": _filled([sample.pickup_worst_ms for sample in samples]),
                "median": _filled([sample.pickup_ms for sample in samples]),
            },
        ),
    ]


def _filled(values: list[float | None]) -> list[float]:
    """Take the last figure where there is none."""
    filled: list[float] = []

    for value in values:
        filled.append(value if value is not None else filled[-1] if filled else 0.0)

    return filled


def main() -> None:
    """Read the figures, and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("figures", type=Path, help="what tests.chaos.soak wrote")
    parser.add_argument("result", type=Path, help="where to write the result")
    given = parser.parse_args()
    report = msgspec.json.decode(given.figures.read_bytes(), type=Report)
    write(given.result, result_of(report))


if __name__ == "__main__":
    main()
