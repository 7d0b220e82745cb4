"""What a listing can be asked for, and what it cannot."""

import pytest

from queuectl.engine.domain.filters import JobFilter, job_filter
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import InvalidValueError


def test_a_state_may_be_named() -> None:
    assert job_filter("dead", "red") == JobFilter(state=JobState.DEAD, tag="red")


@pytest.mark.parametrize(
    ("asked", "is_checked"),
    [
        ({}, False),
        ({"search": ""}, False),
        ({"search": "a"}, True),
        ({"reason": "a"}, True),
        ({"reason": ""}, True),
    ],
    ids=str,
)
def test_what_no_index_tells_has_to_be_checked(asked: dict[str, str], *, is_checked: bool) -> None:
    assert job_filter("dead", "red", **asked).is_checked is is_checked


def test_the_longest_search_has_a_thousand_characters() -> None:
    assert job_filter(None, None, search="ä" * 1000).search == "ä" * 1000

    with pytest.raises(InvalidValueError, match="at most 1000 characters, not 1001"):
        job_filter(None, None, search="ä" * 1001)


def test_a_search_for_what_no_command_can_have_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="NUL"):
        job_filter(None, None, search="a\0b")
