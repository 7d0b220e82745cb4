import math
import tracemalloc
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from queuectl.engine.domain.backoff import Backoff

TEN_YEARS = timedelta(days=3650)

backoffs = st.builds(
    Backoff,
    base=st.floats(0, 1000) | st.integers(0, 1000),
    longest=st.floats(0, TEN_YEARS.total_seconds()) | st.integers(0, 315_360_000),
    jitter=st.floats(0, 1) | st.integers(0, 1),
)
runs = st.integers(1, 2000)
lucks = st.floats(0, 1)


def formula(backoff: Backoff, attempts: int) -> timedelta:
    """Return ``base ** attempts``, capped and without jitter, by another road."""
    exponent = attempts * math.log10(backoff.base) if backoff.base else -math.inf

    if exponent > 12:
        return timedelta(seconds=backoff.longest)

    return timedelta(seconds=min(float(backoff.base) ** attempts, backoff.longest))


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 2), (2, 4), (3, 8), (4, 16), (11, 2048)])
def test_the_waits_double_with_the_default_base(attempts: int, seconds: int) -> None:
    backoff = Backoff(base=2, longest=3600, jitter=0)

    wait = backoff.delay(attempts, 1.0)

    assert wait == timedelta(seconds=seconds)


@pytest.mark.parametrize(("luck", "seconds"), [(0.0, 8), (0.5, 8.4), (1.0, 8.8)])
def test_luck_chooses_a_place_in_the_jitter(luck: float, seconds: float) -> None:
    backoff = Backoff(base=2, longest=3600, jitter=0.1)

    wait = backoff.delay(3, luck)

    assert wait == timedelta(seconds=seconds)


@pytest.mark.parametrize(("longest", "seconds"), [(7, 7), (8, 8), (8.5, 8.5), (9, 8.8), (0, 0)])
def test_jitter_does_not_lift_a_wait_over_the_cap(longest: float, seconds: float) -> None:
    backoff = Backoff(base=2, longest=longest, jitter=0.1)

    wait = backoff.delay(3, 1.0)

    assert wait == timedelta(seconds=seconds)


@pytest.mark.parametrize("base", [2, 2.0, 1000, 1000.0])
def test_a_wait_too_large_for_a_number_is_the_cap(base: float) -> None:
    backoff = Backoff(base=base, longest=3600, jitter=0.1)

    wait = backoff.delay(20_000, 0.5)

    assert wait == timedelta(hours=1)


def test_no_cap_lets_a_wait_leave_the_calendar() -> None:
    backoff = Backoff(base=1000, longest=1e300, jitter=1)

    wait = backoff.delay(50, 1.0)

    assert wait == TEN_YEARS


def test_a_base_of_zero_retries_at_once() -> None:
    backoff = Backoff(base=0, longest=3600, jitter=1)

    wait = backoff.delay(1, 1.0)

    assert wait == timedelta()


def test_a_base_of_one_waits_the_same_every_time() -> None:
    backoff = Backoff(base=1, longest=3600, jitter=0)

    waits = {backoff.delay(attempts, 0.5) for attempts in range(1, 100)}

    assert waits == {timedelta(seconds=1)}


def test_a_wait_after_a_million_runs_needs_no_huge_number() -> None:
    # 1000 ** 1_000_000 as a whole number is 1.2 MB and blocks the event loop for most of a second.
    backoff = Backoff(base=1000, longest=3600, jitter=0.1)

    tracemalloc.start()
    try:
        wait = backoff.delay(1_000_000, 0.5)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert wait == timedelta(hours=1)
    assert most_bytes < 100_000


@given(backoffs, runs, lucks)
def test_a_wait_is_never_shorter_than_the_formula_unless_capped(
    backoff: Backoff, attempts: int, luck: float
) -> None:
    wait = backoff.delay(attempts, luck)

    assert wait >= formula(backoff, attempts)


@given(backoffs, runs, lucks)
def test_a_wait_is_never_longer_than_the_cap(backoff: Backoff, attempts: int, luck: float) -> None:
    wait = backoff.delay(attempts, luck)

    assert timedelta() <= wait <= timedelta(seconds=backoff.longest)


@given(backoffs, runs, lucks, lucks)
def test_more_luck_never_shortens_a_wait(
    backoff: Backoff, attempts: int, one: float, other: float
) -> None:
    less, more = sorted((one, other))

    waits = backoff.delay(attempts, less), backoff.delay(attempts, more)

    assert waits[0] <= waits[1]


@given(backoffs, runs, lucks)
def test_the_jitter_is_at_most_its_share(backoff: Backoff, attempts: int, luck: float) -> None:
    wait = backoff.delay(attempts, luck)

    bound = formula(backoff, attempts) * (1 + backoff.jitter)
    assert wait <= bound + timedelta(microseconds=1)


@given(backoffs.filter(lambda backoff: backoff.base >= 1), runs, lucks)
def test_waits_grow_from_run_to_run(backoff: Backoff, attempts: int, luck: float) -> None:
    waits = backoff.delay(attempts, luck), backoff.delay(attempts + 1, luck)

    assert waits[0] <= waits[1]
