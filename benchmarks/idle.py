"""What a worker takes that has nothing to do."""

import time
from functools import partial
from typing import Final

from benchmarks.bench import Bench, alternate, rows
from benchmarks.results import Budget, Result, Row, Sample
from benchmarks.workers import Taken, taken_by, worker

_SLOTS: Final = 4
# A worker that has just started has things to do: it looks for what dead ones left.
_SETTLE: Final = 2.0
_CPU: Final = "an idle worker of 4 slots"
_MOST: Final = 0.5


def measure(bench: Bench) -> Result:
    """Watch an idle worker for half a minute, in five parts."""
    seconds = bench.size(30, 2) / bench.rounds
    spans: list[Taken] = []

    with bench.fresh() as folder, worker(folder / "queue.db", _SLOTS) as pid:
        time.sleep(_SETTLE)
        samples, skipped = alternate({_CPU: partial(_share, pid, seconds, spans)}, bench.rounds)

    written = sum(span.written for span in spans)
    wakeups = Sample([span.wakeups / seconds for span in spans])
    return Result(
        name="idle",
        title="An idle worker",
        how=(
            f"`queuectl worker start --count {_SLOTS}` on an empty database, watched for"
            f" {seconds * bench.rounds:.0f} s in {bench.rounds} parts, from {_SETTLE:.0f} s after"
            " its start: processor time of all its threads, and bytes written to the disk."
        ),
        yardstick="",
        rows=[
            *rows(samples, skipped, unit="% of a core"),
            Row(
                subject="bytes written to the disk",
                unit="bytes",
                sample=Sample([float(span.written) for span in spans]),
            ),
            Row(subject="times that it woke", unit="per second", sample=wakeups),
        ],
        budgets=[
            Budget(
                what="idle worker: processor time",
                budget="at most 0.5 % of a core",
                measured=samples[_CPU].median,
                unit="% of a core",
                limit=_MOST,
                is_at_most=True,
            ),
            Budget(
                what="idle worker: writes to the disk",
                budget="none",
                measured=float(written),
                unit="bytes",
                limit=0.0,
                is_at_most=True,
            ),
        ],
        curves=[],
        seconds=0.0,
    )


def _share(pid: int, seconds: float, spans: list[Taken]) -> float:
    """Return the percent of a core over so many seconds."""
    before, begun = taken_by(pid), time.perf_counter()
    time.sleep(seconds)
    after, elapsed = taken_by(pid), time.perf_counter() - begun
    span = Taken(
        cpu=after.cpu - before.cpu,
        written=after.written - before.written,
        wakeups=after.wakeups - before.wakeups,
    )
    spans.append(span)
    return 100 * span.cpu / elapsed
