"""Whether what a power loss left is a database that lost nothing acknowledged."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from queuectl.engine.domain.events import STATE_AFTER
from queuectl.engine.store.sqlite.statements import SQL
from tests.chaos.wal_cuts import Cut

Events = Sequence[tuple[int, int, str, int]]

_AFTER: Final[dict[object, str]] = {kind.value: state.value for kind, state in STATE_AFTER.items()}


def put(cut: Cut, folder: Path) -> Path:
    """Make the files that a power loss left; return the database."""
    for old in folder.glob("queue.db*"):
        if old.is_file():
            old.unlink()

    for name, content in cut.files.items():
        (folder / name).write_bytes(content)

    return folder / "queue.db"


class Remains(NamedTuple):
    """
    What was found.

    Attributes:
        problems: In words; "lost" begins those that cost something acknowledged.
        events: How many are left, None where that cannot be read.
    """

    problems: list[str]
    events: int | None


def problems(cut: Cut, path: Path, events: Events) -> Remains:
    """
    Open what a power loss left with SQLite alone, and say what is wrong with it.

    Args:
        cut: What was acknowledged.
        path: The database.
        events: All events that there ever were; those that are left begin them.
    """
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            # Nothing of the copy has to survive anything.
            connection.execute("PRAGMA synchronous = OFF")
            kept = _events(connection)
            return Remains(list(_problems(cut, connection, kept, events)), len(kept))
    except sqlite3.DatabaseError as error:
        return Remains([f"lost: unreadable: {error}" if cut.jobs else f"unreadable: {error}"], None)


def _events(connection: sqlite3.Connection) -> list[tuple[int, int, str, int]]:
    if not _has_schema(connection):
        return []

    return connection.execute("SELECT seq, job, kind, run FROM events ORDER BY seq").fetchall()


def _has_schema(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'events'")
    return tables.fetchone() is not None


def _problems(
    cut: Cut, connection: sqlite3.Connection, kept: Events, events: Events
) -> Iterator[str]:
    if not _has_schema(connection):
        if cut.jobs:
            yield "lost: the whole schema"
        return

    for (word,) in connection.execute("PRAGMA integrity_check"):
        if word != "ok":
            yield f"integrity: {word}"

    rows = connection.execute("SELECT seq, id, state FROM jobs").fetchall()

    if lost := cut.jobs - {job_id for _, job_id, _ in rows}:
        yield f"lost: acknowledged jobs: {', '.join(sorted(lost))}"

    if (kept[-1][0] if kept else 0) < cut.event:
        yield f"lost: event {cut.event}, which was shown"

    if list(kept) != list(events[: len(kept)]):
        yield "history: the events are not those that happened first"

    yield from _contradictions(connection, kept, {seq: state for seq, _, state in rows})


def _contradictions(
    connection: sqlite3.Connection, kept: Events, states: dict[int, str]
) -> Iterator[str]:
    """Yield what one table says and another does not."""
    if {job: _AFTER.get(kind) for _, job, kind, _ in kept} != states:
        yield "history: a job is not in the state that its last event left it in"

    true = dict(connection.execute(SQL["true_counts"]).fetchall())
    counts = connection.execute("SELECT state, jobs FROM counts").fetchall()

    if any(count != true.get(state, 0) for state, count in counts):
        yield "counts: they are wrong"
