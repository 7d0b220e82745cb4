"""The checker wants a cause for every outcome, and tells of each that has none."""

from typing import Any

import msgspec
import pytest

from tests.chaos.checker import Kind, check
from tests.chaos.evidence import Evidence
from tests.chaos.logbook import Entry
from tests.chaos.made_evidence import (
    CANCEL,
    DEATH,
    JOB,
    KILL,
    STOP,
    changed,
    done,
    history,
    kinds,
    retried,
    row,
    run,
    witness,
)

LOST_RUN = ("S 1 101.0", "E 1 101.1 0", "S 2 103.0", "E 2 103.1 0")


def test_a_run_that_ended_and_is_recorded_as_lost_is_a_lost_result() -> None:
    evidence = retried(*LOST_RUN, first="lost", reason="lost")
    evidence.jobs[JOB] = row(attempts=2, run_count=2, timeout=60.0)

    assert kinds(evidence) == {
        Kind.RESULT_LOST,
        Kind.RUN_LOST,
        Kind.REPEATED,
    }


def test_a_run_that_ended_and_is_not_recorded_is_a_lost_result() -> None:
    assert Kind.RESULT_LOST in kinds(changed(runs=[]))


def test_a_run_that_ended_with_another_code_is_a_lost_result() -> None:
    lines = witness("S 1 101.0", "E 1 102.0 7")

    assert Kind.RESULT_LOST in kinds(changed(witness={JOB: lines}))


def test_a_run_that_was_killed_at_its_last_line_may_be_lost() -> None:
    evidence = retried(*LOST_RUN, first="lost", reason="lost")

    assert check(done(evidence, DEATH, KILL)) == []


def test_a_run_that_was_killed_long_after_its_last_line_is_a_lost_result() -> None:
    evidence = retried("S 1 99.0", "E 1 99.5 0", *LOST_RUN[2:], first="lost", reason="lost")

    assert kinds(done(evidence, DEATH, KILL)) == {Kind.RESULT_LOST, Kind.REPEATED}


def test_a_run_that_was_told_to_end_may_come_to_its_last_line() -> None:
    evidence = retried(*LOST_RUN, first="interrupted", reason="interrupted")
    evidence.runs[0] = run(1, "interrupted", None, reason="interrupted", worker="w1")

    assert check(done(evidence, STOP)) == []


def test_a_completed_run_that_did_not_come_to_its_end_is_unproved() -> None:
    assert kinds(changed(witness={JOB: witness("S 1 101.0")})) == {Kind.UNPROVED}


def ended_so(outcome: str, last: str, *lines: str, **more: Any) -> Evidence:
    """Return evidence of a job whose only run ended so, at second 102, with this last event."""
    state = {"failed": "failed", "died": "dead", "cancelled": "cancelled", "released": "pending"}
    reason = more.get("reason")
    words = f"{last} 1 {reason}" if reason else f"{last} 1"
    return changed(
        events=history("enqueued 0", "claimed 1", words),
        jobs={JOB: row(state[last], attempts=0 if last == "released" else 1)},
        runs=[msgspec.structs.replace(run(1, outcome, None, worker="w1"), **more)],
        witness={JOB: witness("S 1 101.0", *lines)},
    )


TIMED_OUT = ended_so("timed_out", "died", reason="timeout")
CANCELLED = ended_so("cancelled", "cancelled", reason="not wanted")
INTERRUPTED = ended_so("interrupted", "released", reason="interrupted")
LOST = ended_so("lost", "died", reason="lost")
SIGNALLED = ended_so("failed", "died", signal="SIGKILL", reason="signal=SIGKILL")
CODE_137 = ended_so("failed", "died", exit_code=137, reason="exit_code=137")
OVER_LIMIT = ended_so("failed", "died", signal="SIGTERM", reason="output_limit=9")
UNCAUSED = {Kind.UNCAUSED, Kind.RUN_LOST}


@pytest.mark.parametrize(
    ("evidence", "entries"),
    [
        (TIMED_OUT, []),
        (CANCELLED, [CANCEL]),
        (INTERRUPTED, [STOP]),
        (LOST, [DEATH, KILL]),
        (SIGNALLED, [KILL]),
        (CODE_137, [KILL]),
        (msgspec.structs.replace(OVER_LIMIT, limits={JOB: 9}), []),
    ],
    ids=["timed out", "cancelled", "interrupted", "lost", "signalled", "137", "over limit"],
)
def test_an_outcome_with_a_cause_is_right(evidence: Evidence, entries: list[Entry]) -> None:
    evidence = done(evidence, *entries)

    assert Kind.UNCAUSED not in kinds(evidence)
    assert Kind.RUN_LOST not in kinds(evidence)


@pytest.mark.parametrize(
    ("evidence", "entries"),
    [
        (changed(runs=TIMED_OUT.runs, witness={JOB: witness("S 1 102.9")}), []),
        (changed(runs=TIMED_OUT.runs, jobs={JOB: row(timeout=None)}), []),
        (CANCELLED, []),
        (CANCELLED, [msgspec.structs.replace(CANCEL, words="refused: it is over")]),
        (CANCELLED, [msgspec.structs.replace(CANCEL, ids=["j2"])]),
        (CANCELLED, [msgspec.structs.replace(CANCEL, at=100.0, until=100.1)]),
        (INTERRUPTED, []),
        (INTERRUPTED, [msgspec.structs.replace(STOP, ids=["w2"])]),
        (INTERRUPTED, [msgspec.structs.replace(STOP, at=103.0)]),
        (LOST, [DEATH]),
        (LOST, [KILL]),
        (SIGNALLED, [DEATH]),
        (CODE_137, []),
        (ended_so("failed", "died", exit_code=255, reason="exit_code=255"), [KILL]),
        (ended_so("failed", "died", "E 1 101.5 3", exit_code=4, reason="exit_code=4"), []),
        (OVER_LIMIT, []),
        (msgspec.structs.replace(OVER_LIMIT, limits={JOB: 10}), []),
        (ended_so("spawn_failed", "died", reason="could not start"), []),
    ],
    ids=str,
)
def test_an_outcome_without_a_cause_is_told_of(evidence: Evidence, entries: list[Entry]) -> None:
    assert kinds(done(evidence, *entries)) & UNCAUSED


def test_an_act_that_nobody_was_answered_may_be_done_late() -> None:
    asked = msgspec.structs.replace(CANCEL, at=99.0, until=None)

    assert check(done(CANCELLED, asked)) == []


def test_the_stop_of_a_worker_that_had_the_run_before_may_have_ended_it() -> None:
    moved = history("enqueued 0", "claimed 1", "adopted 1 w2 from w1", "released 1 interrupted")
    evidence = changed(
        events=moved,
        jobs=INTERRUPTED.jobs,
        runs=[run(1, "interrupted", None, reason="interrupted", worker="w2")],
        witness=INTERRUPTED.witness,
    )

    assert Kind.UNCAUSED not in kinds(done(evidence, STOP))


@pytest.mark.parametrize(
    ("on_crash", "stopped_at", "found"),
    [("adopt", 101.8, set()), ("dead", 101.8, {Kind.UNCAUSED}), ("dead", 101.05, set())],
)
def test_the_stop_of_an_adopter_ends_no_run_that_was_not_to_be_adopted(
    on_crash: str, stopped_at: float, found: set[Kind]
) -> None:
    evidence = msgspec.structs.replace(
        INTERRUPTED, jobs={JOB: row("pending", attempts=0, on_crash=on_crash)}
    )
    stop = msgspec.structs.replace(STOP, at=stopped_at)

    assert kinds(done(evidence, DEATH, stop)) & {Kind.UNCAUSED} == found


def test_a_run_that_never_began_may_be_given_back_without_a_cause() -> None:
    evidence = msgspec.structs.replace(INTERRUPTED, witness={})

    assert Kind.UNCAUSED not in kinds(evidence)


def test_a_run_that_ended_before_its_time_was_up_is_a_lost_result() -> None:
    early = ended_so("timed_out", "died", "E 1 101.2 0", reason="timeout")
    early.jobs[JOB] = row("dead", timeout=3.0)

    assert kinds(early) == {Kind.RESULT_LOST, Kind.UNCAUSED}


@pytest.mark.parametrize("what", ["cancelled", "retried"])
def test_what_is_done_oftener_than_it_was_asked_for_is_uncaused(what: str) -> None:
    once = [f"{what} 0"] if what == "cancelled" else ["cancelled 0", "retried 0"]
    twice = ["cancelled 0", "retried 0", "cancelled 0"]
    twice += [] if what == "cancelled" else ["retried 0"]
    acts = [CANCEL, msgspec.structs.replace(CANCEL, what="retry")]
    acts += [act for act in acts if act.what != {"cancelled": "cancel", "retried": "retry"}[what]]

    def evidence(steps: list[str]) -> Evidence:
        return done(changed(events=history("enqueued 0", *steps)), *acts)

    assert Kind.UNCAUSED not in kinds(evidence(once))
    assert Kind.UNCAUSED in kinds(evidence(twice))


def test_an_end_that_waited_for_the_database_may_become_a_cancellation_meanwhile() -> None:
    late = msgspec.structs.replace(CANCEL, at=106.0, until=106.1)
    held = Entry(at=101.5, what="lock_database", until=106.0)
    evidence = changed(
        events=history("enqueued 0", "claimed 1", "cancelled 1"),
        jobs={JOB: row("cancelled")},
        runs=[run(1, "failed", 1, reason="exit_code=1")],
        witness={JOB: witness("S 1 101.0", "E 1 101.1 1")},
    )

    assert check(done(evidence, late, held)) == []
    assert kinds(done(evidence, late)) == {Kind.UNCAUSED}


def test_a_job_that_succeeds_twice_is_told_of_whatever_is_recorded() -> None:
    evidence = retried(*LOST_RUN, first="interrupted", reason="its worker died before it began")
    evidence.jobs[JOB] = row(attempts=1, run_count=2, timeout=60.0)

    assert kinds(done(evidence, DEATH)) == {Kind.RESULT_LOST, Kind.UNCAUSED, Kind.REPEATED}


def test_a_run_that_nobody_killed_is_not_lost() -> None:
    evidence = retried("S 1 101.0", "S 2 103.0", "E 2 103.1 0", first="lost", reason="lost")

    assert kinds(done(evidence, DEATH)) == {Kind.RUN_LOST}


@pytest.mark.parametrize("hand", ["its own", "the nemesis"])
def test_a_run_that_was_killed_may_be_lost_with_its_engine(hand: str) -> None:
    last = "K 1 101.1" if hand == "its own" else "T 1 101.1"
    evidence = retried("S 1 101.0", last, "S 2 103.0", "E 2 103.1 0", first="lost", reason="lost")
    kill = [KILL] if hand == "the nemesis" else []

    assert check(done(evidence, DEATH, *kill)) == []
    assert kinds(done(evidence, *kill)) == {Kind.RUN_LOST}


def test_a_run_that_was_not_to_be_adopted_may_be_lost_with_its_engine() -> None:
    lines = ("S 1 101.0", "S 2 103.0", "E 2 103.1 0")
    evidence = retried(*lines, first="lost", reason="worker died")
    evidence.jobs[JOB] = row(attempts=2, run_count=2, on_crash="kill")

    assert check(done(evidence, DEATH)) == []
    assert kinds(evidence) == {Kind.RUN_LOST}


def test_a_run_that_was_over_when_it_was_found_is_not_lost_with_its_engine() -> None:
    lines = ("S 1 100.1", "E 1 100.2 0", "S 2 103.0", "E 2 103.1 0")
    evidence = retried(*lines, first="lost", reason="worker died")
    evidence.jobs[JOB] = row(attempts=2, run_count=2, on_crash="kill")

    assert kinds(done(evidence, DEATH)) == {Kind.RESULT_LOST, Kind.REPEATED}
