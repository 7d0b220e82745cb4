"""What is left of a worker's runs when all of them are over: found and ended."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.proc import Process
from queuectl.engine.runtime.runfiles import find_runs
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import Listing, RunTree


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """
    A process of a run.

    Attributes:
        process: The process.
        seq: The sequence number of the run's job.
        run: The run's number.
    """

    process: Process
    seq: int
    run: int

    @property
    def words(self) -> tuple[int, int, int]:
        """Its process number, and whose it is."""
        return self.process.pid, self.seq, self.run


def find_leftovers(home: Path, database: str) -> list[Leftover]:
    """
    Return what there is of any run that a worker started. Blocking.

    That is what carries the mark of one, and what holds the files of one.

    Args:
        home: The worker's folder.
        database: The worker's, as an absolute path.
    """
    listed = Listing.now()
    found = {leftover.process: leftover for leftover in _holders(home, database, listed)}

    for process, mark in listed.marked(home.name, database).items():
        found[process] = Leftover(process=process, seq=mark.seq, run=mark.run)

    return list(found.values())


async def end_leftovers(
    home: Path,
    database: str,
    grace: float,
    *,
    but: frozenset[tuple[int, int]] = frozenset(),
) -> list[Leftover]:
    """
    End what is left of a worker's runs.

    Args:
        home: The worker's folder.
        database: The worker's, as an absolute path.
        grace: Seconds between TERM and KILL.
        but: Runs to leave alone, as sequence number and run.

    Returns:
        What could not be ended.
    """

    def look() -> list[Leftover]:
        found = find_leftovers(home, database)
        return [left for left in found if (left.seq, left.run) not in but]

    runs = {(left.seq, left.run) for left in await in_thread(look)}
    files = {found.key: found.files for found in await in_thread(find_runs, home)} if runs else {}

    for seq, run in sorted(runs):
        mark = Mark(token=home.name, seq=seq, run=run, database=database)
        await RunTree(mark, files.get(mark.key)).end(grace)

    return await in_thread(look) if runs else []


def _holders(home: Path, database: str, listed: Listing) -> Iterator[Leftover]:
    for found in find_runs(home):
        if found.key is not None and found.files.is_held():
            seq, run = found.key
            mark = Mark(token=home.name, seq=seq, run=run, database=database)

            for process in RunTree(mark, found.files).look(listed).ours:
                yield Leftover(process=process, seq=seq, run=run)
