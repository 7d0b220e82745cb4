import pytest

from queuectl.engine.domain.events import STATE_AFTER, EventKind
from queuectl.engine.domain.states import TRANSITIONS, JobState
from tests.factories import make_event

# The states that a job can be in before each event; the first has none before it.
BEFORE = {
    EventKind.ENQUEUED: set[JobState](),
    EventKind.CLAIMED: {JobState.PENDING, JobState.FAILED},
    EventKind.COMPLETED: {JobState.PROCESSING},
    EventKind.FAILED: {JobState.PROCESSING},
    EventKind.DIED: {JobState.PROCESSING},
    EventKind.CANCELLED: {JobState.PENDING, JobState.FAILED, JobState.PROCESSING},
    EventKind.RELEASED: {JobState.PROCESSING},
    EventKind.RETRIED: {JobState.FAILED, JobState.DEAD, JobState.CANCELLED},
    EventKind.ADOPTED: {JobState.PROCESSING},
    EventKind.STUCK: {JobState.PROCESSING},
}
# They tell of a run whose job stays where it is.
STAYING = {EventKind.ADOPTED, EventKind.STUCK}


def test_the_kinds_have_the_names_that_scripts_rely_on() -> None:
    names = [kind.value for kind in EventKind]

    assert names == [
        "enqueued",
        "claimed",
        "completed",
        "failed",
        "died",
        "cancelled",
        "released",
        "retried",
        "adopted",
        "stuck",
    ]


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (EventKind.ENQUEUED, JobState.PENDING),
        (EventKind.CLAIMED, JobState.PROCESSING),
        (EventKind.COMPLETED, JobState.COMPLETED),
        (EventKind.FAILED, JobState.FAILED),
        (EventKind.DIED, JobState.DEAD),
        (EventKind.CANCELLED, JobState.CANCELLED),
        (EventKind.RELEASED, JobState.PENDING),
        (EventKind.RETRIED, JobState.PENDING),
        (EventKind.ADOPTED, JobState.PROCESSING),
        (EventKind.STUCK, JobState.PROCESSING),
    ],
)
def test_an_event_says_the_state_that_follows(kind: EventKind, state: JobState) -> None:
    assert make_event(kind=kind).state is state


def test_every_kind_leads_to_a_state() -> None:
    assert set(STATE_AFTER) == set(EventKind)


def test_every_legal_move_has_an_event_and_every_event_is_legal() -> None:
    moves = {
        (old, STATE_AFTER[kind])
        for kind, olds in BEFORE.items()
        for old in olds
        if kind not in STAYING
    }

    assert moves == {(old, new) for old, news in TRANSITIONS.items() for new in news}


@pytest.mark.parametrize("kind", sorted(STAYING))
def test_what_is_told_of_a_run_leaves_its_job_in_its_state(kind: EventKind) -> None:
    assert BEFORE[kind] == {STATE_AFTER[kind]}


def test_an_event_does_not_change() -> None:
    event = make_event()

    with pytest.raises(AttributeError):
        event.seq = 2  # type: ignore[misc]
