"""Durations and times as people write them: ``1h30m``, ``2026-11-21T09:00``."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from queuectl.engine.errors import InvalidValueError, plain, quoted

_UNITS: Final[dict[str, float]] = {
    "ms": 0.001,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
}
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_PART: Final = re.compile(rf"({_NUMBER.pattern}) ?(ms|[smhdw]) ?", re.ASCII)
_PARTS: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)

# Ten years: what is longer is a slip, and far from where dates overflow.
LONGEST: Final = timedelta(days=3650)

# What is kept is kept in milliseconds.
_SHORTEST: Final = timedelta(milliseconds=1)
_LONGEST_SECONDS: Final = LONGEST.total_seconds()

_FORMS: Final = "(expected a number of seconds, or 90s, 10m, 1h30m, 2d)"
_RANGE: Final = f"(expected 0 s to {LONGEST.days} days)"
_YEARS: Final = range(1971, 9999)


def parse_duration(text: str) -> timedelta:
    """
    Read a duration.

    Args:
        text: Seconds as a number, or numbers with units from ``ms s m h d w``
            in a row, the largest unit usually first; what `format_duration`
            writes is understood.

    Raises:
        InvalidValueError: It is neither, or longer than ten years.
    """
    stripped = text.strip().lower()

    if _NUMBER.fullmatch(stripped):
        seconds = float(stripped)
    elif _PARTS.fullmatch(stripped):
        seconds = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(stripped))
    else:
        raise InvalidValueError(f"not a duration: {quoted(text)} {_FORMS}")

    if seconds > _LONGEST_SECONDS:
        raise InvalidValueError(f"out of range: {quoted(text)} {_RANGE}")

    return timedelta(seconds=seconds)


def check_duration(seconds: float) -> timedelta:
    """
    Turn seconds into a duration.

    Raises:
        InvalidValueError: Negative, not finite, longer than ten years, or no
            number at all.
    """
    if not isinstance(seconds, (int, float)):
        raise InvalidValueError(f"expected a number of seconds, got {type(seconds).__name__}")

    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise InvalidValueError(f"out of range: {plain(seconds)} s {_RANGE}")

    # What is more than nothing stays so: a timeout of nothing is none.
    return max(timedelta(seconds=seconds), _SHORTEST) if seconds else timedelta()


def parse_time(text: str) -> datetime:
    """
    Read a time, RFC 3339 or its ISO 8601 relatives; local where no zone is given.

    Returns:
        The time in UTC.

    Raises:
        InvalidValueError: It is not a time, or outside the years 1971 to 9998.
    """
    try:
        # RFC 3339 allows "t" and "z"; fromisoformat does not.
        moment = datetime.fromisoformat(text.strip().upper())
    except ValueError as error:
        raise InvalidValueError(
            f"not a time: {quoted(text)} (expected RFC 3339, as in 2026-11-21T09:00:00Z)"
        ) from error

    return check_time(moment)


def check_time(moment: datetime) -> datetime:
    """
    Bring a time to UTC; one without a zone is taken as local.

    Raises:
        InvalidValueError: In UTC it is outside the years 1971 to 9998.
    """
    try:
        utc = moment.astimezone(UTC)
    except (OverflowError, ValueError, OSError):
        utc = None

    if utc is None or utc.year not in _YEARS:
        raise InvalidValueError(
            f"out of range: {moment.isoformat()} (expected {_YEARS[0]} to {_YEARS[-1]})"
        )

    return utc


def format_time(moment: datetime) -> str:
    """Write a time as RFC 3339 in UTC with milliseconds: ``2026-11-21T09:00:00.000Z``."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def format_duration(duration: timedelta) -> str:
    """Write a duration for a person: ``0.53 s``, ``12 s``, ``3 m 05 s``, ``4 d 3 h``."""
    seconds = round(duration.total_seconds(), 2)
    few, minute, hour, day = 10, 60, 3600, 86_400

    if seconds < few:
        return f"{seconds:.2f} s"

    # Rounded before the unit is chosen: 59.9 s are a minute.
    whole = round(duration.total_seconds())

    if whole < minute:
        return f"{whole} s"

    if whole < hour:
        return f"{whole // minute} m {whole % minute:02d} s"

    if whole < day:
        return f"{whole // hour} h {whole % hour // minute:02d} m"

    return f"{whole // day} d {whole % day // hour} h"


def seconds_of(value: float | timedelta | None) -> float | None:
    """Return seconds that were given as such, or as a duration; None is for ever."""
    return value.total_seconds() if isinstance(value, timedelta) else value
