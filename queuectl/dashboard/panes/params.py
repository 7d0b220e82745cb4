"""Reads what was asked for in the query of an address."""

from collections.abc import Mapping
from typing import Final

from queuectl import InvalidValueError, JobState

PAGE: Final = 50
_LONGEST: Final = 200

# The largest whole number that the database holds.
_LARGEST: Final = 2**63 - 1


def text(params: Mapping[str, str], name: str) -> str | None:
    """Return what was given, None where it is empty or was not given."""
    return params.get(name, "").strip()[:_LONGEST] or None


def number(
    params: Mapping[str, str], name: str, *, least: int = 1, most: int = _LARGEST
) -> int | None:
    """
    Return a whole number, None where it is empty or was not given.

    Args:
        params: The query.
        name: Of the number.
        least: The smallest that it may be, 0 or more.
        most: The largest that it may be.

    Raises:
        InvalidValueError: It is not a whole number from the least to the most.
    """
    given = params.get(name, "")

    if not given:
        return None

    is_number = given.isascii() and given.isdecimal() and len(given) <= len(str(most))

    if not is_number or not least <= int(given) <= most:
        raise InvalidValueError(f"{name} is not a whole number from {least} to {most}")

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
