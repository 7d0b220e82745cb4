"""What a job costs as slots grow, beside a program that does nothing but start processes."""

from collections.abc import Callable
from typing import Final

import msgspec

from benchmarks.bench import (
    Bench,
    CannotRunError,
    alternate,
    child_script,
    median,
    ratio,
    run_command,
)
from benchmarks.queues import enqueue
from benchmarks.results import Curve, Result, Row, Sample

_SLOTS: Final = (1, 2, 4, 8, 16, 32)
_COMMAND: Final = "true"


def measure(bench: Bench) -> Result:
    """
    Run the same jobs with 1 to 32 slots.

    Raises:
        CannotRunError: One of the two failed.
    """
    jobs = bench.size(250, 40)
    cpu: dict[int, list[float]] = {slots: [] for slots in _SLOTS}
    subjects: dict[str, Callable[[], float]] = {}

    for slots in _SLOTS:
        subjects[_yardstick(slots)] = _xargs(bench, jobs, slots)
        subjects[_subject(slots)] = _queuectl(bench, jobs, slots, cpu[slots])

    samples, skipped = alternate(subjects, bench.rounds)

    for reason in skipped.values():
        # A curve has no gaps.
        raise CannotRunError(reason)

    return Result(
        name="growth_slots",
        title="Cost of a job as slots grow",
        how=(
            f"{jobs} jobs of `sh -c true`, enqueued before, run by `engine.drain(n)`, without"
            " the start of its process; beside `xargs -Pn` over the same command. Processor"
            " time is the engine's own, without the jobs'."
        ),
        yardstick="xargs with as many slots",
        rows=[row for slots in _SLOTS for row in _rows(slots, samples, cpu)],
        budgets=[],
        curves=_curves(samples, cpu),
        seconds=0.0,
    )


def _subject(slots: int) -> str:
    return f"queuectl, {slots} slots" if slots > 1 else "queuectl, 1 slot"


def _yardstick(slots: int) -> str:
    return f"xargs -P{slots}"


def _xargs(bench: Bench, jobs: int, slots: int) -> Callable[[], float]:
    """Return what gives the jobs per second of xargs."""
    numbers = bench.folder / f"numbers-{jobs}"
    numbers.write_text("".join(f"{number}\n" for number in range(jobs)), encoding="ascii")

    def take() -> float:
        words = ["xargs", f"-P{slots}", "-n1", "sh", "-c", _COMMAND]
        return jobs / run_command(words, stdin=numbers).seconds

    return take


def _queuectl(bench: Bench, jobs: int, slots: int, cpu: list[float]) -> Callable[[], float]:
    """Return what gives the jobs per second of an engine, and notes its milliseconds a job."""

    def take() -> float:
        with bench.fresh() as folder:
            database = folder / "queue.db"
            enqueue(database, _COMMAND, jobs)
            words = child_script("engine_child.py", "drain", str(database), str(slots))
            child = run_command(words)

        found = msgspec.json.decode(child.stdout, type=dict[str, float])
        cpu.append(1000 * (found["user"] + found["system"]) / jobs)
        return jobs / found["seconds"]

    return take


def _rows(slots: int, samples: dict[str, Sample], cpu: dict[int, list[float]]) -> list[Row]:
    ours, theirs = samples[_subject(slots)], samples[_yardstick(slots)]
    return [
        Row(_yardstick(slots), "jobs/s", theirs, 1.0),
        Row(_subject(slots), "jobs/s", ours, ratio(ours, theirs)),
        Row(f"{_subject(slots)}, processor time", "ms a job", Sample(cpu[slots])),
    ]


def _curves(samples: dict[str, Sample], cpu: dict[int, list[float]]) -> list[Curve]:
    slots = [float(number) for number in _SLOTS]
    return [
        Curve(
            title="Jobs per second as slots grow",
            x_label="slots",
            y_label="jobs per second",
            x=slots,
            lines={
                "xargs": [samples[_yardstick(number)].median for number in _SLOTS],
                "queuectl": [samples[_subject(number)].median for number in _SLOTS],
            },
            log_x=True,
        ),
        Curve(
            title="The engine's own processor time as slots grow",
            x_label="slots",
            y_label="milliseconds per job",
            x=slots,
            lines={"queuectl": [median(cpu[number]) for number in _SLOTS]},
            log_x=True,
        ),
    ]
