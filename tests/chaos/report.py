"""
Writes what was measured into the documentation.

``python -m tests.chaos.report PAGE --chaos FILE --crash-points FILE --cuts FILE
--defects FILE`` replaces what stands between two comments of the page. A part that was
not measured is said to be missing.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos.figures import Figures, Latency

BEGIN: Final = "<!-- figures -->"
END: Final = "<!-- /figures -->"

_FAULTS: Final = {
    "kill_engine": "an engine is killed",
    "kill_all_engines": "an engine is killed together with all others",
    "kill_job": "a job's processes are killed",
    "kill_client": "an enqueuing client is killed",
    "stop_engine": "an engine is stopped for 0.5 to 2 s",
    "lock_database": "another program locks the database for 0.1 to 3 s",
    "long_reader": "another program reads for 0.5 to 5 s",
    "copy_database": "the database is copied",
    "take_over": "a run is taken from an engine that sleeps",
    "recycle_pid": "another process gets the number of a dead run",
    "fill_disk": "the disk is full for 0.3 to 2 s",
}

_CRASH_POINTS: Final = ("scenario", "points", "survived", "places", "typical", "slowest")
_FAILURES: Final = ("what", "points", "survived", "refused")
_SOAK: Final = ("jobs", "rss_kib", "descriptors", "threads", "wal_bytes")
_CUTS: Final = ("what", "cuts", "prefixes", "bad", "lost")

_VIOLATIONS: Final = {
    "lost": "acknowledged jobs that are not there",
    "unfinished": "jobs that do not come to an end",
    "unexpected": "jobs that nobody enqueued",
    "duplicated": "jobs completed twice",
    "overlapping": "jobs with two runs alive at once",
    "started_twice": "runs started twice",
    "illegal": "illegal histories",
    "result_lost": "runs that ended and are not recorded so",
    "unproved": "runs recorded as completed that did not end",
    "run_lost": "runs lost that nobody had killed",
    "uncaused": "outcomes that nothing had led to",
    "repeated": "jobs that came to a good end twice, unkilled",
    "outliving": "runs alive after they were recorded as over",
    "too_long": "runs alive after timeout and grace",
    "left_behind": "processes, zombies, locks and folders left behind",
    "stranger_harmed": "processes of others ended",
    "unsound": "damage to the database",
    "unsound_copy": "unsound copies",
    "engine_failed": "engines that ended by themselves",
    "helper_failed": "clients, readers and operators that failed",
}


def replace_figures(page: str, text: str) -> str:
    """
    Return a page with this text between the two comments.

    Raises:
        ValueError: It does not have both, once and in order.
    """
    before, begin, rest = page.partition(BEGIN)
    between, end, after = rest.partition(END)

    if not begin or not end or BEGIN in between + after or END in before + after:
        raise ValueError(f"the page needs {BEGIN} and then {END}, once each")

    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


def write_report(parts: Mapping[str, Any]) -> str:
    """
    Return the text for the page.

    Args:
        parts: What was measured, as read from JSON: ``chaos``, ``small_disk``,
            ``crash_points``, ``failures``, ``cuts``, ``defects``, ``soak``; what
            is missing is None.
    """
    sections = [
        _chaos("Chaos", parts.get("chaos")),
        _chaos("Full disk", parts.get("small_disk")),
        _table("Crashes at every step", parts.get("crash_points"), _CRASH_POINTS),
        _table("Operations that fail", _inner(parts.get("failures"), "kinds"), _FAILURES),
        _table("Logs cut anywhere", _inner(parts.get("cuts"), "lives"), _CUTS),
        _table("Planted defects", parts.get("defects"), ()),
        _table("A long life", _every_fifth(_inner(parts.get("soak"), "samples")), _SOAK),
    ]
    return "\n\n".join(sections)


def find_wrongs(parts: Mapping[str, Any]) -> list[str]:
    """Name the parts in which something was found that must not be."""
    tables = {
        "crash_points": (parts.get("crash_points"), "points", "survived"),
        "failures": (_inner(parts.get("failures"), "kinds"), "points", "survived"),
    }
    wrong = [
        name
        for name in ("chaos", "small_disk")
        if parts.get(name) and any(parts[name]["violations"].values())
    ]
    wrong += [
        name
        for name, (given, all_, good) in tables.items()
        if given and any(row[all_] != row[good] for row in _rows(given))
    ]

    if any(row["bad"] for row in _rows(_inner(parts.get("cuts"), "lives") or {})):
        wrong.append("cuts")

    if any(
        not row["violations with it"] or row["violations without it"]
        for row in parts.get("defects") or []
    ):
        wrong.append("defects")

    if any(not flat["is_flat"] for flat in _inner(parts.get("soak"), "flat") or []):
        wrong.append("soak")

    return wrong


def _inner(given: Any, name: str) -> Any:
    return None if given is None else given[name]


def _every_fifth(rows: list[Any] | None) -> list[Any] | None:
    """Return rows enough to see whether something grows."""
    return None if rows is None else [*rows[:-1:5], rows[-1]]


def _rows(given: Any) -> list[dict[str, Any]]:
    """Return rows, from a list of them, or from rows or figures by name."""
    if isinstance(given, list):
        return given

    return [
        {"what": name, **value} if isinstance(value, dict) else {"what": name, "figure": value}
        for name, value in given.items()
    ]


def _chaos(title: str, given: Any) -> str:
    if given is None:
        return _missing(title)

    figures = msgspec.convert(given, Figures)
    wrong = sum(figures.violations.values())
    share = figures.repeated / figures.runs if figures.runs else 0.0
    summary = (
        f"Seed {figures.seed}, {figures.seconds:,.0f} s: {figures.jobs:,} jobs,"
        f" {figures.runs:,} runs, {figures.events:,} events,"
        f" {figures.kills:,} engines killed; {wrong} violations."
    )
    lines = [
        f"### {title}",
        "",
        summary,
        "",
        "| what | figure |",
        "|---|---:|",
        f"| jobs acknowledged | {figures.acked:,} |",
        f"| jobs added whose client was killed before it heard so | {figures.recovered:,} |",
        f"| runs adopted by another engine | {figures.adopted:,} |",
        f"| runs that had to be begun again | {figures.repeated:,} ({share:.1%}) |",
        f"| copies of the database with a cut log | {figures.copies:,} |",
        f"| seconds from the last fault to the last job's end | {figures.drain:,.1f} |",
        "",
        "| from an engine's death to what is done about a run of its | runs | p50 | p99 | max |",
        "|---|---:|---:|---:|---:|",
        _latency("another engine lives, nothing else is amiss", figures.undisturbed),
        _latency("another engine lives", figures.recovery),
        _latency("none lives: from the start of the next", figures.restart),
        "",
        "| fault | times |",
        "|---|---:|",
        *(f"| {_FAULTS.get(k, k)} | {n:,} |" for k, n in figures.faults.items()),
        *(f"| {words} | not done |" for words in figures.not_done),
        "",
        "| what must not be | found |",
        "|---|---:|",
        *(f"| {_VIOLATIONS.get(k, k)} | {n:,} |" for k, n in figures.violations.items()),
    ]
    return "\n".join(lines)


def _latency(words: str, latency: Latency) -> str:
    if not latency.count:
        return f"| {words} | 0 | | | |"

    return (
        f"| {words} | {latency.count:,} | {latency.p50:.3f} s | {latency.p99:.3f} s"
        f" | {latency.max:.3f} s |"
    )


def _table(title: str, given: Any, columns: tuple[str, ...]) -> str:
    """
    Return a section for figures that are names and numbers, or rows of such.

    Args:
        title: The heading.
        given: The figures, None where there are none.
        columns: Which to show, all where it is empty.
    """
    if given is None:
        return _missing(title)

    rows = _rows(given)
    heads = list(columns or rows[0]) if rows else ["what", "figure"]
    lines = [
        f"### {title}",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join(_plain(row.get(head)) for head in heads)} |" for row in rows),
    ]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"

    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) or "none"

    if isinstance(value, bool):
        return "yes" if value else "no"

    if isinstance(value, float):
        return f"{value:,.3f}"

    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


def _missing(title: str) -> str:
    return f"### {title}\n\nNot measured."


def main() -> int:
    """Read, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.report", description=__doc__)
    parser.add_argument("page", type=Path)

    for part in ("chaos", "small-disk", "crash-points", "failures", "cuts", "defects", "soak"):
        parser.add_argument(f"--{part}", type=Path, help="JSON")

    given = vars(parser.parse_args())
    page = given.pop("page")
    parts = {name: _read(file) for name, file in given.items()}
    text = page.read_text(encoding="utf-8")
    page.write_text(replace_figures(text, write_report(parts)), encoding="utf-8")
    wrong = find_wrongs(parts)

    if wrong:
        sys.stderr.write(f"something was wrong in: {', '.join(wrong)}\n")

    return 1 if wrong else 0


def _read(file: Path | None) -> Any:
    return msgspec.json.decode(file.read_bytes()) if file and file.exists() else None


if __name__ == "__main__":
    sys.exit(main())
