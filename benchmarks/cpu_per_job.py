"""How much processor time the engine itself takes for a job."""

from functools import partial
from typing import Final

import msgspec

from benchmarks import queues
from benchmarks.bench import Bench, alternate, child_script, rows, run_command
from benchmarks.results import Budget, Result, Sample

_SLOTS: Final = 4
_ENGINE: Final = "the engine's process, user + system"
_USER: Final = "of it user"
_LOOP: Final = "of it the thread of the event loop"
_JOBS: Final = "beside the engine: its jobs, whose shells write down how they end"
_BARE: Final = "asyncio alone, starting the same shells"
_XARGS: Final = "xargs -P4 and its jobs, user + system"
_MOST: Final = 0.50


def measure(bench: Bench) -> Result:
    """Drain a queue in a process of its own, and ask the kernel what that process took."""
    jobs = bench.size(2000, 200)
    parts: dict[str, list[float]] = {_USER: [], _LOOP: [], _JOBS: []}
    subjects = {
        _XARGS: partial(_xargs, bench, jobs),
        _ENGINE: partial(_engine, bench, jobs, parts),
        _BARE: partial(_bare, jobs),
    }
    samples, skipped = alternate(subjects, bench.rounds)
    # Taken in the same runs.
    samples |= {part: Sample(values) for part, values in parts.items()}
    return Result(
        name="cpu_per_job",
        title="Processor time of the engine per job",
        how=(
            f"`QueueEngine.drain({_SLOTS})` over {jobs:,} jobs `true` in a process of its own:"
            " RUSAGE_SELF of that process, after less before, by the number of jobs. What the jobs"
            " themselves take is a row of its own; beside it, what xargs and its jobs take"
            " together, and what a process takes that does nothing but start shells with asyncio."
        ),
        yardstick="",
        rows=rows(samples, skipped, unit="ms per job"),
        budgets=[
            Budget(
                what="engine CPU per job beyond the child's own",
                budget="at most 0.50 ms",
                measured=samples[_ENGINE].median,
                unit="ms per job",
                limit=_MOST,
                is_at_most=True,
            )
        ],
        curves=[],
        seconds=0.0,
    )


def _engine(bench: Bench, jobs: int, parts: dict[str, list[float]]) -> float:
    with bench.fresh() as folder:
        database = folder / "queue.db"
        queues.enqueue(database, "true", jobs)
        child = run_command(child_script("engine_child.py", "drain", str(database), str(_SLOTS)))
        queues.check_all_completed(database, jobs)

    found = msgspec.json.decode(child.stdout, type=dict[str, float])
    parts[_USER].append(1000 * found["user"] / jobs)
    parts[_LOOP].append(1000 * found["loop"] / jobs)
    parts[_JOBS].append(1000 * found["jobs"] / jobs)
    return 1000 * (found["user"] + found["system"]) / jobs


def _bare(jobs: int) -> float:
    child = run_command(child_script("bare_child.py", str(jobs), str(_SLOTS)))
    found = msgspec.json.decode(child.stdout, type=dict[str, float])
    return 1000 * (found["user"] + found["system"]) / jobs


def _xargs(bench: Bench, jobs: int) -> float:
    with bench.fresh() as folder:
        words = folder / "words"
        words.write_text("x\n" * jobs, encoding="ascii")
        found = run_command(["xargs", f"-P{_SLOTS}", "-n1", "sh", "-c", "true"], stdin=words)
        return 1000 * (found.user + found.system) / jobs
