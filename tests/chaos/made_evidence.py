"""Evidence that is made by hand, for the tests of the checker."""

from typing import Any

import msgspec

from tests.chaos.checker import Kind, check
from tests.chaos.evidence import End, EventRow, Evidence, JobRow, Line, RunRow
from tests.chaos.logbook import Entry

JOB = "j1"


def history(*steps: str, job: str = JOB, first: int = 1) -> list[EventRow]:
    """Return events written as ``kind run reason``, one a second from second 100."""
    events = []

    for number, step in enumerate(steps, first):
        kind, run, *reason = step.split(maxsplit=2)
        events.append(
            EventRow(
                seq=number,
                at=99.0 + number,
                job=job,
                kind=kind,
                run=int(run),
                reason=reason[0] if reason else None,
            )
        )

    return events


def witness(*steps: str) -> list[Line]:
    """Return lines written as ``kind attempt at code``."""
    lines = []

    for step in steps:
        kind, attempt, at, *code = step.split()
        lines.append(
            Line(
                kind=kind,
                attempt=int(attempt),
                pid=1000,
                at=float(at),
                code=int(code[0]) if code else None,
            )
        )

    return lines


def row(state: str = "completed", attempts: int = 1, run_count: int = 1, **more: Any) -> JobRow:
    given = {"max_retries": 3, "timeout": 1.0, **more}
    return JobRow(id=JOB, state=state, attempts=attempts, run_count=run_count, **given)


def run(number: int = 1, outcome: str = "completed", code: int | None = 0, **more: Any) -> RunRow:
    return RunRow(job=JOB, number=number, outcome=outcome, exit_code=code, **more)


# One job that was acknowledged, ran and was completed.
CLEAN = Evidence(
    client=[
        Entry(at=99.0, what="invoke", ids=[JOB], batch=0),
        Entry(at=99.5, what="ok", ids=[JOB], batch=0),
    ],
    faults=[],
    acts=[],
    events=history("enqueued 0", "claimed 1", "completed 1"),
    jobs={JOB: row()},
    runs=[run()],
    witness={JOB: witness("S 1 101.0", "T 1 101.5", "E 1 102.0 0")},
    grace=0.3,
    end=End(),
)


def changed(**changes: Any) -> Evidence:
    """Return the clean evidence with something changed."""
    return msgspec.structs.replace(CLEAN, **changes)


def retried(*lines: str, first: str = "failed", reason: str = "exit_code=1") -> Evidence:
    """Return evidence of a job whose first run ended so, and whose second one was completed."""
    told = {"failed": "failed", "lost": "failed", "interrupted": "released"}[first]
    return changed(
        faults=[],
        events=history("enqueued 0", "claimed 1", f"{told} 1 {reason}", "claimed 2", "completed 2"),
        jobs={JOB: row(attempts=1 if told == "released" else 2, run_count=2)},
        runs=[run(1, first, 1 if first == "failed" else None, reason=reason), run(2)],
        witness={JOB: witness(*lines)},
    )


# Its engine is killed over the first run; and somebody kills that run's processes.
DEATH = Entry(at=101.1, what="kill_engine", runs=[(JOB, 1)])
KILL = Entry(at=101.15, what="kill_job", runs=[(JOB, 1)])

# What an operator asks of the job, or of the worker that has it.
CANCEL = Entry(at=101.2, what="cancel", ids=[JOB], until=101.3)
STOP = Entry(at=101.2, what="stop_worker_now", ids=["w1"], until=101.4)


def kinds(evidence: Evidence) -> set[Kind]:
    return {violation.kind for violation in check(evidence)}


def done(evidence: Evidence, *entries: Entry) -> Evidence:
    """Return the evidence with faults and acts."""
    acts = [entry for entry in entries if entry.ids]
    faults = [entry for entry in entries if not entry.ids]
    return msgspec.structs.replace(evidence, faults=faults, acts=acts)
