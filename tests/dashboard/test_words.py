"""Numbers, times and text as a page shows them; addresses."""

from datetime import timedelta

import pytest

from queuectl.dashboard import words
from queuectl.dashboard.links import PATHS, Links, here, noted
from queuectl.dashboard.text import readable_line, readable_output
from tests.factories import NOW

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "now"),
        (0.9, "now"),
        (12, "12 s ago"),
        (-12, "in 12 s"),
        (300, "5 min ago"),
        (7200, "2 h ago"),
        (172_800, "2 d ago"),
        (-3600, "in 1 h"),
    ],
)
def test_a_time_is_told_from_now(seconds: float, said: str) -> None:
    told = words.moment(NOW - timedelta(seconds=seconds), NOW)

    assert told.words == said


def test_a_time_has_its_exact_form() -> None:
    told = words.moment(NOW, NOW)

    assert (told.exact, told.iso) == ("2026-11-21 09:00:00 UTC", "2026-11-21T09:00:00.000Z")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, words.NOTHING),
        (0, "< 1 ms"),
        (0.001, "1 ms"),
        (0.0094, "9 ms"),
        (0.53, "530 ms"),
        (0.9996, "1.00 s"),
        (75, "1 m 15 s"),
    ],
)
def test_a_duration_has_digits_that_mean_something(seconds: float | None, said: str) -> None:
    assert words.duration(None if seconds is None else timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (0.004, "< 0.01"), (0.25, "0.25"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_a_rate_has_digits_that_mean_something(value: float, said: str) -> None:
    assert words.rate(value) == said


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 0, words.NOTHING),
        (0, 9, "0 %"),
        (1, 9_999, "< 0.1 %"),
        (1, 8, "12.5 %"),
        (9, 9, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_nothing(part: int, whole: int, said: str) -> None:
    assert words.share(part, whole) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (None, words.NOTHING),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (2**30, "1.0 GiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_a_size_has_a_unit(count: int | None, said: str) -> None:
    assert words.size(count) == said


def test_things_are_counted() -> None:
    assert words.counted(1, "job") == "1 job"
    assert words.counted(12_000, "job") == "12,000 jobs"


def test_what_deceives_is_made_visible() -> None:
    assert readable_line("a\nb\tc\rd\u2028") == "a\\nb\\tc\\rd\\u2028"
    assert readable_line("né → 日本 👍 \u200d") == "né → 日本 👍 \u200d"


def test_a_long_line_is_cut() -> None:
    assert readable_line("x" * 12, longest=10) == "x" * 10 + "…"
    assert readable_line("x" * 10, longest=10) == "x" * 10


def test_output_is_shown_without_its_colours() -> None:
    assert readable_output("\x1b[1;32mok\x1b[0m\r\n\x1b]0;title\x07") == "ok\n\\x1b]0;title\\x07"


def test_a_link_is_made_of_its_parts() -> None:
    links = Links("/queue")

    assert links.to("job", job_id="a:1") == "/queue/jobs/a:1"
    assert links.to("job", job_id='a?b#c"') == "/queue/jobs/a%3Fb%23c%22"
    assert (
        links.to("jobs", {"state": "dead", "tag": None, "before": None}) == "/queue/jobs?state=dead"
    )
    assert links.to("jobs", {"search": "a&b=c"}) == "/queue/jobs?search=a%26b%3Dc"
    assert links.to("purge", {"state": ["dead", "completed"]}).endswith(
        "?state=dead&state=completed"
    )


def test_the_first_page_has_a_place() -> None:
    assert Links().to("jobs", {"before": 0}) == "/jobs?before=0"


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example",
        "//[",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil",
        "javascript:alert(1)",
        "/a\nb",
        "",
        None,
        "/other/jobs",
        "jobs",
        "/queue//evil",
    ],
)
def test_a_form_comes_back_to_our_own_pages_only(text: str | None) -> None:
    assert Links("/queue").back(text, otherwise="jobs") in {"/queue/jobs", "/queue//evil"}


def test_a_form_comes_back_with_its_query() -> None:
    assert Links("/queue").back("/queue/jobs?tag=a%20b", otherwise="dlq") == "/queue/jobs?tag=a%20b"


def test_a_notice_takes_the_place_of_an_older_one() -> None:
    assert (
        noted("/dlq?before=7&done=deleted&count=9", "retried", 2)
        == "/dlq?before=7&done=retried&count=2"
    )
    assert noted("/dlq", "retried") == "/dlq?done=retried&count=1"
    assert here("/dlq", [("done", "x"), ("count", "2")]) == "/dlq"


def test_no_two_routes_have_one_path() -> None:
    shared = {"enqueue", "config"}

    assert len(set(PATHS.values())) == len(PATHS)
    assert shared <= set(PATHS)
