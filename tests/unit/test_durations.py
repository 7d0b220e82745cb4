import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given, strategies as st

from queuectl.engine.domain.durations import (
    LONGEST,
    check_duration,
    check_time,
    format_duration,
    format_time,
    parse_duration,
    parse_time,
)
from queuectl.engine.errors import InvalidValueError

FORMS = "(expected a number of seconds, or 90s, 10m, 1h30m, 2d)"
RFC_3339 = "(expected RFC 3339, as in 2026-11-21T09:00:00Z)"
MILLISECOND = timedelta(milliseconds=1)

any_text = st.text() | st.text(st.characters(codec=None)) | st.just("\ud800")
offsets = st.builds(
    timezone, st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
)
moments = st.datetimes(
    min_value=datetime(1971, 1, 2),  # noqa: DTZ001 (the strategy adds the zone)
    max_value=datetime(9998, 12, 30),  # noqa: DTZ001
    timezones=offsets | st.just(UTC),
)


@pytest.fixture
def half_past_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Move this process to UTC+05:30, by a rule that needs no time zone files."""
    monkeypatch.setenv("TZ", "TST-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("5", 5),
        ("5.5", 5.5),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("250ms", 0.25),
        ("1s500ms", 1.5),
        ("30m1h", 5400),
        ("1m1m", 120),
        ("90S", 90),
        ("10M", 600),
        ("  10m\n", 600),
        ("3650d", 315_360_000),
        ("315360000", 315_360_000),
    ],
)
def test_a_duration_is_seconds_or_numbers_with_units(text: str, seconds: float) -> None:
    duration = parse_duration(text)

    assert duration == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "abc",
        "-5",
        "+5",
        "5.",
        "1e3",
        "1_000",
        "inf",
        "nan",
        "10min",
        "5 seconds",
        "1:30",
        "1y",
        "1h30",
        "m",
        "h1",
        "1hh",
        pytest.param("\0", id="NUL"),
        pytest.param("\u00b3", id="superscript three"),
        pytest.param("1h\n30m", id="two lines"),
    ],
)
def test_what_is_not_a_duration_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_duration(text)

    assert str(caught.value) == f"not a duration: {text!r} {FORMS}"


@pytest.mark.parametrize("text", ["3651d", "315360001", "315360000.1", "99999999999999999999w"])
def test_a_duration_out_of_range_is_shown_as_it_was_written(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_duration(text)

    assert str(caught.value) == f"out of range: {text!r} (expected 0 s to 3650 days)"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("9" * 5000, id="digits"),
        pytest.param("9" * 5000 + "d", id="days"),
        pytest.param("x" * 5000, id="letters"),
    ],
)
def test_the_refusal_of_a_long_text_is_short(text: str) -> None:
    with pytest.raises(InvalidValueError) as duration:
        parse_duration(text)
    with pytest.raises(InvalidValueError) as moment:
        parse_time(text)

    assert len(str(duration.value)) < 300
    assert len(str(moment.value)) < 300


@pytest.mark.parametrize(
    ("seconds", "problem"),
    [
        (-1, "out of range: -1 s (expected 0 s to 3650 days)"),
        (-0.5, "out of range: -0.5 s (expected 0 s to 3650 days)"),
        (315_360_001, "out of range: 315360001 s (expected 0 s to 3650 days)"),
        (float("inf"), "out of range: inf s (expected 0 s to 3650 days)"),
        (float("nan"), "out of range: nan s (expected 0 s to 3650 days)"),
    ],
)
def test_seconds_out_of_range_are_named(seconds: float, problem: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        check_duration(seconds)

    assert str(caught.value) == problem


def test_a_whole_number_too_large_for_a_float_is_out_of_range() -> None:
    with pytest.raises(InvalidValueError):
        check_duration(10**400)


@pytest.mark.parametrize("seconds", [0, -0.0, 0.001, 1, 315_360_000])
def test_seconds_from_none_to_ten_years_are_a_duration(seconds: float) -> None:
    assert check_duration(seconds) == timedelta(seconds=seconds)


@given(
    days=st.integers(0, 3000),
    hours=st.integers(0, 1000),
    minutes=st.integers(0, 1000),
    seconds=st.integers(0, 1000),
    milliseconds=st.integers(0, 1000),
)
def test_a_duration_written_with_units_is_read_exactly(
    days: int, hours: int, minutes: int, seconds: int, milliseconds: int
) -> None:
    text = f"{days}d{hours}h{minutes}m{seconds}s{milliseconds}ms"

    duration = parse_duration(text)

    assert duration == timedelta(
        days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds
    )


@given(st.timedeltas(timedelta(), LONGEST))
def test_a_duration_written_in_seconds_is_read_exactly(duration: timedelta) -> None:
    text = f"{duration.total_seconds():.6f}"

    assert parse_duration(text) == duration
    assert parse_duration(text + "s") == duration


@given(any_text | st.text("0123456789.smhdwMS +-_e\u0663"))
def test_no_text_breaks_the_reader_of_durations(text: str) -> None:
    try:
        duration = parse_duration(text)
    except InvalidValueError as error:
        assert str(error)  # noqa: PT017 (both ends are right; which one is not the point)
    else:
        assert timedelta() <= duration <= LONGEST


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.53, "0.53 s"),
        (9.99, "9.99 s"),
        (9.999, "10 s"),
        (10, "10 s"),
        (12.3, "12 s"),
        (59.4, "59 s"),
        (59.9, "1 m 00 s"),
        (60, "1 m 00 s"),
        (185, "3 m 05 s"),
        (3599.4, "59 m 59 s"),
        (3599.6, "1 h 00 m"),
        (3600, "1 h 00 m"),
        (7800, "2 h 10 m"),
        (86_399, "23 h 59 m"),
        (86_399.6, "1 d 0 h"),
        (356_400, "4 d 3 h"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@given(st.timedeltas(timedelta(), LONGEST))
def test_a_duration_as_shown_can_be_typed(duration: timedelta) -> None:
    shown = format_duration(duration)

    typed = parse_duration(shown)

    assert abs(typed - duration) <= max(duration / 24, timedelta(seconds=0.5))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T09:00:00Z", datetime(2026, 11, 21, 9, tzinfo=UTC)),
        ("2026-11-21t09:00:00z", datetime(2026, 11, 21, 9, tzinfo=UTC)),
        ("2026-11-21 09:00:00+05:30", datetime(2026, 11, 21, 3, 30, tzinfo=UTC)),
        ("2026-11-21T00:30:00+01:00", datetime(2026, 11, 20, 23, 30, tzinfo=UTC)),
        ("2026-11-21T09:00:00.5-00:00", datetime(2026, 11, 21, 9, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-21T09:00:00.123456789Z", datetime(2026, 11, 21, 9, 0, 0, 123_456, tzinfo=UTC)),
        ("20261121T090000Z", datetime(2026, 11, 21, 9, tzinfo=UTC)),
        (" 2026-11-21T09:00Z\n", datetime(2026, 11, 21, 9, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_with_its_zone(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


@pytest.mark.usefixtures("half_past_zone")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T09:00", datetime(2026, 11, 21, 3, 30, tzinfo=UTC)),
        ("2026-11-21 09:00:30", datetime(2026, 11, 21, 3, 30, 30, tzinfo=UTC)),
        ("2026-11-21", datetime(2026, 11, 20, 18, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_local(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


@pytest.mark.usefixtures("half_past_zone")
def test_a_local_time_is_brought_to_utc() -> None:
    moment = check_time(datetime(2026, 11, 21, 9))  # noqa: DTZ001 (that is the point)

    assert (moment, moment.tzinfo) == (datetime(2026, 11, 21, 3, 30, tzinfo=UTC), UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "tomorrow",
        "10m",
        "1700000000",
        "09:00",
        "2026-13-01",
        "2026-02-29",
        "2026-11-21T25:00",
        "2026-11-21T09:00:00+25:00",
        "21.11.2026",
        pytest.param("\0", id="NUL"),
        pytest.param("\ud800", id="lone surrogate"),
    ],
)
def test_what_is_not_a_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_time(text)

    assert str(caught.value) == f"not a time: {text!r} {RFC_3339}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1970-12-31T23:59:59Z", "out of range: 1970-12-31T23:59:59+00:00 (expected 1971 to 9998)"),
        ("9999-01-01T00:00:00Z", "out of range: 9999-01-01T00:00:00+00:00 (expected 1971 to 9998)"),
        ("0001-01-01", "out of range: 0001-01-01T00:00:00 (expected 1971 to 9998)"),
        ("9999-12-31", "out of range: 9999-12-31T00:00:00 (expected 1971 to 9998)"),
    ],
)
def test_a_time_far_from_now_is_out_of_range(text: str, problem: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_time(text)

    assert str(caught.value) == problem


@pytest.mark.parametrize("text", ["1971-01-01T00:00:00+23:59", "9998-12-31T23:59:59-23:59"])
def test_the_year_in_utc_is_what_has_to_be_in_range(text: str) -> None:
    with pytest.raises(InvalidValueError, match="out of range"):
        parse_time(text)


@given(any_text | st.text("0123456789-:TZ+. W"))
def test_no_text_breaks_the_reader_of_times(text: str) -> None:
    try:
        moment = parse_time(text)
    except InvalidValueError as error:
        assert str(error)  # noqa: PT017
    else:
        assert moment.utcoffset() == timedelta()


@given(st.datetimes(timezones=st.none() | offsets))
def test_no_moment_breaks_the_check(moment: datetime) -> None:
    try:
        checked = check_time(moment)
    except InvalidValueError:
        assert not 1971 < moment.year < 9998
    else:
        assert checked.tzinfo is UTC


@given(moments)
def test_a_time_as_written_is_read_again_to_the_millisecond(moment: datetime) -> None:
    written = format_time(moment)

    read = parse_time(written)

    assert timedelta() <= moment - read < MILLISECOND
    assert format_time(read) == written


@given(moments, moments)
def test_times_as_written_sort_like_the_times(one: datetime, other: datetime) -> None:
    assume(abs(one - other) >= MILLISECOND)

    assert (format_time(one) < format_time(other)) == (one < other)


def test_a_time_is_written_in_utc_with_milliseconds_cut_off() -> None:
    moment = datetime(2026, 11, 21, 9, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))

    assert format_time(moment) == "2026-11-21T08:00:00.999Z"
