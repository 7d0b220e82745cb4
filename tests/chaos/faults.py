"""
Lets each single operation on the disk fail in turn, and looks at what is left.

``python -m tests.chaos.faults --all --json FILE`` tries every operation of SQLite and of
the engine; without ``--all`` every so many-th. Each is tried in a process of its own,
forked from this one, which has imported everything and has no event loop.
"""

import argparse
import asyncio
import os
import select
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from queuectl.engine.store.sqlite import writer
from tests.chaos import faults_plan, faults_vfs
from tests.chaos.faults_plan import KINDS, FailingFiles, Kind, Plan
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
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plant", action="store_true", help="a defect, which must be found")
    options = parser.parse_args()
    stride = 1 if options.all else options.stride
    print(f"stride {stride}, seed {options.seed}", flush=True)  # noqa: T201
    faults_vfs.WatchedFiles(_SQLITE).install()
    tallies: dict[str, Tally] = {}

    if options.plant:
        _plant()

    for kind in KINDS:
        if not options.kind or kind.name in options.kind:
            tally = _walk(kind, stride, 1 + options.seed % stride, options.point)
            tallies[kind.name] = tally
            _say(kind, tally)

    if options.json:
        report = {"stride": stride, "seed": options.seed, "kinds": tallies}
        options.json.write_bytes(msgspec.json.encode(report))

    return 1 if any(tally.troubles for tally in tallies.values()) else 0


def _say(kind: Kind, tally: Tally) -> None:
    print(  # noqa: T201
        f"{kind.name}: {tally.points} points, {tally.survived} survived,"
        f" {tally.refused} told a caller, {tally.seconds:.1f} s",
        flush=True,
    )

    for trouble in tally.troubles:
        print(f"  {trouble}", flush=True)  # noqa: T201


def _walk(kind: Kind, stride: int, first: int, only: int | None) -> Tally:
    """Let one operation after the other fail, until there is none of that number."""
    began = time.monotonic()
    tally = Tally(troubles=[])

    # What is rare is not stepped over.
    if kind.name in {"sync error", "read error", "open error"}:
        stride, first = max(1, stride // 8), 1 + first % max(1, stride // 8)

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
        code = _fork(lambda: _disturbed(folder, kind, number), folder, _LIFE)
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

    def look() -> None:
        answer.write_bytes(msgspec.json.encode(asyncio.run(run_down(folder))))

    if code := _fork(look, folder, _LOOK):
        return [f"it cannot be used any more, {code}: {_tail(folder)}"]

    found = msgspec.json.decode(answer.read_bytes(), type=Found)
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
        faults_plan.fail_our_calls(plan)
    else:
        _SQLITE.plan = plan

    asyncio.run(Life(folder, tell).live())


def _fork(work: Callable[[], None], folder: Path, seconds: float) -> int:
    """Do something in a process of its own; return how that ended, -9 where it hung."""
    pid = os.fork()

    if pid == 0:
        code = 1
        try:
            noise = os.open(folder / "noise", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(noise, 2)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 (this process ends here, whatever it is)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    descriptor = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([descriptor], [], [], seconds)

        if not ready:
            os.kill(pid, signal.SIGABRT)

        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(descriptor)


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
