from datetime import timedelta

import pytest
import rich.pretty

from queuectl.engine.domain.models import OutcomeKind, WorkerState
from queuectl.engine.domain.states import JobState
from tests.factories import NOW, make_attempt, make_job, make_new_job, make_spec, make_worker

ENV = {"API_TOKEN": "hunter2"}


@pytest.mark.parametrize(
    ("state", "is_finished"),
    [
        (JobState.PENDING, False),
        (JobState.PROCESSING, False),
        (JobState.FAILED, False),
        (JobState.COMPLETED, True),
        (JobState.DEAD, True),
        (JobState.CANCELLED, True),
    ],
)
def test_a_job_is_finished_when_only_a_hand_moves_it_on(
    state: JobState, *, is_finished: bool
) -> None:
    assert make_job(state=state).is_finished is is_finished


def test_a_job_shows_itself_in_one_short_line() -> None:
    job = make_job(id="job1", command="echo hi", state=JobState.DEAD)

    assert repr(job) == "Job(id='job1', state='dead', command='echo hi')"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(make_job(env=ENV), id="Job"),
        pytest.param(make_new_job(env=ENV), id="NewJob"),
        pytest.param(make_spec(env=ENV), id="JobSpec"),
    ],
)
def test_what_people_paste_holds_no_secrets(value: object) -> None:
    shown = [repr(value), str(value), rich.pretty.pretty_repr(value)]

    assert not any("hunter2" in text for text in shown)


def test_a_job_does_not_change_under_its_reader() -> None:
    job = make_job()

    with pytest.raises(AttributeError):
        job.state = JobState.DEAD  # type: ignore[misc]


def test_jobs_that_say_the_same_are_equal() -> None:
    assert make_job(id="a") == make_job(id="a")
    assert make_job(id="a") != make_job(id="b")


def test_the_outcomes_have_the_names_that_scripts_rely_on() -> None:
    names = [kind.value for kind in OutcomeKind]

    assert names == [
        "completed",
        "failed",
        "timed_out",
        "cancelled",
        "interrupted",
        "lost",
        "spawn_failed",
    ]


def test_an_attempt_that_ended_took_its_time() -> None:
    attempt = make_attempt(started_at=NOW, finished_at=NOW + timedelta(seconds=1.5))

    assert attempt.duration == timedelta(seconds=1.5)


def test_an_attempt_that_runs_has_no_duration() -> None:
    attempt = make_attempt(finished_at=None, outcome=None, exit_code=None)

    assert attempt.duration is None


@pytest.mark.parametrize(
    ("state", "is_alive"),
    [
        (WorkerState.RUNNING, True),
        (WorkerState.DRAINING, True),
        (WorkerState.STOPPING, True),
        (WorkerState.DEAD, False),
    ],
)
def test_a_worker_lives_until_it_is_dead(state: WorkerState, *, is_alive: bool) -> None:
    assert make_worker(state=state).is_alive is is_alive
