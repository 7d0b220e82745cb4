"""Numbers, times and sizes as words for a page."""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from queuectl import format_duration, format_time

NOTHING: Final = "\N{EN DASH}"

_MILLISECOND: Final = timedelta(milliseconds=1)
_NOW: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


class Moment(msgspec.Struct, frozen=True):
    """
    A time as it is shown.

    Attributes:
        words: Seen from now: ``12 s ago``, ``in 5 min``.
        exact: For those who point at it: ``2026-11-21 09:00:00 UTC``.
        iso: For programs, RFC 3339.
    """

    words: str
    exact: str
    iso: str


def moment(at: datetime, now: datetime) -> Moment:
    """Return a time as it is shown."""
    return Moment(
        words=_relative(now - at), exact=f"{at:%Y-%m-%d %H:%M:%S} UTC", iso=format_time(at)
    )


def age(duration: timedelta) -> str:
    """Write roughly how long: ``12 s``, ``5 min``, ``3 h``, ``9 d``."""
    if duration < _MINUTE:
        return f"{int(duration.total_seconds())} s"

    if duration < _HOUR:
        return f"{duration // _MINUTE} min"

    return f"{duration // _HOUR} h" if duration < 2 * _DAY else f"{duration // _DAY} d"


def duration(value: timedelta | None) -> str:
    """Write a duration for a person, or a dash where there is none."""
    if value is None:
        return NOTHING

    # Times are kept in whole ones.
    if value < _MILLISECOND:
        return "< 1 ms"

    # One unit for all that stands below one another, as far as that goes.
    thousandths = round(value / _MILLISECOND)
    return f"{thousandths} ms" if thousandths < 1000 else format_duration(value)  # noqa: PLR2004 (a second)


def number(value: int) -> str:
    """Write a whole number with its thousands apart: ``1,234,567``."""
    return f"{value:,}"


def counted(value: int, noun: str, plural: str | None = None) -> str:
    """Write how many of something there are: ``1 job``, ``12,000 jobs``."""
    return f"{number(value)} {noun if value == 1 else plural or f'{noun}s'}"


def rate(value: float) -> str:
    """Write how many a second, with as many digits as mean something."""
    if value == 0:
        return "0"

    digits = 0 if value >= 100 else 1 if value >= 10 else 2  # noqa: PLR2004 (powers of ten)
    return f"{value:,.{digits}f}" if value >= 0.01 else "< 0.01"  # noqa: PLR2004


def share(part: int, whole: int) -> str:
    """Write which part of the whole, in percent; a dash where there is no whole."""
    if not whole:
        return NOTHING

    percent = 100 * part / whole
    smallest = 0.1
    return "< 0.1 %" if 0 < percent < smallest else f"{percent:.1f} %".replace(".0 %", " %")


def size(count: int | None) -> str:
    """Write a number of bytes for a person: ``812 B``, ``1.5 KiB``; None is a dash."""
    if count is None:
        return NOTHING

    step = 1024

    if count < step:
        return f"{count} B"

    # 1024 to the power of n has 10 n bits before its last.
    power = min((count.bit_length() - 1) // 10, len(_UNITS))
    return f"{count / step**power:.1f} {_UNITS[power - 1]}"


def _relative(gone: timedelta) -> str:
    if abs(gone) < _NOW:
        return "now"

    return f"{age(gone)} ago" if gone > timedelta() else f"in {age(-gone)}"
