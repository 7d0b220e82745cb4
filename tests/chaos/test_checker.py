"""The checker finds every kind of violation in evidence that is made by hand."""

from typing import Any

import msgspec
import pytest

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


def kinds(evidence: Evidence) -> set[Kind]:
    return {violation.kind for violation in check(evidence)}


def test_clean_evidence_is_clean() -> None:
    assert check(CLEAN) == []


def test_a_retried_job_is_clean() -> None:
    evidence = retried("S 1 101.0", "E 1 101.1 1", "S 2 103.0", "E 2 103.1 0")

    assert check(evidence) == []


def test_an_acknowledged_job_that_is_not_there_is_lost() -> None:
    assert kinds(changed(jobs={}, events=[], runs=[], witness={})) == {Kind.LOST}


def test_a_job_that_nobody_heard_of_may_be_missing() -> None:
    evidence = changed(client=CLEAN.client[:1], jobs={}, events=[], runs=[], witness={})

    assert check(evidence) == []


def test_a_job_that_does_not_end_is_unfinished() -> None:
    evidence = changed(
        events=history("enqueued 0"), jobs={JOB: row("pending", 0, 0)}, runs=[], witness={}
    )

    assert kinds(evidence) == {Kind.UNFINISHED}


def test_a_job_that_nobody_enqueued_is_unexpected() -> None:
    assert kinds(changed(client=[])) == {Kind.UNEXPECTED}


def test_a_job_that_ran_and_is_not_there_is_unexpected() -> None:
    evidence = changed(
        client=CLEAN.client[:1], jobs={}, events=[], runs=[], witness={"j2": witness("S 1 1.0")}
    )

    assert kinds(evidence) == {Kind.UNEXPECTED}


def test_a_job_that_is_completed_twice_is_duplicated() -> None:
    events = history("enqueued 0", "claimed 1", "completed 1", "completed 1")

    assert kinds(changed(events=events)) == {Kind.DUPLICATED, Kind.ILLEGAL}


@pytest.mark.parametrize("late", ["T 1 103.1", "E 1 103.1 1", "D 1 103.1"])
def test_a_run_that_lives_when_the_next_has_started_overlaps(late: str) -> None:
    evidence = retried("S 1 101.0", "S 2 103.0", late, "E 2 103.2 0", first="lost", reason="lost")

    assert Kind.OVERLAPPING in kinds(evidence)


def test_what_escaped_from_a_run_that_ended_by_itself_does_not_overlap() -> None:
    evidence = retried("S 1 101.0", "E 1 101.1 1", "S 2 103.0", "D 1 103.1", "E 2 103.2 0")

    assert check(evidence) == []


def test_a_run_of_one_number_starts_once() -> None:
    lines = witness("S 1 101.0", "S 1 101.1", "E 1 102.0 0")

    assert kinds(changed(witness={JOB: lines})) == {Kind.STARTED_TWICE}


@pytest.mark.parametrize(
    "steps",
    [
        ["claimed 1", "completed 1"],
        ["enqueued 0", "completed 1"],
        ["enqueued 0", "claimed 2", "completed 2"],
        ["enqueued 0", "claimed 1", "claimed 2", "completed 2"],
        ["enqueued 0", "claimed 1", "failed 1", "claimed 3", "completed 3"],
        ["enqueued 0", "claimed 1", "failed 1", "claimed 2", "completed 1"],
        ["enqueued 0", "claimed 1", "failed 1", "claimed 2", "failed 1"],
        ["enqueued 0", "claimed 1", "completed 1", "retried 1"],
        ["enqueued 0", "claimed 1", "adopted 2", "completed 1"],
        ["enqueued 0", "adopted 0"],
        ["enqueued 0", "claimed 1", "failed 1", "stuck 1"],
        ["enqueued 0", "claimed 1", "released 1", "claimed 2", "completed 2"],
        ["enqueued 0", "claimed 1", "released 1 interrupted", "claimed 1", "completed 1"],
        ["enqueued 0", "claimed 1", "cancelled 2"],
        ["enqueued 0", "vanished 0"],
    ],
    ids=" ".join,
)
def test_a_history_that_cannot_be_is_illegal(steps: list[str]) -> None:
    found = check(changed(events=history(*steps)))

    assert Kind.ILLEGAL in {violation.kind for violation in found}
    # Not only because it does not lead to the row.
    assert any("event" in violation.words and "row" not in violation.words for violation in found)


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        (["claimed 1", "adopted 1", "completed 1"], ("completed", 1, 1)),
        (["claimed 1", "stuck 1", "adopted 1", "failed 1", "cancelled 1"], ("cancelled", 1, 1)),
        (["claimed 1", "released 1", "claimed 1", "completed 1"], ("completed", 1, 1)),
        (["claimed 1", "released 1 interrupted", "claimed 2", "died 2"], ("dead", 1, 2)),
        (["claimed 1", "released 1", "cancelled 1"], ("cancelled", 0, 0)),
        (["claimed 1", "cancelled 1"], ("cancelled", 0, 1)),
        (["claimed 1", "died 1", "retried 1", "claimed 2", "completed 2"], ("completed", 1, 2)),
        (["cancelled 0", "retried 0", "claimed 1", "completed 1"], ("completed", 1, 1)),
    ],
    ids=str,
)
def test_a_history_that_can_be_is_legal(steps: list[str], last: tuple[str, int, int]) -> None:
    found = check(changed(events=history("enqueued 0", *steps), jobs={JOB: row(*last)}))

    assert Kind.ILLEGAL not in {violation.kind for violation in found}


def test_a_row_that_its_events_do_not_lead_to_is_illegal() -> None:
    assert Kind.ILLEGAL in kinds(changed(jobs={JOB: row(attempts=2, run_count=2)}))
    assert Kind.ILLEGAL in kinds(changed(jobs={JOB: row("dead")}))


def test_a_row_without_events_is_illegal() -> None:
    assert Kind.ILLEGAL in kinds(changed(events=[]))


def test_more_starts_than_retries_allow_are_illegal() -> None:
    events = history("enqueued 0", "claimed 1", "failed 1", "claimed 2", "completed 2")
    evidence = changed(events=events, jobs={JOB: row(attempts=2, run_count=2, max_retries=0)})

    assert "is start 2 of 1" in " ".join(violation.words for violation in check(evidence))


@pytest.mark.parametrize("reason", ["lost", "worker died"])
def test_a_job_that_goes_on_after_five_losses_in_a_row_is_illegal(reason: str) -> None:
    steps = ["enqueued 0"]

    for number in range(1, 6):
        steps += [f"claimed {number}", f"failed {number} {reason}"]

    evidence = changed(
        events=history(*steps), jobs={JOB: row("failed", 5, 5, max_retries=9)}, runs=[]
    )
    assert "goes on after 5 runs lost" in " ".join(found.words for found in check(evidence))


def test_a_job_that_dies_of_losses_before_the_fifth_is_illegal() -> None:
    steps = ["enqueued 0", "claimed 1", "died 1 lost 5 times in a row"]
    evidence = changed(events=history(*steps), jobs={JOB: row("dead")})

    assert "was lost 1 times in a row" in " ".join(found.words for found in check(evidence))


def test_a_job_that_a_crash_was_to_end_does_not_go_on() -> None:
    evidence = retried("S 1 101.0", "S 2 103.0", "E 2 103.1 0", first="lost", reason="worker died")
    evidence.jobs[JOB] = row(attempts=2, run_count=2, on_crash="dead")

    assert kinds(evidence) == {Kind.ILLEGAL}


LOST_RUN = ("S 1 101.0", "E 1 101.1 0", "S 2 103.0", "E 2 103.1 0")


def test_a_run_that_ended_and_is_recorded_as_lost_is_a_lost_result() -> None:
    assert kinds(retried(*LOST_RUN, first="lost", reason="lost")) == {
        Kind.RESULT_LOST,
        Kind.RUN_LOST,
    }


def test_a_run_that_ended_and_is_not_recorded_is_a_lost_result() -> None:
    assert Kind.RESULT_LOST in kinds(changed(runs=[]))


def test_a_run_that_ended_with_another_code_is_a_lost_result() -> None:
    lines = witness("S 1 101.0", "E 1 102.0 7")

    assert Kind.RESULT_LOST in kinds(changed(witness={JOB: lines}))


def test_a_run_whose_processes_were_killed_may_be_lost_after_its_end() -> None:
    killed = Entry(at=101.1, what="kill_job", runs=[(JOB, 1)])
    evidence = retried(*LOST_RUN, first="lost", reason="lost")

    assert check(msgspec.structs.replace(evidence, faults=[killed])) == []


def test_a_run_that_was_told_to_end_may_come_to_its_end() -> None:
    assert check(retried(*LOST_RUN, first="interrupted", reason="interrupted")) == []


def test_a_completed_run_that_did_not_come_to_its_end_is_unproved() -> None:
    assert kinds(changed(witness={JOB: witness("S 1 101.0")})) == {Kind.UNPROVED}


def outlasting(faults: list[Entry], seconds: float = 6.0) -> Evidence:
    """Return evidence of a run with a timeout of one second that lived longer."""
    lines = witness("S 1 101.0", f"E 1 {101.0 + seconds} 0")
    *events, last = history("enqueued 0", "claimed 1", "adopted 1", "completed 1")
    events.append(msgspec.structs.replace(last, at=101.0 + seconds))
    return changed(witness={JOB: lines}, faults=faults, events=events)


def test_a_run_that_outlasts_its_timeout_is_too_long() -> None:
    assert kinds(outlasting([])) == {Kind.TOO_LONG}


def test_a_run_within_timeout_grace_and_lenience_is_not_too_long() -> None:
    assert check(outlasting([], seconds=3.29)) == []


def test_a_run_that_outlasts_its_timeout_by_the_time_of_a_fault_is_not_too_long() -> None:
    stops = [
        Entry(at=102.0, what="stop_engine", until=104.0),
        Entry(at=103.0, what="lock_database", until=105.0),
    ]

    assert check(outlasting(stops)) == []


def test_a_run_is_excused_until_somebody_sees_to_it_and_no_longer() -> None:
    killed = Entry(at=101.0, what="kill_engine", runs=[(JOB, 1)])

    assert check(outlasting([killed], seconds=4.2)) == []
    assert kinds(outlasting([killed], seconds=4.4)) == {Kind.TOO_LONG}


def test_two_faults_at_once_excuse_only_once() -> None:
    stop = Entry(at=102.0, what="stop_engine", until=103.5)

    assert kinds(outlasting([stop, stop])) == {Kind.TOO_LONG}


def test_a_run_that_nobody_killed_is_not_lost() -> None:
    evidence = retried("S 1 101.0", "S 2 103.0", "E 2 103.1 0", first="lost", reason="lost")

    assert kinds(evidence) == {Kind.RUN_LOST}


def test_a_run_whose_engine_was_about_to_end_it_may_be_lost() -> None:
    lines = ("S 1 101.0", "T 1 101.9", "S 2 103.0", "E 2 103.1 0")
    evidence = retried(*lines, first="lost", reason="lost")
    told = Entry(at=101.2, what="stop_worker_now", until=101.4)
    hasty = retried("S 1 101.0", *lines[2:], first="lost", reason="lost")

    assert check(evidence) == []
    assert kinds(hasty) == {Kind.RUN_LOST}
    assert check(msgspec.structs.replace(hasty, acts=[told])) == []


def test_a_cancelled_run_may_be_lost() -> None:
    evidence = changed(
        events=history("enqueued 0", "claimed 1", "cancelled 1"),
        jobs={JOB: row("cancelled", 1, 1)},
        runs=[run(1, "lost", None, reason="lost")],
        witness={JOB: witness("S 1 101.0")},
    )

    assert check(evidence) == []


@pytest.mark.parametrize("hand", ["its own", "the nemesis"])
def test_a_run_that_was_killed_may_be_lost(hand: str) -> None:
    last = "K 1 101.1" if hand == "its own" else "T 1 101.1"
    evidence = retried("S 1 101.0", last, "S 2 103.0", "E 2 103.1 0", first="lost", reason="lost")

    if hand == "the nemesis":
        evidence.faults.append(Entry(at=101.2, what="kill_job", runs=[(JOB, 1)]))

    assert check(evidence) == []


@pytest.mark.parametrize("late", ["T 1 102.2", "E 1 102.2 0"])
def test_a_run_that_lives_after_it_was_recorded_outlives(late: str) -> None:
    evidence = changed(
        events=history("enqueued 0", "claimed 1", "cancelled 1"),
        jobs={JOB: row("cancelled", 1, 1)},
        runs=[run(1, "cancelled", None)],
        witness={JOB: witness("S 1 101.0", late)},
    )

    assert kinds(evidence) == {Kind.OUTLIVING}


def test_what_escaped_from_a_run_that_ended_by_itself_does_not_outlive() -> None:
    lines = witness("S 1 101.0", "E 1 101.5 0", "D 1 104.0")

    assert check(changed(witness={JOB: lines})) == []


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("strangers", Kind.STRANGER_HARMED),
        ("left", Kind.LEFT_BEHIND),
        ("zombies", Kind.LEFT_BEHIND),
        ("locks", Kind.LEFT_BEHIND),
        ("folders", Kind.LEFT_BEHIND),
        ("problems", Kind.UNSOUND),
        ("copies", Kind.UNSOUND_COPY),
        ("engine_failures", Kind.ENGINE_FAILED),
        ("helper_failures", Kind.HELPER_FAILED),
    ],
)
def test_what_is_found_at_the_end_is_told(what: str, kind: Kind) -> None:
    [found] = check(changed(end=End(**{what: ["something"]})))

    assert found.kind is kind
    assert "something" in found.words


def test_a_job_that_is_cancelled_when_its_run_is_over_has_no_run_that_outlives() -> None:
    """The cancellation waited for the database, and has the time at which it was asked for."""
    events = history("enqueued 0", "claimed 1", "failed 1 exit_code=1", "cancelled 1")
    evidence = changed(
        events=[*events[:-1], msgspec.structs.replace(events[-1], at=101.5)],
        jobs={JOB: row("cancelled", 1, 1)},
        runs=[run(1, "failed", 1, reason="exit_code=1")],
        witness={JOB: witness("S 1 101.0", "T 1 101.8", "E 1 101.9 1")},
    )

    assert check(evidence) == []
