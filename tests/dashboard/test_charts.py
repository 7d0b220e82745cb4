"""Charts: what is drawn, how high, and what is told about it."""

import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from queuectl.dashboard.charts import Span, activity_chart, ceiling, meter, timeline
from tests.dashboard.views import make_point
from tests.factories import NOW

SECOND = timedelta(seconds=1)


def rects(svg: str, kind: str) -> list[dict[str, float]]:
    """Return places and sizes of the rectangles of a kind."""
    root = ET.fromstring(svg)  # noqa: S314 (our own)
    return [
        {name: float(value) for name, value in rect.items() if name != "class"}
        for rect in root.iter("rect")
        if rect.get("class") == kind
    ]


def words(svg: str) -> str:
    return " ".join(ET.fromstring(svg).itertext())  # noqa: S314 (our own)


@pytest.mark.parametrize(
    ("largest", "top"),
    [(0, 2), (1, 2), (3, 4), (5, 6), (10, 10), (11, 20), (60, 60), (61, 80), (101, 200)],
)
def test_an_axis_ends_at_a_round_number(largest: int, top: int) -> None:
    assert ceiling(largest) == top


@given(st.integers(0, 10**15))
def test_an_axis_is_long_enough_and_has_a_middle(largest: int) -> None:
    assert ceiling(largest) >= largest
    assert ceiling(largest) % 2 == 0
    assert ceiling(largest) <= max(2, 2 * largest)


def test_failed_runs_stand_on_the_completed_ones() -> None:
    svg = activity_chart([make_point(completed=6, failed=4)], name="a", title="Runs")
    [completed] = rects(svg, "completed")
    [failed] = rects(svg, "failed")

    assert completed["y"] + completed["height"] == 100
    assert completed["height"] == 60
    assert failed["y"] + failed["height"] == completed["y"]
    assert failed["y"] == 0


def test_one_failure_among_thousands_is_seen() -> None:
    svg = activity_chart([make_point(completed=5000, failed=1)], name="a", title="Runs")

    assert rects(svg, "failed")[0]["height"] >= 2


def test_an_empty_step_has_its_place_and_its_words() -> None:
    svg = activity_chart([make_point(0, completed=1), make_point(1)], name="a", title="Runs")

    assert len(rects(svg, "completed")) == 1
    assert len(rects(svg, "hit")) == 2
    assert "09:01 to 09:02 UTC: 0 completed, 0 failed, 0 enqueued" in words(svg)


def test_a_chart_says_in_words_what_it_shows() -> None:
    points = [make_point(0, completed=3, failed=1), make_point(1, completed=1)]
    told = words(activity_chart(points, name="a", title="Runs <of today>"))

    assert "Runs <of today>" in told
    assert "4 completed and 1 failed." in told
    assert "Nothing ended" in words(activity_chart([], name="a", title="Runs"))


def test_a_timeline_keeps_proportions() -> None:
    spans = [
        Span(0, NOW, NOW + 10 * SECOND, "waiting", "waited 10 s"),
        Span(0, NOW + 10 * SECOND, NOW + 40 * SECOND, "failed", "run 1 failed"),
    ]
    svg = timeline(spans, name="a", title="Life")
    [waited] = rects(svg, "waiting")
    [ran] = rects(svg, "failed")

    assert waited["width"] == 250
    assert (ran["x"], ran["width"]) == (250, 750)


def test_a_run_of_no_time_is_seen_and_stays_inside() -> None:
    spans = [
        Span(0, NOW, NOW + timedelta(days=9), "waiting", "waited"),
        Span(0, NOW + timedelta(days=9), NOW + timedelta(days=9), "completed", "run 1"),
    ]
    [ran] = rects(timeline(spans, name="a", title="Life"), "completed")

    assert ran["width"] >= 8
    assert ran["x"] + ran["width"] <= 1000


def test_a_life_that_has_just_begun_can_be_drawn() -> None:
    [waited] = rects(
        timeline([Span(0, NOW, NOW, "waiting", "waits")], name="a", title="Life"), "waiting"
    )

    assert waited["x"] == 0


def test_words_in_a_drawing_are_text() -> None:
    hostile = "</title><script>alert('1')</script>\"&"
    svg = timeline([Span(0, NOW, NOW + SECOND, "failed", hostile)], name="a", title=hostile)

    assert hostile in words(svg)
    assert len(list(ET.fromstring(svg).iter("script"))) == 0  # noqa: S314 (our own)


@pytest.mark.parametrize(
    ("part", "whole", "width"), [(1, 4, 250), (0, 4, 0), (5, 4, 1000), (0, 0, 0)]
)
def test_a_meter_is_as_full_as_what_it_measures(part: int, whole: int, width: float) -> None:
    assert rects(meter(part, whole, title="1 < 4"), "meter-part")[0]["width"] == width
