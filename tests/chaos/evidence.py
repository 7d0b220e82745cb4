"""What a run left, as values: what the checker judges, and nothing else."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos.logbook import Entry

# Events that end a run; a job cancelled while it waits has none that goes on.
_OVER: Final = frozenset({"completed", "failed", "died", "cancelled", "released"})


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event; ``at`` in seconds."""

    seq: int
    at: float
    job: str
    kind: str
    run: int
    reason: str | None = None


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of a job at the end."""

    id: str
    state: str
    attempts: int
    run_count: int
    max_retries: int
    timeout: float | None = None
    on_crash: str = "adopt"


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of a run, and which worker recorded it."""

    job: str
    number: int
    outcome: str
    worker: str = ""
    exit_code: int | None = None
    signal: str | None = None
    reason: str | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """
    A line of a witness.

    Attributes:
        kind: ``S`` for the start, ``T`` for life, ``D`` for the life of a process
            that left its job's group, ``E`` for the end, ``K`` for an end by its
            own hand.
        at: The time of day in seconds.
        code: With ``E``, the exit code that follows.
    """

    kind: str
    attempt: int
    pid: int
    at: float
    code: int | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was found when everything was over.

    Attributes:
        left: Processes that carry the run's mark: numbers and command lines.
        zombies: Dead children that an engine did not reap.
        locks: Files whose lock somebody holds.
        folders: What is left in the workers' folder.
        problems: What the checks of the database say.
        strangers: Processes of nobody's run that were ended all the same.
        engine_failures: Last words of engines that ended unasked.
        helper_failures: Last words of clients, readers and operators that failed.
        copies: What is wrong with copies of the database that were cut.
    """

    left: list[str] = []
    zombies: list[str] = []
    locks: list[str] = []
    folders: list[str] = []
    problems: list[str] = []
    strangers: list[str] = []
    engine_failures: list[str] = []
    helper_failures: list[str] = []
    copies: list[str] = []


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything that is known of a run.

    Attributes:
        client: What clients did.
        faults: What the nemesis did.
        acts: What operators asked for, whatever they were told.
        events: In their order.
        grace: The longest time between TERM and KILL, in seconds.
        limits: How many bytes the jobs may write that write more.
    """

    client: list[Entry]
    faults: list[Entry]
    acts: list[Entry]
    events: list[EventRow]
    jobs: dict[str, JobRow]
    runs: list[RunRow]
    witness: dict[str, list[Line]]
    grace: float
    end: End
    limits: dict[str, int] = {}

    def history(self) -> dict[str, list[EventRow]]:
        """Return the events of each job."""
        history: dict[str, list[EventRow]] = defaultdict(list)

        for event in self.events:
            history[event.job].append(event)

        return history

    def run_rows(self) -> dict[tuple[str, int], RunRow]:
        """Return the runs by job and number."""
        return {(run.job, run.number): run for run in self.runs}

    def ends(self) -> dict[tuple[str, int], EventRow]:
        """
        Return the event that ended each run; giving back what never started ends none.

        It is the first since its claim: a job that is cancelled later, while it waits, has
        no run then. And that event may have an earlier time, for it has the one at which it
        was asked for. A number that was given back is claimed again.
        """
        ends: dict[tuple[str, int], EventRow] = {}

        for event in self.events:
            if event.kind == "claimed":
                ends.pop((event.job, event.run), None)
            elif event.kind in _OVER and (event.kind != "released" or event.reason is not None):
                ends.setdefault((event.job, event.run), event)

        return ends

    def of_kind(self, *kinds: str) -> list[Entry]:
        """Return the faults of some kinds."""
        return [fault for fault in self.faults if fault.what in kinds]


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What a database holds."""

    events: list[EventRow]
    jobs: dict[str, JobRow]
    runs: list[RunRow]


def open_to_read(database: Path) -> sqlite3.Connection:
    """Open a database without a way to change it."""
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
    connection.row_factory = sqlite3.Row
    return connection


def read_rows(connection: sqlite3.Connection) -> Rows:
    """Read jobs, runs and events."""
    ids = dict(connection.execute("SELECT seq, id FROM jobs").fetchall())
    return Rows(
        events=[
            EventRow(
                seq=row["seq"],
                at=row["at"] / 1000,
                job=ids.get(row["job"], f"#{row['job']}"),
                kind=row["kind"],
                run=row["run"],
                reason=row["reason"],
            )
            for row in connection.execute("SELECT * FROM events ORDER BY seq")
        ],
        jobs={row["id"]: _job(row) for row in connection.execute("SELECT * FROM jobs")},
        runs=[
            RunRow(
                job=ids[row["job"]],
                number=row["number"],
                outcome=row["outcome"],
                worker=f"w{row['worker']}",
                exit_code=row["exit_code"],
                signal=row["signal"],
                reason=row["reason"],
            )
            for row in connection.execute("SELECT * FROM runs ORDER BY job, number")
        ],
    )


def _job(row: Any) -> JobRow:
    return JobRow(
        id=row["id"],
        state=row["state"],
        attempts=row["attempts"],
        run_count=row["run_count"],
        max_retries=row["max_retries"],
        timeout=None if row["timeout_ms"] is None else row["timeout_ms"] / 1000,
        on_crash=row["on_crash"],
    )


def read_witnesses(folder: Path, offset: float) -> dict[str, list[Line]]:
    """
    Read what the jobs wrote of themselves.

    Args:
        folder: A file for each job.
        offset: What to add to their times to have the time of day.
    """
    return {file.name: list(_lines(file, offset)) for file in sorted(folder.iterdir())}


def _lines(file: Path, offset: float) -> Iterator[Line]:
    for text in file.read_text(encoding="ascii").splitlines():
        kind, attempt, pid, up, *code = text.split()
        yield Line(
            kind=kind,
            attempt=int(attempt),
            pid=int(pid),
            at=float(up) + offset,
            code=int(code[0]) if code else None,
        )
