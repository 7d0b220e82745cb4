"""For how long the engine keeps the loop that it lives in from doing anything else."""

from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.bench import MIB, Bench, alternate, child_script, rows, run_command
from benchmarks.results import Budget, Result, Row, Sample

_SLOTS: Final = 4
_BARE: Final = "longest, the same commands without the engine"
_ENGINE: Final = "longest, with the engine"
_MOST: Final = 10.0


def measure(bench: Bench) -> Result:
    """Let four jobs write as fast as they can, beside a coroutine that ticks."""
    size = bench.size(256, 64) * MIB
    found: dict[str, list[dict[str, float]]] = {_BARE: [], _ENGINE: []}
    subjects = {
        _BARE: partial(_bare, bench, size, found[_BARE]),
        _ENGINE: partial(_engine, bench, size, found[_ENGINE]),
    }
    samples, skipped = alternate(subjects, bench.rounds)
    blocked = [one["blocked"] for one in found[_ENGINE]]
    return Result(
        name="loop_stall",
        title="Stalls of the loop",
        how=(
            f"{_SLOTS} jobs write {size // MIB} MiB each as fast as they can, while a coroutine in"
            " the engine's loop sleeps for a millisecond, again and again: how much later it wakes"
            " than it should. In turns with the same commands, started by asyncio alone: that much"
            " is the machine, whose cores are taken by the jobs."
        ),
        yardstick=_BARE,
        rows=[
            *rows(samples, skipped, unit="ms", yardstick=_BARE),
            *(
                Row(
                    subject=f"99th percentile{name.removeprefix('longest')}",
                    unit="ms",
                    sample=Sample([one["common"] for one in taken]),
                )
                for name, taken in found.items()
            ),
            *(
                Row(
                    subject=f"{name}, less the wait for a core",
                    unit="ms",
                    sample=Sample([one["blocked"] for one in taken]),
                )
                for name, taken in found.items()
            ),
        ],
        budgets=[
            Budget(
                what="loop stall while 4 jobs write as fast as they can",
                budget="at most 10 ms, beyond the wait for a core",
                measured=Sample(blocked).median,
                unit="ms",
                limit=_MOST,
                is_at_most=True,
            )
        ],
        curves=[],
        seconds=0.0,
    )


def _engine(bench: Bench, size: int, found: list[dict[str, float]]) -> float:
    with bench.fresh() as folder:
        return _run("tick", folder / "queue.db", size, found)


def _bare(bench: Bench, size: int, found: list[dict[str, float]]) -> float:
    with bench.fresh() as folder:
        return _run("tick-bare", folder, size, found)


def _run(what: str, where: Path, size: int, found: list[dict[str, float]]) -> float:
    argv = child_script("engine_child.py", what, str(where), str(_SLOTS))
    child = run_command(argv, environ={"BENCH_COMMAND": f"head -c {size} /dev/zero"})
    found.append(msgspec.json.decode(child.stdout, type=dict[str, float]))
    return found[-1]["worst"]
