"""
Cuts the power at every moment of a program's life, and looks at what is left.

``python -m tests.chaos.wal --all --json FILE`` tries every cut of several lives; the tests
try a part of the cuts of one.
"""

import argparse
import os
import random
import subprocess  # noqa: TID251 (the program that is cut off)
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

import queuectl
from tests.chaos import wal_check
from tests.chaos.wal_cuts import Cut, Disk
from tests.chaos.wal_log import Story, load

_ROOTS: Final = {str(Path(queuectl.__file__).parents[1]), str(Path(__file__).parents[2])}

# Small enough for a checkpoint every few commits.
SMALL_LOG: Final = 48 * 1024

# Where there is memory to put files in, nobody waits for a disk.
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (folders of our own are made in it)

_PATIENCE: Final = 60
_MOST_SHOWN: Final = 5


class Tally(msgspec.Struct, kw_only=True):
    """
    What came of the cuts of one life.

    Attributes:
        cuts: How many were looked at.
        prefixes: How many different histories they left.
        bad: How many left something wrong.
        lost: How many of those had lost what was acknowledged.
        examples: The first of them, in words.
    """

    cuts: int = 0
    prefixes: int = 0
    bad: int = 0
    lost: int = 0
    examples: list[str] = []


def live(folder: Path, *, synchronous: str = "FULL", log_size: int | None = None) -> Story:
    """Let a program work with a queue to its end; return everything that it did."""
    place, file = folder / "life", folder / "story"
    place.mkdir()
    words = [sys.executable, "-m", "tests.chaos.wal_writer", place, file]
    words += ["--synchronous", synchronous]

    if log_size is not None:
        words += ["--log-size", str(log_size)]

    done = subprocess.run(
        list(map(str, words)),
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": ":".join(_ROOTS)},
        capture_output=True,
        timeout=_PATIENCE,
        check=False,
    )

    if done.returncode:
        raise AssertionError(done.stderr.decode(errors="backslashreplace"))

    return load(file)


def look_at(
    story: Story,
    folder: Path,
    *,
    seed: int,
    share: float = 1.0,
    each: Callable[[Cut, Path], Sequence[str]] | None = None,
) -> Tally:
    """
    Cut the power, and look at what is left.

    Args:
        story: A whole life.
        folder: Where the remains are put.
        seed: Chooses what of unsynced writes is left, and which cuts are tried.
        share: Of the cuts; those that leave what was synced alone are always tried.
        each: Looks at the remains too, before SQLite has opened them.
    """
    tally = Tally(examples=[])
    luck = random.Random(seed)  # noqa: S311 (the same in every run)
    prefixes = set()

    for cut in Disk(story.records, seed=seed).cuts():
        if luck.random() > share and not cut.how.endswith("what was synced"):
            continue

        path = wal_check.put(cut, folder)
        found = [] if each is None else list(each(cut, path))
        remains = wal_check.problems(cut, path, story.events)
        found += remains.problems
        prefixes.add(remains.events)
        tally.cuts += 1
        tally.bad += bool(found)
        tally.lost += any(problem.startswith("lost") for problem in found)

        if found and len(tally.examples) < _MOST_SHOWN:
            tally.examples.append(f"at {cut.at}, {cut.how}: {'; '.join(found)}")

    tally.prefixes = len(prefixes)
    return tally


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder for remains, in memory where that is possible."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None

    with tempfile.TemporaryDirectory(prefix="chaos-", dir=place) as name:
        yield Path(name)


def main() -> int:
    """Try every cut of several lives."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.wal")
    parser.add_argument("--all", action="store_true", help="every cut, not a tenth")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lives = {"one log": None, "a checkpoint every few commits": SMALL_LOG}
    tallies: dict[str, Tally] = {}
    print(f"seed {options.seed}")  # noqa: T201

    for name, log_size in lives.items():
        with scratch() as folder, scratch() as remains:
            began = time.monotonic()
            tally = look_at(
                live(folder, log_size=log_size),
                remains,
                seed=options.seed,
                share=1.0 if options.all else 0.1,
            )
            tallies[name] = tally
            took = time.monotonic() - began
            print(  # noqa: T201
                f"{name}: {tally.cuts} cuts, {tally.prefixes} histories, {tally.bad} bad,"
                f" {tally.lost} of them lost something, {took:.1f} s",
                *tally.examples,
                sep="\n  ",
            )

    if options.json:
        options.json.write_bytes(msgspec.json.encode({"seed": options.seed, "lives": tallies}))

    return 1 if any(tally.bad for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
