"""
Draws results: a file of SVG each, small enough to be kept with the pages.

The text stays text, in whatever font the reader has. The colours are Okabe and Ito's, which
differ for every kind of eye, and the background is the picture's own, so that it can be read
on a light page and on a dark one.
"""

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks.results import Curve, Result, Row

# https://jfly.uni-koeln.de/color/, without the yellow, which is too pale for a line.
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
_INK: Final = "#222222"
_PALE: Final = "#999999"
_GRID: Final = "#dddddd"
_PAPER: Final = "#ffffff"

# In inches: the width of a picture, and the heights of a panel, of a low one, and of a bar.
_WIDTH: Final = 7.2
_PANEL: Final = 3.0
_LOW_PANEL: Final = 1.5
_BAR: Final = 0.5

# With more points than this, neighbours are left out; with more than that, no markers.
_MOST_POINTS: Final = 150
_MOST_MARKERS: Final = 12

_LONG_NUMBER: Final = re.compile(r"(\d\.\d\d)\d+")

# Names at the ends of lines keep this distance, as a share of the height.
_NAME_HEIGHT: Final = 0.075

_OURS: Final = ("queuectl", "QueueEngine")
_MANY: Final = 1000
_MILLION: Final = 1_000_000


def draw(result: Result, path: Path) -> None:
    """
    Draw the curves of a result, or its rows as bars where it has none.

    Args:
        result: With curves over one axis, or with rows of one unit.
        path: Its ending says the format, as ``.svg`` or ``.png``.
    """
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "queuectl", "font.size": 10}):
        figure = _panels(result.curves) if result.curves else _bars(result)
        # Without the date, so that the same figures give the same file.
        figure.savefig(path, facecolor=_PAPER, metadata=_metadata(path))

    if path.suffix == ".svg":
        _shorten(path)


def _metadata(path: Path) -> dict[str, str | None] | None:
    return {"Date": None} if path.suffix == ".svg" else None


def _shorten(path: Path) -> None:
    """Leave out what only takes room: spaces at the ends of lines, thousandths of a point."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    path.write_text(_LONG_NUMBER.sub(r"\1", text), encoding="utf-8")


def _panels(curves: Sequence[Curve]) -> Figure:
    """Draw curves one above the other."""
    height = _PANEL if len(curves) <= 2 else _LOW_PANEL  # noqa: PLR2004
    figure = _figure(height * len(curves) + 0.3)
    axes = figure.subplots(len(curves), 1, squeeze=False)[:, 0]

    for panel, curve in zip(axes, curves, strict=True):
        _draw_curve(panel, curve, height)

    same = {curve.x_label for curve in curves}

    if len(same) == 1:
        for panel in axes[:-1]:
            panel.set_xlabel("")

    return figure


def _draw_curve(axes: Axes, curve: Curve, panel_height: float) -> None:
    _dress(axes, curve.title, curve.x_label, curve.y_label)
    step = max(1, math.ceil(len(curve.x) / _MOST_POINTS))
    x = curve.x[::step]
    colours = itertools.cycle(zip(_COLOURS, _MARKERS, strict=True))
    ends = []

    for (name, values), (colour, marker) in zip(_in_order(curve), colours, strict=False):
        y = values[::step]
        shown = marker if len(x) <= _MOST_MARKERS else ""
        axes.plot(x, y, color=colour, marker=shown, markersize=4, linewidth=1.6)
        ends.append((name, y[-1], colour))

    _scale(axes, curve, x)
    _name_lines(axes, ends, panel_height)


def _in_order(curve: Curve) -> list[tuple[str, list[float]]]:
    """Return the lines with ours in front: it has the same colour in each picture."""
    return sorted(curve.lines.items(), key=lambda line: not line[0].startswith(_OURS))


def _scale(axes: Axes, curve: Curve, x: Sequence[float]) -> None:
    if curve.log_x:
        axes.set_xscale("log")
        axes.set_xticks(x, [_short(value) for value in x])
        axes.xaxis.set_minor_locator(NullLocator())

    if curve.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        # From nothing, so that the eye compares heights.
        highest = max((max(values) for values in curve.lines.values()), default=1.0)
        axes.set_ylim(0, 1.15 * highest or 1.0)

    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _name_lines(axes: Axes, ends: Sequence[tuple[str, float, str]], panel_height: float) -> None:
    """Write the names of lines at their ends, one above the other where those are close."""
    low, high = axes.get_ylim()
    is_log = axes.get_yscale() == "log"

    def share(value: float) -> float:
        if is_log:
            return float(math.log(value / low) / math.log(high / low))

        return float((value - low) / (high - low))

    ends = sorted(ends, key=lambda end: end[1])
    wanted = [share(value) for _, value, _ in ends]
    # Panels that are low need more room, as a share of their height.
    heights = _spread_out(wanted, _NAME_HEIGHT * _PANEL / panel_height)

    for (name, _, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            name,
            (1.0, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )


def _spread_out(wanted: Sequence[float], room: float) -> list[float]:
    """Return rising heights that keep their distance, on the average where they are wanted."""
    heights: list[float] = []

    for height in wanted:
        heights.append(max(height, heights[-1] + room) if heights else height)

    shift = sum(heights) / len(heights) - sum(wanted) / len(wanted)

    return [height - min(shift, heights[0]) for height in heights]


def _bars(result: Result) -> Figure:
    """Draw rows as bars, the longest on top, each with its name, its spread and its figure."""
    rows = [row for row in result.rows if row.sample.values]
    rows.sort(key=lambda row: row.sample.median)
    figure = _figure(_BAR * len(rows) + 1.0)
    axes = figure.subplots()
    _dress(axes, result.title, rows[0].unit, "")
    axes.barh(
        range(len(rows)),
        [row.sample.median for row in rows],
        xerr=[
            [row.sample.median - row.sample.low for row in rows],
            [row.sample.high - row.sample.median for row in rows],
        ],
        color=[_colour(row, result) for row in rows],
        ecolor=_INK,
        error_kw={"linewidth": 1, "capsize": 2},
        height=0.42,
    )
    axes.set_xlim(0, 1.3 * max(row.sample.high for row in rows))
    axes.set_ylim(-0.4, len(rows) - 0.2)
    axes.set_yticks([])

    for height, row in enumerate(rows):
        # Above its bar: beside it there is no room for a whole command.
        _write(axes, row.subject, (0, height + 0.27), (1, 0), "bottom")
        _write(axes, _figure_of(row, result), (row.sample.high, height), (6, 0), "center")

    return figure


def _figure(height: float) -> Figure:
    """Return an empty picture; the fonts of readers may be wider than the one here."""
    return Figure(figsize=(_WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06))


def _write(
    axes: Axes, text: str, place: tuple[float, float], shift: tuple[float, float], align: str
) -> None:
    axes.annotate(
        text, place, xytext=shift, textcoords="offset points", va=align, color=_INK, fontsize=9
    )


def _figure_of(row: Row, result: Result) -> str:
    text = f"{row.sample.median:,.0f}"
    has_ratio = row.ratio is not None and row.subject != result.yardstick

    return f"{text}, {row.ratio:.2f} of {result.yardstick}" if has_ratio else text


def _colour(row: Row, result: Result) -> str:
    if row.subject == result.yardstick:
        return _INK

    return _COLOURS[0] if row.subject.startswith(_OURS) else _PALE


def _dress(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_xlabel(x_label, color=_INK)
    axes.set_ylabel(y_label, color=_INK)
    axes.grid(visible=True, color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, length=0)

    for side in axes.spines.values():
        side.set_visible(False)


def _short(value: float) -> str:
    """Write a number in few characters: 1,000 as 1k."""
    if abs(value) >= _MILLION:
        return f"{value / _MILLION:g}M"

    if abs(value) >= _MANY:
        return f"{value / _MANY:g}k"

    return f"{value:g}"
