"""
Lets each single operation on the disk fail in turn, and looks at what is left.

``python -m tests.chaos.faults --all --json FILE`` tries every operation of SQLite and of
the engine; without ``--all`` every so many-th. Each is tried in a process of its own,
forked from this one, which has imported everything and has no event loop.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import msgspec

from queuectl.engine.store.sqlite import writer
from tests.chaos import faults_plan, faults_recovery, faults_vfs
from tests.chaos.faults_fork import begin, ended
from tests.chaos.faults_plan import KINDS, FailingFiles, Kind, Plan
from tests.chaos.faults_recovery import Settling, leave_dead, settle_rest
from tests.chaos.faults_scenario import Found, Life, processes, run_down, wrongs
from tests.chaos.wal import scratch

# Seconds for the disturbed life, for the look afterwards, and until a process is killed
# whose disk stays full.
_LIFE: Final = 25.0
_LOOK: Final = 15.0
_LINGER: Final = 0.3

_MARK: Final = "CHAOS_FAULTS"
_SQLITE: Final = FailingFiles()


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A point after which something was wrong."""

    number: int
    failed: str
    wrongs: list[str]
    errors: list[str]


class Tally(msgspec.Struct, kw_only=True):
    """
    What came of the points of a kind.

    Attributes:
        points: At how many an operation failed.
        survived: After how many nothing was wrong.
        refused: At how many a caller was told of it.
        seconds: How long it took.
        troubles: The others.
    """

    points: int = 0
    survived: int = 0
    refused: int = 0
    seconds: float = 0.0
    troubles: list[Trouble] = []


def main() -> int:
    """Try the points, and say what came of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.faults")
    parser.add_argument("--all", action="store_true", help="every operation")
    parser.add_argument("--stride", type=int, default=40, help="every so many-th without --all")
    parser.add_argument("--seed", type=int, default=1, help="where to begin within the stride")
    parser.add_argument("--kind", action="append", help="only this one; may be said again")
    parser.add_argument("--point", type=int, help="only this operation")
    parser.add_argument("--jobs", type=int, default=4, help="processes that walk, else 4")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plant", action="store_true", help="a defect, which must be found")
    options = parser.parse_args()
    stride = 1 if options.all else options.stride
    print(f"stride {stride}, seed {options.seed}", flush=True)  # noqa: T201
    tallies: dict[str, Tally] = {}

    with ProcessPoolExecutor(
        options.jobs,
        mp_context=get_context("spawn"),
        initializer=_prepare,
        initargs=(options.plant,),
    ) as walkers:
        walks = {
            kind.name: [
                walkers.submit(_walk, kind, first, step, options.point)
                for first, step in _ways(kind, stride, options)
            ]
            for kind in KINDS
            if not options.kind or kind.name in options.kind
        }

        for name, parts in walks.items():
            tallies[name] = _sum([part.result() for part in parts])
            _say(name, tallies[name])

    if options.json:
        report = {"stride": stride, "seed": options.seed, "kinds": tallies}
        options.json.write_bytes(msgspec.json.encode(report))

    return 1 if any(tally.troubles for tally in tallies.values()) else 0


def _prepare(is_planted: bool) -> None:  # noqa: FBT001 (the pool knows no names)
    """Be a process that others are forked from."""
    faults_vfs.WatchedFiles(_SQLITE).install()

    if is_planted:
        _plant()


def _say(name: str, tally: Tally) -> None:
    print(  # noqa: T201
        f"{name}: {tally.points} points, {tally.survived} survived,"
        f" {tally.refused} told a caller, {tally.seconds:.1f} s",
        flush=True,
    )

    for trouble in tally.troubles:
        print(f"  {trouble}", flush=True)  # noqa: T201


def _ways(kind: Kind, stride: int, options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Yield where each walker begins, and its steps: together they go through all points."""
    # What is rare is not stepped over.
    if kind.name in {"sync error", "read error", "open error"}:
        stride = max(1, stride // 8)

    walkers = options.jobs if options.point is None else 1

    for number in range(walkers):
        yield 1 + options.seed % stride + number * stride, walkers * stride


def _sum(parts: list[Tally]) -> Tally:
    return Tally(
        points=sum(part.points for part in parts),
        survived=sum(part.survived for part in parts),
        refused=sum(part.refused for part in parts),
        seconds=max(part.seconds for part in parts),
        troubles=[trouble for part in parts for trouble in part.troubles],
    )


def _walk(kind: Kind, first: int, stride: int, only: int | None) -> Tally:
    """Let one operation after the other fail, until there is none of that number."""
    began = time.monotonic()
    tally = Tally(troubles=[])

    number = first if only is None else only

    while True:
        fired, told, found = _try(kind, number)

        if fired is None and not found:
            break

        tally.points += fired is not None
        errors = [word for word in told if word.startswith("error ")]
        tally.refused += bool(errors)

        if found:
            failed = fired or "nothing"
            tally.troubles.append(
                Trouble(number=number, failed=failed, wrongs=found, errors=errors)
            )
        else:
            tally.survived += 1

        if only is not None or fired is None:
            break

        number += stride

    tally.seconds = time.monotonic() - began
    return tally


def _try(kind: Kind, number: int) -> tuple[str | None, list[str], list[str]]:
    """Return which operation failed, what was told, and what is wrong afterwards."""
    with scratch() as folder:
        os.environ[_MARK] = str(folder)

        if kind.is_recovery:
            leave_dead(folder)

        disturbed = begin(lambda: _disturbed(folder, kind, number), folder)
        code = ended(disturbed, _LIFE)
        told = _lines(folder / "told")
        fired = next((word for word in told if word.startswith("fired ")), None)
        found: list[str] = []

        if not kind.is_lasting:
            if "end" not in told:
                found.append("the life did not come to its end")

            if code != 0:
                found.append(f"the life ended with {code}: {_tail(folder)}")
        elif code not in {0, -signal.SIGKILL}:
            found.append(f"the life ended with {code}: {_tail(folder)}")

        found += _afterwards(folder, told, kind)
        return fired and fired.removeprefix("fired ").replace(str(folder), ""), told, found


def _afterwards(folder: Path, told: list[str], kind: Kind) -> list[str]:
    """Look at what is left, with an engine of a new process."""
    answer = folder / "found"

    if kind.is_recovery:
        settle_rest(folder)

    def look() -> None:
        answer.write_bytes(msgspec.json.encode(asyncio.run(run_down(folder))))

    if code := ended(begin(look, folder), _LOOK):
        return [f"it cannot be used any more, {code}: {_tail(folder)}"]

    found = msgspec.json.decode(answer.read_bytes(), type=Found)

    if kind.is_recovery:
        problems = list(faults_recovery.wrongs(folder, told, found))
    else:
        # Where our own files fail, the proof of how a run ended may have failed to be made.
        problems = list(wrongs(folder, told, found, may_lose=kind.is_ours))

    if left := processes(f"{_MARK}={folder}"):
        problems.append(f"processes are left: {left}")

    return problems


def _disturbed(folder: Path, kind: Kind, number: int) -> None:
    descriptor = os.open(folder / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(words: str) -> None:
        os.write(descriptor, f"{words}\n".encode())

    def fired(words: str) -> None:
        tell(f"fired {words}")

        if kind.is_lasting:
            timer = threading.Timer(_LINGER, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()

    plan = Plan(kind, number, fired)

    if kind.is_ours:
        faults_plan.fail_our_calls(plan, f"{_MARK}={folder}")
    else:
        _SQLITE.plan = plan

    life = Settling(folder, tell, plan.arm) if kind.is_recovery else Life(folder, tell)
    asyncio.run(life.live())


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _tail(folder: Path) -> str:
    return " | ".join(_lines(folder / "noise")[-6:])


def _plant() -> None:
    """Let the engine acknowledge what it could not commit."""
    honest = writer._transaction

    def careless(connection: sqlite3.Connection, batch: Any, run: Any) -> list[Any]:
        results: list[Any] = []

        def remembering(connection: sqlite3.Connection, operation: Any) -> Any:
            results.append(run(connection, operation))
            return results[-1]

        try:
            return honest(connection, batch, remembering)
        except sqlite3.OperationalError:
            if len(results) < len(batch):
                raise

            return results

    writer._transaction = careless


if __name__ == "__main__":
    sys.exit(main())
