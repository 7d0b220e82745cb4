"""Reads what was asked for in the query of an address."""

from collections.abc import Mapping
from typing import Final

from queuectl import InvalidValueError, JobState

PAGE: Final = 50
_LONGEST: Final = 200

# The largest whole number that the database holds, and how many digits it has.
_LARGEST: Final = 2**63 - 1
_MOST_DIGITS: Final = 19


def text(params: Mapping[str, str], name: str) -> str | None:
    """Return what was given, None where it is empty or was not given."""
    return params.get(name, "").strip()[:_LONGEST] or None


def place(params: Mapping[str, str], name: str) -> int | None:
    """
    Return a whole number.

    Raises:
        InvalidValueError: It is none.
    """
    given = params.get(name, "")

    if not given:
        return None

    is_number = given.isascii() and given.isdecimal() and len(given) <= _MOST_DIGITS

    if not is_number or int(given) > _LARGEST:
        msg = f"{name}: expected a whole number"
        raise InvalidValueError(msg)

    return int(given)


def state(params: Mapping[str, str], name: str) -> JobState | None:
    """
    Return a state.

    Raises:
        InvalidValueError: There is none of this name.
    """
    given = params.get(name, "")

    if given and given not in set(JobState):
        known = ", ".join(JobState)
        msg = f"no such state (the states are {known})"
        raise InvalidValueError(msg)

    return JobState(given) if given else None
