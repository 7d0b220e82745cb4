"""
Kills an engine at each step of a job's life, one after the other, and recovers each time.

    python -m tests.chaos.crash_points --all --json FILE

Nothing in the product knows of it: the steps are counted from outside, see
`crash_points_counter`. Linux only.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import anyio
import msgspec

from queuectl import QueueEngine
from tests.chaos.crash_points_check import Found, problems, recover
from tests.chaos.crash_points_counter import CrashPoints, Ending
from tests.chaos.crash_points_fork import Tell, in_fork
from tests.chaos.crash_points_place import Place
from tests.chaos.crash_points_scenarios import PLANTED, SCENARIOS, Scenario

_DEADLINE: Final = 25.0

# What was written outlives the process on any file system: memory is the fastest.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108


# How much of what went wrong is shown; the file has all of it.
_MOST_SHOWN: Final = 8
_MOST_NOISE: Final = 6


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A crash that was not survived; the number and the place find it again."""

    point: int
    place: str
    problems: list[str]
    noise: str


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of a scenario.

    Attributes:
        steps: How many there are, in a run that is not killed.
        stride: Every how manieth of them was tried.
        points: How many crashes there were.
        survived: How many of them left nothing wrong.
        places: How many different places they were at.
        effects: The calls that reach outside the process, in a run that is not killed.
        missed: How many runs came to their end before the step.
        slowest: Seconds that the longest recovery took.
        typical: Seconds that the recovery in the middle took.
        seconds: What all of it took.
    """

    scenario: str
    steps: int
    stride: int
    points: int
    survived: int
    places: int
    effects: list[str]
    missed: int
    typical: float
    slowest: float
    seconds: float
    failures: list[Failure]


class _Crash(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to kill: what was said, and what was wrong."""

    ending: Ending
    problems: list[str]
    recovery: float
    noise: str = ""


class Walk:
    """
    The points of one scenario.

    Args:
        scenario: Which.
        root: A folder of its own.
    """

    def __init__(self, scenario: Scenario, root: Path) -> None:
        self._scenario = scenario
        self._place = Place(root / scenario.name)
        self._place.make()
        # In this process, so that those forked from it find everything imported.
        anyio.run(_warm_up, root / "warm.db")
        anyio.run(scenario.prepare, self._place)
        self._place.keep_as_template()

    def crash(self, point: int) -> _Crash:
        """Kill an engine at a point, 0 for none, let another recover, and look."""
        self._place.renew()

        if self._scenario.before is not None:
            self._scenario.before(self._place)

        async def live(tell: Tell) -> None:
            points = CrashPoints(kill_at=point, tell=tell)
            points.install()
            await self._scenario.live(self._place, points)
            points.finish()

        ended = in_fork(live, noise=self._place.noise, seconds=_DEADLINE)

        if ended.code not in {0, -signal.SIGKILL} or not ended.said:
            ending = Ending(count=point, place="?")
            how = "did not end" if ended.code is None else f"ended with {ended.code}"
            return self._failed(ending, f"the engine to be killed {how}")

        return self._recover(msgspec.json.decode(ended.said, type=Ending))

    def _recover(self, ending: Ending) -> _Crash:
        async def work(tell: Tell) -> None:
            tell(msgspec.json.encode(await recover(self._scenario, self._place)))

        ended = in_fork(work, noise=self._place.noise, seconds=_DEADLINE)

        if ended.code != 0:
            how = "did not end" if ended.code is None else f"ended with {ended.code}"
            return self._failed(ending, f"recovery {how}")

        found = msgspec.json.decode(ended.said, type=Found)
        wrong = problems(self._scenario, self._place, found)

        if wrong:
            return self._failed(ending, *wrong)

        return _Crash(ending=ending, problems=[], recovery=found.seconds)

    def _failed(self, ending: Ending, *wrong: str) -> _Crash:
        noise = self._place.noise.read_text(errors="replace") if self._place.noise.exists() else ""

        for pid in self._place.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        return _Crash(ending=ending, problems=list(wrong), recovery=0.0, noise=noise[-2000:])


async def _warm_up(database: Path) -> None:
    async with QueueEngine(database) as engine:
        await engine.enqueue(":", cwd=database.parent)
        await engine.drain()
        await engine.check()


def walk(name: str, most: int | None, only: int | None = None) -> Tally:
    """
    Walk through the points of a scenario.

    It ends behind the last step of the longest run that came to its end
    without being killed.

    Args:
        name: Of the scenario.
        most: About how many points to try, evenly spread; None for all.
        only: Try this point alone.
    """
    began = time.monotonic()

    with tempfile.TemporaryDirectory(
        prefix="crash-points-", dir=_MEMORY if _MEMORY.is_dir() else None
    ) as folder:
        way = Walk((SCENARIOS | PLANTED)[name], Path(folder).resolve())
        whole = way.crash(0)
        steps = whole.ending.count
        stride = 1 if most is None else max(1, -(-steps // most))
        crashes = {}
        failures = [_failure(0, whole)] if whole.problems else []
        point, missed, last = only or 1, 0, only or steps

        while point <= last and not whole.problems:
            crash = way.crash(point)

            if crash.ending.place is None:
                missed += 1
                last = only or max(last, crash.ending.count)
            else:
                crashes[point] = crash

            if crash.problems:
                failures.append(_failure(point, crash))

            point += stride

    recoveries = sorted(crash.recovery for crash in crashes.values()) or [0.0]
    return Tally(
        scenario=name,
        steps=steps,
        stride=stride,
        points=len(crashes),
        survived=sum(not crash.problems for crash in crashes.values()),
        places=len({crash.ending.place for crash in crashes.values()}),
        effects=whole.ending.effects,
        missed=missed,
        typical=recoveries[len(recoveries) // 2],
        slowest=recoveries[-1],
        seconds=time.monotonic() - began,
        failures=failures,
    )


def _failure(point: int, crash: _Crash) -> Failure:
    return Failure(
        point=point,
        place=crash.ending.place or "nowhere: it came to its end",
        problems=crash.problems,
        noise=crash.noise,
    )


def _shown(tally: Tally) -> str:
    counts = (
        f"{tally.scenario:18} {tally.steps:5} steps, every {tally.stride:3}: "
        f"{tally.points:5} crashes at {tally.places:4} places, {tally.survived:5} survived, "
        f"recovery {tally.typical:.3f} s, at most {tally.slowest:.3f} s, "
        f"{tally.missed} missed, {tally.seconds:.1f} s"
    )
    lines = [counts]
    for failure in tally.failures[:_MOST_SHOWN]:
        lines.append(f"  at {failure.point}, {failure.place}")
        lines += [f"    {words}" for words in failure.problems]
        lines += [f"    | {line}" for line in failure.noise.splitlines()[-_MOST_NOISE:]]

    if len(tally.failures) > _MOST_SHOWN:
        lines.append(f"  and {len(tally.failures) - _MOST_SHOWN} more")

    return "\n".join(lines) + "\n"


def main() -> int:
    """Walk as the command line says; return 1 where a crash was not survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", help=f"of: {', '.join(SCENARIOS)}")
    parser.add_argument("--all", action="store_true", help="every point, not some")
    parser.add_argument("--points", type=int, default=25, help="about how many, else 25")
    parser.add_argument("--only", type=int, help="this point alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes that walk, else 2")
    parser.add_argument("--json", type=Path, help="where to write the counts")
    given = parser.parse_args()

    tallies = []

    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as walkers:
        most = None if given.all else given.points
        walks = [
            walkers.submit(walk, name, most, given.only) for name in given.scenarios or SCENARIOS
        ]

        for done in walks:
            tallies.append(done.result())
            sys.stdout.write(_shown(tallies[-1]))
            sys.stdout.flush()

            if given.json is not None:
                given.json.write_bytes(msgspec.json.format(msgspec.json.encode(tallies)))

    return int(any(tally.failures for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
