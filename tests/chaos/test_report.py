"""The figures come into the page between two comments, and what is missing is said."""

import msgspec
import pytest

from tests.chaos.checker import Kind
from tests.chaos.figures import Figures, Latency
from tests.chaos.report import BEGIN, END, find_wrongs, replace_figures, write_report

NOTHING = Latency(count=0, p50=0.0, p99=0.0, max=0.0)
FIGURES = Figures(
    seed=7,
    jobs=10_000,
    acked=9_990,
    recovered=10,
    events=40_000,
    faults={"kill_engine": 1_000, "kill_job": 400},
    kills=1_000,
    violations={kind.value: 0 for kind in Kind},
    runs=12_000,
    repeated=60,
    ended_runs_repeated=1,
    adopted=700,
    outcomes={"completed": 10_000},
    recovery=Latency(count=900, p50=0.2, p99=1.25, max=3.5),
    undisturbed=NOTHING,
    restart=NOTHING,
    copies=300,
    drain=4.0,
    seconds=612.0,
    not_done=["fill_disk: a small disk cannot be mounted here"],
)


def chaos() -> object:
    return msgspec.to_builtins(FIGURES)


def test_what_stands_between_the_comments_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert replace_figures(page, "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_replacing_twice_is_the_same_as_once() -> None:
    once = replace_figures(f"a {BEGIN}{END} b", "new")

    assert replace_figures(once, "new") == once


@pytest.mark.parametrize(
    "page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{BEGIN}{END}"]
)
def test_a_page_without_both_comments_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        replace_figures(page, "new")


def test_a_part_that_was_not_measured_is_said_to_be_missing() -> None:
    text = write_report({})

    assert text.count("Not measured.") == 7
    assert "### Planted defects" in text


def test_the_figures_of_a_run_are_told() -> None:
    text = write_report({"chaos": chaos()})

    assert "Seed 7, 612 s: 10,000 jobs, 12,000 runs" in text
    assert "1,000 engines killed; 0 violations." in text
    assert "| another engine lives | 900 | 0.200 s | 1.250 s | 3.500 s |" in text
    assert "| a job's processes are killed | 400 |" in text
    assert "| runs that had to be begun again | 60 (0.5%) |" in text
    assert "| fill_disk: a small disk cannot be mounted here | not done |" in text


def test_every_kind_of_violation_has_words() -> None:
    text = write_report({"chaos": chaos()})

    assert not [kind for kind in Kind if f"| {kind.value} |" in text]


def test_other_parts_are_tables_of_their_names_and_numbers() -> None:
    walk = {"scenario": "success", "points": 1_234, "survived": 1_234, "places": 90}
    text = write_report(
        {
            "crash_points": [walk | {"typical": 0.05, "slowest": 0.5, "failures": []}],
            "failures": {"kinds": {"disk full": {"points": 9, "survived": 9, "refused": 8}}},
            "defects": [{"name": "a|b", "found": True}],
        }
    )

    assert "| success | 1,234 | 1,234 | 90 | 0.050 | 0.500 |" in text
    assert "| disk full | 9 | 9 | 8 |" in text
    assert "| name | found |\n|---|---|\n| a\\|b | yes |" in text


@pytest.mark.parametrize(
    ("part", "given"),
    [
        ("crash_points", [{"points": 3, "survived": 2}]),
        ("failures", {"kinds": {"EIO": {"points": 3, "survived": 2}}}),
        ("cuts", {"lives": {"one": {"cuts": 9, "bad": 1}}}),
        ("defects", [{"violations with it": {}, "violations without it": 0}]),
        ("defects", [{"violations with it": {"lost": 1}, "violations without it": 1}]),
        ("chaos", {"violations": {"lost": 1}}),
        ("small_disk", {"violations": {"illegal": 1}}),
    ],
)
def test_what_was_wrong_in_a_part_fails_the_report(part: str, given: object) -> None:
    assert find_wrongs({part: given}) == [part]


def test_parts_in_which_nothing_was_wrong_and_parts_that_are_missing_fail_nothing() -> None:
    good = {"crash_points": [{"points": 3, "survived": 3}], "cuts": None}

    assert find_wrongs(good) == []
