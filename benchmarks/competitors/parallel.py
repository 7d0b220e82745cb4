"""GNU parallel, with its log of jobs, from which it can be started again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench import Bench, CannotRunError, run_command
from benchmarks.competitors.kinds import SLOTS, Competitor, find


@contextmanager
def _opened(bench: Bench) -> Iterator[Callable[[int], float]]:
    program = find("parallel")

    # Another program has this name too.
    if "GNU" not in run_command([program, "--version"]).stdout:
        raise CannotRunError("parallel is not GNU parallel")

    yield partial(_rate, bench, program)


def _rate(bench: Bench, program: str, jobs: int) -> float:
    """Return the jobs per second, from its start to its end."""
    with bench.fresh() as folder:
        words = folder / "words"
        words.write_text("x\n" * jobs, encoding="ascii")
        log = folder / "log"
        argv = [program, "--will-cite", f"-j{SLOTS}", "-N0", f"--joblog={log}", "true"]
        environ = {"PARALLEL_HOME": str(folder), "PARALLEL_SHELL": "/bin/sh"}
        seconds = run_command(argv, stdin=words, environ=environ).seconds
        logged = len(log.read_text(encoding="utf-8").splitlines()) - 1

        if logged != jobs:
            raise CannotRunError(f"{logged} of {jobs} jobs are in its log")

        return jobs / seconds


SUBJECT = Competitor(
    name="GNU parallel --joblog",
    lacks=(
        "not a queue: one list of commands, and no adding to it; the log is not synced; what"
        " runs when it is killed is lost until someone starts it with --resume"
    ),
    jobs=800,
    opened=_opened,
)
