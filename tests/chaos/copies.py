"""
What a power loss would leave: copies of the database with their log cut anywhere.

A copy is made while no checkpoint runs, so the database file stands still and the log
only grows. Then any prefix of the log is what a disk may hold, as long as it has all
that was moved into the database already: that was on the disk before. What the log's
index does not know of is left out: its writer may have been killed before anybody was
told, and the next one writes over it. Each must open,
be whole, and hold a prefix of what happened; the uncut one holds whatever was
acknowledged before it was made.
"""

import fcntl
import hashlib
import os
import random
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos.evidence import EventRow, read_rows
from tests.chaos.histories import illegal_histories
from tests.chaos.logbook import Entry
from tests.chaos.moments import wall

_CUTS: Final = 5

# https://sqlite.org/walformat.html: the log's header, the header of a frame, and where
# the shared memory says how many frames were moved, or were about to be.
_LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_MOVED: Final = (96, 128)
# And how many there are, in each of the two copies of the index's header.
_KNOWN: Final = (16, 64)
_EVENTS: Final = "SELECT seq, at, job, kind, run, reason FROM events ORDER BY seq"


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """
    A copy with its log cut.

    Attributes:
        kept: Bytes of the log that were kept.
        last_event: The number of the last event in it.
        digest: Of all events in it.
        last_job: The number of the last job in it.
        problems: What is wrong with it by itself.
    """

    kept: int
    last_event: int
    digest: str
    last_job: int
    problems: list[str]


class CopyReport(msgspec.Struct, frozen=True, kw_only=True):
    """
    The cuts of one copy; the first is uncut.

    Attributes:
        at: When it was made: what was acknowledged before is in it.
    """

    at: float
    cuts: list[Cut]


async def copy(given: dict[str, Any]) -> None:
    """Copy a database that is in use, cut the log, and report what is in the copies."""
    luck = random.Random(given["seed"])  # noqa: S311 (chooses places)
    target = Path(given["target"])
    at = wall()
    database, log, moved = _read(Path(given["database"]))
    places = [len(log), *(luck.randint(min(moved, len(log)), len(log)) for _ in range(_CUTS))]
    cuts = [_cut(target, database, log[:place]) for place in places]
    Path(given["report"]).write_bytes(msgspec.json.encode(CopyReport(at=at, cuts=cuts)))


def _read(database: Path) -> tuple[bytes, bytes, int]:
    """
    Return the database and its log as they are between two checkpoints.

    Returns:
        Both, and how many bytes of the log were moved into the database.
    """
    gate = os.open(f"{database}-checkpoint", os.O_RDWR)
    try:
        fcntl.flock(gate, fcntl.LOCK_SH)
        log = Path(f"{database}-wal").read_bytes()
        memory = Path(f"{database}-shm").read_bytes()
        known = _size(log, memory, _KNOWN)
        return database.read_bytes(), log[:known], _size(log, memory, _MOVED)
    finally:
        os.close(gate)


def _size(log: bytes, memory: bytes, places: tuple[int, ...]) -> int:
    """Return the bytes of a log with as many frames as the index says in these places."""
    if not log:
        return 0

    page = int.from_bytes(log[8:12])
    frames = max(struct.unpack_from("=I", memory, place)[0] for place in places)
    return _LOG_HEADER + int(frames) * (_FRAME_HEADER + page)


def _cut(target: Path, database: bytes, log: bytes) -> Cut:
    target.write_bytes(database)
    Path(f"{target}-wal").write_bytes(log)
    Path(f"{target}-shm").unlink(missing_ok=True)

    try:
        return _look_into(target, len(log))
    except sqlite3.Error as error:
        return Cut(kept=len(log), last_event=0, digest="", last_job=0, problems=[str(error)])
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{target}{suffix}").unlink(missing_ok=True)


def _look_into(target: Path, kept: int) -> Cut:
    connection = sqlite3.connect(target)
    connection.row_factory = sqlite3.Row

    try:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        rows = read_rows(connection)
        history: dict[str, list[EventRow]] = defaultdict(list)

        for event in rows.events:
            history[event.job].append(event)

        judged = illegal_histories(history, rows.jobs)
        last_event, digest = 0, ""

        for last_event, digest in _digests(connection):  # noqa: B007 (the last one counts)
            pass

        return Cut(
            kept=kept,
            last_event=last_event,
            digest=digest,
            last_job=connection.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()[0],
            problems=[p for p in problems if p != "ok"] + [f"{j.job}: {j.words}" for j in judged],
        )
    finally:
        connection.close()


def _digests(connection: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    """Yield for each event its number, and a digest of all up to it."""
    digest = hashlib.sha256()

    for row in connection.execute(_EVENTS):
        digest.update(repr(tuple(row)).encode())
        yield row["seq"], digest.hexdigest()


def judge_copies(
    reports: list[CopyReport], client: list[Entry], connection: sqlite3.Connection
) -> Iterator[str]:
    """
    Yield what is wrong with copies, held against what came of the original.

    Args:
        reports: Of the copies.
        client: What clients were told.
        connection: To the original, when everything is over.
    """
    digests = {0: "", **dict(_digests(connection))}
    numbers = dict(connection.execute("SELECT id, seq FROM jobs").fetchall())

    for report in reports:
        for cut in report.cuts:
            where = f"copy of {report.at:.3f}, {cut.kept} bytes of log"
            yield from (f"{where}: {problem}" for problem in cut.problems)

            if digests.get(cut.last_event) != cut.digest:
                yield f"{where}: its events are no beginning of what happened"

        for entry in client:
            if entry.what == "ok" and entry.at < report.at:
                for job in entry.ids:
                    if numbers.get(job, 0) > report.cuts[0].last_job:
                        yield f"copy of {report.at:.3f}: {job} was acknowledged, and is not in it"
