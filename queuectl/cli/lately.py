"""What happened lately, as lines of text."""

from typing import TYPE_CHECKING, Final

from queuectl import format_duration

if TYPE_CHECKING:
    from datetime import timedelta

    from queuectl import Activity, Spread

# As wide as the names of the other lines of `status`.
_WIDTH: Final = 20
_NAMES: Final = {60: "last_minute", 3600: "last_hour", 86_400: "last_day"}


def activity_lines(activity: "Activity") -> list[str]:
    """Return what happened in a period: what ended, and how long it waited and ran."""
    ended = "1 run" if activity.ended == 1 else f"{activity.ended:,} runs"
    words = (
        f"{ended} ended ({rate(activity.per_second)}), {activity.failed:,} failed,"
        f" {activity.died:,} died, {activity.enqueued:,} enqueued"
    )
    lines = [_line(period_name(activity.period), words)]

    if activity.wait is not None:
        lines.append(_line("  waited", _spread(activity.wait)))

    if activity.duration is not None:
        lines.append(_line("  ran", _spread(activity.duration)))

    return lines


def period_name(period: "timedelta") -> str:
    """Name a period: ``last_minute``, ``last_hour``, ``last_day``."""
    return _NAMES.get(int(period.total_seconds()), f"last {format_duration(period)}")


def rate(per_second: float) -> str:
    """Write a rate with about three digits: ``812.4/s``, ``1.53/s``, ``4.2/h``."""
    few, rare = 10, 0.01

    if per_second >= few:
        return f"{per_second:,.1f}/s"

    if per_second >= rare or not per_second:
        return f"{per_second:.3g}/s"

    return f"{per_second * 3600:.3g}/h"


def _spread(spread: "Spread") -> str:
    times = {"p50": spread.p50, "p95": spread.p95, "p99": spread.p99}
    return ", ".join(f"{name} {_time(time)}" for name, time in times.items())


def _time(time: "timedelta") -> str:
    """Write how long something took; what is short to the millisecond."""
    few = 10
    seconds = time.total_seconds()
    return f"{seconds:.3f} s" if seconds < few else format_duration(time)


def _line(name: str, words: str) -> str:
    return f"{name:<{_WIDTH}}{words}\n"
