from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from queuectl.engine.domain.backoff import Backoff
from queuectl.engine.domain.events import STATE_AFTER, EventKind
from queuectl.engine.domain.lifecycle import (
    CRASH_LIMIT,
    Outcome,
    Transition,
    cancelled_instead,
    decide,
)
from queuectl.engine.domain.models import Job, OnCrash, OutcomeKind
from queuectl.engine.domain.states import TERMINAL, TRANSITIONS, JobState
from tests.factories import NOW, make_job

BACKOFF = Backoff(base=2, longest=3600, jitter=0)
CHARGED = [
    OutcomeKind.FAILED,
    OutcomeKind.TIMED_OUT,
    OutcomeKind.LOST,
    OutcomeKind.SPAWN_FAILED,
]
# Ends that say that the job does not take its worker along every time.
ENDED_BY_ITSELF = [
    OutcomeKind.COMPLETED,
    OutcomeKind.FAILED,
    OutcomeKind.TIMED_OUT,
    OutcomeKind.SPAWN_FAILED,
]
LOST = Outcome(kind=OutcomeKind.LOST, reason="lost")


def claimed(
    *,
    attempts: int = 1,
    max_retries: int = 3,
    crashes: int = 0,
    interruptions: int = 0,
    on_crash: OnCrash = OnCrash.ADOPT,
) -> Job:
    return make_job(
        state=JobState.PROCESSING,
        attempts=attempts,
        run_count=attempts,
        crashes=crashes,
        interruptions=interruptions,
        on_crash=on_crash,
        max_retries=max_retries,
        run_at=NOW - timedelta(minutes=5),
        started_at=NOW - timedelta(seconds=5),
        worker="w1",
    )


def decided(job: Job, outcome: Outcome | OutcomeKind, *, luck: float = 0.0) -> Transition:
    if isinstance(outcome, OutcomeKind):
        outcome = Outcome(kind=outcome, reason="exit_code=1")

    return decide(job, outcome, backoff=BACKOFF, now=NOW, luck=luck)


@st.composite
def claimed_jobs(draw: st.DrawFn) -> Job:
    max_retries = draw(st.integers(0, 20) | st.just(1_000_000))
    attempts = draw(st.integers(1, min(max_retries, 1000) + 1))

    return claimed(
        attempts=attempts,
        max_retries=max_retries,
        crashes=draw(st.integers(0, CRASH_LIMIT + 1)),
        interruptions=draw(st.integers(0, 3)),
        on_crash=draw(st.sampled_from(OnCrash)),
    )


outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(OutcomeKind),
    exit_code=st.none() | st.integers(0, 255),
    reason=st.none() | st.text(max_size=10),
    pause=st.timedeltas(timedelta(), timedelta(hours=1)),
)
backoffs = st.builds(
    Backoff,
    base=st.floats(0, 1000),
    longest=st.floats(0, 315_360_000),
    jitter=st.floats(0, 1),
)
lucks = st.floats(0, 1)


def test_a_run_that_succeeds_completes_the_job() -> None:
    job = claimed(attempts=2)

    transition = decided(job, Outcome(kind=OutcomeKind.COMPLETED, exit_code=0))

    assert transition == Transition(
        state=JobState.COMPLETED,
        event=EventKind.COMPLETED,
        attempts=2,
        crashes=0,
        interruptions=0,
        run_at=job.run_at,
        reason=None,
    )


@pytest.mark.parametrize("kind", CHARGED)
def test_a_run_that_goes_wrong_is_retried_after_the_backoff(kind: OutcomeKind) -> None:
    job = claimed(attempts=2)

    transition = decided(job, Outcome(kind=kind, reason="why"))

    assert transition == Transition(
        state=JobState.FAILED,
        event=EventKind.FAILED,
        attempts=2,
        crashes=1 if kind is OutcomeKind.LOST else 0,
        interruptions=0,
        run_at=NOW + timedelta(seconds=4),
        reason="why",
    )


@pytest.mark.parametrize("kind", CHARGED)
def test_a_job_that_used_up_its_retries_is_dead(kind: OutcomeKind) -> None:
    job = claimed(attempts=4, max_retries=3)

    transition = decided(job, Outcome(kind=kind, reason="why"))

    assert transition == Transition(
        state=JobState.DEAD,
        event=EventKind.DIED,
        attempts=4,
        crashes=1 if kind is OutcomeKind.LOST else 0,
        interruptions=0,
        run_at=job.run_at,
        reason="why",
    )


@pytest.mark.parametrize("kind", CHARGED)
def test_a_job_without_retries_dies_of_its_first_failure(kind: OutcomeKind) -> None:
    job = claimed(attempts=1, max_retries=0)

    transition = decided(job, kind)

    assert transition.state is JobState.DEAD


def test_a_cancelled_job_keeps_the_reason_and_is_not_retried() -> None:
    job = claimed(attempts=1, max_retries=3, crashes=2, interruptions=1)

    transition = decided(job, Outcome(kind=OutcomeKind.CANCELLED, reason="not needed"))

    assert transition == Transition(
        state=JobState.CANCELLED,
        event=EventKind.CANCELLED,
        attempts=1,
        crashes=2,
        interruptions=1,
        run_at=job.run_at,
        reason="not needed",
    )


@pytest.mark.parametrize("kind", [*CHARGED, OutcomeKind.INTERRUPTED, OutcomeKind.CANCELLED])
@pytest.mark.parametrize("attempts", [1, 4])
def test_a_job_that_is_being_cancelled_never_runs_again(kind: OutcomeKind, attempts: int) -> None:
    # The worker may die, or the command fail by itself, before the cancellation is carried out.
    transition = decided(claimed(attempts=attempts, max_retries=3), kind)

    instead = cancelled_instead(transition, "not needed")

    assert (instead.state, instead.event) == (JobState.CANCELLED, EventKind.CANCELLED)
    assert (instead.attempts, instead.reason) == (transition.attempts, "not needed")
    assert (instead.crashes, instead.interruptions) == (
        transition.crashes,
        transition.interruptions,
    )


def test_a_job_cancelled_instead_of_retried_keeps_when_it_was_due() -> None:
    job = claimed()

    instead = cancelled_instead(decided(job, OutcomeKind.LOST), "not needed")

    assert instead.run_at == job.run_at


def test_a_job_that_completes_while_it_is_being_cancelled_has_completed() -> None:
    transition = decided(claimed(), Outcome(kind=OutcomeKind.COMPLETED, exit_code=0))

    assert cancelled_instead(transition, "not needed") == transition


def test_an_interrupted_run_is_given_back_counted_and_not_charged() -> None:
    job = claimed(attempts=3, crashes=2, interruptions=1)

    transition = decided(job, Outcome(kind=OutcomeKind.INTERRUPTED, reason="worker stopped"))

    assert transition == Transition(
        state=JobState.PENDING,
        event=EventKind.RELEASED,
        attempts=2,
        crashes=2,
        interruptions=2,
        run_at=NOW,
        reason="worker stopped",
    )


def test_an_interrupted_run_may_ask_for_a_pause() -> None:
    outcome = Outcome(kind=OutcomeKind.INTERRUPTED, pause=timedelta(seconds=30))

    transition = decided(claimed(), outcome)

    assert transition.run_at == NOW + timedelta(seconds=30)


@pytest.mark.parametrize("on_crash", [OnCrash.ADOPT, OnCrash.KILL])
def test_a_lost_run_is_charged_counted_and_retried_after_the_backoff(on_crash: OnCrash) -> None:
    job = claimed(attempts=2, crashes=CRASH_LIMIT - 2, interruptions=1, on_crash=on_crash)

    assert decided(job, LOST) == Transition(
        state=JobState.FAILED,
        event=EventKind.FAILED,
        attempts=2,
        crashes=CRASH_LIMIT - 1,
        interruptions=1,
        run_at=NOW + timedelta(seconds=4),
        reason="lost",
    )


@pytest.mark.parametrize("on_crash", [OnCrash.ADOPT, OnCrash.KILL])
def test_the_fifth_run_lost_in_a_row_is_the_last_whatever_retries_are_left(
    on_crash: OnCrash,
) -> None:
    job = claimed(attempts=5, max_retries=100, crashes=4, on_crash=on_crash)

    assert decided(job, LOST) == Transition(
        state=JobState.DEAD,
        event=EventKind.DIED,
        attempts=5,
        crashes=5,
        interruptions=0,
        run_at=job.run_at,
        reason="lost 5 times in a row",
    )


def test_a_job_that_dies_of_its_retries_first_does_not_speak_of_a_row() -> None:
    transition = decided(claimed(attempts=4, max_retries=3, crashes=3), LOST)

    assert (transition.state, transition.crashes) == (JobState.DEAD, 4)
    assert transition.reason == "lost"


def test_a_job_that_wants_no_second_run_after_a_crash_is_dead_at_once() -> None:
    job = claimed(attempts=1, max_retries=100, on_crash=OnCrash.DEAD)

    assert decided(job, LOST) == Transition(
        state=JobState.DEAD,
        event=EventKind.DIED,
        attempts=1,
        crashes=1,
        interruptions=0,
        run_at=job.run_at,
        reason="lost",
    )


@pytest.mark.parametrize("kind", [kind for kind in CHARGED if kind is not OutcomeKind.LOST])
def test_a_job_that_is_dead_after_a_crash_is_retried_after_any_other_failure(
    kind: OutcomeKind,
) -> None:
    transition = decided(claimed(on_crash=OnCrash.DEAD), kind)

    assert transition.state is JobState.FAILED


@pytest.mark.parametrize("kind", ENDED_BY_ITSELF)
def test_any_other_end_begins_the_row_anew(kind: OutcomeKind) -> None:
    assert decided(claimed(crashes=4), kind).crashes == 0


def test_a_crash_while_it_is_being_cancelled_stays_counted() -> None:
    instead = cancelled_instead(decided(claimed(crashes=4), LOST), "not needed")

    assert (instead.state, instead.crashes) == (JobState.CANCELLED, 5)


def test_the_wait_is_counted_from_the_end_of_the_run_and_holds_the_jitter() -> None:
    backoff = Backoff(base=2, longest=3600, jitter=0.1)
    outcome = Outcome(kind=OutcomeKind.FAILED, exit_code=1, reason="exit_code=1")

    transition = decide(claimed(attempts=3), outcome, backoff=backoff, now=NOW, luck=0.5)

    assert transition.run_at == NOW + timedelta(seconds=8.4)


@pytest.mark.parametrize("max_retries", [0, 1, 3, 10])
def test_a_command_that_always_fails_runs_once_more_than_its_retries(max_retries: int) -> None:
    runs = 0
    attempts = 0
    state = JobState.PENDING

    while state not in TERMINAL:
        runs += 1
        transition = decided(
            claimed(attempts=attempts + 1, max_retries=max_retries), OutcomeKind.FAILED
        )
        state, attempts = transition.state, transition.attempts

    assert (state, runs) == (JobState.DEAD, max_retries + 1)


@given(claimed_jobs(), outcomes, backoffs, lucks)
def test_every_outcome_is_a_legal_move_from_processing(
    job: Job, outcome: Outcome, backoff: Backoff, luck: float
) -> None:
    transition = decide(job, outcome, backoff=backoff, now=NOW, luck=luck)

    assert transition.state in TRANSITIONS[JobState.PROCESSING]
    assert transition.state is STATE_AFTER[transition.event]


@given(claimed_jobs(), outcomes, backoffs, lucks)
def test_the_runs_charged_stay_between_none_and_all(
    job: Job, outcome: Outcome, backoff: Backoff, luck: float
) -> None:
    transition = decide(job, outcome, backoff=backoff, now=NOW, luck=luck)

    assert 0 <= transition.attempts <= job.max_retries + 1


@given(claimed_jobs(), outcomes, backoffs, lucks)
def test_only_an_interruption_is_not_charged(
    job: Job, outcome: Outcome, backoff: Backoff, luck: float
) -> None:
    transition = decide(job, outcome, backoff=backoff, now=NOW, luck=luck)

    given_back = job.attempts - transition.attempts
    assert given_back == (1 if outcome.kind is OutcomeKind.INTERRUPTED else 0)


@given(claimed_jobs(), outcomes, backoffs, lucks)
def test_only_a_lost_run_makes_the_row_longer_and_only_what_ended_by_itself_ends_it(
    job: Job, outcome: Outcome, backoff: Backoff, luck: float
) -> None:
    transition = decide(job, outcome, backoff=backoff, now=NOW, luck=luck)

    if outcome.kind is OutcomeKind.LOST:
        assert transition.crashes == job.crashes + 1
    elif outcome.kind in ENDED_BY_ITSELF:
        assert transition.crashes == 0
    else:
        assert transition.crashes == job.crashes


@given(claimed_jobs(), outcomes, backoffs, lucks)
def test_only_an_interruption_is_counted_as_one(
    job: Job, outcome: Outcome, backoff: Backoff, luck: float
) -> None:
    transition = decide(job, outcome, backoff=backoff, now=NOW, luck=luck)

    more = transition.interruptions - job.interruptions
    assert more == (1 if outcome.kind is OutcomeKind.INTERRUPTED else 0)


@given(claimed_jobs(), backoffs, lucks)
def test_a_lost_job_runs_again_only_where_it_may_has_retries_and_no_long_row(
    job: Job, backoff: Backoff, luck: float
) -> None:
    transition = decide(job, LOST, backoff=backoff, now=NOW, luck=luck)

    runs_again = (
        job.on_crash is not OnCrash.DEAD
        and job.crashes + 1 < CRASH_LIMIT
        and job.attempts <= job.max_retries
    )
    assert transition.state is (JobState.FAILED if runs_again else JobState.DEAD)


@given(claimed_jobs(), outcomes, backoffs, lucks)
def test_a_job_that_will_run_again_has_a_run_left(
    job: Job, outcome: Outcome, backoff: Backoff, luck: float
) -> None:
    transition = decide(job, outcome, backoff=backoff, now=NOW, luck=luck)

    assert transition.state in TERMINAL or transition.attempts <= job.max_retries


@given(claimed_jobs(), outcomes, backoffs, lucks)
def test_nothing_is_due_again_before_the_run_ended(
    job: Job, outcome: Outcome, backoff: Backoff, luck: float
) -> None:
    transition = decide(job, outcome, backoff=backoff, now=NOW, luck=luck)

    assert transition.state in TERMINAL or transition.run_at >= NOW


@given(st.integers(0, 10), st.lists(st.sampled_from(OutcomeKind), max_size=60))
def test_no_sequence_of_ends_charges_more_runs_than_allowed(
    max_retries: int, kinds: list[OutcomeKind]
) -> None:
    attempts = 0
    failures = 0

    for kind in kinds:
        transition = decided(claimed(attempts=attempts + 1, max_retries=max_retries), kind)
        attempts = transition.attempts
        failures += kind in CHARGED

        if transition.state in TERMINAL:
            break

    assert attempts <= max_retries + 1
    assert failures <= max_retries + 1


@given(st.lists(st.sampled_from(OutcomeKind), max_size=60))
def test_no_sequence_of_ends_loses_more_runs_in_a_row_than_the_limit(
    kinds: list[OutcomeKind],
) -> None:
    attempts = crashes = in_a_row = 0

    for kind in kinds:
        job = claimed(attempts=attempts + 1, max_retries=1000, crashes=crashes)
        transition = decided(job, kind)
        attempts, crashes = transition.attempts, transition.crashes
        in_a_row = in_a_row + 1 if kind is OutcomeKind.LOST else in_a_row
        in_a_row = 0 if kind in ENDED_BY_ITSELF else in_a_row
        assert in_a_row == crashes <= CRASH_LIMIT

        if transition.state in TERMINAL:
            break

        assert crashes < CRASH_LIMIT


@given(claimed_jobs(), outcomes)
def test_a_cancellation_is_a_legal_end_of_every_run(job: Job, outcome: Outcome) -> None:
    instead = cancelled_instead(decided(job, outcome), "not needed")

    assert instead.state in {JobState.COMPLETED, JobState.CANCELLED}
    assert instead.state is STATE_AFTER[instead.event]
