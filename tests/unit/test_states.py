import pytest

from queuectl.engine.domain.states import TERMINAL, TRANSITIONS, WAITING, JobState

LEGAL = {
    ("pending", "processing"),
    ("pending", "cancelled"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("processing", "dead"),
    ("processing", "cancelled"),
    ("processing", "pending"),
    ("failed", "processing"),
    ("failed", "pending"),
    ("failed", "cancelled"),
    ("dead", "pending"),
    ("cancelled", "pending"),
}


def reachable_from(start: JobState) -> set[JobState]:
    seen: set[JobState] = set()
    open_ends = [start]

    while open_ends:
        state = open_ends.pop()

        if state not in seen:
            seen.add(state)
            open_ends.extend(TRANSITIONS[state])

    return seen


def test_the_states_have_the_names_that_scripts_rely_on() -> None:
    names = [state.value for state in JobState]

    assert names == ["pending", "processing", "completed", "failed", "dead", "cancelled"]


def test_the_legal_moves_are_these_twelve() -> None:
    moves = {(old.value, new.value) for old, news in TRANSITIONS.items() for new in news}

    assert moves == LEGAL


def test_every_state_says_what_may_follow() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_a_completed_job_is_never_run_again() -> None:
    assert reachable_from(JobState.COMPLETED) == {JobState.COMPLETED}


@pytest.mark.parametrize("state", JobState)
def test_every_state_can_be_reached_by_a_new_job(state: JobState) -> None:
    assert state in reachable_from(JobState.PENDING)


@pytest.mark.parametrize("state", JobState)
def test_no_state_follows_itself(state: JobState) -> None:
    assert state not in TRANSITIONS[state]


@pytest.mark.parametrize("state", JobState)
def test_a_job_is_waiting_or_processing_or_finished(state: JobState) -> None:
    rooms = [state in WAITING, state is JobState.PROCESSING, state in TERMINAL]

    assert rooms.count(True) == 1


def test_only_waiting_jobs_can_be_claimed() -> None:
    claimable = {old for old, news in TRANSITIONS.items() if JobState.PROCESSING in news}

    assert claimable == WAITING


@pytest.mark.parametrize("result", [JobState.COMPLETED, JobState.FAILED, JobState.DEAD])
def test_only_a_run_has_a_result(result: JobState) -> None:
    sources = {old for old, news in TRANSITIONS.items() if result in news}

    assert sources == {JobState.PROCESSING}


def test_everything_that_is_not_finished_can_be_cancelled() -> None:
    cancellable = {old for old, news in TRANSITIONS.items() if JobState.CANCELLED in news}

    assert cancellable == set(JobState) - TERMINAL


def test_a_retry_by_hand_starts_at_pending() -> None:
    retried = {old: TRANSITIONS[old] for old in (JobState.DEAD, JobState.CANCELLED)}

    assert set(retried.values()) == {frozenset({JobState.PENDING})}
