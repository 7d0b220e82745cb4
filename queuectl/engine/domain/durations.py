"""Durations and times as people write them: ``1h30m``, ``2026-11-21T09:00``."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from queuectl.engine.errors import InvalidValueError

_UNITS: Final[dict[str, float]] = {
    "ms": 0.001,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
_FORMS: Final = "a number of seconds, or 90s, 10m, 1h30m, 2d"

# Ten years: what is longer is a slip, and far from where dates overflow.
LONGEST: Final = timedelta(days=3650)


def parse_duration(text: str) -> timedelta:
    """
    Read a duration.

    Args:
        text: Seconds as a number, or numbers with units from ``ms s m h d w``
            in a row, the largest unit usually first.

    Raises:
        InvalidValueError: It is neither, or longer than ten years.
    """
    stripped = text.strip().lower()

    if _NUMBER.fullmatch(stripped):
        seconds = float(stripped)
    elif stripped and not _PART.sub("", stripped):
        seconds = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(stripped))
    else:
        msg = f"not a duration: {text!r} (expected {_FORMS})"
        raise InvalidValueError(msg)

    return check_duration(seconds)


def check_duration(seconds: float) -> timedelta:
    """
    Turn seconds into a duration.

    Raises:
        InvalidValueError: Negative, not finite, or longer than ten years.
    """
    if not 0 <= seconds <= LONGEST.total_seconds():
        msg = f"out of range: {seconds:g} s (expected 0 s to {LONGEST.days} days)"
        raise InvalidValueError(msg)

    return timedelta(seconds=seconds)


def parse_time(text: str) -> datetime:
    """
    Read a time, RFC 3339 or its ISO 8601 relatives; local where no zone is given.

    Returns:
        The time in UTC.

    Raises:
        InvalidValueError: It is not a time, or outside the years 1971 to 9998.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        msg = f"not a time: {text!r} (expected RFC 3339, as in 2026-11-21T09:00:00Z)"
        raise InvalidValueError(msg) from error

    return check_time(moment)


def check_time(moment: datetime) -> datetime:
    """
    Bring a time to UTC; one without a zone is taken as local.

    Raises:
        InvalidValueError: It is outside the years 1971 to 9998.
    """
    # The margins keep every zone's offset inside what datetime can hold.
    first_year, last_year = 1971, 9998

    if not first_year <= moment.year <= last_year:
        msg = f"out of range: {moment.isoformat()} (expected {first_year} to {last_year})"
        raise InvalidValueError(msg)

    return moment.astimezone(UTC)


def format_time(moment: datetime) -> str:
    """Write a time as RFC 3339 in UTC with milliseconds: ``2026-11-21T09:00:00.000Z``."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def format_duration(duration: timedelta) -> str:
    """Write a duration for a person: ``0.53 s``, ``12 s``, ``3 m 05 s``, ``2 h 10 m``, ``4 d 3 h``."""
    seconds = duration.total_seconds()
    minute, hour, day = 60, 3600, 86_400

    if seconds < minute:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004

    whole = round(seconds)

    if whole < hour:
        return f"{whole // minute} m {whole % minute:02d} s"

    if whole < day:
        return f"{whole // hour} h {whole % hour // minute:02d} m"

    return f"{whole // day} d {whole % day // hour} h"
