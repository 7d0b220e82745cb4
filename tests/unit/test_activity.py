"""What happened, summed up: classes of time, spreads, totals."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from queuectl.engine.domain.activity import (
    BOUNDS,
    DIED,
    ENQUEUED,
    PERIODS,
    RETRIED,
    WAIT,
    Tally,
    activity,
    class_of,
    spread,
    totals,
)
from queuectl.engine.domain.models import OutcomeKind
from tests.factories import NOW

HOUR = PERIODS["hour"]
TIMES = st.integers(0, 10**10)


def tallied(milliseconds: list[int], measure: str = "completed") -> list[Tally]:
    """Return a tally for each of these times."""
    return [Tally(measure, class_of(ms), 1, ms) for ms in milliseconds]


def test_the_bounds_are_ten_a_decade_from_a_millisecond_to_twelve_days() -> None:
    assert BOUNDS[:11] == (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8, 10)
    assert (len(BOUNDS), BOUNDS[-1]) == (91, 10**9)
    assert all(low < high <= low * 1.29 for low, high in pairwise(BOUNDS))


@given(TIMES)
def test_a_time_is_in_the_class_whose_bound_it_does_not_exceed(ms: int) -> None:
    place = class_of(ms)

    assert place == len(BOUNDS) or ms <= BOUNDS[place]
    assert place == 0 or ms > BOUNDS[place - 1]


def test_nothing_has_no_spread() -> None:
    assert spread([]) is None


def test_the_spread_of_one_time_is_that_time() -> None:
    found = spread(tallied([1234]))

    assert found is not None
    assert found.count == 1
    assert found.p50 == found.p95 == found.p99 == timedelta(milliseconds=1234)


def test_one_of_a_hundred_is_seen_at_the_end_of_a_spread_alone() -> None:
    found = spread(tallied([10] * 98 + [60_000] * 2))

    assert found is not None
    assert (found.p50, found.p95) == (timedelta(milliseconds=10),) * 2
    assert found.p99 == timedelta(minutes=1)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200))
def test_a_spread_is_within_a_class_of_the_true_one(times: list[int]) -> None:
    found = spread(tallied(times))

    assert found is not None
    ranked = sorted(times)
    for share, value in ((50, found.p50), (95, found.p95), (99, found.p99)):
        true = ranked[-(-share * len(times) // 100) - 1]
        assert class_of(round(value / timedelta(milliseconds=1))) == class_of(true)


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=50))
def test_a_spread_rises(times: list[int]) -> None:
    found = spread(tallied(times))

    assert found is not None
    assert found.p50 <= found.p95 <= found.p99
    assert found.count == len(times)


def test_an_activity_without_anything_is_all_zeros() -> None:
    found = activity(HOUR, [])

    assert found.runs == dict.fromkeys(OutcomeKind, 0)
    assert (found.enqueued, found.ended, found.completed, found.failed, found.died) == (0,) * 5
    assert (found.wait, found.duration, found.per_second) == (None, None, 0)


def test_failures_are_the_runs_that_went_wrong_by_themselves() -> None:
    found = activity(HOUR, [Tally(kind.value, 0, 1, 0) for kind in OutcomeKind])

    assert (found.ended, found.completed, found.failed) == (7, 1, 4)
    assert found.per_second == 7 / 3600


def test_a_part_of_one_is_not_shown_as_nothing() -> None:
    found = activity(HOUR, [Tally(ENQUEUED, 0, 1 / 60, 0), Tally(DIED, 0, 3 * 1.1 + 6 * 0.95, 0)])

    assert (found.enqueued, found.died) == (1, 9)


def test_what_a_newer_program_counts_is_left_out() -> None:
    assert activity(HOUR, [Tally("teleported", 0, 3, 0)]) == activity(HOUR, [])


def test_totals_count_how_many_took_at_most_each_bound() -> None:
    times = [0, 1, 2, 2000, 10**9 + 1]

    found = totals(NOW, tallied(times) + tallied([5], WAIT) + [Tally(RETRIED, 0, 4, 0)])

    runs = found.runs[OutcomeKind.COMPLETED]
    assert (runs.count, runs.seconds) == (5, sum(times) / 1000)
    by_bound = dict(zip(BOUNDS, runs.by_bound, strict=True))
    assert [by_bound[bound] for bound in (1, 1.6, 2, 1600, 2000, 10**9)] == [2, 2, 3, 3, 4, 4]
    assert (found.wait.count, found.retried, found.since) == (1, 4, NOW)


def test_totals_of_nothing_have_every_outcome_and_every_bound() -> None:
    found = totals(NOW, [])

    assert found.runs.keys() == set(OutcomeKind)
    assert found.wait.by_bound == (0,) * len(BOUNDS)
    assert (found.enqueued, found.died, found.wait.count, found.wait.seconds) == (0, 0, 0, 0)


@pytest.mark.parametrize("name", PERIODS)
def test_a_rate_is_by_the_second(name: str) -> None:
    seconds = int(PERIODS[name].total_seconds())

    assert activity(PERIODS[name], [Tally("completed", 0, 3 * seconds, 0)]).per_second == 3
