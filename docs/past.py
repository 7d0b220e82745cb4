"""
A queue with a day behind it, for the screenshots: real rows, made on a clock that runs fast.

The runs are pretended (`queuectl.engine.testing`); the database, the retries, the dead
letters and the figures are what the engine makes of them.
"""  # noqa: INP001 (beside the script that uses it, not a package)

import asyncio
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from queuectl import JobSpec, QueueEngine
from queuectl.engine.testing import FakeClock, FakeRun, FakeRunner

_DAY: Final = timedelta(hours=24)
_HOUR: Final = timedelta(hours=1)

# What is added at once, and how much later the next is; the last hour is drawn by the minute.
_USUAL: Final = (timedelta(minutes=12), 3, 16)
_LATELY: Final = (timedelta(minutes=2), 1, 6)

# Steps of the fast clock, in seconds, and how many of them follow on what was added:
# enough for the slowest run, and for its retries.
_TICK: Final = 3.0
_TICKS: Final = 30

# Seconds of real time in which the engine writes what a tick has brought about.
_SETTLE: Final = 0.008


class _Kind(NamedTuple):
    """
    A kind of job.

    Attributes:
        command: Of the nth of them.
        tag: Its tag.
        share: How many of all jobs are like this.
        takes: Seconds that a run takes at the least, and at the most.
        fails: The exit code of those that fail; 0 where none does.
        failing: How many of them fail.
    """

    command: str
    tag: str
    share: int
    takes: tuple[float, float]
    fails: int = 0
    failing: float = 0.0


_KINDS: Final = (
    _Kind(
        "ffmpeg -i raw/clip-{n:05}.mov -crf 23 out/clip-{n:05}.mp4", "video", 5, (6, 30), 1, 0.03
    ),
    _Kind("convert in/photo-{n:05}.jpg -resize 320 thumbs/{n:05}.webp", "thumbs", 9, (0.2, 2.5)),
    _Kind("pg_dump --table orders_{n} shop > dumps/orders_{n}.sql", "backup", 1, (9, 20), 2, 0.05),
    _Kind(
        "curl -fsS https://partner.example/orders/{n} | import-order", "sync", 4, (1, 6), 22, 0.04
    ),
)


async def make_past(database: Path, now: datetime) -> None:
    """
    Let a day of jobs pass in a database.

    Args:
        database: Where there is none yet.
        now: When the day ends.
    """
    # The same jobs each time, so that pictures change only where the pages did.
    dice = random.Random(8)  # noqa: S311 (not for secrets)
    clock = FakeClock(now - _DAY)
    runner = FakeRunner(clock)
    numbers = iter(range(200, 100_000))

    async with QueueEngine(database, clock=clock, runner=runner) as engine:
        await engine.config.set("backoff-max", "12")

        async with engine.workers(concurrency=5):
            while (left := now - clock.now()) > _LATELY[0]:
                step, fewest, most = _LATELY if left <= _HOUR else _USUAL
                count = dice.randint(fewest, most)
                await engine.enqueue_many(_batch(dice, runner, numbers, count))
                await _pass(clock, step)

        await engine.config.unset("backoff-max")


def _batch(
    dice: random.Random, runner: FakeRunner, numbers: Iterator[int], count: int
) -> Iterator[JobSpec]:
    """Yield some jobs, and script how their runs end."""
    for kind in dice.choices(_KINDS, [kind.share for kind in _KINDS], k=count):
        number = next(numbers)
        command = kind.command.format(n=number)
        takes = dice.uniform(*kind.takes)
        fails = dice.random() < kind.failing
        first = FakeRun(exit_code=kind.fails if fails else 0, takes=takes)
        # One in three of those that fail does so again and again.
        rest = [] if fails and dice.random() < 1 / 3 else [FakeRun(takes=takes)]
        runner.script(command, first, *rest)
        yield JobSpec(command=command, id=f"{kind.tag}-{number}", tags=(kind.tag,), cwd="/")


async def _pass(clock: FakeClock, whole: timedelta) -> None:
    """Let time pass: slowly while jobs run, and the rest at once."""
    for _ in range(_TICKS):
        await asyncio.sleep(_SETTLE)
        clock.advance(_TICK)

    await asyncio.sleep(_SETTLE)
    clock.advance(whole - timedelta(seconds=_TICK * _TICKS))
