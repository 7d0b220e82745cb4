"""Charts as SVG: pure, without scripts and styles; classes name what CSS paints."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from queuectl import Point

# Units of the drawing; CSS stretches it to the width there is.
_STEP: Final = 10
_BAR: Final = 7
_HEIGHT: Final = 100
_ROW: Final = 28
_LINE: Final = 12
_WIDTH: Final = 1000

# What is there is seen: of a bar, and of a run that took no time beside a long wait.
_SHORTEST_BAR: Final = 2.0
_SHORTEST_SPAN: Final = 8.0
_TICKS: Final = (2, 4, 6, 8, 10)


class Span(NamedTuple):
    """
    A piece of a timeline.

    Attributes:
        row: Counted from the top, from 0.
        begin: Where it begins.
        end: Where it ends.
        kind: A word that CSS knows: ``waiting``, ``processing``, ``failed`` …
        words: What it is, for those who point at it.
    """

    row: int
    begin: datetime
    end: datetime
    kind: str
    words: str


def ceiling(largest: int) -> int:
    """Return the number at the top of an axis: round, not below, and even, for its middle."""
    power = 1

    while largest > _TICKS[-1] * power:
        power *= 10

    return next(tick * power for tick in _TICKS if tick * power >= largest)


def activity_chart(points: Sequence["Point"], *, name: str, title: str) -> str:
    """
    Draw what ended in each step of time: completed from the ground up, failed on top.

    Args:
        points: The oldest first.
        name: Makes the ids in the drawing its own on a page.
        title: What it shows, for screen readers.

    Returns:
        An SVG element. Its axis goes up to `ceiling` of the highest bar.
    """
    top = ceiling(max((point.completed + point.failed for point in points), default=0))
    width = max(len(points), 1) * _STEP
    step = points[1].at - points[0].at if len(points) > 1 else timedelta(hours=1)
    bars = "".join(_bar(i, point, step, top) for i, point in enumerate(points))
    lines = "".join(
        f'<line class="grid" x1="0" x2="{width}" y1="{y}" y2="{y}"/>'
        for y in (0, _HEIGHT // 2, _HEIGHT)
    )

    return (
        f'<svg class="chart" viewBox="0 0 {width} {_HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{escape(title)}'
        f'</title><desc id="{name}-desc">{_described(points, step)}</desc>{lines}{bars}</svg>'
    )


def timeline(spans: Sequence[Span], *, name: str, title: str) -> str:
    """
    Draw the life of a job: a row for each run, with the wait before it.

    Args:
        spans: At least one, in the order of time.
        name: Makes the ids in the drawing its own on a page.
        title: What it shows, for screen readers.

    Returns:
        An SVG element, each row 28 units high.
    """
    begin = min(span.begin for span in spans)
    whole = max(max(span.end for span in spans) - begin, timedelta(milliseconds=1))
    rows = max(span.row for span in spans) + 1
    height = rows * _ROW
    ruled = "".join(
        f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{height}"/>'
        for x in range(0, _WIDTH + 1, _WIDTH // 4)
    )
    drawn = "".join(_span(span, begin, whole) for span in spans)
    told = escape("; ".join(span.words for span in spans))

    return (
        f'<svg class="timeline" viewBox="0 0 {_WIDTH} {height}" height="{height}"'
        f' preserveAspectRatio="none" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{told}</desc>'
        f"{ruled}{drawn}</svg>"
    )


def meter(part: int, whole: int, *, title: str) -> str:
    """Draw how much of something is taken."""
    filled = round(_WIDTH * min(part, whole) / whole) if whole else 0
    return (
        f'<svg class="meter" viewBox="0 0 {_WIDTH} 10" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(title)}"><rect class="meter-all" width="{_WIDTH}" height="10"/>'
        f'<rect class="meter-part" width="{filled}" height="10"/></svg>'
    )


def _bar(place: int, point: "Point", step: timedelta, top: int) -> str:
    """Return the bar of a step, and over it what shows its numbers."""
    x = place * _STEP
    completed = _height(point.completed, top)
    failed = _height(point.failed, top)
    left = x + (_STEP - _BAR) / 2
    parts = [
        f'<rect class="{kind}" x="{left:g}" y="{_HEIGHT - ground - high:g}" width="{_BAR}"'
        f' height="{high:g}"/>'
        for kind, ground, high in (("completed", 0.0, completed), ("failed", completed, failed))
        if high
    ]
    words = f"{point.at:%H:%M} to {point.at + step:%H:%M} UTC: {_numbers(point)}"
    return (
        f'<g class="step"><title>{words}</title>{"".join(parts)}'
        f'<rect class="hit" x="{x}" y="0" width="{_STEP}" height="{_HEIGHT}"/></g>'
    )


def _numbers(point: "Point") -> str:
    return f"{point.completed:,} completed, {point.failed:,} failed, {point.enqueued:,} enqueued"


def _height(count: int, top: int) -> float:
    return max(round(_HEIGHT * count / top, 2), _SHORTEST_BAR) if count else 0.0


def _described(points: Sequence["Point"], step: timedelta) -> str:
    completed = sum(point.completed for point in points)
    failed = sum(point.failed for point in points)

    if not completed and not failed:
        return "Nothing ended in this time."

    busiest = max(points, key=lambda point: point.completed + point.failed)
    return (
        f"{completed:,} completed and {failed:,} failed. Most in"
        f" {step // timedelta(minutes=1)} minutes: {_numbers(busiest)}, from"
        f" {busiest.at:%H:%M} UTC."
    )


def _span(span: Span, begin: datetime, whole: timedelta) -> str:
    x = _WIDTH * ((span.begin - begin) / whole)
    wide = max(_WIDTH * ((span.end - span.begin) / whole), _SHORTEST_SPAN)
    # A short one at the right edge stays inside.
    left = min(x, _WIDTH - wide)
    high = _LINE if span.kind != "waiting" else _LINE / 3
    y = span.row * _ROW + (_ROW - high) / 2
    return (
        f'<g class="span"><title>{escape(span.words)}</title><rect class="{escape(span.kind)}"'
        f' x="{left:.1f}" y="{y:g}" width="{wide:.1f}" height="{high:g}"/></g>'
    )
