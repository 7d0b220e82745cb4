"""The checker finds every kind of violation in evidence that is made by hand."""

import msgspec
import pytest

from tests.chaos.checker import Kind, check
from tests.chaos.evidence import End, Evidence
from tests.chaos.logbook import Entry
from tests.chaos.made_evidence import (
    CANCEL,
    CLEAN,
    DEATH,
    JOB,
    changed,
    history,
    kinds,
    retried,
    row,
    run,
    witness,
)


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
        ["enqueued 0", "claimed 1", "completed 1", "claimed 2"],
        ["enqueued 0", "claimed 1", "died 1", "cancelled 1"],
        ["enqueued 0", "claimed 1", "died 1", "adopted 1"],
        ["enqueued 0", "claimed 1", "failed 1", "adopted 1"],
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
    evidence.faults.append(DEATH)

    assert kinds(evidence) == {Kind.ILLEGAL}


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


@pytest.mark.parametrize("late", ["T 1 102.2", "E 1 102.2 0"])
def test_a_run_that_lives_after_it_was_recorded_outlives(late: str) -> None:
    evidence = changed(
        events=history("enqueued 0", "claimed 1", "cancelled 1"),
        jobs={JOB: row("cancelled", 1, 1)},
        runs=[run(1, "cancelled", None)],
        witness={JOB: witness("S 1 101.0", late)},
        acts=[CANCEL],
    )

    assert kinds(evidence) == {Kind.OUTLIVING}


def test_a_number_that_was_given_back_and_cancelled_may_be_run_when_it_is_retried() -> None:
    steps = ["claimed 1", "released 1", "cancelled 1", "retried 0", "claimed 1", "completed 1"]
    evidence = changed(
        events=history("enqueued 0", *steps),
        witness={JOB: witness("S 1 105.0", "E 1 106.0 0")},
        acts=[CANCEL, msgspec.structs.replace(CANCEL, what="retry")],
    )

    assert check(evidence) == []


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
        acts=[CANCEL],
    )

    assert check(evidence) == []
